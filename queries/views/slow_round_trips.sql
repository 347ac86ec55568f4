-- Samples in which a round trip took much longer than usual on its hop.
--
-- One row a sample of the answering side (at most one a socket and second) that is more than three times the
-- usual time and 5 ms longer, and longer than the sample before: the kernel's estimate rises at once and
-- falls slowly. The usual time is the 5th percentile of the hop, because a time that stays the same is seldom
-- written down. Samples of the requesting side are left out: they contain delayed acknowledgements of the
-- answering process. Recorded with `--evidence tcp`.
--
-- @column time time  When it was sampled.
-- @column hop text  Both processes and the answering port, as `connections.hop`.
-- @column rtt_us integer  Smoothed round-trip time, us.
-- @column usual_rtt_us number  The usual one of the hop, us.
-- @column connection_id integer  `connections.connection_id`.
-- @column socket_id integer  `sockets.socket_id` of the answering side.
WITH samples AS (
    SELECT t.boot_ns,
           t.rtt_us,
           lag(t.rtt_us) OVER (PARTITION BY t.socket_id ORDER BY t.boot_ns, t.seq) AS before_us,
           s.hop,
           s.connection_id,
           t.socket_id
    FROM tcp t
    JOIN connections s ON s.server_socket_id = t.socket_id
    WHERE t.kind = 'rtt' AND t.rtt_us IS NOT NULL
),
usual AS (
    SELECT hop, percentile_cont(0.05) WITHIN GROUP (ORDER BY rtt_us) AS rtt_us
    FROM samples
    GROUP BY hop
)
SELECT wall_time(samples.boot_ns) AS time,
       samples.hop,
       samples.rtt_us,
       CAST(usual.rtt_us AS DOUBLE) AS usual_rtt_us,
       samples.connection_id,
       samples.socket_id
FROM samples
JOIN usual ON usual.hop = samples.hop
WHERE samples.rtt_us > 3 * usual.rtt_us
  AND samples.rtt_us > usual.rtt_us + 5000
  AND (samples.before_us IS NULL OR samples.rtt_us > samples.before_us)
