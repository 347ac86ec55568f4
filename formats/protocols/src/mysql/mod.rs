//! MySQL and MariaDB, the client/server protocol: each command is an exchange.
//!
//! * Operation: the first word of a statement's text, for EXECUTE that of the statement that was prepared;
//!   other commands by their name (`PREPARE`, `INIT_DB`, `PING`). Target: the table, or the database of
//!   `INIT_DB`. A login is no exchange.
//! * Status: the number and name of the error. An error anywhere in an answer, as behind rows, makes it fail.
//! * An answer ends where its packets say so by their order: OK, EOF or an error, unless more results are
//!   announced. What was agreed at login is not needed for that, but in one place: whether the definitions of
//!   a prepared statement have an end of their own. As long as that is not known, such an answer may be
//!   complete, and was when the client goes on. So was an answer of which a part is missing.
//! * Commands are answered in order, so they are paired by their count ([`crate::queue`]); what is not
//!   certain is not paired.
//! * Kept are headers of packets, commands, statements without literals and comments, plain names of
//!   databases and tables, ids of prepared statements, counts of columns, states, error numbers; of query
//!   attributes a `traceparent`. Never kept: rows, parameters, names of users, what proves who they are,
//!   texts of errors, numbers of rows and inserted ids.
//! * Encrypted and compressed connections are not read. The dump of a binary log is one answer that lasts.

mod answers;
mod attributes;
mod commands;
mod errors;
mod framing;
mod login;
mod packets;
mod requests;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use commands::Answer;

/// MySQL.
#[derive(Clone, Copy, Debug)]
pub struct MySql;

/// Commands that have a text, EXECUTE, and a few rare ones, of less than 64 KiB: they may follow CLOSE, which
/// is not answered.
const SIGNATURES: [Signature; 1] =
    [Signature::masked(&[0, 0, 0, 0, 0x02], &[0, 0, 0xff, 0xff, 0xea], Keep::Turn)];

impl Protocol for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn title(&self) -> &'static str {
        "mysql"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// A greeting, a login, or a statement whose packet ends with the call; of answers an error with its
    /// SQLSTATE, and a count of columns that definitions follow. The first data of a server may be less than
    /// its greeting.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        let surely = match direction {
            Direction::Requests => requests::is_command(bytes, false) || login::begins(bytes),
            Direction::Responses => login::is_greeting(bytes) || begins_answer(bytes),
        };
        match () {
            () if surely => Verdict::Surely,
            () if fresh && direction == Direction::Responses && login::may_greet(bytes) => Verdict::Maybe,
            () => Verdict::No,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(framing::Reading::new(before.is_none()), before))
    }

    /// Semantic conventions of databases: the status is the number of the error, as text.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if let Some(code) = exchange.status.code {
            let code = code.to_string();
            tell("db.response.status_code", ValueRef::Text(&code));
            if self.failed(exchange.status) {
                tell("error.type", ValueRef::Text(exchange.status.text.unwrap_or(&code)));
            }
        }
    }
}

/// Whether the data of a call can be nothing but an answer.
fn begins_answer(bytes: &[u8]) -> bool {
    let Some((length, sequence)) = packets::header(bytes) else { return false };
    let whole = bytes.get(packets::HEADER) != Some(&0xff) || bytes.len() == packets::HEADER + length;
    sequence == 1 && whole && answers::begins(Answer::Results, bytes, true)
}

#[cfg(test)]
mod tests;
