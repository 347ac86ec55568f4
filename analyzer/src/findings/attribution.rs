//! Where the time goes: the excess of each cycle, split exactly over the hops of its traces.
//!
//! In a trace the own times of the spans add up to the root's duration. So the difference between requests that began in
//! a spike and requests that began half a period later splits over hops without a model; it is done for every cycle by
//! itself, since a coincidence seldom repeats. What a span waited for a connection (`connect_ns`: its children of kind `internal`, and
//! of its own time `accept_wait_ns`) is a part of the hop to that listener. Failures that take no longer than the ordinary have no excess to split: of
//! those counts where they begin, the innermost span of the trace that failed; where that had waited for a connection which
//! failed, with that.

mod split;

use std::collections::HashMap;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use self::split::{Part, Piece, Split, hops, quick_failures};
use super::baseline::Baseline;
use super::groups::Keys;
use super::rows::Rows;
use super::{DimensionShare, HopShare, Metric};
use crate::error::{Error, Result};
use crate::hashing::IntMap;
use crate::sql::session;
use crate::tables::columns::typed;

/// One cycle with an episode: when its requests began, and when ordinary ones of comparison did. Ns since 1970 UTC.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Begin of the episode, less what was under way then.
    pub from_ns: i64,
    /// End of the episode.
    pub to_ns: i64,
    /// Begin of the comparison.
    pub ordinary_from_ns: i64,
    /// Its end.
    pub ordinary_to_ns: i64,
    /// How long a request of either may go on after the window.
    pub slack_ns: i64,
}

/// What requests in the windows were like.
#[derive(Clone, Debug, Default)]
pub struct Attribution {
    /// Parts of the excess, largest first.
    pub hops: Vec<HopShare>,
    /// Values that carry it, largest first.
    pub dimensions: Vec<DimensionShare>,
    /// Excess of the roots by cycle, s.
    pub excess_s: Vec<f64>,
    /// Requests of the stream by cycle: all, failed, given up.
    pub requests: Vec<[u64; 3]>,
    /// The longest by cycle, s.
    pub worst_s: Vec<f64>,
    /// Of so many traces one was read: numbers and excess are scaled by it, and estimates unless it is 1.
    pub sampled: u64,
    /// Traces nearest to the ordinary median.
    pub typical_traces: Vec<String>,
    /// Affected traces, slowest first.
    pub slow_traces: Vec<String>,
}

/// Own times of one trace.
struct Trace {
    /// Begin and duration of its root, or of its earliest span.
    start_ns: i64,
    duration_ns: i64,
    rooted: bool,
    of_stream: bool,
    bad: bool,
    /// Duration of the shortest span that failed, and where: of spans within each other the innermost.
    failed: Option<(i64, Piece)>,
    parts: Vec<(Piece, i64)>,
}

/// Traces looked at; beyond them one in a few is taken, by id.
const MOST_SPANS: f64 = 4e6;
/// Stretches that are asked for one by one; beyond them everything between the first and the last is read.
const MOST_RANGES: usize = 240;
/// Traces named as examples.
const EXAMPLES: usize = 4;
/// Values of a dimension that are named.
const MOST_VALUES: usize = 12;
/// Values that differ less from the ordinary tell nothing: 65 % instead of 50 %.
const LEAST_SURPRISE: f64 = 0.005;

/// Compares the requests of the windows, of a stream in which `metric` rose. `spans_per_ns` is the capture's rate.
pub async fn attribute(
    context: &SessionContext,
    keys: &mut Keys,
    ordinary: &[Baseline],
    (stream, metric): (u32, Metric),
    windows: &[Window],
    spans_per_ns: f64,
) -> Result<Attribution> {
    let ranges = ranges(windows);
    let covered_ns: f64 = ranges.iter().map(|(from, to)| (to - from) as f64).sum();
    let sample = (covered_ns * spans_per_ns / MOST_SPANS).ceil().max(1.0) as u64;
    let asked = query(&ranges, keys.sides.imported);
    let (traces, tally) = (HashMap::new(), Tally::default());
    let mut reading = Reading { keys, ordinary, stream, sample, windows, ranges, traces, tally };
    let mut batches = session::plan(context, &asked).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        reading.batch(&batch)?;
    }
    Ok(reading.finish(metric))
}

/// When requests that may belong to a window begin: stretches apart from each other, in order.
fn ranges(windows: &[Window]) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = windows
        .iter()
        .flat_map(|w| {
            [(w.from_ns, w.to_ns + w.slack_ns), (w.ordinary_from_ns, w.ordinary_to_ns + w.slack_ns)]
        })
        .collect();
    all.sort_unstable();
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    apart
}

/// Connections by id: one whose end was lost may have several rows.
const AWAITED: &str = "SELECT connection_id, min(hop) AS hop, min(connect_outcome) AS connect_outcome FROM connections GROUP BY connection_id";

/// The side of a span that is no request, and where it lies: of imported traces time within a process is that side's, too.
const SIDE: &str = "CASE WHEN s.kind <> 'internal' THEN s.kind WHEN s.socket_id = own.client_socket_id THEN 'client' ELSE 'server' END";
const OWN: &str = "LEFT JOIN (SELECT connection_id, client_socket_id FROM connections) own ON own.connection_id = s.connection_id";

fn query(ranges: &[(i64, i64)], imported: bool) -> String {
    let whole: Vec<(i64, i64)>;
    let mut asked = ranges;
    if ranges.len() > MOST_RANGES {
        whole =
            ranges.first().zip(ranges.last()).map(|(first, last)| (first.0, last.1)).into_iter().collect();
        asked = &whole;
    }
    let range = |(from, to): &(i64, i64)| {
        format!("(s.start_time >= to_timestamp_nanos({from}) AND s.start_time < to_timestamp_nanos({to}))")
    };
    let asked: Vec<String> = asked.iter().map(range).collect();
    let (kind, own, requests) =
        if imported { (SIDE, OWN, "") } else { ("s.kind", "", "s.kind <> 'internal' AND ") };
    format!(
        "SELECT s.connection_id, {kind} AS kind, s.kind = 'internal' AS within, s.operation, s.route, s.target, s.outcome, CAST(s.start_time AS BIGINT) AS start_ns, s.duration_ns,
                CASE WHEN awaited.hop IS NULL THEN s.own_ns + coalesce(s.connect_ns, 0) - coalesce(s.accept_wait_ns, 0)
                     ELSE s.own_ns - coalesce(s.accept_wait_ns, 0) END AS own_ns, s.trace_id, s.parent_span_id IS NULL AS root, s.pid, s.cpu, s.connect_ns, awaited.hop AS connect_hop,
                CASE WHEN s.link_evidence = 'connection' THEN s.queued_ns END AS queued_ns,
                coalesce(awaited.connect_outcome, 'ok') NOT IN ('ok', 'abandoned') AS connect_failed
         FROM spans s LEFT JOIN ({AWAITED}) awaited ON awaited.connection_id = s.connect_connection_id {own}
         WHERE {requests}({})",
        if asked.is_empty() { "false".to_owned() } else { asked.join(" OR ") }
    )
}

struct Reading<'a> {
    keys: &'a mut Keys,
    ordinary: &'a [Baseline],
    stream: u32,
    sample: u64,
    windows: &'a [Window],
    ranges: Vec<(i64, i64)>,
    traces: HashMap<u128, Trace>,
    tally: Tally,
}

/// Requests of the stream by value of a dimension.
#[derive(Default)]
struct Tally {
    bad: HashMap<(&'static str, String), HashMap<usize, u64>>,
    ordinary: HashMap<(&'static str, String), u64>,
    bad_by_cycle: HashMap<usize, u64>,
    ordinary_total: u64,
    by_cycle: IntMap<u64, [u64; 3]>,
}

impl Tally {
    fn count(
        &mut self,
        place: Place,
        values: [(&'static str, String); 6],
        bad: bool,
        failed: Option<Metric>,
    ) {
        match place {
            Place::Spike(cycle) => {
                let requests = self.by_cycle.entry(cycle as u64).or_default();
                requests[0] += 1;
                requests[1] += u64::from(failed == Some(Metric::Errors));
                requests[2] += u64::from(failed == Some(Metric::ClientClosed));
                if bad {
                    *self.bad_by_cycle.entry(cycle).or_default() += 1;
                    for value in values {
                        *self.bad.entry(value).or_default().entry(cycle).or_default() += 1;
                    }
                }
            }
            Place::Ordinary => {
                self.ordinary_total += 1;
                for value in values {
                    *self.ordinary.entry(value).or_default() += 1;
                }
            }
        }
    }
}

/// Which window a moment is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Spike(usize),
    Ordinary,
}

impl Reading<'_> {
    fn place(&self, start_ns: i64) -> Option<Place> {
        let next = self.windows.partition_point(|w| w.from_ns <= start_ns);
        let cycle = next.checked_sub(1);
        let in_spike = |&cycle: &usize| start_ns < self.windows[cycle].to_ns;
        if let Some(cycle) = cycle.filter(in_spike) {
            return Some(Place::Spike(cycle));
        }
        let around = cycle.into_iter().chain((next < self.windows.len()).then_some(next));
        let ordinary = |cycle: usize| {
            let w = &self.windows[cycle];
            (w.ordinary_from_ns..w.ordinary_to_ns).contains(&start_ns)
        };
        around.into_iter().any(ordinary).then_some(Place::Ordinary)
    }

    /// Whether a moment is in one of the stretches.
    fn covered(&self, start_ns: i64) -> bool {
        let next = self.ranges.partition_point(|range| range.0 <= start_ns);
        next.checked_sub(1).is_some_and(|range| start_ns < self.ranges[range].1)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = Rows::new(batch)?;
        let number =
            |name| Ok::<Int64Array, Error>(typed(batch, name, &DataType::Int64)?.as_primitive().clone());
        let own_ns = number("own_ns")?;
        let (pids, cpus) = (number("pid")?, number("cpu")?);
        let traces: StringViewArray = typed(batch, "trace_id", &DataType::Utf8View)?.as_string_view().clone();
        let truth = |name| Ok::<_, Error>(typed(batch, name, &DataType::Boolean)?.as_boolean().clone());
        let (roots, within): (BooleanArray, BooleanArray) = (truth("root")?, truth("within")?);
        let waits = Waits::new(batch)?;
        let queued = number("queued_ns")?;
        for row in (0..rows.len()).filter(|&row| self.covered(rows.start_ns(row))).collect::<Vec<_>>() {
            let trace_id = u128::from_str_radix(traces.value(row), 16).unwrap_or_default();
            // Ids given by applications may count up; the low bits of a product do not.
            let mixed = trace_id.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 64;
            if !mixed.is_multiple_of(u128::from(self.sample)) {
                continue;
            }
            let (connection_id, within) = (rows.connection_id(row), within.value(row));
            let what = if within { ("", "") } else { (rows.operation(row), rows.target(row)) };
            let code = self.keys.code(connection_id, rows.is_server(row), what.0, what.1);
            let Some(coded) = code else { continue };
            let ordinary = self.ordinary.get(coded.class as usize).copied().unwrap_or_default();
            let span = rows.span(row, ordinary);
            let class = &self.keys.classes[coded.class as usize];
            let of_stream =
                !within && (class.streams.contains(&self.stream) || coded.connection == Some(self.stream));
            let bad = span.slow || span.failed.is_some();
            if of_stream && let Some(place) = self.place(span.start_ns) {
                let known = |numbers: &Int64Array| numbers.is_valid(row).then(|| numbers.value(row));
                let values = self.values(&rows, row, coded.class, (known(&pids), known(&cpus)));
                self.tally.count(place, values, bad, span.failed);
            }
            let hop = class.hop;
            let own = (hop, if class.server { Part::Server } else { Part::Network });
            let (waited_ns, awaited) = match waits.of(row) {
                Some((ns, hop)) => (ns, Some((self.keys.hop(hop), Part::Connect))),
                None => (0, None),
            };
            let trace = self.traces.entry(trace_id).or_insert(Trace {
                start_ns: i64::MAX,
                duration_ns: 0,
                rooted: false,
                of_stream: false,
                bad: false,
                failed: None,
                parts: Vec::with_capacity(6),
            });
            if span.failed == Some(Metric::Errors)
                && trace.failed.is_none_or(|(shortest_ns, _)| span.duration_ns < shortest_ns)
            {
                let begun = awaited.filter(|_| waits.failed(row)).unwrap_or(own);
                trace.failed = Some((span.duration_ns, begun));
            }
            trace.of_stream |= of_stream;
            trace.bad |= bad && of_stream;
            trace.parts.push((own, own_ns.value(row)));
            trace.parts.extend(awaited.map(|part| (part, waited_ns)));
            if queued.is_valid(row) {
                // The client's own time has it.
                let queued_ns = queued.value(row);
                trace.parts.push(((hop, Part::Queue), queued_ns));
                trace.parts.push(((hop, Part::Network), -queued_ns));
            }
            let root = roots.value(row);
            if (root && !trace.rooted) || (root == trace.rooted && span.start_ns < trace.start_ns) {
                (trace.start_ns, trace.duration_ns, trace.rooted) = (span.start_ns, span.duration_ns, root);
            }
        }
        Ok(())
    }

    /// A request's value of every dimension.
    fn values(
        &self,
        rows: &Rows,
        row: usize,
        class: u32,
        (pid, cpu): (Option<i64>, Option<i64>),
    ) -> [(&'static str, String); 6] {
        let class = &self.keys.classes[class as usize];
        let number = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        [
            ("hop", self.keys.streams[class.hop as usize].label.clone()),
            ("route", class.route.to_string()),
            ("peer", class.src_addr.to_string()),
            ("process", format!("{} ({})", class.process, number(pid))),
            ("connection", rows.connection_id(row).to_string()),
            ("cpu", number(cpu)),
        ]
    }

    fn finish(self, metric: Metric) -> Attribution {
        let cycles = self.windows.len();
        let mut spikes: Vec<Split> = vec![Split::default(); cycles];
        let mut ordinary = Split::default();
        let mut worst_s = vec![0.0f64; cycles];
        let (mut slow, mut usual) = (Vec::<(i64, u128)>::new(), Vec::<(i64, u128)>::new());
        for (&id, trace) in self.traces.iter().filter(|(_, trace)| trace.of_stream) {
            match self.place(trace.start_ns) {
                Some(Place::Spike(cycle)) => {
                    spikes[cycle].add(trace);
                    worst_s[cycle] = worst_s[cycle].max(trace.duration_ns as f64 * 1e-9);
                    if trace.bad {
                        slow.push((trace.duration_ns, id));
                    }
                }
                Some(Place::Ordinary) => {
                    ordinary.add(trace);
                    if !trace.bad {
                        usual.push((trace.duration_ns, id));
                    }
                }
                None => {}
            }
        }
        slow.sort_unstable_by(|a, b| b.cmp(a));
        usual.sort_unstable();
        let middle = usual.len().saturating_sub(EXAMPLES) / 2;
        let name = |(_, id): &(i64, u128)| format!("{id:032x}");
        let quick = metric == Metric::Errors && quick_failures(&spikes, &ordinary);
        let scale = self.sample as f64;
        let scaled = |mut hop: HopShare| {
            hop.excess_s *= scale;
            hop.failures *= self.sample;
            hop
        };
        let requests = |cycle| {
            self.tally.by_cycle.get(&cycle).copied().unwrap_or_default().map(|count| count * self.sample)
        };
        Attribution {
            hops: hops(&spikes, &ordinary, self.keys, quick).into_iter().map(scaled).collect(),
            dimensions: dimensions(&self.tally),
            excess_s: spikes.iter().map(|split| scale * split.excess_s(&ordinary)).collect(),
            requests: (0..cycles as u64).map(requests).collect(),
            worst_s,
            sampled: self.sample,
            typical_traces: usual.iter().skip(middle).take(EXAMPLES).map(name).collect(),
            slow_traces: slow.iter().take(EXAMPLES).map(name).collect(),
        }
    }
}

/// What spans waited for connections.
struct Waits {
    ns: Int64Array,
    hops: StringViewArray,
    failed: BooleanArray,
}

impl Waits {
    fn new(batch: &RecordBatch) -> Result<Waits> {
        Ok(Waits {
            ns: typed(batch, "connect_ns", &DataType::Int64)?.as_primitive().clone(),
            hops: typed(batch, "connect_hop", &DataType::Utf8View)?.as_string_view().clone(),
            failed: typed(batch, "connect_failed", &DataType::Boolean)?.as_boolean().clone(),
        })
    }

    /// How long the row's span waited, and at which hop.
    fn of(&self, row: usize) -> Option<(i64, &str)> {
        let known = self.ns.is_valid(row) && self.hops.is_valid(row);
        known.then(|| (self.ns.value(row), self.hops.value(row)))
    }

    /// Whether the connection that it waited for was never established, and not for its own haste.
    fn failed(&self, row: usize) -> bool {
        self.failed.is_valid(row) && self.failed.value(row)
    }
}

fn dimensions(tally: &Tally) -> Vec<DimensionShare> {
    let bad_total: u64 = tally.bad_by_cycle.values().sum();
    let mut shares: Vec<DimensionShare> = tally
        .bad
        .iter()
        .map(|((dimension, value), by_cycle)| {
            let of_ordinary = tally.ordinary.get(&(*dimension, value.clone())).copied().unwrap_or_default();
            let share_of_ordinary = of_ordinary as f64 / tally.ordinary_total.max(1) as f64;
            let above = |(cycle, &n): (&usize, &u64)| {
                n as f64 / tally.bad_by_cycle.get(cycle).copied().unwrap_or(1).max(1) as f64
                    > share_of_ordinary
            };
            DimensionShare {
                dimension: (*dimension).to_owned(),
                value: value.clone(),
                share: by_cycle.values().sum::<u64>() as f64 / bad_total.max(1) as f64,
                share_of_ordinary,
                positive_cycles: by_cycle.iter().filter(|&entry| above(entry)).count(),
            }
        })
        .collect();
    let weight = |s: &DimensionShare| surprise(s.share_of_ordinary, s.share);
    // What every request has in common tells nothing, and neither does a value of little weight.
    shares.retain(|s| {
        let telling = s.share_of_ordinary < 0.99 && weight(s) >= LEAST_SURPRISE;
        s.share >= 0.1 && s.share > s.share_of_ordinary && telling
    });
    shares.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| a.value.cmp(&b.value)));
    shares.truncate(MOST_VALUES);
    shares
}

/// How much a share differs from the ordinary one: Jensen-Shannon, as in Adtributor (Bhagwan et al., NSDI 2014).
fn surprise(p: f64, q: f64) -> f64 {
    let term = |x: f64| if x > 0.0 { x * (2.0 * x / (p + q)).ln() } else { 0.0 };
    0.5 * (term(p) + term(q))
}
