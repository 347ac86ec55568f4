//! memcached: the text protocol with its meta commands (`doc/protocol.txt` of memcached), and the binary one.
//!
//! A span is a command with its answer: of `get` all values up to `END`, of `stats` all lines or messages.
//! The operation is the command, in lower case, of the binary protocol too (`getq`; of a code that is not
//! known its number, `0x77`); a word that is no command has none. Keys may be data of users, so there is no
//! target.
//!
//! Commands are answered in order. Of quiet ones (the flag `q`, the binary `...q`) an answer may be left out:
//! they have got none once a later command is answered. Where an answer may be that of one of several quiet
//! commands, and carries no opaque, it is nobody's, and they end as those without answer do.
//!
//! The status is the word that an answer begins with (`STORED`, `END`: nothing was there), of errors all of
//! the line if it is a known one; of the binary protocol the number, with the name that memcached's header
//! file gives it. Failed are errors, and all binary statuses but those that say that the key is not there, or
//! is there, or has changed.
//!
//! Kept are commands, flags of one letter, lengths, opaques of plain characters, `noreply`, the first word of
//! answers, errors that are known, and headers of the binary protocol. Keys, values, counts and names of
//! statistics are not.

mod answers;
mod binary;
mod codec;
mod commands;
mod lines;
mod pairing;
mod recognise;
mod requests;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Protocol, Signature, Verdict};
use codec::Connection;

/// memcached.
#[derive(Clone, Copy, Debug)]
pub struct Memcached;

impl Protocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn title(&self) -> &'static str {
        "memcached"
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    /// A line is taken for one of memcached if nobody else has such a command with such arguments, or if all
    /// lines are commands and one of them is such a one. Answers prove little: `VALUE` with its numbers,
    /// `STORED`, errors that say whose fault it was.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        recognise::recognise(direction, bytes, fresh)
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of databases, stable since 1.33.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("db.system.name", ValueRef::Text("memcached"));
        let status = exchange.status;
        let code = status.code.map(|code| code.to_string());
        let Some(said) = code.as_deref().or(status.text.filter(|_| status.failed)) else { return };
        tell("db.response.status_code", ValueRef::Text(said));
        if status.failed {
            tell("error.type", ValueRef::Text(status.text.unwrap_or(said)));
        }
    }
}

#[cfg(test)]
mod tests;
