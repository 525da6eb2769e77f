"""Logs: structlog events on standard error, for a terminal with colours, else as JSON lines."""

import logging
import os
import sys
from typing import Any

import structlog

from deploy.environment import SettingsError
from deploy.redaction import Redactor
from deploy.settings import DEFAULT_LEVEL, LEVEL_VARIABLE, LEVELS


def log_level() -> int:
    """Return the configured level; SettingsError if PLAUDIT_LOG_LEVEL names none."""
    name = os.environ.get(LEVEL_VARIABLE, "").strip().lower() or DEFAULT_LEVEL
    if name not in LEVELS:
        raise SettingsError(LEVEL_VARIABLE, name, f"use one of {', '.join(LEVELS)}")
    return int(getattr(logging, name.upper()))


def set_up_logging(level: int | None = None) -> None:
    """Configure structlog, and the standard library's loggers to be shown through it.

    Args:
        level: of our own events, as in `logging`; None = PLAUDIT_LOG_LEVEL. Libraries log from WARNING on at least.

    Raises:
        SettingsError: PLAUDIT_LOG_LEVEL names no level.
    """
    chosen = log_level() if level is None else level
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    terminal = sys.stderr.isatty()
    rendered: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # rich would show locals
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(chosen, logging.WARNING))
    for package in ("deploy", "processors", "projections"):
        logging.getLogger(package).setLevel(chosen)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Hides secrets in the finished line, tracebacks and what libraries log included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._redact = Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._redact(super().format(record))


def quiet_logging() -> None:
    """For commands that tell their errors themselves: nothing on standard output, only errors on standard error."""
    set_up_logging(logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
