-- Times that a thread was blocked in uninterruptible sleep, mostly by a disk.
--
-- One row a wait of at least 5 ms (`--sched-threshold`) of a thread whose process carries traffic. Page
-- faults and some locks block so too. Recorded with `--evidence sched`.
--
-- @column time time  Begin.
-- @column end_time time  When it was woken.
-- @column duration_ns duration  end_time - time.
-- @column process text  Name of the process; null where it is not known.
-- @column cpu integer  CPU that noticed.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
-- @column tid integer  Thread.
SELECT wall_time(s.boot_ns - s.duration_ns) AS time,
       wall_time(s.boot_ns) AS end_time,
       s.duration_ns,
       p.name AS process,
       s.cpu,
       s.process_id,
       s.pid,
       s.tid
FROM sched s
LEFT JOIN processes p ON p.process_id = s.process_id
WHERE s.kind = 'off_cpu'
