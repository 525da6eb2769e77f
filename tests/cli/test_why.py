"""`plaudit why` over records files: whatever an id names, the chain behind it."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from deploy.why import effects, words
from schemas.topics import ERASED, TOPIC_OF_TYPE
from schemas.trace import AnyStep
from tests.cli.conftest import CATALOG, Plaudit
from tests.cli.test_simulate import Lines

BOOSTED = CATALOG.replace(
    "    triggers:",
    """    maxPoints: 10
    boosts:
      - {id: spring, name: Spring, start: "2025-03-01", end: null, multiplier: 1.5, status: active}
    triggers:""",
)
HOURLY = CATALOG.replace(
    "    triggers:",
    """    triggers:
      - {id: hourly, type: time, timeUnit: hours, timeInterval: 1, points: 3, status: active}""",
)

Json = dict[str, Any]


def event(value: int, at: str, user: str = "18", **more: Any) -> Json:
    return {"metric": "words", "user": user, "value": value, "occurredAt": at, **more}


RECORDS = [
    event(25, "2025-03-01T10:00:00Z", eventId="a"),
    event(5, "2025-03-01T10:30:00Z", "19", eventId="a"),
    event(30, "2025-03-01T11:00:00Z", eventId="b"),
    event(40, "2025-03-01T12:00:00Z"),
    event(1, "2025-03-01T13:00:00Z", eventId="b"),
    {**event(1, "2025-03-01T14:00:00Z", eventId="wrong"), "metric": "letters"},
]


@pytest.fixture
def boosted(tmp_path: Path) -> Path:
    """A catalog with a boost and a cap."""
    path = tmp_path / "boosted.yaml"
    path.write_text(BOOSTED)
    return path


class Why:
    """Calls `why` on one file of records."""

    def __init__(self, plaudit: Plaudit, catalog: Path, records: Path) -> None:
        self._plaudit, self._log = plaudit, ("--catalog", catalog, "--records", records)

    def __call__(self, identity: str, *more: object) -> Json:
        result = self._plaudit("why", identity, *self._log, "--json", *more)
        assert (result.code, result.err) == (0, "")
        answer: Json = json.loads(result.out)
        return answer

    def page(self, identity: str, *more: object) -> str:
        result = self._plaudit("why", identity, *self._log, *more)
        assert (result.code, result.err) == (0, "")
        return result.out

    def fails(self, identity: str, *more: object) -> tuple[int, str]:
        result = self._plaudit("why", identity, *self._log, *more)
        assert result.out == ""
        return result.code, result.err

    def derived(self, kind: str, user: str = "18") -> list[Json]:
        events = self._plaudit("simulate", *self._log).events
        return [one for one in events if one["type"] == kind and one["userId"] == user]


@pytest.fixture
def why(plaudit: Plaudit, boosted: Path, lines: Lines) -> Why:
    return Why(plaudit, boosted, lines(RECORDS))


def _steps(answer: Json, kind: str) -> list[Json]:
    return [step for step in answer["steps"] if step["kind"] == kind]


def test_an_award_is_explained_by_its_record_its_state_and_its_numbers(why: Why) -> None:
    made = why.derived("points.awarded")
    assert [one["data"]["award"]["awarded"] for one in made] == [3, 4, 3]
    award = made[2]["data"]["award"]
    answer = why(award["id"])
    assert answer["sentence"] == (
        "18 got 3 xp: 4 multiples of 10 words x 1 = 4, boost `spring` x 1.5 = 6, 3 cut by the cap 10 (balance 7)."
    )
    record = answer["record"]
    assert (record["topic"], record["partition"], record["offset"]) == ("plaudit.events", 0, 3)
    assert (record["eventId"], record["value"]["value"], record["key"]) == ("plaudit.events-0-3", 40, "18")
    assert answer["catalog"] == {"version": "1", "since": "2025-03-01T10:00:00.000Z", "switchedAtOffset": None}
    before = answer["before"]
    assert (before["metrics"], before["points"]) == ({"words": 55}, {"xp": {"total": 7, "level": "novice"}})
    assert before["streak"]["length"] == 1
    assert len(before["achievements"]) == 1
    (step,) = _steps(answer, "award")
    assert (step["base"], step["product"], step["boosted"], step["clipped"], step["awarded"]) == (4, 6, 6, 3, 3)
    assert step["awardId"] == award["id"]
    assert [effect["type"] for effect in answer["effects"] if effect["asked"]] == ["points.awarded"]


def test_every_id_of_a_derived_event_leads_to_its_record(why: Why, plaudit: Plaudit) -> None:
    for kind in ("points.awarded", "achievement.completed", "points.level_changed", "metric.changed", "streak.changed"):
        for made in why.derived(kind):
            answer = why(made["id"])
            (asked,) = [effect for effect in answer["effects"] if effect["asked"]]
            assert asked["value"] == made
            assert answer["record"]["eventId"] == made["causationId"]
            if kind == "achievement.completed":
                assert why(made["data"]["completionId"]) == {**answer, "id": made["data"]["completionId"]}


def test_the_effects_are_those_of_the_record_in_order(why: Why) -> None:
    effects = why("b")["effects"]
    assert [effect["type"] for effect in effects] == [
        "metric.changed",
        "points.awarded",
        "points.changed",
        "",
    ]
    assert effects[-1]["topic"] == "plaudit.outcomes"
    assert not any(effect["asked"] for effect in effects)


def test_an_event_is_named_by_its_place_too(why: Why) -> None:
    by_id, by_place = why("b"), why("plaudit.events-0-2")
    assert by_id["sentAgain"] == [4]
    assert {**by_place, "id": "b", "sentAgain": [4]} == by_id


def test_a_repeat_is_shown_with_its_original(why: Why) -> None:
    answer = why("plaudit.events-0-4")
    assert answer["skipped"] == {"originalOffset": 2, "rules": ["I13"]}
    assert answer["effects"] == []
    assert "event b applied at offset 2" in answer["sentence"]


def test_a_refused_event_shows_reason_and_rule(why: Why) -> None:
    answer = why("wrong")
    assert answer["refused"]["reason"] == "unknown_metric"
    assert answer["refused"]["rules"] == ["Z3", "T9"]
    assert answer["sentence"].endswith("Nothing of it was applied.")
    assert [effect["topic"] for effect in answer["effects"]] == ["plaudit.rejected", "plaudit.outcomes"]


def test_an_id_that_several_users_have_asks_for_one(why: Why) -> None:
    code, message = why.fails("a")
    assert code == 2
    assert "2 users have 'a': '18', '19'" in message
    assert "--user" in message
    assert why("a", "--user", "19")["record"]["offset"] == 1
    assert why("a", "--user", "18")["record"]["offset"] == 0


def test_what_nothing_has_is_not_found(why: Why) -> None:
    assert why.fails("nobody")[0] == 4
    assert why.fails("plaudit.events-0-17")[0] == 4
    assert why.fails("plaudit.events-3-0")[0] == 4
    assert why.fails("a", "--user", "nobody")[0] == 4
    assert why.fails("b", "--user", "19")[0] == 4


def test_a_catalog_goes_with_records_only(plaudit: Plaudit, catalog: Path) -> None:
    assert plaudit("why", "x", "--catalog", catalog).code == 2


def test_an_award_of_time_shows_the_instant_and_what_carried_it_out(
    plaudit: Plaudit, tmp_path: Path, lines: Lines
) -> None:
    path = tmp_path / "hourly.yaml"
    path.write_text(HOURLY)
    tick = {"type": "tick", "at": "2025-03-01T11:30:00Z", "timestamp": "2025-03-01T11:30:00Z"}
    records = [event(1, "2025-03-01T10:00:00Z"), tick, event(2, "2025-03-01T12:15:00Z", eventId="late")]
    why = Why(plaudit, path, lines(records))
    by_tick, by_event = why.derived("points.awarded")
    answer = why(by_tick["data"]["award"]["id"])
    assert (answer["record"]["type"], answer["record"]["offset"]) == ("tick", 1)
    assert answer["due"] == "2025-03-01T11:00:00.000Z"
    assert "time trigger `hourly` was due at 2025-03-01T11:00:00.000Z" in answer["sentence"]
    assert answer["user"] == "18"
    answer = why(by_event["data"]["award"]["id"])
    assert (answer["record"]["eventId"], answer["due"]) == ("late", "2025-03-01T12:00:00.000Z")
    kinds = [step["kind"] for step in answer["steps"]]
    assert kinds.index("time_trigger") < kinds.index("record")


def test_a_notice_about_a_boost_of_everybody_is_nobodys(plaudit: Plaudit, tmp_path: Path, lines: Lines) -> None:
    path = tmp_path / "later.yaml"
    path.write_text(BOOSTED.replace("2025-03-01", "2025-03-05"))
    tick = {"type": "tick", "at": "2025-03-06T00:00:00Z", "timestamp": "2025-03-06T00:00:00Z"}
    records = lines([event(1, "2025-03-01T10:00:00Z"), tick])
    events = plaudit("simulate", "--catalog", path, "--records", records).events
    (notice,) = [one for one in events if one["type"] == "points.boost_started"]
    answer = Why(plaudit, path, records)(notice["id"])
    assert (answer["user"], answer["before"], answer["due"]) == (None, None, "2025-03-04T10:00:00.000Z")
    assert answer["record"]["type"] == "tick"
    assert answer["sentence"].startswith("the account: points.boost_started, xp spring x 1.5; due by time alone")


def test_users_of_tenants_are_told_apart(plaudit: Plaudit, boosted: Path, lines: Lines) -> None:
    records = [{**event(10, "2025-03-01T10:00:00Z", eventId="e"), "tenant": tenant} for tenant in ("acme", "bits")]
    why = Why(plaudit, boosted, lines(records))
    code, message = why.fails("e")
    assert (code, "'18' of tenant 'acme', '18' of tenant 'bits'" in message) == (2, True)
    answer = why("e", "--tenant", "bits")
    assert (answer["tenant"], answer["user"], answer["record"]["offset"]) == ("bits", "18", 1)
    assert why("e", "--tenant", "acme", "--user", "18")["record"]["offset"] == 0


def test_other_users_and_partitions_change_nothing(plaudit: Plaudit, boosted: Path, lines: Lines) -> None:
    alone = [event(7, f"2025-03-01T{hour:02d}:00:00Z", eventId=f"e{hour}") for hour in range(10, 20)]
    crowd: list[Json] = []
    offsets = {0: 0, 1: 0}
    for number, one in enumerate(alone):
        for partition, record in ((1, {**one, "user": "20"}), (0, {**one, "user": f"o{number}"}), (0, one)):
            origin = {"topic": "plaudit.events", "partition": partition, "offset": offsets[partition]}
            offsets[partition] += 1
            crowd.append({**record, "origin": origin})
    first = Why(plaudit, boosted, lines(alone))("e19")
    second = Why(plaudit, boosted, lines(crowd))("e19", "--user", "18")
    assert second["record"]["offset"] == 19
    for name in ("sentence", "before", "catalog", "steps", "effects", "user"):
        assert first[name] == second[name]


def test_the_page_says_it_all_in_plain_text(why: Why) -> None:
    award = why.derived("points.awarded")[2]["data"]["award"]["id"]
    page = why.page(award)
    assert page.startswith("18 got 3 xp: ")
    for text in (
        "plaudit.events partition 0 offset 3",
        '"value": 40',
        "version 1, since 2025-03-01T10:00:00.000Z",
        "xp per-ten: multiples of 10 in (55, 95]: 4, fires",
        "xp per-ten: 4 x 1 = 4, boosted 6, 3 cut by the cap 10 (balance 7); balance 7 -> 10",
        "xp: 7 -> 10, level novice -> writer",
        "P in docs/spec/points.md",
    ):
        assert text in page
    marked = [line.split() for line in page.splitlines() if line.lstrip().startswith(">")]
    assert [words[1] for words in marked] == ["P14", "plaudit.awards"]


def test_the_page_of_refused_skipped_and_unreadable_records(plaudit: Plaudit, boosted: Path, lines: Lines) -> None:
    garbage = {"raw": "{no json", "timestamp": "2025-03-01T15:00:00Z"}
    why = Why(plaudit, boosted, lines([*RECORDS, garbage]))
    assert "refused    unknown_metric (Z3 T9)" in why.page("wrong")
    assert "Nothing came out." in why.page("plaudit.events-0-4")
    page = why.page("plaudit.events-0-6")
    assert page.startswith("Refused, malformed: ")
    assert "payload    {no json" in page


def test_every_kind_of_step_and_of_derived_event_has_words() -> None:
    assert set(words._STEPS) == set(get_args(AnyStep))
    assert set(effects._SHORT) == {*TOPIC_OF_TYPE, ERASED}
