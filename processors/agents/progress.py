"""The progress agent: users' metrics, points, levels, achievements and streaks, on the engine."""

from processors.agents.failures import FailureLog
from processors.engine.fold import Fold
from processors.engine.table import MakeFold
from processors.rules.catalogs import CatalogStore
from processors.rules.effects import Effects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings


def progress_folds(settings: FoldSettings, catalogs: CatalogStore) -> MakeFold:
    """Return the maker of the folds that the engine runs: one `Partition` per input partition."""

    failures = FailureLog()

    def make(partition: int) -> Fold:
        return Partition(partition, settings, catalogs, Effects, failures)

    return make
