//! PostgreSQL's protocol, version 3 (PostgreSQL manual, chapter "Frontend/Backend Protocol"), which
//! CockroachDB, PgBouncer and others speak, too.
//!
//! A span is a simple query, from its first byte to ReadyForQuery, whatever number of statements it has; or
//! an Execute, up to what completes it or its portal's suspension; or a function call; or a start of a
//! session with all that belongs to it (`startup`). A request to cancel gets no answer. What prepares an
//! Execute (Parse, Bind, Describe) is not one, and its errors are those of the Execute behind it. Executes
//! that the server skips after an error end as given up by the server. Notices, notifications and changed
//! parameters belong to nothing.
//!
//! * Operation: the statement's first word, if it is one of SQL; of an Execute whose Parse was not seen it is
//!   not known.
//! * Target: the table that the statement is mainly about.
//! * Status: SQLSTATE of the error. Failed is what has an error; a commit that fails at Sync behind a
//!   completed Execute is not told.
//!
//! Answers come in the order of requests. After lost bytes the pairing is certain again when no more answers
//! can be due than were seen to come: requests that the client sends ahead are counted for that.
//!
//! Kept are types and lengths of messages, statements without their literals ([`crate::sql`]), names of
//! prepared statements and portals, formats and lengths of parameters, the database, command tags, severity
//! and SQLSTATE. Never kept are parameters, rows, users, passwords and what belongs to authentication, texts
//! of errors.

mod due;
mod framing;
mod messages;
mod pairing;
mod recognise;
mod states;
#[cfg(test)]
mod tests;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use framing::Connection;

/// PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub struct PostgreSql;

/// Parse or Query, and Bind, of less than 16 MiB.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(b"P\0", &[0xfe, 0xff], Keep::Turn),
    Signature::masked(b"B\0", &[0xff, 0xff], Keep::Turn),
];

impl Protocol for PostgreSql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn title(&self) -> &'static str {
        "postgresql"
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
        match exchange.status.text {
            Some(code) => {
                tell("db.response.status_code", ValueRef::Text(code));
                tell("error.type", ValueRef::Text(states::condition(code)));
            }
            None => tell("error.type", ValueRef::Text("_OTHER")),
        }
    }
}
