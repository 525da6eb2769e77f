-- Current totals of a user (A101).
-- parameters: tenant String = '', user String
SELECT metric_key, total, updated_at
FROM metric_totals
WHERE tenant = {tenant:String} AND user_id = {user:String}
ORDER BY metric_key
