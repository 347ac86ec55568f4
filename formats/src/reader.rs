//! Opens a capture directory: checks it, then hands out its tables as record batches.
//!
//! Nothing is ever written. Every listed file is checked against its xxh3 when the capture is opened,
//! because a flipped bit in a zstd Parquet file usually reads back without an error, and what the manifest says of it
//! against its footer, because counts and time ranges are answered from there.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{CaptureError, io, table as table_error};
use crate::manifest::{self, LOCK, MANIFEST, Manifest, State, TEMPORARY};
use crate::table::{FORMAT_VERSION, Table};
use crate::tables;

/// An opened, checked capture.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The directory.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// `Complete`; `Recording` while its recorder lives; else `Interrupted`.
    pub state: State,
}

impl Capture {
    /// Opens and verifies. See [`CaptureError`] for what can be wrong.
    pub fn open(directory: &Path) -> Result<Capture, CaptureError> {
        match fs::metadata(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(CaptureError::Missing(directory.to_owned()));
            }
            Err(e) => return Err(io(directory)(e)),
            Ok(m) if !m.is_dir() => return Err(not_a_capture(directory, "it is not a directory")),
            Ok(_) => {}
        }
        let manifest = read_manifest(directory)?;
        for file in &manifest.files {
            verify(directory, file)?;
        }
        let state = current_state(directory, &manifest)?;
        Ok(Capture { directory: directory.to_owned(), manifest, state })
    }

    /// The finished files of a table, by part.
    pub fn files(&self, table: &str) -> Vec<&manifest::File> {
        let mut files: Vec<_> = self.manifest.files.iter().filter(|f| f.table == table).collect();
        files.sort_by_key(|f| f.part);
        files
    }

    /// Absolute or relative paths of a table's files, by part.
    pub fn paths(&self, table: &str) -> Vec<PathBuf> {
        self.files(table).iter().map(|f| self.directory.join(&f.path)).collect()
    }

    /// All rows of a table in file order.
    pub fn read(
        &self,
        table: &'static Table,
    ) -> impl Iterator<Item = Result<RecordBatch, CaptureError>> + use<> {
        self.paths(table.name).into_iter().flat_map(move |path| match open_part(&path, table) {
            Ok(batches) => Batches { path, table, batches: Some(batches), error: None },
            Err(error) => Batches { path, table, batches: None, error: Some(error) },
        })
    }

    /// All events in order of emission. Two parts are merged at a time, because a part may overlap
    /// in time only its neighbours.
    pub fn events(&self) -> EventStream {
        let pending = self.paths(tables::EVENTS.name).into();
        EventStream { pending, current: None, next: None }
    }
}

/// Events of a capture as batches, sorted over all of it by `boot_ns`.
pub struct EventStream {
    pending: VecDeque<PathBuf>,
    current: Option<Cursor>,
    next: Option<Cursor>,
}

impl EventStream {
    /// The next batch; its rows are not earlier than those of the batch before.
    fn advance(&mut self) -> Result<Option<RecordBatch>, CaptureError> {
        self.fill()?;
        let Some(current) = &mut self.current else { return Ok(None) };
        let Some(next) = &mut self.next else {
            return Ok(Some(current.take_all()));
        };
        if current.head() <= next.head() {
            return Ok(Some(current.take_until(next.head())));
        }
        Ok(Some(next.take_before(current.head())))
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
            let Some(path) = self.pending.pop_front() else { break };
            let mut cursor = Cursor::open(path)?;
            if cursor.refill()? {
                let place = if self.current.is_none() { &mut self.current } else { &mut self.next };
                *place = Some(cursor);
            }
        }
        Ok(())
    }
}

impl Iterator for EventStream {
    type Item = Result<RecordBatch, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// A place in one sorted events file.
struct Cursor {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    batch: RecordBatch,
    row: usize,
}

impl Cursor {
    fn open(path: PathBuf) -> Result<Cursor, CaptureError> {
        let batches = open_part(&path, &tables::EVENTS)?;
        Ok(Cursor { path, batches, batch: RecordBatch::new_empty(tables::EVENTS.schema()), row: 0 })
    }

    /// Loads the next batch where this one is used up; false at the end of the file.
    fn refill(&mut self) -> Result<bool, CaptureError> {
        while self.row >= self.batch.num_rows() {
            match self.batches.next() {
                None => return Ok(false),
                Some(batch) => {
                    self.batch =
                        conform(batch.map_err(table_error(&self.path))?, &tables::EVENTS, &self.path)?;
                    self.row = 0;
                }
            }
        }
        Ok(true)
    }

    fn times(&self) -> &[i64] {
        self.batch.column(0).as_primitive::<Int64Type>().values()
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

/// Batches of one file, with its path in errors.
struct Batches {
    path: PathBuf,
    table: &'static Table,
    batches: Option<ParquetRecordBatchReader>,
    error: Option<CaptureError>,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        let batch = self.batches.as_mut()?.next()?;
        Some(batch.map_err(table_error(&self.path)).and_then(|b| conform(b, self.table, &self.path)))
    }
}

fn open_part(path: &Path, table: &Table) -> Result<ParquetRecordBatchReader, CaptureError> {
    let file = File::open(path).map_err(io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(table_error(path))?;
    for column in table.columns.iter().filter(|c| !c.nullable) {
        if builder.schema().index_of(column.name).is_err() {
            let reason = format!("column {} is missing", column.name);
            return Err(CaptureError::Damaged { path: path.to_owned(), reason });
        }
    }
    builder.with_batch_size(8192).build().map_err(table_error(path))
}

/// Gives a batch exactly the table's columns, whatever older version wrote it: columns that it does
/// not have are null.
fn conform(batch: RecordBatch, table: &Table, path: &Path) -> Result<RecordBatch, CaptureError> {
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => arrow::compute::cast(column, field.data_type()).map_err(table_error(path)),
        None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(table_error(path))
}

fn read_manifest(directory: &Path) -> Result<Manifest, CaptureError> {
    let path = directory.join(MANIFEST);
    let text = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(not_a_capture(directory, "it has no manifest.json"));
        }
        other => other.map_err(io(&path))?,
    };
    let bad = |reason: String| CaptureError::BadManifest { path: path.clone(), reason };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let Some(version) = value.get("format_version").and_then(serde_json::Value::as_u64) else {
        return Err(bad("it has no format_version".to_owned()));
    };
    if version == 0 || version > u64::from(FORMAT_VERSION) {
        return Err(CaptureError::Version { path, found: version, known: FORMAT_VERSION });
    }
    if !manifest::is_intact(&text) {
        return Err(bad("it is not what was written (xxh3 differs)".to_owned()));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    let mut paths = HashSet::new();
    for file in &manifest.files {
        if !stays_inside(&file.path) {
            return Err(bad(format!("{:?} leaves the capture", file.path)));
        }
        if !paths.insert(Path::new(&file.path)) {
            return Err(bad(format!("{:?} is listed twice", file.path)));
        }
    }
    Ok(manifest)
}

/// A manifest may come from anywhere: its paths must not.
fn stays_inside(path: &str) -> bool {
    Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_)))
}

fn verify(directory: &Path, file: &manifest::File) -> Result<(), CaptureError> {
    let path = directory.join(&file.path);
    let damaged = |reason: String| CaptureError::Damaged { path: path.clone(), reason };
    let mut source = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("the file is missing".to_owned()));
        }
        other => other.map_err(io(&path))?,
    };
    let bytes = source.metadata().map_err(io(&path))?.len();
    if bytes != file.bytes {
        return Err(damaged(format!("{bytes} bytes instead of {}", file.bytes)));
    }
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match source.read(&mut buffer).map_err(io(&path))? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    if format!("{:016x}", hash.digest()) != file.xxh3 {
        return Err(damaged("its content is not what was recorded (xxh3 differs)".to_owned()));
    }
    let footer = ParquetMetaDataReader::new().parse_and_finish(&source).map_err(table_error(&path))?;
    match contradiction(&footer, file) {
        Some(reason) => Err(damaged(reason)),
        None => Ok(()),
    }
}

/// What the manifest says of a file and the file's footer does not.
fn contradiction(footer: &ParquetMetaData, file: &manifest::File) -> Option<String> {
    let rows = footer.file_metadata().num_rows();
    if u64::try_from(rows) != Ok(file.rows) {
        return Some(format!("{rows} rows, but the manifest says {}", file.rows));
    }
    let time = tables::by_name(&file.table)?.time_column?;
    let (first, last) = time_range(footer, time)?;
    let listed = (file.first_boot_ns.unwrap_or(first), file.last_boot_ns.unwrap_or(last));
    (listed != (first, last))
        .then(|| format!("times from {first} to {last}, but the manifest says {} to {}", listed.0, listed.1))
}

/// Smallest and largest value of a column; None where the footer does not say.
fn time_range(footer: &ParquetMetaData, column: &str) -> Option<(i64, i64)> {
    let of_group = |group: &RowGroupMetaData| {
        let column = group.columns().iter().find(|c| c.column_path().string() == column)?;
        let Statistics::Int64(values) = column.statistics()? else { return None };
        Some((*values.min_opt()?, *values.max_opt()?))
    };
    let ranges: Option<Vec<_>> = footer.row_groups().iter().map(of_group).collect();
    ranges?.into_iter().reduce(|all, group| (all.0.min(group.0), all.1.max(group.1)))
}

fn current_state(directory: &Path, manifest: &Manifest) -> Result<State, CaptureError> {
    if manifest.state == State::Recording && recorder_lives(directory) {
        return Ok(State::Recording);
    }
    if manifest.state != State::Complete || has_temporary_files(directory)? {
        return Ok(State::Interrupted);
    }
    Ok(State::Complete)
}

fn recorder_lives(directory: &Path) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(lock) => matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

fn has_temporary_files(directory: &Path) -> Result<bool, CaptureError> {
    let folders = tables::ALL.iter().map(|t| directory.join(t.name)).chain([directory.to_owned()]);
    for folder in folders.filter(|f| f.is_dir()) {
        for entry in fs::read_dir(&folder).map_err(io(&folder))? {
            let name = entry.map_err(io(&folder))?.file_name();
            if name.to_string_lossy().ends_with(TEMPORARY) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn not_a_capture(path: &Path, reason: &str) -> CaptureError {
    CaptureError::NotACapture { path: path.to_owned(), reason: reason.to_owned() }
}
