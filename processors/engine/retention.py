"""How long topics keep records: what the settings say against what the cluster has, and bringing it there (X30a)."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from processors.engine.errors import StartupError
from processors.engine.names import Names
from processors.engine.topics import TopicState, admin_client, all_specs
from schemas.brokers import Brokers
from schemas.retention import DAY_MS, FOREVER

log = structlog.get_logger(__name__)

MANAGED: Final = ("retention.ms", "segment.ms", "max.compaction.lag.ms")
"""Settings of a topic that decide how long what it holds stays readable."""

SHOWN_WITHIN_S: Final = 30.0
POLL_S: Final = 0.1

_SET_ON_TOPIC: Final = 1
"""`config_source` of what was set for the topic itself."""


def wanted_of(names: Names, retention: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Return the managed settings by full topic name, of topics that have any."""
    found = {}
    for spec in all_specs(names, retention):
        settings = {key: value for key, value in spec.config.items() if key in MANAGED}
        if settings:
            found[spec.name] = settings
    return found


def differences(topics: Iterable[TopicState], names: Names, retention: Mapping[str, int]) -> list[str]:
    """Return where the cluster keeps records for another time than `retention` says, one sentence each."""
    wanted = wanted_of(names, retention)
    return [
        f"{topic.name} has {key}={topic.config.get(key)} instead of {value}"
        for topic in topics
        for key, value in wanted.get(topic.name, {}).items()
        if topic.config.get(key) != value
    ]


def warn_of_differences(topics: Iterable[TopicState], names: Names, retention: Mapping[str, int]) -> None:
    """Log what differs; nothing if no retention is set: then the operator may have set it on the topics."""
    if retention:
        for difference in differences(topics, names, retention):
            log.warning("retention_differs", difference=difference, fix="plaudit retention apply")


def shown_days(milliseconds: str | None) -> str:
    """Return `retention.ms` as settings write it."""
    if milliseconds is None or milliseconds == "-1":
        return FOREVER
    days = int(milliseconds) / DAY_MS
    return f"{days:g}d"


async def apply_retention(brokers: Brokers, names: Names, retention: Mapping[str, int]) -> list[str]:
    """Bring all topics that exist to what `retention` says; return the full names of those that it changed, once the
    cluster shows it. Other settings stay as they are.

    Raises:
        StartupError: the cluster refuses, with its reason.
    """
    wanted = wanted_of(names, retention)
    async with admin_client(brokers) as admin:
        changed = await _to_change(admin, wanted)
        if not changed:
            return []
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, configs=after) for name, after in changed.items()]
        for response in await admin.alter_configs(resources):
            for code, message, _, name in response.resources:
                if code:
                    reason = message or for_code(code).__name__
                    raise StartupError(f"the settings of topic {name} cannot be changed: {reason}")
        deadline = time.monotonic() + SHOWN_WITHIN_S
        while await _to_change(admin, wanted):
            if time.monotonic() > deadline:
                raise StartupError(f"the cluster does not show the new settings in {SHOWN_WITHIN_S:.0f} s")
            await asyncio.sleep(POLL_S)
    return list(changed)


async def _to_change(admin: AIOKafkaAdminClient, wanted: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return all own settings that topics ought to have, of those that have others."""
    found = {}
    for name, settings in (await _set_on_topics(admin, list(wanted))).items():
        # Kafka takes the whole of a topic's own settings: what is not named falls back to the broker's default
        kept = {key: value for key, value in settings.items() if key not in MANAGED}
        if settings != (after := {**kept, **wanted[name]}):
            found[name] = after
    return found


async def _set_on_topics(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Return what is set for each topic itself, of those that exist."""
    known = {topic["topic"] for topic in await admin.describe_topics(None) if topic["error_code"] == 0}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names if name in known]
    responses: list[Any] = await admin.describe_configs(resources) if resources else []
    return {
        name: {entry[0]: entry[1] for entry in entries if entry[3] == _SET_ON_TOPIC}
        for response in responses
        for _, _, _, name, entries in response.resources
    }
