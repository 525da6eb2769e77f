"""Probes and grace periods of the image and of compose fit what worker and sink do."""

import re

import yaml

from deploy.monitoring import ROOT
from schemas.operations import GRACE_S

DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def test_the_grace_period_of_compose_is_longer_than_ours() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    for name in ("worker", "sink"):
        assert float(services[name]["stop_grace_period"].removesuffix("s")) > GRACE_S
        assert "healthcheck" not in services[name]  # the image's


def test_the_health_check_asks_the_port_that_the_image_sets() -> None:
    port = re.search(r"PLAUDIT_METRICS_PORT=(\d+)", DOCKERFILE)
    asked = re.search(r"HEALTHCHECK[^\n]*\\\n[^\n]*127\.0\.0\.1:(\d+)(/\w+)", DOCKERFILE)
    assert port is not None and asked is not None
    assert asked.groups() == (port[1], "/healthz")
    assert f"EXPOSE {port[1]}" in DOCKERFILE
