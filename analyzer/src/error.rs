//! What can go wrong between the command line and the result. Each ends as one line on stderr; below a mistake in SQL stands its
//! place.

use std::io;
use std::path::{Path, PathBuf};

use datafusion::error::DataFusionError;
use retrospan_formats::error::CaptureError;

use crate::tables::dimensions::DimensionsError;

/// An error of a command. All of them are exit code 2, but for a closed pipe, which is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The capture cannot be used.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Its processes and clocks, or the names that somebody gave, cannot be read.
    #[error(transparent)]
    Dimensions(#[from] DimensionsError),
    /// A file of the capture is damaged; the others may be whole.
    #[error("{0}; --salvage opens the rest")]
    Damaged(#[source] CaptureError),
    /// The query is wrong, or failed.
    #[error("{}", query_message(.0))]
    Query(#[from] DataFusionError),
    /// The statement is wrong at a place that can be shown.
    #[error("{}", .0.headline)]
    Mistake(Mistake),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The operating system refused a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(#[source] io::Error),
    /// Spans could not be delivered.
    #[error("{endpoint}: {reason}")]
    Export {
        /// Where to.
        endpoint: String,
        /// Why not.
        reason: String,
    },
}

/// What is wrong with a text of the user, and where.
#[derive(Debug)]
pub struct Mistake {
    /// In one line, with what was probably meant.
    pub headline: String,
    /// Their line with a mark below the place, and lists of what there is.
    pub details: Vec<String>,
}

/// The result of a command's step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The lines that stand below the first one.
    pub fn details(&self) -> &[String] {
        match self {
            Error::Mistake(mistake) => &mistake.details,
            _ => &[],
        }
    }

    /// Nobody reads the result any more: a success for whoever wrote it.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Adds the path to an error of the operating system.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_owned(), source }
}

/// An error of our own found while a plan ran comes out as it went in; others lose DataFusion's
/// labels, which tell a user nothing.
fn query_message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::External(inner) => inner.to_string(),
        DataFusionError::Context(_, inner) => query_message(inner),
        DataFusionError::Shared(inner) => query_message(inner),
        DataFusionError::Diagnostic(_, inner) => query_message(inner),
        other => without_labels(&other.strip_backtrace()).to_owned(),
    }
}

fn without_labels(message: &str) -> &str {
    let labels =
        ["Arrow error: ", "Execution error: ", "Error during planning: ", "External error: ", "Cast error: "];
    let Some(rest) = labels.iter().find_map(|label| message.strip_prefix(label)) else { return message };
    without_labels(rest)
}
