//! Rows in, a capture directory out.

use std::path::Path;

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{self, Host, Imported, Manifest, State};
use retrospan_formats::rows::{Writer, batch};
use retrospan_formats::table::FORMAT_VERSION;
use retrospan_formats::tables::{self, ClockRow, EventRow, LossRow, SocketRow};
use retrospan_formats::writer::CaptureWriter;

use crate::error::{Error, Result};
use crate::import::events::{Row, Rows};
use crate::import::sockets::Sockets;

/// Rows of a part at most.
const PART_ROWS: u64 = 2_000_000;
/// Payload bytes of a part at most.
const PART_BYTES: u64 = 256 << 20;
/// The probe set of captures that no probe has made.
pub const PROBE_SET: &str = "packets";

/// A capture that is written.
pub struct Output {
    writer: CaptureWriter,
    events: Writer<EventRow<'static>>,
    seq: i64,
    part_rows: u64,
    part_bytes: u64,
    /// Wall clock less boot time, ns.
    wall_ahead_ns: i64,
    last_ns: i64,
}

/// What the manifest says.
pub struct Begin {
    /// Boot time of the begin, ns.
    pub boot_ns: i64,
    /// Wall time of the begin, ns.
    pub wall_ns: i64,
    /// What was asked for.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// What is read.
    pub imported: Imported,
}

impl Output {
    /// Makes the directory.
    pub fn create(directory: &Path, begin: Begin) -> Result<Output> {
        let Begin { boot_ns, wall_ns, options, imported } = begin;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            capture_id: new_id()?,
            state: State::Recording,
            host: Host::default(),
            options,
            probe_set: PROBE_SET.to_owned(),
            probe_set_reason: None,
            recorder_version: env!("CARGO_PKG_VERSION").to_owned(),
            imported: Some(imported),
            started_boot_ns: boot_ns,
            started_wall_ns: wall_ns,
            whole_until_boot_ns: boot_ns,
            files: Vec::new(),
            losses: Vec::new(),
            cost: None,
        };
        let mut output = Output {
            writer: CaptureWriter::create(directory, manifest)?,
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
            // After all that is in the file: nothing before is in doubt.
            let at_ns = self.last_ns + 1;
            let row = LossRow {
                from_boot_ns: at_ns,
                to_boot_ns: at_ns,
                cpu: 0,
                kind: LOSS_KIND,
                cause: LOSS_CAUSE,
                count: 1,
            };
            let rows = batch::<LossRow>([row]).map_err(table(&tables::LOSS))?;
            self.writer.append(&tables::LOSS, &rows)?;
            losses =
                vec![manifest::Loss { kind: LOSS_KIND.to_owned(), cause: LOSS_CAUSE.to_owned(), count: 1 }];
        }
        self.clock(self.last_ns)?;
        self.rotate(sockets, losses)?;
        Ok(self.writer.complete(manifest::Cost::default())?)
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
            self.writer.append(&tables::EVENTS, &batch)?;
        }
        Ok(())
    }

    fn clock(&mut self, boot_ns: i64) -> Result<()> {
        let row = ClockRow { boot_ns, wall_ns: boot_ns + self.wall_ahead_ns };
        let rows = batch::<ClockRow>([row]).map_err(table(&tables::CLOCK))?;
        Ok(self.writer.append(&tables::CLOCK, &rows)?)
    }

    fn rotate(&mut self, sockets: &mut Sockets, losses: Vec<manifest::Loss>) -> Result<()> {
        self.flush()?;
        let ended = std::mem::take(&mut sockets.ended);
        let addresses: Vec<_> = ended.iter().map(|socket| socket.addresses()).collect();
        let rows = ended.iter().zip(&addresses).map(|(socket, addresses)| socket.written(addresses));
        let rows = batch::<SocketRow>(rows).map_err(table(&tables::SOCKETS))?;
        self.writer.append(&tables::SOCKETS, &rows)?;
        self.writer.rotate(self.last_ns, losses)?;
        (self.part_rows, self.part_bytes) = (0, 0);
        Ok(())
    }
}

const LOSS_KIND: &str = "record";
const LOSS_CAUSE: &str = "file_cut";

fn table(table: &'static retrospan_formats::table::Table) -> impl FnOnce(arrow::error::ArrowError) -> Error {
    move |error| Error::Capture(CaptureError::Table { path: table.name.into(), reason: error.to_string() })
}

/// 128 random bits.
fn new_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Usage(format!("no random bits: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
