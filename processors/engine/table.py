"""The state table: one fold per input partition, kept in a changelog of the same partition number."""

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.types import TP

from processors.engine.fold import Fold
from processors.engine.recovery import ChangelogRecovery
from schemas.topics import STATE_TABLE

MakeFold = Callable[[int], Fold]


class StateTable(faust.Table):  # type: ignore[type-arg]
    """A Faust table as far as assignment goes (name, changelog, partitions); the content are folds."""

    def __init__(self, app: faust.App, make_fold: MakeFold, partitions: int) -> None:
        """`make_fold` gets the partition number."""
        super().__init__(app, name=STATE_TABLE, partitions=partitions, key_type=bytes, value_type=bytes)
        self.folds: dict[int, Fold] = {}
        """Folds of the partitions at hand. One in recovery is not among them."""
        self._make_fold = make_fold
        self._loading: dict[int, Fold] = {}

    async def on_start(self) -> None:
        """Nothing: the changelog is created by `topics.create_topics`, not declared by the worker."""

    def begin(self, partition: int) -> None:
        """Begin the recovery of a partition with an empty fold."""
        self._loading[partition] = self._make_fold(partition)

    def apply_raw(self, partition: int, records: Iterable[Any]) -> None:
        """Recovery: load changelog records."""
        load = self._loading[partition].load
        for record in records:
            load(record.key, record.value)

    def marker(self, partition: int) -> int:
        """Return the next input offset that the state of a partition stands at."""
        fold = self._loading.get(partition) or self.folds[partition]
        return fold.next_offset

    def loaded(self, partition: int) -> None:
        """End the recovery of a partition: its fold can be used."""
        fold = self._loading.pop(partition, None)
        if fold is not None:
            fold.loaded()
            self.folds[partition] = fold

    def drop_all(self) -> None:
        """Forget all state."""
        self.folds.clear()
        self._loading.clear()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget the state of partitions that are no longer ours, and of recoveries that were broken off."""
        ours = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == self.changelog_topic_name}
        for partition in set(self.folds) - ours:
            del self.folds[partition]
        self._loading.clear()

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Nothing: see recovery.ChangelogRecovery."""


class EngineTables(TableManager):
    """Faust's table manager with our recovery."""

    @property
    def recovery(self) -> ChangelogRecovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = ChangelogRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        assert isinstance(self._recovery, ChangelogRecovery)
        return self._recovery

    async def on_start(self) -> None:
        """As Faust's, without the second that it sleeps."""
        await self._update_channels()
        await self.recovery.start()
