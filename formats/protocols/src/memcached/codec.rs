//! Frames: lines with the values behind them, and messages of the binary protocol.

use super::answers::{self, Answer, Shape};
use super::binary::{self, ANSWER, HEADER, Header, REQUEST};
use super::commands::{self, kind};
use super::lines::{self, Extent};
use super::pairing::{Asked, Pairing, Waiting};
use super::recognise;
use super::requests::{self, Request};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::parts::{Direction, HeadInfo};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pairing: Pairing,
    /// An answer of many lines or messages is under way.
    answering: bool,
    /// Lines of a log may come, which answer nothing.
    watching: bool,
    /// A command that is known was sent: the next one may be one that is not.
    proven: bool,
}

/// A line is looked for in so many bytes first: most are shorter.
const FIRST_LOOK: usize = 64;

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        let magic = if direction == Direction::Requests { REQUEST } else { ANSWER };
        if bytes.first() == Some(&magic) {
            return match Header::of(bytes) {
                Some(header) => {
                    Measure::Frame { total: HEADER as u64 + u64::from(header.body), head: HEADER }
                }
                None if bytes.len() < HEADER => Measure::Need(HEADER),
                None => Measure::None,
            };
        }
        let length = match lines::extent(bytes, FIRST_LOOK) {
            Extent::Line(length) => length,
            Extent::Goes(more) => return Measure::Need(more),
            Extent::TooLong => return Measure::None,
        };
        let line = &bytes[..length];
        let block = match direction {
            Direction::Requests => {
                let known = |request: &Request| self.proven || request.kind != kind::UNKNOWN;
                Request::of(line).filter(known).map(|request| request.block)
            }
            Direction::Responses => Answer::of(line).map(|answer| answer.block),
        };
        block.map_or(Measure::None, |block| Measure::Frame { total: length as u64 + block, head: length })
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        recognise::begins(direction, bytes)
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        match (direction, head.first()) {
            (_, Some(&(REQUEST | ANSWER))) => runs.keep(head.len().min(HEADER)),
            (Direction::Requests, _) => requests::keep(head, runs),
            (Direction::Responses, _) => answers::keep(head, runs),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        match (frame.direction, Header::of(frame.head)) {
            (Direction::Requests, Some(header)) => self.binary_request(&header, say),
            (Direction::Responses, Some(header)) => self.binary_answer(&header, say),
            (Direction::Requests, None) => self.request(frame.head, say),
            (Direction::Responses, None) => self.answer(frame.head, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.pairing.lost(direction);
        if direction == Direction::Responses {
            self.answering = false;
        }
    }

    fn closed(&mut self, direction: Direction, say: &mut Say) {
        if direction == Direction::Responses {
            self.pairing.closed(|key| say.no_answer(key));
        }
    }
}

impl Connection {
    fn request(&mut self, line: &[u8], say: &mut Say) {
        let Some(request) = Request::of(line) else { return };
        self.proven = true;
        self.pairing.begin(self.answering);
        let operation = Some(commands::operation(request.place));
        let Request { kind, quiet, opaque, .. } = request;
        let key = (!request.silent).then(|| self.pairing.push(Asked { kind, quiet, opaque, opcode: 0 }));
        say.message(HeadInfo { key, operation, unanswered: request.silent, ..HeadInfo::default() });
        self.watching |= kind == kind::WATCH;
    }

    fn answer(&mut self, line: &[u8], say: &mut Say) {
        let Some(Answer { word, status, opaque, .. }) = Answer::of(line) else { return };
        match (self.answering, word.shape) {
            (true, Shape::Item { .. }) => return,
            (true, Shape::End | Shape::Error) => {
                self.answering = false;
                if status.failed {
                    say.status(status);
                }
                return say.end();
            }
            (true, _) => {
                // An answer of many lines has no such one: which of them are whose is not known any more.
                self.answering = false;
                self.pairing.lost(Direction::Responses);
            }
            (false, _) => {}
        }
        // Only lines that are not known are those of a log.
        if self.watching && word.is_other() {
            return;
        }
        let fits = |waiting: &Waiting| {
            waiting.kind & word.kinds != 0 && !(waiting.quiet && waiting.kind & word.hushed != 0)
        };
        let key = self.pairing.answer(fits, opaque, |key| say.no_answer(key));
        say.begin();
        say.head(HeadInfo { key, status, ..HeadInfo::default() });
        self.answering = matches!(word.shape, Shape::Item { .. });
        if !self.answering {
            say.end();
        }
    }

    fn binary_request(&mut self, header: &Header, say: &mut Say) {
        self.pairing.begin(self.answering);
        let operation = Some(binary::operation(header.opcode));
        let unanswered = header.is_unanswered();
        let asked = Asked {
            kind: kind::BINARY,
            opcode: header.base(),
            quiet: header.is_quiet(),
            opaque: Some(header.opaque.into()),
        };
        let key = (!unanswered).then(|| self.pairing.push(asked));
        say.message(HeadInfo { key, operation, unanswered, ..HeadInfo::default() });
    }

    fn binary_answer(&mut self, header: &Header, say: &mut Say) {
        let is_last = header.is_last();
        if self.answering && header.opcode == binary::STAT {
            if is_last {
                self.answering = false;
                if header.status != 0 {
                    say.status(header.answer_status());
                }
                say.end();
            }
            return;
        }
        let opcode = header.base();
        let fits = |waiting: &Waiting| waiting.kind == kind::BINARY && waiting.opcode == opcode;
        let key = self.pairing.answer(fits, Some(header.opaque.into()), |key| say.no_answer(key));
        say.begin();
        say.head(HeadInfo { key, status: header.answer_status(), ..HeadInfo::default() });
        self.answering = !is_last;
        if is_last {
            say.end();
        }
    }
}
