//! Frames: control lines with the messages behind them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lines::{Extent, Line, Verb, extent};
use super::operations::{Operations, control};
use super::pairing::{Pulls, Replies, Waiting, acknowledged_consumer, asked_consumer};
use super::payload::{self, Headers, MAX_PULL};
use super::{errors, keep, recognise};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Status};
use crate::parts::{Direction, HeadInfo};

/// Longest headers that are read.
const MAX_HEADERS: u64 = 4096;
/// Longest message that is believed: servers take 64 MiB at most.
const MAX_PAYLOAD: u64 = 1 << 30;
/// Requests that wait for a line, at most.
const MAX_WAITING: usize = 4096;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    next_key: u64,
    replies: Replies,
    pulls: Pulls,
    /// The client wants everything confirmed. Then: what waits for that, in order; None: another answer than
    /// that counts.
    confirmations: Option<VecDeque<Option<u64>>>,
    /// The handshake waits for its answer.
    connect: Option<u64>,
    pings: VecDeque<u64>,
    /// Lines may have been missed that wait for a line.
    broken: bool,
    published: Operations,
    delivered: Operations,
}

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        let length = match extent(direction, bytes) {
            Extent::Line(length) => length,
            Extent::Goes(more) => return Measure::Need(more),
            Extent::None => return Measure::None,
        };
        let Some(line) = Line::of(direction, &bytes[..length]) else { return Measure::None };
        let block = line.block();
        if block > MAX_PAYLOAD {
            return Measure::None;
        }
        let read = match line.verb {
            Verb::Hpub | Verb::Hmsg => line.sizes().map_or(0, |(headers, _)| headers.min(MAX_HEADERS)),
            Verb::Pub if line.subject().and_then(asked_consumer).is_some() => (block - 2).min(MAX_PULL),
            _ => 0,
        };
        Measure::Frame { total: length as u64 + block, head: length + read as usize }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        recognise::begins(direction, bytes)
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        keep::keep(direction, head, runs);
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let end = memchr::memchr(b'\n', frame.head).map_or(frame.head.len(), |end| end + 1);
        let (head, behind) = frame.head.split_at(end);
        let Some(line) = Line::of(frame.direction, head) else { return };
        match (frame.direction, line.verb) {
            (_, Verb::Pub | Verb::Hpub) => self.publish(&line, behind, frame.whole, say),
            (_, Verb::Msg | Verb::Hmsg) => self.message(&line, behind, say),
            (_, Verb::Sub | Verb::Unsub) => {
                let operation = match line.verb {
                    Verb::Sub => Operations::subscription(line.subject()),
                    _ => control("UNSUB"),
                };
                self.confirmed(operation, say);
            }
            (_, Verb::Connect) => self.handshake(&line, say),
            (Direction::Requests, Verb::Ping) => self.ping(say),
            (Direction::Responses, Verb::Pong) => self.pong(say),
            (_, Verb::Ok) => {
                if let Some(key) = self.confirmations.as_mut().and_then(VecDeque::pop_front).flatten() {
                    self.answer(key, Status::default(), say);
                }
            }
            (_, Verb::Err) => self.error(line.text, say),
            // What a server tells of itself, and how it asks whether a client is there.
            (_, Verb::Info | Verb::Ping | Verb::Pong) => {}
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.broken = true;
        self.confirmations = None;
        self.pings.clear();
        if direction == Direction::Responses {
            self.connect = None;
            self.pulls.lost();
        }
    }
}

impl Connection {
    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn publish(&mut self, line: &Line<'_>, behind: &[u8], whole: bool, say: &mut Say) {
        let headers = if line.verb.has_headers() { Headers::of(behind) } else { Headers::default() };
        let subject = line.subject();
        let operation = self.published.publish(subject, headers.context);
        // Of a subject that is not kept it is not known what comes to it.
        let Some(reply) = line.reply() else {
            if line.has_reply() {
                self.wait(None);
                let info = HeadInfo { operation: Some(operation), unanswered: true, ..HeadInfo::default() };
                return say.message(info);
            }
            return self.confirmed(operation, say);
        };
        let key = self.key();
        self.wait(None);
        let subject_of_answers = operation.target.clone();
        self.replies.insert(reply, Waiting { key, subject: subject_of_answers });
        // How many it wants is not known of a part.
        if let Some(consumer) = subject.and_then(asked_consumer).filter(|_| whole) {
            self.pulls.push(consumer, key, payload::batch(behind));
        }
        say.message(HeadInfo { key: Some(key), operation: Some(operation), ..HeadInfo::default() });
    }

    /// What nobody answers, unless the client wants everything confirmed.
    fn confirmed(&mut self, operation: Arc<Operation>, say: &mut Say) {
        let key = self.confirmations.is_some().then(|| self.key());
        self.wait(key);
        say.message(HeadInfo {
            key,
            operation: Some(operation),
            unanswered: key.is_none(),
            ..HeadInfo::default()
        });
    }

    /// A confirmation will come.
    fn wait(&mut self, key: Option<u64>) {
        let Some(confirmations) = &mut self.confirmations else { return };
        if confirmations.len() < MAX_WAITING {
            confirmations.push_back(key);
        } else {
            self.confirmations = None;
        }
    }

    fn message(&mut self, line: &Line<'_>, behind: &[u8], say: &mut Say) {
        let headers = if line.verb.has_headers() { Headers::of(behind) } else { Headers::default() };
        let subject = line.subject();
        // That a consumer is still there.
        let is_interim = headers.status.code == Some(100);
        if let Some(waiting) = subject.filter(|_| !is_interim).and_then(|subject| self.replies.take(subject))
        {
            self.pulls.remove(waiting.key);
            return self.answer(waiting.key, headers.status, say);
        }
        if is_interim {
            return;
        }
        let operation = Some(self.delivered.process(subject, headers.context));
        say.turned();
        say.message(HeadInfo { operation, unanswered: true, ..HeadInfo::default() });
        let consumer = line.reply().and_then(acknowledged_consumer);
        if let Some((key, goes_on)) = consumer.and_then(|consumer| self.pulls.message(consumer)) {
            if !goes_on {
                self.replies.remove(key);
            }
            say.answered_too(HeadInfo { key: Some(key), goes_on, ..HeadInfo::default() });
        }
    }

    fn answer(&mut self, key: u64, status: Status, say: &mut Say) {
        if self.connect == Some(key) {
            self.connect = None;
        }
        say.message(HeadInfo { key: Some(key), status, ..HeadInfo::default() });
    }

    fn handshake(&mut self, line: &Line<'_>, say: &mut Say) {
        let key = self.key();
        self.connect = Some(key);
        self.confirmations = (!self.broken && keep::is_verbose(line.text)).then(VecDeque::new);
        self.wait(Some(key));
        let operation = Some(control("CONNECT"));
        say.message(HeadInfo { key: Some(key), operation, ..HeadInfo::default() });
    }

    fn ping(&mut self, say: &mut Say) {
        let is_known = !self.broken && self.pings.len() < MAX_WAITING;
        let key = is_known.then(|| self.key());
        self.pings.extend(key);
        let operation = Some(control("PING"));
        say.message(HeadInfo { key, operation, unanswered: !is_known, ..HeadInfo::default() });
    }

    fn pong(&mut self, say: &mut Say) {
        // It follows the handshake, which is accepted so.
        let keys = [self.pings.pop_front(), self.connect.take()];
        let mut keys = keys.into_iter().flatten();
        if let Some(key) = keys.next() {
            self.answer(key, Status::default(), say);
        }
        if let Some(connect) = keys.next() {
            say.answered_too(HeadInfo { key: Some(connect), ..HeadInfo::default() });
        }
    }

    fn error(&mut self, text: &[u8], say: &mut Say) {
        let error = errors::error(text);
        let status =
            Status { text: Some(error.map_or("-ERR", |error| error.text)), failed: true, code: None };
        let confirmed = self.confirmations.as_mut().and_then(VecDeque::pop_front);
        let is_of_handshake = error.is_none_or(|error| errors::is_of_handshake(error.text));
        let key = match self.connect {
            Some(connect) if is_of_handshake => Some(connect),
            _ => {
                let subject = error.and_then(|error| error.subject);
                let published = subject.and_then(|subject| self.replies.take_published(subject));
                published.map(|waiting| waiting.key).or(confirmed.flatten())
            }
        };
        if let Some(key) = key {
            self.answer(key, status, say);
        }
    }
}
