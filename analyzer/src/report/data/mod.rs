//! What the pictures show, as plain data.
//!
//! Times named `_ns` are nanoseconds since 1970 UTC unless they are durations.

pub mod examples;
pub mod folds;
pub mod hops;
pub mod kernel_events;
pub mod load;
pub mod timeline;
pub mod traces;

use self::examples::Example;
use crate::findings::Findings;
use crate::tables::outcome::Outcome;
use crate::tables::spans::Sides;

/// Cells of a decade of latency in a heat map.
pub const CELLS_PER_DECADE: usize = 8;
/// Cells of a decade in the histograms behind quantiles.
pub const FINE_PER_DECADE: usize = 40;
/// Shortest latency told apart, decimal logarithm, ns.
pub const LOWEST_DECADE: usize = 3;
/// Decades of latency: 1 µs to 1000 s.
pub const DECADES: usize = 9;
/// Rows of a heat map of latencies.
pub const LATENCY_ROWS: usize = DECADES * CELLS_PER_DECADE;
/// Cells of a histogram.
pub const FINE_CELLS: usize = DECADES * FINE_PER_DECADE;
/// Columns of a heat map over time.
pub const TIME_COLUMNS: usize = 432;
/// Parts of a period in a folded heat map.
pub const PHASES: usize = 96;
/// Steps of time in the picture of one spike.
pub const ZOOM_COLUMNS: usize = 144;
/// A folded heat map begins so much of a period before the spike, so that the spike is not cut.
pub const PHASE_BEFORE: f64 = 0.25;

/// Everything the report shows.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Name of the capture's directory.
    pub name: String,
    /// Facts about the recording: name and value.
    pub facts: Vec<(String, String)>,
    /// The recording host's offset from UTC, s.
    pub utc_offset_s: i32,
    /// Begin of the recording.
    pub from_ns: i64,
    /// Its end.
    pub to_ns: i64,
    /// What `spikes` says.
    pub findings: Findings,
    /// Latencies over time.
    pub timeline: Timeline,
    /// One for each of `findings.spikes`, as far as there is room.
    pub folds: Vec<Fold>,
    /// Who asks whom.
    pub edges: Vec<Edge>,
    /// Traces to look at.
    pub traces: Vec<TraceGroup>,
    /// Times of which events are missing.
    pub lost: Vec<Lost>,
}

impl Report {
    /// The name of a series' examples; None where it is not one of the report's.
    pub fn series_examples(&self, series: &Series) -> Option<String> {
        let place = self.timeline.series.iter().position(|other| std::ptr::eq(other, series))?;
        Some(format!("series-{place}"))
    }

    /// The name of a fold's examples.
    pub fn fold_examples(place: usize) -> String {
        format!("fold-{place}")
    }
}

/// Latencies over time, by series.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Begin of the first column.
    pub from_ns: i64,
    /// Width of a column.
    pub column_ns: i64,
    /// Number of columns.
    pub columns: usize,
    /// Everything first, then one side of a hop each, most requests first.
    pub series: Vec<Series>,
}

/// Requests of one population over time.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// `inner-envoy -> nginx:8080`.
    pub name: String,
    /// Who saw it.
    pub seen_by: String,
    /// Requests.
    pub requests: u64,
    /// Outcome `error`, `server_closed` or `reset`.
    pub failed: u64,
    /// Whose client gave up.
    pub left: u64,
    /// Requests by row and column; row 0 is the shortest latency.
    pub cells: Vec<u32>,
    /// Failed requests by column.
    pub failed_by_column: Vec<u32>,
    /// Clients that gave up by column.
    pub left_by_column: Vec<u32>,
    /// Requests by fine cell of latency.
    pub histogram: Vec<u64>,
    /// A few requests of each cell.
    pub examples: Vec<Example>,
}

/// The requests of a spike's stream, folded at its period.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// The stream it shows: that in which the spike was found.
    pub series: String,
    /// The period, ns.
    pub period_ns: f64,
    /// The first tooth.
    pub first_tooth_ns: i64,
    /// Number of the first column's cycle: 1 is that of the first tooth, 0 what came before it.
    pub first_cycle: i64,
    /// Number of the last cycle whose tooth lies in the recording.
    pub last_cycle: i64,
    /// Cycles.
    pub cycles: usize,
    /// What `values` are.
    pub value: FoldValue,
    /// By cycle and phase: [`PHASES`] a cycle.
    pub values: Vec<f64>,
    /// Whether events are missing, likewise.
    pub lossy: Vec<bool>,
    /// Requests around the onsets by latency and time, all cycles together: row 0 is the shortest latency.
    pub zoom: Vec<u32>,
    /// Begin and end of `zoom`, s from the onset.
    pub zoom_s: [f64; 2],
    /// A few requests of each cell of `values`.
    pub examples: Vec<Example>,
}

/// What a folded heat map shows in a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FoldValue {
    /// The slowest request, ns.
    #[default]
    Slowest,
    /// Failed requests.
    Failed,
    /// Clients that gave up.
    Left,
    /// Requests that came to their end, at their end: what matters is where there are none.
    Completed,
}

/// A hop, as an edge of the service map.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    /// The requesting process.
    pub from: String,
    /// The answering process.
    pub to: String,
    /// `inner-envoy -> nginx:8080`.
    pub name: String,
    /// Requests.
    pub requests: u64,
    /// Failed ones.
    pub failed: u64,
    /// Whose client gave up.
    pub left: u64,
    /// Median latency, ns.
    pub p50_ns: f64,
    /// Latency that one in a hundred exceeds, ns.
    pub p99_ns: f64,
    /// Bytes of requests and answers are not shown, connections are.
    pub connections: u64,
    /// The figures are those of the requesting side, else of the answering one.
    pub seen_by_client: bool,
    /// What spans of either side are.
    pub sides: Sides,
}

/// Traces of one kind.
#[derive(Clone, Debug, Default)]
pub struct TraceGroup {
    /// Of which finding, from 0; None for the whole recording.
    pub finding: Option<usize>,
    /// Ordinary ones.
    pub typical: Vec<Trace>,
    /// Slow or failed ones.
    pub slow: Vec<Trace>,
}

/// A trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Its id.
    pub id: String,
    /// Begin.
    pub start_ns: i64,
    /// Length, ns.
    pub length_ns: i64,
    /// Spans in the order of a tree.
    pub spans: Vec<Bar>,
    /// Spans that are not shown.
    pub more: usize,
}

/// A span of a trace.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// Depth in the tree.
    pub depth: usize,
    /// `client` or `server`.
    pub kind: String,
    /// Its own time is work of the process that answers.
    pub works: bool,
    /// `curl -> nginx:8080`.
    pub hop: String,
    /// Method, path, status.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
    /// From the trace's begin, ns.
    pub offset_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// Own time, ns.
    pub own_ns: i64,
    /// Own time as intervals from the trace's begin, ns.
    pub own: Vec<[i64; 2]>,
    /// Everything known about it: a line each.
    pub evidence: Vec<String>,
    /// What the kernel noted meanwhile of its process and its connection.
    pub marks: Vec<Mark>,
}

/// Something that happened while a span was under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Begin, from the trace's begin, ns.
    pub from_ns: i64,
    /// End.
    pub to_ns: i64,
    /// In words.
    pub words: String,
}

/// A time of which events are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Begin.
    pub from_ns: i64,
    /// End.
    pub to_ns: i64,
    /// How many.
    pub count: u64,
    /// Of what, and why.
    pub what: String,
}

/// The fine cell of a latency.
pub fn fine_cell(latency_ns: i64) -> usize {
    let logarithm = (latency_ns.max(1) as f64).log10() - LOWEST_DECADE as f64;
    ((logarithm * FINE_PER_DECADE as f64) as usize).min(FINE_CELLS - 1)
}

/// The row of a fine cell in a heat map.
pub fn row_of(fine: usize) -> usize {
    fine / (FINE_PER_DECADE / CELLS_PER_DECADE)
}

/// A quantile of a histogram of [`fine_cell`]s, ns: within 3 %. 0 where it is empty.
pub fn quantile(histogram: &[u64], part: f64) -> f64 {
    let all: u64 = histogram.iter().sum();
    let wanted = (part * all as f64).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (cell, &count) in histogram.iter().enumerate() {
        seen += count;
        if seen >= wanted {
            return 10_f64.powf(LOWEST_DECADE as f64 + (cell as f64 + 0.5) / FINE_PER_DECADE as f64);
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut histogram = vec![0; FINE_CELLS];
        for latency_us in 1..=1000 {
            histogram[fine_cell(latency_us * 1000)] += 1;
        }
        for (part, right) in [(0.5, 500e3), (0.99, 990e3), (0.01, 10e3)] {
            let found = quantile(&histogram, part);
            assert!((found / right - 1.0).abs() < 0.05, "{part}: {found}");
        }
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn every_latency_has_a_cell() {
        assert_eq!((fine_cell(-5), fine_cell(0), fine_cell(i64::MAX)), (0, 0, FINE_CELLS - 1));
        assert_eq!(row_of(fine_cell(10_100_000)), 4 * CELLS_PER_DECADE);
        assert_eq!(row_of(FINE_CELLS - 1), LATENCY_ROWS - 1);
    }
}
