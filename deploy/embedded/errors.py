"""The one error of the embedded stack, and the advice that its messages share."""


class StackError(Exception):
    """A part of the embedded stack cannot be had. The message is for the person at the terminal: what failed, and
    what to do about it; print it as it is, without a traceback."""


class StartCancelled(StackError):
    """The start was given up because the other part failed or the user pressed Ctrl-C. Never the first cause."""


KAFKA_ELSEWHERE = (
    "To use a broker that runs elsewhere, set KAFKA_BOOTSTRAP=host:port; "
    "with Docker, `docker compose -f deploy/compose.yaml up -d kafka` starts one."
)
CLICKHOUSE_ELSEWHERE = (
    "To use a server that runs elsewhere, set CLICKHOUSE_URL=http://user:password@host:8123; "
    "with Docker, `docker compose -f deploy/compose.yaml up -d clickhouse` starts one."
)
