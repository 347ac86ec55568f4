-- How long requests take, by process, peer, method and path, with percentiles.
--
-- One row for each side that was recorded: a `client` row holds what the caller waited, a `server` row what the answering process
-- took; the difference is network and queueing. Only requests with an answer count into the percentiles, each of which
-- is a duration that occurred (nearest rank); `failed` counts the others and answers that say that the server failed.
--
-- @param min_requests integer = 1  Fewest requests of a row.
-- @param kind text:client|server = null  Only this side.
-- @param by_path text:yes|no = yes  `no` adds up all paths.
-- @param limit integer:>=0 = 50  Rows, those with the most total time first.
-- @column kind text  `client` or `server`.
-- @column process text  Process of this side.
-- @column peer text  The other side: address and port of the server, or the address of the client.
-- @column method text  Method, or command.
-- @column path text  Path, null with `--by-path no`.
-- @column requests integer  Requests.
-- @column failed integer  Requests that did not end well.
-- @column p50_ns duration  Median.
-- @column p90_ns duration  90th percentile.
-- @column p99_ns duration  99th percentile.
-- @column max_ns duration  Longest.
-- @column total_ns duration  Sum.
SELECT kind,
       process,
       peer,
       method,
       path,
       requests,
       failed,
       answered[CAST(ceil(0.5 * array_length(answered)) AS BIGINT)] AS p50_ns,
       answered[CAST(ceil(0.9 * array_length(answered)) AS BIGINT)] AS p90_ns,
       answered[CAST(ceil(0.99 * array_length(answered)) AS BIGINT)] AS p99_ns,
       max_ns,
       total_ns
FROM (
    SELECT kind,
           process,
           peer,
           method,
           path,
           count(*) AS requests,
           count(*) FILTER (WHERE outcome <> 'ok') AS failed,
           array_sort(array_agg(answered_ns) FILTER (WHERE answered_ns IS NOT NULL)) AS answered,
           max(answered_ns) AS max_ns,
           coalesce(sum(answered_ns), 0) AS total_ns
    FROM (
        SELECT kind,
               process,
               CASE WHEN kind IN ('server', 'consumer') THEN src_addr ELSE concat_ws(':', dst_addr, CAST(dst_port AS VARCHAR)) END AS peer,
               operation AS method,
               CASE WHEN $by_path = 'yes' THEN coalesce(route, target) END AS path,
               outcome,
               CASE WHEN outcome IN ('ok', 'error') THEN duration_ns END AS answered_ns
        FROM spans
        WHERE kind <> 'internal' AND ($kind IS NULL OR kind = $kind)
    )
    GROUP BY kind, process, peer, method, path
    HAVING count(*) >= $min_requests
)
ORDER BY total_ns DESC, kind, process, peer, method, path
LIMIT $limit
