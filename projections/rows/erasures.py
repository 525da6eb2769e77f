"""What an erasure deletes from the tables (X30): per topic, the user's rows of records before the marker, and no later ones.

Every deletion is bounded by the version of its marker, so it may be carried out at any time, also again, by a sink that
has lost its partitions, or while others insert: rows of the user's next life have a greater version.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from projections.rows.builders import BUILDER_OF_TYPE, Row
from projections.tables import REJECTED, Table
from schemas.topics import ACHIEVEMENTS, AWARDS, LEDGER, LEVELS, STREAKS, TOPIC_OF_TYPE, user_key
from schemas.topics import REJECTED as REJECTED_TOPIC

ERASURES_PER_STATEMENT: Final = 100
"""Users in one DELETE: all are in the address of the request, which a server takes up to a megabyte."""

TABLES_OF_TOPIC: Final[dict[str, tuple[Table, ...]]] = {
    topic: tuple(
        {table.name: table for name, (table, _) in BUILDER_OF_TYPE.items() if TOPIC_OF_TYPE[name] == topic}.values()
    )
    for topic in (LEDGER, AWARDS, LEVELS, ACHIEVEMENTS, STREAKS)
}
"""Tables with rows of users by the logical topic that feeds them; some are fed by two."""

ROLLUPS_OF_TOPIC: Final = {
    LEDGER: (("metric_totals_rollup", ""), ("user_activity_rollup", "")),
    AWARDS: (("points_balances_rollup", "feed IN ('', 'awards') AND "),),
    LEVELS: (("points_balances_rollup", "feed IN ('', 'levels') AND "),),
}
"""Rollups by the logical topic behind them, and which of their rows stem from it; '' is of before migration 0007."""


class Erasure(msgspec.Struct, frozen=True):
    """A marker `user.erased` as it stands in a topic.

    Attributes:
        topic: full name. logical: the topic's name without prefix. partition: of the marker.
        ver: version of the marker, greater than that of every row that it erases. at_ms: its append time, epoch ms.
    """

    tenant: str
    user_id: str
    topic: str
    logical: str
    partition: int
    ver: int
    at_ms: int

    @property
    def key(self) -> str:
        """Record key of the user as `rejected` shows it."""
        return user_key(self.tenant, self.user_id).decode("utf-8", "replace")


class Erased:
    """Erasures in the records of a batch: which of the rows before them are not to be written at all."""

    def __init__(self) -> None:
        self.all: list[Erasure] = []
        self._bounds: dict[tuple[object, object, object], int] = {}  # by topic, tenant, user: version of the marker
        self._lives: Counter[tuple[str, str, str]] = Counter()

    def add(self, erasure: Erasure) -> None:
        """Note a marker; its version is greater than that of the user's last one in the same topic."""
        self.all.append(erasure)
        place = erasure.topic, erasure.tenant, erasure.user_id
        self._bounds[place] = erasure.ver
        self._lives[place] += 1

    def life(self, topic: str, tenant: str, user_id: str) -> int:
        """Return how often a topic has told so far that a user was erased."""
        return self._lives[topic, tenant, user_id] if self.all else 0

    def covers(self, table: Table, row: Row) -> bool:
        """Tell whether a row is of before the marker, as the statements of `deletions` do."""
        if table is REJECTED:
            return any(_refused(erasure, row) for erasure in self.all)
        topic, _, _, ver = row[-4:]
        assert isinstance(ver, int)
        return ver <= self._bounds.get((topic, row[0], row[1]), -1)


def _refused(erasure: Erasure, row: Row) -> bool:
    tenant, user_id, _, at_ms, _, _, _, key, *_ = row
    if erasure.logical != REJECTED_TOPIC:
        return False
    if (tenant, user_id) != (erasure.tenant, erasure.user_id) and key != erasure.key:
        return False
    topic, partition, _, ver = row[-4:]
    assert isinstance(ver, int) and isinstance(at_ms, int)
    if (topic, partition) == (erasure.topic, erasure.partition):
        return ver <= erasure.ver
    return at_ms <= erasure.at_ms


class Deletion(msgspec.Struct, frozen=True):
    """One statement: rows of `table` that meet `condition`, with the values of its parameters."""

    table: str
    condition: str
    parameters: dict[str, Any]


def deletions(erasures: Sequence[Erasure]) -> list[Deletion]:
    """Return the statements that carry out erasures; in any order, as often as wanted."""
    by_topic: dict[str, dict[str, Erasure]] = {}
    for erasure in erasures:  # of several of one user the latest covers the others
        by_topic.setdefault(erasure.logical, {})[erasure.key] = erasure
    found = []
    for logical, of_topic in by_topic.items():
        users = list(of_topic.values())
        for start in range(0, len(users), ERASURES_PER_STATEMENT):
            found += _of_topic(logical, users[start : start + ERASURES_PER_STATEMENT])
    return found


def _of_topic(logical: str, erasures: Sequence[Erasure]) -> list[Deletion]:
    topic = {"topic": erasures[0].topic}
    bounds = {"keys": [erasure.key for erasure in erasures], "vers": [erasure.ver for erasure in erasures]}
    if logical == REJECTED_TOPIC:
        times = {"parts": [one.partition for one in erasures], "times": [one.at_ms for one in erasures]}
        return [Deletion(REJECTED.name, _REFUSED, topic | bounds | times)]
    users = {"users": [(erasure.tenant, erasure.user_id) for erasure in erasures], **bounds}
    tables = [
        Deletion(table.name, f"src_topic = {{topic:String}} AND {_OF_USERS} AND ver <= {_BOUND}", topic | users)
        for table in TABLES_OF_TOPIC.get(logical, ())
    ]
    return tables + [
        Deletion(table, f"{feed}{_OF_USERS} AND last_ver <= {_BOUND}", users)
        for table, feed in ROLLUPS_OF_TOPIC.get(logical, ())
    ]


_OF_USERS: Final = "(tenant, user_id) IN {users:Array(Tuple(String, String))}"
"""Reads only the parts of a table where the users stand: all are ordered by tenant and user."""

_KEY: Final = "if(tenant = '', user_id, concat(tenant, '\\0', user_id))"
_BOUND: Final = f"transform({_KEY}, {{keys:Array(String)}}, {{vers:Array(UInt64)}}, toUInt64(0))"
_REFUSED: Final = (
    "arrayExists(k -> if(src_topic = {topic:String} AND src_part = "
    "transform(k, {keys:Array(String)}, {parts:Array(UInt32)}, toUInt32(4294967295)), "
    "ver <= transform(k, {keys:Array(String)}, {vers:Array(UInt64)}, toUInt64(0)), "
    "toUnixTimestamp64Milli(at) <= transform(k, {keys:Array(String)}, {times:Array(Int64)}, toInt64('-9223372036854775808'))), "
    f"[{_KEY}, key])"
)
