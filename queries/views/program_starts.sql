-- Programs that were started on the host, by any process.
--
-- One row a process. Where a process goes from program to program, as a shell does that becomes what it was
-- told to run, the last one counts. The recorder is left out. Every single exec is in `execs`. Recorded with
-- `--evidence execs`.
--
-- @column time time  When it was started.
-- @column program text  Path of the program; its name where the path is not known.
-- @column argv text  Arguments, as `execs.argv`.
-- @column started_by text  Name of the parent process; null where it is not known.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
WITH in_order AS (
    SELECT *, lead(boot_ns) OVER (PARTITION BY process_id ORDER BY boot_ns, seq) AS next_boot_ns
    FROM execs
)
SELECT wall_time(e.boot_ns) AS time,
       coalesce(e.exe, e.comm) AS program,
       e.argv,
       parent.name AS started_by,
       e.process_id,
       e.pid
FROM in_order e
LEFT JOIN processes parent ON parent.process_id = e.parent_process_id
WHERE e.comm <> 'retrospan-recor' AND (e.process_id IS NULL OR e.next_boot_ns IS NULL)
