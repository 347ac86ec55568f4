//! One file: rows in, a finished file with its counts and checksum out.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use crate::checksum::HashingWriter;
use crate::directory::Directory;
use crate::error::{CaptureError, io, table as table_error};
use crate::manifest::{self, TEMPORARY};
use crate::table::Table;

/// zstd level of raw tables: higher levels gain under 1 % in time order.
const ZSTD_LEVEL: i32 = 1;
/// Rows of a file's first batch from which on it is compressed. A compressor a column costs more than fewer rows take; they are
/// compressed when files are put together.
const COMPRESSED_ROWS: usize = 1024;

/// A file being written.
pub(super) struct PartWriter {
    place: Place,
    writer: ArrowWriter<HashingWriter<File>>,
    rows: u64,
    times: Option<(i64, i64)>,
}

/// Where a file stands: its name, and the one that it has until it is finished.
#[derive(Clone)]
pub(super) struct Place {
    folder: Arc<Directory>,
    name: OsString,
    temporary: OsString,
}

/// What is known of a finished file.
pub(super) struct Finished {
    name: OsString,
    rows: u64,
    times: Option<(i64, i64)>,
    bytes: u64,
    xxh3: u64,
}

impl PartWriter {
    pub(super) fn create(
        folder: Directory,
        table: &'static Table,
        name: String,
        metadata: Vec<KeyValue>,
        first_rows: usize,
    ) -> Result<PartWriter, CaptureError> {
        let temporary = OsString::from(format!("{name}{TEMPORARY}"));
        let place = Place { folder: Arc::new(folder), name: name.into(), temporary };
        let file = new_temporary(&place.folder, &place.temporary).map_err(io(&place.path()))?;
        let file = HashingWriter::new(file, 0);
        let level = (first_rows >= COMPRESSED_ROWS).then_some(ZSTD_LEVEL);
        let properties = table.writer_properties(level, metadata);
        let writer = ArrowWriter::try_new(file, table.schema(), Some(properties))
            .map_err(parquet_error(&place.path()))?;
        Ok(PartWriter { place, writer, rows: 0, times: None })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn append(&mut self, table: &Table, batch: &RecordBatch) -> Result<(), CaptureError> {
        self.writer.write(batch).map_err(parquet_error(&self.place.path()))?;
        self.rows += batch.num_rows() as u64;
        if let Some(index) = table.time_column.and_then(|name| table.index_of(name)) {
            for &time in batch.column(index).as_primitive::<Int64Type>().values() {
                let (first, last) = self.times.unwrap_or((time, time));
                self.times = Some((first.min(time), last.max(time)));
            }
        }
        Ok(())
    }

    /// What encoded row groups can be added to.
    pub(super) fn into_serialized(
        self,
    ) -> Result<(Place, SerializedFileWriter<HashingWriter<File>>), CaptureError> {
        let (writer, _) = self.writer.into_serialized_writer().map_err(parquet_error(&self.place.path()))?;
        Ok((self.place, writer))
    }

    pub(super) fn finish(self) -> Result<Finished, CaptureError> {
        let file = self.writer.into_inner().map_err(parquet_error(&self.place.path()))?;
        self.place.finish(file, self.rows, self.times)
    }
}

impl Place {
    /// The path under its temporary name.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.temporary)
    }

    /// Gives the file its name, which survives a power cut.
    pub(super) fn finish(
        self,
        file: HashingWriter<File>,
        rows: u64,
        times: Option<(i64, i64)>,
    ) -> Result<Finished, CaptureError> {
        let rename = || {
            file.inner().sync_all()?;
            self.folder.rename(&self.temporary, &self.name)?;
            self.folder.sync()
        };
        rename().map_err(io(&self.path()))?;
        Ok(Finished { name: self.name, rows, times, bytes: file.bytes(), xxh3: file.xxh3() })
    }

    /// Removes what could not be finished: it would make the capture look interrupted.
    pub(super) fn discard(&self) {
        // Where not even that succeeds, that is how it looks.
        let _ = self.folder.remove_file(&self.temporary);
    }
}

impl Finished {
    /// As the manifest lists it.
    pub(super) fn listed(self, table: &Table, part: u32) -> manifest::File {
        manifest::File {
            table: table.name.to_owned(),
            part,
            first_part: None,
            path: format!("{}/{}", table.name, self.name.display()),
            rows: self.rows,
            bytes: self.bytes,
            first_boot_ns: self.times.map(|t| t.0),
            last_boot_ns: self.times.map(|t| t.1),
            xxh3: format!("{:016x}", self.xxh3),
        }
    }
}

/// A new file under a temporary name. What a failed attempt left there goes; only whoever holds the capture's lock asks.
pub(super) fn new_temporary(folder: &Directory, name: &OsStr) -> io::Result<File> {
    match folder.new_file(name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            folder.remove_file(name)?;
            folder.new_file(name)
        }
        other => other,
    }
}

/// An error of the file that is written comes out as what it is.
pub(super) fn parquet_error(path: &Path) -> impl FnOnce(ParquetError) -> CaptureError + '_ {
    move |error| match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => io(path)(*source),
            Err(other) => table_error(path)(other),
        },
        other => table_error(path)(other),
    }
}
