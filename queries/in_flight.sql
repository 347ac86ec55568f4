-- How many requests are in flight at once, over time.
--
-- Requests that pile up at one hop and not at the next wait there. `peak` is the most at any moment of the interval,
-- `at_end` what is left at its end. Intervals in which nothing begins or ends are left out, so a
-- standstill is a gap between two rows.
--
-- @param bucket duration:>0 = 1s  Length of an interval.
-- @param kind text:server|client = server  The side whose requests count.
-- @param process text = null  Only processes of this name.
-- @column time time  Start of the interval.
-- @column process text  Process.
-- @column destination text  Address and port of the answering side.
-- @column peak integer  Most in flight.
-- @column at_end integer  In flight at the end of the interval.
-- @column started integer  Requests that began.
-- @column ended integer  Requests that ended.
WITH steps AS (
    SELECT process, dst_addr, dst_port, CAST(start_time AS BIGINT) AS at_ns, 1 AS step
    FROM spans
    WHERE kind = $kind AND ($process IS NULL OR process = $process)
    UNION ALL
    SELECT process, dst_addr, dst_port, CAST(end_time AS BIGINT), -1
    FROM spans
    WHERE kind = $kind AND ($process IS NULL OR process = $process)
),
running AS (
    SELECT process, dst_addr, dst_port, at_ns, step,
           sum(step) OVER (
               PARTITION BY process, dst_addr, dst_port
               ORDER BY at_ns, step DESC
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
           ) AS in_flight
    FROM steps
)
SELECT arrow_cast(at_ns / $bucket * $bucket, 'Timestamp(Nanosecond, Some("UTC"))') AS time,
       process,
       concat_ws(':', dst_addr, CAST(dst_port AS VARCHAR)) AS destination,
       max(in_flight) AS peak,
       CAST(sum(sum(step)) OVER (PARTITION BY process, dst_addr, dst_port ORDER BY at_ns / $bucket) AS BIGINT) AS at_end,
       sum(CASE WHEN step = 1 THEN 1 ELSE 0 END) AS started,
       sum(CASE WHEN step = -1 THEN 1 ELSE 0 END) AS ended
FROM running
GROUP BY at_ns / $bucket, process, dst_addr, dst_port
ORDER BY time, process, destination
