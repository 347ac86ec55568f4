//! TLS 1.0 to 1.3, and SSL 3.0: the handshake, of which a connection has one. What follows it is encrypted.
//!
//! A span is called `handshake`; the server name that the client asks for is its target. It begins with the
//! ClientHello and ends with the server's Finished. Another ClientHello that the server asks for belongs to
//! the same span. In TLS 1.3 the Finished cannot be told from what else is encrypted: the answer ends with
//! the last record of the server before the client goes on, which sends its own Finished then. In TLS 1.2,
//! too, the handshake is over when the client sends application data (False Start).
//!
//! The status is that of a fatal alert which is not encrypted, whoever sends it: it failed. What the client
//! refuses with an alert ends where the server's answer ended.
//!
//! Kept are headers of records and of the hellos, of these the versions, cipher suites, types and lengths of
//! extensions, server name and application protocols if they are plain, and alerts. Randoms, ids of sessions,
//! tickets, key shares, certificates and all other content of extensions are never kept.
//!
//! Where TLS begins later (STARTTLS, CONNECT) the data tells, too: a ClientHello begins a span, other records
//! none.

mod alerts;
mod ciphers;
mod connection;
mod describe;
mod hello;
mod record;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Protocol, Signature, Verdict};
use connection::Connection;

/// TLS.
#[derive(Clone, Copy, Debug)]
pub struct Tls;

impl Protocol for Tls {
    fn name(&self) -> &'static str {
        "tls"
    }

    fn title(&self) -> &'static str {
        "handshake"
    }

    /// Hellos begin a turn.
    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    /// Records of which the first is no hello tell no direction.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        let asks = direction == Direction::Requests;
        let is_other = asks && record::is_hello(Direction::Responses, bytes);
        if record::is_hello(direction, bytes)
            || (asks && fresh && record::is_old_hello(bytes))
            || (asks && !fresh && !is_other && record::are_records(bytes))
        {
            return Verdict::Surely;
        }
        let is_begin =
            (2..record::LEAST).contains(&bytes.len()) && bytes[0] == 22 && record::may_begin(bytes);
        if asks && fresh && is_begin { Verdict::Maybe } else { Verdict::No }
    }

    fn encrypts(&self) -> bool {
        true
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of TLS; `error.type` is the name of the alert.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if exchange.status.failed
            && let Some(text) = exchange.status.text
        {
            tell("error.type", ValueRef::Text(text));
        }
    }
}

#[cfg(test)]
mod tests;
