"""What a sink needs to know, and its limits."""

from typing import Final

import msgspec

from projections.tables import PROJECTED_TOPICS
from schemas.brokers import Brokers
from schemas.topics import DEFAULT_PREFIX, REJECTED, full_name

MAX_BATCH_RECORDS: Final = 40_000
MAX_BATCH_BYTES: Final = 32 * 1024 * 1024
LINGER_S: Final = 0.25
"""A batch is cut at these records, bytes of values, or seconds after its first record, whatever comes first."""

FETCH_BYTES_PER_PARTITION: Final = 2 * 1024 * 1024
"""Bounds what is fetched ahead, together with one waiting batch and one being written."""

POLL_S: Final = 0.25

RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
"""Back-off of everything that is repeated until it succeeds."""

GIVE_UP_S: Final = 30.0
"""How long a sink that is only to catch up waits for a Kafka that is away."""

STATEMENT_TIMEOUT_S: Final = 60
"""Of one insert or query; an insert that takes longer goes on in the server and its repetition adds nothing."""

REVOKE_WAIT_S: Final = 5.0
"""How long a rebalance waits for the batch in hand; then the next owner repeats it. Below REBALANCE_TIMEOUT_MS."""

STOP_WAIT_S: Final = 5.0
"""How long a stop waits for the batch in hand; after that the next start repeats it."""

SESSION_TIMEOUT_MS: Final = 10_000
HEARTBEAT_MS: Final = 2_000
REBALANCE_TIMEOUT_MS: Final = 15_000
METADATA_AGE_MS: Final = 10_000
"""How soon topics and partitions that are created later are seen."""

NEVER_MS: Final = 2**31 - 1


class SinkSettings(msgspec.Struct, frozen=True):
    """Where a sink reads and writes.

    Attributes:
        brokers: Kafka.
        clickhouse_url: dsn of clickhouse_connect.
        database: ClickHouse database, migrated.
        prefix: topic prefix.
        topics: logical topics to read.
        group: consumer group; all sinks of one database share it.
        instance: static member id, so that a restarted sink has its partitions back at once; None: a new member.
        epoch: incarnation of the topics.
    """

    brokers: Brokers
    clickhouse_url: str
    database: str
    prefix: str
    topics: tuple[str, ...]
    group: str
    instance: str | None
    epoch: int

    @property
    def topic_names(self) -> list[str]:
        """Full names of the topics."""
        return [full_name(name, self.prefix) for name in self.topics]

    @property
    def rejected_topic(self) -> str:
        """Full name of the topic of refused records."""
        return full_name(REJECTED, self.prefix)


def group_name(prefix: str, database: str) -> str:
    """Return the consumer group of a database: `plaudit-sink`; with another database `plaudit-sink-NAME`."""
    return f"{prefix}-sink" if database == DEFAULT_PREFIX else f"{prefix}-sink-{database}"


def check_topics(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the logical topics to read, all by default.

    Raises:
        ValueError: one that no table takes.
    """
    unknown = sorted(set(names or ()) - set(PROJECTED_TOPICS))
    if unknown:
        raise ValueError(f"no table is fed by {', '.join(unknown)}; known: {', '.join(PROJECTED_TOPICS)}")
    return names or PROJECTED_TOPICS
