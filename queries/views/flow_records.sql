-- What each recorded end of a TCP connection moved, what it waited for and how it ended: one flow record an end.
--
-- One row a socket of which the kernel's counters were read (`flows`), with the last that were. The counters count from the
-- connection's begin, be it before the recording. Of a connection that is open at the end they are at most about ten seconds older
-- than its last data, and there are none of one that moved data for less long. Recorded with `--evidence tcp`.
--
-- @column time time  When the socket was opened; null where that was before the recording.
-- @column end_time time  When it closed; null where it was open at the end.
-- @column duration_ns duration  end_time - time.
-- @column read_time time  When the counters were read.
-- @column side text  `client` (it connected) or `server` (it was accepted), `unknown` where neither was seen.
-- @column hop text  Both processes and the answering port, as `connections.hop`; null where the connection moved nothing.
-- @column process text  Process that the socket belongs to, as `processes.name`.
-- @column cgroup text  Its cgroup: the container or unit.
-- @column local_addr text  Local address.
-- @column local_port integer  Local port.
-- @column remote_addr text  Remote address.
-- @column remote_port integer  Remote port.
-- @column sent_bytes integer  Bytes of data sent, without those sent again.
-- @column retransmitted_bytes integer  Bytes of data sent again.
-- @column received_bytes integer  Bytes received in order; a FIN counts as one.
-- @column sent_segments integer  Segments sent, all of them.
-- @column retransmitted_segments integer  Segments sent again.
-- @column received_segments integer  Segments received.
-- @column min_rtt_us integer  Least round-trip time, us.
-- @column mean_rtt_us number  Mean of the samples, us.
-- @column max_rtt_us integer  Largest sample, us.
-- @column busy_ns duration  Time in which data was under way or waited.
-- @column receiver_limited_ns duration  Part of it in which the receiver's window was full: the other end did not read.
-- @column buffer_limited_ns duration  Part of it in which this end's send buffer was full.
-- @column closed_by text  `client` or `server`, as `connections.closed_by`.
-- @column close_kind text  `fin`, `rst` or `timeout`.
-- @column connection_id integer  `connections.connection_id`.
-- @column socket_id integer  `sockets.socket_id`.
-- @column process_id integer  `processes.process_id`.
WITH numbered AS (
    SELECT *, row_number() OVER (PARTITION BY socket_id ORDER BY boot_ns DESC, seq DESC) AS place
    FROM flows
),
rtts AS (
    SELECT socket_id, rtt_us
    FROM tcp
    WHERE kind = 'rtt' AND rtt_us IS NOT NULL
    UNION ALL
    SELECT socket_id, rtt_us
    FROM flows
    WHERE rtt_us IS NOT NULL
),
samples AS (
    SELECT socket_id, min(rtt_us) AS least_us, avg(rtt_us) AS mean_us, max(rtt_us) AS most_us
    FROM rtts
    GROUP BY socket_id
),
ends AS (
    SELECT client_socket_id AS socket_id, hop, closed_by, close_kind, connection_id
    FROM connections
    WHERE client_socket_id IS NOT NULL
    UNION ALL
    SELECT server_socket_id AS socket_id, hop, closed_by, close_kind, connection_id
    FROM connections
    WHERE server_socket_id IS NOT NULL
)
SELECT wall_time(sockets.opened_boot_ns) AS time,
       wall_time(sockets.closed_boot_ns) AS end_time,
       sockets.closed_boot_ns - sockets.opened_boot_ns AS duration_ns,
       wall_time(f.boot_ns) AS read_time,
       sockets.role AS side,
       ends.hop,
       processes.name AS process,
       processes.cgroup,
       sockets.local_addr,
       sockets.local_port,
       sockets.remote_addr,
       sockets.remote_port,
       f.sent_bytes - f.retransmitted_bytes AS sent_bytes,
       f.retransmitted_bytes,
       f.received_bytes,
       f.sent_segments,
       f.retransmitted_segments,
       f.received_segments,
       least(f.min_rtt_us, samples.least_us) AS min_rtt_us,
       samples.mean_us AS mean_rtt_us,
       samples.most_us AS max_rtt_us,
       f.busy_ns,
       f.receiver_limited_ns,
       f.buffer_limited_ns,
       ends.closed_by,
       ends.close_kind,
       ends.connection_id,
       f.socket_id,
       coalesce(f.process_id, sockets.process_id) AS process_id
FROM numbered f
JOIN sockets ON sockets.socket_id = f.socket_id
LEFT JOIN processes ON processes.process_id = coalesce(f.process_id, sockets.process_id)
LEFT JOIN samples ON samples.socket_id = f.socket_id
LEFT JOIN ends ON ends.socket_id = f.socket_id
WHERE f.place = 1
