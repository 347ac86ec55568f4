-- Who moves the most bytes, whatever the protocol.
--
-- Counts what the system calls moved, so it needs no parser and sees encrypted traffic too. A process that was
-- recorded at both ends of a connection shows up once for each end.
--
-- @param limit integer:>=0 = 20  Rows.
-- @column process text  Process.
-- @column role text  `client` (it connected), `server` (it accepted), `unknown`.
-- @column peer text  The other side: address and port of the server, or the address of the client.
-- @column connections integer  Sockets with traffic.
-- @column sent_bytes bytes  Bytes written.
-- @column received_bytes bytes  Bytes read.
-- @column sends integer  Calls that wrote.
-- @column receives integer  Calls that read.
-- @column errors integer  Calls of either kind that failed.
WITH calls AS (
    SELECT socket_id, kind, sum(done_bytes) AS bytes, count(*) AS calls, count(*) FILTER (WHERE errno <> 0) AS errors
    FROM events
    WHERE kind IN ('send', 'receive')
    GROUP BY socket_id, kind
),
traffic AS (
    SELECT socket_id,
           sum(CASE WHEN kind = 'send' THEN bytes ELSE 0 END) AS sent_bytes,
           sum(CASE WHEN kind = 'receive' THEN bytes ELSE 0 END) AS received_bytes,
           sum(CASE WHEN kind = 'send' THEN calls ELSE 0 END) AS sends,
           sum(CASE WHEN kind = 'receive' THEN calls ELSE 0 END) AS receives,
           sum(errors) AS errors
    FROM calls
    GROUP BY socket_id
)
SELECT coalesce(p.name, '?') AS process,
       s.role,
       CASE WHEN s.role = 'server' THEN s.remote_addr ELSE concat(s.remote_addr, ':', s.remote_port) END AS peer,
       count(*) AS connections,
       sum(t.sent_bytes) AS sent_bytes,
       sum(t.received_bytes) AS received_bytes,
       sum(t.sends) AS sends,
       sum(t.receives) AS receives,
       sum(t.errors) AS errors
FROM traffic t
JOIN sockets s ON s.socket_id = t.socket_id
LEFT JOIN processes p ON p.process_id = s.process_id
GROUP BY 1, 2, 3
ORDER BY sum(t.sent_bytes) + sum(t.received_bytes) DESC, 1, 2, 3
LIMIT $limit
