//! What both directions of a connection have in common: how their bytes are passed through, and what each knows of the other.

use super::pushes::{self, Push};
use crate::blank::BLANK;
use crate::parts::{Call, Part, What, push};
use crate::queue::{Asked, Queue, When};

/// What a command says about its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// One value.
    #[default]
    Value,
    /// One value, also where channels are subscribed to: messages may come before it.
    InSubscription,
    /// So many confirmations, of which the first is the answer; None: one at least.
    Confirmations(&'static str, Option<u64>),
    /// `OK`, and then what other connections ask.
    Monitor,
    /// One value, and then the protocol of replicas.
    Replication,
    /// The command is not known.
    Unknown,
}

impl Answer {
    /// That of a command with so many arguments.
    pub(super) fn to(command: Option<&'static str>, arguments: u64) -> Answer {
        match command {
            Some("PING" | "QUIT" | "RESET") => Answer::InSubscription,
            Some("MONITOR") => Answer::Monitor,
            Some("SYNC" | "PSYNC") => Answer::Replication,
            Some(command) if pushes::is_subscription(command) => {
                Answer::Confirmations(command, (arguments > 0).then_some(arguments))
            }
            _ => Answer::Value,
        }
    }
}

impl Asked for Answer {
    const UNKNOWN: Answer = Answer::Unknown;

    fn may_switch(self) -> bool {
        self == Answer::Replication
    }
}

/// What both directions of a connection have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) queue: Queue<Answer>,
    /// Answers are followed by what other connections ask.
    pub(super) monitoring: bool,
    /// Confirmations that are still to come of a command that is answered already; None: any number.
    pub(super) confirmations: Option<(&'static str, Option<u64>)>,
    /// A command has begun since bytes of answers were lost, by a client that waits for answers: the next call begins one.
    pub(super) asked_since_loss: bool,
}

impl Shared {
    /// Whether a value that begins with this word is no answer. `told`: it says itself that it may be none (RESP3); where it
    /// does not, only some commands can wait while channels are subscribed to.
    pub(super) fn is_push(&mut self, word: Push, told: bool) -> bool {
        let asked = self.queue.next().0;
        let Push::Confirmation(command) = word else {
            return told || !matches!(asked, Answer::Value | Answer::Monitor | Answer::Replication);
        };
        let is_asked = matches!(asked, Answer::Confirmations(asked, _) if asked == command);
        match &mut self.confirmations {
            Some((owed, Some(left))) if *owed == command => {
                *left -= 1;
                if *left == 0 {
                    self.confirmations = None;
                }
                true
            }
            Some((owed, None)) if *owed == command => !is_asked,
            _ if told => !is_asked,
            _ => !is_asked && !matches!(asked, Answer::Value | Answer::Monitor | Answer::Replication),
        }
    }
}

/// Where one direction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// In values, or between them.
    #[default]
    Known,
    /// Somewhere.
    Lost,
    /// Beyond this protocol.
    Tunnel,
}

/// One direction, as far as both read alike.
pub(super) trait Side {
    fn state(&mut self) -> &mut State;
    fn offset(&mut self) -> &mut u64;
    /// A call that begins with these bytes may show where a message begins.
    fn resynchronise(&mut self, bytes: &[u8], shared: &mut Shared);
    /// The next byte begins a value that belongs to no other.
    fn is_between(&self) -> bool;
    /// Reads the first of some known bytes; returns how many.
    fn known(&mut self, bytes: &[u8], when: When, shared: &mut Shared, parts: &mut Vec<Part>) -> usize;
    /// Passes over bytes of whose number alone something is known; returns how many.
    fn counted(&mut self, length: u64, parts: &mut Vec<Part>) -> u64;
    /// What comes next is not known. `seen`: some call moved it.
    fn lose(&mut self, seen: bool, shared: &mut Shared);

    fn bytes(&mut self, bytes: &[u8], when: When, shared: &mut Shared, parts: &mut Vec<Part>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if shared.queue.tunnel && *self.state() == State::Known {
                *self.state() = State::Tunnel;
            }
            let used = match *self.state() {
                State::Known => self.known(rest, when, shared, parts),
                State::Lost => {
                    self.lose(true, shared);
                    self.all(What::Lost, rest, parts)
                }
                State::Tunnel => self.all(What::Tunnel, rest, parts),
            };
            rest = &rest[used..];
        }
    }

    fn all(&mut self, what: What, bytes: &[u8], parts: &mut Vec<Part>) -> usize {
        push(self.offset(), what, bytes.len() as u64, parts);
        bytes.len()
    }

    /// Bytes that are not known. `seen`: a call moved them.
    fn unknown(&mut self, length: u64, seen: bool, shared: &mut Shared, parts: &mut Vec<Part>) {
        let mut left = length;
        if *self.state() == State::Known {
            left -= self.counted(length, parts);
        }
        if left == 0 {
            return;
        }
        if *self.state() != State::Tunnel {
            *self.state() = State::Lost;
            self.lose(seen, shared);
        }
        let what = if *self.state() == State::Tunnel { What::Tunnel } else { What::Lost };
        push(self.offset(), what, left, parts);
    }

    fn call(&mut self, call: Call<'_>, shared: &mut Shared, parts: &mut Vec<Part>) {
        let when = When { sent: call.sent, start_ns: call.times_ns[0], end_ns: call.times_ns[1] };
        if *self.state() == State::Lost {
            self.resynchronise(call.head, shared);
        }
        self.bytes(call.head, when, shared, parts);
        let hole = call.length.saturating_sub((call.head.len() + call.tail.len()) as u64);
        if hole > 0 {
            self.unknown(hole, true, shared, parts);
        }
        self.tail(call.tail, when, shared, parts);
    }

    /// The last bytes of a call. Of those that were not understood blanks are stored, and a blank begins an array: where
    /// nothing but blanks is left of a call, what they were is not known.
    fn tail(&mut self, bytes: &[u8], when: When, shared: &mut Shared, parts: &mut Vec<Part>) {
        let said = bytes.iter().rposition(|&byte| byte != BLANK).map_or(0, |last| last + 1);
        let (said, blanks) = bytes.split_at(said);
        self.bytes(said, when, shared, parts);
        if *self.state() == State::Known && !shared.queue.tunnel && self.is_between() {
            self.unknown(blanks.len() as u64, true, shared, parts);
        } else {
            self.bytes(blanks, when, shared, parts);
        }
    }
}
