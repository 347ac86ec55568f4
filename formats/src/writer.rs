//! Writes a capture directory: record batches in, finished Parquet parts and a manifest out.
//!
//! A part is written to temporary names and renamed into place at [`CaptureWriter::rotate`],
//! dimensions before facts, then the manifest is rewritten. So a kill at any moment loses at most
//! the part that was being written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{CaptureError, io, table as table_error};
use crate::manifest::{self, LOCK, MANIFEST, Manifest, State, TEMPORARY};
use crate::table::Table;
use crate::tables;

/// zstd level of raw tables: higher levels gain under 1 % in time order.
const ZSTD_LEVEL: i32 = 1;

/// Writes one capture.
pub struct CaptureWriter {
    directory: PathBuf,
    manifest: Manifest,
    /// Held, and locked, as long as the recorder lives.
    _lock: File,
    part: u32,
    open: Vec<(&'static Table, PartWriter)>,
}

/// One table's file of the part being written.
struct PartWriter {
    path: PathBuf,
    temporary: PathBuf,
    writer: ArrowWriter<HashingFile>,
    rows: u64,
    times: Option<(i64, i64)>,
}

impl CaptureWriter {
    /// Creates the directory (or takes an empty one), locks it and writes the first manifest in
    /// state `recording`. Fails with [`CaptureError::NotEmpty`] where something is there already.
    pub fn create(directory: &Path, manifest: Manifest) -> Result<CaptureWriter, CaptureError> {
        if !check_unused(directory)? {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io(directory))?;
        }
        let lock_path = directory.join(LOCK);
        let lock = private_file(&lock_path)?;
        lock.lock().map_err(io(&lock_path))?;
        let mut writer = CaptureWriter {
            directory: directory.to_owned(),
            manifest,
            _lock: lock,
            part: 0,
            open: Vec::new(),
        };
        writer.manifest.state = State::Recording;
        writer.write_manifest()?;
        Ok(writer)
    }

    /// The manifest as it stands.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of finished files so far.
    pub fn finished_bytes(&self) -> u64 {
        self.manifest.files.iter().map(|f| f.bytes).sum()
    }

    /// Adds rows to a table of the current part. The rows of one part must come in the table's
    /// declared order. An empty batch leaves no file.
    pub fn append(&mut self, table: &'static Table, batch: &RecordBatch) -> Result<(), CaptureError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let position = match self.open.iter().position(|(t, _)| t.name == table.name) {
            Some(position) => position,
            None => {
                let part = PartWriter::create(&self.directory, table, self.part, &self.manifest)?;
                self.open.push((table, part));
                self.open.len() - 1
            }
        };
        self.open[position].1.append(table, batch)
    }

    /// Finishes the current part and rewrites the manifest. `whole_until_boot_ns`: everything emitted
    /// before it is now in finished files. `losses`: sums so far.
    pub fn rotate(
        &mut self,
        whole_until_boot_ns: i64,
        losses: Vec<manifest::Loss>,
    ) -> Result<(), CaptureError> {
        for table in tables::ALL {
            if let Some(position) = self.open.iter().position(|(t, _)| t.name == table.name) {
                let (_, part) = self.open.swap_remove(position);
                let file = part.finish(&self.directory, table, self.part)?;
                self.manifest.files.push(file);
            }
        }
        self.part += 1;
        self.manifest.whole_until_boot_ns = whole_until_boot_ns;
        self.manifest.losses = losses;
        self.write_manifest()
    }

    /// Replaces all files of a dimension by one in a new part. `rows` are the final rows.
    /// Crash-safe: the manifest switches over before the old files go.
    pub fn replace_dimension(
        &mut self,
        table: &'static Table,
        rows: impl Iterator<Item = Result<RecordBatch, CaptureError>>,
    ) -> Result<(), CaptureError> {
        let mut part = PartWriter::create(&self.directory, table, self.part, &self.manifest)?;
        for batch in rows {
            part.append(table, &batch?)?;
        }
        let file = part.finish(&self.directory, table, self.part)?;
        self.part += 1;
        let (old, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.manifest.files).into_iter().partition(|f| f.table == table.name);
        self.manifest.files = kept;
        self.manifest.files.push(file);
        self.write_manifest()?;
        for file in old {
            let path = self.directory.join(&file.path);
            fs::remove_file(&path).map_err(io(&path))?;
        }
        Ok(())
    }

    /// Marks the capture complete and unlocks it. Call [`CaptureWriter::rotate`] before.
    pub fn complete(mut self, cost: manifest::Cost) -> Result<Manifest, CaptureError> {
        self.manifest.state = State::Complete;
        self.manifest.cost = Some(cost);
        self.write_manifest()?;
        let lock = self.directory.join(LOCK);
        fs::remove_file(&lock).map_err(io(&lock))?;
        Ok(self.manifest)
    }

    fn write_manifest(&self) -> Result<(), CaptureError> {
        let path = self.directory.join(MANIFEST);
        let temporary = self.directory.join(format!("{MANIFEST}{TEMPORARY}"));
        let text = self.manifest.to_bytes().map_err(table_error(&path))?;
        let mut file = private_file(&temporary)?;
        file.write_all(&text).map_err(io(&temporary))?;
        file.sync_all().map_err(io(&temporary))?;
        rename(&temporary, &path)
    }
}

impl PartWriter {
    fn create(
        directory: &Path,
        table: &'static Table,
        part: u32,
        manifest: &Manifest,
    ) -> Result<PartWriter, CaptureError> {
        let folder = directory.join(table.name);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io(&folder))?;
        let path = PathBuf::from(table.name).join(format!("{part:06}.parquet"));
        let temporary = directory.join(format!("{}{TEMPORARY}", path.display()));
        let file = HashingFile { file: private_file(&temporary)?, hash: Xxh3::new(), bytes: 0 };
        let properties = table.writer_properties(ZSTD_LEVEL, file_metadata(table, part, manifest));
        let writer =
            ArrowWriter::try_new(file, table.schema(), Some(properties)).map_err(table_error(&temporary))?;
        Ok(PartWriter { path, temporary, writer, rows: 0, times: None })
    }

    fn append(&mut self, table: &Table, batch: &RecordBatch) -> Result<(), CaptureError> {
        self.writer.write(batch).map_err(table_error(&self.temporary))?;
        self.rows += batch.num_rows() as u64;
        if let Some(index) = table.time_column.and_then(|name| table.index_of(name)) {
            for &time in batch.column(index).as_primitive::<Int64Type>().values() {
                let (first, last) = self.times.unwrap_or((time, time));
                self.times = Some((first.min(time), last.max(time)));
            }
        }
        Ok(())
    }

    fn finish(self, directory: &Path, table: &Table, part: u32) -> Result<manifest::File, CaptureError> {
        let inner = self.writer.into_inner().map_err(table_error(&self.temporary))?;
        inner.file.sync_all().map_err(io(&self.temporary))?;
        rename(&self.temporary, &directory.join(&self.path))?;
        Ok(manifest::File {
            table: table.name.to_owned(),
            part,
            path: self.path.display().to_string(),
            rows: self.rows,
            bytes: inner.bytes,
            first_boot_ns: self.times.map(|t| t.0),
            last_boot_ns: self.times.map(|t| t.1),
            xxh3: format!("{:016x}", inner.hash.digest()),
        })
    }
}

/// Fails with [`CaptureError::NotEmpty`] where a capture cannot be made because something is there already. True if
/// there is an empty directory.
pub fn check_unused(directory: &Path) -> Result<bool, CaptureError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(_) => Err(CaptureError::NotEmpty(directory.to_owned())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            Err(CaptureError::NotEmpty(directory.to_owned()))
        }
        Err(e) => Err(io(directory)(e)),
    }
}

/// Key-value metadata that lets every file stand alone.
fn file_metadata(table: &Table, part: u32, manifest: &Manifest) -> Vec<KeyValue> {
    let pairs = [
        ("retrospan.format", manifest.format_version.to_string()),
        ("retrospan.table", table.name.to_owned()),
        ("retrospan.part", part.to_string()),
        ("retrospan.capture_id", manifest.capture_id.clone()),
        ("retrospan.host", manifest.host.name.clone()),
        ("retrospan.boot_id", manifest.host.boot_id.clone()),
        ("retrospan.probe_set", manifest.probe_set.clone()),
    ];
    pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

/// Counts and hashes what goes into a file, so that it need not be read again.
struct HashingFile {
    file: File,
    hash: Xxh3,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn private_file(path: &Path) -> Result<File, CaptureError> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(io(path))
}

/// Renames and syncs the directory, so that the new name survives a power cut.
fn rename(from: &Path, to: &Path) -> Result<(), CaptureError> {
    fs::rename(from, to).map_err(io(to))?;
    let parent = to.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|d| d.sync_all()).map_err(io(parent))
}
