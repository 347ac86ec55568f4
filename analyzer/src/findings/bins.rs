//! Spans to series: requests of each stream in equal bins, and the bad ones one by one.
//!
//! Two passes over `spans`: the first learns what is ordinary, the second counts. Memory is streams times bins, whatever
//! the number of spans.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::Metric;
use super::baseline::{Baseline, Latencies};
use super::groups::{By, Coded, Keys};
use super::interner::Coder;
use super::rows::{Rows, Span};
use crate::error::Result;
use crate::hashing::IntMap;
use crate::periodicity::Series;
use crate::sql::session;

/// How finely time is cut.
#[derive(Clone, Copy, Debug)]
pub struct Bins {
    /// Begin of the recording, ns since 1970 UTC.
    pub begin_ns: i64,
    /// Length of a bin.
    pub bin_ns: i64,
    /// How many.
    pub count: usize,
}

impl Bins {
    /// Bins for a recording from which periods of at least `min_period_ns` are wanted: a tenth of a second, or a
    /// hundredth of a shorter period.
    pub fn new(begin_ns: i64, end_ns: i64, min_period_ns: i64) -> Bins {
        let length_ns = (end_ns - begin_ns).max(1);
        let bin_ns = (min_period_ns / 100).clamp(FINEST_NS, COARSEST_NS).max(length_ns / MOST_BINS);
        Bins { begin_ns, bin_ns, count: (length_ns / bin_ns + 1) as usize }
    }

    /// The bin of a moment; None outside of the recording.
    pub fn of(&self, wall_ns: i64) -> Option<usize> {
        let since_ns = wall_ns - self.begin_ns;
        let bin = usize::try_from(since_ns / self.bin_ns).ok()?;
        (since_ns >= 0 && bin < self.count).then_some(bin)
    }
}

const FINEST_NS: i64 = 20_000_000;
const COARSEST_NS: i64 = 100_000_000;
const MOST_BINS: i64 = 1 << 20;
/// Streams with fewer requests show nothing.
const FEWEST_REQUESTS: u64 = 20;
/// The longest waits take this many times what slow requests usually take ...
const STANDS_OUT: i64 = 8;
/// ... and there are so many of them, but no more than a quarter of the slow requests.
const FEWEST_LONGEST: usize = 3;
/// Most cells (streams times bins) of each thread: 4 bytes each, twice for streams that count completions.
const MOST_CELLS: usize = 50_000_000;

/// A bad request.
#[derive(Clone, Copy, Debug)]
pub struct Bad {
    /// What is bad about it.
    pub metric: Metric,
    /// Begin, ns since 1970 UTC.
    pub start_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// Beyond the ordinary median, ns.
    pub excess_ns: i64,
}

/// One stream's requests.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Requests begun, by bin; empty where the stream is left out.
    pub begun: Vec<u32>,
    /// Requests completed, by bin; only of hops and services.
    pub completed: Vec<u32>,
    /// Bad requests, in no order.
    pub bad: Vec<Bad>,
}

/// Everything counted.
#[derive(Debug)]
pub struct Counted {
    /// The bins.
    pub bins: Bins,
    /// By stream number.
    pub streams: Vec<Counts>,
    /// What is ordinary, by class number.
    pub ordinary: Vec<Baseline>,
    /// Spans read.
    pub spans: u64,
    /// Streams that did not fit.
    pub left_out: usize,
}

impl Counted {
    /// What a request of the stream usually takes, ns: of hops around each other the innermost takes least.
    pub fn usual_ns(&self, keys: &Keys, stream: u32) -> i64 {
        let classes = keys.classes.iter().zip(&self.ordinary);
        let usual = classes.filter(|(class, _)| class.streams.contains(&stream));
        usual.map(|(_, ordinary)| ordinary.usual_ns).max().unwrap_or(i64::MAX)
    }
}

/// The columns that are counted.
const QUERY: &str = "SELECT connection_id, kind, operation, route, target, outcome, CAST(start_time AS BIGINT) AS start_ns, duration_ns FROM spans WHERE kind <> 'internal'";

/// Reads `spans` twice. `progress` is told the spans read so far, of both passes.
pub async fn count(
    context: &SessionContext,
    keys: &mut Keys,
    bins: Bins,
    (by, min_period_ns): (&[By], i64),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Counted> {
    let shared = RwLock::new(std::mem::take(keys));
    let read = AtomicU64::new(0);
    let tell = |rows: usize| progress(read.fetch_add(rows as u64, Relaxed) + rows as u64);
    let length_ns = bins.count as i64 * bins.bin_ns;
    let learn = || Learned {
        latencies: Latencies::new(length_ns, min_period_ns),
        by_class: Vec::new(),
        by_connection: IntMap::default(),
    };
    let learned = pass(context, &shared, learn, |learned, rows, coded| {
        learned.add(rows, coded, bins.begin_ns);
        tell(rows.len());
    });
    let learned = learned.await?.into_iter().reduce(Learned::merge).unwrap_or_else(learn);
    let spans = read.load(Relaxed);
    let ordinary = learned.latencies.ordinary();
    let (chosen, left_out) = chosen(&reading(&shared), &learned, bins, by);
    let classes: Vec<Vec<u32>> = reading(&shared).classes.iter().map(|class| class.streams.clone()).collect();
    let new = || empty(&chosen, &reading(&shared), bins);
    let counted = pass(context, &shared, new, |streams, rows, coded| {
        for (row, coded) in rows.coded(coded) {
            let class = coded.class as usize;
            let (Some(&ordinary), Some(of_class)) = (ordinary.get(class), classes.get(class)) else {
                continue;
            };
            let span = rows.span(row, ordinary);
            let at = [Some(span.start_ns), span.completed.then_some(span.start_ns + span.duration_ns)]
                .map(|ns| bins.of(ns?));
            for &stream in of_class.iter().chain(&coded.connection) {
                streams[stream as usize].add(&span, at);
            }
        }
        tell(rows.len());
    });
    let streams = counted.await?.into_iter().reduce(merge).unwrap_or_else(new);
    *keys = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Counted { bins, streams, ordinary, spans, left_out })
}

fn reading(keys: &RwLock<Keys>) -> RwLockReadGuard<'_, Keys> {
    keys.read().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that count, however many cores there are: each has bins of its own.
const MOST_THREADS: usize = 4;

/// Reads `spans` once, its parts on several threads, and returns what each thread made.
async fn pass<T: Send>(
    context: &SessionContext,
    keys: &RwLock<Keys>,
    new: impl Fn() -> T + Sync,
    each: impl Fn(&mut T, &Rows, &[Option<Coded>]) + Sync,
) -> Result<Vec<T>> {
    let parts = session::plan(context, QUERY).await?.execute_stream_partitioned().await?;
    let runtime = tokio::runtime::Handle::current();
    let threads = parts.len().min(MOST_THREADS);
    let parts = Mutex::new(parts.into_iter());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<T> {
        let (mut made, mut coder) = (new(), Coder::default());
        while let Some(mut batches) = next() {
            while let Some(batch) = runtime.block_on(batches.next()).transpose()? {
                let rows = Rows::new(&batch)?;
                each(&mut made, &rows, coder.code(&rows, keys));
            }
        }
        Ok(made)
    };
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    })
}

/// What the first pass learns.
struct Learned {
    latencies: Latencies,
    /// Requests of each class.
    by_class: Vec<u64>,
    /// Requests of each connection that is a stream.
    by_connection: IntMap<u32, u64>,
}

impl Learned {
    fn add(&mut self, rows: &Rows, coded: &[Option<Coded>], begin_ns: i64) {
        for (row, coded) in rows.coded(coded) {
            let class = coded.class as usize;
            self.latencies.add(coded.class, rows.start_ns(row) - begin_ns, rows.duration_ns(row));
            self.by_class.resize(self.by_class.len().max(class + 1), 0);
            self.by_class[class] += 1;
            if let Some(stream) = coded.connection {
                *self.by_connection.entry(stream).or_default() += 1;
            }
        }
    }

    fn merge(mut self, other: Learned) -> Learned {
        self.latencies.merge(other.latencies);
        self.by_class.resize(self.by_class.len().max(other.by_class.len()), 0);
        self.by_class.iter_mut().zip(&other.by_class).for_each(|(sum, n)| *sum += n);
        for (stream, n) in other.by_connection {
            *self.by_connection.entry(stream).or_default() += n;
        }
        self
    }

    /// Requests of each stream.
    fn by_stream(&self, keys: &Keys) -> Vec<u64> {
        let mut requests = vec![0; keys.streams.len()];
        for (class, n) in keys.classes.iter().zip(&self.by_class) {
            class.streams.iter().for_each(|&stream| requests[stream as usize] += n);
        }
        for (&stream, n) in &self.by_connection {
            requests[stream as usize] += n;
        }
        requests
    }
}

/// The streams that are counted, those with the most requests where not all fit, and how many are left out.
fn chosen(keys: &Keys, learned: &Learned, bins: Bins, by: &[By]) -> (Vec<usize>, usize) {
    let requests = learned.by_stream(keys);
    let wanted =
        |stream: &usize| requests[*stream] >= FEWEST_REQUESTS && by.contains(&keys.streams[*stream].by);
    let mut order: Vec<usize> = (0..requests.len()).filter(wanted).collect();
    order.sort_by_key(|&stream| std::cmp::Reverse(requests[stream]));
    let most = (MOST_CELLS / bins.count).max(16);
    let left_out = order.len().saturating_sub(most);
    order.truncate(most);
    (order, left_out)
}

/// Empty bins for those streams. Not copied from an example: memory that was never written need not be there.
fn empty(chosen: &[usize], keys: &Keys, bins: Bins) -> Vec<Counts> {
    let mut streams = vec![Counts::default(); keys.streams.len()];
    for &stream in chosen {
        streams[stream].begun = vec![0; bins.count];
        if matches!(keys.streams[stream].by, By::Hop | By::Service) {
            streams[stream].completed = vec![0; bins.count];
        }
    }
    streams
}

impl Counts {
    /// Counts a request that began in the first of these bins and completed in the second.
    fn add(&mut self, span: &Span, [begun, completed]: [Option<usize>; 2]) {
        if self.begun.is_empty() {
            return;
        }
        if let Some(bin) = begun {
            self.begun[bin] += 1;
        }
        if let Some(cell) = completed.and_then(|bin| self.completed.get_mut(bin)) {
            *cell += 1;
        }
        if span.failed.is_none() && !span.slow {
            return;
        }
        let excess_ns = (span.duration_ns - span.median_ns).max(0);
        let bad = |metric| Bad { metric, start_ns: span.start_ns, duration_ns: span.duration_ns, excess_ns };
        self.bad.extend(span.failed.map(bad));
        self.bad.extend(span.slow.then(|| bad(Metric::Latency)));
    }

    /// The requests that are bad so and took so long at least.
    pub fn bad_of(&self, metric: Metric, least_ns: i64) -> impl Iterator<Item = &Bad> {
        self.bad.iter().filter(move |bad| bad.metric == metric && bad.duration_ns >= least_ns)
    }

    /// How long the slowest of the slow requests take, ns, where those are a few that stand out: long waits would be lost among
    /// many that are a little late, as on a host whose CPUs are short.
    pub fn longest_ns(&self) -> Option<i64> {
        let slow = self.bad.iter().filter(|bad| bad.metric == Metric::Latency);
        let mut durations: Vec<i64> = slow.map(|bad| bad.duration_ns).collect();
        let middle = durations.len() / 2;
        let (_, &mut median_ns, longer) = (middle > 0).then(|| durations.select_nth_unstable(middle))?;
        let least_ns = median_ns.saturating_mul(STANDS_OUT);
        let longest = longer.iter().filter(|&&duration| duration >= least_ns).count();
        (longest >= FEWEST_LONGEST && longest <= middle / 2).then_some(least_ns)
    }

    /// The series of a metric, of requests that took so long at least. Completions stand for requests where what is counted is what
    /// did not come.
    pub fn series(&self, metric: Metric, least_ns: i64, bins: Bins) -> Series {
        let total = if metric == Metric::Missing { self.completed.clone() } else { self.begun.clone() };
        let mut bad = vec![0; total.len()];
        let mut excess_ns = vec![0.0; total.len()];
        for request in self.bad_of(metric, least_ns) {
            if let Some(bin) = bins.of(request.start_ns).filter(|&bin| bin < bad.len()) {
                bad[bin] += 1;
                excess_ns[bin] += request.excess_ns as f64;
            }
        }
        Series { bin_ns: bins.bin_ns, total, bad, excess_ns, lossy: Vec::new() }
    }
}

/// The sum of what two threads counted.
fn merge(mut all: Vec<Counts>, other: Vec<Counts>) -> Vec<Counts> {
    for (sum, counts) in all.iter_mut().zip(other) {
        sum.begun.iter_mut().zip(counts.begun).for_each(|(sum, n)| *sum += n);
        sum.completed.iter_mut().zip(counts.completed).for_each(|(sum, n)| *sum += n);
        sum.bad.extend(counts.bad);
    }
    all
}
