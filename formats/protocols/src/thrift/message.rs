//! A message's own header: what it is, what it is called, and where its struct begins.

use std::ops::Range;

use super::types::Encoding;
use crate::parts::Direction;

/// Types of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Reply,
    Exception,
    OneWay,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Option<Kind> {
        [Kind::Call, Kind::Reply, Kind::Exception, Kind::OneWay]
            .get(usize::from(byte).wrapping_sub(1))
            .copied()
    }

    /// Who sends it.
    pub(super) fn direction(self) -> Direction {
        match self {
            Kind::Call | Kind::OneWay => Direction::Requests,
            Kind::Reply | Kind::Exception => Direction::Responses,
        }
    }
}

/// A message's own header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) encoding: Encoding,
    pub(super) kind: Kind,
    /// Where it begins.
    pub(super) begin: usize,
    /// Where its name stands.
    pub(super) name: Range<usize>,
    pub(super) sequence: u32,
    /// Where its struct begins.
    pub(super) end: usize,
}
