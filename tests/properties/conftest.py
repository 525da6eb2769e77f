"""`pytest tests/properties --property-examples N`: how far the search goes."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option."""
    parser.addoption("--property-examples", type=int, default=None, help="examples per property; default: a quick run")
