-- Achievements (analytics.md section 1).

CREATE TABLE IF NOT EXISTS achievement_completions
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    achievement_id LowCardinality(String) COMMENT 'Id of the achievement',
    achieved_at DateTime64(3, 'UTC') COMMENT 'When it was achieved; years outside 1900-2299 are clamped to those',
    local_date Date32 COMMENT 'Calendar date of achieved_at in the zone of the user; UTC for backdated completions',
    backdated Bool COMMENT 'Given afterwards, without an event (A22-A26)',
    achievement_name LowCardinality(String) COMMENT 'Name of the achievement at that time',
    trigger LowCardinality(String) COMMENT 'metric, streak, api, achievement or anniversary',
    completion_id String COMMENT 'Id of the completion; empty for backdated completions',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, achievement_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Completed achievements, one row per user and achievement';
