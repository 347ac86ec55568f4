-- The period that each stream's episodes keep best, and what it is worth.
--
-- The parts of `retrospan spikes` in SQL: `episodes(shortest_period_s)` and the aggregate `comb(times, shortest_period_s)`. The probability is of
-- this stream alone: with many rows a small one is to be expected. Any times can stand for the episodes, such as
-- `SELECT comb(wall_time(boot_ns), 10.0) FROM execs WHERE exe LIKE '%backup%'`.
--
-- @param metric text:latency|errors|client_closed|missing = latency  What is counted.
-- @param min_period duration:>0 = 10s  Shortest period.
-- @param min_episodes integer = 3  Fewest episodes.
-- @column grouping text  What the stream is a value of.
-- @column stream text  The hop, service ...
-- @column episodes integer  Episodes.
-- @column period_s number  Period, s.
-- @column low_s number  Lower bound of its 95 % interval, s.
-- @column high_s number  Upper bound, s.
-- @column jitter_s number  Standard deviation of the onsets around the comb, s.
-- @column hits integer  Teeth with an episode.
-- @column cycles integer  Teeth in the recording.
-- @column fap number  Probability of as good a comb without a period.
-- @column first_tooth time  The first tooth.
WITH combs AS (
    SELECT "by" AS grouping, stream, count(*) AS episodes, comb(onset, CAST($min_period AS DOUBLE) / 1e9) AS c
    FROM episodes($min_period)
    WHERE metric = $metric
    GROUP BY "by", stream
)
SELECT grouping,
       stream,
       episodes,
       c['period_s'] AS period_s,
       c['period_low_s'] AS low_s,
       c['period_high_s'] AS high_s,
       c['jitter_s'] AS jitter_s,
       c['hits'] AS hits,
       c['cycles'] AS cycles,
       c['fap'] AS fap,
       c['first_tooth'] AS first_tooth
FROM combs
WHERE episodes >= $min_episodes AND c['period_s'] IS NOT NULL
ORDER BY fap, grouping, stream
