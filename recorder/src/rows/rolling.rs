//! Which parts of a capture are let go of, so that the latest stay (`--keep`).
//!
//! In: the manifest after each part. Out: a [`Cut`]. Parts go as a whole, oldest first, up to one where a file of `events` ends:
//! what is there of the events then begins at one moment. Tables with a key are not cut by parts; `trim` leaves out the rows
//! that nothing refers to any more.

use std::collections::VecDeque;

use retrospan_formats::manifest::{File, Loss, Manifest, Rolled};
use retrospan_formats::tables;

/// How much a recording keeps; both empty: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// This long, ns.
    pub time_ns: Option<u64>,
    /// So many bytes of finished files.
    pub bytes: Option<u64>,
}

impl Keep {
    /// Whether anything is ever let go of.
    pub fn rolls(&self) -> bool {
        *self != Keep::default()
    }
}

/// The end of a part.
#[derive(Clone, Debug)]
struct Part {
    number: u32,
    /// Boot and wall time, ns: everything emitted before is in it or in an earlier one.
    ended: (i64, i64),
    /// Losses until then.
    losses: Vec<Loss>,
}

/// What is to be let go of.
#[derive(Clone, Debug)]
pub struct Cut {
    /// These files.
    pub files: Vec<File>,
    /// Boot and wall time from which on everything is there, ns.
    pub began: (i64, i64),
    /// What was let go of so far, with these files.
    pub rolled: Rolled,
    /// Losses of the parts that stay.
    pub losses: Vec<Loss>,
}

/// The parts of a recording that keeps the latest only.
#[derive(Clone, Debug)]
pub struct Roll {
    keep: Keep,
    /// Those that are there, oldest first.
    parts: VecDeque<Part>,
    rolled: Rolled,
    /// Losses of what was let go of.
    lost: Vec<Loss>,
}

/// Files of one size become one as long as that is no more than this share of what is kept.
const SHARE: u64 = 8;

impl Roll {
    /// Of a recording that began then.
    pub fn new(keep: Keep, recording_started_wall_ns: i64) -> Roll {
        let rolled = Rolled { recording_started_wall_ns, ..Rolled::default() };
        Roll { keep, parts: VecDeque::new(), rolled, lost: Vec::new() }
    }

    /// Notes the end of a part. `ended`: boot and wall time up to which everything is there, ns; `losses`: until then.
    pub fn part_ended(&mut self, number: u32, ended: (i64, i64), losses: Vec<Loss>) {
        if self.keep.rolls() {
            self.parts.push_back(Part { number, ended, losses });
        }
    }

    /// Losses since what is kept began, of those since the recording began.
    pub fn losses(&self, all: &[Loss]) -> Vec<Loss> {
        let before = |loss: &Loss| {
            let same = self.lost.iter().find(|l| l.kind == loss.kind && l.cause == loss.cause);
            same.map_or(0, |l| l.count)
        };
        let left = all.iter().map(|l| Loss { count: l.count.saturating_sub(before(l)), ..l.clone() });
        left.filter(|loss| loss.count > 0).collect()
    }

    /// Parts that one file may hold: whole files are let go of.
    pub fn most_parts_a_file(&self) -> u64 {
        if self.keep.rolls() { (self.parts.len() as u64 / SHARE).max(1) } else { u64::MAX }
    }

    /// What is to go now; `more_bytes`: so many at least, for want of room. The last part stays.
    pub fn due(&mut self, manifest: &Manifest, more_bytes: u64) -> Option<Cut> {
        let wanted = self.wanted(manifest, more_bytes)?;
        let (last, files) = whole_files(manifest, wanted)?;
        let cut = self.parts.iter().rposition(|part| part.number <= last)?;
        let ended = self.parts.drain(..=cut).next_back()?;
        let events = files.iter().filter(|file| file.table == tables::EVENTS.name);
        self.rolled.events += events.map(|file| file.rows).sum::<u64>();
        self.rolled.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        self.lost = ended.losses;
        let losses = self.parts.back().map(|part| self.losses(&part.losses)).unwrap_or_default();
        Some(Cut { files, began: ended.ended, rolled: self.rolled.clone(), losses })
    }

    /// The last part that is too much.
    fn wanted(&self, manifest: &Manifest, more_bytes: u64) -> Option<u32> {
        let newest = self.parts.back()?;
        let all: u64 = manifest.files.iter().map(|f| f.bytes).sum();
        let over = self.keep.bytes.map_or(0, |bytes| all.saturating_sub(bytes)).max(more_bytes);
        let mut wanted = None;
        for part in self.parts.iter().take(self.parts.len() - 1) {
            let age_ns = newest.ended.0.saturating_sub(part.ended.0);
            let is_old = self.keep.time_ns.is_some_and(|keep_ns| i128::from(age_ns) >= i128::from(keep_ns));
            if !is_old && wanted.map_or(0, |wanted| bytes_until(manifest, wanted)) >= over {
                break;
            }
            wanted = Some(part.number);
        }
        wanted
    }
}

fn is_cut(file: &File) -> bool {
    tables::by_name(&file.table).is_some_and(|table| table.key.is_none())
}

fn bytes_until(manifest: &Manifest, part: u32) -> u64 {
    manifest.files.iter().filter(|f| is_cut(f) && f.part <= part).map(|f| f.bytes).sum()
}

/// The last part up to `wanted` where no file of `events` is divided, and the files up to it.
fn whole_files(manifest: &Manifest, wanted: u32) -> Option<(u32, Vec<File>)> {
    let events = || manifest.files.iter().filter(|f| f.table == tables::EVENTS.name);
    let mut last = wanted;
    while let Some(file) = events().find(|f| f.first_part() <= last && last < f.part) {
        last = file.first_part().checked_sub(1)?;
    }
    let files: Vec<File> = manifest.files.iter().filter(|f| is_cut(f) && f.part <= last).cloned().collect();
    (!files.is_empty()).then_some((last, files))
}

#[cfg(test)]
mod tests;
