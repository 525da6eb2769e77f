"""/metrics, /healthz and /readyz as a probe sees them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from processors.engine import serving
from processors.engine.errors import EngineError
from processors.engine.instruments import gauge
from processors.engine.serving import Check
from schemas import metrics
from schemas.operations import LOOPBACK
from tests.e2e.conftest import free_port


class Fake:
    """What is served, as the test says."""

    process = "worker"
    instance = "one"

    def __init__(self) -> None:
        self.lives = [Check("rounds", True, "last one committed 2 s ago")]
        self.readies = [Check("group", False, "not joined yet"), Check("kafka", True, "answered 1 s ago")]
        self.answers = asyncio.Event()
        self.answers.set()

    def live(self) -> list[Check]:
        return self.lives

    async def ready(self) -> list[Check]:
        await self.answers.wait()
        return self.readies

    def gauges(self) -> Iterable[GaugeMetricFamily]:
        yield gauge(metrics.LAG_RECORDS, {("0",): 5.0, ("1",): 7.0})


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
async def url(fake: Fake) -> AsyncIterator[str]:
    port = free_port()
    async with serving.serving(serving.listen(LOOPBACK, port), fake):
        yield f"http://{LOOPBACK}:{port}"


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_a_probe_gets_200_or_503_and_a_body_that_says_why(fake: Fake, url: str) -> None:
    status, body = await get(f"{url}/healthz")
    assert (status, json.loads(body)["ok"], json.loads(body)["checks"][0]["check"]) == (200, True, "event_loop")
    status, body = await get(f"{url}/readyz")
    assert status == 503
    assert json.loads(body) == {
        "ok": False,
        "process": "worker",
        "instance": "one",
        "checks": [
            {"check": "group", "ok": False, "says": "not joined yet"},
            {"check": "kafka", "ok": True, "says": "answered 1 s ago"},
        ],
    }
    fake.lives, fake.readies = [Check("rounds", False, "stuck")], [Check("group", True, "member")]
    assert [(await get(f"{url}/{path}"))[0] for path in ("healthz", "readyz", "nothing")] == [503, 200, 404]


async def test_gauges_are_measured_when_asked_and_gone_afterwards(fake: Fake) -> None:
    port = free_port()
    async with serving.serving(serving.listen(LOOPBACK, port), fake):
        _, body = await get(f"http://{LOOPBACK}:{port}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert {sample.labels["partition"]: sample.value for sample in families["plaudit_lag_records"].samples} == {
        "0": 5.0,
        "1": 7.0,
    }
    assert "plaudit_rounds_created" not in body
    async with serving.serving(
        serving.listen(LOOPBACK, port), fake
    ):  # the port is free again, and nothing is registered twice
        pass


async def test_a_check_that_does_not_answer_is_an_answer(fake: Fake, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "READY_TIMEOUT_S", 0.01)
    fake.answers.clear()
    status, body = await get(f"{url}/readyz")
    assert (status, json.loads(body)["checks"][0]["ok"]) == (503, False)
    assert (await get(f"{url}/healthz"))[0] == 200


async def test_a_port_in_use_is_told_by_the_name_of_its_setting(fake: Fake, url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(EngineError, match=f"PLAUDIT_METRICS_PORT={port} cannot be used on {LOOPBACK}"):
        serving.listen(LOOPBACK, port)


async def test_without_a_port_nothing_is_served(fake: Fake) -> None:
    async with serving.serving(serving.listen(LOOPBACK, 0), fake):
        pass
