//! Header lines seen before, with what was found of them.
//!
//! The heads that one side of a connection sends resemble each other: most lines of the next one are the same to the
//! byte. Comparing a line costs a fraction of reading it. Only equal bytes count, so what is kept of a head is the same
//! with and without; and only lines whose values may be kept are remembered, so no secret stays here.

use super::super::names::Field;

/// Most lines remembered.
const MAX_LINES: usize = 16;
/// Longer lines are not remembered.
const MAX_LINE_BYTES: usize = 256;

/// The harmless header lines of the last heads of one direction, in their order.
#[derive(Clone, Debug, Default)]
pub(in crate::http1) struct FamiliarLines {
    lines: Vec<Line>,
    /// The line that the next one should equal.
    next: usize,
}

/// One header line that may be kept.
#[derive(Clone, Debug, Default)]
pub(in crate::http1) struct Line {
    text: Vec<u8>,
    pub(in crate::http1) field: Field,
    /// Its value, where it is a `Content-Length`.
    pub(in crate::http1) content_length: Option<u64>,
    /// It ends with LF alone.
    pub(in crate::http1) lf: bool,
    /// Something of this matters to the head.
    pub(in crate::http1) matters: bool,
}

impl Line {
    pub(in crate::http1) fn length(&self) -> usize {
        self.text.len()
    }
}

impl FamiliarLines {
    /// A head begins.
    pub(in crate::http1) fn begin(&mut self) {
        self.next = 0;
    }

    /// What is known of the line that `bytes` begin with, if it is the one expected here.
    #[inline]
    pub(in crate::http1) fn find(&mut self, bytes: &[u8]) -> Option<&Line> {
        let line = self.lines.get(self.next).filter(|line| bytes.starts_with(&line.text))?;
        self.next += 1;
        Some(line)
    }

    /// Remembers a whole line, its end included, in the place where it was expected.
    pub(in crate::http1) fn learn(
        &mut self,
        text: &[u8],
        field: Field,
        content_length: Option<u64>,
        lf: bool,
    ) {
        if self.next >= MAX_LINES || text.len() > MAX_LINE_BYTES {
            return;
        }
        if self.next == self.lines.len() {
            self.lines.push(Line::default());
        }
        let line = &mut self.lines[self.next];
        line.text.clear();
        line.text.extend_from_slice(text);
        (line.field, line.content_length, line.lf) = (field, content_length, lf);
        line.matters = lf || matches!(field, Field::ContentLength | Field::Host);
        self.next += 1;
    }
}
