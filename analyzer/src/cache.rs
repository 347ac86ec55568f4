//! Derived tables on disk, so that a capture is assembled once.
//!
//! A set lies in a folder named after what it was made from: the manifest, the options, the version of the
//! algorithm. It is written under another name and renamed when it is whole; every file is checked against its
//! xxh3 before use. The folder lies in the capture, or in the user's cache where the capture cannot be written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use retrospan_formats::manifest::{self, Manifest};
use retrospan_formats::table::Table;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::parts::Part;

/// Lists the files of a finished set.
const INDEX: &str = "derived.json";
/// Ending of folders that are being written, and locked as long as they are.
const UNFINISHED: &str = ".unfinished";
/// Locked by whoever writes a set.
const LOCK: &str = "lock";
/// Sets of another state of the capture are kept this long: somebody may be reading them.
const STALE: Duration = Duration::from_secs(3600);
/// zstd level of derived tables.
const ZSTD_LEVEL: i32 = 1;

/// The name of a set: of the state of the capture, and of what else decides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    capture: String,
    rest: String,
}

impl Key {
    /// `version` and `options` stand for everything but the capture that decides the content.
    pub fn new(manifest: &Manifest, version: u32, options: &str) -> Key {
        let manifest = serde_json::to_vec(manifest).unwrap_or_default();
        let rest = format!("{version} {options}");
        Key {
            capture: format!("{:016x}", xxh3_64(&manifest)),
            rest: format!("{:016x}", xxh3_64(rest.as_bytes())),
        }
    }

    fn folder(&self) -> String {
        format!("{}-{}", self.capture, self.rest)
    }
}

/// Where sets of this capture may lie, best first.
pub fn places(capture: &Path, manifest: &Manifest) -> Vec<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute).or_else(home);
    let of_user = cache.map(|cache| cache.join("retrospan").join(folder_name(&manifest.capture_id)));
    std::iter::once(capture.join("derived")).chain(of_user).collect()
}

/// A capture's id comes from a file that may come from anywhere.
fn folder_name(id: &str) -> String {
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { id.to_owned() } else { format!("{:016x}", xxh3_64(id.as_bytes())) }
}

#[derive(Serialize, Deserialize)]
struct Index {
    files: Vec<manifest::File>,
}

/// The files of a table within a set.
pub type TableFiles = Vec<(String, Part)>;

/// A whole, undamaged set in `place`. None where there is none.
pub fn find(place: &Path, key: &Key) -> Option<TableFiles> {
    let folder = fs::canonicalize(place.join(key.folder())).ok()?;
    let index: Index = serde_json::from_slice(&fs::read(folder.join(INDEX)).ok()?).ok()?;
    let part = |file: &manifest::File| {
        let table = crate::tables::by_name(&file.table)?;
        let path = folder.join(format!("{}.parquet", table.name));
        let whole = File::open(&path).and_then(hash).ok()? == (file.bytes, file.xxh3.clone());
        let part = Part { path, number: 0, bytes: file.bytes, rows: file.rows, range: None };
        whole.then_some((file.table.clone(), part))
    };
    index.files.iter().map(part).collect()
}

/// Size and xxh3 of a file.
fn hash(mut file: File) -> io::Result<(u64, String)> {
    let mut hashing = Hashing { inner: io::sink(), hash: Xxh3::new(), bytes: 0 };
    io::copy(&mut file, &mut hashing)?;
    Ok((hashing.bytes, format!("{:016x}", hashing.hash.digest())))
}

/// A set that is being written. Dropped without [`SetWriter::finish`] it is gone.
pub struct SetWriter {
    place: PathBuf,
    key: Key,
    folder: PathBuf,
    _lock: File,
    open: Vec<(&'static Table, ArrowWriter<Hashing<File>>, u64)>,
    finished: bool,
}

impl SetWriter {
    /// Begins a set in `place`; fails where nothing can be written there.
    pub fn create(place: &Path, key: &Key) -> io::Result<SetWriter> {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        let folder = place.join(format!("{}.{}{UNFINISHED}", key.folder(), std::process::id()));
        DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
        let lock = private_file(&folder.join(LOCK))?;
        lock.lock()?;
        Ok(SetWriter {
            place: place.to_owned(),
            key: key.clone(),
            folder,
            _lock: lock,
            open: Vec::new(),
            finished: false,
        })
    }

    /// Adds rows to a table.
    pub fn append(&mut self, table: &'static Table, batch: &RecordBatch) -> io::Result<()> {
        let position = match self.open.iter().position(|(t, _, _)| t.name == table.name) {
            Some(position) => position,
            None => {
                let file = private_file(&self.folder.join(format!("{}.parquet", table.name)))?;
                let file = Hashing { inner: file, hash: Xxh3::new(), bytes: 0 };
                let properties = table.writer_properties(ZSTD_LEVEL, Vec::new());
                let writer = ArrowWriter::try_new(file, table.schema(), Some(properties))?;
                self.open.push((table, writer, 0));
                self.open.len() - 1
            }
        };
        let (_, writer, rows) = &mut self.open[position];
        *rows += batch.num_rows() as u64;
        Ok(writer.write(batch)?)
    }

    /// Finishes the files and gives the set its name. Where another process was faster, its set stays.
    pub fn finish(mut self) -> io::Result<()> {
        let mut files = Vec::new();
        for (table, writer, rows) in std::mem::take(&mut self.open) {
            let file = writer.into_inner()?;
            files.push(manifest::File {
                table: table.name.to_owned(),
                part: 0,
                path: format!("{}.parquet", table.name),
                rows,
                bytes: file.bytes,
                first_boot_ns: None,
                last_boot_ns: None,
                xxh3: format!("{:016x}", file.hash.digest()),
            });
        }
        let mut index = private_file(&self.folder.join(INDEX))?;
        index.write_all(&serde_json::to_vec_pretty(&Index { files })?)?;
        self.publish()?;
        self.finished = true;
        prune(&self.place, &self.key);
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        let target = self.place.join(self.key.folder());
        if fs::rename(&self.folder, &target).is_ok() {
            return Ok(());
        }
        if find(&self.place, &self.key).is_some() {
            return fs::remove_dir_all(&self.folder);
        }
        // What is there is damaged: it was looked at before this set was begun.
        let damaged = self.folder.with_extension("damaged");
        fs::rename(&target, &damaged)?;
        fs::rename(&self.folder, &target)?;
        fs::remove_dir_all(damaged)
    }
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done where even this fails; the next writer tries again.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Removes sets of earlier states of the capture, and what killed writers left.
fn prune(place: &Path, key: &Key) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let abandoned = name.ends_with(UNFINISHED)
            && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        let old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age > STALE));
        let outdated = !name.ends_with(UNFINISHED) && !name.starts_with(&key.capture) && old;
        if abandoned || outdated {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Counts and hashes what is written.
struct Hashing<W> {
    inner: W,
    hash: Xxh3,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
