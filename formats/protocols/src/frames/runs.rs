//! What of a frame's head may be stored.

use std::ops::Range;

#[cfg(test)]
use crate::blank::BLANK;
use crate::parts::What;

/// What of a head may be kept, run by run.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    told: Vec<(Range<usize>, Kept)>,
    /// What follows tells nothing.
    pub(super) is_enough: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    AsItIs,
    Secret,
    Instead(Box<[u8]>),
}

impl Runs {
    /// After the bytes told of so far.
    pub(crate) fn at(&self) -> usize {
        self.told.last().map_or(0, |(run, _)| run.end)
    }

    /// So many bytes may be kept.
    pub(crate) fn keep(&mut self, length: usize) {
        self.add(length, Kept::AsItIs);
    }

    /// So many must not.
    pub(crate) fn blank(&mut self, length: usize) {
        self.add(length, Kept::Secret);
    }

    /// As many must not, and these may instead.
    pub(crate) fn instead(&mut self, bytes: Vec<u8>) {
        self.add(bytes.len(), Kept::Instead(bytes.into()));
    }

    /// What of these bytes is kept.
    #[cfg(test)]
    pub(crate) fn applied(&self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = vec![BLANK; bytes.len()];
        self.within(0..bytes.len(), |_, run, what| match what {
            What::Head => kept[run.clone()].copy_from_slice(&bytes[run]),
            What::Instead(instead) => kept[run].copy_from_slice(&instead),
            _ => {}
        });
        kept
    }

    /// What follows tells nothing: without it the head means the same. It is content, and leaves no blanks.
    pub(crate) fn enough(&mut self) {
        self.is_enough = true;
    }

    /// Forgets all, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.told.clear();
        self.is_enough = false;
    }

    fn add(&mut self, length: usize, kept: Kept) {
        let at = self.at();
        if length > 0 {
            self.told.push((at..at + length, kept));
        }
    }

    /// The runs within `range`: what is not told of is secret.
    pub(super) fn within(&self, range: Range<usize>, mut tell: impl FnMut(usize, Range<usize>, What)) {
        let mut at = range.start;
        for (run, kept) in &self.told {
            let part = run.start.max(range.start)..run.end.min(range.end);
            if part.is_empty() {
                continue;
            }
            let what = match kept {
                Kept::AsItIs => What::Head,
                Kept::Secret => What::Secret,
                Kept::Instead(bytes) => {
                    What::Instead(bytes[part.start - run.start..part.end - run.start].into())
                }
            };
            at = part.end;
            tell(part.start, part, what);
        }
        if at < range.end {
            tell(at, at..range.end, What::Secret);
        }
    }
}
