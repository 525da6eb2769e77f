"""Whatever the log, what is due comes out the same however it is folded, and nothing comes twice (E12, A31, C33)."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.instants import DAY_MS, HOUR_MS, format_instant, parse_instant
from tests.rules.story import Json, Story

START = parse_instant("2024-10-20T00:00:00Z")  # both sides leave daylight time in the weeks that follow
ZONES = ["Europe/Berlin", "America/New_York", "America/Havana", "Pacific/Apia", "+14:00", "-11:00", None]
MESSAGES = [
    None,
    {"recap": "weekly", "reactivation": True, "streakReminder": True, "achievement": True},
    {"recap": "monthly", "achievement": True, "maxDelayHours": 3},
    {"reactivation": True, "streakReminder": True, "maxDelayHours": 720},
]

steps = st.integers(0, 4) | st.integers(5, 40) | st.integers(100, 400)
users = st.sampled_from("ab")
late = st.sampled_from([0, 0, 0, 3, 30, 100])


def _catalog(messages: Json | None, frequency: str, years: int) -> Json:
    achievements = [
        {"id": "one", "trigger": "metric", "metric": "m", "metricValue": 1},
        {"id": "ten", "trigger": "metric", "metric": "m", "metricValue": 10},
        {"id": "year", "trigger": "anniversary", "anniversaryYears": years},
        {"id": "pro", "trigger": "anniversary", "anniversaryYears": 1, "userAttributes": {"p": "pro"}},
        {"id": "all", "trigger": "achievement", "achievementIds": ["one", "year"]},
    ]
    pays = [
        {"id": name, "type": "achievement", "achievement": name, "points": 5, "status": "active"}
        for name in ("year", "all")
    ]
    catalog: Json = {
        "metrics": ["m"],
        "userAttributes": ["p"],
        "streak": {"metrics": [{"key": "m", "threshold": 1}], "frequency": frequency, "customizationEnabled": True},
        "achievements": [{"status": "active", **achievement} for achievement in achievements],
        "systems": [{"key": "xp", "triggers": pays}],
    }
    return catalog if messages is None else {**catalog, "messages": messages}


catalogs = st.builds(
    _catalog, st.sampled_from(MESSAGES), st.sampled_from(["daily", "weekly", "monthly"]), st.integers(1, 2)
)


@st.composite
def stories(draw: Any) -> Story:
    """Draw a log of some weeks: events, late ones, zones, sign-up dates, preferences, pauses, restores, versions, ticks."""
    now = START
    story = Story(draw(catalogs), format_instant(now))
    for _ in range(draw(st.integers(5, 25))):
        now += draw(steps) * HOUR_MS
        at, user = format_instant(now), draw(users)
        occurred = format_instant(max(now - draw(late) * HOUR_MS, START))
        kind = draw(st.sampled_from(["event", "event", "event", "tick", "tick", "profile", "request", "version"]))
        if kind == "event":
            story.event(at, user, occurred, draw(st.sampled_from([0, 0, 1])))  # 0 leaves the streak alone
        elif kind == "tick":
            story.tick(at)
        elif kind == "version":
            story.publish(draw(catalogs), at)
        elif kind == "profile":
            fields: Json = {}
            if draw(st.booleans()):
                fields["tz"] = draw(st.sampled_from(ZONES))
            if draw(st.booleans()):
                fields["signUpDate"] = format_instant(START - draw(st.integers(0, 800)) * DAY_MS)[:10]
            if draw(st.booleans()):
                fields["attributes"] = {"p": draw(st.sampled_from(["pro", "free"]))}
            story.identify(at, user, occurred, **fields)
        else:
            _request(draw, story, at, user)
    for days in (1, 2, 10, 40, 400):
        story.tick(format_instant(now + days * DAY_MS))
    return story


def _request(draw: Any, story: Story, at: str, user: str) -> None:
    kind = draw(st.sampled_from(["streak.restore", "streak.reset", "streak.pause", "preferences"]))
    more: Json = {}
    if kind == "streak.pause":
        more = {"id": "p", "start": at[:10], "end": at[:10]}
    elif kind == "preferences":
        names = ["recap", "reactivation", "streak_reminder", "achievement_completed"]
        more = {"notifications": {draw(st.sampled_from(names)): draw(st.sampled_from([[], ["email"], ["push"]]))}}
        more["streak"] = {"enabled": draw(st.booleans())}
    story.request(kind, at, user, **more)


@settings(max_examples=40, deadline=None)
@given(stories())
def test_what_is_due_does_not_depend_on_how_the_log_is_folded(story: Story) -> None:
    """`fold` compares rounds of all sizes, roll-backs, slices and restarts; ids are unique, completions are once."""
    events = [event for event in story.fold() if "emittedAt" in event]
    assert len({event["id"] for event in events}) == len(events)
    gained = ("achievement.completed", "achievement.backdated")
    completions = Counter((e["userId"], e["data"]["achievement"]["id"]) for e in events if e["type"] in gained)
    assert set(completions.values()) <= {1}
    told = Counter(
        (e["userId"], e["data"]["achievement"]["id"]) for e in events if e["type"] == "emails.achievement_due"
    )
    assert set(told.values()) <= {1}
    recaps = Counter((e["userId"], *e["data"]["recap"].values()) for e in events if e["type"] == "emails.recap_due")
    assert set(recaps.values()) <= {1}
