//! Framing of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use super::envelope::{self, HEADER, Header};
use super::segment::{self, Segment};
use super::{codes, keep, recognise};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Status, Title, Value};
use crate::parts::{Direction, HeadInfo};
use crate::protocol::Verdict;
use crate::sql::{Dialect, Summary};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    ways: [Way; 2],
    next_key: u64,
    /// Requests that are not answered, by their streams.
    open: HashMap<i16, Open>,
    /// Statements by the ids that the server gave them.
    prepared: HashMap<Box<[u8]>, Arc<Operation>>,
    keyspace: Option<Arc<str>>,
    /// The last statement that was sent as it is.
    last: Option<(Box<[u8]>, bool, Arc<Operation>)>,
    /// An EXECUTE whose statement is not known.
    unknown: Option<Arc<Operation>>,
    /// Segments will be compressed.
    compressed: bool,
    /// They are.
    opaque: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    place: Place,
    /// Bytes that a message still has in segments to come.
    more: u64,
    /// Whether messages come in segments, where that is known.
    segments: Option<bool>,
    /// That message is one of an exchange.
    counts: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// A segment begins, or a message that is in none.
    #[default]
    Outside,
    /// So many bytes of a segment are left, which are whole messages.
    Within(u64),
    /// So many, which are a part of one.
    Part(u64),
    /// It has nothing but its checksum.
    Empty,
}

#[derive(Debug)]
struct Open {
    key: u64,
    /// What will be prepared.
    prepares: Option<Arc<Operation>>,
    /// Bytes were lost since, by direction: the stream may be in use by another request.
    lost: [bool; 2],
}

impl Place {
    /// How long the frame is of a message of this length: what ends a segment belongs to the message in front
    /// of it. None: it does not fit.
    fn extent(self, message: u64) -> Option<u64> {
        match self {
            Place::Within(left) if message == left => Some(message + segment::TRAILER),
            Place::Within(left) if message > left => None,
            Place::Part(left) if message <= left => None,
            Place::Part(left) => Some(left + segment::TRAILER),
            _ => Some(message),
        }
    }
}

/// Most prepared statements that are remembered.
const MAX_PREPARED: usize = 4096;

/// Most requests that wait: as many as there are streams in use by any driver.
const MAX_OPEN: usize = 32_768;

/// A longer statement is not held to be compared with the next one.
const MAX_LAST_BYTES: usize = 1024;

const SYSTEM: &str = "cassandra";

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if self.opaque {
            return Measure::Frame { total: 1, head: 0 };
        }
        let way = &self.ways[direction as usize];
        if way.more > 0
            && let Place::Part(left) = way.place
        {
            return Measure::Frame { total: left + segment::TRAILER, head: 0 };
        }
        if way.place == Place::Empty {
            return Measure::Frame { total: segment::TRAILER, head: 0 };
        }
        if way.place == Place::Outside && way.segments != Some(false) {
            if Segment::of(bytes).is_some() {
                return Measure::Frame { total: segment::HEADER as u64, head: segment::HEADER };
            }
            if bytes.len() < segment::HEADER {
                return Measure::Need(segment::HEADER);
            }
            if way.segments == Some(true) {
                return Measure::None;
            }
        }
        if bytes.len() < HEADER {
            return Measure::Need(HEADER);
        }
        let Some(header) = Header::of(direction, bytes) else { return Measure::None };
        match way.place.extent(header.total()) {
            Some(total) => Measure::Frame { total, head: header.head_length() },
            None => Measure::None,
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        !self.opaque && recognise::recognise(direction, bytes, false) == Verdict::Surely
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let way = &self.ways[direction as usize];
        match way.place {
            Place::Outside if way.segments != Some(false) && self.is_segment(direction, head) => {
                runs.keep(head.len());
            }
            Place::Part(_) if way.more > 0 => {}
            Place::Empty => {}
            _ => keep::keep(direction, head, runs),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        if self.opaque {
            return say.tunnel();
        }
        let direction = frame.direction;
        let way = &mut self.ways[direction as usize];
        match way.place {
            Place::Empty => way.place = Place::Outside,
            Place::Part(left) if way.more > 0 => {
                way.place = Place::Outside;
                way.more = way.more.saturating_sub(left);
                if way.more == 0 && std::mem::take(&mut way.counts) {
                    say.end();
                }
            }
            Place::Outside if frame.total == segment::HEADER as u64 => {
                way.segments = Some(true);
                way.place = match Segment::of(frame.head) {
                    Some(Segment { length: 0, .. }) | None => Place::Empty,
                    Some(Segment { length, alone: true }) => Place::Within(u64::from(length)),
                    Some(Segment { length, alone: false }) => Place::Part(u64::from(length)),
                };
            }
            _ => self.message(frame, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        let way = &mut self.ways[direction as usize];
        *way = Way { segments: way.segments, ..Way::default() };
        self.open.retain(|_, open| {
            open.lost[direction as usize] = true;
            open.lost != [true; 2]
        });
    }

    fn rest(&self, direction: Direction) -> Option<u64> {
        let way = &self.ways[direction as usize];
        match way.place {
            Place::Part(left) if way.more > 0 => Some(left + segment::TRAILER),
            Place::Empty => Some(segment::TRAILER),
            _ => None,
        }
    }

    fn missed(&mut self, direction: Direction) {
        self.lost(direction);
        if direction == Direction::Responses {
            // They may have been answered, and their streams be in use by requests that were not seen.
            self.open.clear();
        }
    }
}

impl Connection {
    /// Whether these bytes are the header of a segment, or a part of one.
    fn is_segment(&self, direction: Direction, head: &[u8]) -> bool {
        let known = self.ways[direction as usize].segments == Some(true);
        known || head.len() == segment::HEADER && Segment::of(head).is_some()
    }

    /// A message, or the first part of one.
    fn message(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let direction = frame.direction;
        let Some(header) = Header::of(direction, frame.head) else { return };
        let way = &mut self.ways[direction as usize];
        match way.place {
            Place::Outside => way.segments = (header.version < 5).then_some(false),
            Place::Within(left) if left > header.total() => way.place = Place::Within(left - header.total()),
            Place::Part(left) => {
                way.more = header.total().saturating_sub(left);
                way.place = Place::Outside;
            }
            Place::Within(_) | Place::Empty => way.place = Place::Outside,
        }
        let info = match direction {
            Direction::Requests => Some(self.request(header, frame.head)),
            Direction::Responses => self.answer(header, frame.head),
        };
        let way = &mut self.ways[direction as usize];
        way.counts = info.is_some() && way.more > 0;
        let ends = way.more == 0;
        let Some(info) = info else { return };
        say.begin();
        say.head(info);
        if ends {
            say.end();
        }
    }

    fn request(&mut self, header: Header, head: &[u8]) -> HeadInfo {
        self.next_key += 1;
        let key = self.next_key;
        let fields = (!header.is_compressed()).then(|| header.front(head, |_, _| {})).flatten();
        let (operation, prepares) = self.operation(header, head, fields);
        if self.open.len() < MAX_OPEN || self.open.contains_key(&header.stream) {
            self.open.insert(header.stream, Open { key, prepares, lost: [false; 2] });
        }
        HeadInfo { key: Some(key), operation: Some(operation), ..HeadInfo::default() }
    }

    /// What is asked for, and what is prepared by that. `fields`: where the request's own fields begin.
    fn operation(
        &mut self,
        header: Header,
        head: &[u8],
        fields: Option<usize>,
    ) -> (Arc<Operation>, Option<Arc<Operation>>) {
        let name = codes::request(header.opcode);
        match (header.opcode, fields) {
            (codes::QUERY, Some(at)) => {
                let (statement, whole) = envelope::long_string(head, at).unwrap_or_default();
                (self.query(statement, whole), None)
            }
            (codes::PREPARE, Some(at)) => {
                let (statement, whole) = envelope::long_string(head, at).unwrap_or_default();
                let summary = Summary::of(statement, Dialect::Cql, whole);
                let prepares = Arc::new(self.of_summary(summary.clone(), Some("EXECUTE")));
                let summary = Summary { operation: Some("PREPARE"), ..summary };
                (self.of_summary(summary, None).into(), Some(prepares))
            }
            (codes::EXECUTE, Some(at)) => {
                let known = envelope::id(head, at).and_then(|id| self.prepared.get(id)).cloned();
                (known.unwrap_or_else(|| self.unknown()), None)
            }
            (codes::BATCH, Some(at)) => (self.batch(head, at).into(), None),
            (codes::STARTUP, Some(at)) => {
                let compression = envelope::option(head, at, b"COMPRESSION");
                self.compressed = header.version >= 5 && compression.is_some_and(|name| !name.is_empty());
                (self.bare(name).into(), None)
            }
            _ => (self.bare(name).into(), None),
        }
    }

    fn of_summary(&self, summary: Summary, name: Option<&'static str>) -> Operation {
        summary.into_operation(SYSTEM, name, self.keyspace.as_ref())
    }

    /// A request that says nothing more.
    fn bare(&self, name: Option<&'static str>) -> Operation {
        self.of_summary(Summary::default(), name)
    }

    fn unknown(&mut self) -> Arc<Operation> {
        if let Some(unknown) = &self.unknown {
            return unknown.clone();
        }
        let unknown = Arc::new(self.bare(Some("EXECUTE")));
        self.unknown.insert(unknown).clone()
    }

    fn query(&mut self, statement: &[u8], whole: bool) -> Arc<Operation> {
        if let Some((last, last_whole, operation)) = &self.last
            && **last == *statement
            && *last_whole == whole
        {
            return operation.clone();
        }
        let summary = Summary::of(statement, Dialect::Cql, whole);
        let operation = Arc::new(self.of_summary(summary, Some("QUERY")));
        if statement.len() <= MAX_LAST_BYTES {
            self.last = Some((statement.into(), whole, operation.clone()));
        }
        operation
    }

    /// A batch is about what its first statement is about.
    fn batch(&self, head: &[u8], at: usize) -> Operation {
        let count = envelope::short(head, at + 1);
        let first = match head.get(at + 3) {
            Some(0) => envelope::long_string(head, at + 4)
                .map(|(statement, whole)| self.of_summary(Summary::of(statement, Dialect::Cql, whole), None)),
            Some(1) => {
                envelope::id(head, at + 4).and_then(|id| self.prepared.get(id)).map(|op| (**op).clone())
            }
            _ => None,
        };
        let target = first.as_ref().and_then(|first| first.target.as_deref().map(String::from));
        let mut operation =
            self.of_summary(Summary { target, operation: Some("BATCH"), ..Summary::default() }, None);
        if let Some(text) = first.as_ref().and_then(|first| first.text("db.query.text")) {
            operation.attributes.push(("db.query.text", Value::Text(text.clone())));
            let summary = match &operation.title {
                Some(Title::Named(title)) => Value::Text(title.clone()),
                _ => Value::Name("BATCH"),
            };
            operation.attributes.push(("db.query.summary", summary));
        }
        // The conventions want the size of batches of several statements alone.
        if let Some(count) = count.filter(|count| *count > 1) {
            operation.attributes.push(("db.operation.batch.size", Value::Int(count.into())));
        }
        operation
    }

    /// An answer; None: an event, or nothing that anybody asked for.
    fn answer(&mut self, header: Header, head: &[u8]) -> Option<HeadInfo> {
        if header.opcode == codes::EVENT || header.stream < 0 {
            return None;
        }
        let fields = (!header.is_compressed()).then(|| header.front(head, |_, _| {})).flatten();
        let open = self.open.remove(&header.stream);
        let status = match header.opcode {
            codes::ERROR => codes::error(fields.and_then(|at| envelope::int(head, at))),
            _ => Status::default(),
        };
        if let (codes::RESULT, Some(at)) = (header.opcode, fields) {
            let prepares = open.as_ref().and_then(|open| open.prepares.clone());
            self.result(head, at, prepares);
        }
        if matches!(header.opcode, codes::READY | codes::AUTHENTICATE) && header.version >= 5 {
            self.opaque = self.compressed;
        }
        Some(HeadInfo { key: open.map(|open| open.key), status, ..HeadInfo::default() })
    }

    /// What a result changes for requests to come.
    fn result(&mut self, head: &[u8], at: usize, prepares: Option<Arc<Operation>>) {
        match envelope::int(head, at) {
            Some(envelope::PREPARED) => {
                let (Some(id), Some(operation)) = (envelope::id(head, at + 4), prepares) else { return };
                if self.prepared.len() < MAX_PREPARED || self.prepared.contains_key(id) {
                    self.prepared.insert(id.into(), operation);
                }
            }
            Some(envelope::KEYSPACE) => {
                let name = envelope::string(head, at + 4).map(|(name, _)| name);
                let name = name.filter(|name| envelope::is_plain(name));
                self.keyspace = name.and_then(|name| std::str::from_utf8(name).ok()).map(Into::into);
                (self.last, self.unknown) = (None, None);
            }
            _ => {}
        }
    }
}
