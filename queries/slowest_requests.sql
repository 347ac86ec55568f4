-- The slowest requests, and which hop of each took most of the time.
--
-- By default one row a trace: the span at its root. With `--hop server` or `--hop client` every
-- span of that kind counts. `slowest_hop` is the span of the trace with the most own time; give `trace_id` to
-- `retrospan trace CAPTURE TRACE_ID --why` to see all of them.
--
-- @param limit integer:>=0 = 20  Rows.
-- @param min_duration duration = 0ns  Shortest request to show.
-- @param hop text:root|client|server|all = root  Which spans count.
-- @param process text = null  Only spans of processes of this name.
-- @column start_time time  Start.
-- @column duration_ns duration  Duration.
-- @column own_ns duration  What no recorded child of the span accounts for.
-- @column kind text  `client` or `server`.
-- @column process text  Process.
-- @column destination text  Address and port of the answering side.
-- @column method text  Method, or command.
-- @column path text  Path.
-- @column status integer  Status, null where none was seen.
-- @column outcome text  How it ended.
-- @column slowest_hop text  Kind and process of the span with the most own time in the trace; of a wait for a connection its name.
-- @column slowest_hop_own_ns duration  Its own time.
-- @column trace_id text  Trace.
WITH slowest AS (
    SELECT *
    FROM spans
    WHERE kind <> 'internal'
      AND duration_ns >= $min_duration
      AND ($process IS NULL OR process = $process)
      AND ($hop = 'all' OR kind = $hop OR ($hop = 'root' AND parent_span_id IS NULL))
    ORDER BY duration_ns DESC, start_time, span_id
    LIMIT $limit
),
hops AS (
    SELECT trace_id,
           first_value(CASE kind WHEN 'internal' THEN name ELSE concat(kind, ' ', process) END ORDER BY own_ns DESC, start_time, span_id) AS hop,
           max(own_ns) AS own_ns
    FROM spans
    WHERE trace_id IN (SELECT trace_id FROM slowest)
    GROUP BY trace_id
)
SELECT s.start_time,
       s.duration_ns,
       s.own_ns,
       s.kind,
       s.process,
       concat_ws(':', s.dst_addr, CAST(s.dst_port AS VARCHAR)) AS destination,
       s.operation AS method,
       s.target AS path,
       s.status,
       s.outcome,
       h.hop AS slowest_hop,
       h.own_ns AS slowest_hop_own_ns,
       s.trace_id
FROM slowest s
JOIN hops h ON h.trace_id = s.trace_id
ORDER BY s.duration_ns DESC, s.start_time, s.span_id
