"""How long topics keep records: as created, as changed later, and what differs is told (X30a)."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from structlog.testing import capture_logs

from processors.engine.names import Names
from processors.engine.retention import apply_retention, differences, shown_days, warn_of_differences
from processors.engine.topics import check_topics, create_topics, describe_topics
from schemas.brokers import Brokers
from schemas.retention import DAY_MS
from tests.engine.harness import PARTITIONS

KEPT = {"events": 400, "ledger": 30, "rejected": 1}


async def settings(broker: Brokers, names: Names, topic: str) -> tuple[str, str]:
    """Return retention.ms and segment.ms of a topic."""
    found = {one.name: one.config for one in await describe_topics(broker, names)}
    return found[topic]["retention.ms"], found[topic]["segment.ms"]


async def test_topics_are_created_with_their_retention(broker: Brokers) -> None:
    names = Names("kept-from-the-start")
    await create_topics(broker, names, PARTITIONS, retention=KEPT)
    topics = await check_topics(broker, names, PARTITIONS, allow_retention=True)
    assert differences(topics, names, KEPT) == []
    assert await settings(broker, names, names.input) == (str(400 * DAY_MS), str(DAY_MS))
    assert await settings(broker, names, names.output("rejected")) == (str(DAY_MS), str(DAY_MS // 2))
    assert await apply_retention(broker, names, KEPT) == []


async def test_retention_is_changed_and_taken_back_and_nothing_else(broker: Brokers, names: Names) -> None:
    ledger, levels = names.output("ledger"), names.output("levels")
    await _set(broker, names, ledger, {"max.message.bytes": "12345678", "message.timestamp.type": "LogAppendTime"})
    assert len(differences(await describe_topics(broker, names), names, KEPT)) >= 6
    changed = await apply_retention(broker, names, KEPT)
    assert {names.input, ledger, names.output("rejected")} <= set(changed)
    assert levels not in changed
    topics = await check_topics(broker, names, PARTITIONS, allow_retention=True)
    assert differences(topics, names, KEPT) == []
    assert {one.name: one.config for one in topics}[ledger]["max.message.bytes"] == "12345678"
    assert await settings(broker, names, ledger) == (str(30 * DAY_MS), str(DAY_MS))
    assert set(await apply_retention(broker, names, {})) == {names.input, ledger, names.output("rejected")}
    await check_topics(broker, names, PARTITIONS)
    assert (await settings(broker, names, ledger))[0] == "-1"


async def test_a_start_warns_of_what_differs_but_only_if_retention_is_set(broker: Brokers, names: Names) -> None:
    topics = await describe_topics(broker, names)
    with capture_logs() as logs:
        warn_of_differences(topics, names, {})
    assert logs == []
    with capture_logs() as logs:
        warn_of_differences(topics, names, {"ledger": 30})
    assert {(log["event"], log["fix"]) for log in logs} == {("retention_differs", "plaudit retention apply")}
    assert any(f"{names.output('ledger')} has retention.ms=-1" in log["difference"] for log in logs)


def test_days_are_shown_as_settings_write_them() -> None:
    assert [shown_days(text) for text in ("-1", None, str(30 * DAY_MS), "43200000")] == [
        "forever",
        "forever",
        "30d",
        "0.5d",
    ]


async def _set(broker: Brokers, names: Names, topic: str, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
    await admin.close()
    while {one.name: one.config for one in await describe_topics(broker, names)}[topic][
        "max.message.bytes"
    ] != "12345678":
        await asyncio.sleep(0.05)
