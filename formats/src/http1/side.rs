//! One direction of a connection: where in which message the next byte stands.

use std::mem::discriminant;

use super::familiar::FamiliarLines;
use super::head::{Head, Read, Then, surely_begins_head};
use super::{Direction, Exchanges, HeadInfo, Method, Part, What};

/// The end of a chunked body without trailers, with the line end of the last chunk.
const CHUNKED_END: &[u8] = b"\r\n0\r\n\r\n";
/// Its own bytes.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// One direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    offset: u64,
    state: State,
    /// The head that is being read in [`State::Head`].
    head: Option<Head>,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// Between messages.
    #[default]
    Between,
    Head,
    Body {
        left: u64,
        /// The request waits for 100 (Continue) and none of its body was sent: it may never be.
        may_be_skipped: bool,
    },
    ChunkSize {
        size: u64,
        digits: u8,
        extension: bool,
    },
    ChunkData {
        left: u64,
    },
    ChunkEnd,
    Trailer {
        line_bytes: u32,
    },
    UntilClose,
    /// In a chunked body, but not where.
    LostInChunks,
    /// In a message whose head was cut. `ends_with_head`: it has no body, so the head's end is its end.
    LostInHead {
        ends_with_head: bool,
    },
    Lost,
    Tunnel,
}

/// Where a head stood when a call began.
struct Start {
    /// The head, if its start line was not whole.
    head: Option<Head>,
    parts: usize,
    last_length: u64,
}

/// What a direction's bytes are read with.
pub(super) struct Memory<'a> {
    /// Requests that wait, of both directions.
    pub(super) exchanges: &'a mut Exchanges,
    /// Header lines seen before, where that is worth it.
    pub(super) familiar: Option<&'a mut FamiliarLines>,
}

impl Side {
    /// A direction whose next byte has this offset.
    pub(super) fn starting_at(offset: u64) -> Side {
        Side { offset, ..Side::default() }
    }

    /// The known bytes at the end of a call. They may show where a message ends that we are lost in.
    pub(super) fn last_bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        call_start: bool,
        memory: Memory<'_>,
        parts: &mut Vec<Part>,
    ) {
        let lost = matches!(self.state, State::LostInChunks | State::LostInHead { .. });
        let kept = match self.state {
            _ if !lost || (call_start && surely_begins_head(direction, bytes)) => 0,
            // All of what tells the end is framing, so that it tells it again after redaction.
            State::LostInChunks if bytes.ends_with(CHUNKED_END) => CHUNKED_END.len(),
            State::LostInChunks if bytes == LAST_CHUNK => LAST_CHUNK.len(),
            State::LostInHead { ends_with_head: true } if bytes.ends_with(HEAD_END) => HEAD_END.len(),
            _ => 0,
        };
        if kept == 0 {
            return self.bytes(direction, bytes, call_start, memory, parts);
        }
        self.push(What::Lost, (bytes.len() - kept) as u64, parts);
        self.push(What::Framing, kept as u64, parts);
        if matches!(self.state, State::LostInHead { .. }) {
            self.push(What::HeadEnd(HeadInfo::default()), 0, parts);
        }
        self.end(true, parts);
    }

    /// Known bytes. `call_start`: they are the first of a call.
    pub(super) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        call_start: bool,
        memory: Memory<'_>,
        parts: &mut Vec<Part>,
    ) {
        let Memory { exchanges, mut familiar } = memory;
        if call_start {
            self.resynchronise(direction, bytes, parts);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.some_bytes(direction, rest, exchanges, familiar.as_deref_mut(), parts);
            rest = &rest[used..];
        }
    }

    /// A call that begins with a head ends whatever we were lost in.
    fn resynchronise(&mut self, direction: Direction, bytes: &[u8], parts: &mut Vec<Part>) {
        let exact = match self.state {
            State::Body { may_be_skipped: true, .. } => true,
            State::Lost | State::LostInChunks | State::LostInHead { .. } => false,
            _ => return,
        };
        if !surely_begins_head(direction, bytes) {
            return;
        }
        if !matches!(self.state, State::Lost) {
            self.push(What::End { exact }, 0, parts);
        }
        self.state = State::Between;
    }

    /// Reads some of `bytes`, which are not empty; returns how many. None only where they are to be read as something
    /// else.
    fn some_bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        exchanges: &mut Exchanges,
        familiar: Option<&mut FamiliarLines>,
        parts: &mut Vec<Part>,
    ) -> usize {
        if exchanges.tunnel && matches!(self.state, State::Between) {
            self.state = State::Tunnel;
        }
        match &mut self.state {
            State::Between => self.between(direction, bytes, parts),
            State::Head => self.head(direction, bytes, exchanges, familiar, parts),
            State::Body { .. } | State::ChunkData { .. } => self.counted(bytes.len() as u64, parts) as usize,
            State::ChunkSize { .. } => self.chunk_size(bytes[0], parts),
            State::ChunkEnd => self.chunk_end(bytes[0], parts),
            State::Trailer { .. } => self.trailer(bytes[0], parts),
            State::UntilClose => self.all(What::Body, bytes, parts),
            State::LostInChunks | State::LostInHead { .. } | State::Lost => {
                self.all(What::Lost, bytes, parts)
            }
            State::Tunnel => self.all(What::Tunnel, bytes, parts),
        }
    }

    fn all(&mut self, what: What, bytes: &[u8], parts: &mut Vec<Part>) -> usize {
        self.push(what, bytes.len() as u64, parts);
        bytes.len()
    }

    fn between(&mut self, direction: Direction, bytes: &[u8], parts: &mut Vec<Part>) -> usize {
        // RFC 9112 section 2.2: line ends before a request line are ignored.
        if matches!(bytes[0], b'\r' | b'\n') {
            self.push(What::Framing, 1, parts);
            return 1;
        }
        let (parts_before, offset) = (parts.len(), self.offset);
        self.push(What::Begin, 0, parts);
        let mut head = Head::new(direction);
        if head.read_start_line(direction, bytes, |read| self.push_head(read, parts)) {
            self.state = State::Head;
            self.head = Some(head);
            return (self.offset - offset) as usize;
        }
        parts.truncate(parts_before);
        self.offset = offset;
        self.state = State::Lost;
        self.all(What::Lost, bytes, parts)
    }

    fn head(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        exchanges: &mut Exchanges,
        mut familiar: Option<&mut FamiliarLines>,
        parts: &mut Vec<Part>,
    ) -> usize {
        let start = Start {
            head: self.head.as_ref().filter(|head| head.in_start_line()).cloned(),
            parts: parts.len(),
            last_length: parts.last().map_or(0, |part| part.length),
        };
        let mut used = 0;
        while let (Some(head), false) = (&mut self.head, used == bytes.len()) {
            let read = head.read(&bytes[used..], familiar.as_deref_mut());
            self.push_head(read, parts);
            used += read.length();
            match read.then {
                Then::More => {}
                Then::End => {
                    self.head_end(direction, exchanges, parts);
                    break;
                }
                Then::Invalid => {
                    used -= self.take_back(start, used, parts);
                    self.lose(direction, exchanges);
                    // Nothing that follows is kept, so no end of a message may be found in it.
                    self.state = State::LostInHead { ends_with_head: false };
                    break;
                }
            }
        }
        used
    }

    /// Takes back what was read since the start of a call, where it was of a start line that is none; returns how many
    /// bytes.
    fn take_back(&mut self, start: Start, used: usize, parts: &mut Vec<Part>) -> usize {
        if start.head.is_none() || !self.head.as_ref().is_some_and(Head::in_start_line) {
            return 0;
        }
        parts.truncate(start.parts);
        if let Some(last) = parts.last_mut() {
            last.length = start.last_length;
        }
        self.offset -= used as u64;
        self.head = start.head;
        used
    }

    fn push_head(&mut self, read: Read, parts: &mut Vec<Part>) {
        for (what, length) in
            [(What::Head, read.kept), (What::Secret, read.blank), (What::Head, read.kept_after)]
        {
            if length > 0 {
                self.push(what, length as u64, parts);
            }
        }
    }

    fn head_end(&mut self, direction: Direction, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        let Some(head) = self.head.take() else { return };
        let answers = exchanges.waiting_method();
        let info = head.info(answers);
        self.push(What::HeadEnd(info.clone()), 0, parts);
        let tunnel = match info.status {
            Some(101) => true,
            Some(200..=299) => answers == Method::Connect,
            _ => false,
        };
        match direction {
            Direction::Requests => exchanges.request(head.method()),
            Direction::Responses if matches!(info.status, Some(100 | 102..=199)) => {}
            Direction::Responses => {
                exchanges.response();
            }
        }
        self.state = if info.chunked {
            State::ChunkSize { size: 0, digits: 0, extension: false }
        } else if let Some(left @ 1..) = info.content_length {
            State::Body { left, may_be_skipped: head.expects_continue() }
        } else if info.until_close {
            State::UntilClose
        } else {
            self.end(true, parts);
            exchanges.tunnel |= tunnel;
            return;
        };
    }

    /// Consumes up to `available` bytes of a body or chunk, known or not; returns how many.
    fn counted(&mut self, available: u64, parts: &mut Vec<Part>) -> u64 {
        match &mut self.state {
            State::Body { left, may_be_skipped } => {
                let used = available.min(*left);
                *left -= used;
                *may_be_skipped = false;
                let done = *left == 0;
                self.push(What::Body, used, parts);
                if done {
                    self.end(true, parts);
                }
                used
            }
            State::ChunkData { left } => {
                let used = available.min(*left);
                *left -= used;
                if *left == 0 {
                    self.state = State::ChunkEnd;
                }
                self.push(What::Body, used, parts);
                used
            }
            _ => 0,
        }
    }

    fn chunk_size(&mut self, byte: u8, parts: &mut Vec<Part>) -> usize {
        let State::ChunkSize { size, digits, extension } = &mut self.state else { return 0 };
        let what = match byte {
            b'\n' if *digits > 0 => {
                let size = *size;
                self.push(What::Framing, 1, parts);
                self.state = if size == 0 {
                    State::Trailer { line_bytes: 0 }
                } else {
                    State::ChunkData { left: size }
                };
                return 1;
            }
            b'\r' => What::Framing,
            b';' if *digits > 0 => {
                *extension = true;
                What::Framing
            }
            _ if *extension => What::Body,
            b' ' | b'\t' if *digits > 0 => What::Framing,
            _ => match (byte as char).to_digit(16) {
                Some(digit) if *digits < 15 => {
                    *size = *size * 16 + u64::from(digit);
                    *digits += 1;
                    What::Framing
                }
                _ => {
                    self.state = State::LostInChunks;
                    What::Lost
                }
            },
        };
        self.push(what, 1, parts);
        1
    }

    fn chunk_end(&mut self, byte: u8, parts: &mut Vec<Part>) -> usize {
        let what = match byte {
            b'\r' => What::Framing,
            b'\n' => {
                self.state = State::ChunkSize { size: 0, digits: 0, extension: false };
                What::Framing
            }
            _ => {
                self.state = State::LostInChunks;
                What::Lost
            }
        };
        self.push(what, 1, parts);
        1
    }

    fn trailer(&mut self, byte: u8, parts: &mut Vec<Part>) -> usize {
        let State::Trailer { line_bytes } = &mut self.state else { return 0 };
        match (byte, *line_bytes) {
            (b'\n', 0) => {
                self.push(What::Framing, 1, parts);
                self.end(true, parts);
            }
            (b'\r', _) => self.push(What::Framing, 1, parts),
            (b'\n', _) => {
                *line_bytes = 0;
                self.push(What::Framing, 1, parts);
            }
            _ => {
                *line_bytes = line_bytes.saturating_add(1);
                self.push(What::Body, 1, parts);
            }
        }
        1
    }

    /// Bytes of a call that were not kept.
    pub(super) fn hole(
        &mut self,
        direction: Direction,
        length: u64,
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) {
        let mut left = length;
        while left > 0 && matches!(self.state, State::Body { .. } | State::ChunkData { .. }) {
            left -= self.counted(left, parts);
        }
        if left == 0 {
            return;
        }
        if exchanges.tunnel && matches!(self.state, State::Between) {
            self.state = State::Tunnel;
        }
        let what = match &self.state {
            State::UntilClose => What::Body,
            State::Tunnel => What::Tunnel,
            _ => What::Lost,
        };
        self.lose(direction, exchanges);
        self.push(what, left, parts);
    }

    /// The state after unknown bytes where their number does not help.
    fn lose(&mut self, direction: Direction, exchanges: &mut Exchanges) {
        self.state = match (std::mem::take(&mut self.state), self.head.take()) {
            (State::Head, Some(head)) => {
                match direction {
                    Direction::Requests => exchanges.request(head.method()),
                    Direction::Responses => {
                        exchanges.response();
                    }
                }
                State::LostInHead { ends_with_head: head.bodyless_method() }
            }
            (State::Between | State::Lost | State::Head, _) => State::Lost,
            (State::ChunkSize { .. } | State::ChunkEnd | State::Trailer { .. }, _) => State::LostInChunks,
            (same, _) => same,
        };
    }

    /// The direction ended.
    pub(super) fn close(&mut self, parts: &mut Vec<Part>) {
        if matches!(self.state, State::UntilClose) {
            self.end(true, parts);
        }
    }

    fn end(&mut self, exact: bool, parts: &mut Vec<Part>) {
        self.push(What::End { exact }, 0, parts);
        self.state = State::Between;
    }

    /// Adds a run, or lengthens the last one.
    #[inline]
    fn push(&mut self, what: What, length: u64, parts: &mut Vec<Part>) {
        let marker = matches!(what, What::Begin | What::HeadEnd(_) | What::End { .. });
        if length == 0 && !marker {
            return;
        }
        let offset = self.offset;
        self.offset += length;
        if let Some(last) = parts.last_mut()
            && !marker
            && discriminant(&last.what) == discriminant(&what)
            && last.offset + last.length == offset
        {
            last.length += length;
            return;
        }
        parts.push(Part { offset, length, what });
    }
}
