"""Options of the test run."""

import pytest
from hypothesis import settings

settings.register_profile("plaudit", deadline=None)  # no test depends on how fast the machine is
settings.load_profile("plaudit")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options that the README names."""
    parser.addoption(
        "--spec-file", action="append", default=[], help="file of spec cases (.md, .json, .json.gz); repeatable"
    )
    parser.addoption("--schedules", type=int, default=100, help="simulated schedules to run (default 100)")
    parser.addoption("--faults", type=int, default=3, help="times each fault is injected on real Kafka (default 3)")
