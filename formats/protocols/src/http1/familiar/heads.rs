//! Whole heads seen before, with what was found of them: many that a capture has are equal to the byte, since what is
//! different in them is often what must not be kept.

use std::hash::Hasher;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use rustc_hash::FxHasher;

use super::lines::FamiliarLines;
use crate::blank::BLANK;
use crate::http1::head::{Head, Read, Then};
use crate::http1::start_line::Line;
use crate::parts::Direction;

/// Heads remembered.
const PLACES: usize = 64;
/// Longer ones are not looked for: they are hardly ever the same twice.
const MAX_BYTES: usize = 1024;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";
/// Making one costs more than what it is used for.
static END_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));

/// The heads of one direction that were read last, one at each place, which its bytes choose.
#[derive(Clone, Debug, Default)]
pub(in crate::http1) struct FamiliarHeads {
    places: Vec<WholeHead>,
    /// What was found of the last one, if it must not be remembered.
    strange: WholeHead,
}

/// What was found of a head.
#[derive(Clone, Debug, Default)]
pub(in crate::http1) struct WholeHead {
    text: Vec<u8>,
    /// Its bytes in runs: whether they may be kept, and how many.
    pub(in crate::http1) runs: Vec<(bool, usize)>,
    /// What it says; None of a place that nothing was read to.
    pub(in crate::http1) head: Option<Head>,
}

impl FamiliarHeads {
    /// What the head says that `bytes` begin with, if all of it is there. None where it has to be looked at in pieces.
    pub(in crate::http1) fn read(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        lines: &mut FamiliarLines,
    ) -> Option<&WholeHead> {
        let end = END_FINDER.find(&bytes[..bytes.len().min(MAX_BYTES)])? + END.len();
        let text = &bytes[..end];
        let mut hasher = FxHasher::default();
        hasher.write(text);
        if self.places.is_empty() {
            self.places.resize_with(PLACES, WholeHead::default);
        }
        let place = &mut self.places[hasher.finish() as usize % PLACES];
        if place.text == text {
            return Some(place);
        }
        let strange = &mut self.strange;
        strange.read(direction, text, lines)?;
        if strange.is_secret(text) {
            return Some(strange);
        }
        std::mem::swap(place, strange);
        place.text.clear();
        place.text.extend_from_slice(text);
        Some(place)
    }
}

impl WholeHead {
    /// Reads a head. None where `text` is none, or not to its end.
    fn read(&mut self, direction: Direction, text: &[u8], lines: &mut FamiliarLines) -> Option<()> {
        self.text.clear();
        self.runs.clear();
        let (mut head, mut used) = (Head::new(direction), 0);
        let line = head.read_start_line(text, |read| {
            used += read.length();
            self.add(read);
        });
        if line != Line::Whole {
            return None;
        }
        while used < text.len() {
            let read = head.read(&text[used..], Some(lines));
            used += read.length();
            self.add(read);
            match read.then {
                Then::More => {}
                Then::End => {
                    self.head = Some(head);
                    return (used == text.len()).then_some(());
                }
                Then::Invalid => return None,
            }
        }
        None
    }

    fn add(&mut self, read: Read) {
        for (keep, length) in [(true, read.kept), (false, read.blank), (true, read.kept_after)] {
            match self.runs.last_mut() {
                _ if length == 0 => {}
                Some(last) if last.0 == keep => last.1 += length,
                _ => self.runs.push((keep, length)),
            }
        }
    }

    /// Something in it must be blanked, and is not blank already.
    fn is_secret(&self, mut text: &[u8]) -> bool {
        self.runs.iter().any(|&(keep, length)| {
            let (run, rest) = text.split_at(length);
            text = rest;
            !keep && run.iter().any(|&byte| byte != BLANK)
        })
    }
}
