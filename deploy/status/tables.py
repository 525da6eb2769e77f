"""What ClickHouse knows: tables and refused records."""

from typing import Final

from deploy.cli.support.clickhouse import ClickHouse, instant_sql
from deploy.status.document import ReasonShown, TableShown
from projections.tables import ROLLUPS, TABLES
from schemas.secrets import Dsn

ANSWER_S: Final = 20.0
"""How long a query may take; a server that takes longer does not answer."""

_PARTS: Final = f"""
SELECT table AS name, sum(rows) AS rows, sum(bytes_on_disk) AS bytes,
    {instant_sql("max(toDateTime64(modification_time, 3, 'UTC'))")} AS changed
FROM system.parts
WHERE database = {{database:String}} AND active
GROUP BY table
"""

_REJECTED: Final = f"""
SELECT reason, count() AS records, {instant_sql("max(at)")} AS latest
FROM rejected
GROUP BY reason
ORDER BY records DESC, reason
"""


def ask_clickhouse(url: Dsn, database: str) -> tuple[list[TableShown], list[ReasonShown]]:
    """Return the tables, in the order in which they are declared, and the refused records by reason. Rows and bytes are
    those of active parts: rows that merges will drop count. CommandError if the server does not answer or refuses."""
    server = ClickHouse(url, database, answer_s=ANSWER_S)
    parts = {row["name"]: row for row in server.rows(_PARTS, database=database)}
    names = [*(table.name for table in TABLES), *ROLLUPS]
    tables = [
        TableShown(
            name=name,
            rows=int(parts[name]["rows"]) if name in parts else 0,
            bytes=int(parts[name]["bytes"]) if name in parts else 0,
            changed=parts[name]["changed"] if name in parts else None,
        )
        for name in names
    ]
    reasons = [
        ReasonShown(reason=row["reason"], records=int(row["records"]), latest=row["latest"])
        for row in server.rows(_REJECTED)
    ]
    return tables, reasons
