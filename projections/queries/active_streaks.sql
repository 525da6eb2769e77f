-- Running streaks, their average length and the longest ever, by frequency (A126).
-- parameters: tenant String = ''
SELECT frequency, countIf(length >= 1) AS active, round(avgIf(length, length >= 1), 2) AS average, max(longest) AS longest_ever
FROM streak_state
WHERE tenant = {tenant:String}
GROUP BY frequency
ORDER BY frequency
