"""`sink_rows_per_s`: one sink process that has all derived topics of the sample before it.

The topics are those that the worker section filled. The clock starts when `plaudit sink --until-caught-up` logs that it
was given its partitions, and stops when its last batch is in the tables (log event `batch_written`). Rows of all tables
count, not those of the sink's own progress.
"""

from typing import Any, Final

from benchmarks.figures import Outcome, per_second
from benchmarks.harness import (
    STALL_S,
    Bench,
    BenchmarkError,
    cpu_s,
    log_events,
    moment_s,
    tell,
    wait_for_event,
    wait_until,
)
from benchmarks.worker import measure as load

STOPPED: Final = "sink_stopped"


def measure(bench: Bench) -> Outcome:
    """Migrate an empty database, start a sink, and time it."""
    from projections import migrate
    from projections.connection import connect
    from projections.tables import TABLES

    load(bench)
    with bench.clickhouse() as url:
        client = connect(url)
        try:
            migrate.up(client, bench.database)
            tell("sink: starting")
            details, rows, seconds = _run(bench, url)
            stored = {
                table.name: int(client.query(f"SELECT count() FROM {bench.database}.{table.name}").result_rows[0][0])
                for table in TABLES
            }
        finally:
            client.close()
    if not 0 < sum(stored.values()) <= rows:  # fewer: merges drop what a later row replaces
        raise BenchmarkError(f"the sink inserted {rows} rows, the tables hold {stored}")
    details["tables"] = {name: count for name, count in stored.items() if count}
    return Outcome({"sink_rows_per_s": per_second(rows, seconds)}, details)


def _run(bench: Bench, url: str) -> tuple[dict[str, Any], int, float]:
    """Return details, the rows inserted, and the seconds it took."""
    with bench.child("sink", "sink", "--until-caught-up", CLICKHOUSE_URL=url, PLAUDIT_LOG_LEVEL="debug") as sink:
        began = moment_s(wait_for_event(sink, "partitions_assigned"))
        began_cpu = cpu_s(sink.process.pid)
        ended_cpu = began_cpu

        def ended() -> bool:
            nonlocal ended_cpu
            used = cpu_s(sink.process.pid)
            if sink.process.poll() is not None:
                return True
            ended_cpu = used
            return False

        wait_until(ended, f"the sink to catch up ({sink.log})", 2 * STALL_S)
        stopped, written = log_events(sink.log, STOPPED), log_events(sink.log, "batch_written")
        if sink.process.returncode != 0 or not stopped or not written:
            raise BenchmarkError(f"the sink ended with code {sink.process.returncode}; see {sink.log}")
    seconds = moment_s(written[-1]) - began
    rows = int(stopped[-1]["rows"])
    details: dict[str, Any] = {
        "rows": rows,
        "records": int(stopped[-1]["records"]),
        "seconds": round(seconds, 3),
        "cpu_s": None if began_cpu is None or ended_cpu is None else round(ended_cpu - began_cpu, 2),
        "batches": len(written),
        "measured": "sink's log events `partitions_assigned` to the last `batch_written`",
    }
    return details, rows, seconds
