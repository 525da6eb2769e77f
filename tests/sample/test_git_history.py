"""Histories become records: from the CSV file and from a real repository with everything odd in it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploy.git_history import Counts, GitHistoryError, read_csv, read_repository

HEADER = "authored_at,author,commit,files,insertions,deletions\n"


def _git(
    repository: Path, *arguments: str, date: str = "1112911993 -0700", author: str = "Ann <Ann@Example.org>"
) -> None:
    name, _, address = author.rstrip(">").partition(" <")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(repository), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address, "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org", "GIT_COMMITTER_DATE": "1112912000 +0000",
    }  # fmt: skip
    subprocess.run(["git", "-C", str(repository), *arguments], check=True, env=environment, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init", "-q", "-b", "main")
    return tmp_path


def _commit(repository: Path, files: dict[str, bytes], **about: str) -> None:
    for name, content in files.items():
        (repository / name).write_bytes(content)
    _git(repository, "add", "-A")
    _git(repository, "commit", "-q", "--allow-empty", "-m", "m\n\n1\t2\tnot numstat", **about)


def test_csv_gives_two_records_for_each_commit(tmp_path: Path) -> None:
    path = tmp_path / "commits.csv"
    path.write_text(f"{HEADER}2005-04-07T15:13:13-07:00,u8d,e83c,11,1244,6\n", encoding="utf-8")
    counts = Counts()
    assert list(read_csv(path, counts=counts)) == [
        {"eventId": "e83c-commits", "metric": "commits", "user": {"id": "u8d", "tz": "-07:00"}, "value": 1,
         "occurredAt": "2005-04-07T15:13:13-07:00"},
        {"eventId": "e83c-lines", "metric": "lines", "user": {"id": "u8d", "tz": "-07:00"}, "value": 1250,
         "occurredAt": "2005-04-07T15:13:13-07:00"},
    ]  # fmt: skip
    assert counts == Counts(commits=1)


def test_attributes_on_request(tmp_path: Path) -> None:
    path = tmp_path / "commits.csv"
    rows = ["2009-12-31T23:00:00+01:00,u,a,1,6,0", "2010-01-02T05:00:00+01:00,u,b,1,1001,0"]
    path.write_text(HEADER + "\n".join(rows), encoding="utf-8")
    records = list(read_csv(path, attributes=True))
    assert [record["attributes"] for record in records[::2]] == [
        {"size": "small", "when": "night"},
        {"size": "huge", "when": "weekend"},
    ]
    assert {record["user"]["attributes"]["since"] for record in records} == {"2000s"}


@pytest.mark.parametrize("row", ["nonsense", "2009-12-31T23:00:00,u,a,1,6,0", "2009-12-31T23:00:00Z,u,a,1,x,0"])
def test_a_row_that_is_no_commit_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "commits.csv"
    path.write_text(f"{HEADER}2009-12-31T23:00:00Z,u,a,1,6,0\n{row}\n", encoding="utf-8")
    with pytest.raises(GitHistoryError, match="line 3"):
        list(read_csv(path))


def test_repository_in_the_order_of_git(repository: Path) -> None:
    _commit(repository, {"a": b"1\n2\n3\n"})
    _commit(repository, {"a": b"1\n3\n4\n", "ä\tb": b"x\n"}, date="1112900000 +0530", author="Bob <bob@example.org>")
    _commit(repository, {"image": bytes(range(256))})
    _commit(repository, {})
    records = list(read_repository(repository))
    assert [record["value"] for record in records if record["metric"] == "lines"] == [3, 3, 0, 0]
    assert [record["value"] for record in records if record["metric"] == "commits"] == [1, 1, 1, 1]
    assert records[0]["user"] == {"id": "ann@example.org", "tz": "-07:00", "name": "Ann"}
    assert records[2]["user"]["id"] == "bob@example.org"
    assert records[2]["occurredAt"] == "2005-04-08T00:23:20+05:30"
    assert json.loads(json.dumps(records)) == records


def test_merges_count_without_lines(repository: Path) -> None:
    _commit(repository, {"a": b"1\n"})
    _git(repository, "checkout", "-q", "-b", "side")
    _commit(repository, {"b": b"1\n2\n"})
    _git(repository, "checkout", "-q", "main")
    _git(repository, "merge", "-q", "--no-ff", "-m", "merge", "side")
    values = [record["value"] for record in read_repository(repository) if record["metric"] == "lines"]
    assert sorted(values[:2]) == [1, 2]  # of one second: git does not promise their order
    assert values[2] == 0


def test_the_users_git_settings_change_nothing(repository: Path) -> None:
    _commit(repository, {"a": b"1\n"})
    before = list(read_repository(repository))
    for name, value in (("color.ui", "always"), ("log.showSignature", "true"), ("log.decorate", "full"), ("log.date", "iso"),
                        ("log.showRoot", "false"), ("format.pretty", "fuller"), ("diff.noprefix", "true")):  # fmt: skip
        _git(repository, "config", name, value)
    assert list(read_repository(repository)) == before


def test_anonymised_users_have_no_name_and_a_salted_id(repository: Path) -> None:
    _commit(repository, {"a": b"1\n"})
    one, other = (next(read_repository(repository, anonymise=True, salt=salt))["user"] for salt in ("x", "y"))
    assert one.keys() == {"id", "tz"}
    assert one["id"] != other["id"]
    assert "ann" not in json.dumps(one).lower()


def test_impossible_offsets_become_utc_and_are_counted(repository: Path) -> None:
    _commit(repository, {}, date="1112911993 +1800")
    _commit(repository, {}, date="1112911993 +1400")
    counts = Counts()
    records = list(read_repository(repository, counts=counts))
    assert [record["user"]["tz"] for record in records[::2]] == ["+00:00", "+14:00"]
    assert counts == Counts(commits=2, impossible_offsets=1)


def test_git_says_what_is_wrong(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(GitHistoryError, match="HEAD"):
        list(read_repository(repository))  # no commits yet
    with pytest.raises(GitHistoryError, match="cannot change to"):
        list(read_repository(tmp_path / "nowhere"))


def test_reading_can_stop_early(repository: Path) -> None:
    for number in range(5):
        _commit(repository, {"a": str(number).encode()})
    reading = read_repository(repository)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
