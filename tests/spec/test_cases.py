"""The worked examples of the spec, through the same fold as production."""

import pytest

from tests.spec.conftest import SPEC
from tests.spec.features import later_features
from tests.spec.notation import Json, load_cases
from tests.spec.runner import run_case

GENERATED = SPEC / "cases" / "generated.json.gz"
IDS = SPEC.parents[1] / "tests" / "spec" / "generated_ids.txt"


def test_case(spec_case: Json) -> None:
    """A case gives what it expects, or fails for no other reason than a feature of the next issue."""
    missing = later_features(spec_case)
    if missing:
        pytest.skip(f"left to the next issue: {', '.join(sorted(missing))}")
    assert run_case(spec_case) == []


def test_only_known_chapter_cases_are_left_to_the_next_issue() -> None:
    """P-22 fills a new filter counter, A-09 and A-10 backdate; nothing else of the four chapters is skipped."""
    chapters = [case for path in SPEC.glob("*.md") for case in load_cases(path)]
    left = {case["id"]: later_features(case) for case in chapters if later_features(case)}
    assert left == {
        "P-22": {"filling new filter counters (P12, A6)"},
        "A-09": {"backdating (A22-A26)"},
        "A-10": {"backdating (A22-A26)"},
    }


@pytest.mark.parametrize("case_id", ["P-22", "A-09", "A-10"])
def test_what_is_left_differs_only_where_the_feature_shows(case_id: str) -> None:
    """Each of them fails today, first at the outcome that needs the feature."""
    (case,) = [c for path in SPEC.glob("*.md") for c in load_cases(path) if c["id"] == case_id]
    first = {"P-22": "outcomes[3].points", "A-09": "outcomes[3].backdated", "A-10": "outcomes[2].backdated"}
    assert run_case(case)[0].startswith(first[case_id])


def test_list_of_generated_cases_equals_what_their_features_say() -> None:
    """`generated_ids.txt` names exactly the cases that need nothing of the next issue."""
    free = [case["id"] for case in load_cases(GENERATED) if not later_features(case)]
    assert IDS.read_text().split() == free


@pytest.mark.parametrize("case_id", IDS.read_text().split())
def test_generated_case(case_id: str) -> None:
    """The listed generated cases pass."""
    (case,) = [case for case in load_cases(GENERATED) if case["id"] == case_id]
    assert run_case(case) == []
