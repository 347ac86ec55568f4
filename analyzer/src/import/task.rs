//! What is to be done, and what is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use retrospan_formats::writer::check_unused;
use retrospan_protocols::redact::Payload;

use crate::error::{Error, Result};

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The capture directory to make.
    pub output: PathBuf,
    /// How much of the data is kept.
    pub payload: Payload,
}

/// Where the capture is made.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its directory.
    pub directory: PathBuf,
    existed: bool,
}

impl Place {
    /// A directory that is not there, or is empty.
    ///
    /// # Errors
    /// Something is there.
    pub fn unused(directory: &Path) -> Result<Place> {
        Ok(Place { directory: directory.to_owned(), existed: check_unused(directory)? })
    }

    /// Takes away what was written there.
    pub fn discard(&self) {
        // What cannot be removed is left as an interrupted capture.
        let _ = fs::remove_dir_all(&self.directory);
        if self.existed {
            let _ = fs::create_dir(&self.directory);
        }
    }
}

/// What the caller sees and says while it is done.
pub struct Watch<'a> {
    /// What is read, and how much of it so far.
    pub progress: &'a dyn Fn(&str, u64),
    /// Whether to stop: then nothing is left behind.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl Watch<'_> {
    /// Tells how far it is.
    ///
    /// # Errors
    /// The caller wants it to stop.
    pub fn look(&self, what: &str, so_far: u64) -> Result<()> {
        if (self.interrupted)() {
            return Err(Error::Usage("interrupted: nothing was written".to_owned()));
        }
        (self.progress)(what, so_far);
        Ok(())
    }
}

/// What is told when it is done.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What was read, in one line.
    pub text: String,
    /// Files that did not end where they may.
    pub cut: Vec<PathBuf>,
    /// Within what they end.
    pub within: &'static str,
}
