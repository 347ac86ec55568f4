//! Rows of the derived tables on their way out, by batches.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::error::CaptureError;
use retrospan_formats::rows::{Row, Writer};
use retrospan_formats::table::Table;

use crate::assembly::attributes::Attributes;
use crate::tables::dimensions::DimensionsError;
use crate::tables::{ConnectionRow, MessageRow, SpanRow, TraceRow};

/// Why there are no tables.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The capture cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Nor its processes and clocks.
    #[error(transparent)]
    Dimensions(#[from] DimensionsError),
    /// Rows do not fit their table.
    #[error("derived table {table}: {source}")]
    Rows {
        /// The table.
        table: &'static str,
        /// Why.
        source: ArrowError,
    },
    /// The receiver of the rows gave up.
    #[error("writing derived table {table}: {reason}")]
    Sink {
        /// The table.
        table: &'static str,
        /// Why.
        reason: String,
    },
}

type RowSink<'a> = &'a mut dyn FnMut(&'static Table, RecordBatch) -> Result<(), AssembleError>;

/// Rows on their way out.
pub(super) struct Output<'a> {
    pub(super) spans: Writer<SpanRow<'static>>,
    pub(super) attributes: Attributes,
    pub(super) traces: Writer<TraceRow<'static>>,
    pub(super) connections: Writer<ConnectionRow<'static>>,
    pub(super) messages: Option<Writer<MessageRow<'static>>>,
    sink: RowSink<'a>,
}

impl<'a> Output<'a> {
    pub(super) fn new(messages: bool, sink: RowSink<'a>) -> Output<'a> {
        Output {
            spans: Writer::new(),
            attributes: Attributes::default(),
            traces: Writer::new(),
            connections: Writer::new(),
            messages: messages.then(Writer::new),
            sink,
        }
    }

    /// Hands out full batches; all of them at the end.
    pub(super) fn flush(&mut self, all: bool) -> Result<(), AssembleError> {
        flush(&mut self.spans, all, self.sink)?;
        flush(&mut self.traces, all, self.sink)?;
        flush(&mut self.connections, all, self.sink)?;
        self.messages.as_mut().map_or(Ok(()), |messages| flush(messages, all, self.sink))
    }
}

/// Asked after every row.
#[inline]
fn flush<R: Row>(rows: &mut Writer<R>, all: bool, sink: RowSink<'_>) -> Result<(), AssembleError> {
    if rows.is_full() || (all && !rows.is_empty()) { hand_out(rows, sink) } else { Ok(()) }
}

#[cold]
fn hand_out<R: Row>(rows: &mut Writer<R>, sink: RowSink<'_>) -> Result<(), AssembleError> {
    let batch = rows.take().map_err(|source| AssembleError::Rows { table: R::TABLE.name, source })?;
    sink(R::TABLE, batch)
}
