"""`plaudit rejected`: what a retry writes, and all of it on a real broker with a worker (X31, D-91)."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli.support.letters import Letter, Original, Place
from deploy.cli.support.retrying import RETRY_HEADER, RefusedRetry, make_retry
from deploy.embedded.kafka import KafkaServer
from processors.rules.errors import FIXES, STATUS
from tests.cli.conftest import CATALOG, Plaudit
from tests.e2e.command import Command, Running, wait_until

PLACE = Place("plaudit.events", 3, 17)


def letter(reason: str = "unknown_metric", key: bytes | None = b"18") -> Letter:
    """A refusal."""
    return Letter(PLACE, reason, "why", key, 1_000, "")


def original(value: bytes | None, key: bytes | None = b"18", timestamp: int = 5) -> Original:
    """A record on the input log."""
    return Original(key, value, timestamp, (("source", b"x"),))


def test_a_retry_is_the_record_as_it_stands_with_an_id_of_its_place() -> None:
    """Every byte is kept, numbers included; time and headers too."""
    made = make_retry(letter(), original(b' { "metric":"m", "value":1.50e0, "user":"18" }'))
    assert made.value == b' {"eventId":"retry:plaudit.events-3-17", "metric":"m", "value":1.50e0, "user":"18" }'
    assert (made.key, made.timestamp_ms) == (b"18", 5)
    assert made.headers == [("source", b"x"), (RETRY_HEADER, b"plaudit.events-3-17")]


def test_a_record_with_an_id_keeps_it() -> None:
    """What the producer sends again itself counts once together with the retry (I13)."""
    value = b'{"metric":"m","value":1,"user":"18","eventId":"e"}'
    assert make_retry(letter(), original(value)).value == value


@pytest.mark.parametrize(
    ("value", "key", "said"),
    [
        (None, b"18", "no value"),
        (b"{", b"18", "--edit"),
        (b'{"metric":"m","user":"18"}', b"18", "bad_request"),
        (b'{"metric":"m","user":"18","value":1}', b"19", "--set-key"),
        (b'{"metric":"m","user":"18","value":1}', None, "--set-key"),
        (b'{"type":"tick","at":"2025-01-01T00:00:00Z"}', None, "plaudit tick"),
    ],
)
def test_what_would_be_refused_again_is_not_written(value: bytes | None, key: bytes | None, said: str) -> None:
    """And the message says what helps."""
    with pytest.raises(RefusedRetry, match=said):
        make_retry(letter(), original(value, key))


def test_the_key_can_be_set_and_the_value_edited() -> None:
    """The key follows from the user."""
    value = b'{"metric":"m","user":"18","value":1}'
    assert make_retry(letter(), original(value, b"19"), set_key=True).key == b"18"
    edited = make_retry(letter(), original(b"{", None), edited=b'{"metric":"m","user":"20","tenant":"t","value":1}')
    assert edited.key == b"t\x0020"


def test_a_user_that_was_set_aside_is_woken_by_an_identify_record() -> None:
    """X32: with its own next record it goes on."""
    tick = b'{"type":"tick","at":"2025-01-01T00:00:00Z"}'
    made = make_retry(letter("internal_error", b"t\x0018"), original(tick, None))
    expected = {"eventId": "retry:plaudit.events-3-17", "type": "identify", "user": "18", "tenant": "t"}
    assert json.loads(made.value) == expected
    assert made.key == b"t\x0018"


def test_every_reason_has_something_that_helps() -> None:
    """`show` prints it."""
    assert FIXES.keys() == STATUS.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retry"], "--reason"),
        (["retry", "plaudit.events-0-1", "--reason", "malformed"], "--reason"),
        (["retry", "here"], "TOPIC-PARTITION-OFFSET"),
        (["drop", "other.events-0-1"], "PLAUDIT_PREFIX"),
        (["retry", "--reason", "malformed", "--edit", "-"], "--edit takes one PLACE"),
        (["drop", "plaudit.events-0-1", "--since", "2025-01-01T00:00:00Z"], "--since goes with --reason"),
    ],
)
def test_wrong_use_is_told(plaudit: Plaudit, arguments: list[str], said: str) -> None:
    """Exit code 2, before anything is connected."""
    done = plaudit("rejected", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server.brokers.bootstrap


@pytest.fixture
def worker(bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A worker of an installation with three partitions and a catalog that knows the metric words."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", bootstrap)
    monkeypatch.setenv("PLAUDIT_PARTITIONS", "3")
    command = Command(tmp_path / "home", KAFKA_BOOTSTRAP=bootstrap, PLAUDIT_PARTITIONS="3")
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    assert command("topics", "create").code == 0
    running = command.start("worker", "worker")
    assert command("catalog", "publish", tmp_path / "catalog.yaml").code == 0
    yield running
    running.stop()


RECORDS = """
{"metric":"wrods","user":"18","value":2}
{"metric":"words","user":"18","value":"2"}
{"metric":"pages","user":"19","value":3,"eventId":"e1"}
{"metric":"words","user":"18","value":5}
"""


@pytest.mark.usefixtures("worker")
def test_refused_records_are_found_mended_and_put_away(plaudit: Plaudit, tmp_path: Path) -> None:
    """The way of an operator: list, show, mend, retry after publishing, retry twice, drop."""
    path = tmp_path / "records.jsonl"
    path.write_text(RECORDS.lstrip())
    assert plaudit("publish", path).code == 0
    wait_until(lambda: len(plaudit("rejected", "list", "--json").events) == 3, "three records are refused", 60)
    by_reason = {(one["reason"], one["user"]): one["place"] for one in plaudit("rejected", "list", "--json").events}
    misspelt, text, pages = (
        by_reason[name] for name in (("unknown_metric", "18"), ("bad_request", "18"), ("unknown_metric", "19"))
    )

    shown = plaudit("rejected", "show", text)
    assert '"value": "2"' in shown.out
    assert "--edit" in shown.out
    mended = tmp_path / "mended.json"
    mended.write_text(plaudit("rejected", "show", text, "--value").out.replace('"2"', "2"))
    done = plaudit("rejected", "retry", text, "--edit", mended)
    assert (done.code, done.out.split(":")[0]) == (0, "applied"), done
    done = plaudit("rejected", "retry", text)
    assert (done.code, done.out.split(":")[0]) == (0, "counted before"), done

    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG.replace("[{key: words}]", "[{key: words}, {key: pages}]"))
    assert plaudit("catalog", "publish", catalog).code == 0
    done = plaudit("rejected", "retry", "--reason", "unknown_metric")
    assert done.code == 3
    told = {line.split(": ")[1].split(",")[0]: line.split(":")[0] for line in done.out.splitlines()}
    assert told == {misspelt: "refused again", pages: "applied"}

    (left,) = plaudit("rejected", "list", "--json").events
    assert left["place"] not in by_reason.values()
    assert plaudit("rejected", "drop", left["place"]).code == 0
    assert plaudit("rejected", "list", "--json").events == []
    handled = {one["place"]: one["handled"]["action"] for one in plaudit("rejected", "list", "--all", "--json").events}
    assert handled == {misspelt: "retried", text: "retried", pages: "retried", left["place"]: "dropped"}
    assert plaudit("rejected", "retry", f"{PLACE.topic}-0-99999").code == 4
