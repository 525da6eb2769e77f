"""Topics and state on a real broker: a clean installation is equal, and every damage is found, as what it is."""

import json
from collections.abc import Callable

import pytest

from projections.verifier import Report, verify
from schemas.topics import ACHIEVEMENTS, AWARDS, LEDGER, LEVELS, OUTCOMES, REJECTED
from tests.verifier.installation import MIDDLE_MS, Installation, Outputs, Record, log


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves here: an offset that does not show never will."""
    monkeypatch.setattr("projections.verifier.partition.COMMIT_SHOWS_S", 0.0)


def checked(installation: Installation, since_ms: int | None = None) -> Report:
    """Verify topics and state."""
    return verify(installation.brokers, prefix=installation.names.prefix, clickhouse_url=None, since_ms=since_ms)


def found(report: Report) -> set[tuple[str, str, str]]:
    """Kind, topic without prefix, id of every difference."""
    return {(one.kind, one.where.partition(".")[2] or "state", one.id) for one in report.differences}


def test_a_clean_installation_is_equal(installation: Installation) -> None:
    installation.publish()
    report = checked(installation)
    assert report.differences == []
    assert report.ok
    assert report.records == sum(map(len, log().records.values()))
    assert report.counts[installation.names.output(REJECTED)].found > 0
    assert report.counts[installation.names.output(LEDGER)].found > 1_000
    assert report.counts[installation.names.changelog].expected > 100
    assert report.users > 20
    derived = {target[0] for target in installation.outputs} - {installation.names.changelog}
    for topic in derived:
        published = sum(len(records) for (name, _), records in installation.outputs.items() if name == topic)
        assert report.counts[topic].found == report.counts[topic].expected == published


class Damages:
    """Damages of single records, none of which meets another."""

    def __init__(self, installation: Installation) -> None:
        self._names = installation.names
        self.expected: set[tuple[str, str, str]] = set()
        self.since: set[tuple[str, str, str]] = set()
        self._used: set[bytes | None] = set()

    def __call__(self, outputs: Outputs) -> None:
        """Do them all."""
        self._expect("lost", AWARDS, outputs, lambda records, at: [*records[:at], *records[at + 1 :]])
        self._expect(
            "doubled", LEVELS, outputs, lambda records, at: [*records[: at + 1], records[at], *records[at + 1 :]]
        )
        self._expect("doubled", LEDGER, outputs, lambda records, at: [*records, records[at]])
        self._expect("wrong", ACHIEVEMENTS, outputs, _changed)
        self._expect("wrong", OUTCOMES, outputs, _changed)
        self._expect("lost", REJECTED, outputs, lambda records, at: [*records[:at], *records[at + 1 :]])
        self._expect("reordered", LEDGER, outputs, _moved_down)

    def _expect(
        self, kind: str, logical: str, outputs: Outputs, change: Callable[[list[Record], int], list[Record]]
    ) -> None:
        target = self._names.output(logical), 0
        records = outputs[target]
        at = next(
            place
            for place in range(1, len(records))
            if records[place].key not in self._used and self._has_a_later_one(records, place)
        )
        self._used.add(records[at].key)
        self.expected.add((kind, logical, _identity(records[at])))
        outputs[target] = change(records, at)

    @staticmethod
    def _has_a_later_one(records: list[Record], place: int) -> bool:
        return any(other.key == records[place].key for other in records[place + 1 : -1])


def _identity(record: Record) -> str:
    if record.id:
        return record.id
    value = json.loads(record.value or b"")
    origin = value.get("origin")
    return value["eventId"] if origin is None else "{topic}-{partition}-{offset}".format(**origin)


def _changed(records: list[Record], at: int) -> list[Record]:
    """One byte is another: the last digit of the value."""
    value = bytearray(records[at].value or b"")
    place = max(place for place in range(len(value)) if chr(value[place]).isdigit())
    value[place] = ord("1") if value[place] != ord("1") else ord("2")
    return [*records[:at], records[at]._replace(value=bytes(value)), *records[at + 1 :]]


def _moved_down(records: list[Record], at: int) -> list[Record]:
    """Behind the user's last record."""
    rest = [*records[:at], *records[at + 1 :]]
    last = max(place for place, record in enumerate(rest) if record.key == records[at].key)
    return [*rest[: last + 1], records[at], *rest[last + 1 :]]


def test_every_damage_of_a_topic_is_found_as_what_it_is(installation: Installation) -> None:
    damages = Damages(installation)
    installation.publish(damages)
    report = checked(installation)
    assert found(report) == damages.expected
    assert not report.ok
    assert (report.lost, report.doubled, report.reordered, report.wrong) == (2, 2, 1, 2)
    places = {one.id: one for one in report.differences}
    for one in report.differences:
        assert (one.offset is None) == (one.kind == "lost"), one
    (wrong,) = (one for one in places.values() if one.kind == "wrong" and ACHIEVEMENTS in one.where)
    assert ": " in wrong.expected and wrong.expected != wrong.found


def test_a_record_that_nothing_caused_and_one_under_another_key_are_wrong(installation: Installation) -> None:
    names = installation.names
    target = names.output(AWARDS), 1
    strange = Record(
        b"nobody", b'{"id":"strange","type":"points.awarded"}', [("type", b"points.awarded"), ("id", b"strange")]
    )
    moved: list[Record] = []

    def damage(outputs: Outputs) -> None:
        moved.append(outputs[target][40])
        outputs[target][40] = outputs[target][40]._replace(key=b"somebody else")
        outputs[target].append(strange)

    installation.publish(damage)
    report = checked(installation)
    assert found(report) == {("wrong", AWARDS, "strange"), ("wrong", AWARDS, moved[0].id)}
    assert report.wrong == 2 and report.lost == 0


def test_only_what_was_caused_since_an_instant_counts(installation: Installation) -> None:
    names = installation.names
    target = names.output(AWARDS), 0
    lost: list[Record] = []

    def damage(outputs: Outputs) -> None:
        lost.extend((outputs[target][2], outputs[target][-3]))
        outputs[target] = [record for record in outputs[target] if record not in lost]

    installation.publish(damage)
    assert found(checked(installation)) == {("lost", AWARDS, one.id) for one in lost}
    report = checked(installation, since_ms=MIDDLE_MS)
    assert found(report) == {("lost", AWARDS, lost[1].id)}
    assert report.counts[names.output(AWARDS)].skipped == 1


def test_a_changed_state_and_a_marker_that_is_not_the_committed_offset_are_wrong(installation: Installation) -> None:
    target = installation.names.changelog, 0
    changed: list[str] = []

    def damage(outputs: Outputs) -> None:
        records = outputs[target]
        last = {record.key: place for place, record in enumerate(records)}
        key, place = next((key, place) for key, place in last.items() if key and key[:1] == b"u")
        value = records[place].value
        assert value is not None
        records[place] = records[place]._replace(value=value.replace(b'",', b'" ,', 1))
        changed.append(f"state of {key[1:].decode()}")
        gone = next(key for key in last if key and key[:1] == b"h" and key[1:] != records[place].key)
        records.append(Record(gone, None, []))
        changed.append(f"settled periods of {gone[1:].decode()}")

    offsets = {**installation.offsets, 1: installation.offsets[1] - 1}
    installation.publish(damage, offsets=offsets)
    report = checked(installation)
    assert {(one.kind, one.id) for one in report.differences} == {
        ("wrong", changed[0]),
        ("lost", changed[1]),
        ("wrong", "offset marker"),
    }


def test_what_is_not_committed_yet_need_not_be_there_but_may(installation: Installation) -> None:
    """Of the last record some effects are there: it is carried out in slices."""
    last = {partition: records[-1].offset for partition, records in log().records.items()}
    names = installation.names
    installation.publish(offsets=last)
    report = checked(installation)
    assert {one.id for one in report.differences} == {"offset marker"}  # the state was not put back
    assert report.beyond == 2
    assert report.counts[names.output(LEDGER)].lost == 0


def test_a_topic_that_has_lost_its_older_records_is_compared_from_the_first_that_is_left(
    installation: Installation,
) -> None:
    topic = installation.names.output(LEDGER)
    lost: list[Record] = []

    def damage(outputs: Outputs) -> None:
        lost.append(outputs[topic, 0].pop(-5))

    installation.publish(damage)
    half = len(installation.outputs[topic, 0]) // 2
    installation.expire(LEDGER, 0, half)
    report = checked(installation)
    assert found(report) == {("lost", LEDGER, lost[0].id)}
    assert report.counts[topic].skipped == half
    assert [f"{topic} 0 has lost its records before offset" in note for note in report.notes] == [True]


def test_differences_are_limited_and_the_others_counted(installation: Installation) -> None:
    target = installation.names.output(AWARDS), 0

    def damage(outputs: Outputs) -> None:
        del outputs[target][10:110]

    installation.publish(damage)
    names = installation.names
    report = verify(installation.brokers, prefix=names.prefix, clickhouse_url=None, limit=5)
    assert len(report.differences) == 5
    assert report.lost == 100
    assert report.more("lost") == 95
