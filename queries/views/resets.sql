-- Resets that were sent or received.
--
-- One row a reset and recorded side. Recorded with `--evidence tcp`.
--
-- @column time time  When it was sent, or came.
-- @column kind text  `reset_sent` or `reset_received`.
-- @column hop text  Both processes and the answering port, as `connections.hop`; null where not known.
-- @column connection_id integer  `connections.connection_id`.
-- @column socket_id integer  `sockets.socket_id` of the side that recorded it.
-- @column process_id integer  `processes.process_id` of that side.
SELECT wall_time(t.boot_ns) AS time,
       t.kind,
       coalesce(c.hop, s.hop) AS hop,
       coalesce(c.connection_id, s.connection_id) AS connection_id,
       t.socket_id,
       t.process_id
FROM tcp t
LEFT JOIN connections c ON c.client_socket_id = t.socket_id
LEFT JOIN connections s ON s.server_socket_id = t.socket_id
WHERE t.kind IN ('reset_sent', 'reset_received')
