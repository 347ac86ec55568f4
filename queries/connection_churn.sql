-- How many connections are opened and closed, over time.
--
-- Many short connections to one port mean that somebody does not reuse them, or that a pool is flushed: look for steps
-- that come back. One row for each interval in which something was opened or closed.
--
-- @param bucket duration = 10s  Length of an interval.
-- @param port integer = null  Only connections to this port.
-- @column time time  Start of the interval.
-- @column server_port integer  Port of the answering side.
-- @column opened integer  Connections opened.
-- @column closed integer  Connections closed.
-- @column median_life_ns duration  Median life of those closed, where the opening was seen.
WITH ends AS (
    SELECT CASE WHEN role = 'client' THEN remote_port ELSE local_port END AS server_port,
           opened_boot_ns,
           closed_boot_ns
    FROM sockets s
    WHERE role = 'client'
       OR (role = 'server' AND NOT EXISTS (
           SELECT 1 FROM sockets c
           WHERE c.role = 'client' AND c.netns = s.netns
             AND c.local_addr = s.remote_addr AND c.local_port = s.remote_port
             AND c.remote_addr = s.local_addr AND c.remote_port = s.local_port
             AND c.first_send_seq = s.first_receive_seq
       ))
),
happenings AS (
    SELECT server_port, opened_boot_ns AS boot_ns, 1 AS opened, 0 AS closed, NULL AS life_ns
    FROM ends WHERE opened_boot_ns IS NOT NULL
    UNION ALL
    SELECT server_port, closed_boot_ns, 0, 1, closed_boot_ns - opened_boot_ns
    FROM ends WHERE closed_boot_ns IS NOT NULL
)
SELECT wall_time(boot_ns / $bucket * $bucket) AS time,
       server_port,
       sum(opened) AS opened,
       sum(closed) AS closed,
       approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY life_ns) AS median_life_ns
FROM happenings
WHERE $port IS NULL OR server_port = $port
GROUP BY 1, 2
ORDER BY 1, 2
