"""The tables against an oracle that was worked out from the spec alone and shares no code with the project."""

import json

from deploy.cli.support.history import SAMPLE_CATALOG, SAMPLE_COMMITS
from tests.e2e.conftest import Sample
from tests.sample.comparison import compare
from tests.sample.localtime import parse_instant
from tests.sample.oracle import compute


def test_totals_points_levels_completions_and_streaks_of_all_users_are_those_of_the_oracle(sample: Sample) -> None:
    catalogs: set[int] = set()
    ticks: set[int] = set()
    with sample.dump.open() as lines:
        for record in map(json.loads, (line for line in lines if '"type":' in line)):
            (ticks if record["type"] == "tick" else catalogs).add(parse_instant(record["at"]))
    (catalog_at_ms,) = catalogs
    expected = compute(SAMPLE_COMMITS, SAMPLE_CATALOG, catalog_at_ms, sorted(ticks))
    assert len(expected["users"]) == len(sample.tables["users"]) == 2_669
    assert sum(len(user["awards"]) for user in expected["users"].values()) > 50_000
    assert sum(len(user["periods"]) for user in expected["users"].values()) > 10_000
    assert compare(expected, sample.tables) == []
