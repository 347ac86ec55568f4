//! Opens a capture directory: checks it, then hands out its tables as record batches.
//!
//! Nothing is ever written. Every listed file is checked against its xxh3 when the capture is opened,
//! because a flipped bit in a zstd Parquet file usually reads back without an error, and what the manifest says of it
//! against its footer, because counts and time ranges are answered from there.
//!
//! A capture may come from anywhere. The directory is held open, only regular files in it are opened, sizes are compared before
//! anything is read, and never more is read than the manifest says.

mod layout;
mod manifest_file;
mod merge;
mod part;
mod salvage;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use xxhash_rust::xxh3::Xxh3;

use self::layout::{Layout, Walk};
use self::merge::InOrder;
use self::part::PartBatches;
pub use self::part::PartBytes;
pub use self::salvage::{DAMAGED_PART, Hole};
use crate::directory::Directory;
use crate::error::{self, CaptureError, io};
use crate::fault::{self, guarded};
use crate::manifest::{self, LOCK, Manifest, State, TEMPORARY};
use crate::rows::{Columns, Row, batch};
use crate::table::{GROWN_ROWS, Table};
use crate::tables::{self, EventRow, LossRow};

/// A live recording is looked at anew this many times where it changed meanwhile.
const LOOKS: u32 = 20;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Times may be that much later than what the manifest says to be whole: rows are made after the moment that they tell of.
const SLACK_NS: i64 = 24 * 3600 * 1_000_000_000;

/// An opened, checked capture.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What it was called when it was opened, for messages; it may have been moved since.
    pub directory: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// `Complete`; `Recording` while its recorder lives; else `Interrupted`.
    pub state: State,
    /// Files that were left out because they are damaged. `manifest` does not list them; its losses count their rows.
    pub holes: Vec<Hole>,
    handle: Arc<Directory>,
    /// Files that the recorder may remove while this is open.
    held: Arc<BTreeMap<String, File>>,
}

impl Capture {
    /// Opens and verifies. See [`CaptureError`] for what can be wrong.
    pub fn open(directory: &Path) -> Result<Capture, CaptureError> {
        Capture::open_as(directory, false)
    }

    /// As [`Capture::open`], but files that are damaged or missing are left out (see [`Capture::holes`]), and the time that they
    /// tell of is in `loss`. The manifest itself must be whole.
    pub fn salvage(directory: &Path) -> Result<Capture, CaptureError> {
        Capture::open_as(directory, true)
    }

    fn open_as(directory: &Path, salvage: bool) -> Result<Capture, CaptureError> {
        fault::reading(directory);
        let handle = match Directory::open(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(CaptureError::Missing(directory.to_owned()));
            }
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return Err(not_a_capture(directory, "it is not a directory"));
            }
            other => other.map_err(io(directory))?,
        };
        let mut verified = HashSet::new();
        let mut text = manifest_file::read(&handle)?;
        for _ in 1..LOOKS {
            let opened = Capture::look(&handle, &text, &mut verified, false);
            if opened.is_ok() {
                return opened;
            }
            // A recorder puts small files together: then the manifest is another one.
            let before = std::mem::replace(&mut text, manifest_file::read(&handle)?);
            if before == text {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Capture::look(&handle, &text, &mut verified, salvage)
    }

    /// As the manifest has it. `verified`: what was found good already.
    fn look(
        handle: &Directory,
        text: &[u8],
        verified: &mut HashSet<(String, String)>,
        salvage: bool,
    ) -> Result<Capture, CaptureError> {
        let mut manifest = manifest_file::parse(handle.path(), text)?;
        let may_change = manifest.state == State::Recording && recorder_lives(handle);
        let room = if may_change { fault::descriptors() / 2 } else { 0 };
        let (mut held, mut damaged) = (BTreeMap::new(), Vec::new());
        for (index, file) in manifest.files.iter().enumerate() {
            let key = (file.path.clone(), file.xxh3.clone());
            let stays = file.table == tables::EVENTS.name && file.rows >= GROWN_ROWS;
            let hold = held.len() < room && !stays;
            if !hold && verified.contains(&key) {
                continue;
            }
            let whole = open_listed(handle, file).and_then(|opened| {
                if verified.contains(&key) {
                    return Ok(opened);
                }
                verify(handle.path(), file, &opened).map(|()| opened)
            });
            match whole {
                Ok(opened) => {
                    verified.insert(key);
                    if hold {
                        held.insert(file.path.clone(), opened);
                    }
                }
                Err(error) if salvage && salvage::is_of_file(&error) => damaged.push((index, error)),
                Err(error) => return Err(error),
            }
        }
        let holes = salvage::take_out(&mut manifest, &damaged);
        let state = current_state(handle, &manifest)?;
        let handle = handle.try_clone().map_err(io(handle.path()))?;
        let held = Arc::new(held);
        let directory = handle.path().to_owned();
        Ok(Capture { directory, manifest, state, holes, handle: Arc::new(handle), held })
    }

    /// Our own files, which need no checking.
    pub(crate) fn unchecked(directory: Directory, manifest: Manifest, state: State) -> Capture {
        let (path, handle) = (directory.path().to_owned(), Arc::new(directory));
        Capture { directory: path, manifest, state, holes: Vec::new(), handle, held: Arc::default() }
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

    /// Opens a file that the manifest lists, wherever the directory is by now.
    pub fn open_file(&self, file: &manifest::File) -> io::Result<File> {
        match self.held.get(&file.path) {
            Some(held) => held.try_clone(),
            None => self.handle.open_file(Path::new(&file.path)),
        }
    }

    /// The latest boot time that any row may have, ns.
    pub fn latest_ns(&self) -> i64 {
        self.manifest.whole_until_boot_ns.max(self.manifest.started_boot_ns).saturating_add(SLACK_NS)
    }

    /// All rows of a table in file order; of `loss` those of the holes too.
    pub fn read(
        &self,
        table: &'static Table,
    ) -> impl Iterator<Item = Result<RecordBatch, CaptureError>> + use<> {
        let capture = self.clone();
        let files: Vec<manifest::File> = self.files(table.name).into_iter().cloned().collect();
        let stored = files.into_iter().flat_map(move |file| {
            let (batches, error) = match PartBatches::open(&capture, &file, table) {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error))),
            };
            error.into_iter().chain(batches.into_iter().flatten())
        });
        let holes = (table.name == tables::LOSS.name).then(|| self.lost_in_holes()).flatten();
        stored.chain(holes)
    }

    /// The rows of `loss` that stand for the holes; `None` where there are none.
    pub fn lost_in_holes(&self) -> Option<Result<RecordBatch, CaptureError>> {
        let path = self.directory.join(tables::LOSS.name);
        let rows = batch::<LossRow>(self.holes.iter().map(Hole::loss)).map_err(error::table(&path));
        (!self.holes.is_empty()).then_some(rows)
    }

    /// All rows of a table in file order, by batches.
    pub fn rows<R: Row>(&self) -> impl Iterator<Item = Result<Columns<R>, CaptureError>> + use<R> {
        self.typed(self.read(R::TABLE))
    }

    /// As [`Capture::events`], as rows.
    pub fn event_rows(
        &self,
    ) -> impl Iterator<Item = Result<Columns<EventRow<'static>>, CaptureError>> + use<> {
        self.typed(self.events())
    }

    fn typed<R: Row, B: Iterator<Item = Result<RecordBatch, CaptureError>>>(
        &self,
        batches: B,
    ) -> impl Iterator<Item = Result<Columns<R>, CaptureError>> + use<R, B> {
        let path = self.directory.join(R::TABLE.name);
        batches.map(move |batch| Columns::of(&batch?).map_err(error::table(&path)))
    }

    /// Whether a table's times are such as can be, and its files in the order they declare: for readers that take that for granted.
    pub fn check_times(&self, table: &'static Table) -> Result<(), CaptureError> {
        self.files(table.name).into_iter().try_for_each(|file| part::check_times(self, file, table))
    }

    /// Hands out a column of 64-bit numbers that are never null, in file order, by batches, without reading the others.
    pub fn numbers(
        &self,
        table: &'static Table,
        column: &'static str,
        mut each: impl FnMut(&[i64]),
    ) -> Result<(), CaptureError> {
        self.files(table.name)
            .into_iter()
            .try_for_each(|file| part::numbers(self, file, table, column, &mut each))
    }

    /// All events in order of emission. Two parts are merged at a time, because a part may overlap
    /// in time only its neighbours.
    pub fn events(&self) -> impl Iterator<Item = Result<RecordBatch, CaptureError>> + use<> {
        InOrder::new(self, &tables::EVENTS).into_iter().flatten()
    }

    /// All rows of a table, in order of time where each of its files is, else in file order.
    pub fn in_order(
        &self,
        table: &'static Table,
    ) -> Box<dyn Iterator<Item = Result<RecordBatch, CaptureError>>> {
        match InOrder::new(self, table) {
            Some(rows) => Box::new(rows),
            None => Box::new(self.read(table)),
        }
    }

    /// The same with these files alone.
    pub fn only(mut self, files: &[manifest::File]) -> Capture {
        self.manifest.files = files.to_vec();
        self
    }
}

/// Opens a listed file. Its kind and size are looked at before anything is read.
fn open_listed(directory: &Directory, file: &manifest::File) -> Result<File, CaptureError> {
    let path = directory.path().join(&file.path);
    let damaged = |reason: String| CaptureError::Damaged { path: path.clone(), reason };
    let opened = match directory.open_file(Path::new(&file.path)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("the file is missing".to_owned()));
        }
        Err(e) if e.kind() == io::ErrorKind::Other => return Err(damaged(e.to_string())),
        other => other.map_err(io(&path))?,
    };
    let bytes = opened.metadata().map_err(io(&path))?.len();
    if bytes != file.bytes {
        return Err(damaged(format!("{bytes} bytes instead of {}", file.bytes)));
    }
    Ok(opened)
}

fn verify(directory: &Path, file: &manifest::File, opened: &File) -> Result<(), CaptureError> {
    let path = directory.join(&file.path);
    let damaged = |reason: String| CaptureError::Damaged { path: path.clone(), reason };
    let bytes = PartBytes::new(opened.try_clone().map_err(io(&path))?, file.bytes);
    let table = tables::by_name(&file.table);
    // What is wrong within is said only where the content is what was recorded.
    let layout = guarded(|| Layout::read(&bytes, table)).and_then(|layout| layout);
    let mut walk = layout.as_ref().map_err(String::clone).and_then(|layout| guarded(|| layout.walk())?);
    let hash = hash(opened, file.bytes, |at, block| {
        let Ok(pages) = &mut walk else { return };
        if let Err(reason) = guarded(|| pages.feed(at, block)).and_then(|fed| fed) {
            walk = Err(reason);
        }
    });
    if hash.map_err(io(&path))? != file.xxh3 {
        return Err(damaged("its content is not what was recorded (xxh3 differs)".to_owned()));
    }
    walk.and_then(Walk::finish).map_err(damaged)?;
    let footer = layout.map_err(damaged)?.into_metadata();
    match contradiction(&footer, file) {
        Some(reason) => Err(damaged(reason)),
        None => Ok(()),
    }
}

/// xxh3 of the first `bytes` bytes, and no more, however the file grows. `each` sees every block with its place.
fn hash(source: &File, bytes: u64, mut each: impl FnMut(u64, &[u8])) -> io::Result<String> {
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    let (mut source, mut at) = (source.take(bytes), 0);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => {
                hash.update(&buffer[..n]);
                each(at, &buffer[..n]);
                at += n as u64;
            }
        }
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

fn current_state(directory: &Directory, manifest: &Manifest) -> Result<State, CaptureError> {
    if manifest.state == State::Recording && recorder_lives(directory) {
        return Ok(State::Recording);
    }
    if manifest.state != State::Complete || has_temporary_files(directory)? {
        return Ok(State::Interrupted);
    }
    Ok(State::Complete)
}

fn recorder_lives(directory: &Directory) -> bool {
    match directory.open_file(Path::new(LOCK)) {
        Ok(lock) => matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)),
        Err(_) => false,
    }
}

fn has_temporary_files(directory: &Directory) -> Result<bool, CaptureError> {
    let is_temporary = |directory: &Directory| {
        let names = directory.names().map_err(io(directory.path()))?;
        Ok(names.iter().any(|name| name.to_string_lossy().ends_with(TEMPORARY)))
    };
    // A folder that cannot be opened holds no listed file.
    let folders = tables::ALL.iter().filter_map(|table| directory.child(OsStr::new(table.name)).ok());
    for folder in folders {
        if is_temporary(&folder)? {
            return Ok(true);
        }
    }
    is_temporary(directory)
}

fn not_a_capture(path: &Path, reason: &str) -> CaptureError {
    CaptureError::NotACapture { path: path.to_owned(), reason: reason.to_owned() }
}
