//! What is known of sockets and processes that are gone, left out once the parts that tell of them are (`rolling`).

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::File;
use retrospan_formats::table::Table;
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;

use crate::rows::compact::last_rows;

/// Calls that were under way when a socket closed are told a little later.
const LATE_NS: i64 = 10_000_000_000;

/// Whether so much of what there is tells of sockets and processes that it is worth writing anew.
pub fn is_due(files: &[File]) -> bool {
    let is_trimmed = |file: &&File| [tables::SOCKETS.name, tables::PROCESSES.name].contains(&&*file.table);
    let bytes = |sum: u64, file: &File| sum + file.bytes;
    let (all, trimmed) = (files.iter().fold(0, bytes), files.iter().filter(is_trimmed).fold(0, bytes));
    trimmed.saturating_mul(4) > all
}

/// Leaves out the sockets that closed before `began_ns` (boot time), and the processes that ended before it and neither own
/// one of the others nor are an ancestor of one that stays.
pub fn trim(writer: &mut CaptureWriter, began_ns: i64) -> Result<(), CaptureError> {
    let since_ns = began_ns.saturating_sub(LATE_NS);
    let mut owners = HashSet::new();
    rewrite(writer, &tables::SOCKETS, |batches| {
        let kept = |batch: &RecordBatch| {
            let (closed, owner) = (column(batch, "closed_boot_ns"), column(batch, "process_id"));
            let stays: Vec<bool> = (0..batch.num_rows()).map(|row| is_since(closed, row, since_ns)).collect();
            let owned = (0..stays.len()).filter(|&row| stays[row] && owner.is_valid(row));
            owners.extend(owned.map(|row| owner.value(row)));
            BooleanArray::from(stays)
        };
        batches.iter().map(kept).collect()
    })?;
    rewrite(writer, &tables::PROCESSES, |batches| {
        let kept = family(batches, owners, since_ns);
        let is_kept = |id: Option<i64>| Some(id.is_some_and(|id| kept.contains(&id)));
        batches.iter().map(|batch| column(batch, "process_id").iter().map(is_kept).collect()).collect()
    })
}

/// Those that live, those that `kept` names, and the ancestors of both.
fn family(batches: &[RecordBatch], mut kept: HashSet<i64>, since_ns: i64) -> HashSet<i64> {
    let mut parents = HashMap::new();
    for batch in batches {
        let (id, parent) = (column(batch, "process_id"), column(batch, "parent_process_id"));
        let ended = column(batch, "end_boot_ns");
        for row in 0..batch.num_rows() {
            if is_since(ended, row, since_ns) {
                kept.insert(id.value(row));
            }
            if parent.is_valid(row) {
                parents.insert(id.value(row), parent.value(row));
            }
        }
    }
    let mut children: Vec<i64> = kept.iter().copied().collect();
    while let Some(child) = children.pop() {
        if let Some(&parent) = parents.get(&child)
            && kept.insert(parent)
        {
            children.push(parent);
        }
    }
    kept
}

/// Puts a table's files into one with the rows that `choose` marks, where there are several files and some such rows.
fn rewrite(
    writer: &mut CaptureWriter,
    table: &'static Table,
    choose: impl FnOnce(&[RecordBatch]) -> Vec<BooleanArray>,
) -> Result<(), CaptureError> {
    let mut files: Vec<File> =
        writer.manifest().files.iter().filter(|file| file.table == table.name).cloned().collect();
    files.sort_by_key(|file| file.part);
    let Some(key) = table.key.and_then(|name| table.index_of(name)) else { return Ok(()) };
    let capture = writer.view()?.only(&files);
    let batches: Vec<RecordBatch> = last_rows(&capture, table, key)?.collect::<Result<_, _>>()?;
    let marks = choose(&batches);
    let stay: usize = marks.iter().map(BooleanArray::true_count).sum();
    if files.len() < 2 || stay == 0 {
        return Ok(());
    }
    let path = capture.directory.join(table.name);
    let failed = |error: ArrowError| CaptureError::Table { path: path.clone(), reason: error.to_string() };
    let rows = batches.iter().zip(&marks);
    let rows = rows.map(|(batch, mark)| filter_record_batch(batch, mark).map_err(failed));
    writer.replace(table, &files, rows)
}

fn is_since(ended: &PrimitiveArray<Int64Type>, row: usize, since_ns: i64) -> bool {
    ended.is_null(row) || ended.value(row) >= since_ns
}

/// A column of integers of one of these two tables.
fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a PrimitiveArray<Int64Type> {
    batch.column_by_name(name).expect("a column of its table").as_primitive()
}
