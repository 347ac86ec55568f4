//! Frames: records. Which request each belongs to, its id tells as long as that is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::{Head, MAX_RECORD};
use super::params::Piece;
use super::records::{self, BODY, HEADER, Kind, Record, Role};
use super::request::Params;
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Status};
use crate::parts::{Direction, HeadInfo};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    next_key: u64,
    /// By their ids.
    open: BTreeMap<u16, Open>,
    /// Whose message is under way in each direction.
    current: [Option<u16>; 2],
    last: Arc<Operation>,
}

/// A request without its end.
#[derive(Debug)]
struct Open {
    key: u64,
    role: Role,
    /// What it asks for, as long as more of that may come.
    params: Option<Box<Params>>,
    answer: Head,
    answer_begun: bool,
    has_output: bool,
    /// Frames may have been missed of requests, of answers.
    lost: [bool; 2],
}

/// Requests that are open at once, at most.
const MAX_OPEN: usize = 4096;

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if bytes.len() < HEADER {
            return Measure::Need(HEADER);
        }
        let Some(record) = Record::of(direction, bytes) else { return Measure::None };
        let length = usize::from(record.length);
        let open = self.open.get(&record.id);
        let read = match record.kind {
            Kind::Begin | Kind::End => BODY,
            Kind::Params if open.is_some_and(|open| open.params.is_some()) => length,
            Kind::Stdout if open.is_some_and(|open| !open.answer.done) => length.min(MAX_RECORD),
            _ => 0,
        };
        Measure::Frame { total: record.total(), head: HEADER + read }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        records::begins(direction, bytes)
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let Some((header, content)) = head.split_at_checked(HEADER) else { return runs.keep(head.len()) };
        runs.keep(HEADER);
        let Some(record) = Record::of(direction, header) else { return };
        match (record.kind, self.open.get(&record.id)) {
            // Servers leave in what is reserved whatever was there: php-fpm bytes of its output.
            (Kind::Begin, _) => keep_or_zero(content, BEGIN_BYTES, runs),
            (Kind::End, _) => keep_or_zero(content, END_BYTES, runs),
            (Kind::Params, Some(Open { params: Some(params), .. })) if !params.broken => {
                keep_params(params, content, runs);
            }
            (Kind::Stdout, Some(open)) => {
                let mut answer = open.answer;
                answer.walk(content, true, |line| {
                    runs.keep(line.kept.len());
                    runs.blank(line.end.start - line.kept.end);
                    runs.keep(line.end.len());
                });
            }
            _ => {}
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let Some(record) = Record::of(frame.direction, frame.head) else { return };
        let content = &frame.head[HEADER..];
        match frame.direction {
            Direction::Requests => self.request(record, content, frame, say),
            Direction::Responses => self.answer(record, content, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.current[direction as usize] = None;
        for open in self.open.values_mut() {
            open.lost[direction as usize] = true;
            if direction == Direction::Responses {
                open.answer.lose();
            }
        }
        // Where both were missed, another request may have the id; what has no head cannot be answered.
        let is_certain = |open: &mut Open| {
            open.lost != [true; 2] && (direction == Direction::Responses || open.params.is_none())
        };
        self.open.retain(|_, open| is_certain(open));
    }
}

/// Role and flags of the body of [`Kind::Begin`].
const BEGIN_BYTES: usize = 3;
/// What the body of [`Kind::End`] says of the application and the protocol.
const END_BYTES: usize = 5;

fn keep_or_zero(content: &[u8], said: usize, runs: &mut Runs) {
    let said = said.min(content.len());
    runs.keep(said);
    runs.instead(vec![0; content.len() - said]);
}

fn keep_params(params: &Params, content: &[u8], runs: &mut Runs) {
    let mut place = params.place;
    place.walk(content, |piece| match piece {
        Piece::Lengths(length) => runs.keep(length),
        Piece::Name(run, true) => runs.keep(run.len()),
        Piece::Name(run, false) | Piece::Value(run, None) => runs.blank(run.len()),
        Piece::Value(run, Some(name)) => name
            .runs(&content[run], |length, keeps| if keeps { runs.keep(length) } else { runs.blank(length) }),
    });
}

impl Connection {
    fn request(&mut self, record: Record, content: &[u8], frame: &Frame<'_>, say: &mut Say) {
        match record.kind {
            Kind::Begin => return self.begin(record.id, content, say),
            Kind::Management => return,
            _ => {}
        }
        if !self.turn_to(record.id, say) {
            return;
        }
        let Some(open) = self.open.get_mut(&record.id) else { return };
        let is_end = record.length == 0;
        match record.kind {
            Kind::Params if !is_end => {
                if let Some(params) = &mut open.params {
                    params.read(content, frame.whole);
                }
            }
            Kind::Abort => {
                self.head(record.id).into_iter().for_each(|info| say.head(info));
                self.abort(record.id, say);
            }
            kind => {
                let is_last = is_end
                    && matches!(
                        (kind, open.role),
                        (Kind::Params, Role::Authorizer)
                            | (Kind::Stdin, Role::Responder)
                            | (Kind::Data, Role::Filter)
                    );
                self.head(record.id).into_iter().for_each(|info| say.head(info));
                if is_last {
                    self.current[Direction::Requests as usize] = None;
                    say.end();
                }
            }
        }
    }

    fn begin(&mut self, id: u16, content: &[u8], say: &mut Say) {
        self.leave(say);
        let role = records::role(content).map_or(Role::Responder, |(role, _)| role);
        self.next_key += 1;
        if self.open.len() == MAX_OPEN {
            self.open.pop_first();
        }
        let open = Open {
            key: self.next_key,
            role,
            params: Some(Box::default()),
            answer: Head::default(),
            answer_begun: false,
            has_output: false,
            lost: [false; 2],
        };
        self.open.insert(id, open);
        self.current[Direction::Requests as usize] = Some(id);
        // What is left of an answer to another one with this id is nobody's.
        let answered = &mut self.current[Direction::Responses as usize];
        *answered = answered.filter(|&answered| answered != id);
        say.begin();
    }

    /// The request under way gives way to another one: no more is read of what it asks for.
    fn leave(&mut self, say: &mut Say) {
        if let Some(info) = self.current[Direction::Requests as usize].and_then(|id| self.head(id)) {
            say.head_before(info);
        }
    }

    /// The record belongs to the request of this id. False where none is open.
    fn turn_to(&mut self, id: u16, say: &mut Say) -> bool {
        let current = self.current[Direction::Requests as usize];
        if current != Some(id) {
            self.leave(say);
            let Some(open) = self.open.get(&id) else { return false };
            say.resume(open.key);
            self.current[Direction::Requests as usize] = Some(id);
        }
        true
    }

    /// What is known of the request whose head has not been told.
    fn head(&mut self, id: u16) -> Option<HeadInfo> {
        let open = self.open.get_mut(&id)?;
        let params = open.params.take()?;
        let operation = params.operation(&self.last);
        if operation != *self.last {
            self.last = operation.into();
        }
        Some(HeadInfo { key: Some(open.key), operation: Some(self.last.clone()), ..HeadInfo::default() })
    }

    fn abort(&mut self, id: u16, say: &mut Say) {
        if let Some(open) = self.open.remove(&id) {
            self.current[Direction::Requests as usize] = None;
            say.cancelled(open.key);
        }
    }

    fn answer(&mut self, record: Record, content: &[u8], say: &mut Say) {
        if record.kind == Kind::Management {
            return;
        }
        let Some(open) = self.open.get_mut(&record.id) else {
            // What goes on may not be taken for a part of it.
            self.current[Direction::Responses as usize] = None;
            return;
        };
        let mut status = open.answer.status;
        if record.kind == Kind::Stdout && record.length > 0 {
            open.has_output = true;
            if !open.answer.done {
                let whole = content.len() == usize::from(record.length);
                open.answer.walk(content, whole, |_| {});
            }
        }
        let current = self.current[Direction::Responses as usize];
        if !open.answer_begun {
            open.answer_begun = true;
            say.begin();
            say.head(HeadInfo {
                key: Some(open.key),
                status: status_of(open.answer.status),
                ..HeadInfo::default()
            });
            status = open.answer.status;
        } else if current != Some(record.id) {
            say.resume(open.key);
        }
        self.current[Direction::Responses as usize] = Some(record.id);
        if record.kind == Kind::End {
            let end = end_status(open, content);
            if end != status_of(status) {
                say.status(end);
            }
            say.end();
            self.current[Direction::Responses as usize] = None;
            self.open.remove(&record.id);
        } else if open.answer.status != status {
            say.status(status_of(open.answer.status));
        }
    }
}

fn status_of(code: Option<u16>) -> Status {
    Status { code, ..Status::default() }
}

/// How it went, where the request ends.
fn end_status(open: &Open, content: &[u8]) -> Status {
    let ordinary = (open.has_output && !open.answer.unsure).then_some(200);
    let mut status = status_of(open.answer.status.or(ordinary));
    status.text = match content.get(4) {
        Some(1) => Some("CANT_MPX_CONN"),
        Some(2) => Some("OVERLOADED"),
        Some(3) => Some("UNKNOWN_ROLE"),
        _ => None,
    };
    status.failed = status.text.is_some();
    status
}
