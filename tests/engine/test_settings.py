"""The environment, and what is said about it."""

from pathlib import Path

import pytest

from deploy.environment import SettingsError
from deploy.settings import Settings, read_settings
from schemas.brokers import Brokers


def test_an_empty_environment_gives_defaults() -> None:
    settings = read_settings({"KAFKA_BOOTSTRAP": " "})
    assert (settings.prefix, settings.partitions, settings.environment) == ("plaudit", 8, "production")
    assert (settings.kafka, settings.clickhouse_url, settings.instance) == (Brokers(""), "", "")


def test_every_variable_is_read() -> None:
    assert read_settings(
        {
            "KAFKA_BOOTSTRAP": "a:9092, b:9092",
            "CLICKHOUSE_URL": "http://default:x@c:8123",
            "PLAUDIT_HOME": "/srv/plaudit",
            "PLAUDIT_PREFIX": "game",
            "PLAUDIT_PARTITIONS": "32",
            "PLAUDIT_REPLICATION": "3",
            "PLAUDIT_ENVIRONMENT": "staging",
            "PLAUDIT_CONTROL_TOKEN": "secret",
            "PLAUDIT_INSTANCE": "worker-1",
            "PLAUDIT_DATABASE": "game",
            "PLAUDIT_TICK_SECONDS": "5",
            "PLAUDIT_SESSION_SECONDS": "10",
            "PLAUDIT_ALLOW_RETENTION": "1",
            "PLAUDIT_TOPIC_RETENTION": "events=400d, rejected=90d",
            "PLAUDIT_TABLE_RETENTION": "metric_events=400d rejected=forever",
            "PLAUDIT_METRICS_PORT": "9100",
            "PLAUDIT_METRICS_HOST": "0.0.0.0",
            "PLAUDIT_GRACE_SECONDS": "40",
        }
    ) == Settings(
        kafka=Brokers("a:9092,b:9092"),
        clickhouse_url="http://default:x@c:8123",
        home=Path("/srv/plaudit"),
        prefix="game",
        partitions=32,
        replication=3,
        environment="staging",
        control_token="secret",
        instance="worker-1",
        database="game",
        tick_interval_s=5.0,
        session_s=10.0,
        allow_retention=True,
        topic_retention={"events": 400, "rejected": 90},
        table_retention={"metric_events": 400},
        metrics_port=9100,
        metrics_host="0.0.0.0",
        grace_s=40.0,
    )


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("KAFKA_BOOTSTRAP", "kafka", "host:port"),
        ("CLICKHOUSE_URL", "localhost:8123", "write a URL"),
        ("PLAUDIT_PREFIX", "a b", "letters, digits"),
        ("PLAUDIT_METRICS_HOST", "a b", "host name"),
        ("PLAUDIT_GRACE_SECONDS", "0", "from 1 to 600"),
        ("PLAUDIT_PARTITIONS", "0", "from 1 to 1000"),
        ("PLAUDIT_PARTITIONS", "many", "whole number"),
        ("PLAUDIT_DATABASE", "1; drop", "letters, digits and '_'"),
        ("PLAUDIT_TICK_SECONDS", "nan", "seconds from 0.1 to 3600"),
        ("PLAUDIT_SESSION_SECONDS", "1", "seconds from 6 to 60"),
        ("PLAUDIT_ALLOW_RETENTION", "maybe", "1 or 0"),
        ("PLAUDIT_TOPIC_RETENTION", "awards=30", "NAME=DAYSd"),
        ("PLAUDIT_TOPIC_RETENTION", "awards=0d", "NAME=DAYSd"),
        ("PLAUDIT_TOPIC_RETENTION", "catalog=30d", "'catalog' is not one of derived, events, awards"),
        ("PLAUDIT_TOPIC_RETENTION", "events=30d", "PLAUDIT_ALLOW_RETENTION=1"),
        ("PLAUDIT_TABLE_RETENTION", "users_log=30d", "say how things stand now"),
        ("PLAUDIT_TABLE_RETENTION", "nothing=30d", "'nothing' is not one of metric_events"),
    ],
)
def test_an_error_names_variable_value_and_fix(variable: str, value: str, fix: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({variable: value})
    assert variable in str(caught.value)
    assert value in str(caught.value)
    assert fix in str(caught.value)


def test_worker_options_take_the_embedded_broker() -> None:
    options = read_settings({"PLAUDIT_PREFIX": "game"}).worker_options(Brokers("127.0.0.1:1234"))
    assert (options.brokers, options.prefix) == (Brokers("127.0.0.1:1234"), "game")


def test_a_group_of_topics_and_exceptions_from_it() -> None:
    found = read_settings(
        {"PLAUDIT_TOPIC_RETENTION": "derived=30d awards=7d ledger=forever outcomes=1d"}
    ).topic_retention
    assert found.pop("outcomes") == 1
    assert found.pop("awards") == 7
    assert set(found) == {"levels", "achievements", "streaks", "leaderboards", "messages"}
    assert set(found.values()) == {30}
