//! The one pass over all spans that fills the heat maps over time and the histograms.

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::examples::{self, Examples, Request, Texts};
use super::hops::Hops;
use super::{FINE_CELLS, LATENCY_ROWS, Series, TIME_COLUMNS, Timeline, fine_cell, row_of};
use crate::error::Result;
use crate::sql::session;
use crate::tables::columns::typed;
use crate::tables::outcome::{Failure, Outcome};
use crate::tables::spans::ANSWERING;

/// Hops with a series of their own; the others are seen in that of everything.
const MAX_SERIES: usize = 64;

/// Reads all spans once.
pub async fn read(context: &SessionContext, hops: &Hops, range_ns: [i64; 2]) -> Result<Timeline> {
    let mut pass = Pass::new(hops, range_ns);
    let query = format!(
        "SELECT start_time, duration_ns, connection_id, kind, {} FROM spans WHERE kind <> 'internal'",
        examples::COLUMNS
    );
    let mut batches = session::plan(context, &query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        pass.add(&batch)?;
    }
    Ok(pass.finish())
}

struct Pass<'a> {
    hops: &'a Hops,
    timeline: Timeline,
    /// The series of each hop and side.
    series: Vec<[Option<usize>; 2]>,
    /// By series.
    examples: Vec<Examples>,
}

impl<'a> Pass<'a> {
    fn new(hops: &'a Hops, [from_ns, to_ns]: [i64; 2]) -> Pass<'a> {
        let column_ns = to_ns.saturating_sub(from_ns) / TIME_COLUMNS as i64 + 1;
        let mut timeline =
            Timeline { from_ns, column_ns, columns: TIME_COLUMNS, series: vec![empty("all hops", "")] };
        let mut series = vec![[None; 2]; hops.list.len()];
        for (place, hop) in hops.list.iter().enumerate().take(MAX_SERIES) {
            for (side, seen_by) in [(0, &hop.from), (1, &hop.to)] {
                if hop.recorded[side] {
                    series[place][side] = Some(timeline.series.len());
                    timeline.series.push(empty(&hop.name, seen_by));
                }
            }
        }
        let examples = vec![Examples::default(); timeline.series.len()];
        Pass { hops, timeline, series, examples }
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
        let texts = Texts::of(batch)?;
        for row in 0..batch.num_rows() {
            let outcome = Outcome::of(outcome.value(row)).unwrap_or_default();
            let request = Request { start_ns: start[row], duration_ns: duration[row], outcome };
            for place in self.places(connection[row], usize::from(ANSWERING.contains(&kind.value(row)))) {
                let cell = self.timeline.count(place, request);
                self.examples[place].add(cell, request, &texts, row);
            }
        }
        Ok(())
    }

    /// The series that a span counts in: the sum, and that of its hop and side.
    fn places(&self, connection_id: i64, side: usize) -> impl Iterator<Item = usize> + use<> {
        let hop = self.hops.of_connection.get(&connection_id).copied();
        let first_side =
            hop.and_then(|hop| self.hops.list.get(hop)).is_none_or(|hop| hop.first_side() == side);
        let own = hop.and_then(|hop| self.series.get(hop)).and_then(|sides| sides[side]);
        // What both ends recorded counts once in the sum of everything.
        let sum = first_side.then_some(0);
        sum.into_iter().chain(own)
    }

    fn finish(self) -> Timeline {
        let mut timeline = self.timeline;
        for (series, examples) in timeline.series.iter_mut().zip(self.examples) {
            series.examples = examples.list();
        }
        // The sum stays first; a series without spans says nothing.
        let all = timeline.series.remove(0);
        timeline.series.retain(|series| series.requests > 0);
        timeline.series.sort_by_key(|series| std::cmp::Reverse(series.requests));
        timeline.series.insert(0, all);
        timeline
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
    /// Counts a request and gives the cell that it is in.
    fn count(&mut self, place: usize, request: Request) -> usize {
        let column = request.start_ns.saturating_sub(self.from_ns) / self.column_ns;
        let column = column.clamp(0, self.columns as i64 - 1) as usize;
        let fine = fine_cell(request.duration_ns);
        let cell = row_of(fine) * self.columns + column;
        let series = &mut self.series[place];
        series.requests += 1;
        series.histogram[fine] += 1;
        series.cells[cell] += 1;
        match request.outcome.failure() {
            Some(Failure::Failed) => {
                series.failed += 1;
                series.failed_by_column[column] += 1;
            }
            Some(Failure::GaveUp) => {
                series.left += 1;
                series.left_by_column[column] += 1;
            }
            None => {}
        }
        cell
    }
}
