-- Streaks of some users, longest first; unknown users are left out (S83).
-- parameters: tenant String = '', frequency String = 'daily', users Array(String)
SELECT u.user_id, s.length AS streak_length, if(s.length >= 1, s.extended_at, NULL) AS extended
FROM users AS u
LEFT JOIN (SELECT * FROM streak_state WHERE frequency = {frequency:String}) AS s ON s.tenant = u.tenant AND s.user_id = u.user_id
WHERE u.tenant = {tenant:String} AND has({users:Array(String)}, u.user_id)
ORDER BY streak_length DESC, extended, u.user_id
