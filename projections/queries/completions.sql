-- Completions and rarity of every achievement: rarity in percent of all users (A118, A27).
-- parameters: tenant String = ''
SELECT achievement_id, any(achievement_name) AS name, count() AS completions,
    round(100 * completions / (SELECT count() FROM users WHERE tenant = {tenant:String}), 2) AS rarity
FROM achievement_completions
WHERE tenant = {tenant:String}
GROUP BY achievement_id
ORDER BY completions DESC, achievement_id
