-- Sampling intervals in which the kernel counted much more than usual of something that makes requests slow.
--
-- One row a kind, subject and interval of about a second: of the counters that belong to a kind the sum. A burst is at least
-- the kind's least size, and more than three times the median of all intervals, of which those without a row count as 0.
-- What happened lies somewhere in the interval. `spikes` reads its causes of these kinds here. docs/causes.md says
-- which counters are which kind; all others are in `counters` alone. Recorded with `--evidence counters`.
--
-- @column time time  Begin of the interval.
-- @column end_time time  Its end.
-- @column duration_ns duration  end_time - time.
-- @column kind text  What it means, as `spikes` calls it: `listen_overflow`, `disk_busy` and so on.
-- @column subject text  Whom it is of: the disk, the resource, the process in a cgroup; a namespace by the processes in it; `the host` else.
-- @column amount integer  How much: a number, or us of time (`steal`, `softirq`, `disk_busy`, `pressure`, `cgroup_pressure`).
-- @column usual_amount number  Its median over all intervals.
-- @column counter text  Name of the counter that rose most.
-- @column instance text  Which one that was: the CPU, disk, resource or cgroup; null where there is one alone.
-- @column netns integer  Network namespace, where it is of one.
-- @column process_id integer  A process of the cgroup, where it is of one.
WITH kinds AS (
    SELECT boot_ns,
           interval_ns,
           netns,
           process_id,
           name,
           instance,
           CASE WHEN source IN ('stat', 'diskstats') THEN 1000 * delta ELSE delta END AS amount,
           CASE
               WHEN name IN ('TcpExt.ListenOverflows', 'TcpExt.TCPReqQFullDrop') THEN 'listen_overflow'
               WHEN name = 'TcpExt.TCPSynRetrans' THEN 'handshake_resent'
               WHEN name IN ('Udp.RcvbufErrors', 'Udp.MemErrors') THEN 'udp_drop'
               WHEN name IN ('TcpExt.TCPRcvCollapsed', 'TcpExt.PruneCalled', 'TcpExt.RcvPruned', 'TcpExt.OfoPruned')
                   THEN 'receive_buffer'
               WHEN name IN ('TcpExt.TCPToZeroWindowAdv', 'TcpExt.TCPWantZeroWindowAdv') THEN 'zero_window'
               WHEN source = 'conntrack' AND name IN ('insert_failed', 'drop', 'early_drop', 'chaintoolong')
                   THEN 'conntrack_drop'
               WHEN source IN ('arp_cache', 'ndisc_cache') THEN 'neighbour_failed'
               WHEN source = 'softnet' THEN 'softnet_squeeze'
               WHEN name = 'softirq_ms' AND instance IS NOT NULL THEN 'softirq'
               WHEN name = 'steal_ms' AND instance IS NULL THEN 'steal'
               WHEN name = 'pgscan_direct' OR name LIKE 'allocstall%' THEN 'direct_reclaim'
               WHEN name = 'compact_stall' THEN 'compaction'
               WHEN name IN ('pswpin', 'pswpout') THEN 'swapping'
               WHEN name = 'io_ticks_ms' THEN 'disk_busy'
               WHEN source = 'pressure' AND name = 'some_total_us' THEN 'pressure'
               WHEN source = 'cgroup' AND name LIKE '%.pressure.some_total_us' THEN 'cgroup_pressure'
               WHEN name IN ('memory.failcnt', 'memory.events.max', 'memory.events.high') THEN 'memory_limit'
           END AS kind
    FROM counters
),
sums AS (
    SELECT boot_ns,
           max(interval_ns) AS interval_ns,
           kind,
           netns,
           process_id,
           CASE WHEN kind IN ('disk_busy', 'pressure') THEN instance END AS part,
           -- Of CPUs the busiest one counts, of a cgroup's levels the one with the limit.
           CASE WHEN kind IN ('softirq', 'cgroup_pressure', 'memory_limit') THEN max(amount) ELSE sum(amount) END AS amount,
           first_value(name ORDER BY amount DESC, name) AS counter,
           first_value(instance ORDER BY amount DESC, name) AS instance
    FROM kinds
    WHERE kind IS NOT NULL
    GROUP BY boot_ns, kind, netns, process_id, CASE WHEN kind IN ('disk_busy', 'pressure') THEN instance END
),
samples AS (
    SELECT (max(boot_ns) - min(boot_ns)) / avg(interval_ns) + 1 AS made
    FROM counters
),
usual AS (
    SELECT kind,
           netns,
           process_id,
           part,
           CASE WHEN 2 * count(*) > max(made) THEN median(amount) ELSE 0 END AS amount
    FROM sums CROSS JOIN samples
    GROUP BY kind, netns, process_id, part
),
inhabitants AS (
    SELECT s.netns, array_to_string(array_sort(array_agg(DISTINCT p.name)), ', ') AS names
    FROM sockets s
    JOIN processes p ON p.process_id = s.process_id
    GROUP BY s.netns
)
SELECT wall_time(sums.boot_ns - sums.interval_ns) AS time,
       wall_time(sums.boot_ns) AS end_time,
       sums.interval_ns AS duration_ns,
       sums.kind,
       coalesce(sums.part,
                p.name,
                inhabitants.names,
                CASE WHEN sums.netns IS NULL THEN 'the host' ELSE 'namespace ' || CAST(sums.netns AS VARCHAR) END) AS subject,
       sums.amount,
       CAST(usual.amount AS DOUBLE) AS usual_amount,
       sums.counter,
       sums.instance,
       sums.netns,
       sums.process_id
FROM sums
JOIN usual ON usual.kind = sums.kind
    AND (usual.netns IS NOT DISTINCT FROM sums.netns)
    AND (usual.process_id IS NOT DISTINCT FROM sums.process_id)
    AND (usual.part IS NOT DISTINCT FROM sums.part)
LEFT JOIN inhabitants ON inhabitants.netns = sums.netns
LEFT JOIN processes p ON p.process_id = sums.process_id
WHERE sums.amount > 3 * usual.amount
  AND sums.amount >= CASE sums.kind
          WHEN 'disk_busy' THEN 0.3 * sums.interval_ns / 1000
          WHEN 'pressure' THEN 0.05 * sums.interval_ns / 1000
          WHEN 'cgroup_pressure' THEN 0.05 * sums.interval_ns / 1000
          -- They are counted in ticks of 10 ms: one alone says nothing.
          WHEN 'steal' THEN greatest(0.1 * sums.interval_ns / 1000, 20000)
          WHEN 'softirq' THEN greatest(0.1 * sums.interval_ns / 1000, 20000)
          WHEN 'direct_reclaim' THEN 32
          WHEN 'swapping' THEN 32
          ELSE 1 END
