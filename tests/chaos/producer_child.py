"""A producer as a process that is killed and started again: idempotent, and it sends again what was not acknowledged.

    python -m tests.chaos.producer_child BOOTSTRAP TOPIC RECORDS GATE ACKS

RECORDS holds a `Line` as JSON in each line; GATE a number: how many of them may be sent by now. Every acknowledgement
is a line of ACKS: index in RECORDS, partition, offset (-1: the broker does not remember it). A start goes on at the
first record without one, so what a killed producer had sent but not seen acknowledged is in the log twice.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final, TextIO

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.brokers import Brokers

STEP_S: Final = 0.25
MOST_PER_STEP: Final = 100
STEPS_PER_GATE: Final = 30
"""A step sends this part of what is left to the gate (as tests.faults.feed): something is always left to be sent."""

RETRY_S: Final = 0.5


class Line(msgspec.Struct):
    """A record to send."""

    id: str
    key: bytes
    value: bytes
    timestamp_ms: int


def parse_acks(text: str) -> dict[int, tuple[int, int]]:
    """Return partition and offset of what is acknowledged, by index. What follows the last line end does not count."""
    *lines, _ = text.split("\n")
    numbers = (list(map(int, line.split())) for line in lines)
    return {index: (partition, offset) for index, partition, offset in numbers}


class Sender:
    """Sends all records, step by step."""

    def __init__(self, topic: str, records: list[Line], gate: Path, acks: TextIO, todo: list[int]) -> None:
        self._topic = topic
        self._records = records
        self._gate = gate
        self._acks = acks
        self._todo = todo
        self._due = 0.0

    async def run(self, producer: AIOKafkaProducer) -> None:
        """Return when everything is sent."""
        while self._todo:
            await asyncio.gather(self._step(producer), asyncio.sleep(STEP_S))

    async def _step(self, producer: AIOKafkaProducer) -> None:
        gate = int(self._gate.read_text() or 0)
        left = sum(1 for index in self._todo[: MOST_PER_STEP * STEPS_PER_GATE] if index < gate)
        rate = MOST_PER_STEP if gate >= len(self._records) else min(MOST_PER_STEP, left / STEPS_PER_GATE)
        self._due = min(self._due + rate, MOST_PER_STEP)
        run = [index for index in self._todo[: int(self._due)] if index < gate]
        self._due -= len(run)
        sending = [await self._send(producer, index) for index in run]
        await asyncio.gather(*sending)
        self._todo = self._todo[len(run) :]

    async def _send(self, producer: AIOKafkaProducer, index: int) -> "asyncio.Task[None]":
        one = self._records[index]
        future = await producer.send(self._topic, one.value, one.key, timestamp_ms=one.timestamp_ms)

        async def note() -> None:
            done = await future
            self._acks.write(f"{index} {done.partition} {done.offset}\n")
            self._acks.flush()

        return asyncio.ensure_future(note())


async def main(bootstrap: str, topic: str, records: Path, gate: Path, acks: Path) -> None:
    """Send everything."""
    decode = msgspec.json.Decoder(Line).decode
    lines = [decode(line) for line in records.read_bytes().splitlines()]
    while True:
        done = parse_acks(acks.read_text()) if acks.exists() else {}
        todo = [index for index in range(len(lines)) if index not in done]
        producer = AIOKafkaProducer(**Brokers(bootstrap).client(), enable_idempotence=True, acks="all")
        with acks.open("a") as file:
            try:
                await producer.start()
                await Sender(topic, lines, gate, file, todo).run(producer)
                return
            except KafkaError as error:  # a new producer, which sends again what has no acknowledgement
                print(f"producer: {error!r}", file=sys.stderr, flush=True)
            finally:
                await producer.stop()
        await asyncio.sleep(RETRY_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:])))
