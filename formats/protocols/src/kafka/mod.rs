//! Kafka, up to 4.1: each request and its answer is a span, by their correlation id.
//!
//! The operation is the name of the API (`Produce`, `Fetch`), the target the first topic that the request
//! names. Newer versions name topics by ids: these are looked up in what the same connection was told of
//! them. A Produce that wants no acknowledgement is one-way.
//!
//! An answer has error codes at several places. Its status is the one code that all of them say (-1, which is
//! no status, has only a name); it failed if all of them do, or that of the answer as a whole does. Where not
//! all of them are known, or some say zero and some not, there is no status.
//!
//! Kept are what frames messages and fields, names of topics, groups and clients, ids of topics,
//! acknowledgements, and error codes. Other fields never are: keys, values, offsets, configuration, tokens of
//! SASL.

mod apis;
mod errors;
mod framing;
mod head;
mod layout;
mod walk;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};

/// Kafka.
#[derive(Clone, Copy, Debug)]
pub struct Kafka;

/// A request: a length below 16 MiB, an API, a version; the same without its length, which servers take
/// apart.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(&[0; 7], &[0xff, 0, 0, 0, 0xff, 0x80, 0xff], Keep::Turn),
    Signature::masked(&[0; 4], &[0xff, 0x80, 0xff, 0xe0], Keep::Turn),
];

impl Protocol for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn title(&self) -> &'static str {
        "kafka"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// Answers tell nothing without their request.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        if direction == Direction::Responses {
            return Verdict::No;
        }
        match head::likeness(bytes) {
            Verdict::Maybe if !fresh => Verdict::No,
            Verdict::No if fresh && head::may_begin(bytes) => Verdict::Maybe,
            Verdict::No if head::is_without_length(bytes) => Verdict::Surely,
            verdict => verdict,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(framing::Reading::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of messaging, and of Kafka.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("messaging.system", ValueRef::Text("kafka"));
        if exchange.status.failed {
            tell("error.type", ValueRef::Text(exchange.status.text.unwrap_or("_OTHER")));
        }
    }
}

#[cfg(test)]
mod tests;
