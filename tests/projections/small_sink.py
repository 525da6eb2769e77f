"""A sink as a process that holds a small part of what it may hold otherwise, so that little data shows whether that is a bound.

python -m tests.projections.small_sink BOOTSTRAP URL DATABASE PREFIX
"""

import sys

import structlog

from projections.sink import loop, run_sink_process, source
from schemas.brokers import Brokers

MAX_BATCH_RECORDS = 1_500
FETCH_BYTES = 16 * 1024

if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    loop.MAX_BATCH_RECORDS = MAX_BATCH_RECORDS  # type: ignore[misc]
    source.FETCH_BYTES_PER_PARTITION = FETCH_BYTES  # type: ignore[misc]
    bootstrap, url, database, prefix = sys.argv[1:]
    print(run_sink_process(Brokers(bootstrap), url, database, prefix))
