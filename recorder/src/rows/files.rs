//! The writer's own thread: batches in, finished parts out.
//!
//! Encoding and syncing take time that the rings do not have. The queue is short: where the disk is too
//! slow for what is recorded, the drain waits, the rings fill up, and the kernel programs count what they could
//! not keep. So memory stays bounded and no loss goes uncounted. Where nothing waits it puts old parts together.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use arrow::array::RecordBatch;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{self, Manifest};
use retrospan_formats::table::Table;
use retrospan_formats::writer::CaptureWriter;

use crate::rows::room::{Room, Space};
use crate::rows::self_activity::{SelfActivity, WorkKind};
use crate::rows::{RowsError, aging, compact};
use crate::shed::Used;

/// Batches that wait at most.
const QUEUE: usize = 24;

enum Message {
    Rows(&'static Table, RecordBatch),
    /// `whole_until`: boot and wall time, ns.
    EndPart {
        whole_until: (i64, i64),
        losses: Vec<manifest::Loss>,
    },
    Tls(manifest::Tls),
    Freeze {
        directory: PathBuf,
        reason: String,
    },
}

/// A copy that was made, or why not.
pub type Frozen = (PathBuf, Result<Manifest, CaptureError>);

/// How far the writer is, for whoever outlives it.
#[derive(Clone, Debug, Default)]
pub struct Finished(Arc<FinishedParts>);

#[derive(Debug, Default)]
struct FinishedParts {
    bytes: AtomicU64,
    whole_until_boot_ns: AtomicI64,
    limit: OnceLock<String>,
    used: Mutex<Option<Used>>,
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

    /// The limit of disk space that was reached: nothing more is to be recorded.
    pub fn limit(&self) -> Option<&str> {
        self.0.limit.get().map(String::as_str)
    }

    /// How much of a limit of disk space is used, as [`Room::used`] tells it.
    pub fn used(&self) -> Option<Used> {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_used(&self, used: Option<Used>) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = used;
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
    frozen: Receiver<Frozen>,
}

impl Files {
    /// Gives the writer a thread. What it does is noted in `self_activity`.
    pub fn start(writer: CaptureWriter, space: Space, self_activity: SelfActivity) -> std::io::Result<Files> {
        let (queue, messages) = sync_channel(QUEUE);
        let (to_tell, frozen) = channel();
        let finished = Finished::default();
        let counter = finished.clone();
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
            let (finished, self_activity) = (&counter, &self_activity);
            let room = Room::new(space, &writer);
            Work { writer, finished, self_activity, ages: true, room, to_tell }.run(&messages)
        })?;
        Ok(Files { queue, thread, finished, frozen })
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

    /// Finishes the current part. `whole_until`: boot and wall time, ns.
    pub fn end_part(&self, whole_until: (i64, i64), losses: Vec<manifest::Loss>) -> Result<(), RowsError> {
        let message = Message::EndPart { whole_until, losses };
        self.queue.send(message).map_err(|_| RowsError::WriterGone)
    }

    /// Says what was found of TLS libraries so far.
    pub fn tls(&self, tls: manifest::Tls) -> Result<(), RowsError> {
        self.queue.send(Message::Tls(tls)).map_err(|_| RowsError::WriterGone)
    }

    /// Makes a copy of what is in finished parts by then.
    pub fn freeze(&self, directory: PathBuf, reason: String) -> Result<(), RowsError> {
        self.queue.send(Message::Freeze { directory, reason }).map_err(|_| RowsError::WriterGone)
    }

    /// Copies that were made since this was asked for last.
    pub fn frozen(&self) -> impl Iterator<Item = Frozen> {
        self.frozen.try_iter()
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
    room: Room,
    to_tell: Sender<Frozen>,
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
            Message::EndPart { whole_until, losses } => {
                let before = self.writer.manifest().files.len();
                self.writer.rotate(whole_until.0, self.room.losses(&losses))?;
                let (rows, bytes) = sums(&self.writer.manifest().files[before..]);
                if let Some(limit) = self.room.part_ended(&mut self.writer, whole_until, losses, bytes)? {
                    self.finished.0.limit.get_or_init(|| limit);
                }
                self.self_activity.note(WorkKind::Part, since, rows, bytes);
                self.finished.set(self.writer.finished_bytes(), whole_until.0);
                self.finished.set_used(self.room.used(&self.writer));
            }
            Message::Tls(tls) => self.writer.tls(tls),
            Message::Freeze { directory, reason } => {
                let made = self.room.freeze(&self.writer, &directory, &reason);
                // Nobody listens any more where the recording has ended.
                let _ = self.to_tell.send((directory, made));
            }
        }
        Ok(())
    }

    /// Puts some old files together, where any are due; nothing waits meanwhile. False where nothing was done.
    fn age(&mut self) -> bool {
        let due = aging::due(self.writer.manifest(), self.room.most_parts_a_file());
        let Some((table, files)) = due.filter(|_| self.ages) else { return false };
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
