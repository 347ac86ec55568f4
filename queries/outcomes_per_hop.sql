-- How requests end at each hop.
--
-- Follow a problem from hop to hop: a client that gives up is `client_closed` at every hop that noticed. `late` are
-- answers that were written after the requesting side had gone. `unsure` are requests of which the recording
-- does not hold enough: `unparsed`, `timeout_cut` (it ended before the answer) and `lost`.
--
-- @param kind text = null  Only `client` or `server`.
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
SELECT kind,
       process,
       concat(dst_addr, ':', dst_port) AS destination,
       count(*) AS requests,
       count(*) FILTER (WHERE outcome = 'ok') AS ok,
       count(*) FILTER (WHERE outcome = 'error') AS error,
       count(*) FILTER (WHERE outcome = 'client_closed') AS client_closed,
       count(*) FILTER (WHERE outcome = 'server_closed') AS server_closed,
       count(*) FILTER (WHERE outcome = 'reset') AS reset,
       count(*) FILTER (WHERE outcome IN ('unparsed', 'timeout_cut', 'lost')) AS unsure,
       count(late_status) AS late,
       CAST(count(*) FILTER (WHERE outcome IN ('error', 'client_closed', 'server_closed', 'reset')) AS DOUBLE)
           / count(*) AS bad
FROM spans
WHERE $kind IS NULL OR kind = $kind
GROUP BY kind, process, dst_addr, dst_port
ORDER BY bad DESC, requests DESC, kind, process, destination
