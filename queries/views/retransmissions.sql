-- Segments that were sent again.
--
-- One row a segment. A SYN that was sent again is in `syn_retransmissions`. Recorded with `--evidence tcp`.
--
-- @column time time  When it was sent again.
-- @column hop text  Both processes and the answering port, as `connections.hop`; null where not known.
-- @column tcp_seq integer  Raw sequence number of its first byte.
-- @column bytes bytes  Sequence numbers sent again.
-- @column connection_id integer  `connections.connection_id`.
-- @column socket_id integer  `sockets.socket_id` of the sending side.
-- @column process_id integer  `processes.process_id` of the sending side.
SELECT wall_time(t.boot_ns) AS time,
       coalesce(c.hop, s.hop) AS hop,
       t.tcp_seq,
       t.bytes,
       coalesce(c.connection_id, s.connection_id) AS connection_id,
       t.socket_id,
       t.process_id
FROM tcp t
LEFT JOIN connections c ON c.client_socket_id = t.socket_id
LEFT JOIN connections s ON s.server_socket_id = t.socket_id
WHERE t.kind = 'retransmit' AND coalesce(t.tcp_state, 0) <> 2 -- 2: SYN_SENT
