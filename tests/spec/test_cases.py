"""The worked examples of the spec, through the same fold as production."""

import pytest

from tests.spec.conftest import FILES, SPEC
from tests.spec.notation import Json, load_cases
from tests.spec.runner import run_case

GENERATED = SPEC / "cases" / "generated.json.gz"


def test_case(spec_case: Json) -> None:
    """A case gives what it expects."""
    assert run_case(spec_case) == []


def test_every_file_with_cases_is_run() -> None:
    """No chapter's blocks and none of the 150 generated scenarios are left out (leaderboards: later)."""
    with_cases = {path.relative_to(SPEC).as_posix() for path in SPEC.rglob("*.md") if load_cases(path)}
    assert with_cases <= set(FILES)
    assert len({case["id"] for case in load_cases(GENERATED)}) == 150
    assert GENERATED.relative_to(SPEC).as_posix() in FILES


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_empty(name: str) -> None:
    """A file that loads as no cases would pass."""
    assert load_cases(SPEC / name)
