//! Rows in, a capture directory out. Files are written by a thread of its own.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use arrow::array::RecordBatch;
use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{self, Manifest};
use retrospan_formats::rows::{Writer, batch};
use retrospan_formats::table::Table;
use retrospan_formats::tables::{self, ClockRow, EventRow, LossRow, SocketRow};
use retrospan_formats::writer::CaptureWriter;

use crate::error::{Error, Result};
use crate::import::begin::{Begin, cut_behind, manifest};
use crate::import::events::{Row, Rows};
use crate::import::sockets::Sockets;

/// Rows of a part at most.
const PART_ROWS: u64 = 2_000_000;
/// Payload bytes of a part at most.
const PART_BYTES: u64 = 256 << 20;
/// Batches that wait to be written at most.
const QUEUE: usize = 4;

/// A capture that is written.
pub struct Output {
    files: Files,
    events: Writer<EventRow<'static>>,
    seq: i64,
    part_rows: u64,
    part_bytes: u64,
    /// Wall clock less boot time, ns.
    wall_ahead_ns: i64,
    last_ns: i64,
}

impl Output {
    /// Makes the directory.
    pub fn create(directory: &Path, begin: Begin) -> Result<Output> {
        let Begin { boot_ns, wall_ns, .. } = begin;
        let manifest = manifest(Manifest::PACKETS, begin);
        let mut output = Output {
            files: Files::beside(CaptureWriter::create(directory, manifest)?),
            events: Writer::new(),
            seq: 0,
            part_rows: 0,
            part_bytes: 0,
            wall_ahead_ns: wall_ns - boot_ns,
            last_ns: boot_ns,
        };
        output.clock(boot_ns)?;
        Ok(output)
    }

    /// Writes the rows that are due.
    pub fn write(&mut self, rows: &mut Rows, sockets: &mut Sockets) -> Result<()> {
        while let Some(row) = rows.pop() {
            self.event(&row)?;
        }
        if self.part_rows >= PART_ROWS || self.part_bytes >= PART_BYTES {
            self.rotate(sockets, Vec::new())?;
        }
        Ok(())
    }

    /// Writes all that is left. `cut`: the file did not end where it may.
    /// `until_ns`: boot time of the last packet.
    pub fn finish(
        mut self,
        rows: &mut Rows,
        sockets: &mut Sockets,
        until_ns: i64,
        cut: bool,
    ) -> Result<Manifest> {
        while let Some(row) = rows.pop_any() {
            self.event(&row)?;
        }
        self.last_ns = self.last_ns.max(until_ns);
        let mut losses = Vec::new();
        if cut {
            let (row, loss) = cut_behind(self.last_ns);
            let rows = batch::<LossRow>([row]).map_err(table(&tables::LOSS))?;
            self.files.write(What::Rows(&tables::LOSS, rows))?;
            losses.push(loss);
        }
        self.clock(self.last_ns)?;
        self.rotate(sockets, losses)?;
        Ok(self.files.finish()?.complete(manifest::Cost::default())?)
    }

    fn event(&mut self, row: &Row) -> Result<()> {
        self.last_ns = self.last_ns.max(row.stamp.ns);
        self.events.push(&row.written(self.seq));
        self.seq += 1;
        self.part_rows += 1;
        self.part_bytes += row.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        if self.events.is_full() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.events.is_empty() {
            let batch = self.events.take().map_err(table(&tables::EVENTS))?;
            self.files.write(What::Rows(&tables::EVENTS, batch))?;
        }
        Ok(())
    }

    fn clock(&mut self, boot_ns: i64) -> Result<()> {
        let row = ClockRow { boot_ns, wall_ns: boot_ns + self.wall_ahead_ns };
        let rows = batch::<ClockRow>([row]).map_err(table(&tables::CLOCK))?;
        self.files.write(What::Rows(&tables::CLOCK, rows))
    }

    fn rotate(&mut self, sockets: &mut Sockets, losses: Vec<manifest::Loss>) -> Result<()> {
        self.flush()?;
        let ended = std::mem::take(&mut sockets.ended);
        let addresses: Vec<_> = ended.iter().map(|socket| socket.addresses()).collect();
        let rows = ended.iter().zip(&addresses).map(|(socket, addresses)| socket.written(addresses));
        let rows = batch::<SocketRow>(rows).map_err(table(&tables::SOCKETS))?;
        self.files.write(What::Rows(&tables::SOCKETS, rows))?;
        self.files.write(What::EndOfPart(self.last_ns, losses))?;
        (self.part_rows, self.part_bytes) = (0, 0);
        Ok(())
    }
}

/// What is written next.
enum What {
    Rows(&'static Table, RecordBatch),
    /// All up to that boot time is written; losses so far.
    EndOfPart(i64, Vec<manifest::Loss>),
}

/// The files so far.
type Written = std::result::Result<CaptureWriter, CaptureError>;

/// The files of a capture. Dropped, they are left as they are, and nobody writes any more.
struct Files(Option<(SyncSender<What>, JoinHandle<Written>)>);

impl Files {
    fn beside(writer: CaptureWriter) -> Files {
        let (to_write, queue) = sync_channel(QUEUE);
        Files(Some((to_write, thread::spawn(move || write(writer, queue)))))
    }

    fn write(&mut self, what: What) -> Result<()> {
        match &self.0 {
            Some((to_write, _)) if to_write.send(what).is_ok() => Ok(()),
            // Nobody takes it any more: that thread says why.
            _ => self.finish().map(|_| ()),
        }
    }

    /// Waits until all is written.
    fn finish(&mut self) -> Result<CaptureWriter> {
        let Some((to_write, writing)) = self.0.take() else {
            let source = std::io::ErrorKind::BrokenPipe.into();
            return Err(CaptureError::Io { path: tables::EVENTS.name.into(), source }.into());
        };
        drop(to_write);
        Ok(writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if self.0.is_some() {
            let _ = self.finish();
        }
    }
}

fn write(mut writer: CaptureWriter, queue: Receiver<What>) -> Written {
    for what in queue {
        match what {
            What::Rows(table, rows) => writer.append(table, &rows)?,
            What::EndOfPart(until_ns, losses) => writer.rotate(until_ns, losses)?,
        }
    }
    Ok(writer)
}

fn table(table: &'static Table) -> impl FnOnce(arrow::error::ArrowError) -> Error {
    move |error| Error::Capture(CaptureError::Table { path: table.name.into(), reason: error.to_string() })
}
