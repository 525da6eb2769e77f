"""Prometheus metrics of the sink, and the pulse by which it is seen to live."""

from typing import Final

from processors.engine.instruments import counter, histogram
from schemas import metrics

BATCHES: Final = counter(metrics.SINK_BATCHES)
REPEATED: Final = counter(metrics.SINK_REPEATED)
RECORDS: Final = counter(metrics.SINK_RECORDS)
ROWS: Final = counter(metrics.SINK_ROWS)
DELAY: Final = histogram(metrics.SINK_DELAY)
INSERT_SECONDS: Final = histogram(metrics.SINK_INSERT_SECONDS)
DUPLICATES: Final = counter(metrics.SINK_DUPLICATES)
UNDECODABLE: Final = counter(metrics.SINK_UNDECODABLE)
RETRIES: Final = counter(metrics.SINK_RETRIES)

KAFKA: Final = "kafka"
CLICKHOUSE: Final = "clickhouse"


class Pulse:
    """Beats when the sink goes on: by a step of its loop, or by an answer that it will ask for again."""

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> None:
        """It goes on."""
        self.beats += 1


PULSE: Final = Pulse()
"""Of the sink of this process."""


def retried(server: str) -> None:
    """A request failed and will be repeated; `server` is KAFKA or CLICKHOUSE."""
    RETRIES.labels(server).inc()
    PULSE.beat()
