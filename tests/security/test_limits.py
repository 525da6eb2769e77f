"""Every limit on what comes in: at it a record passes, beyond it is refused with a code and a message with the limit."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from processors.rules.decode import MAX_DEPTH, decode
from processors.rules.errors import RejectedError
from schemas.catalog_fields import MAX_FREE_TEXT, MAX_ITEMS, CatalogError
from schemas.catalog_file import MAX_ATTRIBUTES, MAX_METRICS, MAX_SYSTEMS, load_catalog
from schemas.records import MAX_DEVICE_TOKENS, MAX_ID_LENGTH, MAX_PROFILE_TEXT
from schemas.topics import MAX_RECORD_BYTES

Make = Callable[[int], dict[str, Any]]

EVENT = {"metric": "m", "user": "u", "value": 1}
RECORDS: list[tuple[str, int, Make]] = [
    ("user id", MAX_ID_LENGTH, lambda n: {**EVENT, "user": "u" * n}),
    ("user.id", MAX_ID_LENGTH, lambda n: {**EVENT, "user": {"id": "u" * n}}),
    ("event id", MAX_ID_LENGTH, lambda n: {**EVENT, "eventId": "e" * n}),
    ("tenant", MAX_ID_LENGTH, lambda n: {**EVENT, "tenant": "t" * n}),
    ("source", MAX_PROFILE_TEXT, lambda n: {**EVENT, "source": "s" * n}),
    ("name", MAX_PROFILE_TEXT, lambda n: {**EVENT, "user": {"id": "u", "name": "n" * n}}),
    ("email", MAX_PROFILE_TEXT, lambda n: {**EVENT, "user": {"id": "u", "email": "n" * n}}),
    ("event attribute", MAX_PROFILE_TEXT, lambda n: {**EVENT, "attributes": {"a": "v" * n}}),
    ("user attribute", MAX_PROFILE_TEXT, lambda n: {**EVENT, "user": {"id": "u", "attributes": {"a": "v" * n}}}),
    ("device token", MAX_PROFILE_TEXT, lambda n: {**EVENT, "user": {"id": "u", "deviceTokens": ["t" * n]}}),
    ("device tokens", MAX_DEVICE_TOKENS, lambda n: {**EVENT, "user": {"id": "u", "deviceTokens": ["t"] * n}}),
    ("pause id", MAX_ID_LENGTH, lambda n: {"type": "streak.pause", "user": "u", "id": "p" * n, "start": "", "end": ""}),
]


@pytest.mark.parametrize(("limit", "make"), [one[1:] for one in RECORDS], ids=[one[0] for one in RECORDS])
def test_a_record_beyond_a_limit_is_refused_with_the_limit(limit: int, make: Make) -> None:
    decode(msgspec.json.encode(make(limit)))
    with pytest.raises(RejectedError) as caught:
        decode(msgspec.json.encode(make(limit + 1)))
    assert caught.value.reason == "bad_request"
    assert str(limit) in caught.value.message


def test_the_size_of_a_record_and_its_depth_are_limited() -> None:
    filler = msgspec.json.encode({**EVENT, "source": ""})
    exact = filler.replace(b'"source":""', b'"source":""' + b" " * (MAX_RECORD_BYTES - len(filler)))
    decode(exact)
    for value, reason, limit in (
        (exact + b" ", "too_large", MAX_RECORD_BYTES),
        (b'{"metric":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "malformed", MAX_DEPTH),
    ):
        with pytest.raises(RejectedError) as caught:
            decode(value)
        assert caught.value.reason == reason and str(limit) in caught.value.message


def system(**more: Any) -> dict[str, Any]:
    return {"systems": [{"key": "s", "triggers": [], **more}]}


CATALOGS: list[tuple[str, int, Make]] = [
    ("metrics", MAX_METRICS, lambda n: {"metrics": [f"m{i}" for i in range(n)]}),
    ("systems", MAX_SYSTEMS, lambda n: {"systems": [{"key": f"s{i}", "triggers": []} for i in range(n)]}),
    ("user attributes", MAX_ATTRIBUTES, lambda n: {"userAttributes": [f"a{i}" for i in range(n)]}),
    ("event attributes", MAX_ATTRIBUTES, lambda n: {"eventAttributes": [f"a{i}" for i in range(n)]}),
    ("description", MAX_FREE_TEXT, lambda n: {"systems": [{"key": "s", "triggers": [], "description": "d" * n}]}),
    ("achievements", MAX_ITEMS, lambda n: {"achievements": [{"key": f"a{i}", "trigger": "api"} for i in range(n)]}),
    ("levels", MAX_ITEMS, lambda n: system(levels=[{"key": f"l{i}", "points": i} for i in range(n)])),
]


@pytest.mark.parametrize(("limit", "make"), [one[1:] for one in CATALOGS], ids=[one[0] for one in CATALOGS])
def test_a_catalog_beyond_a_limit_is_refused_with_the_limit(limit: int, make: Make) -> None:
    assert f"the limit is {limit}" not in errors(make(limit))
    assert f"the limit is {limit}" in errors(make(limit + 1))


def errors(config: dict[str, Any]) -> str:
    """What is wrong with a catalog."""
    try:
        load_catalog(config)
    except CatalogError as error:
        return str(error)
    return ""
