"""From derived events to the shape of the oracle's result, so that both can be compared."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from schemas.emission import Emission
from schemas.instants import parse_instant

Json = dict[str, Any]


class Collector:
    """Takes derived events in order and keeps what the oracle computes; `levels_at_zero` is by system key."""

    def __init__(self, levels_at_zero: dict[str, str | None]) -> None:
        self._levels_at_zero = levels_at_zero
        self.users: dict[str, Json] = {}
        self._periods: dict[tuple[str, str, str], Json] = {}

    def add(self, emissions: Iterable[Emission]) -> None:
        """Take the emissions of a fold; outcomes and refused records are passed over."""
        for emission in emissions:
            if emission.type:
                self.add_event(json.loads(emission.value, parse_float=Decimal))

    def add_event(self, event: Json) -> None:
        """Take one derived event; notices of boosts for everybody belong to no user."""
        if "userId" not in event:
            return
        user = self.users.setdefault(event["userId"], _empty())
        handler = getattr(self, "_on_" + event["type"].replace(".", "_"), None)
        if handler is not None:
            handler(user, event, event["data"])

    def _on_user_upserted(self, user: Json, _: Json, data: Json) -> None:
        shown = data["user"]
        user.update(created=parse_instant(shown["created"]), tz=shown["tz"], attributes=shown["attributes"])

    def _on_metric_changed(self, user: Json, _: Json, data: Json) -> None:
        user["metrics"][data["metric"]] = data["total"]

    def _on_points_awarded(self, user: Json, _: Json, data: Json) -> None:
        award, system = data["award"], data["pointsSystem"]["key"]
        start = {"level": self._levels_at_zero.get(system)}  # no change announces it (P49)
        user["points"].setdefault(system, start)["total"] = data["total"]
        user["awards"].append(
            {
                "system": system,
                "trigger": award["trigger"]["id"],
                "awarded": award["awarded"],
                "total": award["total"],
                "date": parse_instant(award["date"]),
                "localDate": award["localDate"],
                "count": award["count"],
                "base": award["base"],
                "boosts": [boost["id"] for boost in award.get("boosts", [])],
            }
        )

    def _on_points_level_changed(self, user: Json, event: Json, data: Json) -> None:
        system = data["points"]["key"]
        old, new = (level["key"] if level else None for level in (data["previousLevel"], data["newLevel"]))
        user["points"][system]["level"] = new
        at = parse_instant(event["occurredAt"])
        user["levelChanges"].append({"system": system, "at": at, "previous": old, "new": new})

    def _on_achievement_completed(self, user: Json, _: Json, data: Json) -> None:
        shown = data["achievement"]
        user["achievements"].append({"id": shown["id"], "achievedAt": parse_instant(shown["achievedAt"])})

    def _on_streak_changed(self, user: Json, _: Json, data: Json) -> None:
        extended = data["extended"]
        user["streaks"][data["frequency"]] = {
            "length": data["length"],
            "longest": data["longest"],
            "started": data["started"],
            "extended": parse_instant(extended) if extended else None,
            "periodStart": data["periodStart"] if data["length"] else None,
            "periodEnd": data["periodEnd"] if data["length"] else None,
            "met": data["met"],
        }

    def _on_streak_period_closed(self, user: Json, event: Json, data: Json, *, repaired: bool = False) -> None:
        row = {name: data[name] for name in ("frequency", "periodStart", "periodEnd", "length", "outcome")}
        self._periods[event["userId"], data["frequency"], data["periodStart"]] = {**row, "repaired": repaired}

    def _on_streak_period_repaired(self, user: Json, event: Json, data: Json) -> None:
        self._on_streak_period_closed(user, event, data, repaired=True)

    def _streak_event(self, user: Json, event: Json, data: Json) -> None:
        length = data["length"] if "length" in data else data["streak"]["length"]
        entry = {"type": event["type"], "at": parse_instant(event["occurredAt"]), "length": length}
        user["streakEvents"].append(entry)

    _on_streak_started = _on_streak_extended = _on_streak_lost = _streak_event

    def result(self) -> Json:
        """Return what was collected, in the oracle's shape."""
        for (user, _, _), row in sorted(self._periods.items()):
            self.users[user]["periods"].append(row)
        return {"users": self.users}


def _empty() -> Json:
    lists = ("awards", "levelChanges", "achievements", "periods", "streakEvents")
    return {"metrics": {}, "points": {}, "streaks": {}, **{name: [] for name in lists}}
