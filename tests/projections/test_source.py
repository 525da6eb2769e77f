"""What the sink asks brokers that are away, or that do not know yet what others know."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata

from projections.errors import TopicChangedError
from projections.sink import source
from projections.sink.batch import Batch, Span
from projections.sink.settings import SinkSettings
from schemas.brokers import Brokers

PLACE = TopicPartition("plaudit.ledger", 0)
BATCH = Batch("plaudit.ledger", (Span(0, 5, 9),))


class Consumer:
    """Answers with one end of the log after another, the last for good; None: no broker answers."""

    def __init__(self, *ends: int | None) -> None:
        self.ends = list(ends)

    async def beginning_offsets(self, places: Any) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: Any) -> dict[TopicPartition, int]:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if end is None:
            raise KafkaTimeoutError
        return dict.fromkeys(places, end)


async def bounds(consumer: Any, least: int) -> int:
    _, ends = await source.log_bounds(consumer, [PLACE], {PLACE: least})
    return ends[PLACE]


async def test_an_end_before_what_was_read_already_is_asked_for_again() -> None:
    assert await bounds(Consumer(7, 7, 12), 10) == 12


async def test_an_end_that_stays_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_ENDS_PATIENCE_S", 0.0)
    assert await bounds(Consumer(7), 10) == 7


@pytest.mark.parametrize("ends", [(12,), (None, 12)], ids=["brokers answer", "brokers are away"])
async def test_a_batch_that_cannot_be_read_for_long_is_read_once_it_can(
    monkeypatch: pytest.MonkeyPatch, ends: tuple[int | None, ...]
) -> None:
    attempts: list[Batch] = []

    async def read(_: Any, batch: Batch) -> list[Any]:
        attempts.append(batch)
        if len(attempts) <= len(ends):
            raise TimeoutError
        return ["record"]

    monkeypatch.setattr(source, "_read_spans", read)
    consumer: Any = Consumer(*ends)
    assert await source._read_patiently(consumer, BATCH) == ["record"]


async def test_a_batch_that_the_topic_has_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any) -> list[Any]:
        raise TimeoutError

    monkeypatch.setattr(source, "_read_spans", read)
    monkeypatch.setattr(source, "_ENDS_PATIENCE_S", 0.0)
    consumer: Any = Consumer(9)
    with pytest.raises(TopicChangedError, match="0:5-9"):
        await source._read_patiently(consumer, BATCH)


async def test_announcements_are_asked_for_until_the_coordinator_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [TimeoutError(), KafkaTimeoutError(), {PLACE: OffsetAndMetadata(5, BATCH.text)}]

    async def offsets(_: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def nothing() -> None:
        pass

    admin = SimpleNamespace(start=nothing, close=nothing, list_consumer_group_offsets=offsets)
    monkeypatch.setattr(source, "AIOKafkaAdminClient", lambda **_: admin)
    settings = SinkSettings(Brokers("b:1"), "", "d", "plaudit", ("ledger",), "g", None, 0)
    assert await source.announced_batches(settings) == {("plaudit.ledger", 0): BATCH}
