//! Frames of a connection: what is asked on each channel, and which answer is whose.

use std::collections::{HashMap, VecDeque};

use super::frame::{self, Arguments, END, FIXED, GREETING, Greeting, HEADER, Kind, METHOD_FIXED, Start};
use super::methods::{CHANNEL, CONFIRM, CONNECTION, Does, FIRST, Method, arguments};
use super::operation::{Made, operation, refusal};
use super::waiting::{Open, Waiting};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::messaging::Recent;
use crate::operation::Status;
use crate::parts::{Direction, HeadInfo};

/// Bytes of a method's frame that are read.
const METHOD_HEAD: usize = 1024;
/// Channels, and messages that are not confirmed, at most.
const MAX_KNOWN: usize = 4096;

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Reading {
    channels: HashMap<u16, Channel>,
    waiting: Waiting,
    /// Messages that wait to be confirmed.
    unconfirmed: VecDeque<Unconfirmed>,
    recent: Recent<Made>,
    /// The key of the exchange that began last.
    key: u64,
}

/// A channel.
#[derive(Debug, Default)]
struct Channel {
    /// The number of the next message that will be confirmed, where messages are.
    next_tag: Option<u64>,
    /// Messages under way, by direction.
    content: [Option<Content>; 2],
}

/// A message of several frames.
#[derive(Clone, Copy, Debug)]
struct Content {
    key: u64,
    turned: bool,
    /// Bytes of its body that are to come, once its header has told.
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Unconfirmed {
    channel: u16,
    tag: u64,
    key: u64,
    may_be_lost: bool,
}

impl Codec for Reading {
    fn measure(&mut self, _: Direction, bytes: &[u8]) -> Measure {
        match frame::greeting(bytes) {
            Some(Greeting::Part) => return Measure::Need(GREETING),
            Some(_) => return Measure::Frame { total: GREETING as u64, head: GREETING },
            None => {}
        }
        let Some(start) = Start::of(bytes) else {
            let may_be = bytes.len() < FIXED && bytes.first().is_none_or(|kind| matches!(kind, 1..=3 | 8));
            return if may_be { Measure::Need(FIXED) } else { Measure::None };
        };
        let head = match start.kind {
            Kind::Method => METHOD_HEAD,
            Kind::Header => HEADER,
            Kind::Body | Kind::Heartbeat => FIXED,
        };
        Measure::Frame { total: start.total(), head }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        frame::begins(direction, bytes)
    }

    fn keep(&self, _: Direction, head: &[u8], runs: &mut Runs) {
        if frame::greeting(head).is_some() {
            runs.keep(head.len());
            return;
        }
        let Some(start) = Start::of(head) else {
            runs.keep(head.len());
            return;
        };
        if start.kind != Kind::Method {
            runs.keep(head.len());
            return;
        }
        runs.keep(head.len().min(METHOD_FIXED));
        if let Some(method) = frame::method(head) {
            arguments(method, head, METHOD_FIXED, |argument| {
                runs.keep(argument.length.len());
                if frame::may_keep(argument, head) {
                    runs.keep(argument.content.len());
                } else {
                    runs.blank(argument.content.len());
                }
            });
        }
        if head.len() as u64 == start.total() && head.last() == Some(&END) {
            runs.blank((head.len() - 1).saturating_sub(runs.at()));
            runs.keep(1);
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        if let Some(greeting) = frame::greeting(frame.head) {
            if greeting == Greeting::Other {
                say.tunnel();
            }
            return;
        }
        let Some(start) = Start::of(frame.head) else { return };
        match start.kind {
            Kind::Method if frame.head.len() as u64 == frame.total && frame.head.last() != Some(&END) => {
                say.lose();
            }
            Kind::Method => self.method(frame.direction, start.channel, frame.head, say),
            Kind::Header => {
                let size = frame.head.get(FIXED + 4..HEADER);
                let size = size.map(|size| size.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
                self.content(frame.direction, start.channel, |_| size, say);
            }
            Kind::Body => {
                let length = u64::from(start.length);
                let left = |content: &Content| content.left?.checked_sub(length);
                self.content(frame.direction, start.channel, left, say);
            }
            Kind::Heartbeat => {}
        }
    }

    fn lost(&mut self, direction: Direction) {
        for channel in self.channels.values_mut() {
            channel.content[direction as usize] = None;
            if direction == Direction::Requests {
                // Nobody knows how many messages were among what was lost.
                channel.next_tag = None;
            }
        }
        if direction == Direction::Responses {
            self.waiting.lost();
            self.unconfirmed.iter_mut().for_each(|message| message.may_be_lost = true);
        }
    }
}

impl Reading {
    fn method(&mut self, direction: Direction, channel: u16, head: &[u8], say: &mut Say) {
        let Some(method) = frame::method(head) else { return };
        if !method.by()[direction as usize] {
            return;
        }
        let told = Arguments::of(method, head);
        match method.does {
            Does::Asks { .. } => self.asks(direction, channel, method, &told, say),
            Does::Answers { asked, .. } => self.answers(direction, channel, (method, asked), say),
            Does::AnswersWith { asked } => self.answers_with(channel, (method, asked), say),
            Does::Publish => self.publishes(channel, method, &told, say),
            Does::Deliver => self.delivers(channel, method, &told, say),
            Does::Settles { well } if direction == Direction::Responses => {
                self.confirms(channel, &told, well, say);
            }
            Does::Settles { .. } | Does::Other(_) => {}
        }
    }

    fn next_key(&mut self) -> u64 {
        self.key += 1;
        self.key
    }

    /// What is known of a channel, which may be nothing yet.
    fn channel(&mut self, channel: u16) -> Option<&mut Channel> {
        if self.channels.len() >= MAX_KNOWN && !self.channels.contains_key(&channel) {
            return None;
        }
        Some(self.channels.entry(channel).or_default())
    }

    fn asks(
        &mut self,
        by: Direction,
        channel: u16,
        method: &'static Method,
        told: &Arguments<'_>,
        say: &mut Say,
    ) {
        if method.closes() {
            self.closes(by, channel, method, told, say);
        }
        match (method.class, method.id) {
            (CHANNEL, FIRST) => {
                self.channels.remove(&channel);
                self.channel(channel);
            }
            (CONFIRM, FIRST) => {
                if let Some(channel) = self.channel(channel) {
                    channel.next_tag = channel.next_tag.or(Some(1));
                }
            }
            _ => {}
        }
        let key = self.next_key();
        let unanswered = told.no_wait == Some(true);
        if !unanswered {
            let may_not_wait = told.no_wait.is_none() && method.arguments.contains('n');
            let code = told.code;
            self.waiting.asked(Open { by, channel, method, key, code, may_not_wait, may_be_lost: false });
        }
        if by == Direction::Responses {
            say.turned();
        }
        let operation = Some(operation(&mut self.recent, method, told));
        say.message(HeadInfo { key: Some(key), operation, unanswered, ..HeadInfo::default() });
    }

    /// A side closes a channel, or all of them: nothing else that it was asked there will be answered.
    fn closes(&mut self, by: Direction, channel: u16, method: &Method, told: &Arguments<'_>, say: &mut Say) {
        let of_all = method.class == CONNECTION;
        let refused = told.code.filter(|&code| by == Direction::Responses && code >= 300);
        self.waiting.closed(channel, of_all, refused.map(|code| (code, told.failed)), say);
        self.give_up(channel, of_all, say);
    }

    /// What was published there will not be confirmed.
    fn give_up(&mut self, channel: u16, of_all: bool, say: &mut Say) {
        self.unconfirmed.retain(|message| {
            let other = !of_all && message.channel != channel;
            if !other {
                say.cancelled_before(message.key);
            }
            other
        });
    }

    fn answers(&mut self, by: Direction, channel: u16, (method, asked): (&Method, u16), say: &mut Say) {
        let open = self.waiting.take(by, channel, (method.class, asked), say);
        let closes = Method::of(method.class, asked).is_some_and(Method::closes);
        if closes {
            self.give_up(channel, method.class == CONNECTION, say);
            match method.class {
                CONNECTION => self.channels.clear(),
                _ => drop(self.channels.remove(&channel)),
            }
        }
        let code = open.and_then(|open| open.code).filter(|&code| code >= 300);
        let status = code.map(refusal).unwrap_or_default();
        let key = open.map(|open| open.key);
        if by == Direction::Requests {
            if open.is_none() {
                return;
            }
            say.turned();
        }
        say.message(HeadInfo { key, status, ..HeadInfo::default() });
    }

    fn answers_with(&mut self, channel: u16, (method, asked): (&Method, u16), say: &mut Say) {
        let Some(open) = self.waiting.take(Direction::Responses, channel, (method.class, asked), say) else {
            return;
        };
        say.begin();
        say.head(HeadInfo { key: Some(open.key), ..HeadInfo::default() });
        self.content_follows(Direction::Responses, channel, open.key, false);
    }

    fn content_follows(&mut self, direction: Direction, channel: u16, key: u64, turned: bool) {
        if let Some(channel) = self.channel(channel) {
            channel.content[direction as usize] = Some(Content { key, turned, left: None });
        }
    }

    fn publishes(&mut self, channel: u16, method: &Method, told: &Arguments<'_>, say: &mut Say) {
        let key = self.next_key();
        let tag = self.channel(channel).and_then(|channel| {
            let tag = channel.next_tag?;
            channel.next_tag = Some(tag + 1);
            Some(tag)
        });
        if let Some(tag) = tag {
            if self.unconfirmed.len() >= MAX_KNOWN {
                self.unconfirmed.pop_front();
            }
            self.unconfirmed.push_back(Unconfirmed { channel, tag, key, may_be_lost: false });
        }
        let operation = Some(operation(&mut self.recent, method, told));
        say.begin();
        say.head(HeadInfo { key: Some(key), operation, unanswered: tag.is_none(), ..HeadInfo::default() });
        self.content_follows(Direction::Requests, channel, key, false);
    }

    fn delivers(&mut self, channel: u16, method: &Method, told: &Arguments<'_>, say: &mut Say) {
        let key = self.next_key();
        let operation = Some(operation(&mut self.recent, method, told));
        say.turned();
        say.begin();
        say.head(HeadInfo { key: Some(key), operation, unanswered: true, ..HeadInfo::default() });
        self.content_follows(Direction::Responses, channel, key, true);
    }

    /// A server confirms messages: one, or all up to it.
    fn confirms(&mut self, channel: u16, told: &Arguments<'_>, well: bool, say: &mut Say) {
        let Some(tag) = told.tag else { return };
        let multiple = told.multiple;
        let text = (!well).then_some("NACK");
        let status = Status { text, failed: !well, ..Status::default() };
        let mut last = None;
        self.unconfirmed.retain(|message| {
            let meant = message.tag == tag || multiple && (tag == 0 || message.tag < tag);
            if message.channel != channel || !meant {
                return true;
            }
            // It may have been confirmed before.
            let certain = !message.may_be_lost || message.tag == tag;
            if let Some(key) = certain.then(|| last.replace(message.key)).flatten() {
                say.message_too(HeadInfo { key: Some(key), status, ..HeadInfo::default() });
            }
            false
        });
        if let Some(key) = last {
            say.message(HeadInfo { key: Some(key), status, ..HeadInfo::default() });
        }
    }

    /// A frame of a message under way, behind which so many bytes of its body are `left`.
    fn content(
        &mut self,
        direction: Direction,
        channel: u16,
        left: impl Fn(&Content) -> Option<u64>,
        say: &mut Say,
    ) {
        let Some(channel) = self.channels.get_mut(&channel) else { return };
        let under_way = &mut channel.content[direction as usize];
        let Some(content) = under_way else { return };
        if content.turned {
            say.turned();
        }
        say.resume(content.key);
        content.left = left(content);
        match content.left {
            Some(0) => say.end(),
            Some(_) => return,
            None => {}
        }
        *under_way = None;
    }
}
