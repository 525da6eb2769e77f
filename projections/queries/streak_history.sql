-- Settled periods of a user's streak, latest first; periods without any chain have no row (S85, C35).
-- parameters: tenant String = '', user String, frequency String = 'daily', limit UInt32 = 7
SELECT period_start, period_end, length, outcome, used_freeze, used_pause, reset_at
FROM streak_periods
WHERE tenant = {tenant:String} AND user_id = {user:String} AND frequency = {frequency:String}
ORDER BY period_start DESC
LIMIT {limit:UInt32}
