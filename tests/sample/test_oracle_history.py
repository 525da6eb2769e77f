"""The oracle on little histories worked out by hand, with what the sample is full of: late commits and moving authors."""

import gzip
from pathlib import Path
from typing import Any

from .localtime import parse_instant
from .oracle import compute

CATALOG = """
eventAttributes: [size, when]
userAttributes: [since]
metrics: [commits, lines]
streak: {metrics: [{key: commits, threshold: 1}]}
achievements:
  - {id: two-days, trigger: streak, streakLength: 2, status: active}
  - {id: weekend, trigger: metric, metric: commits, metricValue: 1, eventAttributes: {when: weekend}, status: active}
  - {id: both, trigger: achievement, achievementIds: [two-days, weekend], status: active}
  - {id: asleep, trigger: metric, metric: commits, metricValue: 1}
systems:
  - key: xp
    levels: [{key: low, points: 0}, {key: high, points: 30}]
    triggers:
      - {id: z-line, type: metric, metric: lines, metricThreshold: 10, points: 1, status: active}
      - {id: a-commit, type: metric, metric: commits, metricThreshold: 1, points: 5, status: active}
      - {id: pair, type: streak, streakLength: 2, points: 7, status: active}
      - {id: both-prize, type: achievement, achievement: both, points: 11, status: active}
    boosts:
      - {id: local-day, start: "2010-05-02", end: "2010-05-02", multiplier: 1.15, rounding: up, status: active}
  - key: energy
    maxPoints: 10
    triggers:
      - {id: start, type: user_creation, points: 3, status: active}
      - {id: month, type: time, timeUnit: days, timeInterval: 30, points: 4, status: active}
      - {id: spend, type: metric, metric: commits, metricThreshold: 1, points: -2, status: active}
"""


def _run(tmp_path: Path, commits: list[tuple[str, int]], ticks: list[str], at: str = "2010-05-01T00:00:00Z") -> Any:
    lines = ["authored_at,author,commit,files,insertions,deletions"]
    lines += [f"{when},u1,c{number},1,{size},0" for number, (when, size) in enumerate(commits)]
    with gzip.open(tmp_path / "commits.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    (tmp_path / "catalog.yaml").write_text(CATALOG, encoding="utf-8")
    instants = [parse_instant(text) for text in ticks]
    result = compute(tmp_path / "commits.csv.gz", tmp_path / "catalog.yaml", parse_instant(at), instants)
    return result["users"]["u1"]


def _awards(user: Any, system: str) -> list[tuple[str, int, int]]:
    return [
        (award["trigger"], award["awarded"], award["total"]) for award in user["awards"] if award["system"] == system
    ]


def test_one_commit_moves_everything_in_order(tmp_path: Path) -> None:
    # Saturday 1 May 23:00 in UTC+2; then Sunday 2 May 10:00, boosted by 1.15 (5.75 -> 6, 2.3 -> 3, 8.05 -> 9, 12.65 -> 13).
    user = _run(tmp_path, [("2010-05-01T23:00:00+02:00", 9), ("2010-05-02T10:00:00+02:00", 11)], [])
    assert user["metrics"] == {"commits": 2, "lines": 20}
    assert _awards(user, "xp") == [
        ("a-commit", 5, 5),
        ("a-commit", 6, 11),
        ("pair", 9, 20),
        ("both-prize", 13, 33),
        ("z-line", 3, 36),
    ]
    assert user["awards"][-1]["base"] == 2 and user["awards"][-1]["count"] == 2
    assert [one["id"] for one in user["achievements"]] == ["weekend", "two-days", "both"]
    assert user["points"]["xp"] == {"total": 36, "level": "high"}
    at = parse_instant("2010-05-02T08:00:00Z")
    assert user["levelChanges"] == [{"system": "xp", "at": at, "previous": "low", "new": "high"}]


def test_refills_are_clipped_at_the_cap_and_leave_no_award(tmp_path: Path) -> None:
    # 3 - 2 = 1; ticks after 30, 60, 90 days: 5, 9, 10 (clipped to 1); the fourth leaves nothing; the commit at day 130: 8.
    commits = [("2010-05-03T00:00:00+00:00", 1), ("2010-09-10T00:00:00+00:00", 1)]
    user = _run(tmp_path, commits, ["2010-09-30T00:00:00Z"])
    assert _awards(user, "energy") == [
        ("start", 3, 3), ("spend", -2, 1), ("month", 4, 5), ("month", 4, 9), ("month", 1, 10), ("spend", -2, 8), ("month", 2, 10),
    ]  # fmt: skip
    assert user["awards"][3]["date"] == parse_instant("2010-06-02T00:00:00Z")
    assert user["awards"][-1]["date"] == parse_instant("2010-09-30T00:00:00Z")


def test_ticks_count_from_the_catalog_for_older_users(tmp_path: Path) -> None:
    user = _run(tmp_path, [("2010-05-01T00:00:00+00:00", 1)], ["2010-06-30T00:00:00Z"], at="2010-05-20T00:00:00Z")
    assert [award["date"] for award in user["awards"] if award["trigger"] == "month"] == [
        parse_instant("2010-06-19T00:00:00Z")
    ]


def test_late_commit_repairs_yesterday_and_nothing_older(tmp_path: Path) -> None:
    commits = [
        ("2010-05-03T10:00:00+00:00", 1),
        ("2010-05-05T10:00:00+00:00", 1),  # 4 May was lost at midnight
        ("2010-05-04T12:00:00+00:00", 1),  # repairs it: 1 + 1 + 1
        ("2010-05-03T12:00:00+00:00", 1),  # its day is met already, and older than the last settled one
    ]
    user = _run(tmp_path, commits, ["2010-05-08T00:00:00Z"])
    events = [(event["type"], event["length"]) for event in user["streakEvents"]]
    assert events == [
        ("streak.started", 1), ("streak.lost", 1), ("streak.started", 1), ("streak.extended", 3), ("streak.lost", 3),
    ]  # fmt: skip
    assert user["streakEvents"][3]["at"] == parse_instant("2010-05-04T12:00:00Z")
    assert ("pair", 7, 22) in _awards(user, "xp")  # floor(3/2) - floor(1/2)
    days = {row["periodStart"]: row for row in user["periods"] if row["frequency"] == "daily"}
    assert [(day, row["length"], row["outcome"], row["repaired"]) for day, row in days.items()] == [
        ("2010-05-03", 1, "met", False), ("2010-05-04", 2, "met", True), ("2010-05-05", 3, "met", False),
        ("2010-05-06", 0, "lost", False),
    ]  # fmt: skip
    assert user["streaks"]["daily"] | {"met": False} == {
        "length": 0, "longest": 3, "started": None, "extended": None, "periodStart": None, "periodEnd": None, "met": False,
    }  # fmt: skip


def test_moving_east_bridges_and_moving_west_prolongs(tmp_path: Path) -> None:
    commits = [
        ("2010-05-03T20:00:00-07:00", 1),  # Monday in California
        (
            "2010-05-05T04:00:00+09:00",
            1,
        ),  # 19:00Z on the 4th: still Tuesday there, Wednesday in Tokyo: Tuesday is bridged
        ("2010-05-05T12:00:00-07:00", 1),  # Wednesday stays open until California's midnight
        ("2010-05-06T01:00:00+00:00", 1),  # 19 minutes past midnight is Thursday in London: extends
    ]
    user = _run(tmp_path, commits, [])
    assert [event["length"] for event in user["streakEvents"]] == [1, 2, 3]
    rows = [row for row in user["periods"] if row["frequency"] == "daily"]
    assert [(row["periodStart"], row["length"], row["outcome"]) for row in rows] == [
        ("2010-05-03", 1, "met"), ("2010-05-04", 1, "bridged"), ("2010-05-05", 2, "met"),
    ]  # fmt: skip


def test_late_records_are_dated_by_themselves_and_append_never_goes_back(tmp_path: Path) -> None:
    commits = [("2010-05-03T10:00:00+00:00", 1), ("2010-05-02T10:00:00+00:00", 1)]
    user = _run(tmp_path, commits, [])
    late = [award for award in user["awards"] if award["trigger"] == "a-commit"][1]
    assert (late["localDate"], late["awarded"], late["boosts"]) == ("2010-05-02", 6, ["local-day"])
    assert user["created"] == parse_instant("2010-05-03T10:00:00Z")
    # Created on the 3rd: there is no settled period to repair.
    assert user["streaks"]["daily"]["length"] == 1
    assert user["streaks"]["weekly"]["length"] == 1


def test_limit_takes_the_first_commits(tmp_path: Path) -> None:
    _run(tmp_path, [("2010-05-03T10:00:00+00:00", 1)] * 3, [])
    files = tmp_path / "commits.csv.gz", tmp_path / "catalog.yaml"
    assert compute(*files, 0, [], limit=2)["users"]["u1"]["metrics"] == {"commits": 2, "lines": 2}
