//! Why there is no recording, or no whole one.

use std::ffi::OsString;
use std::path::PathBuf;

use retrospan_formats::error::CaptureError;

use crate::kernel::ProbeError;
use crate::options::{OptionError, Options};
use crate::rows::RowsError;

/// Why there is no recording, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An option cannot be honoured.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Times could not be told.
    #[error("{0}")]
    Clock(&'static str),
    /// The kernel programs do not run.
    #[error(transparent)]
    Probes(#[from] ProbeError),
    /// The capture cannot be written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Rows do not get to the disk.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// COMMAND cannot be run.
    #[error("{}: cannot be run: {reason}", .command.to_string_lossy())]
    Command {
        /// Its first word.
        command: OsString,
        /// Why.
        reason: String,
    },
    /// The recording ended before its time: most often the disk is full.
    #[error("{source}; {} {whole}", .output.display())]
    CutShort {
        /// Why.
        source: Box<RecordError>,
        /// The capture.
        output: PathBuf,
        /// How much of it there is.
        whole: String,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Its reason.
        source: std::io::Error,
    },
}

/// COMMAND cannot be run, for this reason.
pub(super) fn command_error(options: &Options, reason: &str) -> RecordError {
    RecordError::Command {
        command: options.command.first().cloned().unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

/// The operating system refused this.
pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> RecordError {
    move |source| RecordError::System { what, source }
}
