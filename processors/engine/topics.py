"""Topics: created by an admin step before anything runs, and checked by every worker at start (X9a)."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from processors.engine.access import UNAUTHORISED, refusal, unreachable
from processors.engine.errors import StartupError, UnreachableError
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.retention import DAY_MS
from schemas.topics import (
    CATALOG,
    DERIVED,
    EVENTS,
    HANDLED,
    MAX_TOPIC_RECORD_BYTES,
    OUTCOMES,
    REJECTED,
    TopicSpec,
    full_name,
    topic_specs,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = structlog.get_logger(__name__)

DEFAULT_REPLICATION: Final = 1

SAFE_REPLICAS: Final = 2
"""Replicas that must have a record before it is acknowledged, where there are more."""

CREATE_TIMEOUT_S: Final = 30.0
RETRY_S: Final = 1.0
TOPIC_ALREADY_EXISTS: Final = 36

MIN_EVENTS_SEGMENT_MS: Final = 365 * 86_400_000
"""Below this the segments of the input log are taken for Kafka's default of a week."""

CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(MAX_TOPIC_RECORD_BYTES),
    # The open segment is never compacted: small ones, closed soon, keep recovery short.
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.3",
    # What was replaced, or erased, is gone a day later even where little is written.
    "max.compaction.lag.ms": str(DAY_MS),
}


class TopicState(msgspec.Struct, frozen=True):
    """A topic as the cluster has it: partitions and all its settings."""

    name: str
    partitions: int
    config: dict[str, str]


def all_specs(names: Names, retention: Mapping[str, int] = {}) -> list[TopicSpec]:
    """Return every topic of an installation by its full name, the changelog included; `retention` as in `topic_specs`."""
    specs = [
        TopicSpec(full_name(spec.name, names.prefix), spec.partitions, spec.config) for spec in topic_specs(retention)
    ]
    return [*specs, TopicSpec(names.changelog, None, CHANGELOG_CONFIG)]


@asynccontextmanager
async def admin_client(brokers: Brokers) -> "AsyncIterator[AIOKafkaAdminClient]":
    admin = AIOKafkaAdminClient(**brokers.client(), client_id="plaudit-admin")
    try:
        await admin.start()
    except KafkaError as error:
        await admin.close()
        kind = UnreachableError if await refusal(brokers) is None else StartupError
        raise kind(await unreachable(brokers, error)) from error
    try:
        yield admin
    except UNAUTHORISED as error:
        raise StartupError(await unreachable(brokers, error)) from error
    finally:
        await admin.close()


async def create_topics(
    brokers: Brokers,
    names: Names,
    partitions: int,
    replication: int = DEFAULT_REPLICATION,
    retention: Mapping[str, int] = {},
) -> list[str]:
    """Create the topics that are not there; return their names once the cluster shows them.

    Topics that exist are left as they are (see `check_topics`, `retention.apply_retention`). StartupError, with the
    cluster's reason, if one is refused.
    """
    specs = all_specs(names, retention)
    async with admin_client(brokers) as admin:
        present = await _partition_counts(admin)
        missing = [spec for spec in specs if spec.name not in present]
        if not missing:
            return []
        response = await admin.create_topics(
            [
                NewTopic(
                    spec.name,
                    spec.partitions or partitions,
                    replication,
                    topic_configs={**spec.config, **durability(replication)},
                )
                for spec in missing
            ]
        )
        for name, code, *more in response.topic_errors:
            if code not in (0, TOPIC_ALREADY_EXISTS):
                reason = next((text for text in more if text), for_code(code).__name__)
                raise StartupError(f"the topic {name} cannot be created: {reason}")
        await _wait_for(admin, {spec.name for spec in missing})
        return [spec.name for spec in missing]


def durability(replication: int) -> dict[str, str]:
    """Return the settings of topics with so many replicas. Kafka's own acknowledge what only one of three brokers has,
    and lose it with that broker (D-68)."""
    return {"min.insync.replicas": str(SAFE_REPLICAS)} if replication > SAFE_REPLICAS else {}


async def describe_topics(brokers: Brokers, names: Names) -> list[TopicState]:
    """Return the topics of the installation that exist, in the order of `all_specs`."""
    async with admin_client(brokers) as admin:
        counts = await _partition_counts(admin)
        wanted = [spec.name for spec in all_specs(names) if spec.name in counts]
        configs = await _configs(admin, wanted)
    return [TopicState(name, counts[name], configs[name]) for name in wanted]


async def check_topics(
    brokers: Brokers, names: Names, partitions: int, *, allow_retention: bool = False, patience_s: float = 0.0
) -> list[TopicState]:
    """Return the topics; StartupError that names everything wrong with them: missing ones, partition counts, settings (X9a).

    `allow_retention`: the operator has decided that the input log may forget. `patience_s`: how long to wait for
    brokers that do not answer, or fail meanwhile, before UnreachableError.
    """
    topics = await _describe_patiently(brokers, names, patience_s)
    problems = find_problems(topics, names, partitions, allow_retention=allow_retention)
    if problems:
        raise StartupError("the topics do not fit:\n" + "\n".join(f"- {problem}" for problem in problems))
    return topics


async def _describe_patiently(brokers: Brokers, names: Names, patience_s: float) -> list[TopicState]:
    """A broker of several may be away just now; aiokafka's admin client asks one of them, whichever, and does not ask
    again."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return await describe_topics(brokers, names)
        except (KafkaError, UnreachableError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise
            if time.monotonic() > deadline:
                if isinstance(error, UnreachableError):
                    raise
                raise UnreachableError(f"Kafka at {brokers} fails to answer: {error!r}. Look at its logs.") from error
            log.warning("kafka_not_ready", error=str(error) or repr(error), again_in_s=RETRY_S)
        await asyncio.sleep(RETRY_S)


def find_problems(
    topics: Iterable[TopicState], names: Names, partitions: int, *, allow_retention: bool = False
) -> list[str]:
    """Return what is wrong with the topics, one sentence each."""
    present = {topic.name: topic for topic in topics}
    problems = []
    for spec in all_specs(names):
        topic = present.get(spec.name)
        if topic is None and spec.name == names.output(HANDLED):
            continue  # an installation from before it: a worker does without
        if topic is None:
            problems.append(f"{spec.name} is missing. Create the topics first.")
            continue
        expected = spec.partitions or partitions
        if topic.partitions != expected:
            problems.append(
                f"{topic.name} has {topic.partitions} partitions instead of {expected}. Set PLAUDIT_PARTITIONS to what "
                "the topics have; the number cannot be changed later, because users would change their partition."
            )
    problems.extend(_setting_problems(present, names, allow_retention))
    return problems


def _setting_problems(present: dict[str, TopicState], names: Names, allow_retention: bool) -> list[str]:
    wanted = [
        *((name, "message.timestamp.type", "LogAppendTime") for name in (*DERIVED, OUTCOMES, REJECTED)),
        (EVENTS, "message.timestamp.type", "CreateTime"),
        (CATALOG, "cleanup.policy", "compact"),
    ]
    if not allow_retention:
        wanted.append((EVENTS, "retention.ms", "-1"))
    checks = [(full_name(name, names.prefix), key, value) for name, key, value in wanted]
    problems = [
        f"{topic} has {key}={present[topic].config.get(key)} instead of {value}. Change it with kafka-configs."
        for topic, key, value in [*checks, (names.changelog, "cleanup.policy", "compact")]
        if topic in present and present[topic].config.get(key) != value
    ]
    events = present.get(names.input)
    segment_ms = int(events.config.get("segment.ms", "0")) if events is not None else MIN_EVENTS_SEGMENT_MS
    if segment_ms < MIN_EVENTS_SEGMENT_MS and not allow_retention:
        problems.append(
            f"{names.input} has segment.ms={segment_ms}. Records of history carry old timestamps and would open "
            "segment after segment; set it to ten years (315360000000)."
        )
    return problems


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics(None)
        if topic["error_code"] == 0
    }


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    responses: list[Any] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    )
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for response in responses
        for _, _, _, name, entries in response.resources
    }


async def _wait_for(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    deadline = time.monotonic() + CREATE_TIMEOUT_S
    while not names <= set(await _partition_counts(admin)):
        if time.monotonic() > deadline:
            raise StartupError(f"the cluster does not show the new topics {sorted(names)} in {CREATE_TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.1)
