-- How requests end at each hop.
--
-- Follow a problem from hop to hop: a client that gives up is `client_closed` at every hop that noticed. `late` are
-- answers that were written after the requesting side had gone. `unsure` are requests of which the recording
-- does not hold enough: `unparsed`, `timeout_cut` (it ended before the answer) and `lost`.
--
-- Of a recording of one connection in so many (`--sample`) the numbers are scaled to all.
--
-- @param kind text:client|server = null  Only this side.
-- @column kind text  `client` or `server`.
-- @column process text  Process of this side.
-- @column destination text  Address and port of the answering side.
-- @column requests integer  Requests.
-- @column ok integer  Answered with a status below 500.
-- @column error integer  Answered with a status of 500 or more.
-- @column client_closed integer  The requesting side went away before the answer was complete.
-- @column server_closed integer  The answering side closed without an answer.
-- @column reset integer  Reset by the answering side, or timed out.
-- @column unsure integer  The recording does not tell.
-- @column late integer  Answers written after the requesting side had gone.
-- @column bad ratio  Share that ended neither `ok` nor unsure.
WITH counts AS (
    SELECT kind, process, dst_addr, dst_port, outcome, sum(sampled_one_in) AS requests,
           coalesce(sum(sampled_one_in) FILTER (WHERE late_status IS NOT NULL), 0) AS late
    FROM spans
    WHERE kind <> 'internal' AND ($kind IS NULL OR kind = $kind)
    GROUP BY kind, process, dst_addr, dst_port, outcome
)
SELECT kind,
       process,
       concat_ws(':', dst_addr, CAST(dst_port AS VARCHAR)) AS destination,
       CAST(sum(requests) AS BIGINT) AS requests,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome = 'ok'), 0) AS BIGINT) AS ok,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome = 'error'), 0) AS BIGINT) AS error,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome = 'client_closed'), 0) AS BIGINT) AS client_closed,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome = 'server_closed'), 0) AS BIGINT) AS server_closed,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome = 'reset'), 0) AS BIGINT) AS reset,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome IN ('unparsed', 'timeout_cut', 'lost')), 0) AS BIGINT) AS unsure,
       CAST(sum(late) AS BIGINT) AS late,
       CAST(coalesce(sum(requests) FILTER (WHERE outcome IN ('error', 'client_closed', 'server_closed', 'reset')), 0)
           AS DOUBLE) / sum(requests) AS bad
FROM counts
GROUP BY kind, process, dst_addr, dst_port
ORDER BY bad DESC, requests DESC, kind, process, destination
