//! Rows on their way to the disk: the batches of each table, and the thread that writes them.

pub mod aging;
pub mod compact;
pub mod events;
pub mod files;
pub mod pending;
pub mod rolling;
pub mod room;
pub mod self_activity;
pub mod trim;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::table::Table;

/// Why rows do not get to the disk.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// A batch could not be built.
    #[error("rows do not fit their table: {0}")]
    Rows(#[from] ArrowError),
    /// The writer has ended; it has the reason.
    #[error("the writer has ended")]
    WriterGone,
}

/// Takes a finished batch.
pub type Sink<'a> = dyn FnMut(&'static Table, RecordBatch) -> Result<(), RowsError> + 'a;
