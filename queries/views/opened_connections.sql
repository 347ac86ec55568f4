-- Connections that were opened during the recording.
--
-- One row a connection. Those to a name server are in `name_server_connections`.
--
-- @column time time  When the first recorded end was opened.
-- @column hop text  Both processes and the answering port, as `connections.hop`.
-- @column connect_ns duration  How long it took to be established or to fail; null where not recorded.
-- @column connect_outcome text  What became of it, as `connections.connect_outcome`.
-- @column src_addr text  Address of the requesting side.
-- @column src_port integer  Its port.
-- @column dst_addr text  Address of the answering side.
-- @column dst_port integer  Its port.
-- @column connection_id integer  `connections.connection_id`.
-- @column client_process_id integer  Process of the requesting side.
-- @column server_process_id integer  Process of the answering side.
SELECT opened_time AS time,
       hop,
       connect_ns,
       connect_outcome,
       src_addr,
       src_port,
       dst_addr,
       dst_port,
       connection_id,
       client_process_id,
       server_process_id
FROM connections
WHERE opened_time IS NOT NULL AND dst_port <> 53
