//! Folds: the requests of the stream that a spike was found in, by cycle and time in the cycle.
//!
//! What was seen is folded where it was seen: the hop at which the time goes may be another one, at which nobody gave up.

use datafusion::arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::examples::{self, Examples, Request, Texts};
use super::{Fold, FoldValue, LATENCY_ROWS, Lost, PHASE_BEFORE, PHASES, ZOOM_COLUMNS, fine_cell, row_of};
use crate::error::Result;
use crate::findings::{Metric, Spike};
use crate::sql::session;
use crate::tables::columns::{self, numbers};
use crate::tables::outcome::{Failure, Outcome};

/// Cycles with a column of their own.
const MAX_CYCLES: usize = 20_000;

/// The folds of these spikes, each from the spans of its stream.
pub async fn read(
    context: &SessionContext,
    spikes: &[Spike],
    range_ns: [i64; 2],
    lost: &[Lost],
) -> Result<Vec<Fold>> {
    let mut folds = Vec::with_capacity(spikes.len());
    for spike in spikes {
        let mut folding = Folding::new(spike, range_ns, lost);
        let query = format!(
            "SELECT CAST(start_time AS BIGINT) AS start_ns, duration_ns, {} FROM spans WHERE {}",
            examples::COLUMNS,
            spike.condition
        );
        let mut batches = session::plan(context, &query).await?.execute_stream().await?;
        while let Some(batch) = batches.next().await.transpose()? {
            folding.add(&batch)?;
        }
        folds.push(Fold { examples: folding.examples.list(), ..folding.fold });
    }
    Ok(folds)
}

/// A fold and what is needed to fill it.
struct Folding {
    fold: Fold,
    /// What times count from, ns since 1970: the tooth, or the onset where there was one.
    onsets_ns: Vec<i64>,
    examples: Examples,
}

impl Folding {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let (starts, durations) = (numbers(batch, "start_ns")?, numbers(batch, "duration_ns")?);
        let (outcomes, texts) = (columns::texts(batch, "outcome")?, Texts::of(batch)?);
        for row in 0..batch.num_rows() {
            let (start_ns, duration_ns) = (starts.value(row), durations.value(row));
            let outcome = Outcome::of(outcomes.value(row)).unwrap_or_default();
            let request = Request { start_ns, duration_ns, outcome };
            let Some(cell) = self.count(request) else { continue };
            self.zoom(request);
            self.examples.add(cell, request, &texts, row);
        }
        Ok(())
    }

    fn new(spike: &Spike, [from_ns, to_ns]: [i64; 2], lost: &[Lost]) -> Folding {
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
            series: spike.stream.clone(),
            period_ns,
            first_tooth_ns: spike.first_tooth_ns,
            first_cycle: first + 1,
            last_cycle: (to_ns.saturating_sub(spike.first_tooth_ns) as f64 / period_ns).floor() as i64 + 1,
            cycles,
            value: match spike.metric {
                Metric::Latency => FoldValue::Slowest,
                Metric::Errors => FoldValue::Failed,
                Metric::ClientClosed => FoldValue::Left,
                Metric::Missing => FoldValue::Completed,
            },
            values: vec![0.0; cycles * PHASES],
            lossy: vec![false; cycles * PHASES],
            zoom: vec![0; ZOOM_COLUMNS * LATENCY_ROWS],
            zoom_s: window_s(spike),
            examples: Vec::new(),
        };
        fold.mark_lost(lost, [from_ns, to_ns]);
        Folding { fold, onsets_ns, examples: Examples::default() }
    }

    /// Counts a request, at its begin or at its end, and gives the cell that it begins in.
    fn count(&mut self, request: Request) -> Option<usize> {
        let cell_at = |fold: &Fold, ns: i64| fold.place(ns).map(|(cycle, phase)| cycle * PHASES + phase);
        let is = |failure| f64::from(u8::from(request.outcome.failure() == Some(failure)));
        let begin = cell_at(&self.fold, request.start_ns);
        let (cell, value) = match self.fold.value {
            FoldValue::Slowest => (begin, request.duration_ns as f64),
            FoldValue::Failed => (begin, is(Failure::Failed)),
            FoldValue::Left => (begin, is(Failure::GaveUp)),
            FoldValue::Completed => {
                let end_ns = request.start_ns.saturating_add(request.duration_ns);
                (cell_at(&self.fold, end_ns), f64::from(u8::from(request.outcome.is_known())))
            }
        };
        if let Some(sum) = cell.and_then(|cell| self.fold.values.get_mut(cell)) {
            *sum = if self.fold.value == FoldValue::Slowest { sum.max(value) } else { *sum + value };
        }
        begin
    }

    /// Counts a request by its time from the onset.
    fn zoom(&mut self, request: Request) {
        let Some((cycle, _)) = self.fold.place(request.start_ns) else { return };
        let since_s = request.start_ns.saturating_sub(self.onsets_ns[cycle]) as f64 / 1e9;
        let [from_s, to_s] = self.fold.zoom_s;
        let column = ((since_s - from_s) / (to_s - from_s) * ZOOM_COLUMNS as f64).floor();
        if (0.0..ZOOM_COLUMNS as f64).contains(&column) {
            let row = row_of(fine_cell(request.duration_ns));
            self.fold.zoom[row * ZOOM_COLUMNS + column as usize] += 1;
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
