-- Latest awards of a user, newest first (A109).
-- parameters: tenant String = '', user String, limit UInt32 = 100
SELECT date, system_key, awarded, total_after, trigger_type, trigger_id, base, boosts, cause_type, cause_id
FROM points_awards
WHERE tenant = {tenant:String} AND user_id = {user:String}
ORDER BY date DESC, ver DESC
LIMIT {limit:UInt32}
