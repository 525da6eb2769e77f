"""How long tables keep rows: a TTL per table, as the settings say it (X30a).

A row counts by its own time, not by when it was written. Rollups have none: what they say of a user, like balances,
outlives the rows that it came from.
"""

import re
from collections.abc import Mapping
from typing import Final

from clickhouse_connect.driver.client import Client

from projections.tables import ROLLUPS, TABLES, TIME_COLUMNS
from schemas.retention import FOREVER

_TTL: Final = re.compile(r" TTL (.+?)(?: SETTINGS |$)")
_OURS: Final = re.compile(r"(\w+) \+ toIntervalDay\((\d+)\)")


def in_force(client: Client, database: str) -> dict[str, str]:
    """Return by table what the database has: `forever`, `30d`, or a TTL of another form as it stands."""
    rows = client.query(
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String}",
        parameters={"database": database},
    ).result_rows
    engines = {str(name): str(engine) for name, engine in rows}
    return {table: _shown(table, engines[table]) for table in TIME_COLUMNS if table in engines}


def _shown(table: str, engine: str) -> str:
    ttl = _TTL.search(engine)
    if ttl is None:
        return FOREVER
    ours = _OURS.fullmatch(ttl[1])
    return f"{ours[2]}d" if ours is not None and ours[1] == TIME_COLUMNS[table] else ttl[1]


def wanted_of(retention: Mapping[str, int]) -> dict[str, str]:
    """Return by table what `retention` says, in the form of `in_force`."""
    return {table: f"{retention[table]}d" if table in retention else FOREVER for table in TIME_COLUMNS}


def differences(client: Client, database: str, retention: Mapping[str, int]) -> list[str]:
    """Return where the database keeps rows for another time than `retention` says, one sentence each."""
    wanted = wanted_of(retention)
    return [
        f"table {table} keeps {shown} instead of {wanted[table]}"
        for table, shown in in_force(client, database).items()
        if shown != wanted[table]
    ]


def statements(client: Client, database: str, retention: Mapping[str, int]) -> list[str]:
    """Return what has to be carried out, tables named with their database; nothing is changed."""
    wanted = wanted_of(retention)
    found = []
    for table, shown in in_force(client, database).items():
        if shown == wanted[table]:
            continue
        ttl = (
            f"MODIFY TTL {TIME_COLUMNS[table]} + toIntervalDay({retention[table]})"
            if table in retention
            else "REMOVE TTL"
        )
        found.append(f"ALTER TABLE {database}.{table} {ttl}")
    return found


def masked(client: Client, database: str) -> list[str]:
    """Return the tables that hold deleted rows which no merge has dropped yet."""
    rows = client.query(
        "SELECT DISTINCT table FROM system.parts WHERE database = {database:String} AND active AND has_lightweight_delete",
        parameters={"database": database},
    ).result_rows
    present = {str(table) for (table,) in rows}
    return [name for name in (*(table.name for table in TABLES), *ROLLUPS) if name in present]


def purge(client: Client, database: str, table: str) -> None:
    """Write the parts of a table that hold deleted rows anew without them; returns when it is done."""
    client.command(f"ALTER TABLE {database}.{table} APPLY DELETED MASK", settings={"mutations_sync": 1})
