"""Reading a catalog file (X14): every mistake is reported with its path in the file and the fix."""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from schemas.catalog import (
    WEEKDAYS,
    Achievement,
    Boost,
    Catalog,
    Filter,
    Freezes,
    Level,
    Metric,
    PointsSystem,
    StreakMetric,
    StreakSettings,
    Trigger,
)
from schemas.ids import derived_id
from schemas.instants import parse_day, parse_instant
from schemas.numbers import MAX_POINTS, SCALE, NotANumberError, ValueOutOfRangeError, format_scaled, parse_scaled

MAX_TRIGGER_POINTS: Final = 1_000_000
MAX_MULTIPLIER: Final = 100
MULTIPLIER_SCALE: Final = 10**6
MAX_FREEZES: Final = 100
MAX_DAYS_OFF: Final = 6
CURRENCIES: Final = ("USD", "GBP", "EUR")

_Part = TypeVar("_Part", Trigger, Boost, Level)

_config_encoder: Final = msgspec.json.Encoder(decimal_format="number")

_KEY = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MISSING: Final = object()


class Issue(msgspec.Struct, frozen=True):
    """One mistake or warning in a catalog file: where it is and what to write instead."""

    path: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.severity}: {self.path or 'catalog'}: {self.message}"


class CatalogError(ValueError):
    """A catalog that cannot be used. `issues` lists every mistake; the author of the file has to mend them."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__("\n".join(str(issue) for issue in issues))
        self.issues = issues


def load_catalog(config: Any, *, tenant: str = "") -> tuple[Catalog, list[Issue]]:
    """Return the catalog of a decoded file and its warnings.

    `config` is what a YAML or JSON reader gives, with fractional numbers as `Decimal`.

    Raises:
        CatalogError: with all mistakes found.
    """
    reader = _Reader(tenant)
    catalog = reader.catalog(config)
    errors = [issue for issue in reader.issues if issue.severity == "error"]
    if errors or catalog is None:
        raise CatalogError(errors)
    return catalog, reader.issues


def decode_config(text: bytes) -> Any:
    """Decode a catalog in JSON with exact numbers.

    Raises:
        ValueError: not JSON.
    """
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)


def encode_config(config: Any) -> bytes:
    """Encode a decoded catalog file as JSON with exact numbers, the form kept in `plaudit.catalog`."""
    return _config_encoder.encode(config)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


class _Fields:
    """The fields of one object of the file; `done` reports those nobody asked for."""

    def __init__(self, reader: "_Reader", value: dict[str, Any], path: str) -> None:
        self._reader, self._value, self.path = reader, value, path
        self._asked: set[str] = set()

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, message: str) -> None:
        self._reader.error(self.at(name), message)

    def has(self, name: str) -> bool:
        return self._value.get(name) is not None

    def raw(self, *names: str) -> Any:
        self._asked.update(names)
        for name in names:
            if self._value.get(name) is not None:
                return self._value[name]
        return None

    def text(self, name: str, default: str | None = None, *, required: bool = False) -> str | None:
        value = self.raw(name)
        if value is None:
            if required:
                self.error(name, "is missing; give a text")
            return default
        if not isinstance(value, str):
            self.error(name, f"must be a text, not {value!r}; put it in quotes")
            return default
        if not value or len(value) > 255:
            self.error(name, "must have 1 to 255 characters")
        return value

    def key(self, name: str, *, required: bool = False) -> str | None:
        value = self.text(name, required=required)
        if value is not None and not _KEY.fullmatch(value):
            self.error(name, f"{value!r} may hold only letters, digits, - and _")
        return value

    def integer(
        self, name: str, low: int, high: int, *, required: bool = False, default: int | None = None
    ) -> int | None:
        value = self.raw(name)
        if value is None:
            if required:
                self.error(name, f"is missing; give a whole number from {low} to {high}")
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.error(name, f"must be a whole number, not {value!r}")
            return default
        if not low <= value <= high:
            self.error(name, f"{value} must lie between {low} and {high}")
        return value

    def decimal(self, name: str, *, required: bool = False) -> int:
        value = self.raw(name)
        if value is None:
            if required:
                self.error(name, "is missing; give a number")
            return 0
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.error(name, f"must be a number, not {value!r}")
            return 0
        try:
            return parse_scaled(str(value).encode())
        except NotANumberError:
            self.error(name, f"{value} is not a number")
        except ValueOutOfRangeError:
            self.error(name, f"{value} is beyond 10^12")
        return 0

    def flag(self, name: str, default: bool) -> bool:
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.error(name, f"must be true or false, not {value!r}")
            return default
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> Any:
        value = self.raw(name)
        if value is None:
            if default is None:
                self.error(name, f"is missing; use one of {', '.join(choices)}")
                return choices[0]
            return default
        if value not in choices:
            self.error(name, f"{value!r} is not one of {', '.join(choices)}")
            return choices[0]
        return value

    def instant(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            return parse_instant(value)
        except ValueError as error:
            self.error(name, f"{error}; write for example 2025-03-01T10:00:00Z")
            return None

    def day(self, name: str, *, required: bool = False) -> int | None:
        value = self.text(name, required=required)
        if value is None:
            return None
        try:
            return parse_day(value)
        except ValueError:
            self.error(name, f"{value!r} is not a date; write YYYY-MM-DD")
            return None

    def pairs(self, name: str, declared: set[str], *, allowed: bool = True) -> Filter:
        value = self.raw(name)
        if not value:
            return ()
        if not allowed:
            self.error(name, "is not allowed for this type; leave it out")
            return ()
        if isinstance(value, list):
            value = {item.get("key"): item.get("value") for item in value if isinstance(item, dict)}
        if not isinstance(value, dict):
            self.error(name, "must be an object of key: value pairs")
            return ()
        for key, text in value.items():
            if key not in declared:
                self.error(
                    f"{name}.{key}",
                    f"attribute {key!r} is not declared; add it to the declared attributes or mend the name",
                )
            if not isinstance(text, str):
                self.error(f"{name}.{key}", f"must be a text, not {text!r}; put it in quotes")
        return tuple(sorted((str(key), str(text)) for key, text in value.items()))

    def items(self, name: str) -> Iterator[tuple[int, Any, str]]:
        value = self.raw(name)
        if value is None:
            return
        if not isinstance(value, list):
            self.error(name, f"must be a list, not {type(value).__name__}")
            return
        for index, item in enumerate(value):
            yield index, item, f"{self.at(name)}[{index}]"

    def done(self) -> None:
        for name in self._value:
            if name not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.error(str(name), f"is unknown here; known fields: {known}")


class _Reader:
    def __init__(self, tenant: str) -> None:
        self.issues: list[Issue] = []
        self._tenant = tenant
        self._metrics: dict[str, Metric] = {}
        self._metric_ids: dict[str, str] = {}
        self._achievement_refs: dict[str, str] = {}
        self._user_attributes: set[str] = set()
        self._event_attributes: set[str] = set()

    def error(self, path: str, message: str) -> None:
        self.issues.append(Issue(path, message))

    def warn(self, path: str, message: str) -> None:
        self.issues.append(Issue(path, message, "warning"))

    def _object(self, value: Any, path: str) -> _Fields | None:
        if not isinstance(value, dict):
            self.error(path, f"must be an object, not {type(value).__name__}")
            return None
        return _Fields(self, value, path)

    def catalog(self, config: Any) -> Catalog | None:
        fields = self._object(config, "")
        if fields is None:
            return None
        self._user_attributes = self._declared(fields, "userAttributes")
        self._event_attributes = self._declared(fields, "eventAttributes")
        for _, item, path in fields.items("metrics"):
            self._metric(item, path)
        achievements = list(fields.items("achievements"))
        for _, item, path in achievements:
            self._register_achievement(item, path)
        made = [a for _, item, path in achievements if (a := self._achievement(item, path)) is not None]
        self._check_composites(made)
        systems: list[PointsSystem] = []
        for _, item, path in fields.items("systems"):
            system = self._system(item, path)
            if system is not None:
                if any(other.key == system.key for other in systems):
                    self.error(f"{path}.key", f"{system.key!r} is used twice; keys are unique")
                systems.append(system)
        streak = self._streak(fields)
        ratio = fields.integer("controlRatio", 0, 100, default=0) or 0
        fields.done()
        catalog = Catalog(
            metrics=tuple(self._metrics.values()),
            event_attributes=tuple(sorted(self._event_attributes)),
            user_attributes=tuple(sorted(self._user_attributes)),
            systems=tuple(systems),
            achievements=tuple(made),
            streak=streak,
            control_ratio=ratio,
        )
        self._warn_if_nothing_is_active(catalog)
        return catalog

    def _warn_if_nothing_is_active(self, catalog: Catalog) -> None:
        triggers = [trigger for system in catalog.systems for trigger in system.triggers]
        statuses = [thing.status for thing in triggers] + [thing.status for thing in catalog.achievements]
        if statuses and "active" not in statuses:
            self.warn(
                "", "no trigger and no achievement is active, so nothing will happen; set status: active (P7, A1)"
            )

    def _declared(self, fields: _Fields, name: str) -> set[str]:
        keys: set[str] = set()
        for _, item, path in fields.items(name):
            key = item
            if isinstance(item, dict):
                attribute = _Fields(self, item, path)
                key = attribute.key("key", required=True)
                attribute.text("name")
                attribute.text("id")
                attribute.done()
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                self.error(path, f"{key!r} is not an attribute key; use letters, digits, - and _")
            elif key in keys:
                self.error(path, f"{key!r} is declared twice")
            else:
                keys.add(key)
        return keys

    def _metric(self, item: Any, path: str) -> None:
        if isinstance(item, str):
            item = {"key": item}
        fields = self._object(item, path)
        if fields is None:
            return
        key = fields.key("key", required=True) or "?"
        identity = fields.text("id") or derived_id("metric", self._tenant, key)
        unit_type = fields.choice("unitType", ("number", "currency"), "number")
        units = fields.raw("units") or ""
        if not isinstance(units, str):
            fields.error("units", f"must be a text, not {units!r}")
        elif unit_type == "currency" and units not in CURRENCIES:
            fields.error("units", f"{units!r} is not a supported currency; use one of {', '.join(CURRENCIES)} (M3)")
        metric = Metric(
            id=identity,
            key=key,
            name=fields.text("name") or key,
            unit_type=unit_type,
            units=str(units),
            status=fields.choice("status", ("active", "archived"), "active"),
        )
        fields.done()
        if key in self._metrics:
            self.error(f"{path}.key", f"{key!r} is used twice; keys are unique (M1)")
        self._metrics[key] = metric
        self._metric_ids[identity] = key

    def _metric_ref(self, fields: _Fields) -> str | None:
        value = fields.raw("metric", "metricId")
        name = "metricId" if fields.has("metricId") and not fields.has("metric") else "metric"
        if value is None:
            fields.error(name, "is missing; name the metric by key or id")
            return None
        key = value if value in self._metrics else self._metric_ids.get(value) if isinstance(value, str) else None
        if key is None:
            known = ", ".join(self._metrics) or "none"
            fields.error(name, f"{value!r} is not a metric of this catalog (metrics: {known})")
        return key

    def _register_achievement(self, item: Any, path: str) -> None:
        if not isinstance(item, dict):
            return
        identity, key = item.get("id"), item.get("key")
        if not isinstance(identity, str):
            if not isinstance(key, str):
                self.error(f"{path}.id", "is missing; an achievement without key needs an id (X14)")
                return
            identity = derived_id("achievement", self._tenant, key)
        for name in dict.fromkeys((identity, key)):
            if not isinstance(name, str):
                continue
            if name in self._achievement_refs:
                self.error(
                    f"{path}.{'id' if name == identity else 'key'}", f"{name!r} is used twice; ids and keys are unique"
                )
            self._achievement_refs.setdefault(name, identity)

    def _achievement(self, item: Any, path: str) -> Achievement | None:
        fields = self._object(item, path)
        if fields is None:
            return None
        kind = fields.choice("trigger", ("metric", "streak", "api", "achievement", "anniversary"))
        key = fields.key("key", required=kind == "api")
        identity = fields.text("id") or derived_id("achievement", self._tenant, key or path)
        metric, metric_value, streak_length, years = None, 0, 0, 0
        prerequisites: list[str] = []
        if kind == "metric":
            metric = self._metric_ref(fields)
            metric_value = fields.decimal("metricValue", required=True)
            if fields.has("metricValue") and metric_value < SCALE:
                fields.error("metricValue", "must be at least 1")
        elif kind == "streak":
            streak_length = fields.integer("streakLength", 1, MAX_POINTS, required=True) or 1
        elif kind == "anniversary":
            years = fields.integer("anniversaryYears", 1, 1000, required=True) or 1
        elif kind == "achievement":
            for _, reference, where in fields.items("achievementIds"):
                target = self._achievement_refs.get(reference) if isinstance(reference, str) else None
                if target is None:
                    self.error(where, f"{reference!r} is not an achievement of this catalog; use its id or key")
                else:
                    prerequisites.append(target)
            if not fields.has("achievementIds") or not fields.raw("achievementIds"):
                fields.error("achievementIds", "must name at least one achievement (A15)")
        achievement = Achievement(
            id=identity,
            name=fields.text("name") or key or identity,
            description=fields.raw("description"),
            badge_url=fields.raw("badgeUrl"),
            trigger=kind,
            status=fields.choice("status", ("inactive", "active", "locked"), "inactive"),
            key=key,
            metric=metric,
            metric_value=metric_value,
            streak_length=streak_length,
            achievement_ids=tuple(prerequisites),
            anniversary_years=years,
            user_attributes=fields.pairs("userAttributes", self._user_attributes),
            event_attributes=fields.pairs("eventAttributes", self._event_attributes, allowed=kind == "metric"),
        )
        fields.done()
        return achievement

    def _check_composites(self, achievements: list[Achievement]) -> None:
        by_id = {achievement.id: achievement for achievement in achievements}
        state: dict[str, int] = {}

        def visit(start: str) -> bool:
            # iterative depth-first search: 1 = on the path, 2 = finished
            stack: list[tuple[str, Iterator[str]]] = [(start, iter(by_id[start].achievement_ids))]
            state[start] = 1
            while stack:
                identity, rest = stack[-1]
                following = next(rest, None)
                if following is None:
                    state[identity] = 2
                    stack.pop()
                elif state.get(following) == 1:
                    return False
                elif following in by_id and following not in state:
                    state[following] = 1
                    stack.append((following, iter(by_id[following].achievement_ids)))
            return True

        for index, achievement in enumerate(achievements):
            if achievement.id not in state and not visit(achievement.id):
                self.error(
                    f"achievements[{index}].achievementIds",
                    "requires itself in a circle; it could never complete (A15)",
                )

    def _system(self, item: Any, path: str) -> PointsSystem | None:
        fields = self._object(item, path)
        if fields is None:
            return None
        key = fields.key("key", required=True) or "?"
        triggers = self._unique(fields, "triggers", self._trigger)
        boosts = self._unique(fields, "boosts", self._boost)
        levels = self._unique(fields, "levels", lambda item, _, path: self._level(item, key, path))
        thresholds: dict[int, str] = {}
        keys: set[str] = set()
        for level in levels:
            if level.points in thresholds:
                fields.error(
                    "levels", f"{level.key!r} and {thresholds[level.points]!r} share the threshold {level.points} (P54)"
                )
            if level.key in keys:
                fields.error("levels", f"the level key {level.key!r} is used twice")
            thresholds[level.points] = level.key
            keys.add(level.key)
        system = PointsSystem(
            id=fields.text("id") or derived_id("system", self._tenant, key),
            key=key,
            name=fields.text("name") or key,
            description=fields.raw("description"),
            badge_url=fields.raw("badgeUrl"),
            max_points=fields.integer("maxPoints", 1, MAX_POINTS),
            status=fields.choice("status", ("active", "archived"), "active"),
            triggers=tuple(triggers),
            boosts=tuple(sorted(boosts, key=lambda boost: boost.id)),
            levels=tuple(sorted(levels, key=lambda level: level.points)),
        )
        fields.done()
        return system

    def _unique(self, fields: _Fields, name: str, make: Callable[[Any, int, str], _Part | None]) -> list[_Part]:
        made: list[_Part] = []
        for index, item, path in fields.items(name):
            one = make(item, index, path)
            if one is None:
                continue
            if any(other.id == one.id for other in made):
                self.error(f"{path}.id", f"{one.id!r} is used twice in this system; ids are unique")
            made.append(one)
        return made

    def _trigger(self, item: Any, index: int, path: str) -> Trigger | None:
        fields = self._object(item, path)
        if fields is None:
            return None
        kind = fields.choice("type", ("metric", "streak", "achievement", "time", "user_creation"))
        points = fields.integer("points", -MAX_TRIGGER_POINTS, MAX_TRIGGER_POINTS, required=True) or 0
        if fields.has("points") and points == 0:
            fields.error("points", "must not be 0")
        metric, threshold, length, interval = None, 0, 0, 0
        achievement, unit = None, None
        if kind == "metric":
            metric = self._metric_ref(fields)
            threshold = fields.integer("metricThreshold", 1, 10**12, required=True) or 1
        elif kind == "streak":
            name = "streakLength" if fields.has("streakLength") else "streakLengthThreshold"
            length = fields.integer(name, 1, MAX_POINTS, required=True) or 1
        elif kind == "achievement":
            reference = fields.raw("achievement", "achievementId")
            achievement = self._achievement_refs.get(reference) if isinstance(reference, str) else None
            if achievement is None:
                fields.error("achievement", f"{reference!r} is not an achievement of this catalog; use its id or key")
        elif kind == "time":
            unit = fields.choice("timeUnit", ("hour", "day", "hours", "days")).rstrip("s")
            interval = fields.integer("timeInterval", 1, 1_000_000, required=True) or 1
        trigger = Trigger(
            id=fields.text("id", required=True) or path,
            type=kind,
            points=points,
            status=fields.choice("status", ("inactive", "active", "archived"), "inactive"),
            order=index,
            user_attributes=fields.pairs("userAttributes", self._user_attributes),
            event_attributes=fields.pairs("eventAttributes", self._event_attributes, allowed=kind == "metric"),
            metric=metric,
            metric_threshold=threshold,
            streak_length=length,
            achievement=achievement,
            time_unit=unit,
            time_interval=interval,
            block_if_out_of_points=fields.flag("blockIfOutOfPoints", False),
            created_ms=fields.instant("created"),
            updated_ms=fields.instant("updated"),
        )
        fields.text("name")
        fields.done()
        return trigger

    def _boost(self, item: Any, _: int, path: str) -> Boost | None:
        fields = self._object(item, path)
        if fields is None:
            return None
        identity = fields.text("id", required=True) or path
        start = fields.day("start", required=True)
        end = fields.day("end")
        if start is not None and end is not None and end < start:
            fields.error("end", "lies before start; the window would be empty (P36)")
        multiplier = fields.decimal("multiplier", required=True)
        micro, lost = divmod(multiplier, 1000)
        if fields.has("multiplier"):
            text = format_scaled(multiplier)
            if lost or not 0 < micro < MAX_MULTIPLIER * MULTIPLIER_SCALE or micro == MULTIPLIER_SCALE:
                fields.error(
                    "multiplier", f"{text} must be above 0, below 100, not 1, with at most 6 fractional digits"
                )
        user_id = fields.text("userId")
        pairs = fields.pairs("userAttributes", self._user_attributes)
        if user_id is not None and pairs:
            fields.error("userAttributes", "cannot be combined with userId; use one of them")
        boost = Boost(
            id=identity,
            name=fields.text("name") or identity,
            start_day=start or 0,
            end_day=end,
            multiplier_micro=micro,
            rounding=fields.choice("rounding", ("down", "up", "nearest"), "down"),
            enabled=self._boost_switch(fields),
            user_id=user_id,
            user_attributes=pairs,
        )
        fields.done()
        return boost

    @staticmethod
    def _boost_switch(fields: _Fields) -> bool:
        """P41: a boost is on where the file says so, by `enabled` or by a status."""
        status = fields.choice("status", ("inactive", "active", "archived"), "inactive")
        return fields.flag("enabled", status == "active") and status != "archived"

    def _level(self, item: Any, system_key: str, path: str) -> Level | None:
        fields = self._object(item, path)
        if fields is None:
            return None
        key = fields.key("key", required=True) or "?"
        level = Level(
            id=fields.text("id") or derived_id("level", self._tenant, system_key, key),
            key=key,
            name=fields.text("name") or key,
            points=fields.integer("points", 0, MAX_POINTS, required=True) or 0,
            description=fields.raw("description") or "",
            badge_url=fields.raw("badgeUrl"),
        )
        fields.done()
        return level

    def _streak(self, outer: _Fields) -> StreakSettings | None:
        value = outer.raw("streak")
        if value is None:
            return None
        fields = self._object(value, "streak")
        if fields is None:
            return None
        metrics: dict[str, StreakMetric] = {}
        for _, item, path in fields.items("metrics"):
            entry = self._object(item, path)
            if entry is None:
                continue
            key = entry.key("key", required=True)
            threshold = entry.integer("threshold", 1, 10**12, required=True) or 1
            entry.done()
            if key is None:
                continue
            if key not in self._metrics:
                self.error(f"{path}.key", f"{key!r} is not a metric of this catalog")
            elif key in metrics:
                self.error(f"{path}.key", f"{key!r} is listed twice")
            metrics[key] = StreakMetric(key, parse_scaled(str(threshold).encode()))
        frequency = fields.choice("frequency", ("daily", "weekly", "monthly"), "daily")
        days_off = fields.raw("daysOff") or []
        if not isinstance(days_off, list) or any(type(d) is not int or not 0 <= d <= 6 for d in days_off):
            fields.error("daysOff", "must be a list of weekdays, 0 = Sunday to 6 = Saturday")
            days_off = []
        elif len(set(days_off)) > MAX_DAYS_OFF:
            fields.error("daysOff", "must leave at least one weekday that counts (S58)")
        elif days_off and frequency != "daily":
            fields.error("daysOff", "goes only with frequency daily (S58)")
        mode = fields.choice("evaluationMode", ("OR", "AND", "ALL"), "OR")
        settings = StreakSettings(
            frequency=frequency,
            evaluation_mode="AND" if mode == "ALL" else mode,
            metrics=tuple(metrics.values()),
            customization_enabled=fields.flag("customizationEnabled", False),
            days_off=tuple(sorted(set(days_off))),
            freezes=self._freezes(fields),
            week_start=WEEKDAYS.index(fields.choice("weekStart", WEEKDAYS, "sunday")),
            settle_delay_seconds=fields.integer("settleDelaySeconds", 0, 86_400, default=0) or 0,
        )
        fields.done()
        return settings

    def _freezes(self, outer: _Fields) -> Freezes | None:
        value = outer.raw("freezes")
        if value is None:
            return None
        fields = self._object(value, "streak.freezes")
        if fields is None:
            return None
        maximum = fields.integer("maxCount", 0, MAX_FREEZES, required=True) or 0
        start = fields.integer("startCount", 0, MAX_FREEZES, required=True) or 0
        interval = fields.integer("autoEarnInterval", 1, 100_000)
        amount = fields.integer("autoEarnAmount", 1, MAX_FREEZES)
        if start > maximum:
            fields.error("startCount", f"{start} is above maxCount {maximum}")
        if (interval is None) != (amount is None):
            fields.error("autoEarnInterval", "and autoEarnAmount go together; give both or neither")
        fields.done()
        return Freezes(start, maximum, interval, amount)
