-- Streaks (analytics.md section 1).

CREATE TABLE IF NOT EXISTS streak_state_log
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    frequency LowCardinality(String) COMMENT 'daily, weekly or monthly',
    length Int64 COMMENT 'Current length in periods',
    started Nullable(Date32) COMMENT 'Local date on which the chain began; NULL: no chain',
    extended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the chain last grew',
    period_start Date32 COMMENT 'First local date of the open period',
    period_end Date32 COMMENT 'Last local date of the open period',
    period_met Bool COMMENT 'Whether the open period is met already',
    longest Int64 COMMENT 'Greatest length ever',
    longest_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the greatest length was reached',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, frequency)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Every state of a chain that merges have not dropped yet; query the view streak_state instead';

CREATE VIEW IF NOT EXISTS streak_state
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    frequency LowCardinality(String) COMMENT 'daily, weekly or monthly',
    length Int64 COMMENT 'Current length in periods',
    started Nullable(Date32) COMMENT 'Local date on which the chain began; NULL: no chain',
    extended_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the chain last grew',
    period_start Date32 COMMENT 'First local date of the open period',
    period_end Date32 COMMENT 'Last local date of the open period',
    period_met Bool COMMENT 'Whether the open period is met already',
    longest Int64 COMMENT 'Greatest length ever',
    longest_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the greatest length was reached'
)
AS SELECT tenant, user_id, frequency, length, started, extended_at, period_start, period_end, period_met, longest, longest_at
FROM streak_state_log FINAL
COMMENT 'Current state of every chain, one row per user and frequency; chains that never began have none';

CREATE TABLE IF NOT EXISTS streak_periods_log
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    frequency LowCardinality(String) COMMENT 'daily, weekly or monthly',
    period_start Date32 COMMENT 'First local date of the period',
    period_end Date32 COMMENT 'Last local date of the period',
    length Int64 COMMENT 'Length of the chain at the end of the period',
    outcome LowCardinality(String) COMMENT 'met, frozen, paused, day_off, bridged, lost or reset',
    used_freeze Bool COMMENT 'A freeze saved the period',
    used_pause Bool COMMENT 'A pause covered the period',
    day_off Bool COMMENT 'The period was a day off',
    bridged Bool COMMENT 'The period did not exist in the zone (S10)',
    reset_at Nullable(DateTime64(3, 'UTC')) COMMENT 'If the outcome is reset: the time that the event carries',
    repaired Bool COMMENT 'Written again by a late record, a refund or a restore',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, frequency, period_start)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Every settlement of a period that merges have not dropped yet; query the view streak_periods instead';

CREATE VIEW IF NOT EXISTS streak_periods
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    frequency LowCardinality(String) COMMENT 'daily, weekly or monthly',
    period_start Date32 COMMENT 'First local date of the period',
    period_end Date32 COMMENT 'Last local date of the period',
    length Int64 COMMENT 'Length of the chain at the end of the period',
    outcome LowCardinality(String) COMMENT 'met, frozen, paused, day_off, bridged, lost or reset',
    used_freeze Bool COMMENT 'A freeze saved the period',
    used_pause Bool COMMENT 'A pause covered the period',
    day_off Bool COMMENT 'The period was a day off',
    bridged Bool COMMENT 'The period did not exist in the zone (S10)',
    reset_at Nullable(DateTime64(3, 'UTC')) COMMENT 'If the outcome is reset: the time that the event carries',
    repaired Bool COMMENT 'Written again by a late record, a refund or a restore'
)
AS SELECT tenant, user_id, frequency, period_start, period_end, length, outcome, used_freeze, used_pause, day_off, bridged, reset_at, repaired
FROM streak_periods_log FINAL
COMMENT 'Settled periods as they stand now, one row per user, frequency and period; periods without any chain have none (C35)';

CREATE TABLE IF NOT EXISTS streak_freezes
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    at DateTime64(3, 'UTC') COMMENT 'When the balance changed',
    change_id String COMMENT 'Id of the derived event',
    delta Int64 COMMENT 'By how many freezes; negative: consumed',
    reason LowCardinality(String) COMMENT 'initial, auto, admin, refund or consumed',
    balance Int64 COMMENT 'Freezes after the change',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, at, change_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Changes of freeze balances, one row each';

CREATE TABLE IF NOT EXISTS streak_events
(
    tenant LowCardinality(String) COMMENT 'Tenant; empty in an installation without tenants',
    user_id String COMMENT 'User id, as the producer gave it',
    at DateTime64(3, 'UTC') COMMENT 'Time that the event carries (S9)',
    event_id String COMMENT 'Id of the derived event',
    kind LowCardinality(String) COMMENT 'started, extended or lost',
    frequency LowCardinality(String) COMMENT 'daily, weekly or monthly',
    length Int64 COMMENT 'Length after the change; for lost the length that was lost',
    cause LowCardinality(String) COMMENT 'event, late_event, settlement or admin (S92)',
    reason LowCardinality(String) COMMENT 'For lost: missed or reset (S92)',
    src_topic LowCardinality(String) COMMENT 'Topic of the record that this row comes from',
    src_part UInt32 COMMENT 'Partition of that record',
    src_off UInt64 COMMENT 'Offset of that record',
    ver UInt64 COMMENT 'Version: grows with the log of the user, epoch * 2^48 + src_off + 1; the row with the greatest is the latest'
)
ENGINE = ReplacingMergeTree(ver)
ORDER BY (tenant, user_id, at, event_id)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 2048
COMMENT 'Public streak events of the active frequency, one row each';
