"""State that earlier versions left in the changelog is read, that of newer ones refused (X33)."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from processors.rules.upcasts import STATE_VERSION, UPCASTS, present_json
from schemas.records import LogRecord
from schemas.state import NewerStateError
from tests.rules.stored_state import FOLDER, fold_on
from tests.rules.test_rounds import Installation

FILES = sorted(FOLDER.glob("version-*.json.gz"))


def restored(path: Path, log: str) -> tuple[Installation, list[LogRecord], list[Any]]:
    """Return an installation that recovered from stored bytes, the log from there on, and what the old version made of it."""
    stored = json.loads(gzip.decompress(path.read_bytes()))[log]
    store = CatalogStore()
    catalog = msgspec.Raw(msgspec.json.encode(stored["catalog"]))
    store.add(msgspec.json.encode({"tenant": "", "version": "1", "atMs": stored["catalogAtMs"], "config": catalog}))
    installation = Installation(store)
    installation.changelog = {_bytes(key): base64.b64decode(value) for key, value in stored["changelog"].items()}
    installation.restart()
    records = [LogRecord(0, at, time, _key(key), base64.b64decode(value)) for at, time, key, value in stored["records"]]
    return installation, records, stored["emitted"]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _key(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("log", ["every_field", "sample"])
def test_state_of_an_earlier_version_goes_on_as_it_would_have(path: Path, log: str) -> None:
    """Byte for byte, what the version that wrote it derived from the rest of the log."""
    installation, records, expected = restored(path, log)
    assert fold_on(installation, records) == expected


def test_there_are_bytes_of_every_earlier_version() -> None:
    """Whoever raises the version writes them first: python -m tests.rules.stored_state VERSION."""
    assert {f"version-{number}.json.gz" for number in range(1, STATE_VERSION)} <= {path.name for path in FILES}
    assert UPCASTS.keys() == set(range(1, STATE_VERSION))


@pytest.mark.parametrize("log", ["every_field", "sample"])
def test_what_was_touched_is_written_in_the_present_form(log: str) -> None:
    """The rest stays as it is, and is read as often as it takes."""
    installation, records, _ = restored(FILES[0], log)
    old = dict(installation.changelog)
    fold_on(installation, records[:3])
    written = {key: value for key, value in installation.changelog.items() if old[key] != value}
    states = [value for key, value in written.items() if key[:1] == b"u"]
    assert states
    assert {value[8] for value in states if value} == {STATE_VERSION}
    assert written[b"\0partition"][:1] == bytes([STATE_VERSION])
    assert len(written) < len(old)


def test_state_of_a_newer_version_is_refused() -> None:
    """The marker is in every round: a worker meets it before it uses anything."""
    partition = Partition(0, FoldSettings(), CatalogStore())
    with pytest.raises(NewerStateError, match=f"schema version {STATE_VERSION + 1}, this program .* {STATE_VERSION}"):
        partition.load(b"\0partition", bytes([STATE_VERSION + 1]) + b"[7]")
    partition.load(b"\0partition", bytes([STATE_VERSION]) + b"[7]")
    assert partition.next_offset == 7


def test_upcasts_are_steps() -> None:
    """One per version, in order, from where the form stands."""

    def step(state: list[Any]) -> list[Any]:
        return [*state, "from 1"]

    chain = {**UPCASTS, 1: step}
    assert present_json(b'["t"]', chain) == b'["t","from 1"]'
    assert present_json(bytes([STATE_VERSION]) + b'["t"]', chain) == b'["t"]'
