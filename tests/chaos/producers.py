"""The producers, seen from the harness."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from deploy.cli.support.history import HistoryRecord
from tests.chaos.producer_child import Line, parse_acks
from tests.e2e.command import Running

POLL_S: Final = 0.1


class Producer:
    """One producer: its share of the records, and its process, which may be killed."""

    def __init__(self, name: str, directory: Path, records: list[HistoryRecord], arguments: list[str]) -> None:
        """Nothing is started yet."""
        self.name = name
        self.total = len(records)
        self.acks: dict[int, tuple[int, int]] = {}
        self.records = records
        self._directory = directory
        self._files = [directory / f"{name}.{kind}" for kind in ("records", "gate", "acks")]
        encode = msgspec.json.Encoder().encode
        lines = (encode(Line(one.event_id, one.key, one.value, one.timestamp_ms)) for one in records)
        self._files[0].write_bytes(b"\n".join(lines))
        self._arguments = arguments
        self._starts = 0
        self._read = 0
        self.open(0.0)
        self.running: Running | None = None

    def open(self, share: float) -> None:
        """Let it go on until this share is sent."""
        path = self._files[1]
        path.with_suffix(".next").write_text(str(round(share * self.total)))
        path.with_suffix(".next").replace(path)

    def start(self, environment: dict[str, str]) -> None:
        """Start it, or start it again."""
        self._starts += 1
        command = [sys.executable, "-m", "tests.chaos.producer_child", *self._arguments, *self._files]
        self.running = Running(f"{self.name}-{self._starts}", command, self._directory, environment)

    def kill(self) -> None:
        """Kill -9, and expect it to be away until it is started again."""
        running, self.running = self.running, None
        assert running is not None
        running.process.kill()
        running.process.wait()

    def refresh(self) -> None:
        """Read what is acknowledged by now."""
        if self._files[2].exists():
            with self._files[2].open() as file:
                file.seek(self._read)
                found = file.read()
            finished = found.rfind("\n") + 1
            self._read += finished
            self.acks.update(parse_acks(found[:finished]))

    @property
    def at_ms(self) -> int:
        """Time of its latest acknowledged record."""
        return self.records[max(self.acks)].timestamp_ms if self.acks else self.records[0].timestamp_ms

    def check(self) -> None:
        """Fail if it has ended without having sent everything."""
        code = self.running.process.poll() if self.running is not None else None
        assert code in (None, 0), f"{self.name} has ended (exit code {code}):\n{self.running.err.read_text()[-3000:]}"  # type: ignore[union-attr]


class Producers:
    """All producers as one feed (see tests.faults.feed.Feed).

    Attributes:
        sent: records that are acknowledged.
        total: records to send.
        next_offsets: by partition: the offset after the last acknowledged record.
    """

    def __init__(self, number: int, directory: Path, bootstrap: str, topic: str, records: list[HistoryRecord]) -> None:
        """Each producer has users of its own; nothing is started yet."""
        shares: list[list[HistoryRecord]] = [[] for _ in range(number)]
        for record in records:
            shares[crc32(record.key) % number].append(record)
        self.producers = [
            Producer(f"producer-{n}", directory, share, [bootstrap, topic]) for n, share in enumerate(shares, 1)
        ]
        self.total = len(records)
        self.sent = 0
        self.next_offsets: dict[int, int] = {}

    @property
    def share(self) -> float:
        """How much is sent, from 0 to 1."""
        return self.sent / self.total

    @property
    def at_ms(self) -> int:
        """The time of the history that is being sent: that of the producer that is behind."""
        return min(producer.at_ms for producer in self.producers)

    def open(self, share: float) -> None:
        """Let all go on until this share is sent."""
        for producer in self.producers:
            producer.open(share)

    def acknowledged(self) -> dict[str, tuple[int, int]]:
        """Return partition and offset of all acknowledged events, by event id."""
        return {
            producer.records[index].event_id: where
            for producer in self.producers
            for index, where in producer.acks.items()
        }

    async def run(self, tell_time: Callable[[int], None]) -> None:
        """Take note of what is acknowledged, until everything is. `tell_time` hears the time of the history."""
        while self.sent < self.total:
            for producer in self.producers:
                await asyncio.to_thread(producer.refresh)
            for producer in self.producers:
                for partition, offset in producer.acks.values():
                    self.next_offsets[partition] = max(self.next_offsets.get(partition, 0), offset + 1)
            self.sent = sum(len(producer.acks) for producer in self.producers)
            tell_time(self.at_ms)
            await asyncio.sleep(POLL_S)
