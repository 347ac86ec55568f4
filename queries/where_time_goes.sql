-- Which hop the time of the traces goes to.
--
-- Own time is what a span's recorded children do not account for: for a server span its own work, for a client span network and
-- queueing, for an `internal` span a wait for a connection (of imported traces: what a process did itself). In a chain the own times of a trace add up to the duration of its root. With `--trace-id` it is
-- one trace; with `--min-duration` only the slow ones, to be compared with all.
--
-- @param trace_id text = null  Only this trace.
-- @param min_duration duration = 0ns  Only traces whose root took at least this.
-- @column kind text  `client` (network and queueing before the server), `server` (its own work) or `internal` (waits for connections; of imported traces work within a process).
-- @column process text  Process.
-- @column destination text  Address and port of the answering side.
-- @column spans integer  Spans.
-- @column traces integer  Traces with such a span.
-- @column own_p50_ns duration  Median own time of a span.
-- @column own_p99_ns duration  99th percentile.
-- @column own_total_ns duration  Sum of own times.
-- @column share ratio  Share of all own time.
WITH hops AS (
    SELECT kind,
           process,
           dst_addr,
           dst_port,
           count(*) AS spans,
           count(DISTINCT trace_id) AS traces,
           array_sort(array_agg(own_ns)) AS own,
           sum(own_ns) AS own_total_ns
    FROM spans
    WHERE ($trace_id IS NULL OR trace_id = $trace_id)
      AND ($min_duration <= 0 OR trace_id IN (
          SELECT trace_id FROM spans WHERE parent_span_id IS NULL AND duration_ns >= $min_duration
      ))
    GROUP BY kind, process, dst_addr, dst_port
)
SELECT kind,
       process,
       concat_ws(':', dst_addr, CAST(dst_port AS VARCHAR)) AS destination,
       spans,
       traces,
       own[CAST(ceil(0.5 * array_length(own)) AS BIGINT)] AS own_p50_ns,
       own[CAST(ceil(0.99 * array_length(own)) AS BIGINT)] AS own_p99_ns,
       own_total_ns,
       CAST(own_total_ns AS DOUBLE) / nullif(sum(own_total_ns) OVER (), 0) AS share
FROM hops
ORDER BY own_total_ns DESC, kind, process, destination
