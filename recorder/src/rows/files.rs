//! The writer's own thread: batches in, finished parts out.
//!
//! Encoding and syncing take time that the rings do not have. The queue is short: where the disk is too
//! slow for what is recorded, the drain waits, the rings fill up, and the kernel programs count what they could
//! not keep. So memory stays bounded and no loss goes uncounted. Where nothing waits it puts old parts together.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use arrow::array::RecordBatch;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest;
use retrospan_formats::table::Table;
use retrospan_formats::writer::CaptureWriter;

use crate::rows::self_activity::{SelfActivity, WorkKind};
use crate::rows::{RowsError, aging, compact};

/// Batches that wait at most.
const QUEUE: usize = 24;

enum Message {
    Rows(&'static Table, RecordBatch),
    EndPart { whole_until_boot_ns: i64, losses: Vec<manifest::Loss> },
}

/// How far the writer is, for whoever outlives it.
#[derive(Clone, Debug, Default)]
pub struct Finished(Arc<FinishedParts>);

#[derive(Debug, Default)]
struct FinishedParts {
    bytes: AtomicU64,
    whole_until_boot_ns: AtomicI64,
}

impl Finished {
    /// Bytes of finished files.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// CLOCK_BOOTTIME up to which everything is in finished files, ns; `None` before the first part.
    pub fn whole_until_boot_ns(&self) -> Option<i64> {
        Some(self.0.whole_until_boot_ns.load(Ordering::Relaxed)).filter(|&ns| ns != 0)
    }

    fn set(&self, bytes: u64, whole_until_boot_ns: i64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
        self.0.whole_until_boot_ns.store(whole_until_boot_ns, Ordering::Relaxed);
    }
}

/// The writer at work.
pub struct Files {
    queue: SyncSender<Message>,
    thread: JoinHandle<Result<CaptureWriter, CaptureError>>,
    finished: Finished,
}

impl Files {
    /// Gives the writer a thread. What it does is noted in `self_activity`.
    pub fn start(writer: CaptureWriter, self_activity: SelfActivity) -> std::io::Result<Files> {
        let (queue, messages) = sync_channel(QUEUE);
        let finished = Finished::default();
        let counter = finished.clone();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let (finished, self_activity) = (&counter, &self_activity);
            Work { writer, finished, self_activity, ages: true }.run(&messages)
        })?;
        Ok(Files { queue, thread, finished })
    }

    /// Adds rows to the current part. Waits where the writer is behind. Fails as soon as it has given up, rows or not.
    pub fn rows(&self, table: &'static Table, batch: RecordBatch) -> Result<(), RowsError> {
        if self.thread.is_finished() {
            return Err(RowsError::WriterGone);
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.queue.send(Message::Rows(table, batch)).map_err(|_| RowsError::WriterGone)
    }

    /// Finishes the current part.
    pub fn end_part(&self, whole_until_boot_ns: u64, losses: Vec<manifest::Loss>) -> Result<(), RowsError> {
        let message = Message::EndPart { whole_until_boot_ns: whole_until_boot_ns as i64, losses };
        self.queue.send(message).map_err(|_| RowsError::WriterGone)
    }

    /// How far it is.
    pub fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Waits until everything is written, and gives the writer back or says why it ended.
    pub fn finish(self) -> Result<CaptureWriter, CaptureError> {
        drop(self.queue);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The writer, and what it tells of itself.
struct Work<'a> {
    writer: CaptureWriter,
    finished: &'a Finished,
    self_activity: &'a SelfActivity,
    /// Old parts are put together.
    ages: bool,
}

impl Work<'_> {
    fn run(mut self, messages: &Receiver<Message>) -> Result<CaptureWriter, CaptureError> {
        loop {
            let message = match messages.try_recv() {
                Err(TryRecvError::Empty) if self.age() => continue,
                Err(TryRecvError::Empty) => messages.recv().ok(),
                other => other.ok(),
            };
            match message {
                Some(message) => self.take(message)?,
                None => return Ok(self.writer),
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), CaptureError> {
        let since = Instant::now();
        match message {
            Message::Rows(table, batch) => {
                self.writer.append(table, &batch)?;
                let bytes = batch.get_array_memory_size() as u64;
                self.self_activity.note(WorkKind::Write, since, batch.num_rows() as u64, bytes);
            }
            Message::EndPart { whole_until_boot_ns, losses } => {
                let before = self.writer.manifest().files.len();
                self.writer.rotate(whole_until_boot_ns, losses)?;
                let (rows, bytes) = sums(&self.writer.manifest().files[before..]);
                self.self_activity.note(WorkKind::Part, since, rows, bytes);
                self.finished.set(self.writer.finished_bytes(), whole_until_boot_ns);
            }
        }
        Ok(())
    }

    /// Puts some old files together, where any are due; nothing waits meanwhile. False where nothing was done.
    fn age(&mut self) -> bool {
        let Some((table, files)) = aging::due(self.writer.manifest()).filter(|_| self.ages) else {
            return false;
        };
        let since = Instant::now();
        // Where there is no room for it they stay as they are: what is recorded matters more.
        self.ages = compact::join(&mut self.writer, table, &files).is_ok();
        let (rows, bytes) = sums(&files);
        self.self_activity.note(WorkKind::Merge, since, rows, bytes);
        self.ages
    }
}

/// Rows and bytes of files.
fn sums(files: &[manifest::File]) -> (u64, u64) {
    files.iter().fold((0, 0), |sum, f| (sum.0 + f.rows, sum.1 + f.bytes))
}
