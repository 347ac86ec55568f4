//! Frames to messages: a stream is an exchange, its HEADERS begin the messages, END_STREAM ends them.

use super::frame::{Fragments, HEADER, Header, PREFACE, kind};
use super::head::{Head, Operations};
use super::hpack::{Decoder, Read};
use super::recognise;
use super::streams::{Answer, Stream, Streams};
use crate::frames::{Codec, Frame, MAX_HEAD, Measure, Runs, Say};
use crate::parts::{Direction, HeadInfo};

/// The exchange of what belongs to none: no stream of a request has this id.
const NOBODY: u64 = 0;

/// The byte of a frame's header that says its type.
const TYPE: usize = 3;

/// The error code that says there was none.
const NO_ERROR: u32 = 0;

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    sides: [Side; 2],
    streams: Streams,
    /// What the last requests were that said it.
    grpc: bool,
    operations: Operations,
    fragments: Fragments,
    block: Vec<u8>,
}

/// What is known of one direction.
#[derive(Debug, Default)]
struct Side {
    decoder: Decoder,
    /// Of frames that are read as one: where the next of them begins.
    next: usize,
    /// The exchange whose bytes came last; None where that is not certain.
    current: Option<u64>,
}

impl Connection {
    /// A connection that was asked to change to this protocol by a request of another one, which is that of this
    /// stream.
    pub(super) fn after_upgrade() -> (u32, Connection) {
        const FIRST: u32 = 1;
        let mut connection = Connection::default();
        connection.streams.begin(FIRST, Stream { begun: true, asked: true, ..Stream::default() });
        (FIRST, connection)
    }

    fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction as usize]
    }

    /// The frame goes on with this exchange.
    fn resume(&mut self, direction: Direction, key: u64, say: &mut Say) {
        let current = &mut self.side(direction).current;
        if *current != Some(key) {
            *current = Some(key);
            say.resume(key);
        }
    }

    /// The frame is one of the connection.
    fn nobody(&mut self, direction: Direction, say: &mut Say) {
        self.resume(direction, NOBODY, say);
    }

    fn begin(&mut self, direction: Direction, info: HeadInfo, say: &mut Say) {
        self.side(direction).current = info.key;
        say.begin();
        say.head(info);
    }

    fn end(&mut self, direction: Direction, say: &mut Say) {
        self.side(direction).current = Some(NOBODY);
        say.end();
    }

    /// Reads the header block in a head, and says what of it may be kept.
    fn block(&mut self, frame: &Frame<'_>, say: &mut Say) -> Head {
        self.fragments.find(frame.head);
        self.block.clear();
        for (_, range) in &self.fragments.ranges {
            self.block.extend_from_slice(&frame.head[range.clone()]);
        }
        let mut head = Head::default();
        let decoder = &mut self.sides[frame.direction as usize].decoder;
        let read = decoder.read(&mut self.block, self.fragments.whole, |name, field| head.field(name, field));
        if read == Read::Bad {
            head = Head::default();
        }
        head.incomplete |= read != Read::Whole;
        say.keeps(self.runs(frame.head));
        head
    }

    /// The frames that a block was read from: as they came but for what was made of the block, and without
    /// their padding.
    fn runs(&self, head: &[u8]) -> Runs {
        let mut runs = Runs::default();
        let mut block = &self.block[..];
        for (begin, range) in &self.fragments.ranges {
            runs.blank(begin - runs.at());
            runs.keep(range.start - begin);
            let (fragment, rest) = block.split_at(range.len());
            block = rest;
            if *fragment == head[range.clone()] {
                runs.keep(fragment.len());
            } else {
                runs.instead(fragment.to_vec());
            }
        }
        runs
    }

    fn headers(&mut self, header: Header, frame: &Frame<'_>, say: &mut Say) {
        let head = self.block(frame, say);
        match frame.direction {
            Direction::Requests => self.request(header, head, say),
            Direction::Responses => self.answer(header, head, say),
        }
    }

    fn request(&mut self, header: Header, head: Head, say: &mut Say) {
        let (direction, id) = (Direction::Requests, header.stream);
        if self.streams.has(id) {
            // Trailers.
            return self.request_goes_on(header, say);
        }
        if !self.streams.is_new(id) || !head.is_request {
            self.streams.seen(id);
            return self.nobody(direction, say);
        }
        let grpc = match head.is_grpc {
            None if head.incomplete => self.grpc,
            known => known.unwrap_or(false),
        };
        self.grpc = grpc;
        let operation = Some(self.operations.of(head, grpc));
        self.begin(direction, HeadInfo { key: Some(id.into()), operation, ..HeadInfo::default() }, say);
        let early = self.streams.end(id).unwrap_or_default();
        self.streams.begin(id, Stream { grpc, begun: true, ..early });
        self.request_end(header, say);
    }

    /// Content of a request, or its trailers.
    fn request_goes_on(&mut self, header: Header, say: &mut Say) {
        let id = header.stream;
        if self.streams.get(id).is_none_or(|stream| stream.asked || !stream.begun) {
            self.streams.seen(id);
            return self.nobody(Direction::Requests, say);
        }
        self.resume(Direction::Requests, id.into(), say);
        self.request_end(header, say);
    }

    fn request_end(&mut self, header: Header, say: &mut Say) {
        if !header.ends_stream() {
            return;
        }
        self.end(Direction::Requests, say);
        if let Some(stream) = self.streams.get(header.stream) {
            stream.asked = true;
            if stream.answer == Answer::Done {
                self.streams.end(header.stream);
            }
        }
    }

    fn answer(&mut self, header: Header, head: Head, say: &mut Say) {
        let (direction, id) = (Direction::Responses, header.stream);
        self.grpc |= head.is_grpc == Some(true);
        let Some(stream) = self.streams.get(id) else {
            return self.early_answer(header, head, say);
        };
        let (grpc, status) = (stream.grpc, head.answer(stream.grpc));
        match stream.answer {
            Answer::None if head.is_interim() => return self.nobody(direction, say),
            Answer::None if stream.missed && !head.has_status(grpc) => {
                return self.unknown_answer(header, say);
            }
            Answer::None => {
                stream.answer = Answer::Begun;
                self.begin(direction, HeadInfo { key: Some(id.into()), status, ..HeadInfo::default() }, say);
            }
            Answer::Begun => {
                self.resume(direction, id.into(), say);
                if grpc && head.has_status(grpc) {
                    say.status(status);
                }
            }
            Answer::Done => return self.nobody(direction, say),
        }
        self.answer_end(header, say);
    }

    /// The answer to a request that has not come: two threads of a client may be reported so, or the request is older than
    /// what was seen.
    fn early_answer(&mut self, header: Header, head: Head, say: &mut Say) {
        let (direction, id) = (Direction::Responses, header.stream);
        if !self.streams.is_new(id) || !head.has_status(false) || head.is_interim() {
            self.streams.seen(id);
            return self.nobody(direction, say);
        }
        let grpc = head.is_grpc.unwrap_or(self.grpc);
        let status = head.answer(grpc);
        self.streams.begin_answered(id, grpc);
        self.begin(direction, HeadInfo { key: Some(id.into()), status, ..HeadInfo::default() }, say);
        self.answer_end(header, say);
    }

    /// Part of an answer whose head, with its status, was lost.
    fn unknown_answer(&mut self, header: Header, say: &mut Say) {
        if header.ends_stream() {
            self.streams.end(header.stream);
        }
        self.nobody(Direction::Responses, say);
    }

    fn answer_end(&mut self, header: Header, say: &mut Say) {
        if !header.ends_stream() {
            return;
        }
        self.end(Direction::Responses, say);
        if let Some(stream) = self.streams.get(header.stream) {
            stream.answer = Answer::Done;
            if stream.asked {
                self.streams.end(header.stream);
            }
        }
    }

    fn content(&mut self, direction: Direction, header: Header, say: &mut Say) {
        if direction == Direction::Requests {
            return self.request_goes_on(header, say);
        }
        match self.streams.get(header.stream).map(|stream| stream.answer) {
            Some(Answer::Begun) => {
                self.resume(direction, header.stream.into(), say);
                self.answer_end(header, say);
            }
            Some(Answer::None) => self.unknown_answer(header, say),
            Some(Answer::Done) | None => {
                self.streams.seen(header.stream);
                self.nobody(direction, say);
            }
        }
    }

    /// Either side gives up a stream. A server that has answered may say so, too: that it wants no more of
    /// the request (RFC 9113, section 8.1).
    fn reset(&mut self, frame: &Frame<'_>, id: u32, say: &mut Say) {
        self.nobody(frame.direction, say);
        let Some(stream) = self.streams.end(id) else { return };
        let is_fine = frame.direction == Direction::Responses && number(frame.head) == Some(NO_ERROR);
        let may_be_done = is_fine && stream.missed;
        if stream.answer != Answer::Done && !may_be_done {
            say.cancelled(id.into());
        }
    }

    /// What the server has not begun to do up to now it will not do (RFC 9113, section 6.8).
    fn goaway(&mut self, frame: &Frame<'_>, say: &mut Say) {
        self.nobody(frame.direction, say);
        if let (Some(last), Direction::Responses) = (number(frame.head), frame.direction) {
            self.streams.end_above(last & 0x7fff_ffff, |id, stream| {
                if stream.answer != Answer::Done {
                    say.cancelled(id.into());
                }
            });
        }
    }
}

/// The number that the content begins with: an error code, a stream.
fn number(head: &[u8]) -> Option<u32> {
    head.get(HEADER..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if bytes.len() < HEADER {
            self.side(direction).next = 0;
            return Measure::Need(HEADER);
        }
        if direction == Direction::Requests && bytes.starts_with(&PREFACE[..HEADER]) {
            let is_whole = || bytes.starts_with(PREFACE);
            return match bytes.len() < PREFACE.len() {
                true => Measure::Need(PREFACE.len()),
                false if is_whole() => Measure::Frame { total: PREFACE.len() as u64, head: PREFACE.len() },
                false => Measure::None,
            };
        }
        let Some(header) = Header::of(bytes) else { return Measure::None };
        let total = header.total();
        match header.kind {
            kind::CONTINUATION => Measure::None,
            kind::HEADERS | kind::PUSH_PROMISE => self.side(direction).measure_block(header.stream, bytes),
            kind::GOAWAY | kind::RST_STREAM => Measure::Frame { total: total as u64, head: HEADER + 4 },
            _ => Measure::Frame { total: total as u64, head: HEADER },
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        recognise::begins(direction, bytes, |id| self.streams.has(id))
    }

    /// Of a header block nothing before all of it is there: what of it may be kept depends on the fields
    /// before.
    fn keep(&self, _: Direction, head: &[u8], runs: &mut Runs) {
        if head == PREFACE {
            return runs.keep(head.len());
        }
        while let Some(header) = head.get(runs.at()..).and_then(Header::of) {
            let left = head.len() - runs.at();
            let kept = match header.kind {
                kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => header.front(),
                kind::DATA..=kind::WINDOW_UPDATE => header.total(),
                // Of what only may be a frame, how long it is.
                _ => TYPE + 1,
            };
            runs.keep(kept.min(left));
            runs.blank(header.total().min(left).saturating_sub(kept));
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let direction = frame.direction;
        let Some(header) = Header::of(frame.head) else { return self.nobody(direction, say) };
        match header.kind {
            kind::HEADERS => self.headers(header, frame, say),
            kind::DATA => self.content(direction, header, say),
            kind::RST_STREAM => self.reset(frame, header.stream, say),
            kind::GOAWAY => self.goaway(frame, say),
            kind::PUSH_PROMISE => {
                self.block(frame, say);
                self.nobody(direction, say);
            }
            _ => self.nobody(direction, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        let side = self.side(direction);
        side.decoder.lost();
        side.current = None;
        if direction == Direction::Responses {
            self.streams.missed();
        }
    }
}

impl Side {
    /// A header block is one frame with the CONTINUATION frames behind it: nothing may come between (RFC
    /// 9113, section 6.10).
    fn measure_block(&mut self, stream: u32, bytes: &[u8]) -> Measure {
        while self.next <= MAX_HEAD {
            let Some(rest) = bytes.get(self.next..).filter(|rest| rest.len() >= HEADER) else {
                return Measure::Need(self.next + HEADER);
            };
            let Some(header) = Header::of(rest).filter(|header| header.stream == stream) else { break };
            if self.next > 0 && header.kind != kind::CONTINUATION {
                break;
            }
            let end = self.next + header.total();
            if header.ends_block() {
                return Measure::Frame { total: end as u64, head: end };
            }
            self.next = end;
        }
        Measure::None
    }
}
