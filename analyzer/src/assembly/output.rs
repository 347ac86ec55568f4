//! What cannot change any more in, rows of the derived tables out, by batches.
//!
//! The assembly hands over what is finished, some hundred at a time ([`Outbox`]), another thread makes rows of it ([`Output`]), and a
//! third takes these.
//! What was handed over comes back when its rows are made: memory is freed by the thread that asked for it, which costs less.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::error::CaptureError;
use retrospan_formats::rows::{Row, Writer};
use retrospan_formats::table::Table;

use crate::assembly::attributes::Attributes;
use crate::assembly::passing::Message;
use crate::assembly::regimes::regime::Regime;
use crate::assembly::settling::Finished;
use crate::assembly::socket_pipeline::SocketPipeline;
use crate::assembly::table_rows::{self, RowContext};
use crate::assembly::traces::{Trace, Traces};
use crate::assembly::wait_rows;
use crate::tables::dimensions::DimensionsError;
use crate::tables::{ConnectionRow, LinkRegimeRow, MessageRow, SpanRow, TraceRow};

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
    /// Nobody takes rows any more; whoever did says why.
    #[error("assembling stopped, because nobody takes its rows any more")]
    Stopped,
}

/// Batches that wait between two threads at most.
pub(super) const QUEUE: usize = 4;
/// What is handed over at once.
const HANDED_OVER: usize = 256;
/// Of these as many wait at most as make a batch of rows: the thread that makes rows may have to wait until one is taken.
const FINISHED_QUEUE: usize = 32;

/// Lets `make` make rows on a thread of its own, and hands batches of them to `sink` on this one.
pub(super) fn write_beside<T: Send>(
    sink: &mut dyn FnMut(&'static Table, RecordBatch) -> Result<(), AssembleError>,
    make: impl FnOnce(Batches) -> Result<T, AssembleError> + Send,
) -> Result<T, AssembleError> {
    thread::scope(|scope| {
        let (to_write, batches) = sync_channel(QUEUE);
        let making = scope.spawn(move || make(to_write));
        let written = batches.into_iter().try_for_each(|(table, batch)| sink(table, batch));
        let made = making.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where writing failed, making could only stop.
        written.and(made)
    })
}

/// Lets `assemble` finish spans on a thread of its own, and makes rows of them on this one. Returns also how many traces there
/// are.
pub(super) fn make_rows_beside<T: Send>(
    batches: Batches,
    context: RowContext<'_>,
    messages: bool,
    assemble: impl FnOnce(Outbox) -> Result<T, AssembleError> + Send,
) -> Result<(T, u64), AssembleError> {
    thread::scope(|scope| {
        let (to_rows, finished) = sync_channel(FINISHED_QUEUE);
        let (give_back, used) = channel();
        let outbox = Outbox { batch: Vec::with_capacity(HANDED_OVER), to_rows, used };
        let assembling = scope.spawn(move || assemble(outbox));
        let written = Output::new(messages, batches).make(finished, &give_back, context);
        let assembled = assembling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Where making rows failed, the assembly could only stop.
        written.and_then(|traces| Ok((assembled?, traces)))
    })
}

/// Where batches of rows go.
pub(super) type Batches = SyncSender<(&'static Table, RecordBatch)>;

/// What cannot change any more.
pub(super) enum Done {
    Span(Finished),
    /// All ends that were recorded.
    Connection(Box<SocketPipeline>, Option<Box<SocketPipeline>>),
    /// A message that is no exchange, and the id of its span.
    Message(Message, u64),
    /// What was found of a rule in a process.
    Regime(i64, Regime),
}

/// Hands over what is done.
pub(super) struct Outbox {
    batch: Vec<Done>,
    to_rows: SyncSender<Vec<Done>>,
    /// What rows were made of.
    used: Receiver<Vec<Done>>,
}

impl Outbox {
    /// Hands it over, soon.
    pub(super) fn push(&mut self, done: Done) -> Result<(), AssembleError> {
        self.batch.push(done);
        if self.batch.len() < HANDED_OVER { Ok(()) } else { self.flush() }
    }

    /// Hands over what is left.
    pub(super) fn flush(&mut self) -> Result<(), AssembleError> {
        let mut next = self.used.try_recv().unwrap_or_else(|_| Vec::with_capacity(HANDED_OVER));
        next.clear();
        self.to_rows.send(std::mem::replace(&mut self.batch, next)).map_err(|_| AssembleError::Stopped)
    }
}

/// Rows on their way out.
pub(super) struct Output {
    pub(super) spans: Writer<SpanRow<'static>>,
    pub(super) traces: Writer<TraceRow<'static>>,
    pub(super) connections: Writer<ConnectionRow<'static>>,
    messages: Option<Writer<MessageRow<'static>>>,
    regimes: Writer<LinkRegimeRow<'static>>,
    attributes: Attributes,
    batches: Batches,
}

impl Output {
    pub(super) fn new(messages: bool, batches: Batches) -> Output {
        Output {
            spans: Writer::new(),
            traces: Writer::new(),
            connections: Writer::new(),
            messages: messages.then(Writer::new),
            regimes: Writer::new(),
            attributes: Attributes::default(),
            batches,
        }
    }

    /// Makes rows of all that comes, and gives back what they were made of. Returns how many traces there were.
    fn make(
        mut self,
        finished: Receiver<Vec<Done>>,
        give_back: &Sender<Vec<Done>>,
        context: RowContext<'_>,
    ) -> Result<u64, AssembleError> {
        let (mut traces, mut count) = (Traces::new(context.sockets, context.dimensions), 0);
        for batch in finished {
            for done in &batch {
                if let Done::Span(finished) = done {
                    count += self.complete(&mut traces, finished.before_ns, context)?;
                    traces.count(finished);
                }
                self.row(done, context);
                self.flush(false)?;
            }
            // At the end nobody wants it back.
            drop(give_back.send(batch));
        }
        count += self.complete(&mut traces, i64::MAX, context)?;
        for trace in traces.rest() {
            count += self.trace(&trace, context)?;
        }
        self.flush(true)?;
        Ok(count)
    }

    /// Makes rows of the traces that are complete by then, and counts them.
    fn complete(
        &mut self,
        traces: &mut Traces<'_>,
        now_ns: i64,
        context: RowContext<'_>,
    ) -> Result<u64, AssembleError> {
        let mut count = 0;
        while let Some(trace) = traces.complete(now_ns) {
            count += self.trace(&trace, context)?;
        }
        Ok(count)
    }

    fn trace(&mut self, trace: &Trace<'_>, context: RowContext<'_>) -> Result<u64, AssembleError> {
        table_rows::trace(&mut self.traces, trace, &context.dimensions.clock);
        self.flush(false)?;
        Ok(1)
    }

    fn row(&mut self, done: &Done, context: RowContext<'_>) {
        match (done, &mut self.messages) {
            (Done::Span(finished), messages) => {
                table_rows::span(&mut self.spans, &mut self.attributes, finished, context);
                wait_rows::add(&mut self.spans, finished, context);
                if let Some(messages) = messages {
                    table_rows::messages(messages, finished, context);
                }
            }
            (Done::Connection(only, None), _) => {
                table_rows::connection(&mut self.connections, &[only], context);
            }
            (Done::Connection(first, Some(second)), _) => {
                table_rows::connection(&mut self.connections, &[first, second], context);
            }
            (Done::Message(message, span_id), Some(messages)) => {
                table_rows::passed(messages, message, *span_id, context);
            }
            (Done::Message(..), None) => {}
            (Done::Regime(process_id, regime), _) => {
                table_rows::regime(&mut self.regimes, *process_id, regime, context);
            }
        }
    }

    /// Hands out full batches; all of them at the end.
    pub(super) fn flush(&mut self, all: bool) -> Result<(), AssembleError> {
        flush(&mut self.spans, all, &self.batches)?;
        flush(&mut self.traces, all, &self.batches)?;
        flush(&mut self.connections, all, &self.batches)?;
        flush(&mut self.regimes, all, &self.batches)?;
        self.messages.as_mut().map_or(Ok(()), |messages| flush(messages, all, &self.batches))
    }
}

/// Asked after every row.
#[inline]
fn flush<R: Row>(rows: &mut Writer<R>, all: bool, batches: &Batches) -> Result<(), AssembleError> {
    if rows.is_full() || (all && !rows.is_empty()) { hand_out(rows, batches) } else { Ok(()) }
}

#[cold]
fn hand_out<R: Row>(rows: &mut Writer<R>, batches: &Batches) -> Result<(), AssembleError> {
    let batch = rows.take().map_err(|source| AssembleError::Rows { table: R::TABLE.name, source })?;
    batches.send((R::TABLE, batch)).map_err(|_| AssembleError::Stopped)
}
