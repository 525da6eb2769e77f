"""After the faults: everything must be as the undisturbed fold of the same log has it."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from deploy.catalog_yaml import load_file
from deploy.cli.support.folding import Folding
from deploy.cli.support.history import SAMPLE_CATALOG
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from schemas.emission import Emission
from schemas.topics import OUTCOMES, REJECTED
from tests.e2e.conftest import levels_at_zero
from tests.e2e.derived import Derived, differences, of_topics, records_of
from tests.e2e.tables import ROWS_OF_TYPE, count_rows, read_tables
from tests.faults.arena import Arena
from tests.sample.comparison import compare
from tests.sample.shape import Collector


class Fold:
    """What comes out of a log when nothing goes wrong.

    Attributes:
        derived: derived events by topic and user.
        outcomes: by user, in their order.
        types: number of derived events by type.
        tables: what the tables must say, in the shape of the oracle.
        values: sum of the values of all metric events.
    """

    def __init__(self, dump: Path) -> None:
        self.derived = Derived()
        self.outcomes: dict[bytes | None, list[bytes]] = {}
        self.types: Counter[str] = Counter()
        self.values = Decimal(0)
        self._collector = Collector(levels_at_zero())
        config, _, _ = load_file(SAMPLE_CATALOG)
        with file_source(str(dump), "plaudit.events") as source:
            Simulation(source, Folding(source, config, environment="production")).run(None, self._take)
        self.tables = self._collector.result()

    def _take(self, emission: Emission) -> None:
        assert emission.topic != REJECTED, emission.value
        if emission.topic == OUTCOMES:
            self.outcomes.setdefault(emission.key, []).append(emission.value)
            return
        self.derived.add_emission(emission)
        self.types[emission.type] += 1
        event: dict[str, Any] = json.loads(emission.value, parse_float=Decimal)
        if emission.type == "metric.changed":
            self.values += event["data"]["value"]
        self._collector.add_event(event)


async def assert_undisturbed(arena: Arena) -> None:
    """Compare topics and tables with the fold of the log of this very run, ticks included."""
    dump = arena.directory / "dump.jsonl"
    done = await asyncio.to_thread(arena.command, "dump", "--output", dump)
    assert done.code == 0, done.err
    fold = await asyncio.to_thread(Fold, dump)
    assert fold.types["metric.changed"] == arena.feed.total
    assert arena.skipped == [0.0] * len(arena.skipped)
    await _assert_topics(arena, fold)
    _assert_tables(arena, fold)
    checked = await asyncio.to_thread(arena.command, "replay", "--check")
    assert checked.code == 0, checked.out + checked.err


async def _assert_topics(arena: Arena, fold: Fold) -> None:
    found = await of_topics(arena.brokers, arena.names)
    assert found.doubles == []
    assert differences(fold.derived.kept, found.kept) == []
    assert found.ids == fold.derived.ids
    outcomes: dict[bytes | None, list[bytes]] = {}
    async for record in records_of(arena.brokers, arena.names, OUTCOMES):
        outcomes.setdefault(record.key, []).append(record.value)
    assert outcomes == fold.outcomes
    assert [record.value async for record in records_of(arena.brokers, arena.names, REJECTED)] == []


def _assert_tables(arena: Arena, fold: Fold) -> None:
    client = arena.client()
    try:
        expected: Counter[str] = Counter()
        for kind, table in ROWS_OF_TYPE.items():
            expected[table] += fold.types[kind]
        assert count_rows(client, arena.database) == expected
        query = f"SELECT uniqExact(event_id), sum(value) FROM {arena.database}.metric_events"
        assert client.query(query).result_rows == [(arena.feed.total, fold.values)]
        assert compare(fold.tables, read_tables(client, arena.database, levels_at_zero())) == []
    finally:
        client.close()
