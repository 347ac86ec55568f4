//! MySQL and MariaDB, the client/server protocol: each command is an exchange.

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

/// Commands that have a text, EXECUTE, and a few rare ones, of less than 64 KiB: they may follow CLOSE, which is not answered.
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

    /// A greeting, a login, or a statement whose packet ends with the call; of answers an error with its SQLSTATE, and a count
    /// of columns that definitions follow.
    fn recognise(&self, direction: Direction, bytes: &[u8], _fresh: bool) -> Verdict {
        let surely = match direction {
            Direction::Requests => requests::is_command(bytes, false) || login::begins(bytes),
            Direction::Responses => login::is_greeting(bytes) || begins_answer(bytes),
        };
        if surely { Verdict::Surely } else { Verdict::No }
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
