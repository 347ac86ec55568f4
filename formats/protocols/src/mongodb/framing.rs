//! Framing of one connection. A message is several frames: its header, and then each element of its first
//! document, of which only the first bytes are read, however long it is. So the status is found that stands
//! behind a megabyte of documents.

mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bson::{self, Element, Read, i32_at};
use super::errors;
use super::messages::{self, HEADER, Header, Opcode};
use super::request::Asked;
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Status};
use crate::parts::{Direction, HeadInfo};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What is under way in each direction.
    inside: [Option<Inside>; 2],
    /// Requests that wait for their answer, by id.
    open: BTreeMap<u32, Open>,
    /// The last operation: the next one is often the same.
    last: Option<Arc<Operation>>,
    /// The id of an answer that another one follows, which names this one and not the request.
    followed: Option<u32>,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// It is a command, so that the answer tells how it went.
    command: bool,
}

/// A message that is being read.
#[derive(Debug)]
struct Inside {
    header: Header,
    /// Bytes from the next frame on.
    left: u64,
    stage: Stage,
    checksum: bool,
    unanswered: bool,
    /// It is a request, or an answer, and not something else that goes this way.
    told: bool,
    asked: Asked,
    ok: Option<bool>,
    code: Option<u16>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A section.
    Section,
    /// Elements of a document of which so many bytes are left. `outer`: it is the value of the first element
    /// of another one.
    Elements { left: u64, outer: bool },
    /// Nothing that is read.
    Rest,
}

/// Requests that are remembered.
const MAX_OPEN: usize = 4096;
/// Longest value that is read: a name with its length.
const MAX_VALUE: usize = 4 + 255 + 1;
/// More than the longest regular expression that is passed over has.
const MAX_EXPRESSION: u64 = 5000;

impl Inside {
    /// What the next frame is of an element, and where it may stand. None: it ends its document, or is no
    /// element.
    fn element<'a>(&self, bytes: &'a [u8]) -> Read<Element<'a>> {
        match (self.stage, bson::element(bytes)) {
            (Stage::Elements { left, .. }, Read::Got(element)) if element.total >= left => Read::Bad,
            (Stage::Elements { left, .. }, Read::Need(wanted)) if wanted as u64 >= left => Read::Bad,
            (_, read) => read,
        }
    }

    fn measure(&self, bytes: &[u8]) -> Measure {
        let rest = Measure::Frame { total: self.left, head: 0 };
        match self.stage {
            Stage::Rest => rest,
            Stage::Section if self.checksum && self.left == 4 => rest,
            Stage::Section => match *bytes {
                [] => Measure::Need(1),
                _ if bytes.len() < 5 && self.left >= 5 => Measure::Need(5),
                [0, ..] => self.body(bytes).map_or(rest, |_| Measure::Frame { total: 5, head: 5 }),
                [1, ..] => match i32_at(bytes, 1) {
                    Some(size) if (4..self.left as i64).contains(&size.into()) => {
                        Measure::Frame { total: 1 + size as u64, head: 5 }
                    }
                    _ => rest,
                },
                _ => rest,
            },
            Stage::Elements { .. } if bytes.first() == Some(&0) => Measure::Frame { total: 1, head: 1 },
            Stage::Elements { .. } => match self.element(bytes) {
                Read::Need(wanted) => Measure::Need(wanted),
                Read::Bad => rest,
                Read::Got(element) => {
                    if self.descends(&element) {
                        let total = element.head as u64 + 4;
                        return Measure::Frame { total, head: element.head + 4 };
                    }
                    let value = if self.wants(&element) { MAX_VALUE } else { 0 };
                    // Where it is framed by more than its name: an expression by its ends.
                    let most = if element.kind == bson::EXPRESSION { MAX_EXPRESSION } else { 5 };
                    let framing = (element.total - element.head as u64).min(most) as usize;
                    Measure::Frame { total: element.total, head: element.head + value.max(framing) }
                }
            },
        }
    }

    /// Bytes of the elements of a body that begins so.
    fn body(&self, bytes: &[u8]) -> Option<u64> {
        let length = u64::try_from(i32_at(bytes, 1)?).ok()?;
        (5..self.left).contains(&length).then(|| length - 4)
    }

    fn is_request(&self) -> bool {
        matches!(self.header.opcode, Opcode::Query | Opcode::Msg) && self.header.answers == 0
    }

    /// Whether the command is within this first element: old clients wrap it to say where it is to be read
    /// from.
    fn descends(&self, element: &Element<'_>) -> bool {
        let first = self.is_request() && self.asked.is_first();
        let wrapped = self.header.opcode == Opcode::Query && matches!(element.name, b"$query" | b"query");
        first && wrapped && element.kind == bson::DOCUMENT && self.stage_is_outer()
    }

    fn stage_is_outer(&self) -> bool {
        matches!(self.stage, Stage::Elements { outer: false, .. })
    }

    /// Whether the value of an element is read.
    fn wants(&self, element: &Element<'_>) -> bool {
        match self.is_request() {
            true => self.asked.wants(element),
            false => matches!(element.name, b"ok" | b"code"),
        }
    }

    /// The element of a frame was read, as far as it is there.
    fn take(&mut self, element: &Element<'_>, value: &[u8]) {
        if self.is_request() {
            return self.asked.take(element, value);
        }
        let number = bson::number(element.kind, value);
        match element.name {
            b"ok" if self.ok.is_none() => self.ok = is_ok(element.kind, value),
            b"code" if self.code.is_none() => self.code = number.and_then(|code| code.try_into().ok()),
            _ => {}
        }
    }

    /// What comes behind the document of a message.
    fn after_document(&self, outer: bool) -> Stage {
        match self.header.opcode {
            Opcode::Msg if !outer => Stage::Section,
            _ => Stage::Rest,
        }
    }

    fn status(&self) -> Option<Status> {
        match self.ok? {
            true => None,
            false => {
                let text = self.code.and_then(errors::name);
                Some(Status { code: self.code, text, failed: true })
            }
        }
    }
}

/// Anything but zero says that it went well.
fn is_ok(kind: u8, value: &[u8]) -> Option<bool> {
    match kind {
        bson::DOUBLE => Some(f64::from_le_bytes(*value.first_chunk()?) != 0.0),
        _ => bson::number(kind, value).map(|number| number != 0),
    }
}

impl Reading {
    /// Whether these are a header, the rest of which comes in another call: many read so. An answer's names a request that waits.
    fn is_header_alone(&self, direction: Direction, bytes: &[u8]) -> bool {
        let header = Header::of(direction, bytes).filter(|_| bytes.len() == HEADER);
        let waits = |header: &Header| self.open.contains_key(&header.answers);
        header.is_some_and(|header| direction == Direction::Requests || waits(&header))
    }

    fn begin(&mut self, header: Header, frame: &Frame<'_>, say: &mut Say) {
        let head = frame.head;
        let flags = messages::flags(head);
        let is_msg = header.opcode == Opcode::Msg;
        let mut inside = Inside {
            header,
            left: header.total - frame.total,
            stage: Stage::Rest,
            checksum: is_msg && flags & messages::CHECKSUM != 0,
            unanswered: header.opcode.is_unanswered() || (is_msg && flags & messages::MORE_TO_COME != 0),
            told: false,
            asked: Asked::default(),
            ok: None,
            code: None,
        };
        let document = |at: usize| {
            let length = i32_at(head, at).and_then(|length| u64::try_from(length).ok());
            let fits = length.filter(|length| (5..=inside.left + 4).contains(length));
            fits.map_or(Stage::Rest, |length| Stage::Elements { left: length - 4, outer: false })
        };
        match frame.direction {
            Direction::Requests => {
                inside.told = true;
                inside.asked = Asked::of(&header, head);
                inside.stage = match header.opcode {
                    Opcode::Msg => Stage::Section,
                    Opcode::Query if inside.asked.command => document(head.len().saturating_sub(4)),
                    _ => Stage::Rest,
                };
                say.begin();
            }
            Direction::Responses => {
                let open = self.open.remove(&header.answers);
                let follows = self.followed.is_some_and(|id| id == header.answers);
                inside.told = (header.answers != 0 || open.is_some()) && !follows;
                if follows || inside.unanswered {
                    self.followed = inside.unanswered.then_some(header.id);
                }
                inside.stage = match header.opcode {
                    Opcode::Msg => Stage::Section,
                    Opcode::Reply if open.is_some_and(|open| open.command) => document(HEADER + 20),
                    _ => Stage::Rest,
                };
                if header.opcode == Opcode::Reply
                    && flags & (messages::CURSOR_NOT_FOUND | messages::QUERY_FAILURE) != 0
                {
                    let lost = flags & messages::CURSOR_NOT_FOUND != 0;
                    (inside.ok, inside.code) = (Some(false), lost.then_some(43));
                }
                if inside.told {
                    say.begin();
                    say.head(HeadInfo { key: Some(header.answers.into()), ..HeadInfo::default() });
                }
            }
        }
        if !frame.whole {
            inside.stage = Stage::Rest;
        }
        self.go_on(frame.direction, inside, say);
    }

    /// A frame of the message under way, behind the first.
    fn more(&mut self, mut inside: Inside, frame: &Frame<'_>, say: &mut Say) {
        inside.left = inside.left.saturating_sub(frame.total);
        let head = frame.head;
        match inside.stage {
            Stage::Rest => {}
            _ if !frame.whole && head.is_empty() => inside.stage = Stage::Rest,
            Stage::Section => {
                let length = i32_at(head, 1).and_then(|length| u64::try_from(length).ok());
                let body = length.filter(|length| (5..=inside.left + 4).contains(length));
                if head.first() == Some(&0) {
                    inside.stage =
                        body.map_or(Stage::Rest, |length| Stage::Elements { left: length - 4, outer: false });
                }
            }
            Stage::Elements { left, outer } => {
                inside.stage = match inside.element(head) {
                    _ if head.first() == Some(&0) && frame.total == 1 => inside.after_document(outer),
                    Read::Got(element) if inside.descends(&element) => {
                        let length = i32_at(head, element.head).and_then(|length| u64::try_from(length).ok());
                        let fits = length.filter(|length| (5..left).contains(length));
                        fits.map_or(Stage::Rest, |length| Stage::Elements { left: length - 4, outer: true })
                    }
                    Read::Got(element) if element.total == frame.total => {
                        inside.take(&element, &head[element.head.min(head.len())..]);
                        Stage::Elements { left: left - frame.total, outer }
                    }
                    _ => Stage::Rest,
                };
            }
        }
        self.go_on(frame.direction, inside, say);
    }

    /// What comes next of a message, if anything does.
    fn go_on(&mut self, direction: Direction, inside: Inside, say: &mut Say) {
        if inside.left > 0 {
            self.inside[direction as usize] = Some(inside);
            return;
        }
        if !inside.told {
            return;
        }
        if direction == Direction::Responses {
            if let Some(status) = inside.status() {
                say.status(status);
            }
            return say.end();
        }
        let id = inside.header.id;
        if !inside.unanswered {
            if self.open.len() >= MAX_OPEN {
                self.open.pop_first();
            }
            self.open.insert(id, Open { command: inside.asked.command });
        }
        let operation = inside.asked.operation(self.last.as_ref());
        self.last = Some(operation.clone());
        say.head(HeadInfo {
            key: (!inside.unanswered).then_some(id.into()),
            operation: Some(operation),
            unanswered: inside.unanswered,
            ..HeadInfo::default()
        });
        say.end();
    }
}

impl Codec for Reading {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if let Some(inside) = &self.inside[direction as usize] {
            return inside.measure(bytes);
        }
        if bytes.len() < HEADER {
            return Measure::Need(HEADER);
        }
        let Some(header) = Header::of(direction, bytes) else { return Measure::None };
        match messages::preamble(&header, bytes) {
            Read::Got(length) => Measure::Frame { total: length as u64, head: length },
            Read::Need(wanted) => Measure::Need(wanted),
            Read::Bad => Measure::None,
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        messages::begins(direction, bytes) || self.is_header_alone(direction, bytes)
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let Some(inside) = &self.inside[direction as usize] else {
            if let Some(header) = Header::of(direction, head) {
                keep::preamble(&header, head, runs);
            }
            return;
        };
        match inside.stage {
            Stage::Rest => {}
            Stage::Section => runs.keep(head.len().min(5)),
            Stage::Elements { .. } if head.first() == Some(&0) => runs.keep(1),
            Stage::Elements { .. } => {
                if let Read::Got(element) = inside.element(head) {
                    keep::element(inside, &element, head, runs);
                }
            }
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        match self.inside[frame.direction as usize].take() {
            Some(inside) => self.more(inside, frame, say),
            None => {
                if let Some(header) = Header::of(frame.direction, frame.head) {
                    self.begin(header, frame, say);
                }
            }
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.inside[direction as usize] = None;
    }

    fn rest(&self, direction: Direction) -> Option<u64> {
        self.inside[direction as usize].as_ref().map(|inside| inside.left)
    }
}
