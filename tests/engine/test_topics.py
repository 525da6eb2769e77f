"""Topics: created as specified, and checked with errors that say what to do."""

import msgspec
import pytest

from processors.engine.errors import StartupError
from processors.engine.names import Names
from processors.engine.topics import (
    TopicState,
    all_specs,
    check_topics,
    create_topics,
    describe_topics,
    durability,
    find_problems,
)
from schemas.brokers import Brokers
from tests.engine.harness import PARTITIONS

NAMES = Names("p")


def as_specified(partitions: int = 4) -> list[TopicState]:
    return [TopicState(spec.name, spec.partitions or partitions, dict(spec.config)) for spec in all_specs(NAMES)]


def changed(name: str, key: str, value: str) -> list[TopicState]:
    return [
        msgspec.structs.replace(topic, config={**topic.config, key: value}) if topic.name == name else topic
        for topic in as_specified()
    ]


def test_topics_as_specified_have_no_problems() -> None:
    assert find_problems(as_specified(), NAMES, 4) == []


@pytest.mark.parametrize(
    ("topics", "problem"),
    [
        (as_specified()[1:], "p.events is missing"),
        (as_specified(5), "p.events has 5 partitions instead of 4"),
        (changed("p.events", "retention.ms", "604800000"), "p.events has retention.ms=604800000 instead of -1"),
        (changed("p.events", "message.timestamp.type", "LogAppendTime"), "instead of CreateTime"),
        (changed("p.ledger", "message.timestamp.type", "CreateTime"), "p.ledger has message.timestamp.type=CreateTime"),
        (changed("p.catalog", "cleanup.policy", "delete"), "p.catalog has cleanup.policy=delete"),
        (changed(NAMES.changelog, "cleanup.policy", "delete"), "p-progress-state-changelog has cleanup.policy=delete"),
        (changed("p.events", "segment.ms", "604800000"), "p.events has segment.ms=604800000"),
    ],
)
def test_what_does_not_fit_is_named(topics: list[TopicState], problem: str) -> None:
    assert any(problem in found for found in find_problems(topics, NAMES, 4))


def test_a_retention_can_be_allowed() -> None:
    assert find_problems(changed("p.events", "retention.ms", "1"), NAMES, 4, allow_retention=True) == []


async def test_created_topics_pass_the_check_and_are_not_created_again(broker: Brokers, names: Names) -> None:
    await check_topics(broker, names, PARTITIONS)
    assert await create_topics(broker, names, PARTITIONS) == []
    assert [topic.name for topic in await describe_topics(broker, names)] == [spec.name for spec in all_specs(names)]


@pytest.mark.parametrize(("replication", "config"), [(1, {}), (2, {}), (3, {"min.insync.replicas": "2"})])
def test_a_record_is_acknowledged_once_a_second_broker_has_it(replication: int, config: dict[str, str]) -> None:
    assert durability(replication) == config


async def test_a_replication_that_the_cluster_cannot_give_is_reported(broker: Brokers) -> None:
    with pytest.raises(StartupError, match="cannot be created"):
        await create_topics(broker, Names("too-many-replicas"), 1, replication=3)


async def test_a_broker_that_does_not_answer_is_reported() -> None:
    with pytest.raises(StartupError, match="KAFKA_BOOTSTRAP"):
        await check_topics(Brokers("127.0.0.1:1"), NAMES, 1)
