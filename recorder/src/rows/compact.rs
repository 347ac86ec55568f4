//! Files of a table put together into one: rows in order of time, one row an id where several files had one.

use std::collections::{HashMap, HashSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::File;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::writer::CaptureWriter;

use crate::rows::aging;

/// At a clean end: one row an id, and no files that are small for no reason.
pub fn finish(writer: &mut CaptureWriter) -> Result<(), CaptureError> {
    aging::rest(writer.manifest()).into_iter().try_for_each(|(table, files)| join(writer, table, &files))
}

/// Rows of a file on average from which on files are put one behind the other as they are: fewer would make row groups that
/// are small for good.
const SPLICED_ROWS: u64 = 4096;

/// Puts neighbouring files of a table into one. Memory is bounded by the ids that have a row in more than one of them.
pub fn join(writer: &mut CaptureWriter, table: &'static Table, files: &[File]) -> Result<(), CaptureError> {
    if files.len() < 2 {
        return Ok(());
    }
    if can_splice(table, files) {
        return writer.splice(table, files);
    }
    let capture = writer.view()?.only(files);
    let Some(key) = table.key.and_then(|name| table.index_of(name)) else {
        return writer.replace(table, files, capture.in_order(table));
    };
    let rows = last_rows(&capture, table, key)?;
    writer.replace(table, files, rows)
}

/// The rows of a table with a key (the column of that index), of each id its last one.
pub fn last_rows(
    capture: &Capture,
    table: &'static Table,
    key: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, CaptureError>> + use<>, CaptureError> {
    let path = capture.directory.join(table.name);
    let failed =
        move |error: ArrowError| CaptureError::Table { path: path.clone(), reason: error.to_string() };
    let last = Last::read(capture, table, key, &failed)?;
    let mut replaced = HashSet::new();
    Ok(capture.read(table).map(move |batch| {
        let batch = batch?;
        last.replace(&batch, &mut replaced).map_err(&failed)
    }))
}

/// Whether the rows of files one behind the other are in the table's order.
fn can_splice(table: &Table, files: &[File]) -> bool {
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let in_order = |pair: &[File]| match (pair[0].last_boot_ns, pair[1].first_boot_ns) {
        (Some(last), Some(first)) => last <= first,
        _ => false,
    };
    table.key.is_none()
        && rows >= SPLICED_ROWS * files.len() as u64
        && (table.sorted_by().is_none() || files.windows(2).all(in_order))
}

/// The last row of each repeated id.
struct Last {
    rows: RecordBatch,
    index: HashMap<i64, usize>,
    key: usize,
}

impl Last {
    fn read(
        capture: &Capture,
        table: &'static Table,
        key: usize,
        failed: impl Fn(ArrowError) -> CaptureError,
    ) -> Result<Last, CaptureError> {
        let repeated = repeated(capture, table, key)?;
        let mut batches = Vec::new();
        for batch in capture.read(table) {
            let batch = batch?;
            let marks = ids(&batch, key).iter().map(|id| Some(repeated.contains(id))).collect();
            batches.push(filter_record_batch(&batch, &marks).map_err(&failed)?);
        }
        let rows = concat_batches(&table.schema(), &batches).map_err(&failed)?;
        let index = ids(&rows, key).iter().enumerate().map(|(row, &id)| (id, row)).collect();
        Ok(Last { rows, index, key })
    }

    /// The batch with each repeated id's last row at its first sight, and without its other rows.
    fn replace(&self, batch: &RecordBatch, replaced: &mut HashSet<i64>) -> Result<RecordBatch, ArrowError> {
        let mut picks = Vec::with_capacity(batch.num_rows());
        for (row, id) in ids(batch, self.key).iter().enumerate() {
            match self.index.get(id) {
                None => picks.push((0, row)),
                Some(&last) if replaced.insert(*id) => picks.push((1, last)),
                Some(_) => {}
            }
        }
        interleave_record_batch(&[batch, &self.rows], &picks)
    }
}

/// The ids that may have a row in several files: those not above all ids of the files before theirs. Few others are among them,
/// because ids ascend.
fn repeated(capture: &Capture, table: &'static Table, key: usize) -> Result<HashSet<i64>, CaptureError> {
    let (mut repeated, mut highest) = (HashSet::new(), i64::MIN);
    for file in capture.files(table.name) {
        let mut highest_here = highest;
        for batch in capture.clone().only(std::slice::from_ref(file)).read(table) {
            let batch = batch?;
            repeated.extend(ids(&batch, key).iter().filter(|&&id| id <= highest));
            highest_here = ids(&batch, key).iter().fold(highest_here, |most, &id| most.max(id));
        }
        highest = highest_here;
    }
    Ok(repeated)
}

fn ids(batch: &RecordBatch, key: usize) -> &[i64] {
    batch.column(key).as_primitive::<Int64Type>().values()
}
