"""The same log gives the same derived events, whatever the rounds, roll-backs, slices and restarts."""

import random

import pytest

from processors.rules.catalogs import CatalogStore
from processors.rules.effects import Effects, MakeEffects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.emission import Emission
from schemas.records import LogRecord

Log = tuple[CatalogStore, list[LogRecord]]
BIG = 10**9


class Installation:
    """A partition with its changelog, as an engine would run it."""

    def __init__(
        self, store: CatalogStore, effects: MakeEffects = Effects, settings: FoldSettings | None = None
    ) -> None:
        self.store = store
        self.effects = effects
        self.settings = settings or FoldSettings()
        self.changelog: dict[bytes, bytes | None] = {}
        self.partition = Partition(0, self.settings, store, effects)
        self.emitted: list[Emission] = []

    def restart(self) -> None:
        """Forget the memory, recover from the changelog (compacted, in any order of keys)."""
        self.partition = Partition(0, self.settings, self.store, self.effects)
        for key, value in sorted(self.changelog.items()):
            self.partition.load(key, value)
        self.partition.loaded()

    def round(self, records: list[LogRecord], *, abort: bool = False, limit: int = BIG) -> None:
        """Carry out one round, in slices where a record is larger than the limit."""
        out: list[Emission] = []
        for record in records:
            while not self.partition.process(record, out, limit):
                out = self._end(out, record.offset, abort=False)
        self._end(out, records[-1].offset + 1, abort=abort)

    def slices(self, records: list[LogRecord], size: int) -> None:
        """Carry out one round, whose records all come in slices."""
        out: list[Emission] = []
        for record in records:
            while not self.partition.process(record, out, len(out) + size):
                continue
        self._end(out, records[-1].offset + 1, abort=False)

    def _end(self, out: list[Emission], next_offset: int, *, abort: bool) -> list[Emission]:
        changes = self.partition.changes(next_offset)
        if abort:
            self.partition.rollback()
        else:
            self.changelog.update(changes)
            self.partition.commit()
            self.emitted += out
        return []

    def result(self) -> dict[bytes | None, list[bytes]]:
        """Return what was emitted per key, in order."""
        found: dict[bytes | None, list[bytes]] = {}
        for emission in self.emitted:
            found.setdefault(emission.key, []).append(emission.value)
        return found


def chunks(records: list[LogRecord], size: int) -> list[list[LogRecord]]:
    """Cut a log into rounds."""
    return [records[start : start + size] for start in range(0, len(records), size)]


@pytest.fixture(scope="module")
def undisturbed(log: Log) -> Installation:
    """The log in one round."""
    installation = Installation(log[0])
    installation.round(log[1])
    return installation


@pytest.mark.parametrize("size", [1, 7, 500])
def test_round_size_changes_nothing(log: Log, undisturbed: Installation, size: int) -> None:
    """Rounds of any size give the same bytes and the same final changelog."""
    installation = Installation(log[0])
    for records in chunks(log[1], size):
        installation.round(records)
    assert installation.result() == undisturbed.result()
    assert installation.changelog.keys() == undisturbed.changelog.keys()
    assert all(installation.changelog[key] == value for key, value in undisturbed.changelog.items())


def test_aborted_rounds_change_nothing(log: Log, undisturbed: Installation) -> None:
    """A round that is rolled back any number of times and done again leaves no trace."""
    chance = random.Random(4)
    installation = Installation(log[0])
    for records in chunks(log[1], 50):
        while chance.random() < 0.5:
            installation.round(records[: chance.randint(1, len(records))], abort=True)
        installation.round(records)
    assert installation.result() == undisturbed.result()
    assert installation.changelog == undisturbed.changelog


def test_slices_change_nothing(log: Log, undisturbed: Installation) -> None:
    """A tick larger than a round is carried out in slices; nothing is emitted twice or left out."""
    installation = Installation(log[0])
    for records in chunks(log[1], 100):
        installation.round(records, limit=25)
    assert installation.result() == undisturbed.result()
    assert installation.changelog == undisturbed.changelog


def test_users_that_do_not_stay_decoded_change_nothing(log: Log, undisturbed: Installation) -> None:
    """What is kept decoded is for speed alone."""
    installation = Installation(log[0], settings=FoldSettings(decoded_users=3))
    for records in chunks(log[1], 20):
        installation.round(records)
    assert installation.result() == undisturbed.result()
    assert installation.changelog == undisturbed.changelog


def test_restarts_change_nothing(log: Log, undisturbed: Installation) -> None:
    """A worker that recovers from the changelog goes on as if nothing had happened, also in the middle of a tick."""
    installation = Installation(log[0])
    chance = random.Random(5)
    for records in chunks(log[1], 200):
        for record in records:
            out: list[Emission] = []
            while not installation.partition.process(record, out, 40):
                out = installation._end(out, record.offset, abort=False)
                if chance.random() < 0.3:
                    installation.restart()
            installation._end(out, record.offset + 1, abort=False)
        installation.restart()
    assert installation.result() == undisturbed.result()


def test_records_already_applied_are_skipped_and_counted(log: Log) -> None:
    """The second layer: an offset below the marker changes nothing, and a counter shows it."""
    installation = Installation(log[0])
    installation.round(log[1][:100])
    before = dict(installation.changelog)
    emitted = len(installation.emitted)
    installation.restart()
    installation.round(log[1][:100])
    assert installation.partition.counters["skipped_offsets"] == 100
    assert len(installation.emitted) == emitted
    assert installation.changelog == before


def test_state_stays_within_its_bound(undisturbed: Installation) -> None:
    """No state of the sample comes near what a changelog record may hold."""
    assert max(len(value or b"") for value in undisturbed.changelog.values()) < 64 * 1024
