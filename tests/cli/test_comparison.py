"""Matching of what is derived with what is recorded, when both come as they like."""

import pytest

from deploy.cli.support import comparison as module
from deploy.cli.support.comparison import Comparison, Counts, Recorded, form_of
from schemas.topics import AWARDS, LEDGER

Side = list[tuple[str, bytes, bytes]]
"""Topic, key, value of records."""

ONE, TWO, THREE, FOUR = (b'{"id":"%s","more":"than a digest"}' % name for name in (b"1", b"2", b"3", b"4"))


def compare(derived: Side, recorded: Side, *, needed: int | None = None, first: str = "derived") -> Comparison:
    """Give one side, then the other. `needed`: so many derived ones must be recorded; None = all."""
    one = Comparison({AWARDS: Counts(), LEDGER: Counts()})

    def derive() -> None:
        for number, (topic, key, value) in enumerate(derived):
            one.derive(topic, key, value, (0, 0, number), needed is None or number < needed)

    def record() -> None:
        for number, (topic, key, value) in enumerate(recorded):
            one.record(Recorded(topic, key, value, (0, number)))

    for side in (derive, record) if first == "derived" else (record, derive):
        side()
    one.finish()
    return one


def counts(one: Comparison) -> tuple[int, int, int, int]:
    """Derived, recorded, only derived, only recorded, over all topics."""
    names = ("derived", "recorded", "only_derived", "only_recorded")
    found = [sum(getattr(counts, name) for counts in one.counts.values()) for name in names]
    return found[0], found[1], found[2], found[3]


@pytest.fixture(params=[100_000, 0], ids=["whole", "digests"], autouse=True)
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is kept whole, or as a digest."""
    monkeypatch.setattr(module, "WHOLE", request.param)


@pytest.mark.parametrize("first", ["derived", "recorded"])
def test_the_order_of_users_and_topics_does_not_count(first: str) -> None:
    derived = [(AWARDS, b"a", ONE), (AWARDS, b"b", TWO), (LEDGER, b"a", THREE), (AWARDS, b"a", FOUR)]
    recorded = [derived[1], derived[2], derived[0], derived[3]]
    one = compare(derived, recorded, first=first)
    assert (one.mismatches, counts(one)) == ([], (4, 4, 0, 0))


@pytest.mark.parametrize("first", ["derived", "recorded"])
def test_the_order_within_a_user_and_topic_does(first: str) -> None:
    one = compare([(AWARDS, b"a", ONE), (AWARDS, b"a", TWO)], [(AWARDS, b"a", TWO), (AWARDS, b"a", ONE)], first=first)
    (mismatch,) = one.mismatches
    assert (mismatch.topic, mismatch.key, mismatch.position) == (AWARDS, b"a", (0, 0, 0))
    assert counts(one) == (2, 2, 0, 0)


@pytest.mark.parametrize("first", ["derived", "recorded"])
def test_after_a_difference_the_rest_of_the_user_is_counted_not_mistrusted(first: str) -> None:
    derived = [(AWARDS, b"a", value) for value in (ONE, TWO, THREE)]
    one = compare(derived, [derived[0], derived[2], (AWARDS, b"a", FOUR), (AWARDS, b"a", FOUR)], first=first)
    assert [mismatch.position for mismatch in one.mismatches] == [(0, 0, 1)]
    assert counts(one) == (3, 4, 1, 2)


def test_what_is_left_over_on_either_side_is_a_difference() -> None:
    one = compare([(AWARDS, b"a", ONE), (AWARDS, b"a", TWO)], [(AWARDS, b"a", ONE), (AWARDS, b"b", THREE)])
    missing, extra = one.mismatches
    assert (missing.key, missing.position, missing.recorded) == (b"a", (0, 0, 1), None)
    assert extra.position is None
    assert extra.recorded is not None and extra.recorded.key == b"b"
    assert counts(one) == (2, 2, 1, 1)


@pytest.mark.parametrize("first", ["derived", "recorded"])
def test_what_need_not_be_recorded_yet_may_be_in_part(first: str) -> None:
    derived = [(AWARDS, b"a", value) for value in (ONE, TWO, THREE)]
    one = compare(derived, derived[:2], needed=1, first=first)
    assert (one.mismatches, counts(one)) == ([], (2, 2, 0, 0))
    other = compare(derived, [derived[0], derived[2]], needed=1, first=first)
    assert [mismatch.position for mismatch in other.mismatches] == [(0, 0, 1)]
    assert counts(other) == (2, 2, 0, 0)  # the second is not applied, as far as anybody knows


def test_a_topic_that_has_lost_records_is_compared_from_its_first_one() -> None:
    one = Comparison({AWARDS: Counts()})
    one.begin_with(Recorded(AWARDS, b"a", TWO, (0, 7)))
    one.record(Recorded(AWARDS, b"a", TWO, (0, 7)))
    for number, value in enumerate((ONE, TWO, THREE)):
        one.derive(AWARDS, b"a", value, (0, 0, number), True)
    one.finish()
    assert one.never_began == []
    assert [mismatch.position for mismatch in one.mismatches] == [(0, 0, 2)]
    assert one.counts[AWARDS].skipped == 1


def test_a_first_record_that_is_not_derived_is_told() -> None:
    one = Comparison({AWARDS: Counts()})
    one.begin_with(Recorded(AWARDS, b"a", FOUR, (0, 7)))
    one.record(Recorded(AWARDS, b"a", FOUR, (0, 7)))
    one.derive(AWARDS, b"a", ONE, (0, 0, 0), True)
    one.finish()
    assert (one.never_began, one.mismatches) == ([AWARDS], [])


def test_headers_are_part_of_what_is_compared() -> None:
    assert form_of(ONE, b"points.awarded", b"1") != form_of(ONE, b"points.awarded", b"2")
    assert form_of(ONE) == ONE
