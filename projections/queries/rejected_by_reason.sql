-- Refused records by reason, with the latest example of each.
-- parameters: tenant String = ''
SELECT reason, count() AS records, max(at) AS latest, argMax(message, at) AS example,
    argMax(concat(origin_topic, '-', toString(origin_partition), '@', toString(origin_offset)), at) AS where_it_stands
FROM rejected
WHERE tenant = {tenant:String} OR reason = 'undecodable_derived'
GROUP BY reason
ORDER BY records DESC, reason
