//! The handshake of one connection.

use super::describe::{self, KEY};
use super::hello::{self, CLIENT_HELLO, Hello, SERVER_HELLO};
use super::record::{self, Content, HEADER, Header};
use super::{alerts, ciphers};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::parts::{Direction, HeadInfo};

/// Longest hello that is read.
const MAX_HELLO: usize = 1 << 16;

/// Bytes of the first encrypted record of a server that has sent more in it than EncryptedExtensions.
const WHOLE_FLIGHT: u16 = 256;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    stage: Stage,
    sides: [Side; 2],
    /// Bytes of a Finished message in a record of its own, in TLS 1.3.
    finished: u16,
    /// The server has taken up a key that both had before: it sends no certificate.
    is_resumed: bool,
    /// Encrypted records that the server has sent in answer, in TLS 1.3.
    flight: u32,
    /// With the last of them it may be complete.
    may_end: bool,
    /// Bytes of the server's flight were not kept.
    is_torn: bool,
    /// The client has ended the handshake with this alert.
    alert: Option<u8>,
    /// What it has sent since its ClientHello may be missing: when it went on is not known.
    has_lost: bool,
    /// It may send data before the server has answered.
    has_early_data: bool,
    /// It has gone on, as its records show that came before those of the server which it waited for.
    has_gone_on: bool,
}

/// How far the handshake is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The ClientHello was not seen.
    #[default]
    Waiting,
    /// The server has not answered it.
    Asked,
    /// The server wants another ClientHello.
    Retrying,
    /// It has sent its ServerHello.
    Answering,
    /// The client has gone on: what the server had sent by then is the answer.
    Over,
    /// The answer was told of.
    Answered,
    /// The handshake was missed, or a part of it without which its end is not known.
    Missed,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// What came of a hello that goes on in another record, and where each record ended.
    hello: Vec<u8>,
    cuts: Vec<usize>,
    /// ChangeCipherSpec was sent after the ServerHello.
    is_encrypted: bool,
    /// And a message, which is the Finished.
    is_finished: bool,
}

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if self.may_be_old(direction) && bytes.first().is_some_and(|first| first & 0x80 != 0) {
            return match *bytes {
                _ if bytes.len() < record::LEAST => Measure::Need(record::LEAST),
                [high, low, ..] if record::is_old_hello(bytes) => {
                    Measure::Frame { total: record::old_total(high, low) as u64, head: record::LEAST }
                }
                _ => Measure::None,
            };
        }
        if bytes.len() < HEADER {
            return if record::may_begin(bytes) { Measure::Need(HEADER) } else { Measure::None };
        }
        let Some(header) = Header::of(bytes) else { return Measure::None };
        let head = match header.content {
            Content::Handshake if self.reads(direction) => match self.hello_ends(direction, &header, bytes) {
                Ok(end) => end,
                Err(measure) => return measure,
            },
            Content::Alert if header.length == 2 => HEADER + 2,
            _ => HEADER,
        };
        Measure::Frame { total: header.total() as u64, head }
    }

    fn between(&mut self, direction: Direction, say: &mut Say) {
        if direction == Direction::Requests {
            if (self.sides[0].is_finished || self.has_gone_on) && self.stage == Stage::Answered {
                say.tunnel();
            }
            return;
        }
        // What a server sends after its Finished is no part of the answer.
        let was_over = self.stage == Stage::Over;
        if self.stage == Stage::Over || (self.stage == Stage::Answering && self.may_end) {
            self.stage = Stage::Answered;
            if let Some(alert) = self.alert.take() {
                say.status(alerts::status(alert));
            }
            say.end();
        }
        // The record that tells of the end is read, so that its header is kept.
        if self.stage == Stage::Answered && !(was_over && self.is_torn) {
            say.tunnel();
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        // Behind a flight of the server of which not all is known, what it sends once the client has gone on is another one.
        let goes_on = direction == Direction::Responses && self.stage == Stage::Over;
        // Many take a record's header by a call of its own.
        let header_alone = self.is_torn && bytes.len() == HEADER && Header::of(bytes).is_some();
        record::is_hello(direction, bytes)
            || record::are_records(bytes)
            || (goes_on && record::is_application(bytes))
            || header_alone
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        if self.may_be_old(direction) && head.first().is_some_and(|first| first & 0x80 != 0) {
            return runs.keep(if record::is_old_hello(head) { record::LEAST } else { 0 });
        }
        runs.keep(head.len().min(HEADER));
        let Some(header) = Header::of(head) else { return };
        match header.content {
            Content::Handshake if self.reads(direction) => self.keep_hello(direction, &head[HEADER..], runs),
            Content::Alert if header.length == 2 => runs.keep(head.len() - HEADER),
            _ => {}
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let direction = frame.direction;
        if self.may_be_old(direction) && record::is_old_hello(frame.head) {
            (self.stage, self.has_lost) = (Stage::Asked, false);
            let version = u16::from_be_bytes([frame.head[3], frame.head[4]]);
            let hello = Hello { version: Some(version), ..Hello::default() };
            return say.message(describe::request(&[], &hello));
        }
        let Some(header) = Header::of(frame.head) else { return };
        let is_encrypted = self.sides[direction as usize].is_encrypted;
        match (header.content, &frame.head[HEADER..]) {
            (Content::Handshake, _) if self.reads(direction) => self.hello(frame, say),
            (Content::Handshake, _) if is_encrypted => self.finished(direction, say),
            (Content::ChangeCipherSpec, _) if self.answers() => {
                self.sides[direction as usize].is_encrypted = true;
            }
            (Content::Alert, &[alerts::FATAL, alert]) => self.alert(direction, alert, say),
            (Content::Application, _) => self.application(direction, header.length, say),
            _ => {}
        }
        if self.stage == Stage::Waiting && self.sides[0].hello.is_empty() {
            self.stage = Stage::Missed;
        }
        if self.stage == Stage::Missed {
            say.tunnel();
        }
    }

    fn lost(&mut self, direction: Direction) {
        let side = &mut self.sides[direction as usize];
        side.hello.clear();
        side.cuts.clear();
        self.has_lost |= direction == Direction::Requests;
        if direction == Direction::Requests {
            return;
        }
        match self.stage {
            Stage::Retrying | Stage::Over => self.stage = Stage::Missed,
            // Its certificate is longer than what is kept. Its end shows when the client goes on, or as its Finished.
            Stage::Answering => {
                (self.flight, self.may_end, self.is_torn) = (self.flight.max(1), false, true);
            }
            _ => {}
        }
    }

    fn missed(&mut self, direction: Direction) {
        self.lost(direction);
        if direction == Direction::Responses && self.stage == Stage::Answering {
            self.stage = Stage::Missed;
        }
    }

    fn closed(&mut self, direction: Direction, say: &mut Say) {
        // A client that has not gone on by then has not taken the answer.
        if self.stage == Stage::Over {
            self.between(direction, say);
        }
    }
}

impl Connection {
    /// A hello of SSL 2.0 may come.
    fn may_be_old(&self, direction: Direction) -> bool {
        direction == Direction::Requests && self.stage == Stage::Waiting && self.sides[0].hello.is_empty()
    }

    /// The hello of this direction is to come, or goes on.
    fn reads(&self, direction: Direction) -> bool {
        match direction {
            Direction::Requests => self.stage == Stage::Waiting,
            Direction::Responses => matches!(self.stage, Stage::Asked | Stage::Retrying),
        }
    }

    /// The ServerHello was seen.
    fn answers(&self) -> bool {
        matches!(self.stage, Stage::Answering | Stage::Answered)
    }

    /// Where in a record the hello ends, or the record.
    fn hello_ends(&self, direction: Direction, header: &Header, bytes: &[u8]) -> Result<usize, Measure> {
        let before = &self.sides[direction as usize].hello;
        let known = before.iter().chain(&bytes[HEADER..]).take(hello::HEADER).copied().collect::<Vec<u8>>();
        match known[..] {
            // Another message: the hello was missed.
            [kind, ..] if kind != expected(direction) => Ok(HEADER + usize::from(before.is_empty())),
            [_, a, b, c] => {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                let left = (hello::HEADER + length).saturating_sub(before.len());
                if length > MAX_HELLO {
                    return Err(Measure::None);
                }
                Ok(HEADER + left.min(header.length.into()))
            }
            // A record may be shorter than that.
            _ if bytes.len() < header.total() => {
                let wanted = HEADER + hello::HEADER - before.len();
                Err(Measure::Need(wanted.min(header.total())))
            }
            _ => Ok(header.total()),
        }
    }

    fn keep_hello(&self, direction: Direction, bytes: &[u8], runs: &mut Runs) {
        let side = &self.sides[direction as usize];
        let (before, begin) = (side.hello.len(), runs.at());
        let mut tell = |hello: &Hello| {
            for kept in &hello.kept {
                let run = kept.start.max(before)..kept.end;
                if !run.is_empty() {
                    runs.blank(begin + run.start - before - runs.at());
                    runs.keep(run.len());
                }
            }
        };
        if before == 0 && bytes.first().is_some_and(|&kind| kind != expected(direction)) {
            // That it is none.
            runs.keep(1);
        } else if before == 0 {
            tell(&hello::read(bytes, &[]));
        } else {
            tell(&hello::read(&[&side.hello, bytes].concat(), &side.cuts));
        }
    }

    /// A record with a hello, or a part of one.
    fn hello(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let bytes = &frame.head[HEADER..];
        let side = &mut self.sides[frame.direction as usize];
        if side.hello.is_empty() && bytes.first() != Some(&expected(frame.direction)) {
            self.stage = Stage::Missed;
            return;
        }
        if side.hello.is_empty() && self.stage != Stage::Retrying {
            say.begin();
        }
        side.hello.extend_from_slice(bytes);
        let is_whole = match side.hello[..] {
            [_, a, b, c, ..] => side.hello.len() >= hello::HEADER + u32::from_be_bytes([0, a, b, c]) as usize,
            _ => false,
        };
        if !is_whole && frame.whole {
            side.cuts.push(side.hello.len());
            return;
        }
        let (message, cuts) = (std::mem::take(&mut side.hello), std::mem::take(&mut side.cuts));
        let hello = hello::read(&message, &cuts);
        if frame.direction == Direction::Requests {
            (self.stage, self.has_lost) = (Stage::Asked, false);
            self.has_early_data = hello.has_early_data || !frame.whole;
            say.head(describe::request(&message, &hello));
            say.end();
            return;
        }
        if self.stage == Stage::Asked {
            say.head(describe::answer(&message, &hello));
        }
        self.stage = if hello.is_retry { Stage::Retrying } else { Stage::Answering };
        self.finished = ciphers::finished_record(hello.suite.unwrap_or_default());
        self.is_resumed = hello.is_resumed;
    }

    /// The first encrypted message, up to TLS 1.2.
    fn finished(&mut self, direction: Direction, say: &mut Say) {
        self.sides[direction as usize].is_finished = true;
        if direction == Direction::Responses && self.stage == Stage::Answering {
            self.answered(say);
        }
    }

    /// The answer is complete with this record.
    fn answered(&mut self, say: &mut Say) {
        self.stage = Stage::Answered;
        say.end();
        say.tunnel();
    }

    /// An alert that is not encrypted.
    fn alert(&mut self, direction: Direction, alert: u8, say: &mut Say) {
        match (direction, self.stage) {
            (Direction::Requests, Stage::Asked) => say.cancelled(KEY),
            (Direction::Requests, Stage::Retrying | Stage::Answering) => {
                (self.alert, self.stage) = (Some(alert), Stage::Over);
                return;
            }
            (Direction::Responses, Stage::Asked) => {
                say.message(HeadInfo {
                    key: Some(KEY),
                    status: alerts::status(alert),
                    ..HeadInfo::default()
                });
            }
            (Direction::Responses, Stage::Retrying | Stage::Answering) => {
                say.status(alerts::status(alert));
                say.end();
            }
            _ => return,
        }
        self.stage = Stage::Answered;
        say.tunnel();
    }

    /// Application data, or, in TLS 1.3, what looks like some.
    fn application(&mut self, direction: Direction, length: u16, say: &mut Say) {
        match (direction, self.stage) {
            (Direction::Requests, Stage::Asked | Stage::Retrying) => self.has_gone_on |= !self.has_early_data,
            (Direction::Requests, Stage::Answering) => {
                self.stage = if self.has_lost && !self.may_end { Stage::Missed } else { Stage::Over };
                // The end of the answer is told of first where only what follows tells it.
                self.has_gone_on |= self.is_torn;
                if !self.is_torn || self.stage == Stage::Missed {
                    say.tunnel();
                }
            }
            (Direction::Requests, Stage::Over) if self.is_torn => {}
            (Direction::Responses, Stage::Answering) => {
                self.flight += 1;
                self.may_end = self.is_last(length);
                match self.may_end {
                    true if self.has_gone_on => self.answered(say),
                    // The client may refuse it yet.
                    true => say.may_end(),
                    false => {}
                }
            }
            (_, Stage::Waiting | Stage::Missed | Stage::Asked | Stage::Retrying) => {
                self.stage = Stage::Missed
            }
            (_, Stage::Over | Stage::Answered) => say.tunnel(),
        }
    }

    /// Whether an encrypted record of this length is the last of the server's answer: a Finished alone, or
    /// all of it at once.
    fn is_last(&self, length: u16) -> bool {
        let at_once = if self.is_resumed { self.finished + 6 } else { WHOLE_FLIGHT };
        match self.flight {
            1 => length >= at_once,
            _ => length == self.finished,
        }
    }
}

/// Type of the message that this direction begins with.
fn expected(direction: Direction) -> u8 {
    match direction {
        Direction::Requests => CLIENT_HELLO,
        Direction::Responses => SERVER_HELLO,
    }
}
