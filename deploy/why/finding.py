"""Whose record an id leads to: by its form, from the tables, from the topics, or by folding everything (D-45)."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.errors import CommandError
from deploy.cli.support.folding import Folding
from deploy.cli.support.sources import LogSource
from deploy.why.ids import Asked, is_made_by, names_effect, names_record
from deploy.why.rebuilding import NO_LIMIT, Owner
from processors.rules.partitioner import partition_of
from schemas.brokers import Brokers
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.topics import DERIVED, full_name, user_key

OnProgress = Callable[[int], None]

_STEP: Final = 1000
_ROUND: Final = 10_000

_IDS: Final = (
    ("points_awards", "award_id"),
    ("metric_events", "event_id"),
    ("achievement_completions", "completion_id"),
    ("level_changes", "change_id"),
    ("streak_events", "event_id"),
    ("streak_freezes", "change_id"),
)
"""Tables and columns that hold ids, the likeliest first."""


def by_place(source: LogSource, one: Asked, on_progress: OnProgress) -> Owner | None:
    """Return the owner of the record that stands where the id says, None if there is none."""
    assert one.place is not None
    for record in _counted(source.records({one.place.partition}), on_progress):
        if record.offset == one.place.offset:
            return Owner.of(record.key, record.partition)
    return None


def of_user(source: LogSource, tenant: str, user_id: str, on_progress: OnProgress) -> Owner | None:
    """Return a user given by name as owner, None if the log has no record of the user."""
    key = user_key(tenant, user_id)
    if source.partitions is not None:
        return Owner.of(key, partition_of(key, source.partitions))
    for record in _counted(source.records(), on_progress):
        if record.key == key:
            return Owner.of(key, record.partition)
    return None


def in_log(source: LogSource, one: Asked, on_progress: OnProgress) -> list[Owner]:
    """Return the owners of the records of the log that carry the event id."""
    found: dict[Owner, None] = {}
    for record in _counted(source.records(), on_progress):
        if names_record(one, record.value):
            found[Owner.of(record.key, record.partition)] = None
    return list(found)


def in_tables(clickhouse: ClickHouse, one: Asked, partitions: int) -> list[Owner]:
    """Return the users whose rows hold the id; none if the tables are not there, or behind."""
    parts = [f"SELECT tenant, user_id FROM {table} WHERE {column} = {{id:String}}" for table, column in _IDS]
    try:
        rows = clickhouse.rows(f"SELECT DISTINCT tenant, user_id FROM ({' UNION ALL '.join(parts)})", id=one.id)
    except CommandError:
        return []
    keys = [user_key(row["tenant"], row["user_id"]) for row in rows]
    return [Owner.of(key, partition_of(key, partitions)) for key in keys]


def in_topics(brokers: Brokers, prefix: str, one: Asked, on_progress: OnProgress) -> list[Owner]:
    """Return the user of the derived event that has the id or makes the award or completion that has it."""

    from deploy.cli.support.kafka import consumer, read_to_end

    async def search() -> list[Owner]:
        header = ("id", one.id.encode())
        async with consumer(brokers) as reader:
            for name in DERIVED:
                async for run in read_to_end(reader, full_name(name, prefix)):
                    for record in run:
                        if header in record.headers or (
                            one.needle in record.value and is_made_by(one.id, record.value)
                        ):
                            return [Owner.of_effect(record.key, record.value, record.partition)]
                    on_progress(len(run))
        return []

    return asyncio.run(search())


def by_folding(source: LogSource, folding: Folding, one: Asked, on_progress: OnProgress) -> list[Owner]:
    """Return the user of the derived event, by folding the whole log until it comes out."""
    emitted: list[Emission] = []
    offsets: dict[int, int] = {}
    for number, record in enumerate(_counted(source.records(), on_progress), 1):
        folding.apply(record, emitted, NO_LIMIT)
        offsets[record.partition] = record.offset + 1
        for emission in emitted:
            if names_effect(one, emission):
                return [Owner.of_effect(emission.key, emission.value, record.partition)]
        emitted.clear()
        if number % _ROUND == 0:
            for partition, following in offsets.items():
                folding.folds[partition].changes(following)
                folding.folds[partition].commit()
    return []


def _counted(records: Iterable[LogRecord], on_progress: OnProgress) -> Iterable[LogRecord]:
    for number, record in enumerate(records, 1):
        if number % _STEP == 0:
            on_progress(_STEP)
        yield record
