//! The disk space of a recording: what is kept of it, and when there is no more room.
//!
//! After each part: old parts go (`rolling`) where they are too old or too many, or where a limit is near. Where none can go, the
//! recording has to end while what it holds can still be finished.

use std::path::Path;

use retrospan_formats::error::CaptureError;
use retrospan_formats::manifest::{self, Loss, Manifest};
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;

use crate::host;
use crate::rows::rolling::{Keep, Roll};
use crate::rows::trim;
use crate::shed::Used;
use crate::text::size;

/// How much room a recording may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What is kept.
    pub keep: Keep,
    /// Most bytes of the capture and of its copies (`--max-disk`).
    pub max_bytes: Option<u64>,
    /// Fewest bytes that are left to others (`--min-free-disk`).
    pub min_free_bytes: Option<u64>,
}

/// The room of a recording under way.
pub struct Room {
    space: Space,
    roll: Roll,
    /// Bytes of copies, as if they shared nothing with the capture any more.
    frozen_bytes: u64,
    /// Bytes of the largest part so far.
    largest_part: u64,
}

/// Parts that there must be room for besides what is there: the one being written, and files that are put together.
const PARTS_AHEAD: u64 = 3;

impl Room {
    /// Of a recording that begins.
    pub fn new(space: Space, writer: &CaptureWriter) -> Room {
        let roll = Roll::new(space.keep, writer.manifest().started_wall_ns);
        Room { space, roll, frozen_bytes: 0, largest_part: 0 }
    }

    /// Losses since what is kept began, of those since the recording began.
    pub fn losses(&self, all: &[Loss]) -> Vec<Loss> {
        self.roll.losses(all)
    }

    /// Parts that one file may hold.
    pub fn most_parts_a_file(&self) -> u64 {
        self.roll.most_parts_a_file()
    }

    /// A part of so many bytes ended. Lets go of what is too much; returns the limit that was reached all the same.
    pub fn part_ended(
        &mut self,
        writer: &mut CaptureWriter,
        whole_until: (i64, i64),
        losses: Vec<Loss>,
        bytes: u64,
    ) -> Result<Option<String>, CaptureError> {
        self.largest_part = self.largest_part.max(bytes);
        if let Some(part) = writer.manifest().files.iter().map(|file| file.part).max() {
            self.roll.part_ended(part, whole_until, losses);
        }
        let lacking = self.lacking(writer);
        let more_bytes = lacking.as_ref().map_or(0, |&(bytes, _)| bytes);
        let cut = match self.space.keep.rolls() {
            true => self.roll.due(writer.manifest(), more_bytes),
            false => None,
        };
        let Some(cut) = cut else { return Ok(lacking.map(|(_, limit)| limit)) };
        writer.began(cut.began.0, cut.began.1);
        writer.let_go(&cut.files, cut.rolled, cut.losses)?;
        if trim::is_due(&writer.manifest().files) {
            trim::trim(writer, cut.began.0)?;
        }
        Ok(self.lacking(writer).map(|(_, limit)| limit))
    }

    /// Bytes that are too many, and the limit that says so.
    fn lacking(&self, writer: &CaptureWriter) -> Option<(u64, String)> {
        let Space { max_bytes, min_free_bytes, .. } = self.space;
        let ahead = PARTS_AHEAD * self.largest_part;
        if let Some(max) = max_bytes {
            let over = (writer.finished_bytes() + self.frozen_bytes + ahead).saturating_sub(max);
            if over > 0 {
                return Some((over, format!("--max-disk {}", size(max))));
            }
        }
        let min = min_free_bytes?;
        // Where it cannot be told, writing will.
        let free = writer.free_bytes().ok()?.saturating_sub(ahead);
        let short = min.saturating_sub(free);
        (short > 0).then(|| (short, format!("--min-free-disk {}", size(min))))
    }

    /// How much of the room is used, of the limit that is nearest; `None` where there is none, or parts can be let go of.
    pub fn used(&self, writer: &CaptureWriter) -> Option<Used> {
        if self.space.keep.rolls() {
            return None;
        }
        let bytes = writer.finished_bytes() as f64;
        let of_all = self.space.max_bytes.map(|max| Used {
            share: bytes / max as f64,
            option: "--max-disk",
            limit_bytes: max,
        });
        let min = self.space.min_free_bytes.zip(writer.free_bytes().ok());
        let of_free = min.map(|(min, free)| Used {
            share: bytes / (bytes + free.saturating_sub(min) as f64).max(1.0),
            option: "--min-free-disk",
            limit_bytes: min,
        });
        of_all.into_iter().chain(of_free).max_by(|a, b| a.share.total_cmp(&b.share))
    }

    /// Makes a copy of what is held.
    pub fn freeze(
        &mut self,
        writer: &CaptureWriter,
        directory: &Path,
        reason: &str,
    ) -> Result<Manifest, CaptureError> {
        let made = writer.freeze(directory, reason, cost(writer.manifest()))?;
        if self.space.keep.rolls() {
            self.frozen_bytes += writer.finished_bytes();
        }
        Ok(made)
    }
}

/// What the recording cost until now.
fn cost(manifest: &Manifest) -> manifest::Cost {
    let (began_ns, gone) = match &manifest.rolled {
        Some(rolled) => (rolled.recording_started_wall_ns, rolled.events),
        None => (manifest.started_wall_ns, 0),
    };
    let held = manifest.files.iter().filter(|f| f.table == tables::EVENTS.name).map(|f| f.rows).sum::<u64>();
    manifest::Cost {
        elapsed_s: host::clock_sample().1.saturating_sub(began_ns) as f64 / 1e9,
        events: held + gone,
        ..host::own_cost()
    }
}
