"""/metrics, /healthz and /readyz of a worker or sink (X27).

They are served by the event loop that does the work: one that hangs answers nobody, and a probe that gets no answer has
failed. Nothing here may wait for what it reports on.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

import msgspec
import structlog
from aiohttp import web
from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from processors.engine.errors import EngineError
from processors.engine.instruments import gauge
from schemas.metrics import BUILD_INFO

log = structlog.get_logger(__name__)

STUCK_S: Final = 180.0
"""A process whose work has not moved for so long is not alive. Longer than any step that waits for Kafka, which moves on
by an error at the latest: who waits for a server is alive."""

SILENT_S: Final = 30.0
"""A process that Kafka has not answered for so long is not ready."""

LOOK_S: Final = 5.0
"""Distance of two looks at Kafka."""

READY_TIMEOUT_S: Final = 4.0
"""What a check of readiness that asks a server may take."""

_FAILING: Final = 503


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at, in words."""

    check: str
    ok: bool
    says: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer: `ok` if all checks are."""

    ok: bool
    process: str
    instance: str
    checks: Sequence[Check]


class Watched(Protocol):
    """What is served: a worker or a sink."""

    process: str
    """`worker` or `sink`."""

    @property
    def instance(self) -> str:
        """Its instance name."""

    def live(self) -> list[Check]:
        """Whether it should be left alone (all ok) or restarted."""

    async def ready(self) -> list[Check]:
        """Whether it does its share."""

    def gauges(self) -> Iterable[GaugeMetricFamily]:
        """What is measured when it is asked for."""


def listen(host: str, port: int) -> socket.socket | None:
    """Return a socket that listens there; None if `port` is 0. EngineError if it cannot: to be called first, before
    anything is begun."""
    if not port:
        return None
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise EngineError(
            f"PLAUDIT_METRICS_PORT={port} cannot be used on {host} ({reason}); free that port, or set the variable, or "
            "PLAUDIT_METRICS_HOST, to another"
        ) from error


@asynccontextmanager
async def serving(listening: socket.socket | None, watched: Watched) -> AsyncIterator[None]:
    """Serve for the time of the block, and close the socket; nothing without one."""
    if listening is None:
        yield
        return
    disable_created_metrics()  # type: ignore[no-untyped-call]  # series that tell each counter's birth
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler())
    app.router.add_get("/healthz", _answer(watched, _live(watched)))
    app.router.add_get("/readyz", _answer(watched, watched.ready))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    try:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        host, port = listening.getsockname()[:2]
        log.info("serving", host=host, port=port, paths=["/metrics", "/healthz", "/readyz"])
        collector = _Gauges(watched)
        REGISTRY.register(collector)
        try:
            yield
        finally:
            REGISTRY.unregister(collector)
    finally:
        await runner.cleanup()
        listening.close()


def build_info(process: str, instance: str, compiled: bool) -> GaugeMetricFamily:
    """Return who this process is."""
    python = ".".join(map(str, sys.version_info[:3]))
    return gauge(BUILD_INFO, {(process, instance, program_version(), python, str(compiled).lower()): 1})


def program_version() -> str:
    """Return the version of this program; empty if it is run from sources that were never installed."""
    try:
        return version("plaudit")
    except PackageNotFoundError:
        return ""


class _Gauges(Collector):
    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._watched.gauges()


def _live(watched: Watched) -> Callable[[], Awaitable[list[Check]]]:
    async def live() -> list[Check]:
        return [Check("event_loop", True, "answers"), *watched.live()]

    return live


def _answer(
    watched: Watched, ask: Callable[[], Awaitable[list[Check]]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        try:
            checks = await asyncio.wait_for(ask(), READY_TIMEOUT_S)
        except TimeoutError:
            checks = [Check("answer", False, f"not within {READY_TIMEOUT_S:g} s")]
        ok = all(check.ok for check in checks)
        body = msgspec.json.encode(Report(ok=ok, process=watched.process, instance=watched.instance, checks=checks))
        return web.Response(body=body + b"\n", status=200 if ok else _FAILING, content_type="application/json")

    return handle
