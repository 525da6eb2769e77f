-- Users with the most points of a system (A111, A114).
-- parameters: tenant String = '', system String, limit UInt32 = 10
SELECT b.user_id, u.name, b.total, b.level_key
FROM points_balances AS b
LEFT JOIN users AS u ON u.tenant = b.tenant AND u.user_id = b.user_id
WHERE b.tenant = {tenant:String} AND b.system_key = {system:String}
ORDER BY b.total DESC, b.user_id
LIMIT {limit:UInt32}
