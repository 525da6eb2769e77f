"""A batch: what is inserted together, named so that it can be repeated exactly."""

import re
from hashlib import sha1
from typing import Final

import msgspec

MAX_PARTITIONS: Final = 100
"""Partitions in one batch: its text must fit into the 4,096 bytes of metadata that a broker takes by default."""

_SPAN = re.compile(r"([0-9]+):([0-9]+)-([0-9]+)")


class Span(msgspec.Struct, frozen=True, order=True):
    """Offsets of one partition, both ends inclusive. Both were delivered; between them there may be gaps, where
    transaction markers and aborted records stand, the same ones for every reader of committed records."""

    partition: int
    first: int
    last: int


class Batch(msgspec.Struct, frozen=True):
    """Records of one topic (full name), as spans in the order of partitions."""

    topic: str
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """`partition:first-last`, comma-separated."""
        return ",".join(f"{span.partition}:{span.first}-{span.last}" for span in self.spans)

    def last(self, partition: int) -> int:
        """Last offset in a partition; -1 if it has no part in the batch."""
        return next((span.last for span in self.spans if span.partition == partition), -1)

    def token(self, epoch: int) -> str:
        """What ClickHouse recognises a repetition by. It must name the content: the same token with other rows would be
        dropped silently."""
        return f"{epoch}-{self.topic}-{self.text}"

    def query_id(self, epoch: int, database: str, table: str) -> str:
        """Id of the insert into one table. A server refuses a second query with the id of one that runs, so two sinks
        that repeat the same batch take turns; and it can be killed by it."""
        digest = sha1(self.token(epoch).encode(), usedforsecurity=False).hexdigest()[:24]
        return f"plaudit-sink-{database}-{table}-{digest}"


def parse_batch(topic: str, text: str) -> Batch | None:
    """Return the batch of a text; None if it is none (empty, or metadata of another program)."""
    matches = [_SPAN.fullmatch(part) for part in text.split(",")]
    spans = [Span(int(match[1]), int(match[2]), int(match[3])) for match in matches if match is not None]
    if not text or len(spans) != len(matches) or any(span.first > span.last for span in spans):
        return None
    return Batch(topic, tuple(sorted(spans)))
