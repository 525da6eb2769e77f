"""The sink: derived topics into ClickHouse, every record exactly once (clickhouse.md section 4.1).

How a batch is written, and why nothing is lost or doubled wherever a sink or a server dies:

1. The batch is cut: a topic, and for some partitions the first and last offset (`batch.Batch`).
2. It is announced: the group's committed offsets get it as metadata. The broker refuses that to a sink that no longer
   owns the partitions, so of two sinks that believe in the same partition one fails here, before it wrote anything. A
   second, weaker announcement goes to `sink_progress` (state `begun`), in case somebody resets the group's offsets.
3. If users were erased in the batch, their rows of before are deleted. That may be repeated at any time, for each
   deletion ends at the version of its marker (`projections.rows.erasures`). Those of the same batch are never written.
4. The rows of each table are inserted, with a token that names the batch. ClickHouse drops what it has under that
   token, also in rollups, so a repetition adds only what did not land. It is repeated unchanged until it succeeds.
5. `sink_progress` gets the state `done`, for all partitions of the batch in one block.

Whoever is given a partition reads `sink_progress`, and repeats the batch that was announced and is not done, with the
same bounds; also the part that belongs to partitions of others, for a batch is repeated whole or not at all, and
anybody may read any partition. Then it goes on behind it. Committed offsets as such decide nothing: they are for
monitoring.
"""

from projections.sink.observe import sink_lag, sink_progress
from projections.sink.run import run_sink, run_sink_process

__all__ = ["run_sink", "run_sink_process", "sink_lag", "sink_progress"]
