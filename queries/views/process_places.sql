-- Processes, and where each runs: systemd unit, container and pod.
--
-- One row a process that lived during the recording. What names its service is in `service_from`; page
-- names.md says how. Captures of older recorders tell nothing but the process.
--
-- @column time time  When it was started.
-- @column process text  Name of the process.
-- @column service text  Name of its service, as `processes.service`; null where its program is all that names it.
-- @column service_from text  What named it, as `processes.service_from`.
-- @column unit text  Its systemd service or scope.
-- @column container text  Name of its container, else the first 12 characters of the container's id.
-- @column pod text  Name of its pod, else the pod's uid.
-- @column namespace text  Kubernetes namespace of the pod.
-- @column process_id integer  `processes.process_id`.
-- @column pid integer  Process (thread group).
SELECT wall_time(p.start_boot_ns) AS time,
       p.name AS process,
       p.service,
       p.service_from,
       c.unit,
       coalesce(c.container, substr(c.container_id, 1, 12)) AS container,
       coalesce(c.pod, c.pod_uid) AS pod,
       c.namespace,
       p.process_id,
       p.pid
FROM processes p
LEFT JOIN containers c ON c.cgroup = p.cgroup
