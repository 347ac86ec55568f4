//! Series to combs: episodes of every stream and metric, and the periods that they keep, the whole search paid for.

use std::num::NonZeroUsize;
use std::thread;

use super::Metric;
use super::bins::{Bad, Bins, Counted};
use super::keys::{By, Keys};
use crate::periodicity::comb::{self, Comb, Grid};
use crate::periodicity::nulls::{self, FalseAlarm};
use crate::periodicity::{Episode, Series, episodes, onset, peel};

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

/// Episodes of every stream and metric.
pub fn candidates(counted: &Counted, keys: &Keys, lossy: &[bool], options: &Options) -> Vec<Candidate> {
    let bins = counted.bins;
    let grid = grid(bins, options);
    in_parallel(&jobs(counted, keys, options), |&(stream, metric)| {
        let counts = &counted.streams[stream as usize];
        let series = Series { lossy: lossy.to_vec(), ..counts.series(metric, bins) };
        let episodes = find_episodes(&series, metric, &counts.bad, bins, &grid);
        (!episodes.is_empty()).then(|| Candidate { stream, metric, episodes, load: load(&series) })
    })
}

/// The combs among the candidates.
pub fn search(candidates: Vec<Candidate>, bins: Bins, options: &Options) -> Search {
    let grid = grid(bins, options);
    let distinct = distinct(&candidates, bins.bin_ns);
    let level = options.fap / distinct.len().max(1) as f64;
    let searched: Vec<(usize, Vec<peel::Found>, Option<(f64, Comb)>)> = in_parallel(&distinct, |&index| {
        let candidate = &candidates[index];
        let onsets = candidate.onsets_ns();
        let found = peel::all(&onsets, &grid, &candidate.load, SEED, level);
        let best = if found.is_empty() { best_of_rejected(&onsets, &grid, candidate, level) } else { None };
        Some((index, found, best))
    });
    let tests = distinct.len();
    let mut search = Search { tests, ..Search::default() };
    for (index, found, best) in searched {
        search.rejected.extend(best.map(|(p, comb)| (index, (p * tests as f64).min(1.0), comb)));
        search.found.extend(found.into_iter().map(|found| Found {
            candidate: index,
            fap: (found.false_alarm.p * tests as f64).min(1.0),
            comb: found.comb,
            false_alarm: found.false_alarm,
        }));
    }
    search.found.sort_by(|a, b| a.fap.total_cmp(&b.fap).then(b.comb.llr.total_cmp(&a.comb.llr)));
    search.candidates = candidates;
    search
}

fn grid(bins: Bins, options: &Options) -> Grid {
    let mut grid = Grid::new(bins.count as i64 * bins.bin_ns, options.min_period_ns, bins.bin_ns);
    if let Some(longest_ns) = options.max_period_ns {
        grid.max_period_ns = grid.max_period_ns.min(longest_ns);
    }
    grid
}

fn jobs(counted: &Counted, keys: &Keys, options: &Options) -> Vec<(u32, Metric)> {
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
                jobs.push((stream as u32, metric));
            }
        }
    }
    jobs
}

fn find_episodes(series: &Series, metric: Metric, bad: &[Bad], bins: Bins, grid: &Grid) -> Vec<Episode> {
    let options = episodes::Options::new(grid.min_period_ns, grid.max_period_ns);
    if metric == Metric::Missing {
        return episodes::find_missing(series, &options);
    }
    let mut found = episodes::find(series, &options);
    for episode in &mut found {
        let (from_ns, to_ns) = (bins.begin_ns + episode.onset_ns, bins.begin_ns + episode.end_ns);
        let within =
            bad.iter().filter(|bad| bad.metric == metric && (from_ns..to_ns).contains(&bad.start_ns));
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

/// Candidates whose onsets differ: the same episodes seen by several streams are one test. The stream with the most
/// affected requests stands for them; among equals the grouping named first.
fn distinct(candidates: &[Candidate], resolution_ns: i64) -> Vec<usize> {
    let mut order: Vec<usize> =
        (0..candidates.len()).filter(|&index| candidates[index].episodes.len() >= FEWEST).collect();
    order.sort_by(|&a, &b| candidates[b].affected().total_cmp(&candidates[a].affected()));
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

fn best_of_rejected(
    onsets_ns: &[f64],
    grid: &Grid,
    candidate: &Candidate,
    level: f64,
) -> Option<(f64, Comb)> {
    let comb = comb::search(onsets_ns, grid)?;
    let alarm = nulls::false_alarm(onsets_ns, &comb, grid, &candidate.load, SEED, level);
    Some((alarm.p, comb))
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
