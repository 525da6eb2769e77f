"""What a case needs that this version does not do yet, read from the case alone."""

from tests.spec.notation import Json

LATER_OPERATIONS = {
    "prefs": "preferences (S79-S82)",
    "pause": "pauses (S49-S56)",
    "pause_delete": "pauses (S49-S56)",
    "grant": "streak freezes (S37-S48)",
    "restore": "restore (S71-S74)",
    "reset": "reset (S75)",
    "settings": "streak commands",
}


def later_features(case: Json) -> set[str]:
    """Return the features of the next issue that a case uses; empty = the case must pass."""
    found: set[str] = set()
    config = case["config"]
    streak = config.get("streak") or {}
    if streak.get("freezes"):
        found.add("streak freezes (S37-S48)")
    if streak.get("daysOff"):
        found.add("days off (S57-S59)")
    if streak.get("customizationEnabled"):
        found.add("personalisation (S79-S82)")
    filters = _filters(config)
    for event in case["events"]:
        operation = event.get("op", "event")
        if operation in LATER_OPERATIONS:
            found.add(LATER_OPERATIONS[operation])
        if operation != "config":
            continue
        if "achievement" in event and _may_backdate(event):
            found.add("backdating (A22-A26)")
        trigger = event.get("addTrigger", event.get("set", {}))
        wanted = trigger.get("eventAttributes")
        if wanted:
            metric = trigger.get("metric") or _metric_of(config, event)
            if (metric, frozenset(wanted.items())) not in filters:
                found.add("filling new filter counters (P12, A6)")
    return found


def _may_backdate(event: Json) -> bool:
    """Activating or editing an achievement looks back (A22); locking does not."""
    return event["set"].get("status") not in ("locked", "inactive") or len(event["set"]) > 1


def _filters(config: Json) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    things = [t for s in config.get("systems", []) for t in s.get("triggers", [])] + config.get("achievements", [])
    return {
        (thing["metric"], frozenset(thing["eventAttributes"].items()))
        for thing in things
        if thing.get("eventAttributes")
    }


def _metric_of(config: Json, event: Json) -> str:
    for system in config.get("systems", []):
        if system["key"] == event.get("system"):
            for trigger in system.get("triggers", []):
                if trigger["id"] == event.get("trigger"):
                    return str(trigger["metric"])
    return ""
