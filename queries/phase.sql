-- Latency by phase of a period: what comes back stands out at one phase, what does not is spread out.
--
-- Folds all requests on the period, from `--origin-s` (seconds since 1970 UTC; any moment will do) on.
--
-- @param period duration:>0 = 600s  The period.
-- @param origin_s number = 0  Where phase 0 is, s since 1970 UTC.
-- @param bins integer:>=1 = 40  Parts of the period.
-- @param kind text:server|client = server  The side whose requests count.
-- @param process text = null  Only this process.
-- @column phase ratio  Begin of the part, share of the period.
-- @column requests integer  Requests that began in it.
-- @column failed integer  Those that did not end well.
-- @column p50_ns number  Median, ns (within one percent).
-- @column p99_ns number  99th percentile, ns.
-- @column max_ns duration  Longest.
WITH folded AS (
    SELECT CAST(floor(fold_phase(start_time, CAST($period AS DOUBLE) / 1e9, CAST($origin_s * 1000000000 AS BIGINT)) * $bins) AS BIGINT) AS part,
           duration_ns,
           outcome
    FROM spans
    WHERE kind = $kind AND ($process IS NULL OR process = $process)
),
parts AS (
    SELECT part,
           count(*) AS requests,
           sum(CASE WHEN outcome <> 'ok' THEN 1 ELSE 0 END) AS failed,
           latency_sketch(duration_ns) AS sketch,
           max(duration_ns) AS max_ns
    FROM folded
    GROUP BY part
)
SELECT CAST(part AS DOUBLE) / $bins AS phase,
       requests,
       failed,
       sketch_quantile(sketch, 0.5) AS p50_ns,
       sketch_quantile(sketch, 0.99) AS p99_ns,
       max_ns
FROM parts
ORDER BY part
