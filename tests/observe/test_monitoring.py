"""Metrics, docs, alert rules and dashboard say the same."""

import json
import re
from collections.abc import Iterator

import prometheus_client
import pytest
import yaml

import processors.engine.metrics
import projections.sink.metrics
from deploy.monitoring import FILES, ROOT
from schemas.alarms import ALARMS
from schemas.metrics import METRICS, Metric

BY_NAME = {metric.name: metric for metric in METRICS}
ELSEWHERE = {"process_resident_memory_bytes"}
"""Metrics of prometheus-client itself that expressions may name."""

UNITS = ("seconds", "bytes")
PARTS = re.compile(r"_(bucket|sum|count)$")


def named_in(expression: str) -> set[str]:
    """Metrics that an expression of PromQL names."""
    found = set(re.findall(r"\b(?:plaudit|process|python)_[a-z0-9_]+", expression))
    return {name if name in BY_NAME else PARTS.sub("", name) for name in found}


def expressions() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    for rule in rules["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    for panel in json.loads((ROOT / "deploy/grafana/plaudit.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize("path", FILES)
def test_what_is_generated_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path](), "run `make monitoring`"


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_expression_names_metrics_that_there_are(where: str, expression: str) -> None:
    assert named_in(expression) and named_in(expression) <= set(BY_NAME) | ELSEWHERE
    for name in named_in(expression) & set(BY_NAME):
        of_histogram = BY_NAME[name].kind == "histogram"
        assert bool(re.search(rf"\b{name}_(bucket|sum|count)\b", expression)) == of_histogram
    assert all(label in {label for metric in METRICS for label in metric.labels} | {"le", "instance"}
               for grouped in re.findall(r"by \(([a-z, ]+)\)", expression)
               for label in grouped.split(", "))  # fmt: skip


def test_every_alarm_is_a_rule() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [alarm.name for alarm in ALARMS]
    assert len({alarm.name for alarm in ALARMS}) == len(ALARMS)
    for rule in rules:
        labels = set(re.findall(r"\$labels\.([a-z_]+)", rule["annotations"]["summary"]))
        assert labels <= set(re.findall(r"by \(([a-z]+)\)", rule["expr"]))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"plaudit_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    for unit in UNITS:
        assert metric.name.removesuffix("_total").endswith(f"_{unit}") == metric.unit.startswith(unit)
    assert metric.help[0].isupper() and not metric.help.endswith(".")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert not set(metric.labels) & {"le", "quantile", "instance", "job"}


def test_every_counter_and_histogram_that_is_declared_is_made_and_no_other() -> None:
    modules = (processors.engine.metrics, projections.sink.metrics)
    made = {
        one._name + ("_total" if isinstance(one, prometheus_client.Counter) else "")
        for module in (*modules, processors.engine.instruments)
        for one in vars(module).values()
        if isinstance(one, prometheus_client.Counter | prometheus_client.Histogram)
    }
    assert made == {metric.name for metric in METRICS if metric.kind != "gauge"}
    registered = {family.name for family in prometheus_client.REGISTRY.collect() if family.name.startswith("plaudit_")}
    assert registered == {name.removesuffix("_total") for name in made}
