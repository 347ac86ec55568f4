//! HTTP/1 framing (RFC 9112) over what a capture has of a connection: calls whose bytes may be missing.
//!
//! In: for each direction the calls in order, each as its length, first bytes and last bytes. Out: runs
//! of [`Part`]s that say what each byte is: head (to keep or to blank), framing, body, lost. The
//! recorder blanks by it before anything reaches the disk, and the analyzer finds messages by
//! it, so both see the same message boundaries. Nothing is guessed: after a hole whose extent
//! matters everything is [`What::Lost`] until a call begins with a message head.

mod chunks;
mod exchanges;
mod familiar;
mod head;
mod length;
mod lines;
mod names;
mod preamble;
mod side;
mod start_line;
mod target;

use exchanges::Exchanges;
pub use familiar::FamiliarLines;
use side::{Known, Memory, Side};
pub use start_line::{begins_head, surely_begins_head};

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
    /// Marker: a message may begin at the next byte; its start line goes on in another call, and its end decides.
    /// [`What::Begin`] with the same offset confirms it; without one it was none.
    MayBegin,
    /// Marker: a message begins at the next byte, or, where its start line came in several calls, began at this earlier
    /// offset.
    Begin,
    /// Bytes of a head (start line, header names, harmless values) that may be kept.
    Head,
    /// Bytes of a head that must not be kept: values of query parameters and of headers not known to be harmless, and what
    /// may be something else as long as its end is not seen. Also chunk extensions, trailers, and addresses in front of
    /// the first request.
    Secret,
    /// Marker: the head is complete.
    HeadEnd(HeadInfo),
    /// Line ends and chunk-size lines outside heads, without chunk extensions, and what frames the addresses in front of the
    /// first request.
    Framing,
    /// Bytes of a body.
    Body,
    /// Marker: the message is complete. `exact`: at this very byte, else somewhere before it.
    End {
        /// The end is known to the byte.
        exact: bool,
    },
    /// Marker: the message that has begun may be complete at this byte. Where it ends is not known: its extent was lost
    /// and the call ends as a message ends, or its head does not tell (a body may follow, as the request is not
    /// known or the head contradicts itself). If anything but [`What::End`] with this very offset or [`What::Begin`]
    /// follows in this direction (body, framing, lost bytes, an end further on), the message was not complete here. If
    /// nothing follows, only evidence from elsewhere can tell: that the other side went on, or that nothing was owed
    /// when the connection ended.
    MayEnd,
    /// Bytes that belong to no message we can place, or to one whose extent was lost with its head.
    Lost,
    /// Bytes after a switch of protocols (101) or a CONNECT.
    Tunnel,
}

impl What {
    /// It says something about the bytes around it, and has none itself.
    pub fn is_marker(&self) -> bool {
        use What::{Begin, End, HeadEnd, MayBegin, MayEnd};
        matches!(self, MayBegin | Begin | HeadEnd(_) | End { .. } | MayEnd)
    }
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
    /// The head says nothing about the extent of the message that could be relied on: its fields contradict each other
    /// or are malformed (RFC 9112 section 6.3).
    pub unclear: bool,
    /// The request that a final response answers, by its place among the [`What::Begin`] of the other direction, from 0.
    /// None where that is not certain, for interim responses and for requests.
    pub answers: Option<u64>,
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Bytes moved.
    pub length: u64,
    /// The first of them that are known.
    pub head: &'a [u8],
    /// The last of them that are known; does not overlap `head`.
    pub tail: &'a [u8],
    /// They were sent, not received.
    pub sent: bool,
    /// When the call was entered and when it returned, ns of any one clock.
    pub times_ns: [i64; 2],
}

/// Framing state of one connection.
#[derive(Clone, Debug)]
pub struct Framing {
    requests: Side,
    responses: Side,
    exchanges: Exchanges,
}

impl Default for Framing {
    fn default() -> Framing {
        Framing::new()
    }
}

impl Framing {
    /// A connection that will be seen from its first byte.
    pub fn new() -> Framing {
        Framing {
            requests: Side::new(Direction::Requests, 0),
            responses: Side::new(Direction::Responses, 0),
            exchanges: Exchanges::new(true),
        }
    }

    /// A connection that existed before, or of which so many bytes of each direction went by unread: requests may wait
    /// already.
    pub fn starting_at(requests: u64, responses: u64) -> Framing {
        Framing {
            requests: Side::new(Direction::Requests, requests),
            responses: Side::new(Direction::Responses, responses),
            exchanges: Exchanges::new(false),
        }
    }

    /// Feeds one call. Appends to `parts`: they cover the call's bytes without gap or overlap, in order.
    pub fn call(&mut self, direction: Direction, call: Call<'_>, parts: &mut Vec<Part>) {
        self.read(direction, call, usize::MAX, None, parts);
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
        self.read(direction, call, usize::MAX, Some(familiar), parts);
    }

    /// The same where only the first `stored` bytes of `call.head` may be stored as they are: of the others, that
    /// alone is [`What::Head`] which framing needs (start lines without their target, line ends, the fields that say how
    /// long a message is or what becomes of the connection).
    pub fn call_sparing(
        &mut self,
        familiar: &mut FamiliarLines,
        direction: Direction,
        call: Call<'_>,
        stored: usize,
        parts: &mut Vec<Part>,
    ) {
        self.read(direction, call, stored, Some(familiar), parts);
    }

    fn read(
        &mut self,
        direction: Direction,
        call: Call<'_>,
        stored: usize,
        familiar: Option<&mut FamiliarLines>,
        parts: &mut Vec<Part>,
    ) {
        let known = (call.head.len() + call.tail.len()) as u64;
        let hole = call.length.saturating_sub(known);
        let (side, exchanges) = self.side(direction);
        side.begin_call(&call);
        let mut memory = Memory { exchanges, familiar };
        let (first, spared) = call.head.split_at(stored.min(call.head.len()));
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

    /// `length` bytes of this direction were not seen at all (events lost).
    pub fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let (side, exchanges) = self.side(direction);
        side.gap(length, exchanges, parts);
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
