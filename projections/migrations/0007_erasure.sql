-- Erasure of users (X30): rollups tell how far their rows reach, keys tell rows of different feeds apart, refused records
-- tell whose they are, and erasures are listed.

CREATE TABLE IF NOT EXISTS erasures
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id that was erased',
    erased_at DateTime64(3, 'UTC') COMMENT 'When it was asked for',
    event_id String COMMENT 'Id of the erase record',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, erased_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Erasures of users, one row each; what is in other tables of such a user came later';

ALTER TABLE rejected
    ADD COLUMN IF NOT EXISTS user_id String COMMENT 'User that the record names; if it cannot be read, the user of its key' AFTER tenant;

ALTER TABLE achievement_completions
    ADD COLUMN IF NOT EXISTS feed LowCardinality(String) COMMENT 'Kind of event that made the row: completed or backdated; part of the key, so that rows of an erased user never replace later ones' AFTER completion_id,
    MODIFY ORDER BY (tenant, user_id, achievement_id, feed);

ALTER TABLE metric_totals_rollup
    ADD COLUMN IF NOT EXISTS last_ver SimpleAggregateFunction(max, UInt64) COMMENT 'Greatest ver of an event';

ALTER TABLE metric_totals_mv
    MODIFY QUERY SELECT tenant, user_id, metric_key, argMaxState(total_after, ver) AS total, argMaxState(effective_at, ver) AS updated_at, max(ver) AS last_ver
    FROM metric_events
    GROUP BY tenant, user_id, metric_key;

ALTER TABLE metric_totals_mv
    COMMENT COLUMN tenant 'Tenant; empty in an installation without tenants',
    COMMENT COLUMN user_id 'User id, as the producer gave it',
    COMMENT COLUMN metric_key 'Key of the metric',
    COMMENT COLUMN total 'State: total_after of the greatest ver',
    COMMENT COLUMN updated_at 'State: effective_at of the greatest ver',
    COMMENT COLUMN last_ver 'Greatest ver';

ALTER TABLE user_activity_rollup
    ADD COLUMN IF NOT EXISTS last_ver SimpleAggregateFunction(max, UInt64) COMMENT 'Greatest ver of an event';

ALTER TABLE user_activity_mv
    MODIFY QUERY SELECT tenant, user_id, min(effective_at) AS first_event_at, max(effective_at) AS last_event_at, max(ver) AS last_ver
    FROM metric_events
    GROUP BY tenant, user_id;

ALTER TABLE user_activity_mv
    COMMENT COLUMN tenant 'Tenant; empty in an installation without tenants',
    COMMENT COLUMN user_id 'User id, as the producer gave it',
    COMMENT COLUMN first_event_at 'Earliest effective_at of a metric event',
    COMMENT COLUMN last_event_at 'Latest effective_at of a metric event',
    COMMENT COLUMN last_ver 'Greatest ver';

ALTER TABLE points_balances_rollup
    ADD COLUMN IF NOT EXISTS feed LowCardinality(String) COMMENT 'Table that the row comes from: awards or levels' AFTER system_key,
    ADD COLUMN IF NOT EXISTS last_ver SimpleAggregateFunction(max, UInt64) COMMENT 'Greatest ver of an award or level change',
    MODIFY ORDER BY (tenant, user_id, system_key, feed);

ALTER TABLE points_balances_awards_mv
    MODIFY QUERY SELECT tenant, user_id, system_key, CAST('awards', 'LowCardinality(String)') AS feed, argMaxState(total_after, ver) AS total, argMaxState(date, ver) AS updated_at, max(ver) AS award_ver, max(ver) AS last_ver
    FROM points_awards
    GROUP BY tenant, user_id, system_key;

ALTER TABLE points_balances_awards_mv
    COMMENT COLUMN tenant 'Tenant; empty in an installation without tenants',
    COMMENT COLUMN user_id 'User id, as the producer gave it',
    COMMENT COLUMN system_key 'Key of the points system',
    COMMENT COLUMN feed 'awards',
    COMMENT COLUMN total 'State: total_after of the greatest ver',
    COMMENT COLUMN updated_at 'State: date of the greatest ver',
    COMMENT COLUMN award_ver 'Greatest ver',
    COMMENT COLUMN last_ver 'Greatest ver';

ALTER TABLE points_balances_levels_mv
    MODIFY QUERY SELECT tenant, user_id, system_key, CAST('levels', 'LowCardinality(String)') AS feed, argMaxState(CAST(level_key, 'String'), ver) AS level_key, max(ver) AS last_ver
    FROM level_changes
    GROUP BY tenant, user_id, system_key;

ALTER TABLE points_balances_levels_mv
    COMMENT COLUMN tenant 'Tenant; empty in an installation without tenants',
    COMMENT COLUMN user_id 'User id, as the producer gave it',
    COMMENT COLUMN system_key 'Key of the points system',
    COMMENT COLUMN feed 'levels',
    COMMENT COLUMN level_key 'State: level_key of the greatest ver',
    COMMENT COLUMN last_ver 'Greatest ver';
