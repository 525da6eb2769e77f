"""What a case needs that this version does not do yet, read from the case alone."""

from tests.spec.notation import Json


def later_features(case: Json) -> set[str]:
    """Return the features of the next issue that a case uses; empty = the case must pass."""
    found: set[str] = set()
    config = case["config"]
    filters = _filters(config)
    for event in case["events"]:
        operation = event.get("op", "event")
        if operation != "config":
            continue
        trigger = event.get("addTrigger", event.get("set", {}))
        wanted = trigger.get("eventAttributes")
        if wanted:
            metric = trigger.get("metric") or _metric_of(config, event)
            if (metric, frozenset(wanted.items())) not in filters:
                found.add("filling new filter counters (P12, A6)")
    return found


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
