//! One direction of a connection: where in which message the next byte stands.

use std::mem::discriminant;

use super::chunks::{self, Chunk};
use super::exchanges::{Exchanges, Method, When};
use super::familiar::FamiliarLines;
use super::head::{Head, Read, Then};
use super::preamble::{self, Preamble};
use super::start_line::{Line, begins_head, surely_begins};
use super::{Call, Direction, HeadInfo, Part, What};

/// The end of a chunked body without trailers, with the line end before the last chunk.
const CHUNKED_END: &[u8] = b"\r\n0\r\n\r\n";
/// The end of a head, or of a chunked body.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";
const LINE_END: &[u8] = b"\r\n";

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
        State::LostInMessage { chunked, bodyless, line_end: false }
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
    /// Header lines seen before, where that is worth it.
    pub(super) familiar: Option<&'a mut FamiliarLines>,
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

    /// Bytes of a message that we are lost in. The last of a call may show that it ends here.
    fn lost_bytes(&mut self, known: Known<'_>, parts: &mut Vec<Part>) {
        let bytes = known.bytes;
        let State::LostInMessage { chunked, bodyless, line_end } = &mut self.state else {
            return;
        };
        let framing = [CHUNKED_END, EMPTY_LINE, LINE_END];
        let ending = framing.into_iter().find(|&end| bytes.ends_with(end));
        // All of what tells the end is framing, so that it tells it again after redaction.
        let (kept, ends) = match ending {
            _ if !known.last || !(*chunked || *bodyless) => (0, false),
            Some(LINE_END) if *chunked => (2, known.first && bytes == LINE_END && *line_end),
            Some(EMPTY_LINE) => (EMPTY_LINE.len(), true),
            Some(CHUNKED_END) if *chunked => (CHUNKED_END.len(), true),
            Some(CHUNKED_END) => (EMPTY_LINE.len(), true),
            _ => (0, false),
        };
        *line_end = kept > 0;
        self.push(What::Lost, (bytes.len() - kept) as u64, parts);
        self.push(What::Framing, kept as u64, parts);
        if ends {
            self.push(What::MayEnd, 0, parts);
        }
    }

    /// A call that begins with a head ends whatever we were lost in, where nothing else than a head can come.
    fn resynchronise(&mut self, known: Known<'_>, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        let requests = self.direction == Direction::Requests;
        let (may, end) = match self.state {
            // A request's body may hold anything; but after a final answer the client has no reason to send it.
            State::Body { may_be_skipped: true, .. } => (exchanges.answered, Some(true)),
            State::LostInMessage { .. } if requests => (exchanges.answered, Some(false)),
            State::LostInMessage { .. } => (exchanges.awaits_head(), Some(false)),
            State::StartLine if !self.line.certain => {
                let line = self.head.as_ref().map(|head| head.try_start_line(known.bytes, known.after));
                (matches!(line, Some(Line::Invalid { .. })), None)
            }
            State::Lost => (!(requests && (exchanges.connecting || exchanges.tunnel)), None),
            _ => return,
        };
        // After a loss the call may go on with a start line.
        let any_method = exchanges.answered;
        if !may || !surely_begins(self.direction, known.bytes, known.after, any_method) {
            if requests && exchanges.answered && end == Some(false) {
                // Perhaps the next message, of which nothing is known.
                self.state = State::lost_in_message(false, false);
            }
            return;
        }
        if let Some(exact) = end {
            self.push(What::End { exact }, 0, parts);
        }
        if matches!(self.state, State::StartLine) {
            self.lose_count(exchanges, true);
        }
        self.state = State::Between;
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

    fn between(
        &mut self,
        bytes: &[u8],
        after: &[u8],
        memory: &mut Memory<'_>,
        parts: &mut Vec<Part>,
    ) -> usize {
        // RFC 9112 section 2.2: line ends before a request line are ignored.
        if matches!(bytes[0], b'\r' | b'\n') {
            self.line_ends = self.line_ends.saturating_add(1);
            return self.all(What::Framing, &bytes[..1], parts);
        }
        let requests = self.direction == Direction::Requests;
        if bytes[0] == 0 && requests && self.fresh && self.line_ends == preamble::LINE_ENDS {
            self.state = State::Preamble(Preamble::HEADER);
            return 0;
        }
        if requests && memory.exchanges.connecting {
            return self.not_understood(bytes, memory.exchanges, parts);
        }
        let (parts_before, offset) = (parts.len(), self.offset);
        self.line = StartLine { offset, when: self.when, certain: true };
        self.push(What::Begin, 0, parts);
        let new = self.new_head();
        let head = self.head.insert(new);
        let line = head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts));
        if line == Line::Whole {
            self.begin(State::Head, memory.exchanges);
            return (self.offset - offset) as usize;
        }
        parts.truncate(parts_before);
        self.offset = offset;
        if let Line::Invalid { used } = line
            && requests
            && self.fresh
            && let Some(preamble) = head.is_preamble(bytes[used])
        {
            self.state = State::Preamble(preamble);
            return self.all(What::Framing, &bytes[..used], parts);
        }
        let line = if line == Line::Part { head.read_start_line(after, |_| {}) } else { line };
        let mut head = self.new_head();
        match line {
            Line::Invalid { .. } => return self.not_understood(bytes, memory.exchanges, parts),
            Line::Whole => {
                self.push(What::Begin, 0, parts);
                self.begin(State::StartLine, memory.exchanges);
            }
            Line::Part => {
                self.line.certain = false;
                self.push(What::MayBegin, 0, parts);
                head.tentative = true;
                self.state = State::StartLine;
            }
        }
        head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts));
        self.head = Some(head);
        bytes.len()
    }

    fn new_head(&self) -> Head {
        let mut head = Head::new(self.direction);
        head.spare(self.sparing);
        head
    }

    /// It is certain that a message begins with the current start line.
    fn begin(&mut self, state: State, exchanges: &mut Exchanges) {
        if self.direction == Direction::Requests {
            exchanges.begin(self.line.when);
        }
        self.fresh = false;
        self.state = state;
    }

    /// Nothing that begins here is a message.
    fn not_understood(&mut self, bytes: &[u8], exchanges: &mut Exchanges, parts: &mut Vec<Part>) -> usize {
        self.lose_count(exchanges, true);
        self.head = None;
        self.state = State::Lost;
        self.all(What::Lost, bytes, parts)
    }

    /// Messages may have come that were not understood or not seen. `seen`: some call moved them.
    fn lose_count(&mut self, exchanges: &mut Exchanges, seen: bool) {
        self.fresh = false;
        match self.direction {
            Direction::Requests => exchanges.unknown_requests(),
            Direction::Responses => exchanges.unknown_responses(seen),
        }
    }

    fn preamble(
        &mut self,
        preamble: Preamble,
        bytes: &[u8],
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        match preamble.step(bytes[0]) {
            preamble::Step::Is(what, next) => {
                self.state = State::Preamble(next);
                self.all(what, &bytes[..1], parts)
            }
            preamble::Step::End(what) => {
                (self.state, self.fresh) = (State::Between, false);
                self.all(what, &bytes[..1], parts)
            }
            preamble::Step::Invalid => self.not_understood(bytes, exchanges, parts),
        }
    }

    /// More of a start line that began in an earlier call.
    fn start_line(
        &mut self,
        bytes: &[u8],
        after: &[u8],
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        let Some(mut head) = self.head.take() else {
            return self.not_understood(bytes, exchanges, parts);
        };
        if !self.line.certain {
            let mut dry = head.clone();
            match dry.read_start_line(bytes, |_| {}) {
                Line::Invalid { used } => {
                    return self.no_start_line(&dry, bytes, used, exchanges, parts);
                }
                Line::Part if dry.read_start_line(after, |_| {}) != Line::Whole => {}
                Line::Part | Line::Whole => {
                    head.tentative = false;
                    self.confirm_line(parts);
                    if self.direction == Direction::Requests {
                        exchanges.begin(self.line.when);
                    }
                    self.fresh = false;
                }
            }
        }
        let before = self.offset;
        match head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts)) {
            Line::Whole => self.state = State::Head,
            Line::Part => {}
            // A line that is certain was read to its end before.
            Line::Invalid { .. } => return self.not_understood(bytes, exchanges, parts),
        }
        self.head = Some(head);
        (self.offset - before) as usize
    }

    fn confirm_line(&mut self, parts: &mut Vec<Part>) {
        self.line.certain = true;
        parts.push(Part { offset: self.line.offset, length: 0, what: What::Begin });
    }

    /// What began in an earlier call turns out to be no start line, after `used` of `bytes`. What of these shows that is
    /// kept, as it has to show it again after redaction.
    fn no_start_line(
        &mut self,
        head: &Head,
        bytes: &[u8],
        used: usize,
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        if self.direction == Direction::Requests
            && self.fresh
            && let Some(preamble) = head.is_preamble(bytes[used])
        {
            self.state = State::Preamble(preamble);
            return self.all(What::Framing, &bytes[..used], parts);
        }
        for &byte in &bytes[..used] {
            let what = if byte == b' ' { What::Head } else { What::Secret };
            self.push(what, 1, parts);
        }
        let shown = head.surplus(&bytes[used..]);
        let is_sign = shown == 1 && !bytes[used].is_ascii_alphanumeric();
        let what = if is_sign { What::Head } else { What::Secret };
        self.push(what, shown as u64, parts);
        self.lose_count(exchanges, true);
        self.state = State::Lost;
        used + shown
    }

    fn head(&mut self, bytes: &[u8], memory: &mut Memory<'_>, parts: &mut Vec<Part>) -> usize {
        let mut used = 0;
        while let (Some(head), false) = (&mut self.head, used == bytes.len()) {
            let read = head.read(&bytes[used..], memory.familiar.as_deref_mut());
            push_head(&mut self.offset, read, parts);
            used += read.length();
            match read.then {
                Then::More => {}
                Then::End => {
                    self.head_end(memory.exchanges, parts);
                    break;
                }
                Then::Invalid => {
                    // Nothing that follows is kept, so no end of a message may be found in it.
                    self.lose_head(memory.exchanges, false);
                    break;
                }
            }
        }
        used
    }

    fn head_end(&mut self, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        let Some(head) = self.head.take() else { return };
        let (answered, answers) = match self.direction {
            Direction::Requests => (Method::Other, None),
            Direction::Responses if head.is_interim() => (exchanges.next().0, None),
            Direction::Responses => exchanges.response(self.when),
        };
        let info = HeadInfo { answers, ..head.info(answered) };
        let tunnel = match info.status {
            Some(101) => true,
            Some(200..=299) => answered == Method::Connect,
            _ => false,
        };
        let (unclear, content) = (info.unclear, Content::of(&info));
        self.push(What::HeadEnd(info), 0, parts);
        if self.direction == Direction::Requests {
            exchanges.request(head.method);
        }
        self.state = match content {
            _ if unclear => {
                self.push(What::MayEnd, 0, parts);
                State::lost_in_message(false, false)
            }
            None => {
                self.end(true, parts);
                exchanges.tunnel |= tunnel;
                return;
            }
            Some(content) if answered == Method::Unknown => {
                self.push(What::MayEnd, 0, parts);
                State::MayHaveBody(content)
            }
            Some(content) => content.begin(head.expects_continue()),
        };
    }

    /// The bytes after the head of a response to an unknown request.
    fn may_have_body(
        &mut self,
        content: Content,
        bytes: &[u8],
        after: &[u8],
        exchanges: &Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        if exchanges.awaits_response() {
            if surely_begins(self.direction, bytes, after, true) {
                self.end(true, parts);
                return 0;
            }
            if after.is_empty() && begins_head(self.direction, bytes) {
                // Too few to tell.
                self.state = State::lost_in_message(false, false);
                return self.all(What::Framing, bytes, parts);
            }
        }
        self.state = content.begin(false);
        0
    }

    /// Consumes up to `available` bytes whose number is known, themselves known or not; returns how many.
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
            State::Chunked(Chunk::Data { left }) => {
                let used = available.min(*left);
                *left -= used;
                if *left == 0 {
                    self.state = State::Chunked(Chunk::DataEnd { carriage_return: false });
                }
                self.push(What::Body, used, parts);
                used
            }
            State::Preamble(Preamble::Addresses { left }) => {
                let used = available.min(u64::from(*left));
                *left -= used as u16;
                if *left == 0 {
                    (self.state, self.fresh) = (State::Between, false);
                }
                self.push(What::Secret, used, parts);
                used
            }
            _ => 0,
        }
    }

    fn chunk(&mut self, chunk: Chunk, byte: u8, parts: &mut Vec<Part>) -> usize {
        match chunk.step(byte) {
            chunks::Step::Is(what, next) => {
                self.state = State::Chunked(next);
                self.push(what, 1, parts);
            }
            chunks::Step::End => {
                self.push(What::Framing, 1, parts);
                self.end(true, parts);
            }
            chunks::Step::Invalid => {
                self.state = State::lost_in_message(true, false);
                self.push(What::Lost, 1, parts);
            }
        }
        1
    }

    /// Bytes of a call that are not known.
    pub(super) fn hole(&mut self, length: u64, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        if let State::MayHaveBody(content) = self.state {
            // A head would have been kept.
            self.state = content.begin(false);
        }
        self.unknown(length, true, exchanges, parts);
    }

    /// Bytes that no call is known to have moved.
    pub(super) fn gap(&mut self, length: u64, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        if self.direction == Direction::Requests {
            exchanges.answered = false;
        }
        self.unknown(length, false, exchanges, parts);
    }

    /// Bytes that are not known. `seen`: a call moved them.
    fn unknown(&mut self, length: u64, seen: bool, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        let mut left = length;
        while left > 0 {
            let used = self.counted(left, parts);
            if used == 0 {
                break;
            }
            left -= used;
        }
        if left == 0 {
            return;
        }
        if exchanges.tunnel && matches!(self.state, State::Between | State::Lost) {
            self.state = State::Tunnel;
        }
        let what = match &self.state {
            State::UntilClose => What::Body,
            State::Tunnel => What::Tunnel,
            _ => What::Lost,
        };
        self.lose(exchanges, seen, parts);
        self.push(what, left, parts);
    }

    /// The state after unknown bytes where their number does not help.
    fn lose(&mut self, exchanges: &mut Exchanges, seen: bool, parts: &mut Vec<Part>) {
        match self.state {
            State::UntilClose | State::Tunnel => return,
            State::StartLine => {
                let surely = self.head.as_ref().is_some_and(Head::is_surely_message);
                if surely && !self.line.certain {
                    self.confirm_line(parts);
                    if self.direction == Direction::Requests {
                        exchanges.begin(self.line.when);
                    }
                }
                if self.line.certain {
                    self.lose_head(exchanges, true);
                } else {
                    // It may have been one, with a body behind it.
                    self.head = None;
                    self.state = State::lost_in_message(false, false);
                }
            }
            State::Head => self.lose_head(exchanges, true),
            State::Between | State::Lost | State::Preamble(_) => self.state = State::Lost,
            State::Body { .. } | State::MayHaveBody(_) => {
                self.state = State::lost_in_message(false, false);
            }
            State::Chunked(_) => self.state = State::lost_in_message(true, false),
            State::LostInMessage { chunked, bodyless, .. } => {
                self.state = State::lost_in_message(chunked, bodyless);
            }
        }
        self.lose_count(exchanges, seen);
    }

    /// The rest of the head is not known. `ends`: where it has no body, its end may be seen yet.
    fn lose_head(&mut self, exchanges: &mut Exchanges, ends: bool) {
        let Some(head) = self.head.take() else { return };
        match self.direction {
            Direction::Requests => exchanges.request(head.method),
            Direction::Responses if head.is_interim() => {}
            Direction::Responses => {
                exchanges.response(self.when);
            }
        }
        self.state = State::lost_in_message(false, ends && head.seems_bodyless());
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

/// Adds what was read of a head.
fn push_head(offset: &mut u64, read: Read, parts: &mut Vec<Part>) {
    for (what, length) in [(What::Head, read.kept), (What::Secret, read.blank), (What::Head, read.kept_after)]
    {
        if length > 0 {
            push(offset, what, length as u64, parts);
        }
    }
}

/// Adds a run that begins at `offset`, or lengthens the last one.
#[inline]
fn push(offset: &mut u64, what: What, length: u64, parts: &mut Vec<Part>) {
    let marker = what.is_marker();
    if length == 0 && !marker {
        return;
    }
    let begin = *offset;
    *offset += length;
    if let Some(last) = parts.last_mut()
        && !marker
        && discriminant(&last.what) == discriminant(&what)
        && last.offset + last.length == begin
    {
        last.length += length;
        return;
    }
    parts.push(Part { offset: begin, length, what });
}
