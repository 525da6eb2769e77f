"""What aiokafka lacks of the group protocol: offsets in a transaction are committed in the name of a group member
(KIP-447), committed offsets are only answered once they are stable, heartbeats do not wait for a coordinator that is lost,
and static members can leave."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

import aiokafka.errors as kafka_errors
import msgspec
import structlog
from aiokafka.client import CoordinationType
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.sender import Sender, TxnOffsetCommitHandler
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

log = structlog.get_logger(__name__)

HEARTBEATS_WAITED: Final = 2
"""Intervals after which a heartbeat without an answer is given up: half a session."""

NO_LEADER_EPOCH: Final = -1
NO_OFFSET: Final = -1

_TEXT = CompactString("utf-8")
NO_TAGS: Final[dict[int, bytes]] = {}


class GroupMember(msgspec.Struct, frozen=True):
    """Who a worker was when it got its partitions. Offsets are committed in this name, and refused once it is old."""

    generation: int
    member_id: str
    instance_id: str | None


class UnstableOffsetCommitError(kafka_errors.BrokerResponseError):  # type: ignore[misc]
    """A transaction with these offsets is still being ended: ask again (error 88)."""

    errno = 88
    message = "UNSTABLE_OFFSET_COMMIT"
    retriable = True


class FencedInstanceIdError(kafka_errors.BrokerResponseError):  # type: ignore[misc]
    """Another member has joined with this group instance id (error 82)."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


for _error in (UnstableOffsetCommitError, FencedInstanceIdError):
    kafka_errors.kafka_errors.setdefault(_error.errno, _error)  # else aiokafka calls them UnknownError


FENCING: Final[Mapping[int, type[Exception]]] = {
    22: kafka_errors.IllegalGenerationError,
    25: kafka_errors.UnknownMemberIdError,
    27: kafka_errors.RebalanceInProgressError,
    82: FencedInstanceIdError,
}
"""Answers to TxnOffsetCommit that say: these partitions are, or may be, no longer this member's."""


FORBIDDEN: Final = (
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
    kafka_errors.IncompatibleBrokerVersion,
)
"""Errors that asking again does not mend."""


REFUSALS: Final = (
    *FORBIDDEN,
    FencedInstanceIdError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidSessionTimeoutError,
)
"""Answers of a group's coordinator after which a worker will never be a member as it is."""


def is_refusal(error: kafka_errors.KafkaError) -> bool:
    """Whether a group will not have this worker. Anything else passes, such as the answer to a join that meets the next
    rebalance; aiokafka knows few of them, and wraps the others in a KafkaError that only shows their names."""
    return isinstance(error, REFUSALS) or any(one.__name__ in str(error) for one in REFUSALS)


class TxnOffsetCommitResponseV3(Response):  # type: ignore[misc]
    """TxnOffsetCommit answer, version 3."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequestV3(RequestStruct):  # type: ignore[misc]
    """TxnOffsetCommit, version 3: with generation, member and instance."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 28
    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class OffsetFetchResponseV7(Response):  # type: ignore[misc]
    """OffsetFetch answer, version 7."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", _TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequestV7(RequestStruct):  # type: ignore[misc]
    """OffsetFetch, version 7: with `require_stable`."""

    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 9
    API_VERSION = 7
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", _TEXT),
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class LeaveGroupResponseV3(Response):  # type: ignore[misc]
    """LeaveGroup answer, version 3."""

    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class LeaveGroupRequestV3(RequestStruct):  # type: ignore[misc]
    """LeaveGroup, version 3: names members by instance id, so that static ones can go."""

    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = LeaveGroupResponseV3
    SCHEMA = Schema(
        ("group_id", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class FixedRequest(Request[RequestStruct]):  # type: ignore[misc]
    """A request of one version; aiokafka refuses it if the broker does not speak that."""

    API_KEY = 0

    def __init__(self, struct: RequestStruct) -> None:
        self._struct = struct
        self.API_KEY = struct.API_KEY

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        return self._struct

    def prepare(self, versions: dict[int, tuple[int, int]]) -> RequestStruct:
        low, high = versions.get(self._struct.API_KEY, (0, -1))
        if not low <= self._struct.API_VERSION <= high:
            raise kafka_errors.IncompatibleBrokerVersion(
                f"the broker does not speak {type(self._struct).__name__}; Kafka 2.5 or later is needed"
            )
        return self._struct


class GroupOffsetCommitHandler(TxnOffsetCommitHandler):  # type: ignore[misc]
    """Sends offsets of a transaction in the name of a group member."""

    def __init__(self, sender: Sender, offsets: Any, group_id: str, member: GroupMember) -> None:
        super().__init__(sender, offsets, group_id)
        self._member = member

    def create_request(self) -> Request[RequestStruct]:
        """Build the request; called by aiokafka."""
        manager = self._sender._txn_manager
        topics = defaultdict(list)
        for tp, offset in sorted(self._offsets.items()):
            topics[tp.topic].append((tp.partition, offset.offset, NO_LEADER_EPOCH, offset.metadata, NO_TAGS))
        return FixedRequest(
            TxnOffsetCommitRequestV3(
                manager.transactional_id,
                self._group_id,
                manager.producer_id,
                manager.producer_epoch,
                self._member.generation,
                self._member.member_id,
                self._member.instance_id,
                [(topic, partitions, NO_TAGS) for topic, partitions in topics.items()],
                NO_TAGS,
            )
        )

    def handle_response(self, response: Any) -> float | None:
        """Take the answer; called by aiokafka. A fence fails the waiting future and leaves the transaction open."""
        for _, partitions, _ in response.topics:
            for _, code, _ in partitions:
                if code in FENCING:
                    # Not `error_transaction`: that forgets the partitions, and an abort would not reach the broker.
                    _, _, waiting = self._sender._txn_manager._pending_txn_offsets.popleft()
                    waiting.set_exception(FENCING[code]())
                    return None
        plain = [(topic, [(p, code) for p, code, _ in partitions]) for topic, partitions, _ in response.topics]
        result: float | None = super().handle_response(_Plain(plain))
        return result


class _Plain:
    """An answer in the form of version 0, for the handler of aiokafka."""

    def __init__(self, errors: list[tuple[str, list[tuple[int, int]]]]) -> None:
        self.errors = errors


class GroupSender(Sender):  # type: ignore[misc]
    """aiokafka's sender, with offsets committed in the name of `member`."""

    member: GroupMember | None = None

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> None:
        if not offsets:
            return
        assert self.member is not None, "offsets are committed only by a member of the group"
        node_id = await self._find_coordinator(CoordinationType.GROUP, group_id)
        await GroupOffsetCommitHandler(self, offsets, group_id, self.member).do(node_id)


async def stable_offsets(
    coordinator: GroupCoordinator, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return committed offsets of the coordinator's group; what has none is left out.

    Raises UnstableOffsetCommitError (retriable) while a transaction with such offsets is not ended. Takes the place of
    `GroupCoordinator._do_fetch_commit_offsets`.
    """
    by_topic = defaultdict(list)
    for tp in partitions:
        by_topic[tp.topic].append(tp.partition)
    topics = [(topic, numbers, NO_TAGS) for topic, numbers in by_topic.items()]
    response = await coordinator._send_req(
        FixedRequest(OffsetFetchRequestV7(coordinator.group_id, topics, True, NO_TAGS))
    )
    _raise_for(coordinator, response.error_code)
    offsets = {}
    for topic, answers, _ in response.topics:
        for partition, offset, _, metadata, code, _ in answers:
            _raise_for(coordinator, code)
            if offset != NO_OFFSET:
                offsets[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata or "")
    return offsets


def _raise_for(coordinator: GroupCoordinator, code: int) -> None:
    if code == 0:
        return
    if code == UnstableOffsetCommitError.errno:
        raise UnstableOffsetCommitError()
    error = kafka_errors.for_code(code)
    if error is kafka_errors.NotCoordinatorForGroupError:
        coordinator.coordinator_dead()
    raise error()


async def heartbeat(coordinator: GroupCoordinator) -> bool:
    """Tell the coordinator that we live, and look for another one if it does not answer before the next time. Takes the
    place of `GroupCoordinator._do_heartbeat`, which waits as long as for any answer: longer than a session."""
    try:
        async with asyncio.timeout(coordinator._heartbeat_interval_ms / 1000 * HEARTBEATS_WAITED):
            return bool(await GroupCoordinator._do_heartbeat(coordinator))
    except TimeoutError:
        coordinator.coordinator_dead()
    except kafka_errors.KafkaError as error:  # it would end the heartbeats for good
        if is_refusal(error):
            raise
        log.warning("heartbeat_failed", error=repr(error))
    return False


async def leave_group(coordinator: GroupCoordinator) -> None:
    """Leave the group at once, as static member too, so that others take over without waiting for the session to end.
    Takes the place of `GroupCoordinator._maybe_leave_group`."""
    if coordinator.generation > 0:
        members = [(coordinator.member_id, coordinator._group_instance_id)]
        with suppress(kafka_errors.KafkaError):  # the session would end by itself
            await coordinator._send_req(FixedRequest(LeaveGroupRequestV3(coordinator.group_id, members)))
    coordinator.reset_generation()
