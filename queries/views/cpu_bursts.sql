-- Sampling intervals in which a process used much more CPU time than usual.
--
-- One row a process and interval of about a second in which it used more than a fifth of a core, and more than
-- three times its median. A process with three intervals or fewer has no median to speak of: there a fifth of
-- a core is enough. What the recorder itself used is left out. Recorded with `--evidence usage`.
--
-- @column time time  Begin of the interval.
-- @column end_time time  Its end.
-- @column duration_ns duration  end_time - time.
-- @column cpu_ns duration  CPU time of all threads on all CPUs.
-- @column usual_cpu_ns number  Its median over the intervals of the process, ns.
-- @column process text  Name of the process.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
WITH usual AS (
    SELECT process_id, median(cpu_ns) AS cpu_ns, count(*) AS intervals
    FROM usage
    GROUP BY process_id
)
SELECT wall_time(u.boot_ns - u.interval_ns) AS time,
       wall_time(u.boot_ns) AS end_time,
       u.interval_ns AS duration_ns,
       u.cpu_ns,
       usual.cpu_ns AS usual_cpu_ns,
       p.name AS process,
       u.process_id,
       u.pid
FROM usage u
JOIN processes p ON p.process_id = u.process_id
JOIN usual ON usual.process_id = u.process_id
WHERE u.cpu_ns > 0.2 * u.interval_ns
  AND (usual.intervals <= 3 OR u.cpu_ns > 3 * usual.cpu_ns)
  AND p.comm <> 'retrospan-recor'
