-- Connects that failed, and not because their caller gave up.
--
-- One row a connection that was never established.
--
-- @column time time  When its first SYN was sent; when connect was called where none was.
-- @column end_time time  When it had failed; as time where that is not known.
-- @column hop text  Both processes and the answering port, as `connections.hop`.
-- @column connect_outcome text  `refused` `timed_out` `reset` `unreachable` `failed`, as in `connections`.
-- @column connect_ns duration  end_time - time; null where that is not known.
-- @column syn_retransmits integer  SYNs sent again; null where that was not recorded.
-- @column src_addr text  Address of the requesting side.
-- @column src_port integer  Its port.
-- @column dst_addr text  Address of the answering side.
-- @column dst_port integer  Its port.
-- @column connection_id integer  `connections.connection_id`.
-- @column client_process_id integer  Process that waited for it.
SELECT opened_time AS time,
       arrow_cast(CAST(opened_time AS BIGINT) + coalesce(connect_ns, 0), 'Timestamp(Nanosecond, Some("UTC"))')
           AS end_time,
       hop,
       connect_outcome,
       connect_ns,
       syn_retransmits,
       src_addr,
       src_port,
       dst_addr,
       dst_port,
       connection_id,
       client_process_id
FROM connections
WHERE opened_time IS NOT NULL
  AND connect_outcome IN ('refused', 'timed_out', 'reset', 'unreachable', 'failed')
