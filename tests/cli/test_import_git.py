"""`plaudit import-git` and what `run` takes as history."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.history import event_id_of, history
from tests.cli.conftest import Plaudit

Lines = Callable[[list[Any]], Path]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits of one author in UTC+2."""
    path = tmp_path / "repository"
    path.mkdir()
    who = {"NAME": "Ada", "EMAIL": "Ada@Example.org", "DATE": "2025-03-01T10:00:00+0200"}
    environment = {
        **os.environ,
        **{f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in who.items()},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=path, env=environment, check=True, capture_output=True)

    git("init", "-q")
    for number in (1, 2):
        (path / "file").write_text("line\n" * 3 * number)
        git("add", "file")
        git("commit", "-q", "-m", str(number))
    return path


def test_a_commit_gives_commits_and_lines(plaudit: Plaudit, repository: Path) -> None:
    result = plaudit("import-git", repository)
    assert result.code == 0
    assert [(record["metric"], record["value"]) for record in result.events] == [("commits", 1), ("lines", 3)] * 2
    assert {record["user"]["id"] for record in result.events} == {"ada@example.org"}
    assert result.events[0]["occurredAt"] == "2025-03-01T10:00:00+02:00"
    assert "2 commits" in result.err


def test_pseudonyms_are_the_same_for_the_same_salt(plaudit: Plaudit, repository: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        file = tmp_path / name
        assert plaudit("import-git", repository, "--anonymise", "--salt", "s", "-o", file).code == 0
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    assert "ada" not in texts[0].lower()
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert head not in texts[0]
    assert head in plaudit("import-git", repository).out
    event_ids = [record["eventId"] for record in plaudit("import-git", repository, "--anonymise").events]
    assert len(set(event_ids)) == 4
    assert event_ids[0] not in texts[0]


def test_what_is_no_repository_is_one_line(plaudit: Plaudit, tmp_path: Path) -> None:
    result = plaudit("import-git", tmp_path / "none")
    assert result.code == 1
    assert result.err.count("\n") == 1


def test_the_history_of_a_repository_can_be_simulated(plaudit: Plaudit, repository: Path, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    plaudit("import-git", repository, "--attributes", "--output", file)
    catalog = Path(__file__).parents[2] / "deploy" / "samples" / "catalog.yaml"
    result = plaudit("simulate", "--catalog", catalog, "--records", file)
    assert result.code == 0
    assert "achievement.completed" in {event["type"] for event in result.events}


def test_the_sample_is_the_history_by_default() -> None:
    records = list(history(None, 4))
    assert [event_id_of(record.value) for record in records] == [record.event_id for record in records]
    assert len({record.event_id for record in records}) == 4


def test_a_file_is_history_in_its_order(lines: Lines) -> None:
    path = lines(
        [
            {"eventId": f"e{n}", "metric": "w", "user": "18", "value": n, "occurredAt": f"2025-03-0{9 - n}T00:00:00Z"}
            for n in (1, 2)
        ]
    )
    first, second = history(str(path))
    assert first.key == second.key == b"18"
    assert first.timestamp_ms > second.timestamp_ms
    assert (first.event_id, second.event_id) == ("e1", "e2")


@pytest.mark.parametrize("command", ["run", "up"])
def test_records_without_event_id_are_refused_before_anything_starts(
    plaudit: Plaudit, lines: Lines, catalog: Path, command: str
) -> None:
    event = {"metric": "words", "user": "18", "value": 1, "occurredAt": "2025-03-01T00:00:00Z"}
    path = lines([{**event, "eventId": "a"}, event])
    result = plaudit(command, "--records", path, "--catalog", catalog)
    assert result.code == 2
    assert "line 2 has no eventId; a second run would count it twice: add eventId" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "record",
    [
        {"type": "tick", "at": "2025-03-01T00:00:00Z", "timestamp": "2025-03-01T00:00:00Z"},
        {"metric": "w", "user": "18", "value": 1},
        {"metric": "w", "user": "18", "value": 1, "timestamp": "2025-03-01T00:00:00Z"},
        {"metric": "w", "value": 1, "timestamp": "2025-03-01T00:00:00Z"},
        {"metric": "w", "user": "18", "value": 1, "timestamp": "1969-03-01T00:00:00Z"},
    ],
)
def test_what_cannot_be_history_is_named_with_its_line(lines: Lines, record: Any) -> None:
    with pytest.raises(WrongUseError, match="line 1"):
        list(history(str(lines([record]))))
