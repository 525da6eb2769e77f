-- Points: awards, levels and balances (analytics.md section 1).

CREATE TABLE IF NOT EXISTS points_awards
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    date DateTime64(3, 'UTC') COMMENT 'When it was awarded; years outside 1900-2299 are clamped to those',
    award_id String COMMENT 'Id of the award',
    trigger_id LowCardinality(String) COMMENT 'Id of the trigger',
    trigger_type LowCardinality(String) COMMENT 'metric, achievement, streak, time or user_creation',
    awarded Int64 COMMENT 'Points after boosts and limits; may be negative',
    total_after Int64 COMMENT 'Balance of this user and system after the award',
    count Int64 COMMENT 'How often the trigger fired in this award (P56)',
    base Int64 COMMENT 'Points before boosts and limits (P56)',
    boosts Array(String) COMMENT 'Ids of the boosts that applied, in their order',
    local_date Date32 COMMENT 'Calendar date in the zone of the user at that time (P67)',
    cause_type LowCardinality(String) COMMENT 'event, completion, identify or time',
    cause_id String COMMENT 'Id of the input record; for time the due instant',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, system_key, date, award_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Awards of points, one row each';

CREATE TABLE IF NOT EXISTS level_changes
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    at DateTime64(3, 'UTC') COMMENT 'When the level changed',
    change_id String COMMENT 'Id of the derived event',
    previous_level_key LowCardinality(String) COMMENT 'Key of the level before; empty: none',
    level_key LowCardinality(String) COMMENT 'Key of the level after; empty: none',
    total_after Int64 COMMENT 'Balance of this user and system after the change',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, system_key, at, change_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Changes of level by points earned or lost, one row each; edits of the levels themselves are silent (P53)';

CREATE TABLE IF NOT EXISTS points_balances_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    total AggregateFunction(argMax, Int64, UInt64) COMMENT 'State: total_after of the award with the greatest ver',
    updated_at AggregateFunction(argMax, DateTime64(3, 'UTC'), UInt64) COMMENT 'State: date of the award with the greatest ver',
    award_ver SimpleAggregateFunction(max, UInt64) COMMENT 'Greatest ver of an award; 0: none yet',
    level_key AggregateFunction(argMax, String, UInt64) COMMENT 'State: level_key of the level change with the greatest ver'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, user_id, system_key)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'States behind the view points_balances; query that instead';

CREATE MATERIALIZED VIEW IF NOT EXISTS points_balances_awards_mv TO points_balances_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    total AggregateFunction(argMax, Int64, UInt64) COMMENT 'State: total_after of the greatest ver',
    updated_at AggregateFunction(argMax, DateTime64(3, 'UTC'), UInt64) COMMENT 'State: date of the greatest ver',
    award_ver UInt64 COMMENT 'Greatest ver'
)
AS SELECT tenant, user_id, system_key, argMaxState(total_after, ver) AS total, argMaxState(date, ver) AS updated_at, max(ver) AS award_ver
FROM points_awards
GROUP BY tenant, user_id, system_key
COMMENT 'Feeds points_balances_rollup from points_awards';

CREATE MATERIALIZED VIEW IF NOT EXISTS points_balances_levels_mv TO points_balances_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    level_key AggregateFunction(argMax, String, UInt64) COMMENT 'State: level_key of the greatest ver'
)
AS SELECT tenant, user_id, system_key, argMaxState(CAST(level_key, 'String'), ver) AS level_key
FROM level_changes
GROUP BY tenant, user_id, system_key
COMMENT 'Feeds points_balances_rollup from level_changes';

CREATE VIEW IF NOT EXISTS points_balances
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    system_key LowCardinality(String) COMMENT 'Key of the points system',
    total Int64 COMMENT 'Current balance',
    level_key String COMMENT 'Level after the latest level change; empty: no level, or never changed. An edit of the levels shows at the next change (P53)',
    updated_at DateTime64(3, 'UTC') COMMENT 'Date of the latest award, in log order'
)
AS SELECT tenant, user_id, system_key, argMaxMerge(total) AS total, argMaxMerge(level_key) AS level_key, argMaxMerge(updated_at) AS updated_at
FROM points_balances_rollup
GROUP BY tenant, user_id, system_key
HAVING max(award_ver) > 0
COMMENT 'Current balance and level of every user and points system, one row each';
