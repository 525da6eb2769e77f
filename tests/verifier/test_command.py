"""`plaudit verify` as it is called."""

import json

import pytest

from deploy.cli.main import run
from schemas.topics import AWARDS
from tests.verifier.conftest import project
from tests.verifier.installation import Installation, Outputs, Record


@pytest.fixture
def settings(
    installation: Installation, clickhouse_url: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """The environment points to the installation."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", installation.brokers.bootstrap)
    monkeypatch.setenv("CLICKHOUSE_URL", clickhouse_url)
    monkeypatch.setenv("PLAUDIT_PREFIX", installation.names.prefix)
    monkeypatch.setenv("PLAUDIT_DATABASE", database)
    return installation


def test_it_tells_what_differs_and_ends_with_1_and_with_0_where_nothing_does(
    settings: Installation, clickhouse_url: str, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lost: list[Record] = []

    def damage(outputs: Outputs) -> None:
        target = settings.names.output(AWARDS), 0
        lost.extend(outputs[target][20:23])
        del outputs[target][20:23]

    settings.publish(damage)
    project(settings, clickhouse_url, database)
    capsys.readouterr()
    assert run(["verify", "--limit", "2"]) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line.split()[:4] for line in lines[:2]] == [
        ["lost", one.id, settings.names.output(AWARDS), "0"] for one in lost[:2]
    ]
    assert lines[2] == "lost: and 1 more"
    assert lines[-1] == "different: 3 lost"
    assert f"{settings.names.output('ledger')} " in out

    assert run(["verify", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["lost"], document["wrong"], document["notYetProjected"]) == (False, 3, 0, 0)
    assert [one["id"] for one in document["differences"]] == [one.id for one in lost]
    assert document["counts"]["points_awards"]["lost"] == 0  # the table is as its topic

    assert run(["verify", "--since", "2027-01-01T00:00:00Z"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "equal: nothing is lost, doubled, reordered or wrong"


def test_a_database_that_is_not_migrated_is_told(
    settings: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.publish()
    monkeypatch.setenv("PLAUDIT_DATABASE", "nothing_here")
    assert run(["verify"]) == 1
    assert "bring it to the present schema with `plaudit migrate`" in capsys.readouterr().err


def test_a_prefix_without_topics_is_told(
    settings: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAUDIT_PREFIX", "nothing-here")
    assert run(["verify"]) == 1
    assert "there is no topic nothing-here.events. Is PLAUDIT_PREFIX right?" in capsys.readouterr().err
