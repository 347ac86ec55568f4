//! HTTP/1 framing (RFC 9112) over what a capture has of a connection: calls whose bytes may be missing.
//!
//! In: for each direction the calls in order, each as its length, first bytes and last bytes. Out: runs
//! of [`Part`]s that say what each byte is: head (to keep or to blank), framing, body, lost. The
//! recorder blanks by it before anything reaches the disk, and the analyzer finds messages by
//! it, so both see the same message boundaries. Nothing is guessed: after a hole whose extent
//! matters everything is [`What::Lost`] until a call begins with a message head.

mod familiar;
mod head;
mod lines;
mod names;
mod side;
mod target;

use std::collections::VecDeque;

pub use familiar::FamiliarLines;
pub use head::begins_head;
use side::{Memory, Side};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the requesting side.
    Requests,
    /// From the answering side.
    Responses,
}

/// What a run of bytes is. Markers have length 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Marker: a message begins at the next byte.
    Begin,
    /// Bytes of a head (start line, header names, harmless values) that may be kept.
    Head,
    /// Bytes of a head that must not be kept: values of query parameters and of headers not known to be harmless, and
    /// names that may be something else as long as their end is not seen.
    Secret,
    /// Marker: the head is complete.
    HeadEnd(HeadInfo),
    /// Line ends and chunk-size lines outside heads; without chunk extensions.
    Framing,
    /// Bytes of a body (also trailers and chunk extensions).
    Body,
    /// Marker: the message is complete. `exact`: at this very byte, else somewhere before it.
    End {
        /// The end is known to the byte.
        exact: bool,
    },
    /// Bytes that belong to no message we can place, or to one whose extent was lost with its head.
    Lost,
    /// Bytes after a switch of protocols (101) or a CONNECT.
    Tunnel,
}

/// What the framing learnt from a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadInfo {
    /// Status code of a response; None for a request.
    pub status: Option<u16>,
    /// `Content-Length`, where the message has a body by it.
    pub content_length: Option<u64>,
    /// The body is chunked.
    pub chunked: bool,
    /// A response without length: its body lasts until the connection is closed.
    pub until_close: bool,
}

/// A run of bytes of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes fed to this direction before this run.
    pub offset: u64,
    /// Length in bytes; 0 for markers.
    pub length: u64,
    /// What it is.
    pub what: What,
}

/// The data of one send or receive.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Bytes moved.
    pub length: u64,
    /// The first of them that are known.
    pub head: &'a [u8],
    /// The last of them that are known; does not overlap `head`.
    pub tail: &'a [u8],
}

/// Framing state of one connection.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    requests: Side,
    responses: Side,
    exchanges: Exchanges,
}

/// The request that a response answers decides whether that response has a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

/// Requests that wait for their response, in order.
#[derive(Clone, Debug, Default)]
struct Exchanges {
    waiting: VecDeque<Method>,
    /// Responses seen before their request: two threads of a client may report so.
    ahead: u32,
    /// A response switched the connection to another protocol.
    tunnel: bool,
}

/// Requests remembered at most; a peer that never answers must not cost memory.
const MAX_WAITING: usize = 4096;

impl Exchanges {
    fn request(&mut self, method: Method) {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(method);
        }
    }

    fn response(&mut self) -> Method {
        self.waiting.pop_front().unwrap_or_else(|| {
            self.ahead = self.ahead.saturating_add(1);
            Method::Other
        })
    }

    fn waiting_method(&self) -> Method {
        self.waiting.front().copied().unwrap_or_default()
    }
}

impl Framing {
    /// A connection of which nothing was seen yet.
    pub fn new() -> Framing {
        Framing::default()
    }

    /// A connection of which so many bytes of each direction went by unread.
    pub fn starting_at(requests: u64, responses: u64) -> Framing {
        Framing {
            requests: Side::starting_at(requests),
            responses: Side::starting_at(responses),
            ..Framing::default()
        }
    }

    /// Feeds one call. Appends to `parts`: they cover the call's bytes without gap or overlap, in order.
    pub fn call(&mut self, direction: Direction, call: Call<'_>, parts: &mut Vec<Part>) {
        self.read(direction, call, None, parts);
    }

    /// The same with header lines seen before, in this direction of this or of similar connections: faster, with the
    /// same result.
    pub fn call_like(
        &mut self,
        familiar: &mut FamiliarLines,
        direction: Direction,
        call: Call<'_>,
        parts: &mut Vec<Part>,
    ) {
        self.read(direction, call, Some(familiar), parts);
    }

    fn read(
        &mut self,
        direction: Direction,
        call: Call<'_>,
        mut familiar: Option<&mut FamiliarLines>,
        parts: &mut Vec<Part>,
    ) {
        let known = (call.head.len() + call.tail.len()) as u64;
        let hole = call.length.saturating_sub(known);
        let (side, exchanges) = self.side(direction);
        if call.tail.is_empty() && hole == 0 {
            return side.last_bytes(direction, call.head, true, Memory { exchanges, familiar }, parts);
        }
        let memory = Memory { exchanges: &mut *exchanges, familiar: familiar.as_deref_mut() };
        side.bytes(direction, call.head, true, memory, parts);
        side.hole(direction, hole, exchanges, parts);
        side.last_bytes(direction, call.tail, false, Memory { exchanges, familiar }, parts);
    }

    /// `length` bytes of this direction were not seen at all (events lost).
    pub fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let (side, exchanges) = self.side(direction);
        side.hole(direction, length, exchanges, parts);
    }

    /// The direction ended (FIN): ends a body that lasts until then.
    pub fn close(&mut self, direction: Direction, parts: &mut Vec<Part>) {
        self.side(direction).0.close(parts);
    }

    fn side(&mut self, direction: Direction) -> (&mut Side, &mut Exchanges) {
        match direction {
            Direction::Requests => (&mut self.requests, &mut self.exchanges),
            Direction::Responses => (&mut self.responses, &mut self.exchanges),
        }
    }
}

#[cfg(test)]
mod tests;
