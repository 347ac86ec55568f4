//! The wire protocol of MongoDB: each message that is answered, and each that needs no answer, is an exchange.

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

    fn recognise(&self, direction: Direction, bytes: &[u8], _fresh: bool) -> Verdict {
        if messages::begins(direction, bytes) { Verdict::Surely } else { Verdict::No }
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
