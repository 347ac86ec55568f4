-- Times that a process was stopped by a signal such as SIGSTOP.
--
-- One row a stop that ended. A stop that lasted until the end of the recording is only in `sched`, as
-- `stopped`. Recorded with `--evidence sched`.
--
-- @column time time  When it was stopped.
-- @column end_time time  When it was continued, or killed.
-- @column duration_ns duration  end_time - time.
-- @column process text  Name of the process; null where it is not known.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
SELECT wall_time(s.boot_ns - s.duration_ns) AS time,
       wall_time(s.boot_ns) AS end_time,
       s.duration_ns,
       p.name AS process,
       s.process_id,
       s.pid
FROM sched s
LEFT JOIN processes p ON p.process_id = s.process_id
WHERE s.kind = 'continued'
