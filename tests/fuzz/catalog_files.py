"""Mutated catalog files: each is refused with a message, or can be in force; nothing in between."""

import json
import random
import re
import time
from collections import Counter
from typing import Any

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import CatalogError, decode_config, encode_config, load_catalog
from schemas.emission import Emission
from schemas.instants import format_instant
from schemas.records import LogRecord
from tests.fuzz.catalogs import CATALOGS
from tests.fuzz.inputs import BAD_NUMBERS, NUMBERS, SCRAPS
from tests.rules.stored_state import CATALOG

Json = dict[str, Any]

START = 1_743_192_000_000
DAY = 86_400_000
WORDS = (
    "active", "inactive", "archived", "locked", "metric", "time", "streak", "achievement", "api", "user_creation", "anniversary",
    "hour", "day", "daily", "weekly", "monthly", "m1", "m2", "xp", "t1", "ten", "called", "2025-03-28", "2025-02-30", "up", "OR",
)  # fmt: skip
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[[^\[\]]*\]|\{[^{}]*\}')
_TOKEN = re.compile(_VALUE.pattern + r"|[\[\]{}:,]")
_MENDED = tuple(text for text in SCRAPS if text[:1] in '"[{tfn01-' and text.count("[") == text.count("]"))


def run_catalogs(seed: str, count: int) -> tuple[Counter[str], tuple[int, str], list[str]]:
    """Mutate catalogs; return counts, the slowest (ns, what), and what went wrong."""
    pick = random.Random(f"catalogs-{seed}")
    texts = [encode_config(config).decode() for config in (*CATALOGS, CATALOG)]
    counts: Counter[str] = Counter()
    slowest, wrong = (0, ""), []
    for _ in range(count):
        text = pick.choice(texts)
        for _ in range(pick.choice((1, 1, 2, 3))):
            text = _mutate(pick, text)
        began = time.thread_time_ns()
        try:
            counts[_try(text.encode("utf-8", "replace"))] += 1
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}\ncatalog file: {text[:3000]}")
        slowest = max(slowest, (time.thread_time_ns() - began, f"catalog file, {len(text)} characters"))
    return counts, slowest, wrong


def _mutate(pick: random.Random, text: str) -> str:
    tokens = list((_TOKEN if pick.random() < 0.1 else _VALUE).finditer(text))
    if not tokens:
        return text
    token = pick.choice(tokens)
    others = (
        pick.choice(SCRAPS if pick.random() < 0.1 else _MENDED),
        json.dumps(pick.choice(WORDS)),
        json.dumps(pick.choice(WORDS)),
        pick.choice(NUMBERS + BAD_NUMBERS[:5]),
        pick.choice(("-1", "1000001", "9007199254740991", "9007199254740992", "0.5")),
        pick.choice(tokens).group(),
    )
    kind = token.group()[:1]
    if pick.random() < 0.7 and kind in '"-0123456789':  # of its own kind, which may well fit
        others = others[1:3] if kind == '"' else ("1", "2", "10", "100", "0", *others[3:5])
    return text[: token.start()] + pick.choice(others) + text[token.end() :]


def _try(text: bytes) -> str:
    """Load a catalog, and fold some records with it if it loads."""
    try:
        config = decode_config(text)
    except (ValueError, RecursionError):
        return "catalog file, no JSON"
    try:
        load_catalog(config)
    except CatalogError:
        return "catalog file, refused"
    store = CatalogStore()
    record = {"tenant": "", "version": "1", "atMs": START, "config": msgspec.Raw(encode_config(config))}
    store.add(msgspec.json.encode(record))
    _fold(store)
    return "catalog file, loads and folds"


def _fold(store: CatalogStore) -> None:
    errors: list[BaseException] = []
    partition = Partition(0, FoldSettings(), store, report=lambda error, record: errors.append(error))
    at = START
    records: list[tuple[str | None, Json]] = [(None, {"type": "catalog", "version": "1", "at": format_instant(START)})]
    for metric in ("m1", "m2", "m"):
        event = {
            "metric": metric,
            "user": {"id": "u", "attributes": {"p": "pro"}},
            "value": 7,
            "attributes": {"a": "x"},
        }
        records += [("u", event), ("u", {"type": "achievement.complete", "user": "u", "achievement": "called"})]
    for offset, (key, value) in enumerate([*records, (None, {"type": "tick", "at": format_instant(START + 2 * DAY)})]):
        at += DAY // 4
        log_record = LogRecord(0, offset, at, key and key.encode(), msgspec.json.encode(value))
        out: list[Emission] = []
        while not partition.process(log_record, out, len(out) + 1_000):
            partition.changes(offset)
            partition.commit()
        partition.changes(offset + 1)
        partition.commit()
        if offset == 0:
            refused = [one.value for one in out if one.topic == "rejected"]
            assert not refused, f"a catalog that loads cannot be in force: {refused}"
    if errors:
        raise errors[0]
