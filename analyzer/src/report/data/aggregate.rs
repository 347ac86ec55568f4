//! The one pass over all spans that fills every heat map and histogram.

use std::collections::BTreeMap;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::hops::Hops;
use super::{
    FINE_CELLS, Fold, FoldValue, LATENCY_ROWS, Lost, PHASE_BEFORE, PHASES, Series, TIME_COLUMNS, Timeline,
    ZOOM_COLUMNS, fine_cell, row_of,
};
use crate::error::Result;
use crate::findings::{Metric, Spike};
use crate::sql::session;
use crate::tables::columns::typed;
use crate::tables::outcome::{Failure, Outcome};

/// Hops with a series of their own; the others are seen in that of everything.
const MAX_SERIES: usize = 64;
/// Cycles with a column of their own.
const MAX_CYCLES: usize = 20_000;

/// Reads all spans once.
pub async fn run(
    context: &SessionContext,
    hops: &Hops,
    spikes: &[Spike],
    range_ns: [i64; 2],
    lost: &[Lost],
) -> Result<(Timeline, Vec<Fold>)> {
    let mut pass = Pass::new(hops, spikes, range_ns, lost);
    let query = "SELECT start_time, duration_ns, connection_id, kind, outcome FROM spans";
    let mut batches = session::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        pass.add(&batch)?;
    }
    Ok(pass.finish())
}

/// One span, as far as pictures go.
#[derive(Clone, Copy)]
struct Seen {
    start_ns: i64,
    duration_ns: i64,
    fine: usize,
    failed: bool,
    left: bool,
}

struct Pass<'a> {
    hops: &'a Hops,
    timeline: Timeline,
    /// The series of each hop and side.
    series: Vec<[Option<usize>; 2]>,
    folds: Vec<Folding>,
    /// The folds of each series.
    folds_of: BTreeMap<usize, Vec<usize>>,
}

/// A fold and what is needed to fill it.
struct Folding {
    fold: Fold,
    /// What times count from, ns since 1970: the tooth, or the onset where there was one.
    onsets_ns: Vec<i64>,
}

impl<'a> Pass<'a> {
    fn new(hops: &'a Hops, spikes: &[Spike], [from_ns, to_ns]: [i64; 2], lost: &[Lost]) -> Pass<'a> {
        let column_ns = to_ns.saturating_sub(from_ns) / TIME_COLUMNS as i64 + 1;
        let mut timeline =
            Timeline { from_ns, column_ns, columns: TIME_COLUMNS, series: vec![empty("all hops", "")] };
        let mut series = vec![[None; 2]; hops.list.len()];
        for (place, hop) in hops.list.iter().enumerate().take(MAX_SERIES) {
            for (side, seen_by) in [(0, &hop.from), (1, &hop.to)] {
                if hop.recorded[side] {
                    series[place][side] = Some(timeline.series.len());
                    timeline.series.push(empty(&hop.name(), seen_by));
                }
            }
        }
        let mut folds = Vec::new();
        let mut folds_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for spike in spikes {
            let name = |series: &Series| series.name == spike.hop;
            let place = timeline.series.iter().position(name).unwrap_or_default();
            folds_of.entry(place).or_default().push(folds.len());
            folds.push(Folding::new(spike, &timeline.series[place].name, [from_ns, to_ns], lost));
        }
        Pass { hops, timeline, series, folds, folds_of }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let start = typed(batch, "start_time", &utc)?;
        let duration = typed(batch, "duration_ns", &DataType::Int64)?;
        let connection = typed(batch, "connection_id", &DataType::Int64)?;
        let kind = typed(batch, "kind", &DataType::Utf8View)?;
        let outcome = typed(batch, "outcome", &DataType::Utf8View)?;
        let start = start.as_primitive::<TimestampNanosecondType>().values();
        let duration = duration.as_primitive::<Int64Type>().values();
        let connection = connection.as_primitive::<Int64Type>().values();
        let (kind, outcome) = (kind.as_string_view(), outcome.as_string_view());
        for row in 0..batch.num_rows() {
            let failure = Outcome::of(outcome.value(row)).and_then(Outcome::failure);
            let (failed, left) = (failure == Some(Failure::Failed), failure == Some(Failure::GaveUp));
            let fine = fine_cell(duration[row]);
            let seen = Seen { start_ns: start[row], duration_ns: duration[row], fine, failed, left };
            self.count(connection[row], usize::from(kind.value(row) == "server"), seen);
        }
        Ok(())
    }

    fn count(&mut self, connection_id: i64, side: usize, seen: Seen) {
        let hop = self.hops.of_connection.get(&connection_id).copied();
        let first_side =
            hop.and_then(|hop| self.hops.list.get(hop)).is_none_or(|hop| hop.first_side() == side);
        let own = hop.and_then(|hop| self.series.get(hop)).and_then(|sides| sides[side]);
        // What both ends recorded counts once in the sum of everything.
        let sum = first_side.then_some(0);
        for place in sum.into_iter().chain(own) {
            self.timeline.count(place, seen);
            for &fold in self.folds_of.get(&place).map_or(&[][..], Vec::as_slice) {
                self.folds[fold].count(seen);
            }
        }
    }

    fn finish(self) -> (Timeline, Vec<Fold>) {
        let mut timeline = self.timeline;
        // The sum stays first; a series without spans says nothing.
        let all = timeline.series.remove(0);
        timeline.series.retain(|series| series.requests > 0);
        timeline.series.sort_by_key(|series| std::cmp::Reverse(series.requests));
        timeline.series.insert(0, all);
        (timeline, self.folds.into_iter().map(|folding| folding.fold).collect())
    }
}

fn empty(name: &str, seen_by: &str) -> Series {
    Series {
        name: name.to_owned(),
        seen_by: seen_by.to_owned(),
        cells: vec![0; TIME_COLUMNS * LATENCY_ROWS],
        failed_by_column: vec![0; TIME_COLUMNS],
        left_by_column: vec![0; TIME_COLUMNS],
        histogram: vec![0; FINE_CELLS],
        ..Series::default()
    }
}

impl Timeline {
    fn count(&mut self, place: usize, seen: Seen) {
        let column = seen.start_ns.saturating_sub(self.from_ns) / self.column_ns;
        let column = column.clamp(0, self.columns as i64 - 1) as usize;
        let series = &mut self.series[place];
        series.requests += 1;
        series.histogram[seen.fine] += 1;
        series.cells[row_of(seen.fine) * self.columns + column] += 1;
        if seen.failed {
            series.failed += 1;
            series.failed_by_column[column] += 1;
        }
        if seen.left {
            series.left += 1;
            series.left_by_column[column] += 1;
        }
    }
}

impl Folding {
    fn new(spike: &Spike, series: &str, [from_ns, to_ns]: [i64; 2], lost: &[Lost]) -> Folding {
        // A period of nothing would make cycles without end.
        let length_ns = to_ns.saturating_sub(from_ns).max(1) as f64;
        let period_ns = (spike.period_s * 1e9).max(length_ns / MAX_CYCLES as f64).max(1.0);
        let cycle_of = |ns: i64| {
            (ns.saturating_sub(spike.first_tooth_ns) as f64 / period_ns + PHASE_BEFORE).floor() as i64
        };
        let (first, last) = (cycle_of(from_ns), cycle_of(to_ns));
        let cycles = usize::try_from(last - first + 1).unwrap_or(1).clamp(1, MAX_CYCLES + 2);
        let mut onsets_ns: Vec<i64> = (first..)
            .take(cycles)
            .map(|cycle| spike.first_tooth_ns.saturating_add((cycle as f64 * period_ns) as i64))
            .collect();
        for cycle in &spike.cycle_table {
            // An expected time lies on the tooth itself: well within its cycle.
            let place = usize::try_from(cycle_of(cycle.expected_ns) - first).ok();
            if let (Some(onset_ns), Some(slot)) = (cycle.onset_ns, place.and_then(|p| onsets_ns.get_mut(p))) {
                *slot = onset_ns;
            }
        }
        let mut fold = Fold {
            series: series.to_owned(),
            period_ns,
            first_tooth_ns: spike.first_tooth_ns,
            first_cycle: first + 1,
            last_cycle: (to_ns.saturating_sub(spike.first_tooth_ns) as f64 / period_ns).floor() as i64 + 1,
            cycles,
            value: match spike.metric {
                Metric::Latency => FoldValue::Slowest,
                Metric::Errors => FoldValue::Failed,
                Metric::ClientClosed => FoldValue::Left,
                Metric::Missing => FoldValue::Requests,
            },
            values: vec![0.0; cycles * PHASES],
            lossy: vec![false; cycles * PHASES],
            zoom: vec![0; ZOOM_COLUMNS * LATENCY_ROWS],
            zoom_s: window_s(spike),
        };
        fold.mark_lost(lost, [from_ns, to_ns]);
        Folding { fold, onsets_ns }
    }

    fn count(&mut self, seen: Seen) {
        let Some((cycle, phase)) = self.fold.place(seen.start_ns) else { return };
        let value = &mut self.fold.values[cycle * PHASES + phase];
        match self.fold.value {
            FoldValue::Slowest => *value = value.max(seen.duration_ns as f64),
            FoldValue::Failed => *value += f64::from(u8::from(seen.failed)),
            FoldValue::Left => *value += f64::from(u8::from(seen.left)),
            FoldValue::Requests => *value += 1.0,
        }
        let since_s = seen.start_ns.saturating_sub(self.onsets_ns[cycle]) as f64 / 1e9;
        let [from_s, to_s] = self.fold.zoom_s;
        let column = ((since_s - from_s) / (to_s - from_s) * ZOOM_COLUMNS as f64).floor();
        if (0.0..ZOOM_COLUMNS as f64).contains(&column) {
            self.fold.zoom[row_of(seen.fine) * ZOOM_COLUMNS + column as usize] += 1;
        }
    }
}

impl Fold {
    /// The number of a column's cycle in the table of cycles; None where there is no tooth.
    pub fn number(&self, column: usize) -> Option<usize> {
        let number = self.first_cycle + column as i64;
        usize::try_from(number).ok().filter(|_| number > 0 && number <= self.last_cycle)
    }

    /// Cycle and phase of a time, counted from 0.
    pub fn place(&self, ns: i64) -> Option<(usize, usize)> {
        let turns = ns.saturating_sub(self.first_tooth_ns) as f64 / self.period_ns + PHASE_BEFORE;
        let cycle = turns.floor();
        let column = usize::try_from(cycle as i64 + 1 - self.first_cycle).ok()?;
        let phase = ((turns - cycle) * PHASES as f64) as usize;
        (column < self.cycles).then_some((column, phase.min(PHASES - 1)))
    }

    fn mark_lost(&mut self, lost: &[Lost], [begin_ns, end_ns]: [i64; 2]) {
        let cell_ns = (self.period_ns / PHASES as f64).max(1.0) as i64;
        for lost in lost {
            let last_ns = lost.to_ns.min(end_ns);
            let mut next_ns = lost.from_ns.max(begin_ns);
            while next_ns <= last_ns {
                for at_ns in [next_ns, next_ns.saturating_add(cell_ns).min(last_ns)] {
                    if let Some((cycle, phase)) = self.place(at_ns) {
                        self.lossy[cycle * PHASES + phase] = true;
                    }
                }
                next_ns = next_ns.saturating_add(cell_ns);
            }
        }
    }
}

/// The time around an onset that shows a whole spike: from half its length before to two lengths after,
/// s. Half a period where no length is known.
fn window_s(spike: &Spike) -> [f64; 2] {
    let mut lengths_s: Vec<f64> = spike
        .cycle_table
        .iter()
        .filter_map(|cycle| Some(cycle.end_ns?.saturating_sub(cycle.onset_ns?) as f64 / 1e9))
        .collect();
    lengths_s.sort_by(f64::total_cmp);
    let median_s = lengths_s.get(lengths_s.len() / 2).copied().unwrap_or(spike.period_s / 6.0);
    let length_s = median_s.max(spike.period_s / 400.0).clamp(1e-4, (spike.period_s / 3.0).max(1e-3));
    [-0.5 * length_s, 2.0 * length_s]
}
