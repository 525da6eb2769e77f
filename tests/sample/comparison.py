"""Where two results of the shape of `oracle.compute` differ."""

from typing import Any

MOST_PER_LIST = 3
"""Differences shown of one list; the first ones explain the rest."""


def compare(expected: dict[str, Any], actual: dict[str, Any], *, most: int = 200) -> list[str]:
    """Return the differences as `path: expected …, got …`, at most `most` of them; empty if the results are equal.

    Awards and level changes are compared within each points system, because the mutual order of systems is not fixed by
    the chapters for the effects of one record; achievements, streak events and periods are compared in order. Numbers are
    compared by value, so a metric total may be an int, a Fraction or a Decimal. A metric without events counts as 0.
    """
    found: list[str] = []
    wanted, got = expected["users"], actual["users"]
    found += [f"{user}: is missing" for user in sorted(wanted.keys() - got.keys())]
    found += [f"{user}: should not exist" for user in sorted(got.keys() - wanted.keys())]
    for user in sorted(wanted.keys() & got.keys()):
        if len(found) >= most:
            break
        _user(user, wanted[user], got[user], found)
    if len(found) > most:
        found[most:] = [f"… and more, cut at {most}"]
    return found


def _user(path: str, expected: dict[str, Any], actual: dict[str, Any], found: list[str]) -> None:
    for name in ("created", "tz", "attributes"):
        _value(f"{path}.{name}", expected[name], actual[name], found)
    for key in sorted(expected["metrics"].keys() | actual["metrics"].keys()):
        _value(f"{path}.metrics.{key}", expected["metrics"].get(key, 0), actual["metrics"].get(key, 0), found)
    for name in ("points", "streaks"):
        for key in sorted(expected[name].keys() | actual[name].keys()):
            _fields(f"{path}.{name}.{key}", expected[name].get(key), actual[name].get(key), found)
    for name in ("awards", "levelChanges"):
        systems = {entry["system"] for side in (expected, actual) for entry in side[name]}
        for system in sorted(systems):
            of_system = [[entry for entry in side[name] if entry["system"] == system] for side in (expected, actual)]
            _list(f"{path}.{name}.{system}", of_system[0], of_system[1], found)
    for name in ("achievements", "periods", "streakEvents"):
        _list(f"{path}.{name}", expected[name], actual[name], found)


def _list(path: str, expected: list[Any], actual: list[Any], found: list[str]) -> None:
    shown = 0
    if len(expected) != len(actual):
        found.append(f"{path}: expected {len(expected)} entries, got {len(actual)}")
    for index in range(max(len(expected), len(actual))):
        wanted = expected[index] if index < len(expected) else None
        got = actual[index] if index < len(actual) else None
        if wanted != got:
            _fields(f"{path}[{index}]", wanted, got, found)
            shown += 1
            if shown == MOST_PER_LIST:
                return


def _fields(path: str, expected: Any, actual: Any, found: list[str]) -> None:
    if not (isinstance(expected, dict) and isinstance(actual, dict)):
        _value(path, expected, actual, found)
        return
    for name in sorted(expected.keys() | actual.keys()):
        _value(f"{path}.{name}", expected.get(name), actual.get(name), found)


def _value(path: str, expected: Any, actual: Any, found: list[str]) -> None:
    if expected != actual:
        found.append(f"{path}: expected {expected!r}, got {actual!r}")
