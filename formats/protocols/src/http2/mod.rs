//! HTTP/2 (RFC 9113) in the clear, and gRPC in it.
//!
//! A stream that a client has begun is an exchange; its id is the key. The request lasts from the first byte
//! of its HEADERS to the frame with END_STREAM, the answer from its first HEADERS that announce nothing (1xx)
//! to its END_STREAM, trailers included. RST_STREAM, and GOAWAY for what it says will not be done, end an
//! exchange without an answer; RST_STREAM behind a whole answer does not. What the server pushes is no
//! exchange.
//!
//! * Operation, target, attributes: as of HTTP/1, method and path. Where the content type says gRPC the
//!   operation is `service/Method`, and status is that of gRPC, from trailers, or from the head where there
//!   are no others; if there is none, an HTTP status that is no 200 stands for it. Every status of gRPC but
//!   OK is a failure.
//! * Kept are headers of frames and, of header blocks, what keeps them readable: indexes, lengths, names, and
//!   values as of HTTP/1 with some of gRPC. [`hpack`] tells what becomes of the others.
//! * Not known are fields that stand in a table whose entries were not seen: of a connection that was there
//!   before the recording, or behind lost bytes. Then name and target are left out, never guessed
//!   ([`table`]). Whether such a request is gRPC is presumed from the connection's other messages.

mod field;
mod frame;
mod framing;
pub(crate) mod grpc;
mod head;
mod hpack;
mod huffman;
pub(crate) mod path;
mod recognise;
mod streams;
mod table;

use crate::frames::Framed;
use crate::http1;
use crate::operation::{Exchange, ValueRef};
use crate::parts::Direction;
use crate::protocol::{Framing, Keep, Protocol, Signature, Verdict};
use framing::Connection;

/// HTTP/2, with gRPC.
#[derive(Clone, Copy, Debug)]
pub struct Http2;

/// A header block of less than 64 KiB in one frame, of a stream below 16,777,216: that of a request among
/// other streams' frames, or of an answer behind them.
const SIGNATURES: [Signature; 1] =
    [Signature::masked(&[0, 0, 0, 1, 4, 0], &[0xff, 0, 0, 0xff, 0xd6, 0xff], Keep::Turn)];

impl Protocol for Http2 {
    fn name(&self) -> &'static str {
        "http2"
    }

    fn title(&self) -> &'static str {
        "HTTP"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
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

    /// The request is that of stream 1.
    fn framing_after_upgrade(&self) -> Option<(u64, Box<dyn Framing>)> {
        let (id, connection) = Connection::after_upgrade();
        Some((id.into(), Box::new(Framed::new(connection, None))))
    }

    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        if exchange.operation.protocol == Some(grpc::NAME) {
            grpc::attributes(exchange, tell);
        } else {
            http1::read::attributes(exchange, tell);
        }
    }
}

#[cfg(test)]
mod tests;
