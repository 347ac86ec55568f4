-- Times that a process closed five connections or more at once: a reload, a listener that was replaced, a pool that was emptied.
--
-- One row a process and burst: connections that it closed first, each within 100 ms of the one before. A process that closes
-- after every answer has long bursts, or one that never ends: look at `connections` and `duration_ns`.
--
-- @column time time  When its own end of the first of them was gone (the peer's, where only that was recorded).
-- @column end_time time  When the last one was.
-- @column duration_ns duration  end_time - time.
-- @column connections integer  Connections closed.
-- @column resets integer  Those of them that ended with RST.
-- @column peers integer  Processes or addresses at their other ends.
-- @column process text  Name of the process that closed them.
-- @column process_id integer  `processes.process_id`.
WITH closed AS (
    -- The peer may notice much later, when it wants to use the connection.
    SELECT coalesce(CAST(wall_time(s.closed_boot_ns) AS BIGINT), CAST(c.closed_time AS BIGINT)) AS at_ns,
           CASE c.closed_by WHEN 'client' THEN c.client_process_id ELSE c.server_process_id END AS process_id,
           CASE c.closed_by WHEN 'client' THEN coalesce(c.server_service, c.dst_addr)
                            ELSE coalesce(c.client_service, c.src_addr) END AS peer,
           c.close_kind
    FROM connections c
    LEFT JOIN sockets s ON s.socket_id
        = CASE c.closed_by WHEN 'client' THEN c.client_socket_id ELSE c.server_socket_id END
    WHERE c.closed_by IN ('client', 'server')
),
steps AS (
    SELECT at_ns, process_id, peer, close_kind,
           CASE WHEN at_ns - lag(at_ns) OVER (PARTITION BY process_id ORDER BY at_ns) < 100000000 THEN 0 ELSE 1 END AS begins
    FROM closed
    WHERE process_id IS NOT NULL AND at_ns IS NOT NULL
),
bursts AS (
    SELECT at_ns, process_id, peer, close_kind,
           sum(begins) OVER (PARTITION BY process_id ORDER BY at_ns ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS burst
    FROM steps
)
SELECT arrow_cast(min(b.at_ns), 'Timestamp(Nanosecond, Some("UTC"))') AS time,
       arrow_cast(max(b.at_ns), 'Timestamp(Nanosecond, Some("UTC"))') AS end_time,
       max(b.at_ns) - min(b.at_ns) AS duration_ns,
       count(*) AS connections,
       count(*) FILTER (WHERE b.close_kind = 'rst') AS resets,
       count(DISTINCT b.peer) AS peers,
       max(p.name) AS process,
       b.process_id
FROM bursts b
JOIN processes p ON p.process_id = b.process_id
GROUP BY b.process_id, b.burst
HAVING count(*) >= 5
