//! Writes a capture directory: record batches in, finished Parquet parts and a manifest out.
//!
//! A part is written to temporary names and renamed into place at [`CaptureWriter::rotate`],
//! dimensions before facts, then the manifest is rewritten. So a kill at any moment loses at most
//! the part that was being written.
//!
//! The recorder is root and the folder it writes into may be anybody's. So the capture and its tables' folders are held open, every file is
//! made new under a name that nothing had, and no link is followed: whoever renames the capture meanwhile moves it and nothing else.

mod freeze;
mod part;
mod splice;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use arrow::array::RecordBatch;
use parquet::file::metadata::KeyValue;

use self::part::{Finished, PartWriter, new_temporary};
use crate::directory::Directory;
use crate::error::{CaptureError, io, table as table_error};
use crate::manifest::{self, LOCK, MANIFEST, Manifest, State, TEMPORARY};
use crate::reader::Capture;
use crate::table::Table;
use crate::tables;

/// Writes one capture.
pub struct CaptureWriter {
    directory: Directory,
    /// The folders of the tables that have files.
    folders: BTreeMap<&'static str, Directory>,
    manifest: Manifest,
    /// Held, and locked, as long as the recorder lives.
    _lock: File,
    part: u32,
    open: Vec<(&'static Table, PartWriter)>,
}

impl CaptureWriter {
    /// Creates the directory (or takes an empty one), locks it and writes the first manifest in
    /// state `recording`. Fails with [`CaptureError::NotEmpty`] where something is there already, be it another recorder
    /// that was faster.
    pub fn create(directory: &Path, manifest: Manifest) -> Result<CaptureWriter, CaptureError> {
        let exists = check_unused(directory)?;
        let opened = if exists { Directory::open(directory) } else { make(directory) };
        let handle = opened.map_err(io(directory))?;
        let lock_path = directory.join(LOCK);
        let lock = match handle.new_file(OsStr::new(LOCK)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CaptureError::NotEmpty(directory.to_owned()));
            }
            other => other.map_err(io(&lock_path))?,
        };
        // A recorder that began and ended in between has left a capture.
        if handle.names().map_err(io(directory))? != [LOCK] {
            handle.remove_file(OsStr::new(LOCK)).map_err(io(&lock_path))?;
            return Err(CaptureError::NotEmpty(directory.to_owned()));
        }
        lock.lock().map_err(io(&lock_path))?;
        let mut writer = CaptureWriter {
            directory: handle,
            folders: BTreeMap::new(),
            manifest,
            _lock: lock,
            part: 0,
            open: Vec::new(),
        };
        writer.manifest.state = State::Recording;
        writer.write_manifest()?;
        Ok(writer)
    }

    /// The finished files so far, for reading; they are our own and need no checking.
    pub fn view(&self) -> Result<Capture, CaptureError> {
        let directory = self.directory.try_clone().map_err(io(self.directory.path()))?;
        Ok(Capture::unchecked(directory, self.manifest.clone(), State::Recording))
    }

    /// The manifest as it stands.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Says when what is here began: where that was not known before all was read, or the first parts were let go of. For the next
    /// manifest.
    pub fn began(&mut self, boot_ns: i64, wall_ns: i64) {
        (self.manifest.started_boot_ns, self.manifest.started_wall_ns) = (boot_ns, wall_ns);
    }

    /// Says what was found of TLS libraries so far; for the next manifest.
    pub fn tls(&mut self, tls: manifest::Tls) {
        self.manifest.tls = Some(tls);
    }

    /// Says which limit ended the recording; for the next manifest.
    pub fn ended_by(&mut self, limit: String) {
        self.manifest.ended_by = Some(limit);
    }

    /// Removes files of old parts. `rolled`: what has been let go of, these included; `losses`: sums of the parts that stay.
    pub fn let_go(
        &mut self,
        old: &[manifest::File],
        rolled: manifest::Rolled,
        losses: Vec<manifest::Loss>,
    ) -> Result<(), CaptureError> {
        self.manifest.rolled = Some(rolled);
        self.manifest.losses = losses;
        self.manifest.files.retain(|file| !old.contains(file));
        self.write_manifest()?;
        self.remove(old)
    }

    /// Bytes that are free where it is written.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.directory.free_bytes()
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
                let part =
                    self.new_part(table, self.part, format!("{:06}.parquet", self.part), batch.num_rows())?;
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
                let file = part.finish()?.listed(table, self.part);
                self.manifest.files.push(file);
            }
        }
        self.check_places()?;
        self.part += 1;
        self.manifest.whole_until_boot_ns = whole_until_boot_ns;
        self.manifest.losses = losses;
        self.write_manifest()
    }

    /// Replaces files of a table, at least two and neighbours, by one with `rows`, in their place among the others.
    pub fn replace(
        &mut self,
        table: &'static Table,
        old: &[manifest::File],
        rows: impl Iterator<Item = Result<RecordBatch, CaptureError>>,
    ) -> Result<(), CaptureError> {
        self.put_together(table, old, |mut part| {
            for batch in rows {
                part.append(table, &batch?)?;
            }
            part.finish()
        })
    }

    /// The same with the rows of these files as they are encoded, one file after the other.
    pub fn splice(&mut self, table: &'static Table, old: &[manifest::File]) -> Result<(), CaptureError> {
        let capture = self.view()?;
        self.put_together(table, old, |part| part.splice(&capture, old))
    }

    /// Crash-safe: the manifest switches over before the old files go.
    fn put_together(
        &mut self,
        table: &'static Table,
        old: &[manifest::File],
        fill: impl FnOnce(PartWriter) -> Result<Finished, CaptureError>,
    ) -> Result<(), CaptureError> {
        let parts = || old.iter().flat_map(|file| [file.first_part(), file.part]);
        let (Some(first), Some(last), true) = (parts().min(), parts().max(), old.len() > 1) else {
            return Ok(());
        };
        let part = self.new_part(table, last, format!("{first:06}-{last:06}.parquet"), usize::MAX)?;
        let place = part.place().clone();
        let finished = fill(part).inspect_err(|_| place.discard())?;
        let file = manifest::File { first_part: Some(first), ..finished.listed(table, last) };
        let index = self.manifest.files.iter().position(|f| old.contains(f)).unwrap_or_default();
        self.manifest.files.retain(|f| !old.contains(f));
        self.manifest.files.insert(index, file);
        self.write_manifest()?;
        self.remove(old)
    }

    /// Removes files that the manifest does not name any more.
    fn remove(&self, old: &[manifest::File]) -> Result<(), CaptureError> {
        for file in old {
            let Some(folder) = self.folders.get(file.table.as_str()) else { continue };
            let Some(name) = Path::new(&file.path).file_name() else { continue };
            folder.remove_file(name).map_err(io(&folder.path().join(name)))?;
        }
        Ok(())
    }

    fn new_part(
        &mut self,
        table: &'static Table,
        part: u32,
        name: String,
        first_rows: usize,
    ) -> Result<PartWriter, CaptureError> {
        let metadata = file_metadata(table, part, &self.manifest);
        PartWriter::create(self.folder(table)?, table, name, metadata, first_rows)
    }

    fn folder(&mut self, table: &'static Table) -> Result<Directory, CaptureError> {
        let path = self.directory.path().join(table.name);
        if !self.folders.contains_key(table.name) {
            let folder = self.directory.child_or_new(OsStr::new(table.name)).map_err(io(&path))?;
            self.folders.insert(table.name, folder);
        }
        self.folders[table.name].try_clone().map_err(io(&path))
    }

    /// Fails where a folder that files were written into is not in the capture any more: what is written from now on could not be
    /// read, and that is to be said now.
    fn check_places(&self) -> Result<(), CaptureError> {
        for (name, folder) in &self.folders {
            let there = self.directory.child(OsStr::new(name));
            if !there.is_ok_and(|there| there.is_same(folder)) {
                return Err(gone(&self.directory.path().join(name)));
            }
        }
        Ok(())
    }

    /// Fails where a finished file is not there any more.
    fn check_files(&self) -> Result<(), CaptureError> {
        for file in &self.manifest.files {
            let opened = self.directory.open_file(Path::new(&file.path));
            if !opened.and_then(|opened| opened.metadata()).is_ok_and(|m| m.len() == file.bytes) {
                return Err(gone(&self.directory.path().join(&file.path)));
            }
        }
        Ok(())
    }

    /// Marks the capture complete and unlocks it. Call [`CaptureWriter::rotate`] before.
    pub fn complete(mut self, cost: manifest::Cost) -> Result<Manifest, CaptureError> {
        self.check_files()?;
        self.manifest.state = State::Complete;
        self.manifest.cost = Some(cost);
        self.write_manifest()?;
        self.directory.remove_file(OsStr::new(LOCK)).map_err(io(&self.directory.path().join(LOCK)))?;
        Ok(self.manifest)
    }

    fn write_manifest(&self) -> Result<(), CaptureError> {
        write_manifest(&self.directory, &self.manifest)
    }
}

/// Crash-safe: under a temporary name first.
fn write_manifest(directory: &Directory, manifest: &Manifest) -> Result<(), CaptureError> {
    let path = directory.path().join(MANIFEST);
    let temporary = OsString::from(format!("{MANIFEST}{TEMPORARY}"));
    let text = manifest.to_bytes().map_err(table_error(&path))?;
    let write = || {
        let mut file = new_temporary(directory, &temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        directory.rename(&temporary, OsStr::new(MANIFEST))?;
        directory.sync()
    };
    write().map_err(io(&path))
}

/// Makes the directory and holds what was made, whatever its name leads to by then.
fn make(directory: &Path) -> io::Result<Directory> {
    let Some(name) = directory.file_name() else { return Directory::open(directory) };
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    Ok(Directory::open(parent)?.child_or_new(name)?.called(directory))
}

fn gone(path: &Path) -> CaptureError {
    let reason = "it was moved or removed while the capture was being written".to_owned();
    CaptureError::Damaged { path: path.to_owned(), reason }
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
