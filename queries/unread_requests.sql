-- How long requests lay unread: they had arrived, and their process was busy, stopped or without a CPU.
--
-- One row a process and port that answers. What lies unread is part of the client's own time and not of the server's, which begins
-- when the request was taken. Recorded with `--evidence arrivals`.
--
-- @param port integer = null  Only requests to this port.
-- @param late duration = 5ms  From how long on a request counts as late.
-- @column process text  Process that answers.
-- @column port integer  Its port.
-- @column requests integer  Requests of which it is known.
-- @column late integer  Those that lay unread for that long.
-- @column p50_ns duration  Median.
-- @column p99_ns duration  99th percentile.
-- @column worst_ns duration  The longest.
-- @column worst_time time  When that one was taken.
-- @column worst_trace_id text  Its trace.
WITH known AS (
    SELECT process, dst_port, queued_ns, start_time, trace_id
    FROM spans
    WHERE queued_ns IS NOT NULL AND ($port IS NULL OR dst_port = $port)
)
SELECT process,
       dst_port AS port,
       count(*) AS requests,
       count(*) FILTER (WHERE queued_ns >= $late) AS late,
       array_sort(array_agg(queued_ns))[CAST(ceil(0.5 * count(*)) AS BIGINT)] AS p50_ns,
       array_sort(array_agg(queued_ns))[CAST(ceil(0.99 * count(*)) AS BIGINT)] AS p99_ns,
       max(queued_ns) AS worst_ns,
       first_value(start_time ORDER BY queued_ns DESC) AS worst_time,
       first_value(trace_id ORDER BY queued_ns DESC) AS worst_trace_id
FROM known
GROUP BY process, dst_port
ORDER BY late DESC, worst_ns DESC
