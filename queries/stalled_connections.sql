-- Connections that could not send: the other end did not read, or segments had to be sent again.
--
-- One row a recorded end. `receiver_limited_ns` is time in which the other end's window was full, because its program did not read;
-- `buffer_limited_ns` time in which this end's own send buffer was full. Recorded with `--evidence tcp`.
--
-- @param port integer = null  Only connections to this port.
-- @param at_least duration = 100ms  Only ends that waited for the other one or for their buffer for this long, or sent segments again.
-- @column hop text  Both processes and the answering port.
-- @column side text  The end that could not send.
-- @column local_addr text  Its address.
-- @column local_port integer  Its port.
-- @column remote_addr text  Address of the other end.
-- @column remote_port integer  Its port.
-- @column receiver_limited_ns duration  Time in which the other end did not read.
-- @column buffer_limited_ns duration  Time in which the send buffer was full.
-- @column busy_ns duration  Time in which data was under way or waited.
-- @column retransmitted_segments integer  Segments sent again.
-- @column sent_segments integer  Segments sent.
-- @column sent_bytes integer  Bytes of data sent, without those sent again.
-- @column max_rtt_us integer  Largest sample of the round-trip time, us.
-- @column time time  When it was opened; null where that was before the recording.
-- @column end_time time  When it closed; null where it was open at the end.
-- @column connection_id integer  `connections.connection_id`.
SELECT hop,
       side,
       local_addr,
       local_port,
       remote_addr,
       remote_port,
       receiver_limited_ns,
       buffer_limited_ns,
       busy_ns,
       retransmitted_segments,
       sent_segments,
       sent_bytes,
       max_rtt_us,
       time,
       end_time,
       connection_id
FROM flow_records
WHERE (coalesce(receiver_limited_ns, 0) + coalesce(buffer_limited_ns, 0) >= $at_least OR retransmitted_segments > 0)
  AND ($port IS NULL OR local_port = $port OR remote_port = $port)
ORDER BY coalesce(receiver_limited_ns, 0) + coalesce(buffer_limited_ns, 0) DESC, retransmitted_segments DESC, connection_id
