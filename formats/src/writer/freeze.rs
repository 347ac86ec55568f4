//! A copy of a capture as it stands, while its recording goes on.
//!
//! Finished files never change, so that the copy shares them: it takes no room until the recording lets go of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use super::{CaptureWriter, check_unused, make, write_manifest};
use crate::directory::Directory;
use crate::error::{CaptureError, io};
use crate::manifest::{self, Manifest, State};

impl CaptureWriter {
    /// Makes a complete capture in `directory`, which must be new or empty, of the finished files. `reason`: why it was made,
    /// [`Manifest::frozen`]. Call [`CaptureWriter::rotate`] before, so that what was recorded until now is among them.
    ///
    /// Of a capture that could not be made whole an empty directory is left, where that much is possible.
    pub fn freeze(
        &self,
        directory: &Path,
        reason: &str,
        cost: manifest::Cost,
    ) -> Result<Manifest, CaptureError> {
        let exists = check_unused(directory)?;
        let opened = if exists { Directory::open(directory) } else { make(directory) };
        let copy = opened.map_err(io(directory))?;
        let mut manifest = self.manifest.clone();
        manifest.state = State::Complete;
        manifest.frozen = Some(reason.to_owned());
        manifest.cost = Some(cost);
        let shared = manifest.files.iter().try_for_each(|file| self.share(file, &copy));
        // What cannot be removed is no capture, as it has no manifest.
        shared.and_then(|()| write_manifest(&copy, &manifest)).inspect_err(|_| discard(&copy, &manifest))?;
        Ok(manifest)
    }

    fn share(&self, file: &manifest::File, copy: &Directory) -> Result<(), CaptureError> {
        let path = copy.path().join(&file.path);
        let share = || {
            let (Some(folder), Some(name)) =
                (self.folders.get(file.table.as_str()), Path::new(&file.path).file_name())
            else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let beside = copy.child_or_new(OsStr::new(&file.table))?;
            // The capture may be a mounted file system of its own, or one without links.
            folder.share(name, &beside).or_else(|_| copied(folder, name, &beside))
        };
        share().map_err(io(&path))
    }
}

fn discard(copy: &Directory, manifest: &Manifest) {
    for file in &manifest.files {
        let (table, name) = (OsStr::new(&file.table), Path::new(&file.path).file_name());
        if let (Ok(folder), Some(name)) = (copy.child(table), name) {
            let _ = folder.remove_file(name);
        }
        // Once its last file is gone.
        let _ = copy.remove_child(table);
    }
}

fn copied(from: &Directory, name: &OsStr, to: &Directory) -> io::Result<()> {
    let (mut old, mut new): (File, File) = (from.open_file(Path::new(name))?, to.new_file(name)?);
    io::copy(&mut old, &mut new)?;
    new.sync_all()
}
