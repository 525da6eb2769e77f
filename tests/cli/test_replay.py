"""`plaudit replay` on files: what it writes, and that a comparison finds a planted difference and names its record."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.synthetic import Synthetic
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.topics import DERIVED, OUTCOMES, REJECTED
from tests.cli.conftest import Plaudit


class Derived(NamedTuple):
    """A derived record and what caused it."""

    record: LogRecord
    emission: Emission

    @property
    def caused_by_time(self) -> bool:
        """Whether it names no cause."""
        return self.emission.topic in DERIVED and b'"causationId"' not in self.emission.value

    @property
    def user(self) -> str:
        """Its user."""
        return (self.emission.key or b"").decode()

    def alone_in(self, all_of_them: list["Derived"]) -> bool:
        """Whether no other record emitted something for its user at the same append time."""
        at = re.findall(rb'"emittedAt":"([^"]+)"', self.emission.value)[0]
        return not any(
            one.emission.key == self.emission.key and one.record is not self.record and at in one.emission.value
            for one in all_of_them
        )


class Log(NamedTuple):
    """A records file, and what is derived from it, in order."""

    path: Path
    derived: list[Derived]

    def find(self, chosen: Callable[[Derived], bool], number: int = 10) -> int:
        """Return the index of the derived record with this number among the chosen ones."""
        return [index for index, one in enumerate(self.derived) if chosen(one)][number]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A small synthetic log."""
    path = tmp_path_factory.mktemp("replay") / "log.jsonl"
    path.write_bytes(b"\n".join(Synthetic(1_500, users=60, days=40, seed=4)))
    with file_source(str(path), "plaudit.events") as source:
        effects = Simulation(source, Folding(source, None, environment="production")).effects(500)
        derived = [Derived(record, emission) for record, emissions in effects for emission in emissions]
    return Log(path, derived)


@pytest.fixture
def check(plaudit: Plaudit, log: Log, tmp_path: Path) -> Callable[[list[bytes]], tuple[int, str]]:
    """`check(values)`: compare the log with what is recorded of it; exit code and what is printed."""

    def call(values: list[bytes]) -> tuple[int, str]:
        path = tmp_path / "recorded.jsonl"
        path.write_bytes(b"".join(value + b"\n" for value in values))
        done = plaudit("replay", "--records", log.path, "--check", "--against", path)
        assert done.err == ""
        return done.code, done.out

    return call


Check = Callable[[list[bytes]], tuple[int, str]]


def values(log: Log) -> list[bytes]:
    """Everything that is derived, outcomes and refusals included."""
    return [one.emission.value for one in log.derived]


def of_type(kind: str) -> Callable[[Derived], bool]:
    """Chooses by type."""
    return lambda one: one.emission.type == kind


def assert_names(printed: str, culprit: Derived) -> None:
    """The first difference is laid at the right record and user."""
    place = f"plaudit.events {culprit.record.partition}:{culprit.record.offset}"
    assert printed.startswith(f"First difference: the record at {place}, ")
    assert printed.splitlines()[0].endswith(f" for user {culprit.user}")
    assert culprit.record.value is not None
    assert printed.splitlines()[1].strip() == culprit.record.value.decode()


def test_what_was_written_by_one_run_is_equal_to_the_next(plaudit: Plaudit, log: Log, tmp_path: Path) -> None:
    written = tmp_path / "derived.jsonl"
    done = plaudit("replay", "--records", log.path, "--batch", "7", "--output", written)
    assert (done.code, done.out) == (3, "")
    assert all(json.loads(line)["reason"] for line in done.err.splitlines())
    expected = [one.emission.value for one in log.derived if one.emission.topic in DERIVED]
    assert written.read_bytes().splitlines() == expected
    done = plaudit("replay", "--records", log.path, "--check", "--against", written, "--batch", "all")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("equal")
    assert re.search(rf"^total +{len(expected):,} +{len(expected):,} +{len(expected):,} +0 +0$", done.out, re.M)


def test_the_order_of_different_users_does_not_count(log: Log, check: Check) -> None:
    code, printed = check([one.emission.value for one in sorted(log.derived, key=lambda one: one.emission.key or b"")])
    assert code == 0, printed
    assert "plaudit.outcomes" in printed
    assert "plaudit.rejected" in printed


@pytest.mark.parametrize("kind", ["points.awarded", "metric.changed", "streak.changed"])
def test_a_changed_byte_is_found(log: Log, check: Check, kind: str) -> None:
    index = log.find(lambda one: one.emission.type == kind and not one.caused_by_time)
    recorded = values(log)
    recorded[index] = re.sub(rb'"(total|length)":', rb'"\1":7', recorded[index], count=1)
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[index])
    removed = [line for line in printed.splitlines() if re.match(r'-\s+"(total|length)": 7', line)]
    added = [line for line in printed.splitlines() if re.match(r'\+\s+"(total|length)": ', line)]
    assert len(removed) == len(added) == 1
    assert re.search(r"^total .* 1 +1$", printed, re.M)


def test_a_missing_one_is_found_and_what_follows_is_equal(log: Log, check: Check) -> None:
    index = log.find(lambda one: one.emission.type == "points.awarded" and not one.caused_by_time)
    recorded = values(log)
    del recorded[index]
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[index])
    assert re.search(r"^total .* 1 +0$", printed, re.M)


def test_a_doubled_one_is_laid_at_the_record_that_caused_it(log: Log, check: Check) -> None:
    index = log.find(lambda one: one.emission.type == "points.awarded" and not one.caused_by_time)
    recorded = values(log)
    recorded.insert(len(recorded) - 100, recorded[index])
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[index])
    assert re.search(r"^total .* 0 +1$", printed, re.M)


def test_an_extra_one_at_the_end_of_a_user_is_laid_at_its_cause(log: Log, check: Check) -> None:
    index = log.find(of_type("metric.changed"))
    extra = log.derived[index].emission.value.replace(b'"type":"metric.changed"', b'"type":"streak.restored"')
    code, printed = check([*values(log), extra])
    assert code == 1
    assert_names(printed, log.derived[index])
    assert "-plaudit.ledger streak.restored" in printed


def test_an_extra_one_that_nothing_in_the_log_causes_is_told(log: Log, check: Check) -> None:
    index = log.find(of_type("metric.changed"))
    extra = re.sub(rb'"causationId":"[^"]+"', b'"causationId":"elsewhere"', log.derived[index].emission.value)
    code, printed = check([*values(log), extra])
    assert code == 1
    assert printed.startswith("First difference: no record of plaudit.events causes what is recorded for user ")
    assert '"causationId": "elsewhere"' in printed


def test_what_time_does_is_compared_too(log: Log, check: Check) -> None:
    def due(one: Derived) -> bool:
        return one.caused_by_time and one.record.key is None and one.alone_in(log.derived)

    index = log.find(due)
    recorded = values(log)
    changed = [*recorded[:index], recorded[index].replace(b'"data":{', b'"data":{"new":1,', 1), *recorded[index + 1 :]]
    missing = [*recorded[:index], *recorded[index + 1 :]]
    for found in (changed, missing):
        code, printed = check(found)
        assert code == 1
        assert_names(printed, log.derived[index])


def test_what_a_catalog_switch_does_is_compared_too(log: Log, check: Check) -> None:
    index = log.find(lambda one: b'"catalog"' in (one.record.value or b"") and one.emission.key != b"", 0)
    recorded = values(log)
    del recorded[index]
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[index])


@pytest.mark.parametrize("topic", [OUTCOMES, REJECTED])
def test_outcomes_and_refusals_are_compared_where_they_are_recorded(log: Log, check: Check, topic: str) -> None:
    index = log.find(lambda one: one.emission.topic == topic, 0)
    recorded = values(log)
    recorded[index] = recorded[index].replace(b"2025", b"1925", 1)
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[index])


def test_of_several_differences_the_first_in_the_log_is_shown(log: Log, check: Check) -> None:
    chosen = [i for i, one in enumerate(log.derived) if one.emission.type == "metric.changed"]
    recorded = values(log)
    for index in (chosen[900], chosen[300], chosen[40]):
        recorded[index] = recorded[index].replace(b'"total":', b'"total":9', 1)
    code, printed = check(recorded)
    assert code == 1
    assert_names(printed, log.derived[chosen[40]])
    assert re.search(r"^total .* 3 +3$", printed, re.M)


def test_the_state_before_the_record_is_shown_with_the_names_of_its_fields(log: Log, check: Check) -> None:
    chosen = [i for i, one in enumerate(log.derived) if one.emission.type == "metric.changed"]
    index = chosen[500]
    recorded = values(log)
    recorded[index] = recorded[index].replace(b'"total":', b'"total":9', 1)
    _, printed = check(recorded)
    shown = printed[printed.index("\n{") : printed.index("\n}") + 2]
    state = json.loads(shown)
    assert state["id"] == log.derived[index].user
    event = json.loads(log.derived[index].emission.value)["data"]
    before = state["totals"][event["metric"]]["total"] / 10**9
    assert before + event["value"] == pytest.approx(event["total"])


def test_another_environment_is_told_instead_of_a_difference(plaudit: Plaudit, log: Log, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_bytes(b"\n".join(one.emission.value for one in log.derived if one.emission.topic in DERIVED))
    arguments = ["replay", "--records", log.path, "--check", "--against", recorded]
    done = plaudit(*arguments, "--environment", "staging")
    assert (done.code, done.out) == (1, "")
    assert "--environment production" in done.err
    assert plaudit(*arguments, "--environment", "production").code == 0


def test_a_file_that_is_no_recording_is_wrong_use(plaudit: Plaudit, log: Log) -> None:
    done = plaudit("replay", "--records", log.path, "--check", "--against", log.path)
    assert done.code == 2
    assert "line 1: no derived event" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--records FILE"),
        (["--from-topic", "--records", "a"], "either"),
        (["--records", "a", "--check"], "--against FILE"),
        (["--records", "a", "--compare-topics"], "--against FILE"),
        (["--from-topic", "--compare-topics", "--compare", "a"], "--compare-topics or --compare"),
        (["--check", "--output", "a"], "leave out --output"),
        (["--check", "--outcomes"], "--outcomes"),
        (["--records", "-", "--against", "-"], "standard input"),
        (["--records", "a", "--override"], "--catalog"),
        (["--records", "a", "--batch", "0"], "round size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_told(plaudit: Plaudit, arguments: list[str], said: str) -> None:
    done = plaudit("replay", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
