"""Random catalogs, edits of them, and operations, small enough that they meet often; plain data, so that they shrink well."""

import copy
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.properties.points_facts import Json, instant

START = instant("2025-03-28T20:00:00Z")
"""Two days before the clocks of Europe change."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

METRICS = ("m1", "m2", "m3")
USERS = ("ann", "bob", "cy")
ZONES = (
    None,
    "Europe/Berlin",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "America/New_York",
    "+05:30",
    "-03:00",
    "Mars/Base",
)
EVENT_FILTERS: tuple[Json, ...] = ({}, {}, {}, {"a": "x"}, {"a": "y"}, {"a": "x", "b": "x"}, {"a": ""})
USER_FILTERS: tuple[Json, ...] = ({}, {}, {}, {}, {}, {"p": "pro"}, {"p": "free"}, {"p": "pro", "q": "1"})
_TEXTS = "1 2 3 5 12 4 1.5 0 0.5 2.5 -1 -4 7.123456789 0.0000000005 -2.0000000015 1000000000000 1000000000001"
VALUES = tuple(Decimal(text) for text in _TEXTS.split())
GAPS = (0, SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE - 1, 15 * MINUTE, HOUR, 3 * HOUR, 7 * HOUR, DAY)

EMPTY: Json = {
    "metrics": [{"key": key, "status": "active"} for key in METRICS],
    "eventAttributes": ["a", "b"],
    "userAttributes": ["p", "q"],
    "achievements": [],
    "systems": [],
}
"""A catalog in which nothing happens."""

pick = st.sampled_from
event_filters, user_filters = pick(EVENT_FILTERS), pick(USER_FILTERS)
indexes = st.integers(0, 5)
gaps = pick(GAPS[:6] * 5 + GAPS[6:])
statuses = pick(["active", "active", "active", "inactive"])


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of several strategies, each as often as its weight says; the first is the simplest."""
    return pick([strategy for weight, strategy in choices for _ in range(weight)]).flatmap(lambda strategy: strategy)


def objects(required: Json, optional: Json | None = None) -> st.SearchStrategy[Json]:
    """An object with fixed fields, and some that may be absent."""
    return st.fixed_dictionaries(required, optional=optional or {})


_common = {"points": pick([1, 2, 5, 10, 30, -1, -3, -12, 1_000_000]), "status": statuses}
_selective = {"userAttributes": user_filters, "created": pick(["2025-01-02T00:00:00Z", "2025-01-01T00:00:00Z"])}


def metric_triggers(identity: st.SearchStrategy[str]) -> st.SearchStrategy[Json]:
    """A metric trigger."""
    counted = {"type": st.just("metric"), "metric": pick(METRICS[:2]), "metricThreshold": pick([1, 2, 3, 5])}
    optional = {**_selective, "eventAttributes": event_filters, "blockIfOutOfPoints": st.just(True)}
    return objects({"id": identity, **_common, **counted}, optional)


def triggers(identity: st.SearchStrategy[str]) -> st.SearchStrategy[Json]:
    """A trigger of any type but streak; `achievement` is an index for now."""
    fields = {"id": identity, **_common}
    timed = {"timeUnit": pick(["hour", "hours", "day"]), "timeInterval": pick([1, 3, 5])}
    return weighted(
        (5, metric_triggers(identity)),
        (2, objects({**fields, "type": st.just("achievement"), "achievement": indexes}, _selective)),
        (1, objects({**fields, "type": st.just("user_creation")}, _selective)),
        (2, objects({**fields, "type": st.just("time"), **timed}, _selective)),
    )


_windows = ("28/", "27/", "28/30", "27/29", "27/28", "28/28", "29/29", "29/", "30/")
"""First and last days of boosts, days of March; histories begin on the 28th and seldom last longer than two days."""


def _boost(fields: Json) -> Json:
    first, last = fields.pop("days").split("/")
    window = {"start": f"2025-03-{first}"} | ({"end": f"2025-03-{last}"} if last else {})
    return {**fields, **window}


_rates = pick([Decimal(text) for text in ["2", "1.5", "0.5", "1.15", "0.333333", "3", "0.01"]])
boosts = objects(
    {
        "id": pick(["b1", "b2", "b3"]),
        "multiplier": _rates,
        "days": pick(_windows),
        "enabled": pick([True, True, False]),
    },
    {"rounding": pick(["down", "up", "nearest"]), "userAttributes": user_filters},
).map(_boost)
of_user = st.tuples(boosts, pick(USERS)).map(
    lambda pair: {**{k: v for k, v in pair[0].items() if k != "userAttributes"}, "userId": pair[1]}
)
any_boost = weighted((4, boosts), (1, of_user))
levels = st.lists(pick([0, 3, 5, 10, 25, 60]), unique=True, max_size=4).map(
    lambda points: [{"key": f"l{one}", "points": one} for one in points]
)
caps = pick([None, None, 3, 10, 40])

_counted = objects(
    {
        "trigger": st.just("metric"),
        "metric": pick(METRICS[:1] * 2 + METRICS[:2]),
        "metricValue": pick([1, 3, Decimal("5.5")]),
        "eventAttributes": event_filters,
    },
    {"userAttributes": user_filters},
)
_called = objects({"trigger": st.just("api")}, {"userAttributes": user_filters})
_composite = objects(
    {"trigger": st.just("achievement"), "achievementIds": st.lists(indexes, min_size=1, max_size=2, unique=True)},
    {"userAttributes": user_filters},
)
achievements = weighted((5, _counted), (2, _called), (3, _composite))
states = pick(["active", "active", "inactive", "locked"])


def systems(key: str) -> st.SearchStrategy[Json]:
    """A points system; its id does not sort as its key does."""
    unique = {"unique_by": lambda one: one["id"]}
    return objects(
        {
            "key": st.just(key),
            "id": st.just({"s1": "z", "s2": "y", "s3": "x"}[key]),
            "triggers": st.lists(triggers(pick(["t1", "t2", "t3", "t4", "t5"])), min_size=2, max_size=5, **unique),
            "maxPoints": caps,
            "levels": levels,
            "boosts": st.lists(any_boost, min_size=1, max_size=3, **unique),
        },
    )


@st.composite
def configs(draw: st.DrawFn) -> Json:
    """A catalog file."""
    config = copy.deepcopy(EMPTY)
    for body, state in draw(st.lists(st.tuples(achievements, states), min_size=2, max_size=6)):
        add_achievement(config, body, state)
    config["systems"] = draw(
        st.tuples(*[systems(key) for key in ("s1", "s2", "s3")][: draw(st.integers(1, 3))]).map(list)
    )
    return repaired(config)


def add_achievement(config: Json, body: Json, state: str) -> None:
    """Append an achievement; composites name earlier ones only, so there is no circle."""
    earlier = [one["id"] for one in config["achievements"]]
    free = [identity for identity in ("a4", "a2", "a3", "a1", "a6", "a5") if identity not in earlier]
    if not free or (body["trigger"] == "achievement" and not earlier):
        return
    one = {**copy.deepcopy(body), "id": free[0], "status": state}
    if body["trigger"] == "api":
        one["key"] = f"key-{free[0]}"
    if body["trigger"] == "achievement":
        one["achievementIds"] = list(dict.fromkeys(earlier[index % len(earlier)] for index in body["achievementIds"]))
    config["achievements"].append(one)


def repaired(config: Json) -> Json:
    """Turn indexes into ids, and drop what names something that is not there."""
    config = copy.deepcopy(config)
    kept: list[Json] = []
    for one in config["achievements"]:
        ids = {other["id"] for other in kept}
        if one["trigger"] == "achievement":
            one["achievementIds"] = [identity for identity in one["achievementIds"] if identity in ids]
        if one.get("achievementIds", True):
            kept.append(one)
    config["achievements"] = kept
    ids_in_order = [one["id"] for one in kept]
    for system in config["systems"]:
        for trigger in system["triggers"]:
            if isinstance(trigger.get("achievement"), int) and ids_in_order:
                trigger["achievement"] = ids_in_order[trigger["achievement"] % len(ids_in_order)]
        system["triggers"] = [t for t in system["triggers"] if t.get("achievement", None) in (None, *ids_in_order)]
        system["triggers"].sort(key=lambda trigger: trigger["id"])
    return config


# edits of a catalog: (what, index, index, value)

_trigger_patches = st.one_of(
    st.fixed_dictionaries({"status": pick(["active", "inactive", "archived"])}),
    st.fixed_dictionaries({"points": pick([1, 4, -2])}),
    st.fixed_dictionaries({"metricThreshold": pick([1, 2, 4])}),
    st.fixed_dictionaries({"eventAttributes": event_filters}),
    st.fixed_dictionaries({"userAttributes": user_filters}),
    st.fixed_dictionaries({"timeUnit": pick(["hour", "day"]), "timeInterval": pick([1, 2, 24])}),
)
_achievement_patches = weighted(
    (4, st.fixed_dictionaries({"status": pick(["active", "active", "locked"])})),
    (2, st.fixed_dictionaries({"metricValue": pick([1, 2, 6])})),
    (1, st.fixed_dictionaries({"eventAttributes": event_filters})),
    (1, st.fixed_dictionaries({"userAttributes": user_filters})),
    (1, st.fixed_dictionaries({"name": pick(["one", "two"])})),
)
_system_patches = st.one_of(
    st.fixed_dictionaries({"maxPoints": caps}),
    st.fixed_dictionaries({"levels": levels}),
    st.fixed_dictionaries({"status": pick(["active", "archived"])}),
    st.fixed_dictionaries({"boosts": st.lists(any_boost, max_size=2, unique_by=lambda one: one["id"])}),
)
_metric_edits = st.tuples(st.just("metric"), indexes, indexes, pick(["active", "archived"]))
_trigger_edits = weighted(
    (3, st.tuples(st.just("trigger"), indexes, indexes, _trigger_patches)),
    (2, st.tuples(st.just("new trigger"), indexes, indexes, triggers(pick(["t6", "t7"])))),
    (1, st.tuples(st.just("drop trigger"), indexes, indexes, st.none())),
)
_achievement_edits = weighted(
    (6, st.tuples(st.just("achievement"), indexes, indexes, _achievement_patches)),
    (2, st.tuples(st.just("new achievement"), indexes, indexes, st.tuples(achievements, states))),
    (1, st.tuples(st.just("drop achievement"), indexes, indexes, st.none())),
)
_system_edits = st.tuples(st.just("system"), indexes, indexes, _system_patches)
_counting = objects(
    {
        "id": pick(["t1", "t2", "t3"]),
        "type": st.just("metric"),
        "metric": st.just(METRICS[0]),
        "metricThreshold": pick([1, 2]),
        "points": pick([1, 3]),
        "status": st.just("active"),
        "eventAttributes": event_filters,
    }
)
_few = st.lists(_counting, min_size=1, max_size=2, unique_by=lambda one: one["id"])
_counter_edits = weighted(
    (4, st.tuples(st.just("system"), indexes, indexes, st.fixed_dictionaries({"triggers": _few}))),
    (1, st.tuples(st.just("new achievement"), indexes, indexes, st.tuples(_counted, st.just("active")))),
    (1, st.tuples(st.just("drop achievement"), indexes, indexes, st.none())),
    (1, _metric_edits),
)
"""Few triggers at a time, so that a filter often is one that the version before did not have."""

_OF_TYPE = {
    "metric": "metric",
    "metricThreshold": "metric",
    "metricValue": "metric",
    "eventAttributes": "metric",
    "timeUnit": "time",
    "timeInterval": "time",
}


def edited(config: Json, edit: tuple[str, int, int, Any]) -> Json:
    """Return the catalog after an edit; one that does not apply changes nothing."""
    what, first, second, value = edit
    config = copy.deepcopy(config)
    system = config["systems"][first % len(config["systems"])]
    if what == "system":
        system.update(copy.deepcopy(value))
    elif what == "metric":
        config["metrics"][first % len(METRICS)]["status"] = value
    elif what == "new trigger" and all(trigger["id"] != value["id"] for trigger in system["triggers"]):
        system["triggers"].append(copy.deepcopy(value))
    elif what == "new achievement":
        add_achievement(config, *value)
    elif what.endswith("achievement") and config["achievements"]:
        one = config["achievements"][first % len(config["achievements"])]
        if what == "drop achievement":
            config["achievements"].remove(one)
        elif _fits(value, one["trigger"]) and _may_move(one, value):
            one.update(value)
    elif what.endswith("trigger") and system["triggers"]:
        trigger = system["triggers"][second % len(system["triggers"])]
        if what == "drop trigger":
            system["triggers"].remove(trigger)
        elif what == "trigger" and _fits(value, trigger["type"]):
            trigger.update(value)
    return repaired(config)


def _fits(patch: Json, kind: str) -> bool:
    return all(_OF_TYPE.get(name, kind) == kind for name in patch)


def _may_move(achievement: Json, patch: Json) -> bool:
    """A4: inactive goes to active only."""
    return not (achievement["status"] == "inactive" and patch.get("status") == "locked")


# operations

_profiles = objects(
    {},
    {
        "tz": pick(ZONES * 6 + ("Mars/Base",)),
        "attributes": pick([{"p": "pro"}, {"p": "free"}, {"p": "pro", "q": "1"}, {"q": ""}] * 8 + [{"nope": "1"}]),
    },
)
_timing = {"gap": gaps, "user": pick(USERS[:1] * 3 + USERS), "profile": _profiles, "bare": st.booleans()}
_dated = {
    "eventId": pick([f"e{number}" for number in range(12)]),
    "late": pick([HOUR, 25 * HOUR, -10 * MINUTE, 1]),
    "behind": pick([2 * MINUTE, 20 * MINUTE]),
}
_events = objects(
    {**_timing, "op": st.just("event"), "metric": pick(METRICS[:2] * 8 + ("m3", "nope")), "value": pick(VALUES)},
    {
        **_dated,
        "attributes": pick([{"a": "x"}, {"a": "y"}, {"a": "x", "b": "x"}] * 3 + [{"a": ""}, {"b": "x"}, {"c": "x"}]),
        "key": pick(["k1", "k2", "k3"] * 5 + ["", "k" * 256]),
    },
)
_plain_events = objects(
    {
        "op": st.just("event"),
        "gap": pick([MINUTE, HOUR]),
        "user": pick(USERS[:1] * 3 + USERS[:2]),
        "profile": objects({}, {"attributes": pick([{"p": "pro"}, {"p": "free"}, {"q": "1"}])}),
        "bare": st.just(True),
        "metric": pick(METRICS[:1] * 5 + METRICS[:2]),
        "value": pick([Decimal(text) for text in ["1", "2", "0.5", "4", "8", "-1", "-3", "-2", "1.25"]]),
        "attributes": pick([{}, {"a": "x"}, {"a": "x", "b": "x"}, {"a": "y"}, {"a": ""}, {"b": "x"}]),
    }
)
_spread_events = objects(
    {
        "op": st.just("event"),
        "gap": pick([MINUTE, HOUR, 3 * HOUR]),
        "user": pick(USERS[:2]),
        "profile": objects({"tz": pick(ZONES)}),
        "bare": st.just(False),
        "metric": pick(METRICS[:2]),
        "value": pick([1, 3, 4]),
    },
    {"late": pick([HOUR, 7 * HOUR])},
)
_identifications = objects({**_timing, "op": st.just("identify")}, _dated)
_completions = objects({**_timing, "op": st.just("complete"), "achievement": indexes}, _dated)
_ticks = objects({"op": st.just("tick"), "gap": gaps})
_rounds = objects({"op": pick(["commit", "redo", "restart"])})


def versions(edits: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """A catalog version made by some edits."""
    fields = {"op": st.just("edit"), "gap": gaps, "edits": st.lists(edits, min_size=1, max_size=5)}
    return objects(fields, {"late": pick([MINUTE, HOUR - 1])})


def histories(*operations: tuple[int, st.SearchStrategy[Json]]) -> st.SearchStrategy[list[Json]]:
    """Histories of weighted operations; rounds end here and there."""
    return st.lists(weighted((2, _rounds), *operations), min_size=12, max_size=50)


_any_edit = weighted((6, _trigger_edits), (9, _achievement_edits), (2, _system_edits), (1, _metric_edits))
everything = histories((12, _events), (2, _identifications), (3, _completions), (2, _ticks), (3, versions(_any_edit)))
unlocks = histories((8, _plain_events), (2, _completions), (5, versions(_achievement_edits)))
counters = histories((8, _plain_events), (3, versions(_counter_edits)))
purchases = histories((8, _spread_events), (1, versions(_system_edits)))
