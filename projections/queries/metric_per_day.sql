-- Volume of a metric and active users per UTC date, dates without events included (A103, A104, D7).
-- parameters: tenant String = '', metric String, from Date, to Date
SELECT toDate(effective_at) AS day, sum(value) AS value, uniqExact(user_id) AS users
FROM metric_events
WHERE tenant = {tenant:String} AND metric_key = {metric:String} AND toDate32(effective_at) BETWEEN {from:Date} AND {to:Date}
GROUP BY day
ORDER BY day WITH FILL FROM {from:Date} TO {to:Date} + 1
