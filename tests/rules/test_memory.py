"""Remembered ids against a plain list: bounds, chunks, roll-back, recovery (C32)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.rules.memory import Remembered, digest

ROUNDS = st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=12)


@settings(max_examples=60, deadline=None)
@given(limit=st.sampled_from([1, 5, 64, 100, 130]), rounds=ROUNDS)
def test_the_latest_ids_are_remembered_through_rounds_and_recovery(limit: int, rounds: list[tuple[int, bool]]) -> None:
    """What is remembered is exactly the latest `limit` ids of committed rounds, in memory and after recovery."""
    remembered = Remembered(limit)
    expected: list[bytes] = []
    changelog: dict[int, bytes | None] = {}
    number = 0
    for count, abort in rounds:
        before = list(expected)
        for _ in range(count):
            number += 1
            key = digest(str(number))
            assert remembered.get(key) is None
            forgotten = remembered.add(key, str(number))
            expected.append(key)
            assert forgotten == max(0, len(expected) - limit)
            expected = expected[-limit:]
        if abort:
            remembered.rollback()
            expected = before
        else:
            changelog.update(remembered.changes())
            remembered.commit()
        assert len(remembered) == len(expected)
        assert all(remembered.get(key) is not None for key in expected)
    recovered = Remembered(limit)
    for chunk, value in changelog.items():
        recovered.load(chunk, value)
    assert len(recovered) == len(expected)
    assert all(recovered.get(key) == remembered.get(key) for key in expected)
    key = digest("one more")
    for one in (remembered, recovered):
        one.add(key, "one more")
    assert list(remembered.changes()) == list(recovered.changes())
