"""A log of the sample history for the tests of the fold."""

from itertools import islice
from pathlib import Path

import msgspec
import pytest

from deploy.catalog_yaml import read_config
from deploy.git_history import read_csv
from processors.rules.catalogs import CatalogStore
from schemas.catalog_file import encode_config
from schemas.instants import format_instant, parse_instant
from schemas.records import LogRecord

SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "samples"
RECORDS = 6_000

_encode = msgspec.json.Encoder().encode


def sample_config() -> object:
    """Return the decoded sample catalog."""
    return read_config(SAMPLES / "catalog.yaml")


def sample_log(count: int = RECORDS, partition: int = 0) -> tuple[CatalogStore, list[LogRecord]]:
    """Return a store with the sample catalog, and a log: its switch, the first records of the history, ticks between."""
    records = list(islice(read_csv(SAMPLES / "git_commits.csv.gz", attributes=True), count))
    first = parse_instant(records[0]["occurredAt"])
    version = {"tenant": "", "version": "1", "atMs": first, "config": msgspec.Raw(encode_config(sample_config()))}
    store = CatalogStore()
    store.add(_encode(version))
    values: list[tuple[int, bytes | None, bytes]] = []
    switch = {"type": "catalog", "version": "1", "at": format_instant(first)}
    values.append((first, None, _encode(switch)))
    latest = first
    for number, record in enumerate(records):
        at = parse_instant(record["occurredAt"])
        latest = max(latest, at)
        values.append((at, record["user"]["id"].encode(), _encode(record)))
        if number % 1_000 == 999:
            values.append((latest, None, _encode({"type": "tick", "at": format_instant(latest)})))
    end = latest + 400 * 86_400_000
    values.append((end, None, _encode({"type": "tick", "at": format_instant(end)})))
    return store, [LogRecord(partition, offset, *value) for offset, value in enumerate(values)]


@pytest.fixture(scope="session")
def log() -> tuple[CatalogStore, list[LogRecord]]:
    """The sample log, once."""
    return sample_log()
