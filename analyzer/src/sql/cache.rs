//! Derived tables on disk, so that a capture is assembled once.
//!
//! A place has one set: the folder `current`, so that other readers find the tables at one path. What it was
//! made from (the manifest, the options, the version of the algorithm) is part of what was signed with the
//! user's own key; every file is checked against its xxh3 before use, and stays open from then on. A set is
//! written under another name; the one before it is removed, then it gets the name. So two sets are never
//! beside each other, and a program that ends midway leaves none. The place lies in the capture, or in the
//! user's cache where the capture cannot be written.
//!
//! A capture may come from anywhere: nothing here follows a link within it, and nothing is removed that this
//! module did not make.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;
use retrospan_formats::checksum::HashingWriter;
use retrospan_formats::directory::Directory;
use retrospan_formats::manifest::{self, Manifest};
use retrospan_formats::table::Table;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::print::note;
use crate::sql::held::Source;
use crate::sql::parquet_table::Part;
use crate::sql::secret::Secret;
use crate::tables;

/// Lists the files of a finished set.
const INDEX: &str = "derived.json";
/// The user's signature of that: another's set may say anything, so none is believed that came with a
/// capture.
const SIGNATURE: &str = "derived.mac";
/// The set of a place.
pub const CURRENT: &str = "current";
/// Ending of folders that are being written, and locked as long as they are; and of files in them, which no
/// reader of `*.parquet` should take for tables.
const UNFINISHED: &str = "unfinished";
/// Ending of folders that earlier versions put aside to be removed.
const DAMAGED: &str = "damaged";
/// How often a set is put in the place of another that came first.
const MOST_TRIES: usize = 3;
/// In every set. Locked by whoever writes it; earlier versions also locked what they read.
const LOCK: &str = "lock";
/// What the lock holds: a folder without it was not made here.
const MARK: &[u8] = b"retrospan derived tables\n";
/// The index is never larger.
const MOST_INDEX_BYTES: u64 = 1 << 20;
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

    /// What its index is signed for.
    fn name(&self) -> String {
        format!("{}-{}", self.capture, self.rest)
    }
}

/// Where sets of this capture may lie, best first. A `derived` that leads elsewhere is no such place, and the
/// user is told.
pub fn places(capture: &Path, manifest: &Manifest) -> Vec<PathBuf> {
    let of_user = of_user().map(|cache| cache.join(folder_name(&manifest.capture_id)));
    let within = capture.join("derived");
    let is_link = fs::symlink_metadata(&within).is_ok_and(|m| m.is_symlink());
    if is_link {
        note(&format!(
            "retrospan: {}: a link, which is not followed: derived tables are kept elsewhere",
            within.display()
        ));
    }
    (!is_link).then_some(within).into_iter().chain(of_user).collect()
}

/// The user's cache folder of this program.
fn of_user() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute).or_else(home);
    cache.map(|cache| cache.join("retrospan"))
}

/// What tells the user's sets from others.
pub fn secret() -> io::Result<Secret> {
    Secret::of_user(of_user().as_deref())
}

/// The directory itself, not what a link of that name leads to.
fn open_place(place: &Path) -> io::Result<Directory> {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Directory::open(parent)?.child(name)
}

fn create_place(place: &Path) -> io::Result<Directory> {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !parent.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    Directory::open(parent)?.child_or_new(name)
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

/// A whole set. Its files are open: they can be read even when another set has come in its place.
#[derive(Debug)]
pub struct Set {
    /// Its files, with the table that each is of.
    pub files: Vec<(String, Part)>,
}

/// The set in `place`, if it is the one of that key: whole, undamaged, and this user's. None where it is not.
/// What is left of other sets is removed.
pub fn find(place: &Path, key: &Key, secret: &Secret) -> Option<Set> {
    let directory = open_place(place).ok()?;
    let files = whole_files(&directory.child(OsStr::new(CURRENT)).ok()?, key, secret)?;
    prune(&directory);
    let part = |(file, opened): (manifest::File, File)| {
        let path = place.join(CURRENT).join(&file.path);
        let source = Arc::new(SetFile(opened));
        (file.table, Part { source, path, number: 0, bytes: file.bytes, rows: file.rows, range: None })
    };
    Some(Set { files: files.into_iter().map(part).collect() })
}

/// A file of a set. Readers name the position of each read, so they can share it.
#[derive(Debug)]
struct SetFile(File);

impl Source for SetFile {
    fn open(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// The files of a set that this user wrote for that key, that is whole and undamaged; open.
fn whole_files(folder: &Directory, key: &Key, secret: &Secret) -> Option<Vec<(manifest::File, File)>> {
    let read = |name: &str| {
        let mut bytes = Vec::new();
        let file = folder.open_file(Path::new(name)).ok()?;
        file.take(MOST_INDEX_BYTES).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    marked(folder)?;
    let text = read(INDEX)?;
    if !secret.has_signed(&key.name(), &text, &read(SIGNATURE)?) {
        return None;
    }
    let index: Index = serde_json::from_slice(&text).ok()?;
    let whole = |file: manifest::File| {
        let name = tables::by_name(&file.table).map(file_name);
        let opened =
            folder.open_file(Path::new(&file.path)).ok().filter(|_| name.as_ref() == Some(&file.path))?;
        let hash = hash(&opened, file.bytes, secret.seed()).ok()?;
        (hash == file.xxh3).then_some((file, opened))
    };
    index.files.into_iter().map(whole).collect()
}

/// The lock of a set that was made here.
fn marked(folder: &Directory) -> Option<File> {
    let lock = folder.open_file(Path::new(LOCK)).ok()?;
    let mut mark = Vec::new();
    (&lock).take(MARK.len() as u64 + 1).read_to_end(&mut mark).ok()?;
    (mark == MARK).then_some(lock)
}

fn file_name(table: &Table) -> String {
    format!("{}.parquet", table.name)
}

/// Until the set is whole.
fn unfinished_name(table: &Table) -> String {
    format!("{}.{UNFINISHED}", file_name(table))
}

/// xxh3 of a file that has that size.
fn hash(file: &File, bytes: u64, seed: u64) -> io::Result<String> {
    if file.metadata()?.len() != bytes {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut hashing = HashingWriter::new(io::sink(), seed);
    io::copy(&mut file.take(bytes), &mut hashing)?;
    Ok(format!("{:016x}", hashing.xxh3()))
}

/// A set that is being written. Dropped without [`SetWriter::finish`] it is gone.
pub struct SetWriter {
    place: Directory,
    key: Key,
    secret: Arc<Secret>,
    name: OsString,
    folder: Directory,
    lock: File,
    open: Vec<(&'static Table, ArrowWriter<HashingWriter<File>>, u64)>,
    finished: bool,
}

impl SetWriter {
    /// Begins a set in `place`, and makes room for it; fails where nothing can be written there.
    pub fn create(place: &Path, key: &Key, secret: &Arc<Secret>) -> io::Result<SetWriter> {
        let place = create_place(place)?;
        prune(&place);
        let name = OsString::from(format!(".{}.{}.{UNFINISHED}", key.name(), std::process::id()));
        let folder = place.new_child(&name)?;
        let mut lock = folder.new_file(OsStr::new(LOCK))?;
        lock.lock()?;
        let (key, secret) = (key.clone(), secret.clone());
        lock.write_all(MARK)?;
        Ok(SetWriter { place, key, secret, name, folder, lock, open: Vec::new(), finished: false })
    }

    /// Adds rows to a table.
    pub fn append(&mut self, table: &'static Table, batch: &RecordBatch) -> io::Result<()> {
        let position = match self.open.iter().position(|(t, _, _)| t.name == table.name) {
            Some(position) => position,
            None => {
                let file = self.folder.new_file(OsStr::new(&unfinished_name(table)))?;
                let file = HashingWriter::new(file, self.secret.seed());
                let properties = table.writer_properties(Some(ZSTD_LEVEL), Vec::new());
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
        let mut written = Vec::new();
        for (table, writer, rows) in std::mem::take(&mut self.open) {
            written.push(table);
            let file = writer.into_inner()?;
            files.push(manifest::File {
                table: table.name.to_owned(),
                part: 0,
                first_part: None,
                path: file_name(table),
                rows,
                bytes: file.bytes(),
                first_boot_ns: None,
                last_boot_ns: None,
                xxh3: format!("{:016x}", file.xxh3()),
            });
        }
        let mut index = self.folder.new_file(OsStr::new(INDEX))?;
        let text = serde_json::to_vec_pretty(&Index { files })?;
        index.write_all(&text)?;
        let signature = self.secret.sign(&self.key.name(), &text);
        self.folder.new_file(OsStr::new(SIGNATURE))?.write_all(&signature)?;
        self.finished = self.publish(&written)?;
        Ok(())
    }

    /// Whether the set has its name now; it has not where an equal one was faster.
    fn publish(&self, written: &[&Table]) -> io::Result<bool> {
        let current = OsStr::new(CURRENT);
        let mut is_named = false;
        for _ in 0..MOST_TRIES {
            if let Ok(there) = self.place.child(current) {
                if whole_files(&there, &self.key, &self.secret).is_some() {
                    return Ok(false);
                }
                drop(there);
                remove(&self.place, current);
            }
            // Only now, so that tables of two sets never have names that readers look for.
            if !is_named && !self.place.has(current) {
                for table in written {
                    self.folder.rename(OsStr::new(&unfinished_name(table)), OsStr::new(&file_name(table)))?;
                }
                is_named = true;
            }
            if is_named && self.place.rename(&self.name, current).is_ok() {
                // Whatever replaces it may remove it now.
                let _ = self.lock.unlock();
                return Ok(true);
            }
        }
        Err(io::Error::other("something else has the name of the set"))
    }
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done where even this fails; the next writer tries again.
            let _ = self.lock.unlock();
            remove(&self.place, &self.name);
        }
    }
}

/// Removes what killed writers left, and sets as earlier versions named them: each had a folder of its own,
/// and readers of all folders found every span twice.
fn prune(place: &Directory) {
    for name in place.names().unwrap_or_default() {
        if is_left_over(&name) {
            remove(place, &name);
        }
    }
}

/// Whether the name of a folder is one that this module, or an earlier version of it, gives to anything but
/// the current set.
fn is_left_over(name: &OsStr) -> bool {
    let parse = || {
        let name = name.to_str()?;
        let mut pieces = name.strip_prefix('.').unwrap_or(name).split('.');
        let (capture, rest) = pieces.next()?.split_once('-')?;
        let is_hash =
            |text: &str| text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_ours = match (pieces.next(), pieces.next(), pieces.next()) {
            (None, None, None) => !name.starts_with('.'),
            (Some(pid), Some(UNFINISHED | DAMAGED), None) => pid.parse::<u32>().is_ok(),
            _ => false,
        };
        Some(is_ours && is_hash(capture) && is_hash(rest))
    };
    parse().unwrap_or(false)
}

/// Removes a set that nobody holds: the files that this module writes, the lock last, then the folder.
/// Whatever else is in it keeps all of it.
fn remove(place: &Directory, name: &OsStr) {
    let Ok(folder) = place.child(name) else { return };
    let Some(lock) = marked(&folder) else { return };
    let Ok(names) = folder.names() else { return };
    let files = |table: &&Table| [OsString::from(file_name(table)), unfinished_name(table).into()];
    let ours: Vec<OsString> =
        tables::ALL.iter().flat_map(files).chain([INDEX.into(), SIGNATURE.into()]).collect();
    let only_ours = names.iter().all(|name| name == LOCK || ours.contains(name));
    if !only_ours || lock.try_lock().is_err() {
        return;
    }
    // What cannot be removed now is tried again by the next writer.
    let removed =
        ours.iter().filter(|name| names.contains(name)).all(|name| folder.remove_file(name).is_ok());
    if removed && folder.remove_file(OsStr::new(LOCK)).is_ok() {
        let _ = place.remove_child(name);
    }
}

#[cfg(test)]
mod tests;
