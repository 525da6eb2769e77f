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
"""Users in one DELETE: each is a condition, and a parameter of the request."""

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
    found = []
    for logical in dict.fromkeys(erasure.logical for erasure in erasures):
        of_topic = [erasure for erasure in erasures if erasure.logical == logical]
        for start in range(0, len(of_topic), ERASURES_PER_STATEMENT):
            found += _of_topic(logical, of_topic[start : start + ERASURES_PER_STATEMENT])
    return found


def _of_topic(logical: str, erasures: Sequence[Erasure]) -> list[Deletion]:
    parameters: dict[str, Any] = {"topic": erasures[0].topic}
    for number, erasure in enumerate(erasures):
        parameters |= {f"t{number}": erasure.tenant, f"u{number}": erasure.user_id, f"v{number}": erasure.ver}
    if logical == REJECTED_TOPIC:
        for number, erasure in enumerate(erasures):
            parameters |= {f"k{number}": erasure.key, f"p{number}": erasure.partition, f"m{number}": erasure.at_ms}
        return [Deletion(REJECTED.name, _any(_REFUSED, len(erasures)), parameters)]
    tables = [
        Deletion(table.name, f"src_topic = {{topic:String}} AND ({_any(_ROW, len(erasures))})", parameters)
        for table in TABLES_OF_TOPIC.get(logical, ())
    ]
    parameters = {name: value for name, value in parameters.items() if name != "topic"}
    return tables + [
        Deletion(table, f"{feed}({_any(_ROLLUP, len(erasures))})", parameters)
        for table, feed in ROLLUPS_OF_TOPIC.get(logical, ())
    ]


_ROW: Final = "(tenant = {{t{n}:String}} AND user_id = {{u{n}:String}} AND ver <= {{v{n}:UInt64}})"
_ROLLUP: Final = _ROW.replace("ver <=", "last_ver <=")
_REFUSED: Final = (
    "(((tenant = {{t{n}:String}} AND user_id = {{u{n}:String}}) OR key = {{k{n}:String}}) AND "
    "if(src_topic = {{topic:String}} AND src_part = {{p{n}:UInt32}}, ver <= {{v{n}:UInt64}}, "
    "at <= fromUnixTimestamp64Milli({{m{n}:Int64}})))"
)


def _any(condition: str, count: int) -> str:
    return " OR ".join(condition.format(n=number) for number in range(count))
