"""Bugs of the rules are told once, without values (X32)."""

from structlog.testing import capture_logs

from processors.agents.failures import FailureLog
from schemas.records import LogRecord

RECORD = LogRecord(3, 17, 0, b"ann", b"{}")


def _fail(value: str) -> Exception:
    try:
        raise KeyError(value)
    except KeyError as error:
        return error


def test_a_failure_is_told_with_its_place_and_traceback_once() -> None:
    """The same place fails for record after record; what the exception says is not told."""
    failures = FailureLog()
    with capture_logs() as logs:
        for value in ("ann@example.org", "bob@example.org"):
            failures(_fail(value), RECORD)
    (told,) = logs
    assert (told["error"], told["partition"], told["offset"]) == ("KeyError", 3, 17)
    assert "test_failures.py" in told["trace"]
    assert "example.org" not in str(told)
