//! HTTP/1 framing (RFC 9112) over what a capture has of a connection: calls whose bytes may be missing.
//!
//! In: for each direction the calls in order, each as its length, first bytes and last bytes. Out: runs
//! of [`Part`]s that say what each byte is: head (to keep or to blank), framing, body, lost. Nothing is guessed: after a hole whose extent
//! matters everything is [`What::Lost`] until a call begins with a message head.

mod chunks;
mod familiar;
pub(crate) mod head;
mod length;
mod lines;
mod method;
pub(crate) mod names;
mod preamble;
pub(crate) mod read;
mod secrets;
mod side;
mod start_line;
pub(crate) mod target;
mod upgrade;

use std::ops::Range;

use memchr::memchr;

use crate::operation::{Exchange, Operation, Status, ValueRef};
use crate::parts::{Call, Direction, Part};
use crate::protocol::{Framing, Keep, Memory, Protocol, Signature, Verdict};
use crate::queue::Queue;
pub use familiar::Familiar;
use method::Method;
use names::{begins_known_method, may_become_method};
use side::{Known, Side};
use start_line::{begins_head, surely_begins};

/// HTTP/1.0 and HTTP/1.1.
#[derive(Clone, Copy, Debug)]
pub struct Http1;

/// A response, and the line that a proxy puts in front of a request. A request line may begin with any word, which the
/// kernel programs know by its grammar.
const SIGNATURES: [Signature; 2] =
    [Signature::of(b"HTTP/1.", Keep::Head), Signature::of(b"PROXY ", Keep::HeadBehindLine)];

/// Longest method that is taken for one before its line goes on.
const MAX_WORD_BYTES: usize = 16;

impl Protocol for Http1 {
    fn name(&self) -> &'static str {
        "http"
    }

    fn title(&self) -> &'static str {
        "HTTP"
    }

    fn signatures(&self) -> &'static [Signature] {
        &SIGNATURES
    }

    fn recognise(&self, direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
        // What a connection is in the middle of may begin with the rest of a method.
        if surely_begins(direction, bytes, &[], fresh) {
            return Verdict::Surely;
        }
        // A few bytes that merely could begin a message are not enough, unless they are the first, and may be a method.
        let word = bytes.strip_suffix(b" ").unwrap_or(bytes);
        let is_word = (1..=MAX_WORD_BYTES).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
        if fresh && direction == Direction::Requests && is_word {
            return Verdict::Maybe;
        }
        // Some servers take the first byte of a request alone.
        let enough = match direction {
            Direction::Requests => fresh || memchr(b' ', bytes).is_some() || may_become_method(bytes),
            Direction::Responses => bytes.len() >= b"HTTP/1.".len(),
        };
        let is_known = || {
            fresh
                || direction == Direction::Responses
                || begins_known_method(bytes)
                || may_become_method(bytes)
        };
        if enough && begins_head(direction, bytes) && is_known() { Verdict::Maybe } else { Verdict::No }
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(match before {
            None => Connection::new(),
            Some([requests, responses]) => Connection::starting_at(requests, responses),
        })
    }

    fn read(&self, direction: Direction, head: &[u8], last: &Operation) -> Operation {
        read::read(direction, head, last)
    }

    fn secret_values(
        &self,
        parts: &[Part],
        head: &[u8],
        stored: usize,
        tell: &mut dyn FnMut(&[u8], Range<usize>),
    ) {
        secrets::values(parts, head, stored, tell);
    }

    fn is_final(&self, status: Status) -> bool {
        !matches!(status.code, Some(100 | 102..=199))
    }

    fn failed(&self, status: Status) -> bool {
        status.code.is_some_and(|code| code >= 500)
    }

    fn attributes(&self, exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        read::attributes(exchange, tell);
    }
}

type Exchanges = Queue<Method>;

/// Framing state of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: Side,
    responses: Side,
    exchanges: Exchanges,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection::new()
    }
}

impl Connection {
    /// A connection that will be seen from its first byte.
    pub fn new() -> Connection {
        Connection {
            requests: Side::new(Direction::Requests, 0),
            responses: Side::new(Direction::Responses, 0),
            exchanges: Exchanges::new(true),
        }
    }

    /// A connection that existed before, or of which so many bytes of each direction went by unread: requests may wait
    /// already.
    pub fn starting_at(requests: u64, responses: u64) -> Connection {
        Connection {
            requests: Side::new(Direction::Requests, requests),
            responses: Side::new(Direction::Responses, responses),
            exchanges: Exchanges::new(false),
        }
    }

    /// Reads a call, as [`Framing::call`] does, with what was seen before, in this direction of this or of similar
    /// connections, or without: that changes nothing but the time it takes.
    pub fn call(
        &mut self,
        direction: Direction,
        call: Call<'_>,
        familiar: Option<&mut Familiar>,
        parts: &mut Vec<Part>,
    ) {
        let known = (call.head.len() + call.tail.len()) as u64;
        let hole = call.length.saturating_sub(known);
        let (side, exchanges) = self.side(direction);
        side.begin_call(&call);
        let mut memory = side::Memory { exchanges, familiar };
        let (first, spared) = call.head.split_at(call.head.len().saturating_sub(call.spare));
        let last = hole == 0 && call.tail.is_empty();
        let known = Known { bytes: first, after: spared, first: true, last: last && spared.is_empty() };
        side.bytes(known, &mut memory, parts);
        if !spared.is_empty() {
            side.spare(true);
            let known = Known { bytes: spared, after: &[], first: first.is_empty(), last };
            side.bytes(known, &mut memory, parts);
            side.spare(false);
        }
        if hole > 0 {
            side.hole(hole, memory.exchanges, parts);
        }
        let known = Known { bytes: call.tail, after: &[], first: false, last: true };
        side.bytes(known, &mut memory, parts);
        side.end_call(memory.exchanges);
    }

    fn side(&mut self, direction: Direction) -> (&mut Side, &mut Exchanges) {
        match direction {
            Direction::Requests => (&mut self.requests, &mut self.exchanges),
            Direction::Responses => (&mut self.responses, &mut self.exchanges),
        }
    }
}

impl Framing for Connection {
    fn call(&mut self, direction: Direction, call: Call<'_>, memory: &mut Memory, parts: &mut Vec<Part>) {
        Connection::call(self, direction, call, Some(memory.of()), parts);
    }

    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let (side, exchanges) = self.side(direction);
        side.gap(length, exchanges, parts);
    }

    /// Ends a body that lasts until then.
    fn close(&mut self, direction: Direction, parts: &mut Vec<Part>) {
        self.side(direction).0.close(parts);
    }
}

#[cfg(test)]
mod tests;
