"""`plaudit status` and what worker and sink serve, on the installation of the sample."""

import json
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.metrics import METRICS
from tests.e2e.command import wait_until
from tests.e2e.conftest import PARTITIONS, Up

SECONDS = 60.0
NOT_YET = {
    "plaudit_fences_total",
    "plaudit_rounds_aborted_total",
    "plaudit_rejected_total",
    "plaudit_sink_retries_total",
}
"""Counters with labels that show once something has happened that a good day does not bring."""


def ports(up: Up) -> dict[str, int]:
    found: dict[str, int] = json.loads((up.command.home / "metrics-ports.json").read_text())
    return found


def told_by(up: Up, process: str) -> str:
    """What worker or sink tells Prometheus."""
    with urllib.request.urlopen(f"http://127.0.0.1:{ports(up)[process]}/metrics", timeout=SECONDS) as answer:
        return str(answer.read().decode())


@pytest.fixture
def healthy(up: Up) -> Up:
    """Up, the first tick has come, and an event of a user has gone all the way."""
    event = {"metric": "commits", "user": "seen-from-outside", "value": 1}
    assert up.command("publish", "-", stdin=json.dumps(event)).code == 0
    wait_until(lambda: 'plaudit_sink_rows_total{table="metric_events"}' in told_by(up, "sink"), "a row", SECONDS)
    wait_until(lambda: up.command("status").code == 0, "status says healthy", SECONDS)
    return up


def test_status_of_an_installation_that_works(healthy: Up) -> None:
    done = healthy.command("status", "--json")
    assert done.code == 0, done.out
    status = json.loads(done.out)
    assert status["healthy"] and status["alarms"] == []
    assert [member["input"] for member in status["worker"]["members"]] == [list(range(PARTITIONS))]
    assert len(status["sink"]["members"]) == 1
    assert {process["process"]: process["ready"] for process in status["processes"]} == {"worker": True, "sink": True}
    assert [catalog["partitions"] for catalog in status["catalogs"]] == [PARTITIONS]
    tables = {table["name"]: table["rows"] for table in status["tables"]}
    assert tables["metric_events"] >= 121_502
    assert all(topic["bytes"] is not None for topic in status["topics"])
    shown = healthy.command("status")
    assert shown.out.startswith("healthy: no alarm holds\n")
    assert not [line for line in shown.out.splitlines() if line != line.rstrip()]


@pytest.mark.parametrize("process", ["worker", "sink"])
def test_every_metric_that_is_declared_is_told_with_its_labels_and_no_other(healthy: Up, process: str) -> None:
    families = list(text_string_to_metric_families(told_by(healthy, process)))
    told = {
        sample.name: set(sample.labels) - {"le"}
        for family in families
        for sample in family.samples
        if sample.name.startswith("plaudit_")
    }
    declared = {
        metric.name + part: set(metric.labels)
        for metric in METRICS
        if process in metric.process
        for part in (("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",))
    }
    assert {name: labels for name, labels in declared.items() if name not in NOT_YET | set(told)} == {}
    assert {name: labels for name, labels in told.items() if declared.get(name) != labels} == {}


@pytest.mark.parametrize("path", ["healthz", "readyz"])
@pytest.mark.parametrize("process", ["worker", "sink"])
def test_probes_are_answered(healthy: Up, process: str, path: str) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports(healthy)[process]}/{path}", timeout=SECONDS) as answer:
        assert json.load(answer)["ok"]
