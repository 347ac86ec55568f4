-- Connections whose SYN was sent again: the listener did not take it, or the network lost it.
--
-- One row a connection. Recorded with `--evidence tcp`.
--
-- @column time time  When its first SYN was sent.
-- @column end_time time  When it was established or had failed; as time where that is not known.
-- @column hop text  Both processes and the answering port, as `connections.hop`.
-- @column syn_retransmits integer  SYNs sent again.
-- @column connect_ns duration  end_time - time; null where that is not known.
-- @column connect_outcome text  What became of it, as `connections.connect_outcome`.
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
       syn_retransmits,
       connect_ns,
       connect_outcome,
       src_addr,
       src_port,
       dst_addr,
       dst_port,
       connection_id,
       client_process_id
FROM connections
WHERE opened_time IS NOT NULL AND syn_retransmits > 0
