"""Two catalogs over one history, against sums made independently from what `simulate` derives."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.catalog_yaml import parse_config
from deploy.cli.support.errors import CommandError, WrongUseError
from deploy.cli.support.folding import Folding
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import file_source
from deploy.preview.compare import about_history, compare
from deploy.preview.history import Request, run_history
from deploy.preview.page import render
from deploy.preview.report import HistoryReport, SystemReport
from deploy.preview.share import Facts, Task
from deploy.preview.workers import Workers
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import parse_instant
from tests.preview.support import NEW, OLD, SAMPLES, Json, history

SINCE = "2025-03-20T12:00:00Z"


def _config(catalog: str) -> bytes:
    return encode_config(parse_config(catalog))


def _write(path: Path, records: list[Json]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _preview(
    path: Path, old: str | None, new: str, *, jobs: int = 1, since: str | None = None, tenant: str = ""
) -> HistoryReport:
    since_ms = None if since is None else parse_instant(since)
    request = Request(old=None if old is None else _config(old), new=_config(new), since_ms=since_ms, tenant=tenant)
    with file_source(str(path), "plaudit.events") as source:
        outcome = run_history(source, request, jobs)
    about = about_history(
        outcome, "new.yaml", "old.yaml", path.name, command="plaudit preview", tenant=tenant, since_ms=since_ms
    )
    return compare(outcome, about)


def _simulate(path: Path, catalog: str | None) -> list[Json]:
    """Return the derived events as production encodes them."""
    found: list[Json] = []

    def take(emission: Emission) -> None:
        if emission.type:
            found.append(json.loads(emission.value))

    with file_source(str(path), "plaudit.events") as source:
        folding = Folding(source, None if catalog is None else parse_config(catalog), environment="production")
        Simulation(source, folding).run(50, take)
    return found


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return _write(tmp_path / "records.jsonl", history())


@pytest.fixture
def ticked(tmp_path: Path) -> Path:
    """The same, brought to the time of the last record for everybody, as a preview does it."""
    made = history()
    end = made[-1]["occurredAt"]
    return _write(tmp_path / "ticked.jsonl", [*made, {"type": "tick", "at": end, "timestamp": end}])


class _Sums:
    """What a report must say of one catalog, from derived events alone."""

    def __init__(self, events: list[Json], since: str | None = None) -> None:
        self.balance: dict[tuple[str, str], int] = defaultdict(int)
        self.points: Counter[tuple[str, str]] = Counter()
        self.awards: Counter[tuple[str, str]] = Counter()
        self.times: Counter[tuple[str, str]] = Counter()
        self.paid: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.by_day: dict[tuple[str, str], int] = defaultdict(int)
        self.earned: Counter[str] = Counter()
        self.achieved: dict[str, set[str]] = defaultdict(set)
        self.active: dict[str, set[str]] = defaultdict(set)
        self.levelled: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.streaks: Counter[str] = Counter()
        self.users = {event["userId"] for event in events}
        for event in events:
            counts = since is None or event["occurredAt"] >= since
            self._take(event, event["type"], event["data"], counts)

    def _take(self, event: Json, kind: str, data: Json, counts: bool) -> None:
        user = event["userId"]
        if kind == "points.awarded":
            system, points = data["pointsSystem"]["key"], data["award"]["awarded"]
            self.balance[system, user] += points
            if counts:
                pair = system, data["award"]["trigger"]["id"]
                self.points[pair] += points
                self.awards[pair] += 1
                self.times[pair] += data["award"]["count"]
                self.paid[pair].add(user)
                self.by_day[system, event["occurredAt"][:10]] += points
                self.earned[system] += max(points, 0)
        elif counts and kind == "achievement.completed":
            self.achieved[data["achievement"]["id"]].add(user)
        elif counts and kind == "metric.changed":
            self.active[event["occurredAt"][:7]].add(user)
        elif counts and kind in ("streak.started", "streak.lost"):
            self.streaks[kind] += 1
        elif counts and kind == "points.level_changed" and data["newLevel"] is not None:
            self.levelled[data["points"]["key"], data["newLevel"]["key"]].add(user)


def _check(report: HistoryReport, old: _Sums, new: _Sums) -> None:
    assert (report.users.old, report.users.new) == (len(old.users), len(new.users))
    for system in report.systems:
        for side, sums in (("old", old), ("new", new)):
            _check_system(system, sums, lambda pair, side=side: getattr(pair, side))
    for side, sums in (("old", old), ("new", new)):
        for row in report.achievements:
            assert getattr(row.users, side) == len(sums.achieved[row.id])
        assert getattr(report.streaks.started, side) == sums.streaks["streak.started"]
        assert getattr(report.streaks.lost, side) == sums.streaks["streak.lost"]


def _check_system(system: SystemReport, sums: _Sums, of: Callable[[Any], int]) -> None:
    key = system.key
    balances = sorted(sums.balance[key, user] for user in sums.users)
    for trigger in system.triggers:
        pair = key, trigger.id
        assert of(trigger.points) == sums.points[pair]
        assert of(trigger.awards) == sums.awards[pair]
        assert of(trigger.times) == sums.times[pair]
        assert of(trigger.users) == len(sums.paid[pair])
    assert {pair for pair in sums.awards if pair[0] == key} <= {(key, trigger.id) for trigger in system.triggers}
    assert of(system.earned) == sums.earned[key]
    assert of(system.outstanding) == sum(balances) == sum(of(row.balance) for row in system.deciles)
    assert of(system.median_balance) == balances[(len(balances) - 1) // 2]
    days = {row.start: of(row.earned) - of(row.deducted) for row in system.buckets}
    assert {day: points for day, points in days.items() if points} == {
        day: points for (system_key, day), points in sums.by_day.items() if system_key == key and points
    }
    assert of(system.buckets[-1].outstanding) == sum(balances)
    assert {row.month: of(row.active_users) for row in system.months if of(row.active_users)} == {
        month: len(users) for month, users in sums.active.items()
    }
    for one in system.balances:
        assert of(one.users) == sum(one.low <= balance <= one.high for balance in balances)
    assert sum(of(one.users) for one in system.balances) == len(balances)


def test_the_report_is_what_each_catalog_derives(records: Path, ticked: Path) -> None:
    old, new = _Sums(_simulate(ticked, OLD)), _Sums(_simulate(ticked, NEW))
    report = _preview(records, OLD, NEW)
    _check(report, old, new)
    (xp, _) = report.systems
    assert xp.moved.up + xp.moved.down + xp.moved.same == len(old.users)
    assert xp.moved.up == sum(new.balance["xp", user] > old.balance["xp", user] for user in old.users)
    changes = {user: new.balance["xp", user] - old.balance["xp", user] for user in old.users}
    best = max(changes, key=lambda user: (changes[user], user))
    assert changes[best] == xp.gainers[0].balance.change
    assert sum(one.users for one in xp.changes) == len(old.users)
    assert report.refused[0].reason == "unknown_metric"
    assert (report.refused[0].records.old, report.refused[0].records.new) == (6, 6)


def test_levels_are_counted_where_users_stand_and_when_they_got_there(records: Path, ticked: Path) -> None:
    xp = _preview(records, OLD, NEW).systems[0]
    thresholds = {"old": [0, 10, 40, 120], "new": [0, 10, 30, 120]}
    for side, catalog in (("old", OLD), ("new", NEW)):
        events = _simulate(ticked, catalog)
        sums = _Sums(events)
        balances = [sums.balance["xp", user] for user in sums.users]
        for place, row in enumerate(xp.levels):
            low = thresholds[side][place]
            high = (*thresholds[side][1:], 10**9)[place]
            assert getattr(row, f"points_{side}") == low
            assert getattr(row.users, side) == sum(low <= balance < high for balance in balances)
            reached = getattr(row.reach, side)
            days = _days_to(events, low) if low else []
            assert (reached.users, reached.median) == (len(days), days[-(-len(days) // 2) - 1] if days else None)


def _days_to(events: list[Json], threshold: int) -> list[float]:
    """Return the days that users took until an event of theirs left them at or above a threshold, sorted."""
    created = {e["userId"]: parse_instant(e["data"]["user"]["created"]) for e in events if e["type"] == "user.upserted"}
    after: dict[tuple[str, str], tuple[int, int]] = {}
    for event in events:
        if event["type"] == "points.awarded" and event["data"]["pointsSystem"]["key"] == "xp":
            cause = event["userId"], event["data"]["cause"]["id"]
            after[cause] = parse_instant(event["occurredAt"]), event["data"]["total"]
    reached: dict[str, int] = {}
    for (user, _), (at, total) in after.items():
        if total >= threshold:
            reached[user] = min(at, reached.get(user, at))
    return sorted(round((at - created[user]) / 86_400_000, 2) for user, at in reached.items())


def test_since_lets_the_new_catalog_take_over_as_if_published_then(records: Path, tmp_path: Path) -> None:
    made = history()
    switch = next(number for number, record in enumerate(made) if record["occurredAt"] >= SINCE)
    first, end = made[0]["occurredAt"], made[-1]["occurredAt"]
    dumped = [
        {"type": "catalog", "version": "1", "at": first, "timestamp": first, "config": parse_config(OLD)},
        *made[:switch],
        {"type": "catalog", "version": "2", "at": SINCE, "timestamp": SINCE, "config": parse_config(NEW)},
        *made[switch:],
        {"type": "tick", "at": end, "timestamp": end},
    ]
    events = _simulate(_write(tmp_path / "dump.jsonl", dumped), None)
    old = _Sums(_simulate(_write(tmp_path / "old.jsonl", [*made, dumped[-1]]), OLD), SINCE)
    new = _Sums(events, SINCE)
    report = _preview(records, OLD, NEW, since=SINCE)
    _check(report, old, new)
    assert report.about.since == "2025-03-20T12:00:00.000Z"
    assert 0 < report.systems[0].awards.old < sum(_Sums(_simulate(records, OLD)).awards.values())
    assert any(event["type"] == "achievement.completed" for event in events)


def test_the_log_may_bring_the_old_catalog_itself(records: Path, tmp_path: Path) -> None:
    made = history()
    first = made[0]["occurredAt"]
    switch = {"type": "catalog", "version": "1", "at": first, "timestamp": first, "config": parse_config(OLD)}
    own = _write(tmp_path / "own.jsonl", [switch, *made])
    for since in (None, SINCE):
        mine, theirs = _preview(own, None, NEW, since=since), _preview(records, OLD, NEW, since=since)
        assert mine.systems == theirs.systems
        assert mine.achievements == theirs.achievements
    with pytest.raises(WrongUseError, match="--against"):
        _preview(records, None, NEW)


@pytest.mark.parametrize("since", [None, SINCE])
def test_the_number_of_processes_changes_nothing(records: Path, since: str | None) -> None:
    assert _preview(records, OLD, NEW, jobs=3, since=since) == _preview(records, OLD, NEW, since=since)


def test_partitions_are_folded_apart_and_the_switch_comes_in_each(tmp_path: Path) -> None:
    made = history()
    early = {"metric": "words", "user": {"id": "early"}, "value": 45, "occurredAt": made[100]["occurredAt"]}
    made.insert(100, early)
    places = [9 if record is early else int(record["user"]["id"][1:]) % 4 for record in made]
    placed = [
        {**record, "origin": {"topic": "t.events", "partition": place, "offset": offset}}
        for offset, (record, place) in enumerate(zip(made, places, strict=True))
    ]
    apart, together = _write(tmp_path / "apart.jsonl", placed), _write(tmp_path / "together.jsonl", made)
    for since in (None, SINCE):
        reports = [
            _preview(path, OLD, NEW, since=since, jobs=jobs) for path, jobs in ((apart, 1), (apart, 2), (together, 1))
        ]
        assert reports[0] == reports[1]
        assert reports[0].systems == reports[2].systems
        assert reports[0].achievements == reports[2].achievements


def test_the_same_catalog_twice_changes_nothing(records: Path) -> None:
    for since in (None, SINCE):
        report = _preview(records, OLD, OLD, since=since)
        assert not report.warnings
        found = json.loads(msgspec.json.encode(report))
        for pair in _pairs(found):
            assert pair["old"] == pair["new"]
        for system in report.systems:
            assert (system.moved.up, system.moved.down) == (0, 0)
            assert not system.gainers
            assert not system.losers


def _pairs(value: Any) -> list[Json]:
    if isinstance(value, list):
        return [pair for one in value for pair in _pairs(one)]
    if not isinstance(value, dict):
        return []
    return [value] if set(value) == {"old", "new"} else [pair for one in value.values() for pair in _pairs(one)]


def test_what_the_new_catalog_refuses_is_told(records: Path) -> None:
    without = NEW.replace(", {key: pages}", "")
    without = "\n".join(line for line in without.splitlines() if "metric: pages" not in line)
    report = _preview(records, OLD, without)
    (warning,) = report.warnings
    assert "unknown_metric" in warning
    assert "active metrics: words" in warning
    assert report.events.new < report.events.old


def test_records_of_other_tenants_are_left_out(records: Path, tmp_path: Path) -> None:
    made = history()
    mixed = [one for record in made for one in (record, {**record, "tenant": "acme", "value": 7})]
    path = _write(tmp_path / "mixed.jsonl", mixed)
    alone = _write(tmp_path / "alone.jsonl", [one for one in mixed if "tenant" in one])
    assert _preview(path, OLD, NEW).systems == _preview(records, OLD, NEW).systems
    mine, theirs = _preview(path, OLD, NEW, tenant="acme", jobs=2), _preview(alone, OLD, NEW, tenant="acme")
    assert mine.systems == theirs.systems
    assert mine.users.old == 23


def test_since_must_lie_within_the_history(records: Path) -> None:
    with pytest.raises(WrongUseError, match="lies after the last record"):
        _preview(records, OLD, NEW, since="2031-01-01T00:00:00Z", jobs=2)
    early = _preview(records, OLD, NEW, since="2001-01-01T00:00:00Z")
    assert early.systems == _preview(records, OLD, NEW).systems


def test_a_week_start_cannot_change_within_the_history(records: Path) -> None:
    monday = NEW.replace("frequency: daily", "frequency: daily, weekStart: monday")
    with pytest.raises(WrongUseError, match="weekStart: sunday"):
        _preview(records, OLD, monday, since=SINCE)
    assert _preview(records, OLD, monday).systems[0].awards.new


def test_an_empty_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUseError, match="no records"):
        _preview(_write(tmp_path / "none.jsonl", []), OLD, NEW)


def test_a_process_that_fails_ends_the_preview() -> None:
    facts = Facts(
        topic="t", partitions=None, token=None, versions=[], missing=[], unnamed=[], tenants={""}, brings_catalogs=False
    )
    task = Task(facts=facts, environment="e", tenant="", old=_config(OLD), new=b"{nonsense", first_ms=0)
    with (
        pytest.raises(CommandError, match="a process of the preview failed"),
        Workers(task, 2, lambda _: None) as workers,
    ):
        workers.outcomes()


def test_the_doubled_sample_is_the_sample_but_for_what_it_says() -> None:
    old, new = (parse_config((SAMPLES / name).read_text()) for name in ("catalog.yaml", "catalog-doubled.yaml"))
    for system in old["systems"]:
        for trigger in system["triggers"]:
            for name in ("metricThreshold", "streakLength"):
                if name in trigger:
                    trigger[name] *= 2
    for system in new["systems"]:
        system["boosts"] = [boost for boost in system["boosts"] if boost["id"] != "ten-years"]
    assert old == new


# the page


def _page(report: HistoryReport) -> str:
    return render(report).decode()


def test_the_page_stands_alone(records: Path) -> None:
    page = _page(_preview(records, OLD, NEW))
    outside = re.sub(r'<script type="text/plain" id="library">[A-Za-z0-9+/=]+</script>', "", page)
    assert len(outside) < len(page) - 1_000_000
    assert "://" not in outside
    targets = re.findall(r'(?:src|href|action|poster|data)="([^"]*)"', outside)
    assert targets
    assert all(target.startswith("#") or target == "data:," for target in targets)
    assert "@import" not in outside
    assert "url(" not in outside
    assert len(page) < 3_000_000
    assert page == _page(_preview(records, OLD, NEW, jobs=2))


def test_the_page_shows_charts_that_can_be_read(records: Path) -> None:
    page = _page(_preview(records, OLD, NEW))
    figures = [json.loads(text) for text in re.findall(r'<script class="figure"[^>]*>(.*?)</script>', page)]
    assert len(figures) == page.count("<h3>") - 4  # of them two lists of users per system
    assert all(figure["data"] and figure["layout"]["height"] >= 100 for figure in figures)
    names = {trace.get("name") for figure in figures for trace in figure["data"]}
    assert {"old", "new"} <= names


def test_names_from_outside_are_escaped_on_the_page(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    made = [{**record, "user": {"id": evil if number % 2 else "u1"}} for number, record in enumerate(history(60))]
    catalogs = [one.replace("name: Experience", f"name: {json.dumps(evil)}") for one in (OLD, NEW)]
    catalogs = [one.replace("name: Hundred", f"name: {json.dumps(evil)}") for one in catalogs]
    page = _page(_preview(_write(tmp_path / "evil.jsonl", made), *catalogs))
    assert evil not in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
