"""Inputs: valid records of all types, in every way that JSON can be written, and what becomes of them when they are mutated."""

import json
import random
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from aiokafka.partitioner import murmur2

Json = dict[str, Any]

PARTITIONS = 8
TOKEN = "secret"
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


_MANY_TOKENS = "[" + ",".join(['"d"'] * 100) + "]"


class Literal(str):
    """JSON text that is written as it is."""


@dataclass(frozen=True)
class Input:
    """A record of the log as it comes; `made` names the record it was made from and the mutations."""

    value: bytes | None
    key: bytes | None
    timestamp: int
    tokens: tuple[bytes, ...] = ()
    partition: int = 0
    made: tuple[str, ...] = ()


def partition_of(key: bytes) -> int:
    """X1."""
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def _users() -> list[str]:
    """Ids of users of partition 0, of all kinds of characters."""
    found = []
    for base in ("ann", "bob", "ünal", "李", "😀", "a b/c", '"', "\\", "x" * 250):
        found.append(next(name for n in range(1000) if not partition_of((name := f"{base}{n}"[:255]).encode())))
    return found


USERS = _users()
ZONES = ("Europe/Berlin", "Pacific/Kiritimati", "America/New_York", "+05:30", "-03:00", "+14:00", "Asia/Kathmandu")
BAD_ZONES = (
    "Mars/Base",
    "europe/berlin",
    "+14:01",
    "+5:30",
    "",
    "UTC+1",
    "Europe/Berlin ",
    "../etc/passwd",
    "x" * 3000,
    "+00:60",
)
NUMBERS = (
    "1", "2", "5", "0", "-0", "0.0", "1e0", "1E+2", "1.0e-3", "-1", "-3.5", "0.30000000000000004", "1000000000000",
    "1000000000000.0000000004", "-1e12", "123456789.123456789", "1e-400", "0e99999999999", "7.123456789", "0.0000000005",
    "-2.0000000015", "1e-3000000", "100", "0.1", "1.00000000000000000000000000000000000000001", "999999999999.9999999994",
)  # fmt: skip
BAD_NUMBERS = (
    "1000000000000.0000000005", "1e13", "-1e3000000", "1e99999999999999999999", "9" * 400, "01", "+1", "1.", ".5", "1e",
    "0x10", "NaN", "-Infinity", "1_000", '"1"', "null", "true", "[]", "{}", "1e+", "--1", "1,0", "١",
)  # fmt: skip
TEXTS = (
    "",
    "x",
    "red",
    "blue",
    "é",
    "\u202e",
    "\0",
    "😀" * 3,
    "a" * 255,
    "a" * 256,
    "a" * 1024,
    "a" * 1025,
    "\u0301",
    "’",
)
INSTANTS = (
    "2025-03-28T20:00:00Z", "2025-03-30T02:30:00.123456789+02:00", "0003-01-02T00:00:00Z", "9988-12-30T00:00:00Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2025-02-29T00:00:00Z", "2025-03-28T24:00:00Z", "2025-03-28T23:59:60Z",
    "2025-03-28 20:00:00Z", "2025-03-28T20:00:00", "2025-03-28T20:00Z", "20250328T200000Z", "2025-W13-5T20:00:00Z", "soon",
    "2025-03-28T20:00:00+24:00", "2025-03-28T20:00:00-00:00", "1970-01-01T00:00:00Z", "2025-03-28T20:00:00.1Z",
    "2025-03-28t20:00:00z", "2025-03-28T20:00:00+0100", "2025-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z",
)  # fmt: skip
DAYS = (
    "2025-03-29", "2025-04-02", "2024-02-29", "2025-02-29", "0001-01-01", "9999-12-31", "2025-3-1", "soon", "",
    "2025-03-29T00:00:00Z",
)  # fmt: skip
SCRAPS = (
    "null", "true", "false", "0", "-1", "1.5", '""', '"x"', "[]", "{}", "[[]]", '{"id":1}', '{"id":"a","id":"b"}', "NaN",
    "1e400", '"\\ud800"', '"\\u0000"', "[" * 120 + "]" * 120, '{"a":' * 60 + "1" + "}" * 60, '"' + "y" * 70_000 + '"',
    '["x","x"]', "\ufeff", "[1,2", ":", ",", "}", '"user"', '"type"', '"tick"', '"eventId"',
)  # fmt: skip
NAMES = (
    "metric", "user", "value", "attributes", "idempotencyKey", "eventId", "occurredAt", "tenant", "source", "type", "valeu",
    "id", "start", "end", "achievement", "streak", "notifications", "at", "version", "Metric", "user ", "", "__proto__",
)  # fmt: skip
KINDS = (
    ["metric"] * 70 + ["identify"] * 9 + ["achievement.complete"] * 6 + ["preferences"] * 3 + ["streak.pause"] * 2
    + ["streak.unpause", "streak.restore", "streak.reset", "freeze.grant"] + ["tick"] * 4 + ["catalog"] * 2 + ["erase"]
)  # fmt: skip
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[\[\]{}:,]|true|false|null', re.DOTALL)


@lru_cache(maxsize=4096)
def _literal(text: str, ascii_only: bool = False) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)


_TEXT_LITERALS = tuple(map(_literal, TEXTS))
_INSTANT_LITERALS = tuple(map(_literal, INSTANTS))
_RESERVED = ("plaudit.events-0-1", "plaudit.events-0-x", "plaudit.events-٠-1")
_FITTING: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("value", (*NUMBERS, *BAD_NUMBERS)),
    ("occurredAt", _INSTANT_LITERALS),
    ("at", _INSTANT_LITERALS),
    ("eventId", (*_TEXT_LITERALS, *map(_literal, _RESERVED))),
    ("idempotencyKey", _TEXT_LITERALS),
    ("tenant", ('""', '"acme"', *_TEXT_LITERALS)),
    ("source", _TEXT_LITERALS),
    ("metric", ('"m9"', '"old"', '"M1"', '"m1 "', *_TEXT_LITERALS)),
    ("type", tuple(map(_literal, ("metric", "identify", "Tick", "erase ", *KINDS[-20:])))),
    ("start", tuple(map(_literal, DAYS))),
    ("attributes", tuple(f'{{"{name}":{text}}}' for name in ("a", "b", "z", "") for text in _TEXT_LITERALS)),
    ("achievement", ('"nope"', '"ten"', '"called"')),
    ("version", ('"9"', '""', '"1"', '"2"')),
)


def instant_text(ms: int) -> str:
    """An instant of the years with four digits, UTC."""
    from schemas.instants import format_instant

    return format_instant(ms)


class Generator:
    """Makes inputs from a seeded random source. `now` is the time of the log, milliseconds."""

    def __init__(self, random_: random.Random, now: int) -> None:
        self.random, self.now = random_, now
        self.version, self.version_at = "1", now
        self.event_ids: list[str] = []

    def next(self, mutated: float) -> Input:
        """The next input; `mutated` is the share of those that are mutated."""
        pick = self.random
        self.now += pick.choice((0, SECOND, SECOND, MINUTE, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 7 * HOUR))
        kind = pick.choice(KINDS)
        user = pick.choice(USERS[:3]) if pick.random() < 0.8 else pick.choice(USERS)
        one = self.control(kind) if kind in ("tick", "catalog") else self.record(kind, user)
        if kind == "catalog" and pick.random() < mutated / 2:
            return self.other_version(one)
        if pick.random() >= mutated:
            return one
        for _ in range(pick.choice((1, 1, 1, 2, 3))):
            one = self.mutate(one)
        return one

    def control(self, kind: str) -> Input:
        """A tick, or the switch to the version that comes next."""
        if kind == "tick":
            fields: Json = {"type": "tick", "at": instant_text(self.now - self.random.choice((0, 0, SECOND, HOUR)))}
        else:
            fields = {"type": "catalog", "version": self.version, "at": instant_text(self.version_at)}
        return Input(self.write(fields).encode(), None, self.now, (TOKEN.encode(),), made=(kind,))

    def other_version(self, one: Input) -> Input:
        """A switch to another version, or that dates one wrongly."""
        pick = self.random
        version, at = pick.choice(("1", "2", "3", "9")), self.version_at + pick.choice((0, 0, -1, -HOUR))
        fields: Json = {"type": "catalog", "version": version, "at": instant_text(at)}
        return replace(one, value=self.write(fields).encode(), made=("catalog", "other_version"))

    def record(self, kind: str, user: str) -> Input:
        """A record of a user, valid as far as its form goes."""
        pick = self.random
        fields: Json = {} if kind == "metric" else {"type": kind}
        if kind == "metric":
            fields |= {"metric": pick.choice(("m1", "m1", "m2", "m3")), "value": Literal(pick.choice(NUMBERS))}
            if pick.random() < 0.3:
                fields["attributes"] = self.some({"a": pick.choice(("x", "y", "")), "b": pick.choice(TEXTS[:8])})
            if pick.random() < 0.25:
                fields["idempotencyKey"] = pick.choice(("k1", "k2", "", "k" * 255, "😀"))
        elif kind == "achievement.complete":
            fields["achievement"] = pick.choice(("called", "called", "locked", "picky"))
        elif kind == "streak.pause":
            first, last = sorted((pick.choice(DAYS[:3]), pick.choice(DAYS[:3])))
            fields |= {"id": "p1", "start": first, "end": last}
        elif kind == "streak.unpause":
            fields["id"] = pick.choice(("p1", "p2"))
        elif kind == "preferences":
            fields |= self.preferences()
        fields["user"] = self.user(user) if pick.random() < 0.5 else user
        if kind == "erase":
            fields["user"] = pick.choice((user, {"id": user}))
        if pick.random() < 0.25:
            fields["eventId"] = self.event_id()
        if pick.random() < 0.25:
            fields["occurredAt"] = instant_text(self.now - pick.choice((0, SECOND, HOUR, DAY, -HOUR)))
        if pick.random() < 0.05:
            fields["source"] = pick.choice(("api", "batch", ""))
        return Input(self.write(fields).encode(), user.encode(), self.now, made=(kind,))

    def event_id(self) -> str:
        """A new event id, or one that was there before."""
        if self.event_ids and self.random.random() < 0.3:
            return self.random.choice(self.event_ids)
        self.event_ids.append(f"e{len(self.event_ids)}")
        return self.event_ids[-1]

    def user(self, identity: str) -> Json:
        """A user object."""
        pick = self.random
        optional: Json = {
            "email": pick.choice(("a@example.org", "ü@example.org")),
            "name": pick.choice(("Ann", "李", "a" * 1024)),
            "tz": pick.choice((None, *ZONES)),
            "signUpDate": pick.choice(("2024-03-28", "2020-02-29", "2025-01-01T23:00:00-02:00")),
            "deviceTokens": pick.choice((None, [], ["d1"], Literal(_MANY_TOKENS))),
            "subscribeToEmails": pick.choice((True, False)),
            "attributes": {"p": pick.choice(("pro", "free"))},
        }
        return {"id": identity, **self.some(optional, 0.25)}

    def preferences(self) -> Json:
        """The parts of a preferences record."""
        pick = self.random
        streak = {
            "enabled": pick.choice((True, True, False)),
            "evaluationMode": pick.choice(("OR", "AND", "ALL", "XOR")),
            "metrics": pick.choice(([], [{"key": "m1", "threshold": Literal(pick.choice(NUMBERS))}])),
            "daysOff": pick.choice(([], [0, 6], [0, 1, 2, 3, 4, 5, 6], [7])),
        }
        kinds = ("recap", "achievement_completed", "reactivation", "streak_reminder")
        channels = {pick.choice(kinds): pick.choice(([], ["email"], ["push", "email"], ["fax"]))}
        return self.some({"streak": self.some(streak), "notifications": channels}, 0.7)

    def some(self, fields: Json, share: float = 0.5) -> Json:
        """Some of the fields."""
        return {name: value for name, value in fields.items() if self.random.random() < share}

    def write(self, value: Any) -> str:
        """JSON text of a value, in one of the many ways to write it."""
        pick = self.random
        space = pick.choice(("", "", "", " ", "\n\t")) if isinstance(value, dict | list) else ""
        if isinstance(value, Literal):
            return str(value)
        if isinstance(value, dict):
            items = list(value.items())
            if pick.random() < 0.2:
                pick.shuffle(items)
            if items and pick.random() < 0.04:
                items.insert(0, (pick.choice(items)[0], Literal(pick.choice(SCRAPS[:13]))))  # the last one counts
            inside = f",{space}".join(f"{self.text(name)}:{space}{self.write(one)}" for name, one in items)
            return f"{{{space}{inside}{space}}}"
        if isinstance(value, list):
            return f"[{space}{','.join(map(self.write, value))}]"
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        return self.text(value) if isinstance(value, str) else str(value)

    def text(self, text: str) -> str:
        """JSON text of a string, sometimes with escapes that need not be."""
        if self.random.random() < 0.03 and len(text) < 300:
            units = text.encode("utf-16-be").hex()
            return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'
        return _literal(text, self.random.random() < 0.1)

    # mutations

    def mutate(self, one: Input) -> Input:
        """Change something about an input."""
        how = self.random.choice(_MUTATIONS)
        found = how(self, one)
        return replace(found, made=(*one.made, how.__name__))

    def flip(self, one: Input) -> Input:
        """Flip a bit."""
        data = bytearray(one.value or b" ")
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return replace(one, value=bytes(data))

    def cut(self, one: Input) -> Input:
        """Leave some bytes out."""
        data = one.value or b""
        start, end = sorted((self.random.randint(0, len(data)), self.random.randint(0, len(data))))
        return replace(one, value=data[:start] + data[end:])

    def insert(self, one: Input) -> Input:
        """Put bytes in."""
        data, pick = one.value or b"", self.random
        more = pick.choice(
            (pick.randbytes(3), b"\xff", b"\xed\xa0\x80", b"\0", b"  ", b"\xef\xbb\xbf", b'"', b"\\u12", b"//")
        )
        at = pick.choice((0, len(data), pick.randint(0, len(data))))
        return replace(one, value=data[:at] + more + data[at:])

    def swap(self, one: Input) -> Input:
        """Put another token in the place of one."""
        data, pick = one.value or b"", self.random
        tokens = list(_TOKENS.finditer(data))
        if not tokens:
            return one
        token = pick.choice(tokens)
        other = pick.choice(
            (pick.choice(SCRAPS).encode(), pick.choice(tokens).group(), pick.choice(BAD_NUMBERS).encode())
        )
        return replace(one, value=data[: token.start()] + other + data[token.end() :])

    def field(self, one: Input) -> Input:
        """Set, in the text, a top field to something else; the last of two counts."""
        pick = self.random
        scraps = pick.choice((SCRAPS, _TEXT_LITERALS, _INSTANT_LITERALS, BAD_NUMBERS, NUMBERS))
        return self.add(one, pick.choice(NAMES), pick.choice(scraps))

    def fitting(self, one: Input) -> Input:
        """Set a field to something that nearly fits."""
        pick = self.random
        name, values = pick.choice(_FITTING)
        return self.add(one, name, pick.choice(values))

    def profile(self, one: Input) -> Input:
        """Set something in the user object."""
        pick = self.random
        user = self.user((one.key or b"x").decode("utf-8", "replace"))
        name, values = pick.choice(
            (
                ("id", (*TEXTS, 5, None)),
                ("email", (*TEXTS, None, True)),
                ("name", (*TEXTS, None, 1)),
                ("tz", (*BAD_ZONES, *ZONES, 1)),
                ("signUpDate", (*DAYS, *INSTANTS, None, 7)),
                ("deviceTokens", (["d"] * 101, ["d", 1], "d", list(TEXTS), {})),
                ("subscribeToEmails", (0, "true", None, True)),
                ("attributes", ({"p": 1}, {"z": "x"}, {"p": "x" * 1025}, [], None, {"p": None}, {"q": "1"})),
                ("nickname", ("x",)),
            )
        )
        return self.add(one, "user", self.write({**user, name: pick.choice(values)}))

    def add(self, one: Input, name: str, text: str) -> Input:
        """Put a field in front of the closing brace, or in the place of that field."""
        data = one.value or b"{}"
        end = data.rfind(b"}")
        if end < 0:
            return one
        comma = b"" if data[:end].strip() == b"{" else b","
        return replace(
            one, value=data[:end] + comma + f"{self.text(name)}:{text}".encode("utf-8", "surrogatepass") + data[end:]
        )

    def leave_out(self, one: Input) -> Input:
        """Leave one field out."""
        try:
            fields = json.loads(one.value or b"{}", parse_int=Literal, parse_float=Literal)
        except (ValueError, RecursionError):
            return one
        if not isinstance(fields, dict) or not fields:
            return one
        fields.pop(self.random.choice(list(fields)))
        try:
            return replace(one, value=self.write(fields).encode())
        except UnicodeEncodeError:
            return one

    def address(self, one: Input) -> Input:
        """Another key, partition or token."""
        pick = self.random
        change: Json = pick.choice(
            (
                {"key": pick.choice((None, b"", b"\xff", b"somebody", b"acme\0" + (one.key or b"")))},
                {"partition": pick.randrange(PARTITIONS)},
                {"tokens": pick.choice(((), (b"wrong",), (b"", TOKEN.encode())))},
            )
        )
        return replace(one, **change)

    def time(self, one: Input) -> Input:
        """Another record timestamp; brokers take none further in the future than an hour."""
        away = self.random.choice((-1, 0, 1, 59, -DAY, -1000 * DAY, -self.now, HOUR - 1))
        return replace(one, timestamp=self.now + away)

    def impossible_time(self, one: Input) -> Input:
        """A record timestamp outside the calendar (D-11)."""
        return replace(one, timestamp=self.random.choice((-(2**63), 2**63 - 1, 2**55, -(2**46))))

    def nothing(self, one: Input) -> Input:
        """No value, an empty one, or an enormous one."""
        big = b'{"metric":"' + b"x" * 262_144 + b'"}'
        return replace(one, value=self.random.choice((None, b"", big, (one.value or b"") + b" " * 262_144)))


_MUTATIONS = (
    [Generator.fitting] * 6 + [Generator.profile] * 5 + [Generator.field] * 4 + [Generator.swap] * 4 + [Generator.leave_out] * 2
    + [Generator.flip] * 3 + [Generator.cut] * 2 + [Generator.insert] * 2 + [Generator.address] * 2 + [Generator.time] * 2
    + [Generator.impossible_time, Generator.nothing]
)  # fmt: skip
