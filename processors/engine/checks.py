"""What the engine relies on that Faust and aiokafka do not promise, checked at start: an upgrade shall fail loudly."""

from importlib import metadata
from typing import Any, Final

from aiokafka import AIOKafkaClient, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender, TxnOffsetCommitHandler
from aiokafka.producer.transaction_manager import TransactionManager
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from mode.utils.queues import FlowControlEvent

from processors.engine.errors import StartupError

PINNED: Final = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

PRIVATE_NAMES: Final[tuple[tuple[Any, str], ...]] = (
    (driver.Consumer, "_drain_messages"),
    (driver.Consumer, "_get_active_partitions"),
    (driver.Consumer, "_new_consumer_thread"),
    (driver.Consumer, "on_partitions_revoked"),
    (driver.Consumer, "on_partitions_assigned"),
    (driver.Consumer, "verify_all_partitions_active"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer"),
    (TableManager, "_update_channels"),
    (Recovery, "_restart_recovery"),
    (Recovery, "_publish_stats"),
    (Recovery, "_slurp_changelogs"),
    (Recovery, "_set_recovery_started"),
    (Recovery, "_set_recovery_ended"),
    (FlowControlEvent, "resume"),
    (Fetcher, "fetched_records"),
    (Fetcher, "_update_fetch_positions"),
    (SubscriptionState, "reassignment_in_progress"),
    (GroupCoordinator, "_do_fetch_commit_offsets"),
    (GroupCoordinator, "_do_heartbeat"),
    (GroupCoordinator, "_maybe_leave_group"),
    (GroupCoordinator, "_send_req"),
    (GroupCoordinator, "check_errors"),
    (GroupCoordinator, "fetch_committed_offsets"),
    (GroupCoordinator, "request_rejoin"),
    (GroupCoordinator, "reset_generation"),
    (AIOKafkaProducer, "_partition"),
    (AIOKafkaClient, "_wait_on_metadata"),
    (MessageAccumulator, "_append_batch"),
    (MessageAccumulator, "create_builder"),
    (MessageAccumulator, "fail_all"),
    (Sender, "_do_txn_offset_commit"),
    (Sender, "_find_coordinator"),
    (TransactionManager, "maybe_add_partition_to_txn"),
    (TxnOffsetCommitHandler, "create_request"),
    (TxnOffsetCommitHandler, "handle_response"),
)
"""Private names that this package calls or overrides."""


def check_libraries() -> None:
    """StartupError if Faust or aiokafka are not the versions that this engine was tested with."""
    for package, wanted in PINNED.items():
        found = metadata.version(package)
        if found != wanted:
            raise StartupError(
                f"{package} {found} is installed, but the engine is tested with {wanted} and uses its inner parts. "
                f"Install {package}=={wanted}."
            )
    for owner, name in PRIVATE_NAMES:
        if not hasattr(owner, name):
            raise StartupError(
                f"{owner.__module__}.{owner.__qualname__} has no {name}, which the engine uses. Install "
                + " and ".join(f"{package}=={version}" for package, version in PINNED.items())
                + "."
            )
