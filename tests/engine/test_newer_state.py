"""A changelog that a newer version wrote stops the worker, with the versions and the way out (X33)."""

from types import SimpleNamespace
from typing import cast

import pytest

from processors.engine.errors import StartupError
from processors.engine.recovery import ChangelogRecovery
from processors.engine.table import StateTable
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from processors.rules.upcasts import STATE_VERSION

NEWER = STATE_VERSION + 1


class Recovery(ChangelogRecovery):
    """Reads one marker of a newer version, as a fold gets it."""

    def __init__(self) -> None:
        """No application: only what the message names."""
        self.app = cast("StateTable", SimpleNamespace(conf=SimpleNamespace(id="plaudit-progress")))  # type: ignore[assignment]

    async def recover(self) -> None:
        """See ChangelogRecovery."""
        Partition(0, FoldSettings(), CatalogStore()).load(b"\0partition", bytes([NEWER]) + b"[7]")


async def test_the_worker_stops_and_says_what_to_do() -> None:
    """It is no error to try again: nothing would change."""
    with pytest.raises(StartupError) as caught:
        await Recovery()._recover_in_the_end()
    said = str(caught.value)
    assert f"schema version {NEWER}" in said
    assert f"up to {STATE_VERSION}" in said
    assert "docs/upgrades.md" in said
