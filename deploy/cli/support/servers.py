"""Where the servers are: configured, running already, or started for the time of one command."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from deploy.cli.support.errors import CommandError, MissingError
from deploy.embedded import EmbeddedStack, LineProgress, Part, Progress, SilentProgress, running_stack
from deploy.logging import quiet_logging
from deploy.settings import read_settings
from schemas.brokers import Brokers
from schemas.secrets import Dsn

KAFKA_VARIABLE = "KAFKA_BOOTSTRAP"
CLICKHOUSE_VARIABLE = "CLICKHOUSE_URL"

WAITING = "nothing runs here: the records wait in the log for the next `plaudit up`"


class Servers(msgspec.Struct, frozen=True):
    """Addresses; empty for what was not asked for.

    Attributes:
        kafka: the brokers.
        clickhouse: address with user and password, which it does not show.
        stack: the embedded stack, if this process started one.
    """

    kafka: Brokers
    clickhouse: Dsn
    stack: EmbeddedStack | None = None


def _parts(kafka: bool, clickhouse: bool) -> tuple[Part, ...]:
    wanted: dict[Part, bool] = {"kafka": kafka, "clickhouse": clickhouse}
    return tuple(part for part, is_wanted in wanted.items() if is_wanted)


def find_servers(*, kafka: bool = False, clickhouse: bool = False, answering: bool = True) -> Servers | None:
    """Return servers that are configured or run already; None if something that is asked for is missing. Embedded ones
    that are asked for must answer, unless `answering` is false."""
    settings = read_settings()
    brokers = settings.kafka if kafka else Brokers("")
    url = settings.clickhouse_url if clickhouse else Dsn()
    if (kafka and not brokers) or (clickhouse and not url):
        running = running_stack(settings.home, answering=_parts(kafka, clickhouse) if answering else ())
        if running is not None:
            brokers = brokers or Brokers(running.kafka_bootstrap if kafka else "")
            url = url or Dsn(running.clickhouse_url if clickhouse else "")
    if (kafka and not brokers) or (clickhouse and not url):
        return None
    return Servers(brokers, url)


def need_servers(*, kafka: bool = False, clickhouse: bool = False, answering: bool = True) -> Servers:
    """Return servers that are configured or run already (see find_servers); CommandError if there are none."""
    found = find_servers(kafka=kafka, clickhouse=clickhouse, answering=answering)
    if found is None:
        variables = [name for name, wanted in ((KAFKA_VARIABLE, kafka), (CLICKHOUSE_VARIABLE, clickhouse)) if wanted]
        raise CommandError(
            f"no server: nothing runs on {read_settings().home}, and {' or '.join(variables)} is not set. "
            "Start one with `plaudit up`, or set the variable."
        )
    return found


@contextmanager
def servers(*, kafka: bool = False, clickhouse: bool = False, fresh: bool = False) -> Iterator[Servers]:
    """Return servers that are configured or run already, else the embedded ones for the time of the block.

    They are started only on data that is there, unless `fresh`. Logs are quiet from here on.
    """
    quiet_logging()
    found = find_servers(kafka=kafka, clickhouse=clickhouse)
    if found is not None:
        yield found
        return
    settings = read_settings()
    home = settings.home
    if not fresh and not any((home / part).is_dir() for part in _parts(kafka, clickhouse)):
        raise MissingError(
            f"there is no installation in {home}. Run `plaudit run` first, or set PLAUDIT_HOME, "
            f"{KAFKA_VARIABLE} and {CLICKHOUSE_VARIABLE} to yours."
        )
    with start_progress(plain=fresh) as progress:
        stack = EmbeddedStack(home, kafka=kafka, clickhouse=clickhouse, progress=progress)
        ends = stack.start()
    try:
        yield Servers(
            settings.kafka or Brokers(ends.kafka_bootstrap), settings.clickhouse_url or Dsn(ends.clickhouse_url), stack
        )
    finally:
        stack.stop()


@contextmanager
def start_progress(*, plain: bool = False) -> Iterator[Progress]:
    """Return how the start of the stack is shown: a spinner on a terminal, else lines if `plain`, else nothing."""
    if not sys.stderr.isatty():
        yield LineProgress() if plain else SilentProgress()
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield _Spinner(status)


class _Spinner:
    """One line that says what both parts are doing."""

    def __init__(self, status: Any) -> None:
        self._status = status
        self._lock = threading.Lock()
        self._doing: dict[Part, str] = {}

    def step(self, part: Part, message: str) -> None:
        self._show(part, message)

    def fetched(self, part: Part, done: int, total: int) -> None:
        self._show(part, f"{done} of {total} files fetched")

    def ready(self, part: Part, address: str, seconds: float) -> None:
        self._show(part, "ready")

    def _show(self, part: Part, message: str) -> None:
        with self._lock:
            self._doing[part] = message
            self._status.update("   ".join(f"{name}: {doing}" for name, doing in sorted(self._doing.items())))
