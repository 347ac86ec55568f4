//! One direction of a connection: where in which message the next byte stands.

mod begin;
mod content;
mod lost;

use super::Exchanges;
use super::chunks::Chunk;
use super::familiar::Familiar;
use super::head::{Head, Read};
use super::preamble::Preamble;
use crate::parts::{Call, Direction, HeadInfo, Part, What, push};
use crate::queue::When;

/// One direction.
#[derive(Clone, Debug)]
pub(super) struct Side {
    direction: Direction,
    offset: u64,
    state: State,
    /// The head that is being read in [`State::StartLine`] and [`State::Head`].
    head: Option<Head>,
    /// Of the head that is being read.
    line: StartLine,
    /// Nothing has come but the addresses in front of the first request.
    fresh: bool,
    /// Line ends before the first byte that is none, as many as count.
    line_ends: u8,
    /// Only what framing needs may be kept.
    sparing: bool,
    /// The start line that goes on in another call came where we were lost in a message: if it is none, we still are.
    after_loss: bool,
    when: When,
}

/// Where a start line began.
#[derive(Clone, Copy, Debug, Default)]
struct StartLine {
    offset: u64,
    when: When,
    /// It is certain that it is one.
    certain: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between messages.
    Between,
    /// In the addresses in front of the first request.
    Preamble(Preamble),
    /// In a start line that goes on in another call.
    StartLine,
    Head,
    /// After the head of a response to an unknown request: whether this body follows, the next bytes tell.
    MayHaveBody(Content),
    Body {
        left: u64,
        /// The request waits for 100 (Continue) and none of its body was sent: it may never be.
        may_be_skipped: bool,
    },
    Chunked(Chunk),
    UntilClose,
    /// In a message, but not where. `chunked`: in its body, else perhaps in its head.
    LostInMessage {
        chunked: bool,
        /// It has no body, so that the head's end is its end.
        bodyless: bool,
        /// The last call ended a line.
        line_end: bool,
        /// The last call ended like a chunked body.
        ended: bool,
    },
    Lost,
    Tunnel,
}

/// How long a body is.
#[derive(Clone, Copy, Debug)]
enum Content {
    Length(u64),
    Chunked,
    UntilClose,
}

impl State {
    fn lost_in_message(chunked: bool, bodyless: bool) -> State {
        State::LostInMessage { chunked, bodyless, line_end: false, ended: false }
    }
}

impl Content {
    /// That which a head announces, if any.
    fn of(info: &HeadInfo) -> Option<Content> {
        match info.content_length {
            _ if info.chunked => Some(Content::Chunked),
            _ if info.until_close => Some(Content::UntilClose),
            Some(0) | None => None,
            Some(length) => Some(Content::Length(length)),
        }
    }

    fn begin(self, may_be_skipped: bool) -> State {
        match self {
            Content::Length(left) => State::Body { left, may_be_skipped },
            Content::Chunked => State::Chunked(Chunk::BEGIN),
            Content::UntilClose => State::UntilClose,
        }
    }
}

/// What a direction's bytes are read with.
pub(super) struct Memory<'a> {
    /// Requests that wait, of both directions.
    pub(super) exchanges: &'a mut Exchanges,
    /// What was seen before, where that is worth it.
    pub(super) familiar: Option<&'a mut Familiar>,
}

/// Some known bytes of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) bytes: &'a [u8],
    /// Known bytes that follow them, which must not be stored as they are.
    pub(super) after: &'a [u8],
    /// They are the first of the call.
    pub(super) first: bool,
    /// They are the last of the call.
    pub(super) last: bool,
}

impl Side {
    /// A direction whose next byte has this offset.
    pub(super) fn new(direction: Direction, offset: u64) -> Side {
        Side {
            direction,
            offset,
            state: State::Between,
            head: None,
            line: StartLine::default(),
            fresh: true,
            line_ends: 0,
            sparing: false,
            after_loss: false,
            when: When::default(),
        }
    }

    /// The bytes that follow are those of this call.
    pub(super) fn begin_call(&mut self, call: &Call<'_>) {
        self.when = When { sent: call.sent, start_ns: call.times_ns[0], end_ns: call.times_ns[1] };
    }

    /// So were those.
    pub(super) fn end_call(&mut self, exchanges: &mut Exchanges) {
        match self.direction {
            Direction::Requests => exchanges.answered = false,
            Direction::Responses => {
                exchanges.answering = matches!(
                    self.state,
                    State::StartLine
                        | State::Head
                        | State::Body { .. }
                        | State::Chunked(_)
                        | State::UntilClose
                );
            }
        }
    }

    /// From here on, only what framing needs may be kept.
    pub(super) fn spare(&mut self, spare: bool) {
        self.sparing = spare;
        if let Some(head) = &mut self.head {
            head.spare(spare);
        }
    }

    /// Known bytes.
    pub(super) fn bytes(&mut self, known: Known<'_>, memory: &mut Memory<'_>, parts: &mut Vec<Part>) {
        if known.bytes.is_empty() {
            return;
        }
        if known.first {
            self.resynchronise(known, memory.exchanges, parts);
        }
        if matches!(self.state, State::LostInMessage { .. }) {
            self.lose_count(memory.exchanges, true);
            return self.lost_bytes(known, parts);
        }
        let mut rest = known.bytes;
        while !rest.is_empty() {
            let used = self.some_bytes(rest, known.after, memory, parts);
            rest = &rest[used..];
        }
    }

    /// Reads some of `bytes`, which are not empty; returns how many. None only where they are to be read as something
    /// else.
    fn some_bytes(
        &mut self,
        bytes: &[u8],
        after: &[u8],
        memory: &mut Memory<'_>,
        parts: &mut Vec<Part>,
    ) -> usize {
        if memory.exchanges.tunnel && matches!(self.state, State::Between | State::Lost) {
            self.state = State::Tunnel;
        }
        match self.state {
            State::Between => self.between(bytes, after, memory, parts),
            State::Preamble(preamble) => self.preamble(preamble, bytes, memory.exchanges, parts),
            State::StartLine => self.start_line(bytes, after, memory.exchanges, parts),
            State::Head => self.head(bytes, memory, parts),
            State::MayHaveBody(content) => self.may_have_body(content, bytes, after, memory.exchanges, parts),
            State::Body { .. } | State::Chunked(Chunk::Data { .. }) => {
                self.counted(bytes.len() as u64, parts) as usize
            }
            State::Chunked(chunk) => self.chunk(chunk, bytes[0], parts),
            State::UntilClose => self.all(What::Body, bytes, parts),
            State::LostInMessage { .. } | State::Lost => {
                self.lose_count(memory.exchanges, true);
                self.all(What::Lost, bytes, parts)
            }
            State::Tunnel => self.all(What::Tunnel, bytes, parts),
        }
    }

    fn all(&mut self, what: What, bytes: &[u8], parts: &mut Vec<Part>) -> usize {
        self.push(what, bytes.len() as u64, parts);
        bytes.len()
    }

    /// The direction ended.
    pub(super) fn close(&mut self, parts: &mut Vec<Part>) {
        if matches!(self.state, State::UntilClose | State::MayHaveBody(Content::UntilClose)) {
            self.end(true, parts);
        }
    }

    fn end(&mut self, exact: bool, parts: &mut Vec<Part>) {
        self.push(What::End { exact }, 0, parts);
        self.state = State::Between;
    }

    fn push(&mut self, what: What, length: u64, parts: &mut Vec<Part>) {
        push(&mut self.offset, what, length, parts);
    }
}

/// Adds bytes of a head, which may be kept or not.
fn push_head_run(offset: &mut u64, keep: bool, length: usize, parts: &mut Vec<Part>) {
    if length > 0 {
        push(offset, if keep { What::Head } else { What::Secret }, length as u64, parts);
    }
}

/// Adds what was read of a head.
fn push_head(offset: &mut u64, read: Read, parts: &mut Vec<Part>) {
    push_head_run(offset, true, read.kept, parts);
    push_head_run(offset, false, read.blank, parts);
    push_head_run(offset, true, read.kept_after, parts);
}
