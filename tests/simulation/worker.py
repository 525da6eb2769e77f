"""A worker process: the engine's own batch path, from the consumer thread to the transaction port, without Faust's
services around it. What Faust does between them at a rebalance is done here."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeVar

from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from processors.engine.app import QUIESCE_SHARE
from processors.engine.catalogs import KafkaCatalogs
from processors.engine.consumer import BatchConsumer, EngineThread
from processors.engine.fold import CatalogStore, Fold
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.recovery import ChangelogRecovery
from processors.engine.round import Limits, RoundRunner, TransactionPort, Work
from processors.engine.table import StateTable
from processors.engine.worker import RoundWorker
from schemas.brokers import Brokers
from schemas.operations import GRACE_S
from tests.simulation.kafka.consumer import SimConsumer
from tests.simulation.loop import Lane, SimLoop

T = TypeVar("T")

NOWHERE = Brokers("simulated:9092")
SESSION_S = 2.0
REBALANCE_S = 4.0

Folds = Callable[[], tuple[Callable[[int], Fold], CatalogStore]]
"""Returns what makes the folds of a new process, and the catalog store that they share."""


class NotStartedError(Exception):
    """The brokers did not answer at the start; whoever runs workers starts it again."""


class TwinError(Exception):
    """Another process has the same instance name, and the worker has noticed."""


NAME_TAKEN = "another worker has the same instance name"


class Parts:
    """Classes of the engine that a worker is made of. Planted bugs put others in their place."""

    port: type[KafkaPort] = KafkaPort
    runner: type[RoundRunner] = RoundRunner
    worker: type[RoundWorker] = RoundWorker
    table: type[StateTable] = StateTable
    thread: type["SimThread"]
    recovery: type["SimRecovery"]
    consumer: type["SimBatchConsumer"]


class SimThread(EngineThread):
    """The engine's consumer thread; its loop is a lane of its own."""

    def __init__(self, loop: SimLoop, lane: Lane, consumer: SimConsumer) -> None:
        self._loop_ = loop
        self._lane = lane
        self._consumer = consumer

    def _ensure_consumer(self) -> SimConsumer:
        return self._consumer

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """As the real one, between lanes instead of threads."""
        return await self._loop_.start_in(self._lane, work)


class WithoutServices(driver.Consumer):
    """Takes the place of Faust's consumer below BatchConsumer."""

    app: Any
    flow_active: bool

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What App._on_partitions_revoked comes to."""
        self.stop_flow()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """What App._on_partitions_assigned comes to: everything paused, tables told, recovery begun."""
        before, self._assigned = self._assigned, set(assigned)
        await asyncio.sleep(0)
        self._active: set[TP] = set()
        await asyncio.sleep(0)
        await self.app.table.on_rebalance(assigned, before - assigned, assigned - before, generation_id)
        await asyncio.sleep(0)
        if generation_id != self.app.consumer_generation_id:
            return
        self.app.recovery.begin({tp for tp in assigned if tp.topic == self.app.changelog})

    def stop_flow(self) -> None:
        """As Faust's."""
        self.flow_active = False
        self.can_resume_flow.clear()

    def resume_flow(self) -> None:
        """As Faust's."""
        self.flow_active = True
        self.can_resume_flow.set()

    def resume_partitions(self, tps: Any) -> None:
        """As Faust's."""
        self._active |= set(tps) & self._assigned

    def _get_active_partitions(self) -> set[TP]:
        return self._active

    @property
    def should_stop(self) -> bool:
        """Whether the app stops."""
        return bool(self.app.should_stop)

    async def sleep(self, n: Any, *, loop: Any = None) -> None:
        """As mode's."""
        await asyncio.sleep(n)

    async def wait(self, *events: Any, timeout: Any = None) -> Any:
        """As mode's, for one event."""
        await events[0].wait()

    async def crash(self, reason: BaseException) -> None:
        """Crash the worker."""
        self.app.crash(reason)


class SimBatchConsumer(BatchConsumer, WithoutServices):  # type: ignore[misc]
    """The engine's consumer."""

    def __init__(self, app: Any, thread: SimThread, handler: RoundWorker) -> None:
        self.app = app
        self.transport = SimpleNamespace(handler=handler)  # type: ignore[assignment]
        self._thread = thread
        self._epoch = 0
        self._busy = asyncio.Lock()
        self._poll_records = 500
        self._assigned: set[TP] = set()
        self._active = set()
        self.flow_active = False
        self.can_resume_flow = asyncio.Event()


class SimRecovery(ChangelogRecovery):
    """The engine's recovery."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.tables = app.tables
        self.active_tps: set[TP] = set()
        self._signal_recovery_start = asyncio.Event()
        self.completed = asyncio.Event()
        self._stopped = asyncio.Event()  # type: ignore[assignment]
        self.rereads = 0
        """Times the marker check had to read again: the recovery had ended too early."""

    def begin(self, changelogs: set[TP]) -> None:
        """What on_rebalance comes to."""
        self.active_tps = changelogs
        self.signal_recovery_start.set()

    async def drive(self) -> None:
        """What the task of the service does."""
        while True:
            await self.signal_recovery_start.wait()
            self.signal_recovery_start.clear()
            await self._recover_unless_rebalanced()

    def _set_recovery_started(self) -> None:
        pass

    def _set_recovery_ended(self) -> None:
        pass


Parts.thread = SimThread
Parts.recovery = SimRecovery
Parts.consumer = SimBatchConsumer


class Listener:
    """Between the consumer thread and the main thread at rebalances, as Faust's."""

    def __init__(self, app: "SimApp", main: Lane) -> None:
        self._app = app
        self._main = main

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Pass on."""
        await self._in_main(self._app.consumer.on_partitions_revoked({TP(*tp) for tp in revoked}))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Pass on."""
        app = self._app
        generation = app.consumer._thread._consumer._coordinator.generation
        app.consumer_generation_id = generation
        await self._in_main(app.consumer.on_partitions_assigned({TP(*tp) for tp in assigned}, generation))

    async def _in_main(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(self._app.loop.start_in(self._main, work))


class Observer:
    """Looks at committed rounds."""

    def __init__(self) -> None:
        self.rounds = 0
        self.aborted_rounds = 0
        self.skipped = 0

    def committed(self, work: Work, folds: Mapping[int, Fold], seconds: float) -> None:
        """A round was committed."""
        self.rounds += 1
        self.skipped += sum(folds[partition].counters["skipped_offsets"] for partition in work.folds)

    def aborted(self, error: BaseException) -> None:
        """A round was rolled back."""
        self.aborted_rounds += 1


class SimApp:
    """What the engine's parts ask of a Faust app."""

    def __init__(self, loop: SimLoop, names: Names) -> None:
        self.loop = loop
        self.changelog = names.changelog
        self.consumer: Any = None
        self.recovery: Any = None
        self.table: Any = None
        self.should_stop = False
        self.consumer_generation_id = 0
        self.crashed: asyncio.Future[BaseException] = loop.create_future()
        self.assignor = SimpleNamespace(assigned_actives=lambda: set(self.consumer._assigned))
        self.on_rebalance_complete = SimpleNamespace(send=self._nothing)
        self.flow_control = SimpleNamespace(resume=lambda: None)
        self._fetcher = SimpleNamespace(maybe_start=self._nothing, should_stop=False)
        self.tables = SimpleNamespace(on_actives_ready=lambda: None, on_standbys_ready=lambda: None)

    async def _nothing(self) -> None:
        pass

    def on_rebalance_end(self) -> None:
        """Faust counts."""

    def crash(self, reason: BaseException) -> None:
        """End the process with this reason."""
        if not self.crashed.done():
            self.crashed.set_result(reason)


def _make_table(kind: type[StateTable], app: SimApp, make_fold: Callable[[int], Fold], changelog: str) -> StateTable:
    class Table(kind):  # type: ignore[misc, valid-type]
        changelog_topic_name = changelog

        def __init__(self) -> None:
            self.app = app
            self.folds = {}
            self._make_fold = make_fold
            self._loading = {}

    table: StateTable = Table()
    return table


class SimWorker:
    """One run of a worker process."""

    def __init__(self, loop: SimLoop, main: Lane, thread: Lane, instance: str, names: Names, folds: Folds) -> None:
        """To be called in the main lane."""
        self._loop = loop
        self._main = main
        self._thread_lane = thread
        self._instance = instance
        self._names = names
        self.app = SimApp(loop, names)
        self.observer = Observer()
        self.make_fold, self.store = folds()
        self.stop = asyncio.Event()

    async def run(self, parts: type[Parts], limits: Limits) -> None:
        """Work until `stop` is set, then finish the round in hand and leave. Raises what it crashed of."""
        names, app = self._names, self.app
        consumer = SimConsumer(
            group_id=names.group,
            group_instance_id=self._instance,
            isolation_level="read_committed",
            session_timeout_ms=SESSION_S * 1000,
            rebalance_timeout_ms=REBALANCE_S * 1000,
        )
        app.table = table = _make_table(parts.table, app, self.make_fold, names.changelog)
        catalogs = KafkaCatalogs(NOWHERE, names, self.store)
        self.port = port = parts.port(NOWHERE, names.transactional_id(self._instance), names.group, self._instance)
        checked: TransactionPort = port
        clock = self._loop.time
        runner = parts.runner(
            table.folds, checked, names, limits=limits, catalogs=catalogs, observer=self.observer, clock=clock
        )
        handler = parts.worker(names, table, port, runner, catalogs)
        thread = parts.thread(self._loop, self._thread_lane, consumer)
        port.thread = thread  # only a planted bug asks for it
        app.consumer = batch_consumer = parts.consumer(app, thread, handler)
        app.recovery = recovery = parts.recovery(app)
        try:
            await thread.run(consumer.start())
        except KafkaError as error:
            raise NotStartedError from error
        topics, listener = [names.input, names.changelog], Listener(app, self._main)
        self._loop.call_soon(consumer.subscribe, topics, listener, context=self._thread_lane.context)
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._until_crash(recovery.drive())),
            asyncio.create_task(self._until_crash(batch_consumer._drain_messages(app._fetcher))),
            asyncio.create_task(self.stop.wait()),
        ]
        await asyncio.wait([tasks[-1], app.crashed], return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            await batch_consumer.quiesce(GRACE_S * QUIESCE_SHARE)
        app.should_stop = True
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await thread.run(consumer.stop())
        await port.stop()
        if app.crashed.done():
            reason = app.crashed.result()
            raise TwinError if NAME_TAKEN in str(reason) else reason

    async def _until_crash(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConsumerStoppedError:
            raise
        except Exception as error:
            self.app.crash(error)
