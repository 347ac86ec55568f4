-- How many connections are opened and closed, over time.
--
-- Many short connections to one port mean that somebody does not reuse them, or that a pool is flushed: look for steps
-- that come back. One row for each interval in which something was opened or closed.
--
-- @param bucket duration:>0 = 10s  Length of an interval.
-- @param port integer = null  Only connections to this port.
-- @column time time  Start of the interval.
-- @column server_port integer  Port of the answering side.
-- @column opened integer  Connections opened.
-- @column closed integer  Connections closed.
-- @column closed_by_client integer  Those of them that the requesting side closed first.
-- @column reset integer  Those of them that ended with RST.
-- @column median_life_ns duration  Median life of those closed, where the opening was seen.
WITH happenings AS (
    SELECT dst_port, CAST(opened_time AS BIGINT) AS at_ns, 1 AS opened, 0 AS closed,
           NULL AS closed_by, NULL AS close_kind, CAST(NULL AS BIGINT) AS life_ns
    FROM connections
    WHERE opened_time IS NOT NULL
    UNION ALL
    SELECT dst_port, CAST(closed_time AS BIGINT), 0, 1,
           closed_by, close_kind, CAST(closed_time AS BIGINT) - CAST(opened_time AS BIGINT)
    FROM connections
    WHERE closed_time IS NOT NULL
),
intervals AS (
    SELECT at_ns / $bucket * $bucket AS begin_ns,
           dst_port,
           sum(opened) AS opened,
           sum(closed) AS closed,
           count(*) FILTER (WHERE closed_by = 'client') AS closed_by_client,
           count(*) FILTER (WHERE close_kind = 'rst') AS reset,
           array_sort(array_agg(life_ns) FILTER (WHERE life_ns IS NOT NULL)) AS lives
    FROM happenings
    WHERE $port IS NULL OR dst_port = $port
    GROUP BY 1, 2
)
SELECT arrow_cast(begin_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS time,
       dst_port AS server_port,
       opened,
       closed,
       closed_by_client,
       reset,
       lives[CAST(ceil(0.5 * array_length(lives)) AS BIGINT)] AS median_life_ns
FROM intervals
ORDER BY 1, 2
