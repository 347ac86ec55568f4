-- Handshakes that a listening socket dropped: mostly its listen queue was full, because the process did not accept.
--
-- One row an accept that found some. They were dropped at some time between the end of the accept before and that of this one, also those of
-- clients on other hosts, who send their SYN again after a second. Recorded with `--evidence tcp`.
--
-- @column time time  When an accept of the process returned before.
-- @column end_time time  When one returned again.
-- @column duration_ns duration  end_time - time: so long nobody accepted, if the queue was full all the time.
-- @column drops integer  Segments of handshakes that were dropped in between; of a SYN each time that it was sent.
-- @column process text  Name of the listening process.
-- @column local_addr text  Address that it listens on.
-- @column local_port integer  Port that it listens on.
-- @column socket_id integer  `sockets.socket_id` of the listening socket.
-- @column process_id integer  `processes.process_id` of the listening process.
SELECT wall_time(min(t.boot_ns - t.since_ns)) AS time,
       wall_time(min(t.boot_ns)) AS end_time,
       min(t.boot_ns) - min(t.boot_ns - t.since_ns) AS duration_ns,
       max(t.drops) AS drops,
       max(p.name) AS process,
       max(s.local_addr) AS local_addr,
       max(s.local_port) AS local_port,
       t.socket_id,
       max(coalesce(t.process_id, s.process_id)) AS process_id
FROM tcp t
LEFT JOIN sockets s ON s.socket_id = t.socket_id
LEFT JOIN processes p ON p.process_id = coalesce(t.process_id, s.process_id)
WHERE t.kind = 'listen_drop'
-- Two threads that accept at once may both have found the same.
GROUP BY t.socket_id, t.total_drops
