"""What the soak sends: a catalog under which an event causes little, and events of many users at any pace."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

SEED: Final = 1

IMPORTERS: Final = 2
"""Users whose events all have ids, so that what is remembered of ids reaches its bound and rolls on."""

IMPORTED: Final = 0.1
"""Share of events that are theirs."""

REPEATED: Final = 0.005
"""Share of those that come twice."""

REFUSED: Final = 0.0002
"""Share of events with a metric that nobody knows."""

ZONES: Final = ("UTC", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Noumea")

Event = tuple[bytes, bytes]
"""Key and value of an input record."""


def catalog() -> dict[str, Any]:
    """Return a catalog with one metric, a streak, points by total and by time, levels, and achievements that every user
    has early on. Only the two importers come to points by total: awards are collected in the state for the next message
    (L32, C23; at most 100), and users who began together would grow and shrink together."""
    active: dict[str, Any] = {"status": "active"}
    by_total = {**active, "trigger": "metric", "metric": "words"}
    return {
        "metrics": ["words"],
        "streak": {"metrics": [{"key": "words", "threshold": 1}]},
        "achievements": [
            {**by_total, "id": f"words-{value}", "name": f"{value} words", "metricValue": value}
            for value in (1, 10, 25)
        ],
        "systems": [
            {
                "key": "xp",
                "name": "Experience",
                "levels": [
                    {"key": "new", "name": "New", "points": 0},
                    {"key": "known", "name": "Known", "points": 10},
                ],
                "triggers": [
                    {
                        **active,
                        "id": "ten-thousand",
                        "type": "metric",
                        "metric": "words",
                        "metricThreshold": 10_000,
                        "points": 10,
                    },
                    {**active, "id": "hourly", "type": "time", "timeUnit": "hours", "timeInterval": 1, "points": 1},
                ],
            }
        ],
    }


def user_name(index: int) -> str:
    """Return the id of a user."""
    return f"u{index:07d}"


class Load:
    """Events without end: first one of every user, then of users by chance, all equally often. Iterate once.

    Attributes:
        refused: events given out so far that will be refused.
        repeated: events given out so far that came before under the same id.
    """

    def __init__(self, users: int, seed: int = SEED) -> None:
        self.refused = 0
        self.repeated = 0
        self._names = [user_name(index) for index in range(users)]
        self._chance = Random(seed).random

    def __iter__(self) -> Iterator[Event]:
        names, users, chance = self._names, len(self._names), self._chance
        for index, name in enumerate(names):
            zone = ZONES[index % len(ZONES)]
            yield name.encode(), f'{{"metric":"words","user":{{"id":"{name}","tz":"{zone}"}},"value":1}}'.encode()
        keys = [name.encode() for name in names]
        values = [f'{{"metric":"words","user":"{name}","value":'.encode() for name in names]
        number = 0
        while True:
            one = chance()
            if one < IMPORTED:
                if one > REPEATED * IMPORTED or number == 0:
                    number += 1
                else:
                    self.repeated += 1
                name = f"import-{number % IMPORTERS}"
                yield name.encode(), f'{{"metric":"words","user":"{name}","value":1,"eventId":"i{number}"}}'.encode()
                continue
            index = int(chance() * users)
            if one > 1 - REFUSED:
                self.refused += 1
                yield keys[index], values[index].replace(b"words", b"wards") + b"1}"
            else:
                yield keys[index], values[index] + b"%d}" % (1 + int(one * 97) % 5)
