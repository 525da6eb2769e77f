"""What a partition says of its size is what is on the changelog, whatever rounds did."""

import pytest

from processors.rules.memory import CHUNK_ENTRIES
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.emission import Emission
from schemas.records import LogRecord
from tests.rules.fold import HOUR, HOURLY, START, Fold, config

USERS = ("a", "b", "c")
Changelog = dict[bytes, bytes | None]


class Recorded(Fold):
    """A fold whose changelog is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.changelog: Changelog = {}

    def events(self, hour: float, *users: str) -> None:
        """One round with an event of each user."""
        out: list[Emission] = []
        for offset, user in enumerate(users, self.partition.next_offset):
            value = b'{"metric":"m","user":"%s","value":5,"eventId":"e%d","attributes":{"a":"x%d"}}' % (
                user.encode(),
                offset,
                offset,
            )
            record = LogRecord(0, offset, START + int(hour * HOUR), user.encode(), value)
            assert self.partition.process(record, out, 10**6)
        self.changelog.update(self.partition.changes(self.partition.next_offset + len(users)))

    def stored_bytes(self) -> int:
        """Bytes of states and annexes on the changelog."""
        return sum(len(value) for key, value in self.changelog.items() if value is not None and key[:1] in b"uht")


@pytest.fixture
def fold() -> Recorded:
    fold = Recorded()
    fold.publish(config(HOURLY), 0)
    return fold


def test_the_size_of_the_state_is_that_of_the_changelog(fold: Recorded) -> None:
    for hour in range(1, 5):
        fold.events(hour / 100, *USERS)
        fold.partition.commit()
        assert fold.partition.measures(START).state_bytes == fold.stored_bytes() > 0
    measures = fold.partition.measures(START)
    assert (measures.users, measures.remembered_ids, measures.catalogs) == (3, 12, {"": "1"})


def test_a_rolled_back_round_leaves_no_trace_in_the_sizes(fold: Recorded) -> None:
    fold.events(0.1, "a")
    fold.partition.commit()
    before = fold.partition.measures(START)
    fold.events(0.2, *USERS)
    fold.partition.rollback()
    assert fold.partition.measures(START) == before


def test_a_recovered_partition_says_the_same_but_for_ids_which_count_as_full_chunks(fold: Recorded) -> None:
    fold.events(0.1, *USERS)
    fold.partition.commit()
    again = Partition(0, FoldSettings(), fold.store)
    for key, value in fold.changelog.items():
        again.load(key, value)
    again.loaded()
    found, expected = again.measures(START), fold.partition.measures(START)
    assert (found.state_bytes, found.users, found.timers) == (expected.state_bytes, 3, 3)
    assert found.remembered_ids == 3 * CHUNK_ENTRIES


def test_who_is_due_is_overdue_until_a_tick_has_come_that_far(fold: Recorded) -> None:
    fold.events(0.1, *USERS)
    fold.partition.commit()
    later = START + 10 * HOUR
    assert (fold.partition.measures(later).tick_ms, fold.partition.measures(later).overdue) == (None, 0)
    fold.tick(0.5)
    assert fold.partition.measures(START).tick_ms == START + HOUR // 2
    assert [fold.partition.measures(at).overdue for at in (START + HOUR // 2, later)] == [0, 3]
    assert fold.partition.measures(later).timers == 3
    fold.tick(10)
    assert fold.partition.measures(later).overdue == 0


def test_an_erased_user_counts_no_more(fold: Recorded) -> None:
    fold.events(0.1, *USERS)
    fold.partition.commit()
    offset = fold.partition.next_offset
    record = LogRecord(0, offset, START + HOUR, b"a", b'{"type":"erase","user":"a"}')
    assert fold.partition.process(record, [], 10**6)
    fold.changelog.update(fold.partition.changes(offset + 1))
    fold.partition.commit()
    measures = fold.partition.measures(START)
    assert (measures.users, measures.remembered_ids, measures.state_bytes) == (2, 2, fold.stored_bytes())
