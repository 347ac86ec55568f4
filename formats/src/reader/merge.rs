//! The rows of a table as one stream in time order.

use std::collections::VecDeque;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::Capture;
use super::part::PartBatches;
use crate::error::CaptureError;
use crate::manifest;
use crate::table::Table;

/// Rows of a table as batches, sorted over all of the capture by the column that its files are sorted by first.
pub struct InOrder {
    capture: Capture,
    table: &'static Table,
    /// The column of times.
    time: usize,
    pending: VecDeque<manifest::File>,
    current: Option<Cursor>,
    next: Option<Cursor>,
    /// Time of the last row handed out.
    reached_ns: i64,
}

impl InOrder {
    /// None for a table whose files are not sorted by time.
    pub(super) fn new(capture: &Capture, table: &'static Table) -> Option<InOrder> {
        Some(InOrder {
            capture: capture.clone(),
            table,
            time: table.sorted_by()?,
            pending: capture.files(table.name).into_iter().cloned().collect(),
            current: None,
            next: None,
            reached_ns: i64::MIN,
        })
    }

    /// The next batch; its rows are not earlier than those of the batch before.
    fn advance(&mut self) -> Result<Option<RecordBatch>, CaptureError> {
        self.fill()?;
        let Some(current) = &mut self.current else { return Ok(None) };
        let batch = match &mut self.next {
            None => current.take_all(),
            Some(next) if current.head() <= next.head() => current.take_until(next.head()),
            Some(next) => next.take_before(current.head()),
        };
        if let Some(&last) = times(&batch, self.time).last() {
            self.reached_ns = last;
        }
        Ok(Some(batch))
    }

    /// Puts a non-empty cursor into each place as long as there are files.
    fn fill(&mut self) -> Result<(), CaptureError> {
        if let Some(cursor) = &mut self.current
            && !cursor.refill()?
        {
            self.current = self.next.take();
        }
        if let Some(cursor) = &mut self.next
            && !cursor.refill()?
        {
            self.next = None;
        }
        while self.current.is_none() || self.next.is_none() {
            let Some(file) = self.pending.pop_front() else { break };
            let mut cursor = Cursor::open(&self.capture, file, self.table, self.time)?;
            if cursor.refill()? {
                // Only neighbours may overlap: what was handed out already came of others.
                if cursor.head() < self.reached_ns {
                    let reason = "its rows begin before those of a part that is not its neighbour end";
                    return Err(cursor.batches.damaged(reason));
                }
                let place = if self.current.is_none() { &mut self.current } else { &mut self.next };
                *place = Some(cursor);
            }
        }
        Ok(())
    }
}

impl Iterator for InOrder {
    type Item = Result<RecordBatch, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// A place in one sorted file.
struct Cursor {
    batches: PartBatches,
    batch: RecordBatch,
    time: usize,
    row: usize,
}

impl Cursor {
    fn open(
        capture: &Capture,
        file: manifest::File,
        table: &'static Table,
        time: usize,
    ) -> Result<Cursor, CaptureError> {
        let batches = PartBatches::open(capture, &file, table)?;
        Ok(Cursor { batches, batch: RecordBatch::new_empty(table.schema()), time, row: 0 })
    }

    /// Loads the next batch where this one is used up; false at the end of the file.
    fn refill(&mut self) -> Result<bool, CaptureError> {
        while self.row >= self.batch.num_rows() {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            self.batch = batch?;
            self.row = 0;
        }
        Ok(true)
    }

    fn times(&self) -> &[i64] {
        times(&self.batch, self.time)
    }

    fn head(&self) -> i64 {
        self.times()[self.row]
    }

    fn take_all(&mut self) -> RecordBatch {
        self.take(self.batch.num_rows())
    }

    /// Rows up to and including `limit`; at least one, as the head is not later than `limit`.
    fn take_until(&mut self, limit: i64) -> RecordBatch {
        let end = self.row + self.times()[self.row..].partition_point(|&t| t <= limit);
        self.take(end)
    }

    fn take_before(&mut self, limit: i64) -> RecordBatch {
        let end = self.row + self.times()[self.row..].partition_point(|&t| t < limit);
        self.take(end)
    }

    fn take(&mut self, end: usize) -> RecordBatch {
        let batch = self.batch.slice(self.row, end - self.row);
        self.row = end;
        batch
    }
}

fn times(batch: &RecordBatch, column: usize) -> &[i64] {
    batch.column(column).as_primitive::<Int64Type>().values()
}
