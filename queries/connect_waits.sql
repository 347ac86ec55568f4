-- Requests that waited for a connection: which listener, how long, and whether that dropped handshakes meanwhile.
--
-- One row a wait, as `retrospan trace` shows it below the request (a span of kind `internal`). `drops` counts handshakes that the
-- listener's process dropped in accepts that the connect overlapped, of any client: with `syn_again` above 0 they are the reason, most
-- likely a full listen queue. SYNs sent again without drops were lost on the way. Recorded with `--evidence tcp`.
--
-- @param port integer = null  Only connections to this port.
-- @param at_least duration = 0ns  Shortest wait to show.
-- @param limit integer:>=0 = 50  Rows, the longest first.
-- @column start_time time  When it began to wait.
-- @column duration_ns duration  How long.
-- @column hop text  Who connects, and the listener.
-- @column outcome text  `ok`, or how the wait ended.
-- @column connect_outcome text  What became of the connect, perhaps later.
-- @column syn_again integer  SYNs sent again; null where that was not recorded.
-- @column drops integer  Handshakes that the listener dropped meanwhile; null where none are known.
-- @column dropped_from time  Begin of the first accept in which it did.
-- @column dropped_until time  End of the last.
-- @column path text  What the request asked for.
-- @column trace_id text  Trace.
WITH opened AS (
    -- A connection whose end was lost may have several rows.
    SELECT connection_id, min(hop) AS hop, min(connect_outcome) AS connect_outcome, max(syn_retransmits) AS syn_retransmits,
           min(dst_port) AS dst_port, min(server_process_id) AS server_process_id, min(opened_time) AS opened_time,
           max(connect_ns) AS connect_ns
    FROM connections
    GROUP BY connection_id
),
waits AS (
    SELECT w.start_time, w.duration_ns, w.outcome, w.trace_id, w.span_id, r.target AS path, c.hop, c.connect_outcome,
           c.syn_retransmits, c.dst_port, c.server_process_id,
           CAST(c.opened_time AS BIGINT) AS from_ns,
           CAST(c.opened_time AS BIGINT) + coalesce(c.connect_ns, 0) AS to_ns
    FROM spans w
    JOIN opened c ON c.connection_id = w.connection_id
    LEFT JOIN spans r ON r.span_id = w.parent_span_id AND r.trace_id = w.trace_id
    WHERE w.kind = 'internal' AND w.protocol = 'tcp' AND w.duration_ns >= $at_least AND ($port IS NULL OR c.dst_port = $port)
),
dropped AS (
    SELECT w.span_id, CAST(sum(d.drops) AS BIGINT) AS drops, min(d.time) AS dropped_from, max(d.end_time) AS dropped_until
    FROM waits w
    JOIN listen_drops d ON d.process_id = w.server_process_id AND d.local_port = w.dst_port
    WHERE CAST(d.time AS BIGINT) <= w.to_ns AND CAST(d.end_time AS BIGINT) >= w.from_ns
    GROUP BY w.span_id
)
SELECT waits.start_time,
       waits.duration_ns,
       waits.hop,
       waits.outcome,
       waits.connect_outcome,
       waits.syn_retransmits AS syn_again,
       dropped.drops,
       dropped.dropped_from,
       dropped.dropped_until,
       waits.path,
       waits.trace_id
FROM waits
LEFT JOIN dropped ON dropped.span_id = waits.span_id
ORDER BY waits.duration_ns DESC, waits.start_time, waits.span_id
LIMIT $limit
