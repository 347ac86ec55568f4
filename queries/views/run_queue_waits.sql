-- Times that a thread could run and waited for a CPU.
--
-- One row a wait of at least 5 ms (`--sched-threshold`) of a thread whose process carries traffic. Recorded
-- with `--evidence sched`.
--
-- @column time time  Begin.
-- @column end_time time  When it got the CPU.
-- @column duration_ns duration  end_time - time.
-- @column process text  Name of the process; null where it is not known.
-- @column held_by text  Name of the process that had most of the CPU; null where that was itself, or nobody.
-- @column cpu integer  The CPU.
-- @column process_id integer  `processes.process_id` of the process that waited.
-- @column pid integer  Process (thread group).
-- @column tid integer  Thread.
SELECT wall_time(s.boot_ns - s.duration_ns) AS time,
       wall_time(s.boot_ns) AS end_time,
       s.duration_ns,
       p.name AS process,
       o.name AS held_by,
       s.cpu,
       s.process_id,
       s.pid,
       s.tid
FROM sched s
LEFT JOIN processes p ON p.process_id = s.process_id
LEFT JOIN processes o ON o.process_id = s.other_process_id AND s.other_process_id <> s.process_id
WHERE s.kind = 'run_queue'
