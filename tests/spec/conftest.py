"""`pytest tests/spec --spec-file PATH`: run further files of cases, beside those of docs/spec."""

from pathlib import Path

import pytest

from tests.spec.notation import load_cases

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"
FILES = (
    "metrics-and-events.md",
    "points.md",
    "achievements.md",
    "outcome.md",
    "cases/streaks.json",
    "cases/generated.json.gz",
)
"""Files with cases, relative to docs/spec."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `test_case` one parameter per case of the spec, or of the files named on the command line."""
    if "spec_case" not in metafunc.fixturenames:
        return
    given = metafunc.config.getoption("spec_file")
    paths = [Path(name) for name in given] or [SPEC / name for name in FILES]
    cases = [(path, case) for path in paths for case in load_cases(path)]
    metafunc.parametrize(
        "spec_case", [case for _, case in cases], ids=[f"{path.name}:{case['id']}" for path, case in cases]
    )
