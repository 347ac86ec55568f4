-- Stretches with more bad requests than ordinary, by stream and metric.
--
-- What `retrospan spikes` looks for periods in. The same trouble shows in every stream that passes through it; the hop nearest to the
-- cause is usually the quickest of those.
--
-- @param metric text:latency|errors|client_closed|missing = latency  What is counted.
-- @param grouping text:hop|service|route|peer|connection = hop  What requests are grouped by.
-- @param limit integer:>=0 = 200  Rows, by time.
-- @column stream text  The hop, service ...
-- @column onset time  Begin; of a freeze when it froze.
-- @column duration_ns duration  Until its end.
-- @column requests integer  Requests that began in it.
-- @column affected number  Bad ones beyond the ordinary share.
-- @column excess_s number  What they took beyond the ordinary, s.
-- @column lossy text  `yes` where events were lost in it or beside it.
SELECT stream,
       onset,
       CAST(end_time AS BIGINT) - CAST(onset AS BIGINT) AS duration_ns,
       requests,
       affected,
       excess_s,
       CASE WHEN lossy THEN 'yes' ELSE 'no' END AS lossy
FROM episodes()
WHERE metric = $metric AND "by" = $grouping
ORDER BY onset, stream
LIMIT $limit
