//! Series to combs: episodes of every stream and metric, and the periods that they keep, the whole search paid for.

use std::num::NonZeroUsize;
use std::thread;

use super::Metric;
use super::bins::{Bad, Bins, Counted};
use super::groups::{By, Group, Keys};
use crate::periodicity::comb::{Comb, Grid};
use crate::periodicity::null_models::FalseAlarm;
use crate::periodicity::scales::Scales;
use crate::periodicity::{Episode, Series, episodes, onset, prewhiten};

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// The groupings.
    pub by: Vec<By>,
    /// Shortest period, ns.
    pub min_period_ns: i64,
    /// Longest period, ns; None: the length of the recording over 2.9.
    pub max_period_ns: Option<i64>,
    /// Accepted probability of one or more false findings in a capture without any.
    pub fap: f64,
}

impl Default for Options {
    /// What `spikes` looks for unless it is told otherwise.
    fn default() -> Options {
        Options {
            metrics: Metric::ALL.to_vec(),
            by: By::ALL.to_vec(),
            min_period_ns: 10_000_000_000,
            max_period_ns: None,
            fap: 0.01,
        }
    }
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 4] = [Metric::Latency, Metric::Errors, Metric::ClientClosed, Metric::Missing];

    /// The name used on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Latency => "latency",
            Metric::Errors => "errors",
            Metric::ClientClosed => "client_closed",
            Metric::Missing => "missing",
        }
    }
}

/// A stream and metric with episodes.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Number of the stream.
    pub stream: u32,
    /// The metric.
    pub metric: Metric,
    /// The episodes, onsets corrected; in order, from the begin of the recording.
    pub episodes: Vec<Episode>,
    /// Among streams that show the same, lower is nearer to the cause: the grouping, then what a request usually takes (of hops
    /// around each other the innermost is the quickest).
    pub nearness: (usize, i64),
    /// Requests by coarse stretch of the recording.
    load: Vec<f64>,
}

impl Candidate {
    /// Onsets, ns from the begin of the recording.
    pub fn onsets_ns(&self) -> Vec<f64> {
        self.episodes.iter().map(|episode| episode.onset_ns as f64).collect()
    }

    /// Bad requests in all episodes.
    pub fn affected(&self) -> f64 {
        self.episodes.iter().map(|episode| episode.affected).sum()
    }
}

/// A comb found in a candidate.
#[derive(Clone, Debug)]
pub struct Found {
    /// Index of the candidate.
    pub candidate: usize,
    /// The comb, hits by episode.
    pub comb: Comb,
    /// What it is worth, of this series alone.
    pub false_alarm: FalseAlarm,
    /// What it is worth with all tests paid for.
    pub fap: f64,
}

/// The search's result.
#[derive(Debug, Default)]
pub struct Search {
    /// Streams and metrics with an episode.
    pub candidates: Vec<Candidate>,
    /// Combs below the accepted probability, surest first.
    pub found: Vec<Found>,
    /// The best comb of each candidate that was not accepted, where there was one: its probability and the comb.
    pub rejected: Vec<(usize, f64, Comb)>,
    /// Distinct series searched.
    pub tests: usize,
}

/// Fewest episodes that can be periodic.
const FEWEST: usize = 3;
/// The null that follows the load sees it in so many stretches.
const LOAD_STRETCHES: usize = 200;
/// Seed of the Monte Carlo: the same capture gives the same answer.
const SEED: u64 = 0x7265_7472_6f73_7061;

/// Episodes of every stream and metric, those nearest to a cause first, whatever order the spans were read in.
pub fn candidates(counted: &Counted, keys: &Keys, lossy: &[bool], options: &Options) -> Vec<Candidate> {
    let bins = counted.bins;
    let grid = grid(bins, options);
    in_parallel(&jobs(counted, keys, options), |&Job { stream, metric, least_ns }| {
        let counts = &counted.streams[stream as usize];
        let series = Series { lossy: lossy.to_vec(), ..counts.series(metric, least_ns, bins) };
        let bad = || counts.bad_of(metric, least_ns);
        let episodes = find_episodes(&series, metric, bad, bins, &grid);
        let grouping = By::ALL.iter().position(|&by| by == keys.streams[stream as usize].by);
        let nearness = (grouping.unwrap_or_default(), counted.usual_ns(keys, stream));
        (!episodes.is_empty()).then(|| Candidate { stream, metric, episodes, nearness, load: load(&series) })
    })
}

/// The combs among the candidates.
pub fn search(candidates: Vec<Candidate>, bins: Bins, options: &Options) -> Search {
    let grid = grid(bins, options);
    let distinct = distinct(&candidates, bins.bin_ns);
    let tests = distinct.len();
    let level = options.fap / tests.max(1) as f64;
    let mut looked: Vec<(usize, Scales)> = in_parallel(&distinct, |&index| {
        let scales = Scales::search(&candidates[index].onsets_ns(), &grid);
        (!scales.combs.is_empty()).then_some((index, scales))
    });
    looked.sort_by_cached_key(|(index, scales)| {
        // Ascending, finite, and in the order of what is a score.
        (-1e6 * scales.promise(&candidates[*index].onsets_ns())) as i64
    });
    // Probabilities are dear. The best comb's comes first: others that see the same spike need none of their own.
    let look = |(index, scales): &(usize, Scales), known: &[prewhiten::Found]| {
        beside(&candidates[*index], scales, known, &grid, level)
    };
    let best: Vec<prewhiten::Prewhitened> = looked.first().map(|best| look(best, &[])).into_iter().collect();
    let known: Vec<prewhiten::Found> = best.iter().flat_map(|best| best.found.clone()).collect();
    let others = in_parallel(looked.get(1..).unwrap_or_default(), |other| Some(look(other, &known)));
    let paid = |p: f64| (p * tests as f64).min(1.0);
    let (mut found, mut rejected) = (Vec::new(), Vec::new());
    for ((candidate, _), prewhitened) in looked.into_iter().zip(best.into_iter().chain(others)) {
        rejected.extend(prewhitened.rejected.map(|best| (candidate, paid(best.false_alarm.p), best.comb)));
        found.extend(prewhitened.found.into_iter().map(|prewhiten::Found { comb, false_alarm }| Found {
            candidate,
            fap: paid(false_alarm.p),
            comb,
            false_alarm,
        }));
    }
    found.sort_by(|a, b| a.fap.total_cmp(&b.fap).then(b.comb.llr.total_cmp(&a.comb.llr)));
    Search { candidates, found, rejected, tests }
}

/// The combs of a candidate beside those `known` from another, if any: its own comb takes the known one's probability where it is the
/// same, and only what is left of the onsets is tested. Without any, the best of its own combs is rejected.
fn beside(
    candidate: &Candidate,
    scales: &Scales,
    known: &[prewhiten::Found],
    grid: &Grid,
    level: f64,
) -> prewhiten::Prewhitened {
    let onsets = candidate.onsets_ns();
    let is_known = |comb: &&Comb| known.iter().find(|known| same_comb(comb, &known.comb));
    let combs = || scales.combs.iter().map(|scaled| &scaled.comb);
    let same = combs().filter_map(|comb| Some((comb, is_known(&comb)?)));
    let same = same.max_by(|a, b| a.0.llr.total_cmp(&b.0.llr));
    let on_known = |onset: f64| {
        known.iter().any(|known| {
            let turns = (onset - known.comb.phase_ns) / known.comb.period_ns;
            (turns - turns.round()).abs() * known.comb.period_ns
                <= (3.0 * known.comb.sigma_ns).max(0.03 * known.comb.period_ns)
        })
    };
    let left: Vec<usize> = (0..onsets.len()).filter(|&index| !on_known(onsets[index])).collect();
    let mut prewhitened = prewhiten::Prewhitened::default();
    prewhitened.found.extend(
        same.map(|(comb, known)| prewhiten::Found { comb: comb.clone(), false_alarm: known.false_alarm }),
    );
    let on_it = onsets.len() - left.len();
    let left_onsets: Vec<f64> = left.iter().map(|&index| onsets[index]).collect();
    // Onsets of which few are on a known comb are tested as they are: taking a few off at random helps no comb.
    let whole = same.is_none() && 2 * on_it < onsets.len();
    let (tested, map): (&[f64], Vec<usize>) =
        if whole { (&onsets, (0..onsets.len()).collect()) } else { (&left_onsets, left) };
    if tested.len() < FEWEST {
        return prewhitened;
    }
    let mut others = prewhiten::all(tested, grid, &candidate.load, SEED, level);
    let all = others.found.iter_mut().chain(&mut others.rejected);
    all.for_each(|other| other.comb.hits.iter_mut().for_each(|hit| hit.1 = map[hit.1]));
    prewhitened.found.extend(others.found);
    prewhitened.rejected = others.rejected.filter(|_| prewhitened.found.is_empty() && whole);
    prewhitened
}

/// Whether two combs have the same teeth.
fn same_comb(a: &Comb, b: &Comb) -> bool {
    let turns = (a.phase_ns - b.phase_ns) / b.period_ns;
    (a.period_ns / b.period_ns - 1.0).abs() < 0.02 && (turns - turns.round()).abs() < 0.1
}

fn grid(bins: Bins, options: &Options) -> Grid {
    let mut grid = Grid::new(bins.count as i64 * bins.bin_ns, options.min_period_ns, bins.bin_ns);
    if let Some(longest_ns) = options.max_period_ns {
        grid.max_period_ns = grid.max_period_ns.min(longest_ns);
    }
    grid
}

/// A series to look at: what is bad of a stream's requests, of those that took so long at least.
struct Job {
    stream: u32,
    metric: Metric,
    least_ns: i64,
}

fn jobs(counted: &Counted, keys: &Keys, options: &Options) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (stream, counts) in counted.streams.iter().enumerate() {
        if counts.begun.is_empty() || !options.by.contains(&keys.streams[stream].by) {
            continue;
        }
        for &metric in &options.metrics {
            let countable = match metric {
                Metric::Missing => !counts.completed.is_empty(),
                metric => counts.bad.iter().any(|bad| bad.metric == metric),
            };
            if countable {
                let longest_ns = (metric == Metric::Latency).then(|| counts.longest_ns()).flatten();
                let all = std::iter::once(0).chain(longest_ns);
                jobs.extend(all.map(|least_ns| Job { stream: stream as u32, metric, least_ns }));
            }
        }
    }
    jobs.sort_by_cached_key(|&Job { stream, metric, least_ns }| {
        let Group { by, label, .. } = &keys.streams[stream as usize];
        (
            By::ALL.iter().position(|each| each == by),
            counted.usual_ns(keys, stream),
            label.clone(),
            metric,
            least_ns,
        )
    });
    jobs
}

fn find_episodes<'a, I: Iterator<Item = &'a Bad>>(
    series: &Series,
    metric: Metric,
    bad: impl Fn() -> I,
    bins: Bins,
    grid: &Grid,
) -> Vec<Episode> {
    let options = episodes::Options::new(grid.min_period_ns, grid.max_period_ns);
    if metric == Metric::Missing {
        return episodes::find_missing(series, &options);
    }
    let mut found = episodes::find(series, &options);
    for episode in &mut found {
        let (from_ns, to_ns) = (bins.begin_ns + episode.onset_ns, bins.begin_ns + episode.end_ns);
        let within = bad().filter(|bad| (from_ns..to_ns).contains(&bad.start_ns));
        let points: Vec<(i64, i64)> = within.map(|bad| (bad.start_ns, bad.duration_ns)).collect();
        let first = points.iter().map(|point| point.0).min();
        let onset_ns = onset::freeze(&points).map(|freeze| freeze.from_ns).or(first).unwrap_or(from_ns);
        episode.onset_ns = (onset_ns - bins.begin_ns).max(0);
    }
    found.sort_by_key(|episode| episode.onset_ns);
    found
}

fn load(series: &Series) -> Vec<f64> {
    let stretch = series.total.len().div_ceil(LOAD_STRETCHES).max(1);
    series.total.chunks(stretch).map(|bins| bins.iter().map(|&n| f64::from(n)).sum()).collect()
}

/// Candidates whose onsets differ: the same episodes seen by several streams are one test. A request that failed says more
/// than that it was slow; of those, the stream nearest to the cause stands for them.
fn distinct(candidates: &[Candidate], resolution_ns: i64) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..candidates.len()).filter(|&index| candidates[index].episodes.len() >= FEWEST).collect();
    order.sort_by_key(|&index| {
        let Candidate { metric, nearness, .. } = candidates[index];
        (metric == Metric::Missing, metric == Metric::Latency, nearness)
    });
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        if !kept.iter().any(|&other| same(&candidates[index], &candidates[other], resolution_ns)) {
            kept.push(index);
        }
    }
    kept.sort_unstable();
    kept
}

fn same(a: &Candidate, b: &Candidate, resolution_ns: i64) -> bool {
    let near = |(a, b): (&Episode, &Episode)| (a.onset_ns - b.onset_ns).abs() <= 2 * resolution_ns;
    a.episodes.len() == b.episodes.len() && a.episodes.iter().zip(&b.episodes).all(near)
}

/// Applies `f` to every item on all cores, results in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.extend(f(item).map(|result| (index, result)));
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use retrospan_random::Random;

    use super::*;
    use crate::findings::bins::Counts;

    #[test]
    fn long_waits_are_told_from_many_that_are_a_little_late() {
        let bins = Bins { begin_ns: 0, bin_ns: 20_000_000, count: 3000 };
        let mut random = Random::new(1);
        let mut counts = Counts { begun: vec![3; bins.count], ..Counts::default() };
        let mut late = |start_ns: i64, duration_ns: i64| {
            counts.bad.push(Bad { metric: Metric::Latency, start_ns, duration_ns, excess_ns: duration_ns });
        };
        // Seconds in which the host is short of CPU: one in three requests is late by milliseconds.
        for bin in (0..3000).filter(|bin| bin / 50 % 3 != 1) {
            (0..random.poisson(1.0)).for_each(|_| late(bin * 20_000_000, 3_000_000 + bin * 1000));
        }
        for tooth in 0..7 {
            (0..5).for_each(|nth| late(tooth * 8_000_000_000 + 500_000_000 + nth * 1_000_000, 590_000_000));
        }
        let grid = Grid::new(60_000_000_000, 1_000_000_000, bins.bin_ns);
        let onsets_s = |least_ns: i64| -> Vec<i64> {
            let series = counts.series(Metric::Latency, least_ns, bins);
            let bad = || counts.bad_of(Metric::Latency, least_ns);
            let episodes = find_episodes(&series, Metric::Latency, bad, bins, &grid);
            episodes.iter().map(|episode| episode.onset_ns / 1_000_000_000).collect()
        };
        let teeth_s = [0, 8, 16, 24, 32, 40, 48];
        assert_ne!(onsets_s(0), teeth_s);
        assert_eq!(onsets_s(counts.longest_ns().expect("long waits")), teeth_s);
        // Where most of what is slow is long there is nothing to tell apart.
        counts.bad.retain(|bad| bad.duration_ns >= 100_000_000);
        assert_eq!(counts.longest_ns(), None);
    }

    #[test]
    fn of_the_same_episodes_clients_that_gave_up_stand_before_slow_requests() {
        let episode = |number: i64| Episode {
            onset_ns: number * 60_000_000_000,
            peak_ns: 0,
            end_ns: 0,
            requests: 1,
            affected: 1.0,
            excess_ns: 0.0,
            lossy: false,
        };
        let candidate = |metric, nearness| Candidate {
            stream: 0,
            metric,
            episodes: (1..5).map(episode).collect(),
            nearness: (0, nearness),
            load: Vec::new(),
        };
        let missing = candidate(Metric::Missing, 0);
        let all = [
            missing.clone(),
            candidate(Metric::Latency, 1),
            candidate(Metric::ClientClosed, 3),
            candidate(Metric::ClientClosed, 2),
        ];
        assert_eq!(distinct(&all, 1), [3]);
        assert_eq!(distinct(&all[..2], 1), [1]);
        assert_eq!(distinct(&all[..1], 1), [0]);
    }
}
