"""Everything that can be asked, held against the thresholds of the alarms."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from aiokafka.errors import KafkaError

from deploy.cli.support.errors import CommandError
from deploy.settings import Settings
from deploy.status.brokers import Kafka, ask_kafka
from deploy.status.document import AlarmShown, CatalogShown, ProcessShown, ReasonShown, Status, TableShown, alarm_shown
from deploy.status.endpoints import ask_processes
from deploy.status.tables import ask_clickhouse
from processors.engine.names import Names
from schemas import alarms, metrics
from schemas.alarms import Alarm
from schemas.brokers import Brokers
from schemas.instants import format_instant
from schemas.secrets import Dsn

KAFKA_S: Final = 30.0
"""How long Kafka may take; brokers that take longer do not answer."""

MUST_STAY_0: Final = (
    (metrics.SKIPPED, alarms.SKIPPED),
    (metrics.SINK_DUPLICATES, alarms.SINK_DUPLICATES),
    (metrics.SINK_UNDECODABLE, alarms.SINK_UNDECODABLE),
)


async def gather(settings: Settings, kafka: Brokers, clickhouse: Dsn, urls: Iterable[str]) -> Status:
    """Ask Kafka, ClickHouse and the processes that serve at `urls`; what does not answer is null, and an alarm."""
    asked: tuple[Kafka | str, tuple[list[TableShown], list[ReasonShown]] | str, list[ProcessShown]]
    asked = await asyncio.gather(
        _ask_kafka(settings, kafka), asyncio.to_thread(_ask_clickhouse, settings, clickhouse), _ask_processes(urls)
    )
    found, stored, processes = asked
    held: list[AlarmShown] = []
    if isinstance(found, str):
        held.append(_silent("Kafka", found, "Start it, or mend KAFKA_BOOTSTRAP."))
        known = None
    else:
        known = found
        held += _of_kafka(known, settings.partitions)
    if isinstance(stored, str):
        held.append(_silent("ClickHouse", stored, "Start it, or mend CLICKHOUSE_URL."))
    tables, rejected = (None, None) if isinstance(stored, str) else stored
    held += _of_processes(processes)
    now_ms = time.time_ns() // 1_000_000
    tick_ms = None if known is None else _tick_ms(known)
    return Status(
        at=format_instant(now_ms),
        healthy=not held,
        alarms=held,
        kafka=str(kafka),
        brokers=known.brokers if known else None,
        topics=known.topics if known else None,
        worker=known.worker if known else None,
        sink=known.sink if known else None,
        input_lag=known.input_lag if known else None,
        sink_lag=known.sink_lag if known else None,
        last_tick=None if tick_ms is None else format_instant(tick_ms),
        tick_age_seconds=None if tick_ms is None else max(0.0, (now_ms - tick_ms) / 1000),
        catalogs=_catalogs(known) if known else None,
        clickhouse=clickhouse.shown,
        tables=tables,
        rejected=rejected,
        processes=processes,
    )


async def _ask_kafka(settings: Settings, brokers: Brokers) -> Kafka | str:
    try:
        asking = ask_kafka(brokers, Names(settings.prefix), settings.database)
        return await asyncio.wait_for(asking, KAFKA_S)
    except (KafkaError, TimeoutError, OSError) as error:
        return f"Kafka at {brokers} does not answer: {str(error) or type(error).__name__}"


def _ask_clickhouse(settings: Settings, url: Dsn) -> tuple[list[TableShown], list[ReasonShown]] | str:
    try:
        return ask_clickhouse(url, settings.database)
    except CommandError as error:
        return error.message


async def _ask_processes(urls: Iterable[str]) -> list[ProcessShown]:
    return await asyncio.to_thread(ask_processes, urls)


def _silent(what: str, says: str, do: str) -> AlarmShown:
    return AlarmShown(name=f"Plaudit{what}Away", severity="critical", says=says, do=do)


def _tick_ms(found: Kafka) -> int | None:
    """Return the last tick of the partition that is furthest behind; None before the first one."""
    ticks = [measures.tick_ms for measures in found.partitions.values()]
    return min((tick for tick in ticks if tick is not None), default=None)


def _catalogs(found: Kafka) -> list[CatalogShown]:
    counted = Counter(version for one in found.partitions.values() for version in one.catalogs.items())
    return [
        CatalogShown(tenant=tenant, version=version, partitions=count)
        for (tenant, version), count in sorted(counted.items())
    ]


def _of_kafka(found: Kafka, partitions: int) -> Iterable[AlarmShown]:
    owned = {number for member in found.worker.members for number in member.input}
    missing = sorted(set(range(partitions)) - owned)
    if alarms.NO_WORKER.exceeded(len(found.worker.members)):
        yield alarm_shown(alarms.NO_WORKER, "No worker is in the group: nothing is applied.")
    elif alarms.PARTITIONS_UNOWNED.exceeded(len(missing)):
        yield alarm_shown(alarms.PARTITIONS_UNOWNED, f"Nobody works on the partitions {missing}.")
    lag_s = found.input_lag.seconds
    if lag_s is not None and alarms.LAG.exceeded(lag_s):
        yield alarm_shown(alarms.LAG, f"The input log is {lag_s:.0f} s behind, {found.input_lag.records} records.")
    tick_ms = _tick_ms(found)
    if tick_ms is not None and alarms.TICK_AGE.exceeded(time.time() - tick_ms / 1000):
        yield alarm_shown(
            alarms.TICK_AGE, f"No tick since {format_instant(tick_ms)}: streaks, freezes and time triggers wait."
        )
    if alarms.NO_SINK.exceeded(len(found.sink.members)):
        yield alarm_shown(alarms.NO_SINK, "No sink is in the group: the tables stand still.")
    for one in found.sink_lag:
        if one.seconds is not None and alarms.SINK_LAG.exceeded(one.seconds):
            yield alarm_shown(alarms.SINK_LAG, f"ClickHouse is {one.seconds:.0f} s behind {one.topic}.")


def _of_processes(processes: Iterable[ProcessShown]) -> Iterable[AlarmShown]:
    for one in processes:
        if not one.live or not one.ready:
            says = f"{one.process} {one.instance} is not {'ready' if one.live else 'alive'}: {'; '.join(one.failing)}"
            do = "See its log." if one.live else "Restart it."
            yield AlarmShown(name="PlauditProbe", severity="warning" if one.live else "critical", says=says, do=do)
        for metric, alarm in MUST_STAY_0:
            if alarm.exceeded(one.metrics.get(metric.name, 0.0)):
                yield alarm_shown(alarm, _filled(alarm, one.metrics[metric.name]))


def _filled(alarm: Alarm, value: float) -> str:
    return alarm.says.replace("{{ $value }}", f"{value:g}")
