"""`pytest tests/properties --property-examples N`: how far the search goes."""

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = 100
"""Examples per property where the option is not given."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option."""
    parser.addoption("--property-examples", type=int, default=None, help="examples per property; default: a quick run")


def pytest_configure(config: pytest.Config) -> None:
    """Without the option: the same few examples every time. With it: a random search of that size."""
    examples = config.getoption("--property-examples", default=None)
    settings.register_profile(
        "properties",
        max_examples=examples or EXAMPLES,
        derandomize=examples is None,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    settings.load_profile("properties")
