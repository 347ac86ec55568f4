//! Framing of one connection: packets of commands and of answers.

mod replies;

use super::answers::{self, Kind, Reply};
use super::commands::{self, Answer, Expected};
use super::login::{self, Login};
use super::packets::{self, HEADER, LONGEST, capability};
use super::requests::{self, Statements};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::parts::{Direction, HeadInfo};
use crate::queue::{Queue, When};

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Reading {
    phase: Phase,
    /// Capabilities of server and client, once they are seen.
    server: Option<u32>,
    client: Option<u32>,
    /// Definitions have no end of their own.
    deprecate_eof: Option<bool>,
    queue: Queue<Expected>,
    statements: Statements,
    /// Messages that have begun where commands are.
    begun: u64,
    /// Place of the last command that is answered, where none was missed since.
    last_asked: Option<u64>,
    /// Of a command that goes on in further packets: what it says of its answer, and the number of the next
    /// packet.
    long: Option<Expected>,
    answer: Option<Open>,
    /// The answer to the command at this place has begun, and its end was not seen.
    unended: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Up to the server's OK.
    Login,
    Commands,
    /// Encrypted, compressed, or another protocol.
    Beyond,
}

/// An answer that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: u64,
    reply: Reply,
    /// Number of its next packet.
    sequence: u8,
    /// The packet before goes on in the next one.
    long: bool,
    /// It may be complete.
    may_end: bool,
}

/// A packet of a client that begins no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    /// A login, or what asks for encryption.
    Login,
    /// More of what began before.
    Rest,
}

/// Longest packet of a login that is believed, and how much of it is read.
const MAX_LOGIN: usize = 65_536;
const LOGIN_HEAD: usize = 1024;
/// What a replica sends to confirm an event (semi-synchronous replication): not answered, and no command.
const CONFIRMS_EVENT: u8 = 0xef;

impl Reading {
    /// `from_start`: the connection is seen from its first byte.
    pub(super) fn new(from_start: bool) -> Reading {
        Reading {
            phase: if from_start { Phase::Login } else { Phase::Commands },
            server: None,
            client: None,
            deprecate_eof: None,
            queue: Queue::in_batches(from_start),
            statements: Statements::new(),
            begun: 0,
            last_asked: None,
            long: None,
            answer: None,
            unended: None,
        }
    }

    /// The command that the next answer belongs to, where that is certain.
    fn owed(&self) -> Option<Expected> {
        let (asked, number) = self.queue.next();
        number.map(|_| asked).filter(|asked| Reply::to(asked.answer) != Reply::Unread)
    }

    /// What the packet of this number, which begins so, is of an answer: more of the one under way, or the
    /// first of the next.
    fn place(&self, sequence: u8, first: Option<u8>) -> Option<(Reply, bool)> {
        if let Some(open) = self.answer.filter(|open| open.sequence == sequence) {
            return Some((open.reply, open.long));
        }
        let owed = self.owed()?;
        // Servers that end a connection do not count.
        let begins = owed.sequence == sequence || (first == Some(0xff) && self.answer.is_none());
        begins.then(|| (Reply::to(owed.answer), false))
    }

    fn measure_command(&self, bytes: &[u8]) -> Measure {
        let Some((length, sequence)) = packets::header(bytes) else { return Measure::Need(HEADER) };
        let total = (HEADER + length) as u64;
        let rest = Measure::Frame { total, head: HEADER };
        let payload = &bytes[HEADER..];
        if length == 0 {
            return if sequence > 0 { rest } else { Measure::None };
        }
        if sequence > 0 {
            return match self.expects(sequence) {
                Packet::Rest => rest,
                Packet::Login if payload.len() < length.min(login::FIXED) => {
                    Measure::Need(HEADER + length.min(login::FIXED))
                }
                Packet::Login if login::is_login(payload, length) => {
                    Measure::Frame { total, head: LOGIN_HEAD }
                }
                Packet::Login => Measure::None,
            };
        }
        let Some(&code) = payload.first() else { return Measure::Need(HEADER + 1) };
        if code == CONFIRMS_EVENT && self.is_stream() {
            return rest;
        }
        if commands::of(code, length).is_none() {
            return Measure::None;
        }
        match requests::head_bytes(payload, length) {
            Some(head) => Measure::Frame { total, head: HEADER + head },
            None => Measure::Need(bytes.len() + 1),
        }
    }

    /// What a packet of the client is that begins no command.
    fn expects(&self, sequence: u8) -> Packet {
        let proves = self.phase == Phase::Login && self.client.is_some();
        let goes_on = self.long.is_some_and(|long| long.sequence == sequence);
        if proves || goes_on || self.client_may_go_on() { Packet::Rest } else { Packet::Login }
    }

    fn is_stream(&self) -> bool {
        self.answer.is_some_and(|open| open.reply == Reply::Stream)
            || self.owed().is_some_and(|owed| owed.answer == Answer::Stream)
    }

    /// It sends a file, or proves who it is.
    fn client_may_go_on(&self) -> bool {
        self.answer.is_some_and(|open| matches!(open.reply, Reply::File | Reply::Login))
    }

    fn measure_answer(&self, bytes: &[u8]) -> Measure {
        let Some((length, sequence)) = packets::header(bytes) else { return Measure::Need(HEADER) };
        let total = (HEADER + length) as u64;
        if self.phase == Phase::Login {
            return match bytes.get(HEADER) {
                _ if length == 0 || length > MAX_LOGIN => Measure::None,
                None => Measure::Need(HEADER + 1),
                Some(10) if sequence == 0 => Measure::Frame { total, head: 256 },
                // An error in place of a greeting.
                Some(0xff) => Measure::Frame { total, head: HEADER + 9 },
                Some(_) if sequence > 0 => Measure::Frame { total, head: HEADER + 1 },
                Some(_) => Measure::None,
            };
        }
        let first = bytes.get(HEADER).copied();
        if first.is_none() && length > 0 {
            return Measure::Need(HEADER + 1);
        }
        match self.place(sequence, first) {
            Some((_, true)) => Measure::Frame { total, head: HEADER },
            Some((reply, false)) => {
                let head = first.map_or(0, |first| Kind::of(reply, first, length).head_bytes());
                Measure::Frame { total, head: HEADER + head }
            }
            // The server gives notice that it ends the connection.
            None if first == Some(0xff) && self.answer.is_none() && !self.queue.awaits_response() => {
                Measure::Frame { total, head: HEADER + 9 }
            }
            None => Measure::None,
        }
    }

    fn login(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let length = frame.total as usize - HEADER;
        let payload = &frame.head[HEADER..];
        let login = Login::of(payload, length);
        if login.asks_for_ssl {
            self.phase = Phase::Beyond;
            return say.tunnel();
        }
        self.client = Some(login.capabilities);
        self.deprecate_eof =
            self.server.map(|server| server & login.capabilities & capability::DEPRECATE_EOF != 0);
        self.statements.set_namespace(login.database.map(Into::into));
        self.phase = Phase::Login;
    }

    fn command(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let length = frame.total as usize - HEADER;
        let Some((_, sequence)) = packets::header(frame.head) else { return };
        let payload = &frame.head[HEADER..];
        if sequence > 0 {
            return self.command_goes_on(length, sequence, frame, say);
        }
        let command = payload.first().and_then(|&code| commands::of(code, length));
        let Some(command) = command else { return };
        if std::mem::replace(&mut self.phase, Phase::Commands) == Phase::Login && self.client.is_none() {
            self.deprecate_eof = None;
        }
        self.answer_may_have_ended();
        self.long = None;
        let place = self.begun;
        self.begun += 1;
        let answered = command.answer != Answer::None;
        if answered {
            self.queue.begin(When::default());
        }
        let operation = self.statements.operation(command, payload, length, place);
        say.begin();
        say.head(HeadInfo {
            key: Some(place),
            operation: Some(operation),
            unanswered: !answered,
            ..HeadInfo::default()
        });
        if command.answer == Answer::Switch {
            self.phase = Phase::Beyond;
            say.tunnel();
        }
        let after = if answered { self.last_asked.replace(place) } else { None };
        self.command_packet(Expected { answer: command.answer, sequence: 1, place, after }, length, say);
    }

    /// A packet of a command: the last one, unless it is of the greatest length.
    fn command_packet(&mut self, expected: Expected, length: usize, say: &mut Say) {
        if length == LONGEST {
            self.long = Some(expected);
            return;
        }
        self.long = None;
        say.end();
        if expected.answer != Answer::None {
            self.queue.request(expected);
        }
    }

    fn command_goes_on(&mut self, length: usize, sequence: u8, frame: &Frame<'_>, say: &mut Say) {
        if self.expects(sequence) == Packet::Login {
            self.login(frame, say);
        } else if let Some(long) = self.long {
            self.command_packet(Expected { sequence: sequence.wrapping_add(1), ..long }, length, say);
        } else if let Some(open) = &mut self.answer {
            open.sequence = sequence.wrapping_add(1);
        }
    }
}

impl Codec for Reading {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        match direction {
            _ if self.phase == Phase::Beyond => Measure::Tunnel,
            Direction::Requests => self.measure_command(bytes),
            Direction::Responses => self.measure_answer(bytes),
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        match direction {
            _ if self.phase == Phase::Beyond => false,
            Direction::Requests => requests::is_command(bytes, true) || login::begins(bytes),
            Direction::Responses => {
                let sequence = packets::header(bytes).map(|(_, sequence)| sequence);
                let owed = self.owed().filter(|owed| Some(owed.sequence) == sequence);
                login::is_greeting(bytes)
                    || owed.is_some_and(|owed| answers::begins(owed.answer, bytes, false))
            }
        }
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        runs.keep(head.len().min(HEADER));
        let Some((length, sequence)) = packets::header(head) else { return };
        let payload = &head[HEADER..];
        let Some(&first) = payload.first() else { return };
        match direction {
            Direction::Requests if sequence == 0 => requests::keep(payload, length, runs),
            Direction::Requests => {
                if self.expects(sequence) == Packet::Login && login::is_login(payload, length) {
                    login::keep_login(payload, runs);
                }
            }
            Direction::Responses if self.phase == Phase::Login => match first {
                10 if sequence == 0 => login::keep_greeting(payload, runs),
                0xff => packets::keep_error(payload, runs),
                _ => runs.keep(1),
            },
            Direction::Responses => match self.place(sequence, Some(first)) {
                Some((reply, false)) => Kind::of(reply, first, length).keep(payload, length, runs),
                Some((_, true)) => {}
                None => packets::keep_error(payload, runs),
            },
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        match frame.direction {
            Direction::Requests => self.command(frame, say),
            Direction::Responses => self.answer_packet(frame, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        if self.phase == Phase::Beyond {
            return;
        }
        match direction {
            Direction::Requests => {
                (self.long, self.last_asked) = (None, None);
                self.queue.unknown_requests();
                self.statements.missed();
            }
            Direction::Responses => {
                self.break_off();
                self.queue.unknown_responses(true);
            }
        }
    }
}
