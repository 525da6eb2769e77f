"""What libraries say is cut to what an operator can use."""

import logging

from processors.engine.logs import LibraryFilter


def record(message: str, level: int = logging.WARNING, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("aiokafka.producer.sender", level, "f", line, message, (), None)


def test_expected_answers_are_dropped_and_repetitions_come_once_in_a_while() -> None:
    now = 0.0
    said = LibraryFilter(lambda: now)
    assert not said.filter(record("Got error produce response, retrying. Error: NotEnoughReplicasError"))
    assert said.filter(record("Unable to connect"))
    assert not said.filter(record("Unable to connect"))
    assert said.filter(record("Something else"))
    now = 11.0
    assert said.filter(record("Unable to connect"))
    assert said.filter(record("NotEnoughReplicas for good", logging.ERROR))
