//! What of a damaged capture can still be used: every finished file that is whole. What is missing counts as loss, so that
//! nothing is concluded from it.

use std::io;

use rustix::io::Errno;

use crate::error::CaptureError;
use crate::manifest::{self, Manifest};
use crate::tables::{self, LossRow};

/// Cause of these losses, as in `loss.cause`. No recorder writes it.
pub const DAMAGED_PART: &str = "damaged_part";
/// Rows of other tables than `events` tell of a time before theirs: waits, CPU time. Hardly any wait is longer, ns.
const MARGIN_NS: i64 = 10_000_000_000;

/// A finished file that cannot be used.
#[derive(Clone, Debug)]
pub struct Hole {
    /// What the manifest says of it.
    pub file: manifest::File,
    /// What is wrong with it.
    pub error: String,
    /// Begin of the time of which something is missing, CLOCK_BOOTTIME ns.
    pub from_boot_ns: i64,
    /// Its end.
    pub to_boot_ns: i64,
}

impl Hole {
    fn new(file: manifest::File, error: &CaptureError, manifest: &Manifest) -> Hole {
        let (from_boot_ns, to_boot_ns) = within(interval(&file, manifest), manifest);
        Hole { file, error: reason(error), from_boot_ns, to_boot_ns }
    }

    /// As a row of `loss`. The kind is the table that rows are missing of.
    pub fn loss(&self) -> LossRow<'_> {
        LossRow {
            from_boot_ns: self.from_boot_ns,
            to_boot_ns: self.to_boot_ns,
            cpu: 0,
            kind: &self.file.table,
            cause: DAMAGED_PART,
            count: i64::try_from(self.file.rows).unwrap_or(i64::MAX),
        }
    }
}

/// Takes the files that cannot be used out of a manifest, and counts their rows as lost.
pub(super) fn take_out(manifest: &mut Manifest, damaged: &[(usize, CaptureError)]) -> Vec<Hole> {
    let hole =
        |(index, error): &(usize, CaptureError)| Hole::new(manifest.files[*index].clone(), error, manifest);
    let holes: Vec<Hole> = damaged.iter().map(hole).collect();
    let mut index = 0;
    manifest.files.retain(|_| {
        index += 1;
        !damaged.iter().any(|(gone, _)| *gone == index - 1)
    });
    for hole in &holes {
        let of_table =
            |loss: &&mut manifest::Loss| loss.kind == hole.file.table && loss.cause == DAMAGED_PART;
        match manifest.losses.iter_mut().find(of_table) {
            Some(loss) => loss.count = loss.count.saturating_add(hole.file.rows),
            None => manifest.losses.push(manifest::Loss {
                kind: hole.file.table.clone(),
                cause: DAMAGED_PART.to_owned(),
                count: hole.file.rows,
            }),
        }
    }
    holes
}

/// Whether an error is one of that file, and not of this process: then the others can be read without it.
pub(super) fn is_of_file(error: &CaptureError) -> bool {
    match error {
        CaptureError::Damaged { .. } => true,
        CaptureError::Io { source, .. } => {
            let own = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(|errno| errno.raw_os_error());
            source.kind() != io::ErrorKind::OutOfMemory
                && source.raw_os_error().is_none_or(|errno| !own.contains(&errno))
        }
        _ => false,
    }
}

/// The time of which something is missing. A socket or a process lives on after the part that tells of it, and what was lost
/// is not known where `loss` itself is.
fn interval(file: &manifest::File, manifest: &Manifest) -> (i64, i64) {
    let started = manifest.started_boot_ns;
    let ended = manifest.whole_until_boot_ns.max(started);
    let own = file.first_boot_ns.zip(file.last_boot_ns);
    let Some(table) = tables::by_name(&file.table) else { return own.unwrap_or((started, ended)) };
    // Names of places are of no time.
    if table.name == tables::CONTAINERS.name {
        return (ended, ended);
    }
    if table.key.is_some() {
        return (began(file, manifest).unwrap_or(started), ended);
    }
    let Some((first, last)) = own else { return (started, ended) };
    if table.name == tables::LOSS.name {
        (started, last)
    } else if table.name == tables::EVENTS.name {
        (first, last)
    } else {
        (first.saturating_sub(MARGIN_NS).max(started), last)
    }
}

/// The part of an interval that lies in the recording, for a manifest may say anything of a file that is not there.
fn within((from, to): (i64, i64), manifest: &Manifest) -> (i64, i64) {
    let started = manifest.started_boot_ns;
    let ended = manifest.whole_until_boot_ns.max(started);
    let from = from.clamp(started, ended);
    (from, to.clamp(from, ended))
}

/// The earliest time that files of the same parts tell of.
fn began(of: &manifest::File, manifest: &Manifest) -> Option<i64> {
    let meets = |file: &&manifest::File| file.first_part() <= of.part && of.first_part() <= file.part;
    manifest.files.iter().filter(meets).filter_map(|file| file.first_boot_ns).min()
}

/// The error without the file's name, which stands beside it.
fn reason(error: &CaptureError) -> String {
    match error {
        CaptureError::Damaged { reason, .. } => reason.clone(),
        CaptureError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
