"""The whole chain on real servers."""

import pytest

pytest.register_assert_rewrite("tests.e2e.command", "tests.e2e.derived")
