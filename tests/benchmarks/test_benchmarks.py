"""The harness itself: the fold counts what it should, the result has its keys, the command line its options."""

import json
import statistics
from pathlib import Path

import pytest

from benchmarks import fold
from benchmarks.__main__ import parse
from benchmarks.figures import FIGURES, SECTIONS, Outcome
from benchmarks.latency import percentile
from benchmarks.profile_fold import Costs, module_of
from benchmarks.report import LATEST, result, shown, write
from deploy.compiled import ROOT

EVENTS = 2_000
DOCUMENT_KEYS = {*FIGURES, "machine", "command", "date", "details"}


@pytest.fixture(scope="module")
def measured() -> Outcome:
    """The fold of a part of the sample, in a fresh process."""
    return fold.measure(EVENTS, 1, {"interpreted": ROOT})


def test_the_fold_applies_every_event_and_emits(measured: Outcome) -> None:
    details = measured.details["interpreted"]
    assert details["events"] == EVENTS
    assert details["emissions"] >= 2 * EVENTS  # metric.changed and the outcome of each, at least
    assert details["changelog_records"] > 0
    rate = statistics.median(details["events_per_s"])
    assert measured.figures == {"fold_events_per_s": rate, "fold_interpreted_events_per_s": rate}
    assert rate == pytest.approx(EVENTS / details["seconds"][0], rel=0.01)


def test_costs_are_told_by_module_and_for_decoding_and_states(measured: Outcome) -> None:
    costs = measured.details["us_per_event"]["interpreted"]
    assert costs["total"] == pytest.approx(measured.details["interpreted"]["cpu_s"][0] / EVENTS * 1e6, abs=0.01)
    assert costs["decode"] > 0
    assert costs["state"] > 0
    assert "processors.rules.effects" in costs["modules"]
    assert sum(costs["modules"].values()) == pytest.approx(costs["total"], rel=0.05)


def test_rounds_hold_every_event_once_and_in_order() -> None:
    run = fold.FoldRun(EVENTS)
    rounds = list(run.rounds())
    assert [sum(map(len, one.values())) for one in rounds] == [EVENTS]
    for partition in range(len(run.partitions)):
        offsets = [record.offset for one in rounds for record in one.get(partition, ())]
        assert offsets == list(range(1, len(offsets) + 1))


def test_the_result_has_exactly_its_keys(measured: Outcome, tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    write(
        path, result({"fold": measured}, command="python -m benchmarks --only fold", date="2026-01-01T00:00:00+00:00")
    )
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == DOCUMENT_KEYS
    assert document["fold_events_per_s"] == measured.figures["fold_events_per_s"]
    assert document["worker_events_per_s"] is None and document["ratio"] is None
    assert document["details"] == {"fold": measured.details}
    assert set(document["machine"]) == {"cores", "cpu", "python", "versions"}


def test_a_figure_that_is_not_known_is_refused() -> None:
    with pytest.raises(AssertionError):
        result({"fold": Outcome({"fold_per_s": 1.0}, {})}, command="", date="")


@pytest.mark.skipif(not LATEST.exists(), reason="nothing was measured here yet")
def test_the_checked_in_result_has_the_same_keys() -> None:
    document = json.loads(LATEST.read_text(encoding="utf-8"))
    assert set(document) == DOCUMENT_KEYS


def test_options() -> None:
    everything = parse([])
    assert everything.only == SECTIONS and not everything.quick and everything.output == LATEST
    some = parse(["--quick", "--only", "latency", "fold", "--output", "x.json"])
    assert some.only == ("fold", "latency") and some.quick and some.output == Path("x.json")


@pytest.mark.parametrize("arguments", [["--only"], ["--only", "folds"], ["fold"]])
def test_wrong_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2
    assert "usage: python -m benchmarks" in capsys.readouterr().err


def test_percentiles_are_samples() -> None:
    samples = [float(number) for number in range(1, 201)]
    assert (percentile(samples, 50), percentile(samples, 99)) == (100.0, 198.0)
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0


def test_figures_are_shown_for_people() -> None:
    assert [shown(value) for value in (None, 7.26, 12345.6)] == ["-", "7.3", "12,346"]


def test_the_profile_gives_built_ins_to_their_callers() -> None:
    here = (str(Path(fold.__file__)), 1, "measure")
    stats = {here: (1, 1, 2.0, 5.0, {}), ("~", 0, "<encode>"): (3, 3, 3.0, 3.0, {here: (3, 3, 3.0, 3.0)})}
    costs = Costs(stats)
    assert module_of(here) == "benchmarks.fold"
    assert costs.modules == {"benchmarks.fold": 5.0}
    assert costs.built_ins == {"<encode>": 3.0} and costs.calls["<encode>"] == 3
