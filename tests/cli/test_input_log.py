"""What `run` finds in the input log: known events, and whether the tick of X8 is still due."""

from typing import NamedTuple

import pytest

from deploy.cli.support.input_log import Log
from deploy.cli.support.sources import TopicSource
from processors.agents.clock import tick_value
from processors.rules.control import CONTROL_HEADER

TICK = tick_value(1_700_000_000_000)
CATALOG = b'{"type":"catalog","version":"1","at":"2025-03-01T00:00:00Z"}'


class _Record(NamedTuple):
    partition: int
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def _event(partition: int, event_id: str = "e") -> _Record:
    return _Record(partition, b'{"eventId":"%s","metric":"words","user":"18","value":1}' % event_id.encode())


@pytest.mark.parametrize(
    ("records", "due"),
    [
        ([], False),
        ([_Record(0, CATALOG)], False),
        ([_event(0)], True),
        ([_event(0), _Record(0, TICK)], False),
        ([_event(0), _event(1), _Record(0, TICK)], True),
        ([_event(0), _event(1), _Record(0, TICK), _Record(1, TICK)], False),
        ([_event(0), _Record(0, TICK), _event(0)], True),
        ([_Record(0, TICK), _Record(0, CATALOG)], False),
        ([_Record(0, b"no json")], True),
    ],
)
def test_a_tick_is_due_if_none_follows_the_last_record_of_a_user(records: list[_Record], due: bool) -> None:
    log = Log()
    for record in records:
        log.add(record)
    assert log.tick_due == due


def test_a_tick_without_the_token_is_none() -> None:
    log = Log("secret")
    log.add(_event(0))
    log.add(_Record(0, TICK))
    assert (log.tick_due, log.ticked) == (True, False)
    log.add(_Record(0, TICK, ((CONTROL_HEADER, b"secret"),)))
    assert (log.tick_due, log.ticked) == (False, True)


def test_events_are_known_by_their_id() -> None:
    log = Log()
    log.add(_event(0, "a"))
    log.add(_event(1, "b"))
    assert log.event_ids == {"a", "b"}


def test_a_log_that_has_lost_its_beginning_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    source = TopicSource.__new__(TopicSource)  # as it is after its look at the topic
    source.topic, source.begins = "plaudit.events", {0: 0, 1: 17}
    assert source.warn_of_lost_records() is source
    assert (
        "plaudit.events has lost its beginning to a retention (partition 1 from offset 17)" in capsys.readouterr().err
    )
    source.begins = {0: 0, 1: 0}
    source.warn_of_lost_records()
    assert capsys.readouterr().err == ""
