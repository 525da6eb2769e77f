-- Records that were refused (X11).

CREATE TABLE IF NOT EXISTS rejected
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    reason LowCardinality(String) COMMENT 'Code of the reason (X9, metrics-and-events.md section 9); undecodable_derived: the sink could not read a derived record',
    at DateTime64(3, 'UTC') COMMENT 'Timestamp of the refused record',
    origin_topic LowCardinality(String) COMMENT 'Topic of the refused record',
    origin_partition Int64 COMMENT 'Partition of the refused record',
    origin_offset Int64 COMMENT 'Offset of the refused record',
    key String COMMENT 'Key of the refused record as text; if it is no text, JSON with base64',
    message String COMMENT 'What is wrong and how to mend it',
    value String COMMENT 'Value of the refused record as text, cut at 64 KiB; if it is no text, JSON with base64',
    truncated Bool COMMENT 'Whether key or value were cut',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, reason, at, origin_topic, origin_partition, origin_offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Refused records, one row each';
