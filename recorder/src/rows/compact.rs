//! At a clean end: one row an id, where several parts had one, and one file a small table.

use std::collections::{HashMap, HashSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::Int64Type;
use retrospan_formats::error::CaptureError;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::writer::CaptureWriter;

/// Merges the files of a dimension. `repeated`: ids that have a row in more than one part; their last row
/// takes the place of their first. Memory is bounded by the number of those.
pub fn merge(
    writer: &mut CaptureWriter,
    table: &'static Table,
    repeated: Vec<i64>,
) -> Result<(), CaptureError> {
    let capture = writer.view()?;
    if capture.files(table.name).len() < 2 {
        return Ok(());
    }
    let path = capture.directory.join(table.name);
    let failed = |reason| CaptureError::Table { path: path.clone(), reason };
    let repeated: HashSet<i64> = repeated.into_iter().collect();
    let last = Last::read(&capture, table, &repeated).map_err(failed)?;
    let mut replaced = HashSet::new();
    let rows = capture.read(table).map(|batch| {
        let batch = batch?;
        last.replace(&batch, &mut replaced).map_err(failed)
    });
    writer.replace_dimension(table, rows)
}

/// Puts the files of a table without key into one, as they are.
pub fn join(writer: &mut CaptureWriter, table: &'static Table) -> Result<(), CaptureError> {
    let capture = writer.view()?;
    if capture.files(table.name).len() < 2 {
        return Ok(());
    }
    writer.replace_dimension(table, capture.read(table))
}

/// The last row of each repeated id.
struct Last {
    rows: RecordBatch,
    index: HashMap<i64, usize>,
    key: usize,
}

impl Last {
    fn read(capture: &Capture, table: &'static Table, repeated: &HashSet<i64>) -> Result<Last, String> {
        let key = table.key.and_then(|name| table.index_of(name)).ok_or("it has no key")?;
        let mut batches = Vec::new();
        for batch in capture.read(table) {
            let batch = batch.map_err(|e| e.to_string())?;
            let marks = ids(&batch, key).iter().map(|id| Some(repeated.contains(id))).collect();
            batches.push(filter_record_batch(&batch, &marks).map_err(|e| e.to_string())?);
        }
        let rows = concat_batches(&table.schema(), &batches).map_err(|e| e.to_string())?;
        let index = ids(&rows, key).iter().enumerate().map(|(row, &id)| (id, row)).collect();
        Ok(Last { rows, index, key })
    }

    /// The batch with each repeated id's last row at its first sight, and without its other rows.
    fn replace(&self, batch: &RecordBatch, replaced: &mut HashSet<i64>) -> Result<RecordBatch, String> {
        let mut picks = Vec::with_capacity(batch.num_rows());
        for (row, id) in ids(batch, self.key).iter().enumerate() {
            match self.index.get(id) {
                None => picks.push((0, row)),
                Some(&last) if replaced.insert(*id) => picks.push((1, last)),
                Some(_) => {}
            }
        }
        interleave_record_batch(&[batch, &self.rows], &picks).map_err(|e| e.to_string())
    }
}

fn ids(batch: &RecordBatch, key: usize) -> &[i64] {
    batch.column(key).as_primitive::<Int64Type>().values()
}
