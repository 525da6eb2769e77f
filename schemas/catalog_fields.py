"""The fields of a catalog file, read one by one: every mistake is noted with its path and the fix (X14)."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import msgspec

from schemas.catalog import Filter, Metric
from schemas.instants import EARLIEST_MS, LATEST_MS, parse_day, parse_instant
from schemas.numbers import NotANumberError, ValueOutOfRangeError, parse_scaled

MAX_ITEMS = 10_000
"""Entries of a list of a catalog: achievements; triggers, levels, boosts of a system; parts of a composite (X28)."""

MAX_PAIR_TEXT = 1_024
"""Characters of a value in a filter; no attribute value is longer."""

MAX_FREE_TEXT = 4_096
"""Characters of a description or URL."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,255}")


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


class Context:
    """What is known while a file is read: issues so far, what it declares, and what references point at.

    Attributes:
        metrics: by key. metric_ids: id -> key. achievement_refs: id or key -> id.
        user_attributes, event_attributes: declared keys.
    """

    def __init__(self, tenant: str) -> None:
        self.issues: list[Issue] = []
        self.tenant = tenant
        self.metrics: dict[str, Metric] = {}
        self.metric_ids: dict[str, str] = {}
        self.achievement_refs: dict[str, str] = {}
        self.user_attributes: set[str] = set()
        self.event_attributes: set[str] = set()

    def error(self, path: str, message: str) -> None:
        """Note a mistake."""
        self.issues.append(Issue(path, message))

    def warn(self, path: str, message: str) -> None:
        """Note what is allowed but hardly meant."""
        self.issues.append(Issue(path, message, "warning"))

    def fields(self, value: Any, path: str) -> "Fields | None":
        """Return the fields of an object of the file, None with a mistake noted if it is none."""
        if not isinstance(value, dict):
            self.error(path, f"must be an object, not {type(value).__name__}")
            return None
        return Fields(self, value, path)

    def metric_ref(self, fields: "Fields") -> str | None:
        """Return the key of the metric that `metric` or `metricId` names, None with a mistake noted."""
        value = fields.raw("metric", "metricId")
        name = "metricId" if fields.has("metricId") and not fields.has("metric") else "metric"
        if value is None:
            fields.error(name, "is missing; name the metric by key or id")
            return None
        key = None
        if isinstance(value, str):
            key = value if value in self.metrics else self.metric_ids.get(value)
        if key is None:
            known = ", ".join(self.metrics) or "none"
            fields.error(name, f"{value!r} is not a metric of this catalog (metrics: {known})")
        return key


class Fields:
    """The fields of one object of the file; `done` reports those nobody asked for."""

    def __init__(self, context: Context, value: dict[str, Any], path: str) -> None:
        self._context, self._value, self.path = context, value, path
        self._asked: set[str] = set()

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, message: str) -> None:
        """Note a mistake in a field."""
        self._context.error(self.at(name), message)

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._value.get(name) is not None

    def raw(self, *names: str) -> Any:
        """Return the first of these fields that is there, None if none is."""
        self._asked.update(names)
        for name in names:
            if self._value.get(name) is not None:
                return self._value[name]
        return None

    def text(self, name: str, default: str | None = None, *, required: bool = False) -> str | None:
        """Return a text of 1 to 255 characters."""
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
        if "\0" in value:
            self.error(name, "must not hold the character NUL")
        return value

    def free_text(self, name: str) -> str | None:
        """Return a text of any length up to 4,096 characters, None if there is none."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.error(name, f"must be a text, not {value!r}; put it in quotes")
            return None
        if len(value) > MAX_FREE_TEXT:
            self.error(name, f"has {len(value)} characters, the limit is {MAX_FREE_TEXT}")
        return value

    def key(self, name: str, *, required: bool = False) -> str | None:
        """Return a key: letters, digits, - and _."""
        value = self.text(name, required=required)
        if value is not None and not _KEY.fullmatch(value):
            self.error(name, f"{value!r} may hold only letters, digits, - and _")
        return value

    def integer(
        self, name: str, low: int, high: int, *, required: bool = False, default: int | None = None
    ) -> int | None:
        """Return a whole number between two bounds."""
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
        """Return an exact number, scaled; 0 with a mistake noted if it is none."""
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
        """Return a switch."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.error(name, f"must be true or false, not {value!r}")
            return default
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> Any:
        """Return one of the choices."""
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
        """Return an instant, epoch ms."""
        value = self.text(name)
        if value is None:
            return None
        try:
            instant = parse_instant(value)
            if not EARLIEST_MS <= instant <= LATEST_MS:
                raise ValueError(f"{value!r} lies outside the years 3 to 9988")
            return instant
        except (ValueError, OverflowError) as error:
            self.error(name, f"{error}; write for example 2025-03-01T10:00:00Z")
            return None

    def day(self, name: str, *, required: bool = False) -> int | None:
        """Return a date as a day number."""
        value = self.text(name, required=required)
        if value is None:
            return None
        try:
            return parse_day(value)
        except ValueError:
            self.error(name, f"{value!r} is not a date; write YYYY-MM-DD")
            return None

    def pairs(self, name: str, declared: set[str], *, allowed: bool = True) -> Filter:
        """Return a filter: declared keys with texts, as object or list of {key, value}."""
        value = self.raw(name)
        if not value:
            return ()
        if not allowed:
            self.error(name, "is not allowed for this type; leave it out")
            return ()
        if isinstance(value, list):
            value = self._pairs_of_list(name, value)
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
            elif "\0" in text or len(text) > MAX_PAIR_TEXT:
                self.error(f"{name}.{key}", f"must have at most {MAX_PAIR_TEXT} characters, NUL not among them")
        return tuple(sorted((str(key), str(text)) for key, text in value.items()))

    def _pairs_of_list(self, name: str, pairs: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for index, pair in enumerate(pairs):
            key = pair.get("key") if isinstance(pair, dict) else None
            if isinstance(key, str):
                found[key] = pair.get("value")
            else:
                self.error(f"{name}[{index}]", "must be an object with key and value")
        return found

    def items(self, name: str, most: int = MAX_ITEMS) -> Iterator[tuple[int, Any, str]]:
        """Yield index, item and path of a list; nothing if it has more than `most` items, which is an error."""
        value = self.raw(name)
        if value is None:
            return
        if not isinstance(value, list):
            self.error(name, f"must be a list, not {type(value).__name__}")
            return
        if len(value) > most:
            self.error(name, f"has {len(value)} entries, the limit is {most}")
            return
        for index, item in enumerate(value):
            yield index, item, f"{self.at(name)}[{index}]"

    def done(self) -> None:
        """Report the fields that nobody asked for."""
        for name in self._value:
            if name not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.error(str(name), f"is unknown here; known fields: {known}")


def is_key(value: Any) -> bool:
    """Tell whether a value can be a key."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None
