"""The process that is the embedded ClickHouse: the real HTTP server inside chdb-core.

Run as a script:  python -P clickhouse_child.py DATA_DIRECTORY CONFIG_DIRECTORY , the second with the config.xml.
chdb's internal `query` runs the program clickhouse-local, which understands SYSTEM START LISTEN; the second statement
reads standard input and so keeps the server up until the parent closes that life line or dies. One query per process.
"""

import os
import signal
import sys
import threading
import time
from importlib import import_module
from typing import Any

ORPHAN_GRACE_S = 2.0
POLL_INTERVAL_S = 0.5
SERVE = "SYSTEM START LISTEN HTTP; SELECT count() FROM file('/dev/stdin', 'LineAsString', 'line String')"


def main(data: str, config: str) -> None:
    """Serve the databases in directory `data` until standard input ends, as `config/config.xml` says."""
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    # The import runs a query in a throw-away engine, which must not find the configuration (it would log to its files).
    engine: Any = import_module("chdb._chdb")
    os.chdir(config)  # where clickhouse-local looks for config.xml
    # The format given here becomes the default of the HTTP server, and clients expect what a real one has.
    engine.query(SERVE, "TabSeparated", path=data)


def _watch_parent(parent: int) -> None:
    """End the process when the parent is gone and the life line did not do it: a process that the parent forked may
    hold the other end, and open connections delay an orderly end by 5 s. ClickHouse recovers from SIGKILL."""
    while os.getppid() == parent:
        time.sleep(POLL_INTERVAL_S)
    time.sleep(ORPHAN_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
