//! What can go wrong with a capture directory. Every message names the file.

use std::path::{Path, PathBuf};

/// An error while opening, reading or writing a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is nothing of that name.
    #[error("{0}: no such capture")]
    Missing(PathBuf),
    /// It is not a capture directory.
    #[error("{path}: not a capture: {}", one_line(.reason))]
    NotACapture {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The manifest does not parse.
    #[error("{path}: the manifest cannot be read: {}", one_line(.reason))]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Written by another format version.
    #[error("{path}: format version {found} is not readable by this program (it reads up to {known})")]
    Version {
        /// The manifest.
        path: PathBuf,
        /// Version in the manifest.
        found: u64,
        /// Newest version known.
        known: u32,
    },
    /// A listed file is missing, short or different.
    #[error("{path}: damaged: {}", one_line(.reason))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// `-o` names something that is in use.
    #[error("{0}: exists and is not an empty directory")]
    NotEmpty(PathBuf),
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Parquet or Arrow refused.
    #[error("{path}: {}", one_line(.reason))]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A reason may quote a damaged file; what would end the line is written as an escape.
fn one_line(reason: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    reason.chars().map(escaped).collect()
}

/// Adds the path to an error of the operating system.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> CaptureError + '_ {
    move |source| CaptureError::Io { path: path.to_owned(), source }
}

/// Adds the path to an error of Parquet or Arrow.
pub(crate) fn table<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> CaptureError + '_ {
    move |reason| CaptureError::Table { path: path.to_owned(), reason: reason.to_string() }
}
