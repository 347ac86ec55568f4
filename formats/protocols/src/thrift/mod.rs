//! Apache Thrift over sockets: the method is the operation; of a multiplexed service the service is its
//! target.
//!
//! A span is a message of type CALL or ONEWAY. Read are the binary encoding (strict, and the old one without
//! version), the compact encoding, and what carries them: nothing (buffered), frames, and THeader of
//! fbthrift, unless it is compressed. Thrift over HTTP is HTTP, and its JSON encodings are not read.
//!
//! Many clients give all their messages the same sequence number, so answers are paired with the first open
//! call of the same method and number. The answer to a method of a multiplexed service names the method
//! alone.
//!
//! The status is the type of a TApplicationException (EXCEPTION): the answering side failed. An exception
//! that the service declares is a REPLY like any other: it did not fail.
//!
//! Kept are frame lengths, message headers with the name of the method if it is plain, and of messages
//! without frames, whose end only their structure tells, types and numbers of fields, lengths and counts; of
//! an exception also its type. Values are never kept, nor the message of an exception, nor the fields of
//! THeader.

mod connection;
mod exception;
mod header;
mod message;
mod pending;
mod skip;
mod types;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use connection::Connection;
use header::Start;

/// Thrift.
#[derive(Clone, Copy, Debug)]
pub struct Thrift;

/// A call of the strict binary encoding in a frame, and without one.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(&[0, 0, 0, 0, 0x80, 1, 0, 0], &[0xf0, 0, 0, 0, 0xff, 0xff, 0xff, 0xf8], Keep::Turn),
    Signature::masked(&[0x80, 1, 0, 0], &[0xff, 0xff, 0xff, 0xf8], Keep::Turn),
];

impl Protocol for Thrift {
    fn name(&self) -> &'static str {
        "thrift"
    }

    fn title(&self) -> &'static str {
        "thrift"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// The type of a message tells its direction.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        if header::proves(direction, bytes) {
            return Verdict::Surely;
        }
        let may = fresh && direction == Direction::Requests;
        match header::start(bytes) {
            Start::Known(start) if may && start.message.is_none() && start.is_first() => Verdict::Maybe,
            Start::Need(_) if may && header::may_begin(bytes) => Verdict::Maybe,
            _ => Verdict::No,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of RPC.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("rpc.system", ValueRef::Text("thrift"));
        if exchange.status.failed
            && let Some(text) = exchange.status.text
        {
            tell("error.type", ValueRef::Text(text));
        }
    }
}

#[cfg(test)]
mod tests;
