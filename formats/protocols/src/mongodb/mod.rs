//! The wire protocol of MongoDB: each message that is answered, and each that needs no answer, is an
//! exchange.
//!
//! * Operation: the first name in the document of a command (OP_MSG, OP_QUERY to `$cmd`), else what the
//!   opcode says (`insert`, `query`, `getMore`). Only commands of a table name the span. Target: the
//!   collection that the command is of.
//! * Status: of an answer whose `ok` is 0 its `code`, with the name of that. Errors of single writes do not
//!   make it fail, as drivers see it: their command did what it could.
//! * Messages name the one that they answer, in any order: the key is the id of the request. Where a message
//!   announces others (`moreToCome`), a request has no answer, and of answers the first is the one.
//! * Every element of the first document is passed over by its length, so that `ok` is found behind any
//!   number of documents. Where bytes are missing within a message, the next one is found all the same.
//! * Kept are headers, types and lengths, the name of the command, plain names of collections and databases,
//!   `ok` and `code`. Never kept: names and values of other elements, documents, filters, what proves who a
//!   user is, cursor ids.
//! * Compressed messages (OP_COMPRESSED) are paired, and nothing in them is read.

mod bson;
mod commands;
mod errors;
mod framing;
mod messages;
mod request;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Protocol, Signature, Verdict};

/// MongoDB.
#[derive(Clone, Copy, Debug)]
pub struct MongoDb;

impl Protocol for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn title(&self) -> &'static str {
        "mongodb"
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    /// Header, flags, and the first element of a document or section agree. The first data of a connection
    /// may be less.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        match () {
            () if messages::begins(direction, bytes) => Verdict::Surely,
            () if fresh && direction == Direction::Requests && messages::may_begin(bytes) => Verdict::Maybe,
            () => Verdict::No,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(framing::Reading::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of databases: the status is the number of the error, as text.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if !self.failed(exchange.status) {
            return;
        }
        let code = exchange.status.code.map(|code| code.to_string());
        if let Some(code) = &code {
            tell("db.response.status_code", ValueRef::Text(code));
        }
        let kind = exchange.status.text.or(code.as_deref()).unwrap_or("_OTHER");
        tell("error.type", ValueRef::Text(kind));
    }
}

#[cfg(test)]
mod tests;
