//! NATS, as clients and servers speak it
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).
//!
//! Spans: `publish` (PUB, HPUB), which is answered if it names a subject for that: by the first message to
//! it. Without one it is one-way. `process`: a message that the server delivers and that answers nothing,
//! one-way, asked for by the server's side. SUB and UNSUB are one-way; CONNECT is answered by the first PONG
//! or by an error; PING by PONG. Where a client is verbose, what is one-way else is answered by +OK. What a
//! consumer of JetStream asks for is answered by all messages that come for it, each of which is a `process`,
//! too.
//!
//! Target is the subject. Status: that of a message's headers (503: nobody listens there); of an error its
//! text, if it is a known one. Only -ERR says that the server failed or refused.
//!
//! Kept are verbs, subjects, subscription ids and groups of plain characters, sizes, names in the JSON of the
//! handshake and whether it wants to be verbose, of headers `traceparent` and a status, of a consumer's
//! request the number of messages it wants.

mod codec;
mod errors;
mod keep;
mod lines;
mod operations;
mod pairing;
mod payload;
mod recognise;

use crate::frames::Framed;
use crate::operation::{Exchange, Status, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Protocol, Signature, Verdict};
use codec::Connection;

/// NATS.
#[derive(Clone, Copy, Debug)]
pub struct Nats;

impl Protocol for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn title(&self) -> &'static str {
        "nats"
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
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

    /// That a consumer is still there answers nothing.
    fn is_final(&self, status: Status) -> bool {
        status.code != Some(100)
    }

    /// Semantic conventions of messaging.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("messaging.system", ValueRef::Text("nats"));
        let status = exchange.status;
        if let Some(text) = status.text.filter(|_| status.failed) {
            tell("error.type", ValueRef::Text(text));
        }
    }
}

#[cfg(test)]
mod tests;
