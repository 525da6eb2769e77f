"""The answer as one object: what `plaudit status --json` prints (X27)."""

import msgspec

from schemas.alarms import Alarm, Severity


class _Object(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """JSON object with camelCase names."""


class AlarmShown(_Object, frozen=True, kw_only=True):
    """An alarm that holds. `threshold` is null for what cannot be measured, such as a server that does not answer."""

    name: str
    severity: Severity
    says: str
    do: str
    threshold: float | None = None


class BrokerShown(_Object, frozen=True, kw_only=True):
    """One broker."""

    id: int
    address: str
    controller: bool


class TopicShown(_Object, frozen=True, kw_only=True):
    """One topic: offsets from its beginning to its end, transaction markers included; `bytes` of all replicas on disk,
    null if the brokers do not say."""

    name: str
    partitions: int
    offsets: int
    bytes: int | None


class MemberShown(_Object, frozen=True, kw_only=True):
    """One member of a group, and how many partitions it has; `input` names those of the input log."""

    instance: str
    host: str
    partitions: int
    input: list[int]


class GroupShown(_Object, frozen=True, kw_only=True):
    """A consumer group. `state` as Kafka calls it: Stable, Empty, PreparingRebalance, Dead, ..."""

    name: str
    state: str
    members: list[MemberShown]


class LagShown(_Object, frozen=True, kw_only=True):
    """How far behind a topic is. `seconds` is the age of the oldest record that is not done: 0 if there is none, null if
    nothing tells it (history is being loaded)."""

    topic: str
    records: int
    seconds: float | None


class TableShown(_Object, frozen=True, kw_only=True):
    """One table; `changed` is when its data last changed on disk, null if it has none or the server does not say."""

    name: str
    rows: int
    bytes: int
    changed: str | None


class ReasonShown(_Object, frozen=True, kw_only=True):
    """Refused records of one reason, and when the latest of them was dated."""

    reason: str
    records: int
    latest: str


class CatalogShown(_Object, frozen=True, kw_only=True):
    """A catalog version and in how many partitions it is in force."""

    tenant: str
    version: str
    partitions: int


class ProcessShown(_Object, frozen=True, kw_only=True):
    """What a worker or sink says of itself. `failing` are the checks that are not ok, `metrics` sums over labels, but
    for seconds, of which the greatest counts."""

    url: str
    process: str
    instance: str
    version: str
    live: bool
    ready: bool
    failing: list[str]
    metrics: dict[str, float]


class Status(_Object, frozen=True, kw_only=True):
    """Everything. What could not be asked is null, and an alarm says why."""

    at: str
    healthy: bool
    alarms: list[AlarmShown]
    kafka: str
    brokers: list[BrokerShown] | None
    topics: list[TopicShown] | None
    worker: GroupShown | None
    sink: GroupShown | None
    input_lag: LagShown | None
    sink_lag: list[LagShown] | None
    last_tick: str | None
    tick_age_seconds: float | None
    catalogs: list[CatalogShown] | None
    clickhouse: str
    tables: list[TableShown] | None
    rejected: list[ReasonShown] | None
    processes: list[ProcessShown]


def alarm_shown(alarm: Alarm, says: str) -> AlarmShown:
    """Return an alarm that holds, in words of its own."""
    return AlarmShown(name=alarm.name, severity=alarm.severity, says=says, do=alarm.do, threshold=alarm.threshold)
