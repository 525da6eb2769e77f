"""Faults on real servers."""

import pytest

pytest.register_assert_rewrite("tests.faults.arena", "tests.faults.undisturbed")
