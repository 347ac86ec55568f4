-- How many requests each connection carries.
--
-- One request a connection means a handshake (and with TLS more) for each of them. Connections that were
-- there before the recording, or carry on after it, count with what was seen of them.
--
-- @column process text  Process of this side.
-- @column kind text  `client` or `server`.
-- @column destination text  Address and port of the answering side.
-- @column connections integer  Connections with at least one request.
-- @column requests integer  Requests.
-- @column requests_per_connection number  Mean.
-- @column most_requests integer  Most on one connection.
-- @column used_once ratio  Share of the connections with one request only.
WITH by_connection AS (
    SELECT process, kind, dst_addr, dst_port, connection_id, count(*) AS requests
    FROM spans
    WHERE kind <> 'internal'
    GROUP BY process, kind, dst_addr, dst_port, connection_id
)
SELECT process,
       kind,
       concat_ws(':', dst_addr, CAST(dst_port AS VARCHAR)) AS destination,
       count(*) AS connections,
       sum(requests) AS requests,
       CAST(sum(requests) AS DOUBLE) / count(*) AS requests_per_connection,
       max(requests) AS most_requests,
       CAST(count(*) FILTER (WHERE requests = 1) AS DOUBLE) / count(*) AS used_once
FROM by_connection
GROUP BY process, kind, dst_addr, dst_port
ORDER BY connections DESC, process, kind, destination
