"""The catalog versions of a log, as the points oracle asks about them."""

from collections.abc import Callable
from typing import Any

from tests.properties.points_facts import Json, by_bytes, instant

HOUR_MS = 3_600_000


class Versions:
    """All versions up to the one in force."""

    def __init__(self) -> None:
        self.all: list[tuple[int, Json]] = []

    @property
    def config(self) -> Json:
        """The version in force."""
        return self.all[-1][1]

    def systems(self, config: Json | None = None) -> list[Json]:
        """Systems that are not archived (P3)."""
        return [s for s in (config or self.config).get("systems", []) if s.get("status", "active") == "active"]

    def system(self, key: str) -> Json | None:
        """The system of this key that is not archived."""
        return next((system for system in self.systems() if system["key"] == key), None)

    def triggers(self, system: Json) -> list[Json]:
        """Active triggers in the order of P32."""
        file_order = {id(trigger): index for index, trigger in enumerate(system.get("triggers", []))}
        active = [trigger for trigger in system.get("triggers", []) if trigger.get("status") == "active"]

        def place(trigger: Json) -> tuple[int, int, bytes]:
            if trigger.get("created"):
                return instant(trigger["created"]), -1, by_bytes(trigger["id"])
            introduced = self.since(lambda config: find_trigger(config, system["key"], trigger["id"]) and True)
            return introduced, file_order[id(trigger)], by_bytes(trigger["id"])

        return sorted(active, key=place)

    def since(self, shape: Callable[[Json], Any]) -> int:
        """Instant of the version since which `shape` of the configuration is what it is now."""
        since, previous = 0, None
        for at, config in self.all:
            present = shape(config)
            if present != previous:
                since = at
            previous = present
        return since

    def activated(self, system: str, trigger_id: str) -> int:
        """P25: latest activation or edit of unit or interval of a time trigger."""

        def shape(config: Json) -> Any:
            trigger = find_trigger({"systems": self.systems(config)}, system, trigger_id)
            if trigger is None or trigger["type"] != "time" or trigger.get("status") != "active":
                return None
            return trigger["timeUnit"].rstrip("s"), trigger["timeInterval"]

        return self.since(shape)

    def level(self, system: str, total: int) -> str | None:
        """P49."""
        found = self.system(system)
        reached = [level for level in (found or {}).get("levels", []) if level["points"] <= total]
        return max(reached, key=lambda level: level["points"])["key"] if reached else None

    def achievements(self, *statuses: str) -> list[Json]:
        """Achievements with one of these statuses."""
        return [a for a in self.config.get("achievements", []) if a.get("status", "inactive") in statuses]

    def open_metrics(self) -> set[str]:
        """M4, T9: keys of the metrics that are not archived."""
        metrics = [{"key": m} if isinstance(m, str) else m for m in self.config.get("metrics", [])]
        return {metric["key"] for metric in metrics if metric.get("status", "active") == "active"}

    def api_achievement(self, key: str) -> Json | None:
        """A20: an active or locked achievement of type api."""
        found = [a for a in self.achievements("active", "locked") if a["trigger"] == "api" and a.get("key") == key]
        return found[0] if found else None

    def achievement_id(self, reference: str) -> str:
        """A file may name an achievement by id or key (X14)."""
        names = {a["key"]: a["id"] for a in self.config.get("achievements", []) if a.get("key")}
        return str(names.get(reference, reference))

    def prerequisites(self, achievement: Json) -> list[str]:
        """Ids of what a composite needs."""
        return [self.achievement_id(one) for one in achievement["achievementIds"]]

    def time_triggers(self) -> list[tuple[Json, Json]]:
        """Systems by creation, then id; within one by P32 (C19)."""
        systems = sorted(
            self.systems(),
            key=lambda s: (
                self.since(lambda config: find_system(config, s["key"]) and True),
                by_bytes(s.get("id", "")),
            ),
        )
        return [(s, t) for s in systems for t in self.triggers(s) if t["type"] == "time"]


def interval_ms(trigger: Json) -> int:
    """P25: a day is 24 hours."""
    return int(trigger["timeInterval"]) * (HOUR_MS if trigger["timeUnit"].startswith("hour") else 24 * HOUR_MS)


def find_system(config: Json, key: str) -> Json | None:
    return next((system for system in config.get("systems", []) if system["key"] == key), None)


def find_trigger(config: Json, system: str, trigger_id: str) -> Json | None:
    found = find_system(config, system)
    return next((t for t in (found or {}).get("triggers", []) if t["id"] == trigger_id), None)
