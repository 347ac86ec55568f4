//! Dubbo 2 (the `dubbo://` protocol of Apache Dubbo): the method is the operation, the interface its target.
//!
//! A span is a request that is no event. Requests and responses carry a 64-bit id, by which they are paired,
//! so many may be under way at once and be answered in any order. Heartbeats and other events make no spans.
//! A provider may call its consumer on the same connection (callbacks): such an exchange is turned.
//!
//! The status is that of the response's header. A service that throws answers with status 20 (OK), and the
//! first value of the body says that an exception follows: that failed, too, and is called
//! `RESPONSE_WITH_EXCEPTION`.
//!
//! Interface and method are read of Hessian 2, fastjson and fastjson2 bodies, which begin with four strings:
//! version of the framework, interface, version of the service, method. Of others the names are not known.
//! Kept are the header, these strings if they are plain, and the first value of a response that tells what
//! follows. Arguments, results, attachments and messages of errors are never kept. Trace contexts are not
//! read: they stand in the attachments, behind the arguments.
//!
//! Triple, the protocol of Dubbo 3 over HTTP/2, is no part of this.

mod connection;
mod header;
mod names;
mod status;

use crate::frames::Framed;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use connection::Connection;
use header::{Header, MAGIC};

/// Dubbo 2.
#[derive(Clone, Copy, Debug)]
pub struct Dubbo;

/// Requests, whose names stand behind the header. Of responses the few bytes that are kept of any data are
/// enough.
const SIGNATURES: [Signature; 1] =
    [Signature::masked(&[0xda, 0xbb, 0x80, 0], &[0xff, 0xff, 0xa0, 0xff], Keep::Turn)];

impl Protocol for Dubbo {
    fn name(&self) -> &'static str {
        "dubbo"
    }

    fn title(&self) -> &'static str {
        "dubbo"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    /// Events do not tell who asks: either side sends them. A connection that is not used at once begins with one.
    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        match Header::of(bytes) {
            Some(header) if fresh && header.is_event && header.fits(&bytes[header::LENGTH..]) => {
                Verdict::Maybe
            }
            Some(header) if header.is_event || header.is_request != (direction == Direction::Requests) => {
                Verdict::No
            }
            Some(header) if header.fits(&bytes[header::LENGTH..]) => Verdict::Surely,
            None if fresh && bytes.len() < header::LENGTH && bytes.len() > 1 && bytes.starts_with(&MAGIC) => {
                Verdict::Maybe
            }
            _ => Verdict::No,
        }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Connection::default(), before))
    }

    fn has_keys(&self) -> bool {
        true
    }

    /// Semantic conventions of RPC.
    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("rpc.system", ValueRef::Text("apache_dubbo"));
        if exchange.status.failed
            && let Some(text) = exchange.status.text
        {
            tell("error.type", ValueRef::Text(text));
        }
    }
}

#[cfg(test)]
mod tests;
