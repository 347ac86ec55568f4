//! Column `attributes`: everything that is known of an exchange, by names of the semantic conventions, as a JSON object.
//!
//! It has hundreds of bytes, and there is one a span. Many spans have the same, and of those that share an operation the
//! first half is the same: what was made last for an operation is kept, and only what differs is made anew.

use std::hash::BuildHasher;
use std::sync::Arc;

use retrospan_protocols::operation::Exchange;
use retrospan_protocols::{Operation, Protocol, Status, ValueRef};
use rustc_hash::FxBuildHasher;

use crate::assembly::connections::{Endpoint, Sockets};

/// Says what a protocol is spoken over.
const TRANSPORT: &str = "network.transport";

/// What the attributes of an exchange depend on beside its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Status of the answer.
    pub status: Status,
    /// It is seen from the requesting side.
    pub client: bool,
    /// The answering side.
    pub server: Option<Endpoint>,
    /// What the protocol is spoken over, where that is not TCP.
    pub transport: Option<&'static str>,
    /// It is spoken within TLS.
    pub over_tls: bool,
    /// Bytes of request and answer on the wire.
    pub bytes: [Option<u64>; 2],
    /// Bytes of their bodies, where known.
    pub body_bytes: [Option<u64>; 2],
}

/// Makes them. Holds what was made last: one text at each place, which operation, side and server choose.
#[derive(Debug, Default)]
pub struct Attributes {
    places: Vec<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    operation: Arc<Operation>,
    protocol: &'static dyn Protocol,
    told: Told,
    json: String,
    /// As much of it says what the operation says.
    own: usize,
}

/// Texts kept.
const PLACES: usize = 256;

impl Attributes {
    /// The text for an exchange.
    pub fn of(
        &mut self,
        operation: &Arc<Operation>,
        protocol: &'static dyn Protocol,
        told: Told,
        sockets: &Sockets,
    ) -> &str {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let hash = FxBuildHasher.hash_one((Arc::as_ptr(operation) as usize, told.client, told.server));
        let place = &mut self.places[hash as usize % PLACES];
        let known = place
            .as_ref()
            .is_some_and(|made| Arc::ptr_eq(&made.operation, operation) && *made.protocol == *protocol);
        if !known {
            let json = place.take().map_or_else(|| String::with_capacity(512), |made| made.json);
            *place = Some(Made::new(operation, protocol, told, json, sockets));
        }
        place.as_mut().map_or("", |made| {
            if made.told != told {
                made.tell(told, sockets);
            }
            &made.json
        })
    }
}

impl Made {
    /// `json` is room for it, whatever is in it.
    fn new(
        operation: &Arc<Operation>,
        protocol: &'static dyn Protocol,
        told: Told,
        mut json: String,
        sockets: &Sockets,
    ) -> Made {
        json.clear();
        json.push('{');
        operation.attributes.iter().for_each(|(key, value)| push(&mut json, key, value.borrowed()));
        let mut made = Made { operation: Arc::clone(operation), protocol, told, own: json.len(), json };
        made.tell(told, sockets);
        made
    }

    fn tell(&mut self, told: Told, sockets: &Sockets) {
        self.told = told;
        self.json.truncate(self.own);
        let exchange = Exchange {
            operation: &self.operation,
            status: told.status,
            client: told.client,
            server: told
                .server
                .filter(|server| server.port != 0)
                .map(|server| (sockets.address(server), server.port)),
            bytes: told.bytes,
            body_bytes: told.body_bytes,
        };
        let mut is_told = false;
        self.protocol.attributes(&exchange, &mut |key, value| {
            is_told |= key == TRANSPORT;
            push(&mut self.json, key, value);
        });
        if let Some(transport) = told.transport.filter(|_| !is_told) {
            push(&mut self.json, TRANSPORT, ValueRef::Text(transport));
        }
        if told.over_tls {
            let comma = if self.json.len() > 1 { "," } else { "" };
            self.json.push_str(comma);
            self.json.push_str(TLS_ESTABLISHED);
        }
        self.json.push('}');
    }
}

/// The attribute `tls.established` of the semantic conventions.
const TLS_ESTABLISHED: &str = r#""tls.established":true"#;

fn push(json: &mut String, key: &str, value: ValueRef<'_>) {
    json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
    json.push_str(key);
    json.push_str("\":");
    match value {
        ValueRef::Text(text) => push_text(json, text),
        ValueRef::Int(number) => json.push_str(itoa::Buffer::new().format(number)),
    }
}

/// A text as JSON; hardly any needs an escape.
fn push_text(json: &mut String, text: &str) {
    // Every byte is looked at, so that the loop has no branches.
    let escaped = |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, escaped) {
        return json.push_str(&serde_json::Value::from(text).to_string());
    }
    json.push('"');
    json.push_str(text);
    json.push('"');
}

#[cfg(test)]
mod tests {
    use retrospan_protocols::{Direction, detect};

    use super::*;

    #[test]
    fn a_text_is_json_whatever_it_holds() {
        for text in ["", "/a?b=*", "a\"b", "a\\b", "a\nb\u{0}", "\u{7f}\u{e9}\u{2028}"] {
            let mut json = String::new();
            push_text(&mut json, text);
            assert_eq!(json, serde_json::Value::from(text).to_string());
        }
    }

    #[test]
    fn what_was_made_before_changes_nothing() {
        let (protocol, sockets) = (detect::presumed(), Sockets::default());
        let operations: Vec<_> = (0..300)
            .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h{}\r\n\r\n", n % 7))
            .map(|head| Arc::new(protocol.read(Direction::Requests, head.as_bytes(), &Operation::default())))
            .collect();
        let mut attributes = Attributes::default();
        for round in 0..4u16 {
            for (index, operation) in operations.iter().enumerate() {
                let size = |n: usize| (index % n != 0).then_some((index % 5) as u64);
                let told = Told {
                    status: Status::of_code(200 + 100 * (index as u16 % 4) * (round / 2)),
                    client: index % 2 == 0,
                    server: None,
                    transport: None,
                    over_tls: index % 11 == 0,
                    bytes: [size(2), size(3)],
                    body_bytes: [size(5), None],
                };
                let alone = Attributes::default().of(operation, protocol, told, &sockets).to_owned();
                assert_eq!(attributes.of(operation, protocol, told, &sockets), alone);
                assert!(serde_json::from_str::<serde_json::Value>(&alone).is_ok(), "{alone}");
            }
        }
    }
}
