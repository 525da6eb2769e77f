"""`plaudit status`: which alarms hold, and what a person and a machine get to see."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.settings import Settings
from deploy.status import gathering
from deploy.status.brokers import Kafka
from deploy.status.document import BrokerShown, GroupShown, LagShown, MemberShown, ReasonShown, TableShown, TopicShown
from deploy.status.endpoints import ask_processes, known_urls
from deploy.status.terminal import lasting, print_status, sized
from schemas import alarms
from schemas.brokers import Brokers
from schemas.emission import Measures
from schemas.secrets import Dsn

PARTITIONS = 2


def member(instance: str, partitions: int, *numbers: int) -> MemberShown:
    return MemberShown(instance=instance, host="127.0.0.1", partitions=partitions, input=list(numbers))


def healthy() -> Kafka:
    now_ms = time.time_ns() // 1_000_000
    return Kafka(
        brokers=[BrokerShown(id=1, address="127.0.0.1:9092", controller=True)],
        topics=[TopicShown(name="plaudit.events", partitions=2, offsets=40, bytes=3_400_000)],
        worker=GroupShown(name="plaudit-progress", state="Stable", members=[member("w", 2, 0, 1)]),
        sink=GroupShown(name="plaudit-sink", state="Stable", members=[member("s", 12)]),
        input_lag=LagShown(topic="plaudit.events", records=5, seconds=1.5),
        sink_lag=[LagShown(topic="plaudit.awards", records=0, seconds=0.0)],
        partitions={number: Measures(tick_ms=now_ms - 1_000, catalogs={"": "7"}) for number in range(PARTITIONS)},
    )


STORED = (
    [TableShown(name="metric_events", rows=40, bytes=2_000, changed="2026-11-24T12:00:00.000Z")],
    [ReasonShown(reason="wrong_key", records=3, latest="2026-11-24T12:00:00.000Z")],
)


class Asked:
    """What Kafka and ClickHouse answer."""

    def __init__(self) -> None:
        self.kafka: Kafka | str = healthy()
        self.stored: tuple[list[TableShown], list[ReasonShown]] | str = STORED

    async def status(self, *urls: str) -> gathering.Status:
        settings = Settings(home=Path("/nowhere"), partitions=PARTITIONS)
        return await gathering.gather(settings, Brokers("127.0.0.1:9092"), Dsn("http://u:secret@127.0.0.1:8123"), urls)

    async def alarms(self, *urls: str, **changed: object) -> list[str]:
        self.kafka = msgspec.structs.replace(healthy(), **changed)
        return [alarm.name for alarm in (await self.status(*urls)).alarms]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    one = Asked()

    async def ask_kafka(*_: object) -> Kafka | str:
        return one.kafka

    monkeypatch.setattr(gathering, "_ask_kafka", ask_kafka)
    monkeypatch.setattr(gathering, "_ask_clickhouse", lambda *_: one.stored)
    return one


async def test_an_installation_that_works_is_healthy(asked: Asked) -> None:
    status = await asked.status()
    assert (status.healthy, status.alarms) == (True, [])
    assert [(one.version, one.partitions) for one in status.catalogs or ()] == [("7", 2)]


async def test_each_threshold_raises_its_alarm(asked: Asked) -> None:
    """One at a time, just beyond it and, where it is a number, just below."""
    worker, sink = healthy().worker, healthy().sink
    nobody = msgspec.structs.replace(worker, members=[])
    half = msgspec.structs.replace(worker, members=[member("w", 1, 0), member("standby", 0)])
    assert await asked.alarms(worker=nobody) == ["PlauditNoWorker"]
    assert await asked.alarms(worker=half) == ["PlauditPartitionsUnowned"]
    assert await asked.alarms(sink=msgspec.structs.replace(sink, members=[])) == ["PlauditNoSink"]
    for factor, held in ((0.9, False), (1.1, True)):
        lag_s = alarms.LAG.threshold * factor
        lag = LagShown(topic="plaudit.events", records=1, seconds=lag_s)
        assert await asked.alarms(input_lag=lag) == ["PlauditInputLag"] * held
        lag = LagShown(topic="plaudit.awards", records=1, seconds=alarms.SINK_LAG.threshold * factor)
        assert await asked.alarms(sink_lag=[lag]) == ["PlauditSinkLag"] * held
        tick_ms = round((time.time() - alarms.TICK_AGE.threshold * factor) * 1000)
        ticks = {0: Measures(tick_ms=tick_ms + 60_000), 1: Measures(tick_ms=tick_ms)}
        assert await asked.alarms(partitions=ticks) == ["PlauditClockStands"] * held


async def test_loading_history_raises_none(asked: Asked) -> None:
    """Records of decades ago wait, and no tick has ever been."""
    lag = LagShown(topic="plaudit.events", records=500_000, seconds=None)
    assert await asked.alarms(input_lag=lag, partitions={0: Measures(), 1: Measures()}) == []


async def test_a_server_that_is_away_is_told_and_the_other_is_shown(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.kafka = "Kafka at 127.0.0.1:9092 does not answer: x"
    status = await asked.status()
    assert [(alarm.name, alarm.severity) for alarm in status.alarms] == [("PlauditKafkaAway", "critical")]
    print_status(status)
    shown = capsys.readouterr().out
    assert shown.startswith("CRITICAL: Kafka at 127.0.0.1:9092 does not answer: x\n") and "metric_events" in shown
    asked.kafka, asked.stored = healthy(), "ClickHouse at 127.0.0.1:8123 does not answer"
    status = await asked.status()
    assert [alarm.name for alarm in status.alarms] == ["PlauditClickHouseAway"]
    print_status(status)
    assert "plaudit.events" in capsys.readouterr().out


async def test_what_a_person_sees(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    print_status(await asked.status())
    shown = capsys.readouterr().out
    for text in (
        "healthy: no alarm holds",
        "plaudit-progress, Stable",
        "0, 1",
        "12 of derived topics",
        "1.5 s",
        "3.4 MB",
    ):
        assert text in shown
    assert "wrong_key" in shown and "secret" not in shown
    assert [lasting(one) for one in (3.21, 125, 3_840, 788_400)] == ["3.2 s", "2 min 5 s", "1 h 4 min", "9 d 3 h"]
    assert [sized(one) for one in (512, 3_400_000, 2.5e12)] == ["512 B", "3.4 MB", "2.5 TB"]


async def test_what_a_machine_gets_holds_no_secret(asked: Asked) -> None:
    document = msgspec.json.encode(await asked.status())
    assert b"secret" not in document
    assert json.loads(document)["inputLag"] == {"topic": "plaudit.events", "records": 5, "seconds": 1.5}


class Worker(http.server.BaseHTTPRequestHandler):
    """A worker that was given records twice, and is not ready."""

    def do_GET(self) -> None:
        checks = '[{"check":"group","ok":%s,"says":"fenced; joining anew"}]'
        answers = {
            "/healthz": (200, '{"ok":true,"process":"worker","instance":"w-1","checks":[]}'),
            "/readyz": (
                503,
                '{"ok":false,"process":"worker","instance":"w-1","checks":' + checks % "false" + "}",
            ),
            "/metrics": (
                200,
                'plaudit_build_info{version="0.1.0"} 1\nplaudit_skipped_offsets_total 2\n'
                'plaudit_lag_seconds{partition="0"} 3\nplaudit_lag_seconds{partition="1"} 9\n'
                'plaudit_lag_records{partition="0"} 3\nplaudit_lag_records{partition="1"} 9\n',
            ),
        }
        status, body = answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def worker_url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_processes_are_asked_where_they_answer(asked: Asked, worker_url: str) -> None:
    (one,) = ask_processes([worker_url, "http://127.0.0.1:1"])
    assert (one.process, one.instance, one.version, one.live, one.ready) == ("worker", "w-1", "0.1.0", True, False)
    assert one.metrics["plaudit_lag_records"] == 12
    assert one.metrics["plaudit_lag_seconds"] == 9
    status = await asked.status(worker_url)
    assert [alarm.name for alarm in status.alarms] == ["PlauditProbe", "PlauditSkippedOffsets"]
    assert status.alarms[0].says == "worker w-1 is not ready: group: fenced; joining anew"


async def test_a_process_that_hangs_is_told(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.status.endpoints.TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # the kernel takes the connection, nobody answers
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        (alarm,) = (await asked.status(url)).alarms
    assert (alarm.name, alarm.severity) == ("PlauditProbe", "critical")
    assert alarm.says == f"process at {url} is not alive: it does not answer: timed out"


def test_where_processes_are_asked(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, metrics_port=9108, metrics_host="0.0.0.0")
    assert known_urls(settings, ["http://a:1/"]) == ["http://a:1", "http://127.0.0.1:9108"]
    (tmp_path / "metrics-ports.json").write_text('{"worker":9108,"sink":9109}')
    assert known_urls(settings, []) == ["http://127.0.0.1:9108", "http://127.0.0.1:9109"]
    (tmp_path / "metrics-ports.json").write_text("{")
    assert known_urls(Settings(home=tmp_path), []) == []
