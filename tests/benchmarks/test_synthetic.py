"""The synthetic log: the same for the same seed, and it holds what it says."""

import json
from collections import Counter
from pathlib import Path

from benchmarks.synthetic import Synthetic
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from schemas.emission import Emission
from schemas.records import TYPED
from schemas.topics import OUTCOMES, REJECTED


def test_the_same_seed_gives_the_same_log_and_another_another() -> None:
    lines = list(Synthetic(2_000, users=50))
    assert list(Synthetic(2_000, users=50)) == lines
    assert list(Synthetic(2_000, users=50, seed=2)) != lines


def test_a_log_holds_every_kind_of_record_and_exercises_most_rules(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(Synthetic(6_000, users=120, days=200)))
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert {record.get("type") for record in records} == {None, *TYPED}
    assert {record["origin"]["partition"] for record in records} == set(range(8))
    derived: Counter[str] = Counter()

    def take(emission: Emission) -> None:
        derived[emission.type or emission.topic] += 1

    with file_source(str(path), "plaudit.events") as source:
        Simulation(source, Folding(source, None, environment="production")).run(500, take)
    assert derived[OUTCOMES] > 6_000
    assert 0 < derived[REJECTED] < 20
    assert len(derived) > 17, derived
