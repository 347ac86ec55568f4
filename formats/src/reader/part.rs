//! One finished file of a table: its bytes through a handle, its rows as the table's definition has them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::Int64Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::Capture;
use crate::error::{CaptureError, io, table as table_error};
use crate::fault::guarded;
use crate::manifest;
use crate::table::{Column, Table, Type};

/// Rows of a batch at most.
const BATCH_ROWS: usize = 8192;

/// The bytes of a file of a capture, read by position: however many read it, none moves another's place.
#[derive(Clone, Debug)]
pub struct PartBytes {
    file: Arc<File>,
    bytes: u64,
}

impl PartBytes {
    /// The first `bytes` bytes of a file.
    pub fn new(file: File, bytes: u64) -> PartBytes {
        PartBytes { file: Arc::new(file), bytes }
    }

    /// Fills the buffer from that position.
    pub fn read_exact_at(&self, buffer: &mut [u8], start: u64) -> io::Result<()> {
        let end = start.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, start)
    }
}

impl Length for PartBytes {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for PartBytes {
    type T = BufReader<FromHere>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(FromHere { bytes: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(ParquetError::EOF("a column lies beyond the end of the file".to_owned()));
        }
        // Zeroing what is read anyway costs as much as the reading.
        let mut buffer = Vec::with_capacity(length);
        let here = FromHere { bytes: self.clone(), at: start };
        if here.take(length as u64).read_to_end(&mut buffer)? != length {
            return Err(ParquetError::EOF("a column lies beyond the end of the file".to_owned()));
        }
        Ok(buffer.into())
    }
}

/// Reads on from a position.
pub struct FromHere {
    bytes: PartBytes,
    at: u64,
}

impl Read for FromHere {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.bytes.saturating_sub(self.at);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.bytes.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The rows of one file, checked.
pub(super) struct PartBatches {
    path: PathBuf,
    table: &'static Table,
    batches: ParquetRecordBatchReader,
    times: Times,
}

impl PartBatches {
    pub(super) fn open(
        capture: &Capture,
        file: &manifest::File,
        table: &'static Table,
    ) -> Result<PartBatches, CaptureError> {
        let path = capture.directory.join(&file.path);
        let bytes = PartBytes::new(capture.open_file(file).map_err(io(&path))?, file.bytes);
        let batches = guarded(|| batches(bytes, table, |_| true)).map_err(panicked(&path))?;
        let batches = batches.map_err(|reason| damaged(&path, &reason))?;
        Ok(PartBatches { path, table, batches, times: Times::new(capture, table) })
    }

    /// An error that names the file.
    pub(super) fn damaged(&self, reason: &str) -> CaptureError {
        damaged(&self.path, reason)
    }
}

/// Checks the times of a file alone.
pub(super) fn check_times(
    capture: &Capture,
    file: &manifest::File,
    table: &'static Table,
) -> Result<(), CaptureError> {
    let path = capture.directory.join(&file.path);
    let bytes = PartBytes::new(capture.open_file(file).map_err(io(&path))?, file.bytes);
    let check = || {
        let mut times = Times::new(capture, table);
        for batch in batches(bytes, table, is_time)? {
            times.check(&batch.map_err(|e| e.to_string())?)?;
        }
        Ok::<(), String>(())
    };
    guarded(check).map_err(panicked(&path))?.map_err(|reason| damaged(&path, &reason))
}

/// The numbers of one column of a file alone, by batches; what is null may be any.
pub(super) fn numbers(
    capture: &Capture,
    file: &manifest::File,
    table: &'static Table,
    column: &'static str,
    each: &mut dyn FnMut(&[i64]),
) -> Result<(), CaptureError> {
    let path = capture.directory.join(&file.path);
    let bytes = PartBytes::new(capture.open_file(file).map_err(io(&path))?, file.bytes);
    let read = || {
        for batch in batches(bytes, table, |of_table| of_table.name == column)? {
            let batch = batch.map_err(|e| e.to_string())?;
            let numbers = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
            each(numbers.ok_or_else(|| format!("column {column} has no numbers"))?.values());
        }
        Ok::<(), String>(())
    };
    guarded(read).map_err(panicked(&path))?.map_err(|reason| damaged(&path, &reason))
}

/// What the times of a table may be: in order where the table has one, and within reason. Sums and differences of times that pass are far
/// from overflowing, and no interval is longer than what the recorded host lived.
struct Times {
    table: &'static Table,
    latest_ns: i64,
    /// Of the column by which the rows are sorted.
    reached: i64,
}

impl Times {
    fn new(capture: &Capture, table: &'static Table) -> Times {
        Times { table, latest_ns: capture.latest_ns(), reached: i64::MIN }
    }

    /// The error is the reason.
    fn check(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let sorted_by = self.table.sorted_by();
        for (index, column) in self.table.columns.iter().enumerate().filter(|(_, c)| is_time(c)) {
            let values = batch.column_by_name(column.name).and_then(|c| c.as_primitive_opt::<Int64Type>());
            let Some(values) = values else { continue };
            let (Some(least), Some(most)) = (compute::min(values), compute::max(values)) else { continue };
            let (from, to) = column.bounds_ns(self.latest_ns);
            if least < from || most > to {
                let odd = if least < from { least } else { most };
                return Err(format!("{} is {odd}, which cannot be", column.name));
            }
            if sorted_by == Some(index) {
                let values = values.values();
                if values[0] < self.reached || !values.is_sorted() {
                    return Err("its rows are not in order of time".to_owned());
                }
                self.reached = most;
            }
        }
        Ok(())
    }
}

fn is_time(column: &Column) -> bool {
    column.ty == Type::I64 && column.name.ends_with("_ns")
}

impl Iterator for PartBatches {
    type Item = Result<RecordBatch, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match guarded(|| self.batches.next()).map_err(panicked(&self.path)) {
            Ok(batch) => batch?,
            Err(error) => return Some(Err(error)),
        };
        let conformed =
            batch.map_err(table_error(&self.path)).and_then(|b| conform(b, self.table, &self.path));
        Some(conformed.and_then(|batch| match self.times.check(&batch) {
            Ok(()) => Ok(batch),
            Err(reason) => Err(self.damaged(&reason)),
        }))
    }
}

fn damaged(path: &Path, reason: &str) -> CaptureError {
    CaptureError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

/// The decoder is not ours and trusts what it reads.
fn panicked(path: &Path) -> impl Fn(String) -> CaptureError {
    move |message| damaged(path, &format!("it cannot be decoded ({message})"))
}

/// Those columns of the file that the table has and that are wanted.
fn batches(
    bytes: PartBytes,
    table: &Table,
    wanted: impl Fn(&Column) -> bool,
) -> Result<ParquetRecordBatchReader, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| e.to_string())?;
    for column in table.columns.iter().filter(|c| !c.nullable) {
        if builder.schema().index_of(column.name).is_err() {
            return Err(format!("column {} is missing", column.name));
        }
    }
    let names = table.columns.iter().filter(|c| wanted(c)).map(|c| c.name);
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|e| e.to_string())
}

/// Gives a batch exactly the table's columns, whatever older version wrote it: columns that it does
/// not have are null.
fn conform(batch: RecordBatch, table: &Table, path: &Path) -> Result<RecordBatch, CaptureError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => compute::cast(column, field.data_type()).map_err(table_error(path)),
        None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(table_error(path))
}
