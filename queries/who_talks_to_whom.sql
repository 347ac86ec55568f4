-- Who talks to whom: the map of processes and the ports between them.
--
-- One row for each pair of processes and port of the answering side. Where only one side was recorded, the other is an address.
-- Works for every protocol; `requests` counts those of protocols that are parsed.
--
-- @column client text  Process of the connecting side, or its address.
-- @column server text  Process of the accepting side, or its address.
-- @column server_port integer  Port of the accepting side.
-- @column connections integer  Connections.
-- @column discovered integer  Those that existed before the recording.
-- @column requests integer  Requests seen on them.
-- @column first_seen time  Opening of the first, null where all were there before.
-- @column last_closed time  Closing of the last that was closed.
WITH clients AS (
    SELECT s.*, p.comm FROM sockets s LEFT JOIN processes p ON p.process_id = s.process_id WHERE s.role = 'client'
),
servers AS (
    SELECT s.*, p.comm FROM sockets s LEFT JOIN processes p ON p.process_id = s.process_id WHERE s.role = 'server'
),
pairs AS (
    SELECT coalesce(c.comm, s.remote_addr) AS client,
           coalesce(s.comm, c.remote_addr) AS server,
           coalesce(c.remote_port, s.local_port) AS server_port,
           coalesce(c.socket_id, s.socket_id) AS socket_id,
           coalesce(c.discovered, s.discovered) AS discovered,
           coalesce(c.opened_boot_ns, s.opened_boot_ns) AS opened_boot_ns,
           coalesce(c.closed_boot_ns, s.closed_boot_ns) AS closed_boot_ns
    FROM clients c
    FULL JOIN servers s
      ON c.netns = s.netns
     AND c.local_addr = s.remote_addr AND c.local_port = s.remote_port
     AND c.remote_addr = s.local_addr AND c.remote_port = s.local_port
     AND c.first_send_seq = s.first_receive_seq
),
requests AS (
    SELECT socket_id, count(*) AS requests FROM messages WHERE direction = 'request' GROUP BY socket_id
)
SELECT client,
       server,
       server_port,
       count(*) AS connections,
       sum(CASE WHEN discovered THEN 1 ELSE 0 END) AS discovered,
       coalesce(sum(r.requests), 0) AS requests,
       wall_time(min(opened_boot_ns)) AS first_seen,
       wall_time(max(closed_boot_ns)) AS last_closed
FROM pairs p
LEFT JOIN requests r ON r.socket_id = p.socket_id
GROUP BY client, server, server_port
ORDER BY connections DESC, client, server, server_port
