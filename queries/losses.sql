-- What the recording could not keep: when, what and why.
--
-- No rows mean that nothing was lost. `ring_full`: record with a larger `--ring-size`, or less with `--port` or `--pid`. Requests
-- around a loss end as `lost` in `spans` rather than as a guess. `max_rate`, `max_cpu`, `max_disk`, `min_free_disk`: left out on purpose, since that limit was
-- reached; of kind `continuation` and `bytes` only bytes are missing.
--
-- @column from_time time  Start of the interval.
-- @column to_time time  End of the interval.
-- @column kind text  Kind of event.
-- @column cause text  Why.
-- @column cpu integer  CPU that lost them.
-- @column count integer  Events lost.
SELECT wall_time(from_boot_ns) AS from_time,
       wall_time(to_boot_ns) AS to_time,
       kind,
       cause,
       cpu,
       sum(count) AS count
FROM loss
GROUP BY from_boot_ns, to_boot_ns, kind, cause, cpu
HAVING sum(count) > 0
ORDER BY from_boot_ns, to_boot_ns, kind, cause, cpu
