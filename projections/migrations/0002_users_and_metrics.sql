-- Users, their metric events and totals (analytics.md section 1).

CREATE TABLE IF NOT EXISTS users_log
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    name Nullable(String) COMMENT 'Display name',
    email Nullable(String) COMMENT 'E-mail address',
    tz Nullable(String) COMMENT 'IANA zone or fixed offset +HH:MM; NULL: dates are UTC (N8)',
    attributes Map(LowCardinality(String), String) COMMENT 'User attributes',
    control Bool COMMENT 'Member of the control group of the experiment',
    created_at DateTime64(3, 'UTC') COMMENT 'When the user was first seen',
    updated_at DateTime64(3, 'UTC') COMMENT 'When a field last changed',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Every version of a user that merges have not dropped yet; query the view users instead';

CREATE TABLE IF NOT EXISTS metric_events
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    metric_key LowCardinality(String) COMMENT 'Key of the metric',
    effective_at DateTime64(3, 'UTC') COMMENT 'When it happened; years outside 1900-2299 are clamped to those',
    event_id String COMMENT 'Id of the input record',
    value Decimal(38, 9) COMMENT 'By how much the metric moved, exact',
    total_after Decimal(38, 9) COMMENT 'The total of this user and metric after the event, exact',
    attributes Map(LowCardinality(String), String) COMMENT 'Attributes of the event',
    local_date Date32 COMMENT 'Calendar date in the zone of the user when the event was applied (S7)',
    idempotency_key Nullable(String) COMMENT 'Idempotency key of the producer, if any',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, metric_key, effective_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Accepted metric events, one row each';

CREATE TABLE IF NOT EXISTS metric_totals_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    metric_key LowCardinality(String) COMMENT 'Key of the metric',
    total AggregateFunction(argMax, Decimal(38, 9), UInt64) COMMENT 'State: total_after of the greatest ver',
    updated_at AggregateFunction(argMax, DateTime64(3, 'UTC'), UInt64) COMMENT 'State: effective_at of the greatest ver'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, user_id, metric_key)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'States behind the view metric_totals; query that instead';

CREATE MATERIALIZED VIEW IF NOT EXISTS metric_totals_mv TO metric_totals_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    metric_key LowCardinality(String) COMMENT 'Key of the metric',
    total AggregateFunction(argMax, Decimal(38, 9), UInt64) COMMENT 'State: total_after of the greatest ver',
    updated_at AggregateFunction(argMax, DateTime64(3, 'UTC'), UInt64) COMMENT 'State: effective_at of the greatest ver'
)
AS SELECT tenant, user_id, metric_key, argMaxState(total_after, ver) AS total, argMaxState(effective_at, ver) AS updated_at
FROM metric_events
GROUP BY tenant, user_id, metric_key
COMMENT 'Feeds metric_totals_rollup from metric_events';

CREATE VIEW IF NOT EXISTS metric_totals
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    metric_key LowCardinality(String) COMMENT 'Key of the metric',
    total Decimal(38, 9) COMMENT 'Current total, exact',
    updated_at DateTime64(3, 'UTC') COMMENT 'When the latest event of the metric happened, in log order'
)
AS SELECT tenant, user_id, metric_key, argMaxMerge(total) AS total, argMaxMerge(updated_at) AS updated_at
FROM metric_totals_rollup
GROUP BY tenant, user_id, metric_key
COMMENT 'Current total of every user and metric, one row each';

CREATE TABLE IF NOT EXISTS user_activity_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    first_event_at SimpleAggregateFunction(min, Nullable(DateTime64(3, 'UTC'))) COMMENT 'Earliest effective_at of a metric event',
    last_event_at SimpleAggregateFunction(max, Nullable(DateTime64(3, 'UTC'))) COMMENT 'Latest effective_at of a metric event'
)
ENGINE = AggregatingMergeTree
ORDER BY (tenant, user_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
COMMENT 'First and last event of every user, behind the view users; query that instead';

CREATE MATERIALIZED VIEW IF NOT EXISTS user_activity_mv TO user_activity_rollup
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    first_event_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Earliest effective_at of a metric event',
    last_event_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Latest effective_at of a metric event'
)
AS SELECT tenant, user_id, min(effective_at) AS first_event_at, max(effective_at) AS last_event_at
FROM metric_events
GROUP BY tenant, user_id
COMMENT 'Feeds user_activity_rollup from metric_events';

CREATE VIEW IF NOT EXISTS users
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    name Nullable(String) COMMENT 'Display name',
    email Nullable(String) COMMENT 'E-mail address',
    tz Nullable(String) COMMENT 'IANA zone or fixed offset +HH:MM; NULL: dates are UTC (N8)',
    attributes Map(LowCardinality(String), String) COMMENT 'User attributes, current values',
    control Bool COMMENT 'Member of the control group of the experiment',
    created_at DateTime64(3, 'UTC') COMMENT 'When the user was first seen',
    first_event_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Earliest metric event; NULL: none',
    last_event_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Latest metric event; NULL: none'
)
AS SELECT u.tenant AS tenant, u.user_id AS user_id, u.name AS name, u.email AS email, u.tz AS tz, u.attributes AS attributes,
    u.control AS control, u.created_at AS created_at, a.first_event_at AS first_event_at, a.last_event_at AS last_event_at
FROM (SELECT * FROM users_log FINAL) AS u
LEFT JOIN
(
    SELECT tenant, user_id, min(first_event_at) AS first_event_at, max(last_event_at) AS last_event_at
    FROM user_activity_rollup
    GROUP BY tenant, user_id
) AS a ON a.tenant = u.tenant AND a.user_id = u.user_id
COMMENT 'Users with their current fields, one row each';
