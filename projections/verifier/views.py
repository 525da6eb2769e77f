"""What the views and rollups must say, summed up from the expected rows of the base tables."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from projections.verifier.database import Database
from projections.verifier.expected import Erasure, Row
from projections.verifier.layouts import (
    LEVEL_CHANGES,
    METRIC_EVENTS,
    POINTS_AWARDS,
    STREAK_PERIODS_LOG,
    STREAK_STATE_LOG,
    USERS_LOG,
    Column,
    Layout,
    sql_of,
)
from projections.verifier.report import Difference, Report, short
from projections.verifier.tables import differing, shown_key
from schemas.topics import AWARDS, LEDGER, LEVELS

Values = tuple[Any, ...]


class View(NamedTuple):
    """A view or rollup, how it is asked for, and the base tables whose rows it sums up, with their topics."""

    layout: Layout
    source: str
    bases: tuple[tuple[Layout, str], ...]


def _named(layout: Layout, *names: str) -> tuple[Column, ...]:
    return tuple(column for name in names for column in layout.columns if column.name == name)


_EVENT_BOUNDS: Final = (Column("first_event_at", "instant"), Column("last_event_at", "instant"))

USERS: Final = View(
    Layout(
        "users",
        _named(USERS_LOG, "tenant", "user_id", "name", "email", "tz", "attributes", "control", "created_at")
        + _EVENT_BOUNDS,
        2,
    ),
    "users",
    ((USERS_LOG, LEDGER), (METRIC_EVENTS, LEDGER)),
)
ACTIVITY: Final = View(
    Layout("user_activity_rollup", _named(USERS_LOG, "tenant", "user_id") + _EVENT_BOUNDS, 2),
    "(SELECT tenant, user_id, min(first_event_at) AS first_event_at, max(last_event_at) AS last_event_at "
    "FROM user_activity_rollup GROUP BY tenant, user_id)",
    ((METRIC_EVENTS, LEDGER),),
)
METRIC_TOTALS: Final = View(
    Layout(
        "metric_totals",
        (
            *_named(METRIC_EVENTS, "tenant", "user_id", "metric_key"),
            Column("total", "exact"),
            Column("updated_at", "instant"),
        ),
        3,
    ),
    "metric_totals",
    ((METRIC_EVENTS, LEDGER),),
)
POINTS_BALANCES: Final = View(
    Layout(
        "points_balances",
        (
            *_named(POINTS_AWARDS, "tenant", "user_id", "system_key"),
            Column("total"),
            Column("level_key"),
            Column("updated_at", "instant"),
        ),
        3,
    ),
    "points_balances",
    ((POINTS_AWARDS, AWARDS), (LEVEL_CHANGES, LEVELS)),
)
STREAK_STATE: Final = View(
    Layout("streak_state", STREAK_STATE_LOG.columns, 3), "streak_state", ((STREAK_STATE_LOG, LEDGER),)
)
STREAK_PERIODS: Final = View(
    Layout("streak_periods", STREAK_PERIODS_LOG.columns, 4), "streak_periods", ((STREAK_PERIODS_LOG, LEDGER),)
)

VIEWS: Final = (USERS, ACTIVITY, METRIC_TOTALS, POINTS_BALANCES, STREAK_STATE, STREAK_PERIODS)


_NAMES_OF_TOPIC: Final = {
    LEDGER: ("users", "bounds", "totals", "states", "periods"),
    AWARDS: ("balances",),
    LEVELS: ("levels",),
}
"""What ViewRows keeps of each topic (logical name)."""


class ViewRows:
    """The rows that views must have of the users of one partition, as of what the sink has claimed.

    Attributes:
        moving: users (tenant, id) with an erasure that the sink has not claimed: their rows may be there, or not.
    """

    def __init__(self, since: int | None = None) -> None:
        """Nothing has come yet. With `since` (epoch ms) only users for whom something was caused from then on count."""
        self._since = since
        self._touched: set[Values] = set()
        self.moving: set[Values] = set()
        self._kept: dict[str, dict[Values, dict[Values, Values]]] = {
            name: {} for names in _NAMES_OF_TOPIC.values() for name in names
        }  # by name, user and the rest of the key
        self._take: dict[str, Callable[[Values, Values], None]] = {
            USERS_LOG.name: self._take_user,
            METRIC_EVENTS.name: self._take_event,
            POINTS_AWARDS.name: self._take_award,
            LEVEL_CHANGES.name: self._take_level,
            STREAK_STATE_LOG.name: self._take_state,
            STREAK_PERIODS_LOG.name: self._take_period,
        }

    def take(self, row: Row, at: int | None) -> None:
        """Take a base row, caused at `at` (epoch ms); of the rows of a user the later one comes later."""
        take = self._take.get(row.layout.name)
        if take is not None:
            user = row.values[:2]
            take(user, row.values)
            self._touch(user, at)

    def erase(self, erasure: Erasure, at: int | None) -> None:
        """Forget what a topic has made of a user so far."""
        for name in _NAMES_OF_TOPIC.get(erasure.logical, ()):
            self._kept[name].pop(erasure.user, None)
        self._touch(erasure.user, at)

    def _touch(self, user: Values, at: int | None) -> None:
        if self._since is not None and (at is None or at >= self._since):
            self._touched.add(user)

    def counts(self, user: Values) -> bool:
        """Whether a user (tenant, id) is compared."""
        return self._since is None or user in self._touched

    def _put(self, name: str, user: Values, rest: Values, values: Values) -> None:
        kept = self._kept[name].get(user)
        if kept is None:
            kept = self._kept[name][user] = {}
        kept[rest] = values

    def _take_user(self, user: Values, values: Values) -> None:
        self._put("users", user, (), values[2:8])

    def _take_event(self, user: Values, values: Values) -> None:
        at = values[3]
        first, last = self._kept["bounds"].get(user, {}).get((), (at, at))
        self._put("bounds", user, (), (min(first, at), max(last, at)))
        self._put("totals", user, values[2:3], (values[6], at))

    def _take_award(self, user: Values, values: Values) -> None:
        self._put("balances", user, values[2:3], (values[8], values[3]))

    def _take_level(self, user: Values, values: Values) -> None:
        self._put("levels", user, values[2:3], (values[6],))

    def _take_state(self, user: Values, values: Values) -> None:
        self._put("states", user, values[2:3], values[3:])

    def _take_period(self, user: Values, values: Values) -> None:
        self._put("periods", user, values[2:4], values[4:])

    def of(self, view: View) -> dict[Values, Values]:
        """Return the values that a view must have beside its key, by key."""
        if view is USERS:
            bounds = self._kept["bounds"]
            nothing = {(): (None, None)}
            return {user: rows[()] + bounds.get(user, nothing)[()] for user, rows in self._kept["users"].items()}
        if view is POINTS_BALANCES:
            levels = self._kept["levels"]
            return {
                user + system: (total, *levels.get(user, {}).get(system, ("",)), at)
                for user, systems in self._kept["balances"].items()
                for system, (total, at) in systems.items()
            }
        name = {ACTIVITY: "bounds", METRIC_TOTALS: "totals", STREAK_STATE: "states", STREAK_PERIODS: "periods"}[view]
        return {user + rest: values for user, rows in self._kept[name].items() for rest, values in rows.items()}


class ViewCheck:
    """Compares the views' rows of the users of one partition."""

    def __init__(self, database: Database, report: Report, partition: int, partitions: int) -> None:
        """`partitions` decides, with the key, which users are of the partition (X1)."""
        self._database = database
        self._report = report
        self._partition = partition
        self._partitions = partitions

    def compare(self, expected: ViewRows, progress: Mapping[str, int]) -> None:
        """Compare all views. `progress`: by logical topic, the offset up to which `expected` has rows; users with rows
        beyond it are in motion and left out."""
        for view in VIEWS:
            rows = expected.of(view)
            self._report.of(view.layout.name).expected += len(rows)
            found = self._differences(view, rows)
            moving = self._moving(view, progress) | expected.moving if found else set()
            for difference, user in found:
                if user in moving:
                    self._report.of(view.layout.name).waiting += 1
                elif expected.counts(user):
                    self._report.add(difference)

    def _differences(self, view: View, rows: dict[Values, Values]) -> list[tuple[Difference, Values]]:
        layout = view.layout
        counts = self._report.of(layout.name)
        result = []
        seen: set[Values] = set()
        for found in self._rows(view):
            counts.found += 1
            key, values = tuple(found[: layout.key]), tuple(found[layout.key :])
            expected = rows.get(key)
            if expected == values and key not in seen:
                seen.add(key)
                continue
            kind: Any = "doubled" if key in seen else "wrong"
            one, other = ("one row", "two rows") if kind == "doubled" else ("", "a row of nothing")
            if kind == "wrong" and expected is not None:
                one, other = differing(layout, key + expected, found) or (one, other)
            seen.add(key)
            result.append((self._difference(kind, layout, key, one, other), key[:2]))
        for key in rows:
            if key not in seen:
                result.append((self._difference("lost", layout, key, "a row", ""), key[:2]))
        return result

    def _rows(self, view: View) -> Any:
        user = "if(tenant = '', user_id, concat(tenant, '\\0', user_id))"
        query = (
            f"SELECT {sql_of(view.layout.columns)} FROM {view.source} "
            f"WHERE kafkaMurmurHash({user}) % {self._partitions} = {self._partition}"
        )
        return self._database.rows(query)

    def _moving(self, view: View, progress: Mapping[str, int]) -> set[Values]:
        """Return users with base rows that the sink had not claimed when the progress was asked for."""
        found: set[Values] = set()
        for base, topic in view.bases:
            query = (
                f"SELECT DISTINCT tenant, user_id FROM {base.name} "
                "WHERE src_part = {partition:UInt32} AND src_off >= {begin:UInt64}"
            )
            rows = self._database.rows(query, partition=self._partition, begin=progress.get(topic, 0))
            found.update(tuple(row) for row in rows)
        return found

    def _difference(self, kind: Any, layout: Layout, key: Values, expected: str, found: str) -> Difference:
        id = shown_key(layout, key)
        return Difference(
            kind, layout.name, id, self._partition, key=str(key[1]), expected=short(expected), found=short(found)
        )
