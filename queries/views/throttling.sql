-- Times that a process could not run because its cgroup had used up its share of CPU time.
--
-- One row a process and sampling interval of about a second. The kernel counts throttled time and does not
-- say when it began. A throttled thread waits for a CPU: where the long waits of the process make up more
-- than half of the throttled time, the first of them is the begin. Else it is taken to have ended with the
-- interval. Recorded with `--evidence sched`.
--
-- @column time time  Begin.
-- @column end_time time  time + duration_ns.
-- @column duration_ns duration  Throttled time in the interval, counted once for each CPU.
-- @column process text  Name of the process; null where it is not known.
-- @column cgroup text  Path of its cgroup.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
WITH throttles AS (
    SELECT t.process_id,
           t.pid,
           t.duration_ns,
           CASE WHEN 2 * sum(r.duration_ns) > t.duration_ns THEN min(r.boot_ns - r.duration_ns)
                ELSE t.boot_ns - t.duration_ns END AS begin_boot_ns
    FROM sched t
    LEFT JOIN sched r ON r.process_id = t.process_id
        AND r.kind = 'run_queue'
        AND 10 * r.duration_ns > t.duration_ns
        AND r.boot_ns - r.duration_ns < t.boot_ns
        AND r.boot_ns > t.boot_ns - 1300000000
    WHERE t.kind = 'throttled'
    GROUP BY t.process_id, t.pid, t.boot_ns, t.duration_ns
)
SELECT wall_time(t.begin_boot_ns) AS time,
       wall_time(t.begin_boot_ns + t.duration_ns) AS end_time,
       t.duration_ns,
       p.name AS process,
       p.cgroup,
       t.process_id,
       t.pid
FROM throttles t
LEFT JOIN processes p ON p.process_id = t.process_id
