//! CQL's native protocol, versions 3 to 5 (Apache Cassandra, `native_protocol_v5.spec`), which ScyllaDB and
//! others speak, too.
//!
//! A span is a request and its answer, which have a stream id in common: the key of an exchange is a running
//! number, as stream ids are used again. Events, which the server sends by itself, belong to nothing.
//!
//! * Operation: of QUERY and EXECUTE the statement's first word, if it is known, else the request's name
//!   (`PREPARE`, `BATCH`). A statement that was prepared on another connection is not known.
//! * Target: the table that the statement, or the first one of a batch, is mainly about.
//! * Status: code and name of the error. Failed is what has an error.
//!
//! Version 5 puts messages ("envelopes") into segments with checksums once the session has begun; longer ones
//! go over several segments. Segments are recognised by the checksum of their header. Of compressed messages
//! only request and stream id are known; a connection of compressed segments is not read at all.
//!
//! Kept are headers, statements without their literals ([`crate::sql`]), ids of prepared statements,
//! consistency and flags, keyspaces, codes of errors, how many columns an answer has. Never kept are values,
//! rows, texts of errors and what belongs to authentication.

mod codes;
mod envelope;
mod framing;
mod keep;
mod recognise;
mod segment;
#[cfg(test)]
mod tests;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use framing::Connection;

/// CQL.
#[derive(Clone, Copy, Debug)]
pub struct Cassandra;

/// A request of version 3 or 4: version, few flags, an opcode below 16, less than 16 MiB. In version 5 only a
/// checksum is special.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(&[3, 0, 0, 0, 0, 0], &[0xff, 0xe8, 0, 0, 0xf0, 0xff], Keep::Turn),
    Signature::masked(&[4, 0, 0, 0, 0, 0], &[0xff, 0xe8, 0, 0, 0xf0, 0xff], Keep::Turn),
];

impl Protocol for Cassandra {
    fn name(&self) -> &'static str {
        "cassandra"
    }

    fn title(&self) -> &'static str {
        "cassandra"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        recognise::recognise(direction, bytes, fresh)
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if !exchange.status.failed {
            return;
        }
        let name = exchange.status.text;
        if let Some(code) = exchange.status.code {
            let text = format!("0x{code:04X}");
            tell("db.response.status_code", ValueRef::Text(&text));
        }
        tell("error.type", ValueRef::Text(name.unwrap_or("_OTHER")));
    }
}
