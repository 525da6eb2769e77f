-- Users with the longest streaks, running ones or the longest ever: type = active or longest (S84).
-- parameters: tenant String = '', frequency String = 'daily', type String = 'active', limit UInt32 = 10
SELECT s.user_id, u.name, if({type:String} = 'longest', s.longest, s.length) AS streak_length
FROM streak_state AS s
LEFT JOIN users AS u ON u.tenant = s.tenant AND u.user_id = s.user_id
WHERE s.tenant = {tenant:String} AND s.frequency = {frequency:String} AND streak_length >= 1
ORDER BY streak_length DESC, if({type:String} = 'longest', s.longest_at, s.extended_at), s.user_id
LIMIT {limit:UInt32}
