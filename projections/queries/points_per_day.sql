-- Points earned and deducted per UTC date, dates without awards included (A113, P76, D7).
-- parameters: tenant String = '', system String, from Date, to Date
SELECT toDate(date) AS day, sumIf(awarded, awarded > 0) AS earned, -sumIf(awarded, awarded < 0) AS deducted
FROM points_awards
WHERE tenant = {tenant:String} AND system_key = {system:String} AND toDate32(date) BETWEEN {from:Date} AND {to:Date}
GROUP BY day
ORDER BY day WITH FILL FROM {from:Date} TO {to:Date} + 1
