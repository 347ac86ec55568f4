//! MQTT 3.1, 3.1.1 and 5.
//!
//! A span is CONNECT with its CONNACK; PUBLISH, one-way at quality of service 0, to its PUBACK at 1, to its
//! PUBCOMP (or the PUBREC that refuses it) at 2, of clients and, turned, of servers; SUBSCRIBE, UNSUBSCRIBE,
//! PINGREQ with their answers; DISCONNECT, one-way; AUTH from where a client authenticates again to its
//! success. A message that is sent again while it waits is no other one.
//!
//! The operation is the kind of packet, the target the topic or the first topic filter, in version 5 also one
//! that a number stands for. The status is the reason code of the answer, or the first one that refuses; 0x80
//! and more failed, and of CONNACK all but 0.
//!
//! Kept are what frames packets, numbers, topics and filters of plain characters, reason codes, lengths of
//! properties and the numbers of topics. Never kept: payloads, names of clients and users, passwords, wills,
//! properties.
//!
//! Recordings that begin in the middle of a connection are recognised by what only one side sends, together
//! with a topic: messages go both ways, so they do not tell who the client is.

mod framing;
mod operation;
mod packet;
mod properties;
mod reasons;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};

/// MQTT.
#[derive(Clone, Copy, Debug)]
pub struct Mqtt;

/// A message whose length has one byte, or two, and whose topic is shorter than 256 bytes.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(&[0x30, 0, 0], &[0xf0, 0x80, 0xff], Keep::Turn),
    Signature::masked(&[0x30, 0x80, 0, 0], &[0xf0, 0x80, 0x80, 0xff], Keep::Turn),
];

impl Protocol for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn title(&self) -> &'static str {
        "mqtt"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        let (proof, goes) = packet::tells(direction, bytes);
        if proof && goes {
            return Verdict::Surely;
        }
        // Clients speak first.
        let first = fresh && direction == Direction::Requests;
        if first && (proof || packet::may_connect(bytes)) { Verdict::Maybe } else { Verdict::No }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(framing::Reading::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of messaging.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("messaging.system", ValueRef::Text("mqtt"));
        if exchange.status.failed {
            tell("error.type", ValueRef::Text(exchange.status.text.unwrap_or("_OTHER")));
        }
    }
}

#[cfg(test)]
mod tests;
