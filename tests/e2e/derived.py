"""Derived events by topic and user, from the topics and from `simulate`, so that both can be compared byte by byte.

The order of a user's events is only defined within a topic, because topics are separate logs.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any

import msgspec

from deploy.cli.support.kafka import consumer, read_to_end
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.emission import Emission
from schemas.topics import DERIVED, TOPIC_OF_TYPE

MOST_SHOWN = 10

Place = tuple[str, str]
"""Logical topic and what is the key there: user id, or id of the points system of a boost for everybody (E3)."""


class Boost(msgspec.Struct):
    """The boost of a notice."""

    system_id: str = msgspec.field(name="pointsSystemId")


class Data(msgspec.Struct):
    """What says where an event without user belongs."""

    boost: Boost | None = None


class Head(msgspec.Struct):
    """What of a derived event says where it belongs."""

    id: str
    type: str
    data: Data
    user_id: str = msgspec.field(default="", name="userId")

    @property
    def key(self) -> str:
        """Key of the record."""
        return self.user_id if self.user_id or self.data.boost is None else self.data.boost.system_id


_decode = msgspec.json.Decoder(Head).decode


class Derived:
    """A stream of derived events.

    Attributes:
        digests: by place: number of events and digest of their bytes, in their order.
        kept: by place: the bytes themselves, of the users to keep and of no user.
        ids: ids of all events.
        doubles: ids that came more than once.
    """

    def __init__(self, keep: Collection[str] | None = None) -> None:
        """`keep`: users whose bytes are kept, beside what is of no user; None keeps all."""
        self.kept: dict[Place, list[bytes]] = {}
        self.ids: set[str] = set()
        self.doubles: list[str] = []
        self._keep = keep
        self._hashes: dict[Place, Any] = {}
        self._counts: dict[Place, int] = {}

    @property
    def digests(self) -> dict[Place, tuple[int, str]]:
        """See the class."""
        return {place: (self._counts[place], one.hexdigest()) for place, one in self._hashes.items()}

    def add(self, value: bytes, topic: str | None = None) -> Head:
        """Take one event; `topic` is where it stood, by default where its type belongs."""
        head = _decode(value)
        if head.id in self.ids:
            self.doubles.append(head.id)
        self.ids.add(head.id)
        place = topic or TOPIC_OF_TYPE[head.type], head.key
        if place not in self._hashes:
            self._hashes[place], self._counts[place] = hashlib.sha256(), 0
        self._hashes[place].update(b"%d:%b" % (len(value), value))
        self._counts[place] += 1
        if self._keep is None or not head.user_id or head.user_id in self._keep:
            self.kept.setdefault(place, []).append(value)
        return head

    def add_emission(self, emission: Emission) -> None:
        """Take what a fold emitted; outcomes and refusals are passed over."""
        if emission.type:
            self.add(emission.value, emission.topic)


def of_lines(lines: Iterable[bytes], keep: Collection[str] | None = None) -> Derived:
    """Return the events that `simulate` has printed."""
    found = Derived(keep)
    for line in lines:
        found.add(line.rstrip(b"\n"))
    return found


async def of_topics(brokers: Brokers, names: Names, keep: Collection[str] | None = None) -> Derived:
    """Return the committed events of all derived topics; headers must say what the events say."""
    found = Derived(keep)
    for topic in DERIVED:
        async for record in records_of(brokers, names, topic):
            head = found.add(record.value, topic)
            assert dict(record.headers) == {"type": head.type.encode(), "id": head.id.encode()}
            assert record.key == head.key.encode()
    return found


async def records_of(brokers: Brokers, names: Names, topic: str) -> AsyncIterator[Any]:
    """Yield the committed records of a logical topic."""
    async with consumer(brokers) as one:
        async for run in read_to_end(one, names.output(topic)):
            for record in run:
                yield record


def differences(expected: dict[Place, list[bytes]], actual: dict[Place, list[bytes]]) -> list[str]:
    """Return, for the first places that differ, where and how."""
    found = []
    for place in sorted(expected.keys() | actual.keys()):
        wanted, got = expected.get(place, []), actual.get(place, [])
        if wanted != got:
            at = next((i for i, (one, two) in enumerate(zip(wanted, got, strict=False)) if one != two), None)
            index = min(len(wanted), len(got)) if at is None else at
            shown = [side[index].decode() if index < len(side) else None for side in (wanted, got)]
            found.append(
                f"{place}: {len(wanted)} expected, {len(got)} found; at {index} expected {shown[0]}, found {shown[1]}"
            )
            if len(found) == MOST_SHOWN:
                break
    return found
