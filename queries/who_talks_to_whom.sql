-- Who talks to whom: the map of processes and the ports between them.
--
-- One row for each pair of processes and port of the answering side; where a side was not recorded its address stands for it.
-- Works for every protocol; `requests` counts those of protocols that are parsed.
--
-- Of a recording of one connection in so many (`--sample`) the numbers are scaled to all.
--
-- @column client text  Process of the requesting side, or its address.
-- @column server text  Process of the answering side, or its address.
-- @column server_port integer  Port of the answering side.
-- @column connections integer  Connections with at least one event.
-- @column discovered integer  Those that existed before the recording.
-- @column requests integer  Requests seen on them.
-- @column bytes_to_server bytes  Bytes to the answering side.
-- @column bytes_to_client bytes  Bytes back.
-- @column first_time time  First event.
-- @column last_time time  Last event.
SELECT coalesce(client.name, c.src_addr, '?') AS client,
       coalesce(server.name, c.dst_addr, '?') AS server,
       c.dst_port AS server_port,
       sum(c.sampled_one_in) AS connections,
       coalesce(sum(c.sampled_one_in) FILTER (WHERE c.discovered), 0) AS discovered,
       sum(c.requests * c.sampled_one_in) AS requests,
       sum(c.bytes_to_server * c.sampled_one_in) AS bytes_to_server,
       sum(c.bytes_to_client * c.sampled_one_in) AS bytes_to_client,
       min(c.first_time) AS first_time,
       max(c.last_time) AS last_time
FROM connections c
LEFT JOIN processes client ON client.process_id = c.client_process_id
LEFT JOIN processes server ON server.process_id = c.server_process_id
GROUP BY 1, 2, 3
ORDER BY connections DESC, 1, 2, 3
