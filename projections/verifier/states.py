"""The changelog against the state that the fold has at the same offset."""

from typing import Final, NamedTuple

import msgspec
from aiokafka import TopicPartition

from processors.rules.entries import HISTORY_PREFIX, TALLIES_PREFIX, USER_PREFIX
from processors.rules.memory import EVENT_IDS, IDEMPOTENCY_KEYS
from processors.rules.partition import MARKER_KEY
from processors.rules.upcasts import MARK, present_json
from projections.verifier.logs import Reader
from projections.verifier.refold import digest
from projections.verifier.report import Difference, Report
from schemas.state import PartitionState, UserState

_CHUNK_BYTES: Final = 5
"""Kind and number of a chunk of remembered ids, before the user's key."""

_NAMES: Final = {USER_PREFIX: "state", HISTORY_PREFIX: "settled periods", TALLIES_PREFIX: "tallies"}

_DUE_BYTES: Final = 8
"""Next due instant, before the state of a user."""

_marker: Final = msgspec.json.Decoder(PartitionState)
_state: Final = msgspec.json.Decoder(UserState)
_encode: Final = msgspec.json.Encoder().encode


class Stored(NamedTuple):
    """What a changelog partition holds in the end.

    Attributes:
        values: digest and offset of the last value of each key.
        marker: input offset that it stands at.
        marker_offset: where the marker stands, None if there is none.
    """

    values: dict[bytes, tuple[bytes, int]]
    marker: int
    marker_offset: int | None


async def read_changelog(reader: Reader, place: TopicPartition) -> Stored:
    """Read a changelog partition to its end."""
    values: dict[bytes, tuple[bytes, int]] = {}
    marker = 0
    async for record in reader.all(place):
        if record.key is None:
            continue
        if record.value is None:
            values.pop(record.key, None)
            continue
        values[record.key] = digest(_present(record.key, record.value)), record.offset
        if record.key == MARKER_KEY:
            marker = _marker.decode(present_json(record.value)).next_offset
    found = values.get(MARKER_KEY)
    return Stored(values, marker, None if found is None else found[1])


def _present(key: bytes, value: bytes) -> bytes:
    """Return a value as this program would write it: users that nothing has touched since an upgrade have the form of the
    version before (X33)."""
    if key == MARKER_KEY:
        return value if value[:1] == MARK else MARK + _encode(_marker.decode(present_json(value)))
    due, form = value[:_DUE_BYTES], value[_DUE_BYTES:]
    if key[:1] != USER_PREFIX or form[:1] == MARK:
        return value
    return due + MARK + _encode(_state.decode(present_json(form)))


def compare_states(
    report: Report, place: TopicPartition, expected: dict[bytes, bytes], stored: Stored
) -> list[Difference]:
    """Return where the changelog differs from the state of the fold at its marker."""
    counts = report.of(place.topic)
    counts.expected += len(expected)
    counts.found += len(stored.values)
    result = []
    for key, value in expected.items():
        found = stored.values.get(key)
        name = shown_state(key)
        if found is None:
            result.append(Difference("lost", place.topic, name, place.partition, expected="a value"))
        elif found[0] != value:
            one, other = f"state at offset {stored.marker} of the log", "another value"
            result.append(Difference("wrong", place.topic, name, place.partition, found[1], "", one, other))
    for key, (_, offset) in stored.values.items():
        if key not in expected:
            found_text = "a value that nothing causes"
            result.append(Difference("wrong", place.topic, shown_state(key), place.partition, offset, found=found_text))
    return result


def check_marker(
    report: Report, place: TopicPartition, stored: Stored, committed: int | None, committed_after: int | None
) -> None:
    """Report an offset marker that is not what the group has committed; both may have moved meanwhile."""
    if committed is None or committed_after is None:
        if stored.marker:
            report.note(
                f"the group has committed nothing for partition {place.partition}, the state stands at an offset"
            )
        return
    if not committed <= stored.marker <= committed_after:
        expected = f"offset {committed}, as the group has committed"
        found = f"offset {stored.marker}"
        report.add(
            Difference(
                "wrong", place.topic, "offset marker", place.partition, stored.marker_offset, "", expected, found
            )
        )


def shown_state(key: bytes) -> str:
    """Return what a changelog key is about."""
    if key == MARKER_KEY:
        return "partition"
    kind = key[:1]
    if kind in (EVENT_IDS, IDEMPOTENCY_KEYS):
        what = "event ids" if kind == EVENT_IDS else "idempotency keys"
        return f"{what} {int.from_bytes(key[1:_CHUNK_BYTES])} of {_user(key[_CHUNK_BYTES:])}"
    return f"{_NAMES.get(kind, 'unknown key')} of {_user(key[1:])}"


def _user(key: bytes) -> str:
    return key.decode("utf-8", "replace").replace("\0", " ")
