//! Spans to series: requests of each stream in equal bins, and the bad ones one by one.
//!
//! Two passes over `spans`: the first learns what is ordinary, the second counts. Memory is streams times bins, whatever
//! the number of spans.

use datafusion::arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::Metric;
use super::keys::{By, Coded, Keys};
use super::ordinary::{Latencies, Ordinary};
use crate::catalog;
use crate::error::{Error, Result};
use crate::periodicity::Series;
use crate::span_rows::typed;

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
/// Most cells (streams times bins): 4 bytes each, twice for streams that count completions.
const MOST_CELLS: usize = 100_000_000;

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
    /// What is ordinary, by lane number.
    pub ordinary: Vec<Ordinary>,
    /// Spans read.
    pub spans: u64,
    /// Streams that did not fit.
    pub left_out: usize,
}

impl Counted {
    /// What a request of the stream usually takes, ns: of hops around each other the innermost takes least.
    pub fn usual_ns(&self, keys: &Keys, stream: u32) -> i64 {
        let lanes = keys.lanes.iter().zip(&self.ordinary);
        let usual = lanes.filter(|(lane, _)| lane.streams.contains(&stream));
        usual.map(|(_, ordinary)| ordinary.usual_ns).max().unwrap_or(i64::MAX)
    }
}

/// Reads `spans` twice. `progress` is told the spans read so far, of both passes.
pub async fn count(
    context: &SessionContext,
    keys: &mut Keys,
    bins: Bins,
    (by, min_period_ns): (&[By], i64),
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Counted> {
    let mut latencies = Latencies::new(bins.count as i64 * bins.bin_ns, min_period_ns);
    let mut requests: Vec<u64> = Vec::new();
    let mut spans = 0;
    let query = "SELECT connection_id, kind, method, path, outcome, CAST(start_time AS BIGINT) AS start_ns, duration_ns FROM spans";
    let mut batches = catalog::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let rows = Rows::new(&batch)?;
        for row in 0..rows.len() {
            let Some(coded) = rows.code(row, keys) else { continue };
            latencies.add(coded.lane, rows.start_ns.value(row) - bins.begin_ns, rows.duration_ns.value(row));
            requests.resize(keys.streams.len().max(requests.len()), 0);
            each_stream(keys, coded, |stream| requests[stream as usize] += 1);
        }
        spans += rows.len() as u64;
        progress(spans);
    }
    let (mut streams, left_out) = chosen(keys, &requests, bins, by);
    let ordinary = latencies.ordinary();
    drop(latencies);
    let mut batches = catalog::plan(context, query).await?.execute_stream().await?;
    let mut again = spans;
    while let Some(batch) = batches.next().await.transpose()? {
        let rows = Rows::new(&batch)?;
        for row in 0..rows.len() {
            let Some(coded) = rows.code(row, keys) else { continue };
            let span = rows.span(row, ordinary[coded.lane as usize]);
            each_stream(keys, coded, |stream| add(&mut streams[stream as usize], &span, bins));
        }
        again += rows.len() as u64;
        progress(again);
    }
    Ok(Counted { bins, streams, ordinary, spans, left_out })
}

fn each_stream(keys: &Keys, coded: Coded, mut f: impl FnMut(u32)) {
    keys.lanes[coded.lane as usize].streams.iter().for_each(|&stream| f(stream));
    coded.connection.into_iter().for_each(f);
}

/// The streams that are counted, those with the most requests where not all fit.
fn chosen(keys: &Keys, requests: &[u64], bins: Bins, by: &[By]) -> (Vec<Counts>, usize) {
    let wanted =
        |stream: &usize| requests[*stream] >= FEWEST_REQUESTS && by.contains(&keys.streams[*stream].by);
    let mut order: Vec<usize> = (0..requests.len()).filter(wanted).collect();
    order.sort_by_key(|&stream| std::cmp::Reverse(requests[stream]));
    let most = (MOST_CELLS / bins.count).max(16);
    let mut streams = vec![Counts::default(); keys.streams.len()];
    for &stream in order.iter().take(most) {
        streams[stream].begun = vec![0; bins.count];
        if matches!(keys.streams[stream].by, By::Hop | By::Service) {
            streams[stream].completed = vec![0; bins.count];
        }
    }
    (streams, order.len().saturating_sub(most))
}

/// What counting needs of a span.
pub struct Span {
    /// Begin, ns since 1970 UTC.
    pub start_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// It came to its end, however bad.
    pub completed: bool,
    /// The bad thing about it that is worst.
    pub failed: Option<Metric>,
    /// It took longer than the ordinary ones of its lane.
    pub slow: bool,
    /// Ordinary median of its lane, ns.
    pub median_ns: i64,
}

fn add(counts: &mut Counts, span: &Span, bins: Bins) {
    if counts.begun.is_empty() {
        return;
    }
    if let Some(bin) = bins.of(span.start_ns) {
        counts.begun[bin] += 1;
    }
    if span.completed
        && let Some(bin) = bins.of(span.start_ns + span.duration_ns)
        && let Some(cell) = counts.completed.get_mut(bin)
    {
        *cell += 1;
    }
    let excess_ns = (span.duration_ns - span.median_ns).max(0);
    let bad = |metric| Bad { metric, start_ns: span.start_ns, duration_ns: span.duration_ns, excess_ns };
    counts.bad.extend(span.failed.map(bad));
    counts.bad.extend(span.slow.then(|| bad(Metric::Latency)));
}

/// The columns of a batch of `spans` that are counted.
pub struct Rows {
    connection_id: Int64Array,
    kind: StringViewArray,
    method: StringViewArray,
    path: StringViewArray,
    outcome: StringViewArray,
    start_ns: Int64Array,
    duration_ns: Int64Array,
}

impl Rows {
    /// From a batch with `connection_id`, `kind`, `method`, `path`, `outcome`, `start_ns` and `duration_ns`.
    pub fn new(batch: &RecordBatch) -> Result<Rows> {
        let number =
            |name| Ok::<Int64Array, Error>(typed(batch, name, &DataType::Int64)?.as_primitive().clone());
        let text = |name| {
            Ok::<StringViewArray, Error>(typed(batch, name, &DataType::Utf8View)?.as_string_view().clone())
        };
        Ok(Rows {
            connection_id: number("connection_id")?,
            kind: text("kind")?,
            method: text("method")?,
            path: text("path")?,
            outcome: text("outcome")?,
            start_ns: number("start_ns")?,
            duration_ns: number("duration_ns")?,
        })
    }

    /// Rows of the batch.
    pub fn len(&self) -> usize {
        self.kind.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers of a row's lane and streams.
    pub fn code(&self, row: usize, keys: &mut Keys) -> Option<Coded> {
        let server = self.kind.value(row) == "server";
        let method = if self.method.is_valid(row) { self.method.value(row) } else { "" };
        let path = if self.path.is_valid(row) { self.path.value(row) } else { "" };
        keys.code(self.connection_id.value(row), server, method, path)
    }

    /// Begin of a row's span, ns since 1970 UTC.
    pub fn start_ns(&self, row: usize) -> i64 {
        self.start_ns.value(row)
    }

    /// Connection of a row's span.
    pub fn connection_id(&self, row: usize) -> i64 {
        self.connection_id.value(row)
    }

    /// What counting needs of a row.
    pub fn span(&self, row: usize, ordinary: Ordinary) -> Span {
        let duration_ns = self.duration_ns.value(row);
        let outcome = self.outcome.value(row);
        let failed = match outcome {
            "client_closed" => Some(Metric::ClientClosed),
            "error" | "server_closed" | "reset" => Some(Metric::Errors),
            _ => None,
        };
        Span {
            start_ns: self.start_ns.value(row),
            duration_ns,
            completed: !matches!(outcome, "timeout_cut" | "lost"),
            failed,
            slow: outcome != "lost" && duration_ns > ordinary.slow_ns,
            median_ns: ordinary.median_ns,
        }
    }
}

impl Counts {
    /// The series of a metric. Completions stand for requests where what is counted is what did not come.
    pub fn series(&self, metric: Metric, bins: Bins) -> Series {
        let total = if metric == Metric::Missing { self.completed.clone() } else { self.begun.clone() };
        let mut bad = vec![0; total.len()];
        let mut excess_ns = vec![0.0; total.len()];
        for request in self.bad.iter().filter(|bad| bad.metric == metric) {
            if let Some(bin) = bins.of(request.start_ns).filter(|&bin| bin < bad.len()) {
                bad[bin] += 1;
                excess_ns[bin] += request.excess_ns as f64;
            }
        }
        Series { bin_ns: bins.bin_ns, total, bad, excess_ns, lossy: Vec::new() }
    }
}
