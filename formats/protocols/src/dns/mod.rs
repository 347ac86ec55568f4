//! DNS over TCP (RFC 1035, section 4.2.2; RFC 7766) and over UDP (section 4.2.1): what is asked for is the operation, the name its target; of answers only
//! the status is read.
//!
//! Requests may be sent ahead and answered in any order: the id of a message is the key of its exchange. A zone transfer is
//! one answer of several messages, and nothing but its last record, which is not kept, tells the last of them.
//!
//! Kept are header, question, and of EDNS what belongs to the status; a name only if all of it came in one call and consists
//! of what names of hosts and services are made of, else it is blank. Records are never kept.

mod codes;
mod datagrams;
mod framing;
mod head;

use crate::operation::{Exchange, Operation, Status, Title, Value, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use codes::QUERY;
use datagrams::Datagrams;
use framing::Connection;
use head::Header;

/// DNS.
#[derive(Clone, Copy, Debug)]
pub struct Dns;

/// A question that follows others, with its length and without, which some send and take apart: an opcode that is used, the bit
/// that must be zero, one question; without its length also the upper half of a small count.
const SIGNATURES: [Signature; 2] = [
    Signature::masked(&[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0x50, 0x40, 0xff, 0xff], Keep::Turn),
    Signature::masked(&[0, 0, 0, 0, 0, 1, 0], &[0, 0, 0x50, 0x40, 0xff, 0xff, 0xff], Keep::Turn),
];

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn title(&self) -> &'static str {
        "dns"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// Length, header and question are 80 bits that must agree. A length that is sent alone may be one.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        if head::proves(direction, bytes) {
            return Verdict::Surely;
        }
        let alone = bytes.try_into().is_ok_and(head::is_usual_length);
        let cut =
            bytes.len() >= head::HEADER && head::may_prove(direction, bytes) && head::missing(bytes) > 0;
        let may = fresh && direction == Direction::Requests && (alone || cut);
        if may { Verdict::Maybe } else { Verdict::No }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Connection::new(before))
    }

    fn recognise_datagram(&self, bytes: &[u8], _fresh: bool) -> Option<Direction> {
        datagrams::recognise(bytes)
    }

    fn datagrams(&self, before: bool) -> Option<Box<dyn Framing>> {
        Some(Box::new(Datagrams::new(before)))
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn read(&self, direction: Direction, head: &[u8], last: &Operation) -> Operation {
        let mut operation = Operation::default();
        if direction == Direction::Responses {
            operation.status = head::status(head);
            return operation;
        }
        let Some(header) = Header::of(head) else { return operation };
        let name = match header.opcode {
            QUERY => {
                let known = head::question_type(head).and_then(codes::of_type);
                operation.title = known.map(|known| known.title.into());
                known.map(|known| known.name)
            }
            other => {
                let name = codes::opcode(other);
                operation.title = name.map(Title::Defined);
                name
            }
        };
        operation.name = name.map(|name| match &last.name {
            Some(last) if **last == *name => last.clone(),
            _ => name.into(),
        });
        if header.opcode == QUERY
            && let Some(name) = name
        {
            operation.attributes.push(("dns.question.type", Value::Name(name)));
        }
        operation.target = head::question_name(head).map(|name| match &last.target {
            Some(last) if **last == *name => last.clone(),
            _ => name.into(),
        });
        if let Some(target) = &operation.target {
            operation.attributes.push(("dns.question.name", Value::Text(target.clone())));
        }
        operation
    }

    /// That there is no such name is what was asked, and a request that cannot be read is not the server's fault: it failed
    /// where it could not answer, or would not.
    fn failed(&self, status: Status) -> bool {
        matches!(status.text, Some("SERVFAIL" | "NOTIMP" | "REFUSED" | "NOTAUTH"))
    }

    /// The semantic conventions have a name for the question's name, and took it from the Elastic Common Schema. Type and
    /// status, which they have none for, are called as there.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if let Some(text) = exchange.status.text {
            tell("dns.response_code", ValueRef::Text(text));
            if self.failed(exchange.status) {
                tell("error.type", ValueRef::Text(text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
