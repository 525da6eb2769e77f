"""Who leads what, and how that is changed: what aiokafka's admin client lacks."""

import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import aiokafka.errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    String,
    TaggedFields,
)

from processors.engine.kip447 import NO_TAGS, FixedRequest
from schemas.brokers import Brokers

TIMEOUT_MS: Final = 20_000
HARMLESS: Final = frozenset({0, 84, 85})
"""No error; election not needed; no reassignment in progress."""

_TEXT = CompactString("utf-8")
_TAGS = ("tags", TaggedFields)

Place = tuple[str, int]


class ReassignResponseV0(Response):  # type: ignore[misc]
    """AlterPartitionReassignments answer, version 0."""

    API_KEY = 45
    API_VERSION = 0
    _PARTITION = (("partition_index", Int32), ("error_code", Int16), ("error_message", _TEXT), _TAGS)
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _TEXT),
        ("responses", CompactArray(("name", _TEXT), ("partitions", CompactArray(*_PARTITION)), _TAGS)),
        _TAGS,
    )


class ReassignRequestV0(RequestStruct):  # type: ignore[misc]
    """AlterPartitionReassignments, version 0: the brokers that hold a partition, the preferred leader first."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 45
    API_VERSION = 0
    RESPONSE_TYPE = ReassignResponseV0
    _PARTITION = (("partition_index", Int32), ("replicas", CompactArray(Int32)), _TAGS)
    SCHEMA = Schema(
        ("timeout_ms", Int32),
        ("topics", CompactArray(("name", _TEXT), ("partitions", CompactArray(*_PARTITION)), _TAGS)),
        _TAGS,
    )


class ElectResponseV1(Response):  # type: ignore[misc]
    """ElectLeaders answer, version 1."""

    API_KEY = 43
    API_VERSION = 1
    _PARTITION = (("partition_id", Int32), ("error_code", Int16), ("error_message", String("utf-8")))
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("results", Array(("topic", String("utf-8")), ("partitions", Array(*_PARTITION)))),
    )


class ElectRequestV1(RequestStruct):  # type: ignore[misc]
    """ElectLeaders, version 1: the preferred leaders take over."""

    API_KEY = 43
    API_VERSION = 1
    RESPONSE_TYPE = ElectResponseV1
    SCHEMA = Schema(
        ("election_type", Int8),
        ("topics", Array(("topic", String("utf-8")), ("partitions", Array(Int32)))),
        ("timeout_ms", Int32),
    )


class Admin:
    """An admin client for a moment; an async context manager."""

    def __init__(self, brokers: Brokers) -> None:
        self._client = AIOKafkaAdminClient(**brokers.client())

    async def __aenter__(self) -> "Admin":
        await self._client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def leaders(self) -> dict[Place, int]:
        """Return the leader of every partition of all topics, internal ones too; -1: none."""
        return {place: leader for place, (leader, _) in (await self._partitions()).items()}

    async def replicas(self) -> dict[Place, list[int]]:
        """Return the brokers of every partition, the preferred leader first."""
        return {place: replicas for place, (_, replicas) in (await self._partitions()).items()}

    async def group_coordinator(self, group: str) -> int:
        """Return the broker that coordinates a group."""
        return int(await self._client.find_coordinator(group))

    async def transaction_coordinator(self, transactional_id: str) -> int:
        """Return the broker that coordinates the transactions of a transactional id."""
        return int(await self._client.find_coordinator(transactional_id, 1))

    async def under_replicated(self) -> int:
        """Return how many partitions lack a replica in sync."""
        found = await self._client.describe_topics(None)
        return sum(
            len(part["isr"]) < len(part["replicas"]) or part["leader"] < 0
            for topic in found
            for part in topic["partitions"]
        )

    async def reassign(self, replicas: Mapping[Place, list[int]]) -> None:
        """Give partitions other preferred leaders."""
        topics = _by_topic({place: (place[1], brokers, NO_TAGS) for place, brokers in replicas.items()})
        request = ReassignRequestV0(TIMEOUT_MS, [(name, parts, NO_TAGS) for name, parts in topics.items()], NO_TAGS)
        response = await self._client._send_to_controller(FixedRequest(request))
        codes = [code for _, parts, _ in response.responses for _, code, _, _ in parts]
        _check([response.error_code, *codes])

    async def elect(self, places: list[Place]) -> None:
        """Let the preferred leaders take over."""
        topics = _by_topic({place: place[1] for place in places})
        response = await self._client._send_to_controller(FixedRequest(ElectRequestV1(0, list(topics.items()), 20_000)))
        _check([code for _, parts in response.results for _, code, _ in parts])

    async def shuffle(self, choice: random.Random) -> int:
        """Give about half of all partitions, those of internal topics too, another leader; return how many."""
        moved = {}
        for place, brokers in sorted((await self.replicas()).items()):
            if choice.random() < 0.5:
                moved[place] = [*brokers[1:], brokers[0]]
        await self.reassign(moved)
        await self.elect(list(moved))
        return len(moved)

    async def _partitions(self) -> dict[Place, tuple[int, list[int]]]:
        return {
            (topic["topic"], part["partition"]): (part["leader"], list(part["replicas"]))
            for topic in await self._client.describe_topics(None)
            for part in topic["partitions"]
        }


def _by_topic(values: Mapping[Place, Any]) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for (topic, _), value in values.items():
        found[topic].append(value)
    return found


def _check(codes: list[int]) -> None:
    bad = [code for code in codes if code not in HARMLESS]
    if bad:
        raise kafka_errors.for_code(bad[0])(f"{len(bad)} of {len(codes)} partitions")
