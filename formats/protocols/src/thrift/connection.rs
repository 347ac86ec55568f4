//! Messages of one connection: where they end, what they mean, and what of them may be kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::exception;
use super::header::{self, Known, Start};
use super::message::Kind;
use super::pending::Pending;
use super::skip::{Piece, Skipper};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Status, Title, Value};
use crate::parts::{Direction, HeadInfo};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    sides: [Side; 2],
    pending: Pending,
    /// Messages come in frames.
    frames: bool,
    /// Names of the last requests, with what they mean.
    recent: VecDeque<(Arc<str>, Arc<Operation>)>,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// The struct under way of a message without frames; over between messages.
    under_way: Skipper,
    /// Where that may be further on.
    ahead: Skipper,
    /// Its message is told of.
    told: bool,
}

/// How many names.
const MAX_RECENT: usize = 16;
/// Bytes of a message without frames that are passed over at once.
const CHUNK: usize = 1024;
/// Bytes of an exception in which its type stands, unless its message is very long.
const MOST_OF_EXCEPTION: usize = 4096;

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        let side = &mut self.sides[direction as usize];
        if !side.under_way.is_over() {
            side.ahead.copy(&side.under_way);
            return passed(&mut side.ahead, bytes, 0);
        }
        match header::start(bytes) {
            Start::Need(wanted) => Measure::Need(wanted),
            Start::None => Measure::None,
            Start::Known(Known { total: Some(total), theader, message }) => {
                let head = match &message {
                    Some(message) if message.kind == Kind::Exception => message.end + MOST_OF_EXCEPTION,
                    Some(message) => message.end,
                    None => theader.map_or(0, |(_, kept)| kept),
                };
                Measure::Frame { total, head }
            }
            Start::Known(Known { message: None, .. }) => Measure::None,
            Start::Known(Known { message: Some(message), .. }) => {
                side.ahead.begin(&message);
                passed(&mut side.ahead, bytes, message.end)
            }
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        header::proves(direction, bytes) || (self.frames && header::is_length_alone(bytes))
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let under_way = &self.sides[direction as usize].under_way;
        if !under_way.is_over() {
            return keep_struct(&mut under_way.clone(), head, runs);
        }
        let start = match header::start(head) {
            Start::Known(start) => start,
            // Many servers read the length alone before they read the rest.
            Start::Need(_) if header::may_have_length(head) => return runs.keep(head.len().min(4)),
            Start::Need(_) | Start::None => return,
        };
        if let Some((_, kept)) = start.theader {
            runs.keep(kept.min(head.len()));
        }
        let Some(message) = start.message else { return };
        let fields = start.theader.map_or(0, |_| message.begin.saturating_sub(runs.at()));
        runs.blank(fields);
        runs.keep(message.name.start - runs.at());
        if header::is_plain(&head[message.name.clone()]) {
            runs.keep(message.name.len());
        } else {
            runs.blank(message.name.len());
        }
        runs.keep(message.end - message.name.end);
        if start.total.is_none() || message.kind == Kind::Exception {
            keep_struct(&mut Skipper::of(&message), &head[message.end..], runs);
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let side = &mut self.sides[frame.direction as usize];
        if !side.under_way.is_over() {
            side.under_way.run(frame.head, &mut |_| {});
            if side.under_way.is_over() && side.told {
                if side.under_way.kind.is_some() {
                    say.status(exception::status(side.under_way.kind));
                }
                say.end();
            }
            return;
        }
        let Start::Known(start) = header::start(frame.head) else { return };
        self.frames = start.total.is_some();
        let mut status = Status::default();
        let mut over = true;
        if let Some(message) = &start.message {
            let rest = &frame.head[message.end..];
            let mut skipper = Skipper::of(message);
            if start.total.is_none() {
                skipper.run(rest, &mut |_| {});
                over = skipper.is_over();
                side.under_way.copy(&skipper);
            } else if message.kind == Kind::Exception {
                skipper.run(rest, &mut |_| {});
            }
            if message.kind == Kind::Exception {
                status = exception::status(skipper.kind);
            }
        }
        let told = self.message(frame, &start, status, say);
        self.sides[frame.direction as usize].told = told;
        if told && over {
            say.end();
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.sides[direction as usize] = Side::default();
        self.pending.lost();
    }
}

impl Connection {
    /// Tells of a message whose header is there. Returns whether it is one of this direction.
    fn message(&mut self, frame: &Frame<'_>, start: &Known, status: Status, say: &mut Say) -> bool {
        let message = start.message.as_ref();
        if message.is_some_and(|message| message.kind.direction() != frame.direction) {
            return false;
        }
        let name =
            message.map(|message| &frame.head[message.name.clone()]).filter(|name| header::is_plain(name));
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let info = match frame.direction {
            Direction::Requests => {
                let operation = self.operation(name);
                let unanswered = message.is_some_and(|message| message.kind == Kind::OneWay);
                let key = self.pending.call(operation.name.as_ref(), start.sequence(), !unanswered);
                HeadInfo { key: Some(key), operation: Some(operation), unanswered, ..HeadInfo::default() }
            }
            Direction::Responses => {
                let method = name.map(|name| method(name).1);
                let key = self.pending.answer(method, start.sequence());
                HeadInfo { key, status, ..HeadInfo::default() }
            }
        };
        say.begin();
        say.head(info);
        true
    }

    fn operation(&mut self, name: Option<&str>) -> Arc<Operation> {
        let name = name.unwrap_or_default();
        if let Some((_, known)) = self.recent.iter().find(|(known, _)| **known == *name) {
            return known.clone();
        }
        let operation = Arc::new(operation(name));
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((name.into(), operation.clone()));
        operation
    }
}

/// Service, of multiplexed ones, and method.
fn method(name: &str) -> (Option<&str>, &str) {
    match name.rsplit_once(':') {
        Some((service, method)) if !method.is_empty() => (Some(service), method),
        _ => (None, name),
    }
}

fn operation(name: &str) -> Operation {
    if name.is_empty() {
        return Operation::default();
    }
    let (service, method) = method(name);
    let (target, method) = (service.map(Arc::<str>::from), Arc::<str>::from(method));
    let mut attributes = vec![("rpc.method", Value::Text(method.clone()))];
    attributes.extend(target.clone().map(|target| ("rpc.service", Value::Text(target))));
    Operation {
        name: Some(method),
        title: Some(Title::Named(name.into())),
        target,
        attributes,
        ..Operation::default()
    }
}

/// How much of a message without frames `bytes` tell, of which the struct begins at `from`.
fn passed(skipper: &mut Skipper, bytes: &[u8], from: usize) -> Measure {
    let (length, stop) = skipper.run(&bytes[from..], &mut |_| {});
    let total = from as u64 + length;
    match stop {
        Some(Piece::Wrong) => Measure::None,
        _ if skipper.is_over() || total > bytes.len() as u64 || total >= CHUNK as u64 => {
            Measure::Frame { total, head: bytes.len() }
        }
        Some(Piece::Need(wanted)) => Measure::Need((total as usize + wanted).max(CHUNK)),
        _ => Measure::Need(bytes.len() + CHUNK),
    }
}

/// Types, numbers of fields, lengths; of values nothing but how many bytes they take.
fn keep_struct(skipper: &mut Skipper, bytes: &[u8], runs: &mut Runs) {
    let mut at = 0;
    skipper.run(bytes, &mut |piece| match piece {
        Piece::Value(length) => {
            let length = length.min((bytes.len() - at) as u64) as usize;
            runs.blank(length);
            at += length;
        }
        Piece::Structure(length) | Piece::Shown(length) => {
            runs.keep(length);
            at += length;
        }
        Piece::Truth(length) => {
            runs.instead(vec![bytes[at] & 0xf0 | 1]);
            runs.keep(length - 1);
            at += length;
        }
        Piece::Varint(length) => {
            runs.instead(hidden(length));
            at += length;
        }
        Piece::Need(_) | Piece::Wrong => {}
    });
}

/// A number of seven bits a byte that takes as many bytes, and is no type of an exception.
fn hidden(length: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; length];
    if let Some(last) = bytes.last_mut() {
        *last = 0x7f;
    }
    bytes
}
