"""Empties what the sink wrote, so that it projects everything again from the first offset.

For topics that were made anew, and for a program whose row builders changed. Stop all sinks first.
"""

from clickhouse_connect.driver.client import Client

from projections.tables import PROGRESS_TABLE, ROLLUPS, TABLES


def truncate_all(client: Client, database: str) -> None:
    """Truncate all tables and rollups, the progress last; if it dies half-way, call it again.

    Truncating makes ClickHouse forget the tokens of a table, so the same batches land again. The consumer group's
    offsets may stay as they are: what they announce was done.
    """
    for name in (*(table.name for table in TABLES), *ROLLUPS, PROGRESS_TABLE):
        client.command(f"TRUNCATE TABLE {database}.{name} SYNC")
