//! Attributes of queries (MySQL 8.0.23, `CLIENT_QUERY_ATTRIBUTES`): names and values in front of a statement,
//! or behind the parameters of a prepared one. A trace context may be among them.

use super::packets::{number, number_bytes};
use crate::context::{self, Context};
use crate::frames::Runs;

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attributes {
    /// Where they end. None: not all of them is there, or they are not understood.
    pub(super) end: Option<usize>,
    pub(super) context: Option<Context>,
}

/// More of them are not read.
const MAX_PARAMETERS: u64 = 64;
/// The attribute that instrumented clients send.
const TRACEPARENT: &[u8] = b"traceparent";

/// One value: its type, and whether it has the name of the trace context.
#[derive(Clone, Copy, Debug)]
struct Kind {
    code: u8,
    traceparent: bool,
}

/// Reads those in front of the text of a query, which begins at `at`.
pub(super) fn of_query(payload: &[u8], at: usize, tell: &mut Teller<'_>) -> Attributes {
    let mut reader = Reader { payload, at, tell, context: None };
    let end = reader.query();
    Attributes { end: end.map(|()| reader.at), context: reader.context }
}

/// Whether a query has attributes: no text begins with a byte of 1 behind another.
pub(super) fn has_attributes(payload: &[u8]) -> Option<bool> {
    Some(*payload.get(2)? == 1)
}

/// Reads those of a prepared statement, whose count begins at `at`.
pub(super) fn of_statement(payload: &[u8], at: usize, tell: &mut Teller<'_>) -> Attributes {
    let mut reader = Reader { payload, at, tell, context: None };
    let end = reader.counted();
    Attributes { end: end.map(|()| reader.at), context: reader.context }
}

/// What may be kept is told here, if anybody wants to know.
pub(super) struct Teller<'a>(pub(super) Option<&'a mut Runs>);

impl Teller<'_> {
    fn keep(&mut self, length: usize) {
        if let Some(runs) = &mut self.0 {
            runs.keep(length);
        }
    }

    fn blank(&mut self, length: usize) {
        if let Some(runs) = &mut self.0 {
            runs.blank(length);
        }
    }
}

struct Reader<'a, 'b, 'c> {
    payload: &'a [u8],
    at: usize,
    tell: &'b mut Teller<'c>,
    context: Option<Context>,
}

impl<'a> Reader<'a, '_, '_> {
    /// Count of parameters, count of their sets, and they.
    fn query(&mut self) -> Option<()> {
        let count = self.count()?;
        self.count()?;
        self.parameters(count)
    }

    fn counted(&mut self) -> Option<()> {
        let count = self.count()?;
        self.parameters(count)
    }

    fn parameters(&mut self, count: u64) -> Option<()> {
        if count == 0 {
            return Some(());
        }
        if count > MAX_PARAMETERS {
            return None;
        }
        let nulls = self.frame((count as usize).div_ceil(8))?;
        if self.frame(1)? != [1] {
            // Types as before: they are not known here.
            return None;
        }
        let mut kinds = [Kind { code: 0, traceparent: false }; MAX_PARAMETERS as usize];
        for kind in &mut kinds[..count as usize] {
            kind.code = self.frame(2)?[0];
            let length = self.count()? as usize;
            let name = self.peek(length)?;
            kind.traceparent = name == TRACEPARENT;
            self.skip(length, kind.traceparent);
        }
        for (index, kind) in kinds[..count as usize].iter().enumerate() {
            if nulls[index / 8] >> (index % 8) & 1 == 0 {
                self.value(*kind)?;
            }
        }
        Some(())
    }

    fn value(&mut self, kind: Kind) -> Option<()> {
        let length = match kind.code {
            6 => 0,
            1 => 1,
            2 | 13 => 2,
            3 | 4 | 9 => 4,
            5 | 8 => 8,
            7 | 10 | 11 | 12 => usize::from(self.frame(1)?[0]),
            0 | 15 | 16 | 242 | 245..=255 => self.count()? as usize,
            _ => return None,
        };
        let value = self.peek(length)?;
        let found = if kind.traceparent { context::traceparent(value) } else { None };
        self.context = self.context.or(found);
        self.skip(length, found.is_some());
        Some(())
    }

    /// A number of variable length, which may be kept.
    fn count(&mut self) -> Option<u64> {
        let rest = &self.payload[self.at..];
        let length = number_bytes(*rest.first()?)?;
        let (count, _) = number(rest)?;
        self.frame(length)?;
        Some(count)
    }

    /// Bytes that frame others.
    fn frame(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.peek(length)?;
        self.skip(length, true);
        Some(bytes)
    }

    fn peek(&self, length: usize) -> Option<&'a [u8]> {
        self.payload.get(self.at..self.at.checked_add(length)?)
    }

    fn skip(&mut self, length: usize, keep: bool) {
        self.at += length;
        if keep { self.tell.keep(length) } else { self.tell.blank(length) }
    }
}
