"""A short run of the fuzzer, and bugs planted on purpose that it must find. The long run: python -m tests.fuzz."""

from typing import Any

import pytest

from processors.rules import apply, decode, partition, user_records
from processors.rules.errors import STATUS
from tests.fuzz import wire
from tests.fuzz.__main__ import run_worlds
from tests.fuzz.wire import Refused, judge, parse, scaled

WORLDS = 200
LEAST_ACCEPTED = 0.3

NOT_REACHED = {"total_out_of_range", "batch_size", "internal_error"}
"""Reasons that need 10^6 large events, that never reach the log, and that must not come."""


def test_the_fold_does_with_mutated_inputs_what_the_chapters_say() -> None:
    """No crash, no trace of what is refused, the oracles' reasons and results; every reason code comes up."""
    result = run_worlds("tests", 0, WORLDS)
    assert result.differences == []
    total = result.counts.total()
    accepted = sum(count for name, count in result.counts.items() if name.startswith("accepted"))
    assert accepted > LEAST_ACCEPTED * total
    refused = {name.removeprefix("refused ") for name in result.counts if name.startswith("refused ")}
    assert set(STATUS) - refused == NOT_REACHED


def without_key_check(*_: Any) -> bytes:
    """A fold that takes any key."""
    return b"ann0"


def without_depth(_: bytes) -> None:
    """A decoder that nests as deep as it comes."""


def failing(*_: Any, **__: Any) -> Any:
    """A bug."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("module", "name", "bug"),
    [
        (partition, "check_key", without_key_check),
        (decode, "check_depth", without_depth),
        (apply, "parse_scaled", lambda text: int(float(text) * 10**9)),
        (apply, "crossed", lambda trigger, before, after: 1),
        (user_records, "check_user", lambda *_: None),
        (apply, "upsert", failing),
    ],
    ids=["any key", "any depth", "floats", "always one multiple", "no user checks", "a failing rule"],
)
def test_the_fuzzer_sees(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, bug: Any) -> None:
    """Each of these is found, most within a few hundred inputs."""
    monkeypatch.setattr(module, name, bug)
    assert any(run_worlds("planted", first, 10).differences for first in range(0, WORLDS, 10))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e12", 10**21),
        ("1000000000000.0000000004", 10**21),
        ("0.0000000005", 1),
        ("-2.0000000015", -2_000_000_002),
        ("1e-3000000", 0),
        ("0e99999999999999999999", 0),
    ],
)
def test_the_oracle_reads_numbers(text: str, value: int) -> None:
    """N3, N4, C4, C30, by hand."""
    assert scaled(text) == value


@pytest.mark.parametrize("text", ["1e13", "1000000000000.0000000005", "9" * 400, "1e99999999999999999999"])
def test_the_oracle_knows_what_is_too_large(text: str) -> None:
    """N4."""
    with pytest.raises(Refused, match="value_out_of_range"):
        scaled(text)


def test_the_oracle_reads_json() -> None:
    """X9: the last of two names counts, also inside; no NaN, no half characters, no depth."""
    assert parse(b'{"a":{"b":1,"b":2},"a":{"b":3}}') == {"a": {"b": "3"}}
    for value in (b"NaN", b'"\\ud800"', b"\xff", b"[" * 100 + b"]" * 100):
        with pytest.raises(Refused, match="malformed"):
            parse(b'{"a":' + value + b"}")


def test_the_oracle_judges_by_the_order_of_the_chapters() -> None:
    """X9 before Z1 before Z3."""
    seen = wire.Seen(tenants={""}, metrics={"m"}, partitions=1)
    value = b'{"metric":"n","user":"u","value":"x","valeu":1}'
    assert judge(value, b"v", 0, 0, [], seen).reason == "unknown_field"
    assert judge(value.replace(b',"valeu":1', b""), b"v", 0, 0, [], seen).reason == "wrong_key"
    assert judge(value.replace(b',"valeu":1', b""), b"u", 0, 0, [], seen).reason == "bad_request"
    assert judge(b'{"metric":"n","user":"u","value":1}', b"u", 0, 0, [], seen).reason == "unknown_metric"
    assert judge(b'{"metric":"m","user":"u","value":1}', b"u", 0, 0, [], seen).reason is None
