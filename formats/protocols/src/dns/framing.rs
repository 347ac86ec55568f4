//! Framing of one connection: messages whose length stands in front of them (RFC 7766), each with an id.

use std::collections::BTreeSet;

use super::codes::DSO;
use super::head::{self, HEADER, Header};
use crate::blank::BLANK;
use crate::parts::{Call, Direction, HeadInfo, Part, What, push};
use crate::protocol::{Framing, Memory};

/// Framing state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    requests: Side,
    answers: Side,
    shared: Shared,
}

/// What both directions know.
#[derive(Debug, Default)]
struct Shared {
    /// A message has shown beyond doubt what is spoken.
    proven: bool,
    /// Ids of requests whose answer may be of several messages.
    transfers: BTreeSet<u16>,
}

/// One direction.
#[derive(Debug)]
struct Side {
    direction: Direction,
    offset: u64,
    /// What came is not understood.
    lost: bool,
    /// Where the next message begins was not known since one was read.
    unsure: bool,
    message: Option<Message>,
    /// Head of that message so far.
    head: Vec<u8>,
}

/// A message that is being read.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// It began there, and its head goes on.
    Head(u64),
    /// So many bytes are left behind its head. `told`: it is a request in the direction of requests, or an answer in the other.
    Body { left: u64, told: bool },
}

impl Connection {
    pub(super) fn new(before: Option<[u64; 2]>) -> Connection {
        let [requests, answers] = before.unwrap_or_default();
        let side = |direction, offset| Side {
            direction,
            offset,
            lost: false,
            unsure: before.is_some(),
            message: None,
            head: Vec::new(),
        };
        Connection {
            requests: side(Direction::Requests, requests),
            answers: side(Direction::Responses, answers),
            shared: Shared::default(),
        }
    }

    fn side(&mut self, direction: Direction) -> (&mut Side, &mut Shared) {
        match direction {
            Direction::Requests => (&mut self.requests, &mut self.shared),
            Direction::Responses => (&mut self.answers, &mut self.shared),
        }
    }
}

impl Framing for Connection {
    fn call(&mut self, direction: Direction, call: Call<'_>, _memory: &mut Memory, parts: &mut Vec<Part>) {
        let (side, shared) = self.side(direction);
        side.call(call, shared, parts);
    }

    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let (side, shared) = self.side(direction);
        if side.in_head() {
            // What was missed may be more than the rest of this message.
            side.lose(length, parts);
        } else {
            side.unknown(length, shared, parts);
        }
    }

    /// No message lasts until then.
    fn close(&mut self, _direction: Direction, _parts: &mut Vec<Part>) {}
}

impl Side {
    fn call(&mut self, call: Call<'_>, shared: &mut Shared, parts: &mut Vec<Part>) {
        if self.lost && self.may_begin(&call, shared) {
            self.lost = false;
        }
        self.bytes(call.head, call.head.len().saturating_sub(call.spare), shared, parts);
        let hole = call.length.saturating_sub((call.head.len() + call.tail.len()) as u64);
        self.unknown(hole, shared, parts);
        // Where bytes were not understood blanks are stored, which are no length of a message.
        let said = call.tail.iter().rposition(|&byte| byte != BLANK).map_or(0, |last| last + 1);
        let (said, blanks) = call.tail.split_at(said);
        self.bytes(said, said.len(), shared, parts);
        if self.message.is_none() {
            self.unknown(blanks.len() as u64, shared, parts);
        } else {
            self.bytes(blanks, blanks.len(), shared, parts);
        }
    }

    /// Whether a call begins a message, after bytes that were not understood: beyond doubt, or with a length that comes alone,
    /// as some programs write and read it.
    fn may_begin(&self, call: &Call<'_>, shared: &Shared) -> bool {
        let alone = |length: &[u8; 2]| shared.proven && call.length == 2 && head::is_usual_length(*length);
        head::proves(self.direction, call.head) || call.head.try_into().is_ok_and(|length| alone(&length))
    }

    fn push(&mut self, what: What, length: u64, parts: &mut Vec<Part>) {
        push(&mut self.offset, what, length, parts);
    }

    fn bytes(&mut self, bytes: &[u8], stored: usize, shared: &mut Shared, parts: &mut Vec<Part>) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.message {
                _ if self.lost => self.lose(rest.len() as u64, parts),
                Some(Message::Body { left, told }) => self.body(rest.len() as u64, left, told, parts),
                _ => self.head(rest, stored.saturating_sub(at), shared, parts),
            } as usize;
        }
    }

    fn in_head(&self) -> bool {
        matches!(self.message, Some(Message::Head(_)))
    }

    /// Bytes that are not known.
    fn unknown(&mut self, length: u64, shared: &mut Shared, parts: &mut Vec<Part>) {
        if length == 0 {
            return;
        }
        if self.in_head() && self.head.len() >= HEADER && self.is_sure(shared) {
            // How long the message is and which exchange it belongs to is known.
            self.head_end(shared, parts);
        }
        let used = match self.message {
            Some(Message::Body { left, told }) => self.body(length, left, told, parts),
            _ => 0,
        };
        if length > used {
            self.lose(length - used, parts);
        }
    }

    fn lose(&mut self, length: u64, parts: &mut Vec<Part>) -> u64 {
        (self.lost, self.unsure, self.message) = (true, true, None);
        self.push(What::Lost, length, parts);
        length
    }

    /// So far every message began where the one before ended.
    fn is_sure(&self, shared: &Shared) -> bool {
        shared.proven && !self.unsure
    }

    /// The first of `length` bytes, as far as they are those of a body.
    fn body(&mut self, length: u64, left: u64, told: bool, parts: &mut Vec<Part>) -> u64 {
        let used = left.min(length);
        self.push(What::Body, used, parts);
        self.message = Some(Message::Body { left: left - used, told });
        if left == used {
            self.message = None;
            if told {
                self.push(What::End { exact: true }, 0, parts);
            }
        }
        used
    }

    /// Bytes of a head, or where one begins. Returns how many are its own.
    fn head(&mut self, bytes: &[u8], stored: usize, shared: &mut Shared, parts: &mut Vec<Part>) -> u64 {
        let began = match self.message {
            Some(Message::Head(began)) => Some(began),
            _ => {
                self.head.clear();
                None
            }
        };
        let before = self.head.len();
        let mut rest = bytes;
        let mut missing = head::missing(&self.head);
        while missing > 0 && !rest.is_empty() {
            let (more, after) = rest.split_at(missing.min(rest.len()));
            self.head.extend_from_slice(more);
            rest = after;
            missing = head::missing(&self.head);
        }
        let understood = match (self.is_sure(shared), missing) {
            (true, _) => head::is_possible(&self.head),
            (false, 0) => head::proves(self.direction, &self.head),
            (false, _) => head::may_prove(self.direction, &self.head),
        };
        if !understood {
            return self.lose(bytes.len() as u64, parts);
        }
        if began.is_none() {
            self.push(What::MayBegin, 0, parts);
        }
        self.message = Some(Message::Head(began.unwrap_or(self.offset)));
        let offset = &mut self.offset;
        head::keep(&self.head, before, stored, |run, kept| {
            push(offset, if kept { What::Head } else { What::Secret }, run.len() as u64, parts);
        });
        if missing == 0 {
            self.head_end(shared, parts);
        }
        (bytes.len() - rest.len()) as u64
    }

    /// Nothing more of the head is there to be read: tells what it says.
    fn head_end(&mut self, shared: &mut Shared, parts: &mut Vec<Part>) {
        let (Some(Message::Head(began)), Some(header)) = (self.message, Header::of(&self.head)) else {
            return;
        };
        (shared.proven, self.unsure) = (true, false);
        let told = header.is_answer == (self.direction == Direction::Responses);
        if told {
            parts.push(Part { offset: began, length: 0, what: What::Begin });
            let info = match self.direction {
                Direction::Requests => self.request(&header, shared),
                Direction::Responses => self.answer(&header, shared),
            };
            self.push(What::HeadEnd(info), 0, parts);
        }
        self.body(0, (header.total - self.head.len()) as u64, told, parts);
    }

    fn request(&self, header: &Header, shared: &mut Shared) -> HeadInfo {
        // RFC 8490, section 5.4: what has no id is no question.
        if header.opcode == DSO && header.id == 0 {
            return HeadInfo { unanswered: true, ..HeadInfo::default() };
        }
        if head::is_transfer(&self.head) {
            shared.transfers.insert(header.id);
        } else {
            shared.transfers.remove(&header.id);
        }
        HeadInfo { key: Some(header.id.into()), ..HeadInfo::default() }
    }

    fn answer(&self, header: &Header, shared: &mut Shared) -> HeadInfo {
        let status = head::status(&self.head);
        // A refusal is all there is of a transfer.
        if status.code != Some(0) {
            shared.transfers.remove(&header.id);
        }
        let goes_on = shared.transfers.contains(&header.id);
        HeadInfo { status, key: Some(header.id.into()), goes_on, ..HeadInfo::default() }
    }
}
