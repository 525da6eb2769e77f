"""A worker: engine, rules and clock in one process."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from processors.agents.clock import TICK_INTERVAL_S, Clock
from processors.agents.progress import progress_folds
from processors.engine.app import SESSION_S, Engine, EngineOptions
from processors.engine.fold import CatalogStore
from processors.engine.instance import claim_instance
from processors.engine.logs import quiet_libraries
from processors.engine.names import Names
from processors.engine.serving import listen, serving
from processors.engine.signals import stop_on_signals
from processors.engine.table import MakeFold
from processors.engine.watch import EngineWatch
from processors.rules import partition
from processors.rules.catalogs import CatalogStore as Catalogs
from processors.rules.settings import FoldSettings
from schemas.brokers import Brokers
from schemas.operations import GRACE_S, LOOPBACK
from schemas.retention import Retention
from schemas.topics import DEFAULT_PARTITIONS, DEFAULT_PREFIX

log = structlog.get_logger(__name__)

GC_THRESHOLDS: Final = (200_000, 20, 100)
"""A round makes many objects without cycles; the default thresholds would walk all states over and over."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told. deploy/settings.py makes one from the environment."""

    brokers: Brokers
    """Kafka."""
    home: Path
    """Directory of the installation on this machine; holds the locks of instance names, and Faust's data directory."""
    prefix: str = DEFAULT_PREFIX
    partitions: int = DEFAULT_PARTITIONS
    environment: str = "production"
    control_token: str = ""
    instance: str = ""
    """Instance name; empty = a free one of this home."""
    tick_interval_s: float = TICK_INTERVAL_S
    session_s: float = SESSION_S
    allow_retention: bool = False
    retention: Retention = {}
    """Days that topics keep their records, by logical name."""
    metrics_port: int = 0
    """Where /metrics, /healthz and /readyz are served; 0 = nowhere."""
    metrics_host: str = LOOPBACK
    """Address to bind to there."""
    grace_s: float = GRACE_S
    """How long the worker may take to end in order."""


class Rules(msgspec.Struct, frozen=True):
    """What the engine runs: a maker of folds, and the catalog store that they share."""

    make_fold: MakeFold
    catalogs: CatalogStore


def progress_rules(options: WorkerOptions) -> Rules:
    """Return the rules of Plaudit, with a new catalog store."""
    names = Names(options.prefix)
    settings = FoldSettings(
        topic=names.input,
        environment=options.environment,
        partitions=options.partitions,
        control_token=options.control_token or None,
    )
    catalogs = Catalogs()
    return Rules(progress_folds(settings, catalogs), catalogs)


def is_compiled() -> bool:
    """Tell whether the rules are compiled (docs/architecture.md)."""
    return not str(partition.__file__).endswith(".py")


async def work(options: WorkerOptions, stop: asyncio.Event, *, clock: bool, rules: Rules | None = None) -> None:
    """Run a worker until `stop` is set. Raises what made it crash (processors.engine.errors, or a bug)."""
    listening = listen(options.metrics_host, options.metrics_port)
    names = Names(options.prefix)
    rules = rules or progress_rules(options)
    instance = claim_instance(options.instance, options.home)
    try:
        engine_options = EngineOptions(
            brokers=options.brokers,
            partitions=options.partitions,
            instance=instance.name,
            home=options.home,
            names=names,
            session_s=options.session_s,
            allow_retention=options.allow_retention,
            retention=options.retention,
            grace_s=options.grace_s,
        )
        if not options.control_token:
            log.warning("control_token_not_set", help="whoever may write to the input log can set the time (X7)")
        log.info("worker_starts", instance=instance.name, group=names.group, clock=clock, compiled=is_compiled())
        engine = Engine(engine_options, rules.make_fold, rules.catalogs)
        watch = EngineWatch(engine, clock=clock, compiled=is_compiled())
        async with serving(listening, watch):
            await engine.run(stop, beside=_beside(options, names, watch if listening else None, clock))
        log.info("worker_stopped", instance=instance.name)
    finally:
        instance.release()


def run_worker(options: WorkerOptions, *, clock: bool, rules: Rules | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT: then it finishes the round in hand, leaves the group, and returns, within
    the grace period (see signals.stop_on_signals).

    Blocks. `clock` false while history is being loaded (X8). Raises what made it crash; of EngineError the message is
    meant for the operator.
    """
    quiet_libraries(logging.WARNING)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    asyncio.run(_until_signal(options, clock, rules))


async def _until_signal(options: WorkerOptions, clock: bool, rules: Rules | None) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop, options.grace_s)
    await work(options, stop, clock=clock, rules=rules)


def _beside(
    options: WorkerOptions, names: Names, watch: EngineWatch | None, ticks: bool
) -> Callable[[Engine], Awaitable[None]]:
    """Return what goes on beside the rounds: the clock, and the looks that metrics and probes tell of."""

    async def beside(engine: Engine) -> None:
        clock = Clock(options.brokers, names, token=options.control_token, interval_s=options.tick_interval_s)
        looking = asyncio.create_task(watch.run()) if watch is not None else None
        try:
            await (clock.run(engine.leads) if ticks else asyncio.Event().wait())
        finally:
            if looking is not None:
                looking.cancel()

    return beside
