"""A synthetic log of any size, the same for the same seed, in the form of a dump (X15).

    python -m benchmarks.synthetic --events 1000000 --users 20000 --seed 1 > log.jsonl

It has what a log of real users has: few who do much and many who do little, zones of all kinds with users who move, hours
of the day, late events, idempotency keys that come twice, events that come twice, corrections, fractions, requests about
streaks, some records that will be refused, ticks, and two catalogs: the sample's with freezes, and from the middle on one
that is changed in every way that rules have to deal with.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, repeat
from random import Random
from typing import Any, Final

import msgspec

from deploy.cli.support.files import catalog_file
from deploy.cli.support.history import SAMPLE_CATALOG
from processors.agents.clock import tick_value
from processors.rules.partitioner import partition_of
from schemas.catalog_file import encode_config
from schemas.instants import DAY_MS, format_instant, parse_instant
from schemas.topics import DEFAULT_PARTITIONS, EVENTS, full_name, user_key

EVENTS_DEFAULT: Final = 1_000_000
USERS_DEFAULT: Final = 20_000
DAYS_DEFAULT: Final = 365
SEED_DEFAULT: Final = 1

BEGIN: Final = "2025-01-01T00:00:00Z"
EVENTS_PER_TICK: Final = 700
"""Records of users for every tick; a tick is a record in each partition."""

STEEPNESS: Final = 0.9
"""The user on place n is chosen n ** -STEEPNESS times as often as the first."""

SECOND_CATALOG_AT: Final = 0.5
"""Share of the log before the second catalog."""

ZONES: Final = (
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Tokyo", "America/Sao_Paulo", "Europe/London"),
    *("Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Kiritimati"),
    *("Africa/Casablanca", "Pacific/Pago_Pago", "+05:45", "-07:00"),
)

HOUR_WEIGHTS: Final = (2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 8, 8, 7, 7, 8, 8, 8, 8, 9, 10, 10, 9, 6, 4)

SIZES: Final = (("tiny", 5), ("small", 30), ("medium", 150), ("large", 1_000), ("huge", 20_000))
"""Value of the attribute `size` of the sample catalog, and the most lines of that size."""

SIZE_WEIGHTS: Final = (34, 33, 22, 9, 2)
WHENS: Final = ("weekend", "night", "morning", "afternoon", "evening")
WHEN_WEIGHTS: Final = (20, 8, 22, 28, 22)

REQUESTS: Final = 0.02
"""Share of records that are no metric events."""

LATE: Final = 0.01
REPEATED: Final = 0.003
REFUSED: Final = 0.0005
MOVES: Final = 0.001
"""Share of events whose user has another zone from here on."""

CHUNK: Final = 8_192

_encode: Final = msgspec.json.Encoder().encode


class Synthetic:
    """Makes one log. Iterate once: JSON lines without their ends, in the order of the log."""

    def __init__(
        self,
        events: int = EVENTS_DEFAULT,
        *,
        users: int = USERS_DEFAULT,
        seed: int = SEED_DEFAULT,
        days: int = DAYS_DEFAULT,
        partitions: int = DEFAULT_PARTITIONS,
    ) -> None:
        """`events`: records of users; ticks and catalogs come on top. `days`: what the log spans, from BEGIN on."""
        self._events, self._days = events, days
        self._dice = Random(seed)
        self._topic = full_name(EVENTS)
        self._offsets = [0] * partitions
        self._weights = list(accumulate((number + 1) ** -STEEPNESS for number in range(users)))
        self._users = [f"u{number:06d}" for number in range(users)]
        self._dice.shuffle(self._users)  # the busy ones are spread over the ids
        self._partitions = [partition_of(user_key("", user), partitions) for user in self._users]
        self._known = bytearray(users)
        self._since = self._dice.choices(("2000s", "2010s", "2020s"), (1, 2, 3), k=users)
        often = (6, 3, 3, *repeat(1, len(ZONES) - 2))
        self._zones: list[str | None] = self._dice.choices((None, *ZONES), often, k=users)
        self._pauses: dict[int, int] = {}
        self._requests: tuple[Callable[[int, int], str], ...] = (
            *repeat(self._identify, 6), *repeat(self._complete, 2), *repeat(self._grant, 6), *repeat(self._pause, 3),
            self._unpause, self._restore, self._reset, *repeat(self._prefer, 3), self._erase,
        )  # fmt: skip

    def __iter__(self) -> Iterator[bytes]:
        first, second = catalogs()
        begin_ms = parse_instant(BEGIN)
        yield from self._switch("1", first, begin_ms)
        for number, at_ms in enumerate(self._instants(begin_ms)):
            if number == int(self._events * SECOND_CATALOG_AT):
                yield from self._switch("2", second, at_ms)
            if number % EVENTS_PER_TICK == EVENTS_PER_TICK - 1:
                yield from self._everywhere(tick_value(at_ms).decode()[1:-1], at_ms)
            yield from self._record(number, at_ms)
        end_ms = begin_ms + (self._days + 1) * DAY_MS
        yield from self._everywhere(tick_value(end_ms).decode()[1:-1], end_ms)

    # time

    def _instants(self, begin_ms: int) -> Iterator[int]:
        """Yield the record timestamps, ascending: days that are alike, hours that are not."""
        before = 0
        for day in range(self._days):
            upto = round(self._events * (day + 1) / self._days)
            hours = self._dice.choices(range(24), HOUR_WEIGHTS, k=upto - before)
            offsets = sorted(hour * 3_600_000 + int(self._dice.random() * 3_600_000) for hour in hours)
            day_ms = begin_ms + day * DAY_MS
            for offset in offsets:
                yield day_ms + offset
            before = upto

    # records of users

    def _record(self, number: int, at_ms: int) -> Iterator[bytes]:
        if number % CHUNK == 0:
            self._draw()
        index = self._chosen[number % CHUNK]
        chance = self._chances[number % CHUNK]
        if chance < REQUESTS and self._known[index]:
            own = self._requests[int(chance / REQUESTS * len(self._requests))](index, at_ms)
        else:
            own = self._event(number, index, at_ms)
        yield self._line(own, at_ms, self._partitions[index])
        if chance > 1 - REPEATED:  # the producer was not sure that it had arrived
            yield self._line(own, at_ms, self._partitions[index])

    def _draw(self) -> None:
        dice = self._dice
        self._chosen = dice.choices(range(len(self._users)), cum_weights=self._weights, k=CHUNK)
        self._chances = [dice.random() for _ in range(CHUNK)]
        self._sizes = dice.choices(SIZES, SIZE_WEIGHTS, k=CHUNK)
        self._whens = dice.choices(WHENS, WHEN_WEIGHTS, k=CHUNK)
        self._more = [dice.random() for _ in range(CHUNK)]

    def _event(self, number: int, index: int, at_ms: int) -> str:
        place = number % CHUNK
        more = self._more[place]
        size, most = self._sizes[place]
        user = self._user(index, more)
        if more < REFUSED:
            return f'"metric":"comits",{user},"value":1'
        if number & 1:
            metric, value = "commits", "1" if more < 0.995 else "-1"
        else:
            lines = 1 + int(most * self._chances[place] ** 2)
            metric, value = "lines", f"{lines}" if more > 0.02 else f"{lines}.{number % 1000:03d}"
        attributes = f'{{"size":"{size}","when":"{self._whens[place]}"}}'
        own = f'"metric":"{metric}",{user},"value":{value},"attributes":{attributes}'
        kind = number % 10
        if kind < 6:
            own += f',"eventId":"e{number:08d}"'
        elif kind < 8:
            own += f',"idempotencyKey":"k{number}"'
        if more > 1 - LATE:
            late_ms = int((more - 1 + LATE) / LATE * 5 * DAY_MS)
            own += f',"occurredAt":"{format_instant(at_ms - late_ms)}"'
        return own

    def _user(self, index: int, more: float) -> str:
        """Return the field `user`: with everything at first and when a user has moved, else mostly the id."""
        name = self._users[index]
        if self._known[index] and more > MOVES:
            return f'"user":"{name}"' if index & 1 else f'"user":{{"id":"{name}"}}'
        if self._known[index]:
            self._zones[index] = ZONES[int(more / MOVES * len(ZONES)) % len(ZONES)]
        self._known[index] = 1
        zone = self._zones[index]
        tz = f'"tz":"{zone}",' if zone is not None else ""
        return f'"user":{{"id":"{name}",{tz}"attributes":{{"since":"{self._since[index]}"}}}}'

    # requests

    def _request(self, kind: str, user: Any, **fields: Any) -> str:
        return _encode({"type": kind, "user": user, **fields}).decode()[1:-1]

    def _identify(self, index: int, at_ms: int) -> str:
        name = self._users[index]
        mail = {"email": f"{name}@example.org", "subscribeToEmails": at_ms % 2 == 0}
        return self._request("identify", {"id": name, "name": f"User {name[1:]}", **mail})

    def _complete(self, index: int, at_ms: int) -> str:
        return self._request("achievement.complete", self._users[index], achievement="mentor")

    def _grant(self, index: int, at_ms: int) -> str:
        return self._request("freeze.grant", self._users[index])

    def _pause(self, index: int, at_ms: int) -> str:
        number = self._pauses[index] = self._pauses.get(index, 0) + 1
        start = format_instant(at_ms + DAY_MS)[:10]
        end = format_instant(at_ms + (1 + at_ms % 5) * DAY_MS)[:10]
        return self._request("streak.pause", self._users[index], id=f"p{number}", start=start, end=end)

    def _unpause(self, index: int, at_ms: int) -> str:
        return self._request("streak.unpause", self._users[index], id=f"p{self._pauses.get(index, 0)}")

    def _restore(self, index: int, at_ms: int) -> str:
        return self._request("streak.restore", self._users[index])

    def _reset(self, index: int, at_ms: int) -> str:
        return self._request("streak.reset", self._users[index])

    def _erase(self, index: int, at_ms: int) -> str:
        self._known[index] = 0
        return self._request("erase", self._users[index])

    def _prefer(self, index: int, at_ms: int) -> str:
        streak: dict[str, Any] = (
            {"daysOff": [0, 6]},
            {"daysOff": []},
            {
                "evaluationMode": "AND",
                "metrics": [{"key": "lines", "threshold": 20}, {"key": "commits", "threshold": 1}],
            },
            {"enabled": at_ms % 7 != 0},
        )[at_ms % 4]
        return self._request("preferences", self._users[index], streak=streak)

    # records of the program

    def _switch(self, version: str, config: bytes, at_ms: int) -> Iterator[bytes]:
        own = f'"type":"catalog","version":"{version}","at":"{format_instant(at_ms)}"'
        yield from self._everywhere(f'{own},"config":{config.decode()}', at_ms)

    def _everywhere(self, own: str, at_ms: int) -> Iterator[bytes]:
        for partition in range(len(self._offsets)):
            yield self._line(own, at_ms, partition)

    def _line(self, own: str, at_ms: int, partition: int) -> bytes:
        offset = self._offsets[partition]
        self._offsets[partition] = offset + 1
        origin = f'{{"topic":"{self._topic}","partition":{partition},"offset":{offset}}}'
        return f'{{{own},"timestamp":"{format_instant(at_ms)}","origin":{origin}}}'.encode()


def catalogs() -> tuple[bytes, bytes]:
    """Return both catalogs as `config` of their versions: the sample's with freezes, and what becomes of it."""
    config: dict[str, Any] = catalog_file(str(SAMPLE_CATALOG))[0]
    streak, (xp, energy) = config["streak"], config["systems"]
    streak["customizationEnabled"] = True
    streak["freezes"] = {"startCount": 1, "maxCount": 3, "autoEarnInterval": 14, "autoEarnAmount": 1}
    first = encode_config(config)
    for achievement in config["achievements"]:
        if achievement["id"] == "century":
            achievement["metricValue"] = 50
    config["achievements"].append(
        {"id": "five", "name": "Five", "trigger": "metric", "metric": "commits", "metricValue": 5, "status": "active"}
    )
    xp["levels"][1]["points"] = 30
    xp["boosts"].append(
        {
            "id": "summer",
            "name": "Summer",
            "start": "2025-07-15",
            "end": "2025-09-15",
            "multiplier": 1.5,
            "status": "active",
        }
    )
    xp["triggers"] = [trigger for trigger in xp["triggers"] if trigger["id"] != "unreviewable"]
    xp["triggers"].append(
        {"id": "dole", "type": "time", "timeUnit": "hours", "timeInterval": 72, "points": 1, "status": "active"}
    )
    energy["maxPoints"] = 48
    streak["freezes"]["maxCount"] = 2
    return first, encode_config(config)


def main(arguments: Sequence[str]) -> int:
    """Write a log to standard output."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synthetic", description=(__doc__ or "").split("\n")[0])
    for name, default, text in (
        ("events", EVENTS_DEFAULT, "records of users"),
        ("users", USERS_DEFAULT, "users"),
        ("days", DAYS_DEFAULT, "days that the log spans"),
        ("seed", SEED_DEFAULT, "another seed, another log"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text}; default {default}")
    options = parser.parse_args(arguments)
    output = sys.stdout.buffer
    try:
        for line in Synthetic(options.events, users=options.users, seed=options.seed, days=options.days):
            output.write(line + b"\n")
        output.flush()
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
