-- Connections that waited in the listen queue until the answering process accepted them.
--
-- One row a connection that waited for more than 5 ms: a busy process takes that long to accept, and nothing
-- is wrong.
--
-- @column time time  When it was established.
-- @column end_time time  When accept returned.
-- @column duration_ns duration  end_time - time.
-- @column hop text  Both processes and the answering port, as `connections.hop`.
-- @column src_addr text  Address of the requesting side.
-- @column src_port integer  Its port.
-- @column dst_addr text  Address of the answering side.
-- @column dst_port integer  Its port.
-- @column connection_id integer  `connections.connection_id`.
-- @column client_process_id integer  Process that waited for it.
-- @column server_process_id integer  Process that accepted it.
WITH established AS (
    SELECT *, CAST(opened_time AS BIGINT) + coalesce(connect_ns, 0) AS established_ns
    FROM connections
    WHERE opened_time IS NOT NULL AND accept_wait_ns > 5000000
)
SELECT arrow_cast(established_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS time,
       arrow_cast(established_ns + accept_wait_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS end_time,
       accept_wait_ns AS duration_ns,
       hop,
       src_addr,
       src_port,
       dst_addr,
       dst_port,
       connection_id,
       client_process_id,
       server_process_id
FROM established
