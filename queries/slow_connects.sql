-- How connections come about at each hop: how long that takes, and which never did.
--
-- A listen queue that is full drops SYNs; they are sent again after 1, 3 and 7 s, and `syn_again` counts them. `waiting_ns` is
-- what requests waited for connections that their proxies opened: it is part of the time of those requests, but
-- due to this listener. A long `queued_ns` is a process that accepts late.
--
-- @param port integer = null  Only connections to this port.
-- @column hop text  Both processes and the answering port.
-- @column connects integer  Connections whose begin was recorded at the requesting side.
-- @column established integer  Those of them that were established.
-- @column refused integer  Nobody listened.
-- @column timed_out integer  No SYN was answered.
-- @column other_failures integer  Reset, unreachable, or failed before a SYN left.
-- @column abandoned integer  The caller closed before it was known.
-- @column syn_again integer  SYNs sent again; null where that was not recorded.
-- @column p99_ns duration  99th percentile of the time until it was established or had failed.
-- @column worst_ns duration  The longest.
-- @column queued_ns duration  The longest wait until accept returned.
-- @column requests_waiting integer  Requests that waited for one, by spans.
-- @column waiting_ns duration  What they waited in all.
WITH waited AS (
    SELECT connections.hop, count(*) AS requests, sum(spans.connect_ns) AS waiting_ns
    FROM spans
    JOIN connections ON connections.connection_id = spans.connect_connection_id
    WHERE $port IS NULL OR connections.dst_port = $port
    GROUP BY connections.hop
),
opened AS (
    SELECT hop,
           count(*) AS connects,
           count(*) FILTER (WHERE connect_outcome = 'ok') AS established,
           count(*) FILTER (WHERE connect_outcome = 'refused') AS refused,
           count(*) FILTER (WHERE connect_outcome = 'timed_out') AS timed_out,
           count(*) FILTER (WHERE connect_outcome IN ('reset', 'unreachable', 'failed')) AS other_failures,
           count(*) FILTER (WHERE connect_outcome = 'abandoned') AS abandoned,
           sum(syn_retransmits) AS syn_again,
           array_sort(array_agg(connect_ns) FILTER (WHERE connect_ns IS NOT NULL)) AS lengths,
           max(connect_ns) AS worst_ns,
           max(accept_wait_ns) AS queued_ns
    FROM connections
    WHERE (connect_outcome IS NOT NULL OR syn_retransmits IS NOT NULL) AND ($port IS NULL OR dst_port = $port)
    GROUP BY hop
)
SELECT opened.hop,
       connects,
       established,
       refused,
       timed_out,
       other_failures,
       abandoned,
       syn_again,
       lengths[CAST(ceil(0.99 * array_length(lengths)) AS BIGINT)] AS p99_ns,
       worst_ns,
       queued_ns,
       coalesce(waited.requests, 0) AS requests_waiting,
       coalesce(waited.waiting_ns, 0) AS waiting_ns
FROM opened
LEFT JOIN waited ON waited.hop = opened.hop
ORDER BY waiting_ns DESC, worst_ns DESC, opened.hop
