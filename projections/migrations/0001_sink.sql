-- How far the sink is (projections/sink/progress.py).

CREATE TABLE IF NOT EXISTS sink_progress
(
    epoch UInt16 COMMENT 'Incarnation of the topics; raised by the operator when topics are made anew',
    topic LowCardinality(String) COMMENT 'Full name of the Kafka topic',
    partition UInt32 COMMENT 'Partition of the topic',
    state Enum8('begun' = 1, 'done' = 2) COMMENT 'begun: written before the rows of the batch; done: all rows of the batch are in all tables and rollups',
    first_offset UInt64 COMMENT 'First offset of the batch in this partition',
    last_offset UInt64 COMMENT 'Last offset of the batch in this partition',
    batch String COMMENT 'The whole batch: partition:first-last, comma-separated; a batch is repeated with exactly these bounds or not at all',
    at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When the sink wrote this row'
)
ENGINE = ReplacingMergeTree(last_offset)
ORDER BY (epoch, topic, partition, state)
COMMENT 'Progress of the sink: the latest batch begun and the latest batch done of every partition';
