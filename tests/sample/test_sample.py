"""The shipped sample: the catalog is right, worth looking at, and the records are those the oracle assumes."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import yaml

from deploy.git_history import read_csv
from schemas.catalog_file import load_catalog

from .configuration import load_catalog as load_for_oracle
from .localtime import parse_instant
from .oracle import Oracle, compute, first_commit_ms

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"
CATALOG, COMMITS = SAMPLES / "catalog.yaml", SAMPLES / "git_commits.csv.gz"
LIMIT = 2000


class _Exact(yaml.SafeLoader):
    pass


_Exact.add_constructor("tag:yaml.org,2002:float", lambda _, node: Decimal(str(node.value)))


def test_catalog_is_accepted_without_a_warning_and_uses_every_kind_of_rule() -> None:
    catalog, issues = load_catalog(yaml.load(CATALOG.read_text(encoding="utf-8"), _Exact))
    assert issues == []
    triggers = Counter(trigger.type for system in catalog.systems for trigger in system.triggers)
    assert triggers.keys() == {"metric", "streak", "achievement", "time", "user_creation"}
    assert {one.trigger for one in catalog.achievements} == {"metric", "streak", "api", "achievement"}
    boosts = [boost for system in catalog.systems for boost in system.boosts]
    assert all(boost.enabled for boost in boosts)
    assert {boost.rounding for boost in boosts} == {"down", "up", "nearest"}


def test_records_of_the_file_give_what_the_oracle_computes_by_itself() -> None:
    at = first_commit_ms(COMMITS)
    oracle = Oracle(load_for_oracle(CATALOG, at), at)
    for number, record in enumerate(read_csv(COMMITS, attributes=True)):
        if number == 2 * LIMIT:
            break
        user = record["user"]
        oracle.metric(
            user["id"], record["metric"], record["value"], parse_instant(record["occurredAt"]), tz=user["tz"],
            attributes=record["attributes"], user_attributes=user["attributes"],
        )  # fmt: skip
    assert oracle.result() == compute(COMMITS, CATALOG, at, [], LIMIT)
