//! Framing of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use super::due::Due;
use super::messages::{self, HEADER, Untyped};
use super::pairing::Pairing;
use super::{recognise, states};
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::operation::{Operation, Title, Value};
use crate::parts::{Direction, HeadInfo};
use crate::protocol::Verdict;
use crate::sql::{self, Dialect, Summary};

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pairing: Pairing,
    next_key: u64,
    /// The database.
    namespace: Option<Arc<str>>,
    /// What statements and portals are, by their names.
    statements: HashMap<Box<[u8]>, Arc<Operation>>,
    portals: HashMap<Box<[u8]>, Arc<Operation>>,
    /// The statement of the last simple query.
    last: Option<(Box<[u8]>, bool, Arc<Operation>)>,
    /// What is not known.
    unknown: Option<Arc<Operation>>,
    /// An answer of one byte is due.
    one_byte: bool,
    /// Both directions are encrypted.
    encrypted: bool,
    /// The client copies rows, and Sync is ignored.
    copies: bool,
    /// What was bound last and is not executed yet, ...
    bound: Option<Arc<Operation>>,
    /// ... and bytes behind that are not known.
    hidden: Option<Arc<Operation>>,
}

/// Most statements, and most portals, that are remembered.
const MAX_NAMES: usize = 4096;

/// A longer statement is not held to be compared with the next one.
const MAX_LAST_BYTES: usize = 1024;

const SYSTEM: &str = "postgresql";

impl Codec for Connection {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        if self.encrypted {
            return Measure::Frame { total: 1, head: 0 };
        }
        messages::measure(direction, bytes, self.one_byte && direction == Direction::Responses)
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        !self.encrypted && recognise::recognise(direction, bytes, false) == Verdict::Surely
    }

    fn begins_at_end(&self, direction: Direction, bytes: &[u8]) -> Option<usize> {
        match direction {
            _ if self.encrypted => None,
            Direction::Requests if self.hidden.is_some() => {
                recognise::ends_executed(bytes).then(|| bytes.len() - recognise::SYNC.len())
            }
            Direction::Requests => None,
            Direction::Responses => {
                recognise::ends_ready(bytes).then(|| bytes.len() - recognise::READY.len() - 1)
            }
        }
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        messages::keep(direction, head, runs);
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        if self.encrypted {
            return say.tunnel();
        }
        match (frame.direction, frame.head) {
            (_, []) => {}
            (Direction::Requests, [0, ..]) => self.untyped(frame.head, say),
            (Direction::Requests, [kind, ..]) => self.request(*kind, frame, say),
            (Direction::Responses, [kind]) => self.one_byte(*kind, say),
            (Direction::Responses, [kind, ..]) => self.answer(*kind, frame.head, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.one_byte = false;
        match direction {
            Direction::Requests => {
                self.copies = false;
                self.hidden = self.bound.take().or(self.hidden.take());
                // Names that are used again and again may stand for something else.
                self.statements.remove(&b""[..]);
                self.portals.clear();
                self.pairing.requests_lost();
            }
            Direction::Responses => self.pairing.answers_lost(),
        }
    }

    fn missed(&mut self, direction: Direction) {
        match direction {
            Direction::Requests => {
                self.statements.clear();
                self.lost(direction);
                self.hidden = None;
            }
            Direction::Responses => {
                self.one_byte = false;
                self.pairing.answers_missed();
            }
        }
    }

    fn closed(&mut self, direction: Direction, say: &mut Say) {
        if direction == Direction::Responses {
            self.pairing.closed(say);
        }
    }
}

impl Connection {
    fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    fn untyped(&mut self, head: &[u8], say: &mut Say) {
        let named = |name| Operation {
            name: Some(Arc::from(name)),
            title: Some(Title::Defined(name)),
            attributes: vec![("db.system.name", Value::Name(SYSTEM))],
            ..Operation::default()
        };
        match Untyped::of(head) {
            Some(Untyped::Startup) => {
                let mut operation = named("startup");
                let database = messages::parameter(head, b"database").filter(|name| messages::is_plain(name));
                self.namespace = database.and_then(|name| std::str::from_utf8(name).ok()).map(Into::into);
                let namespace = self.namespace.clone().map(|name| ("db.namespace", Value::Text(name)));
                operation.attributes.extend(namespace);
                self.unknown = None;
                self.last = None;
                let key = self.key();
                say.message(request(key, operation.into()));
                self.pairing.asked(Due::Query(key));
            }
            Some(Untyped::Encryption) => self.one_byte = true,
            Some(Untyped::Cancel) => {
                let operation = Some(named("cancel").into());
                say.message(HeadInfo { operation, unanswered: true, ..HeadInfo::default() });
            }
            None => {}
        }
    }

    fn request(&mut self, kind: u8, frame: &Frame<'_>, say: &mut Say) {
        let head = frame.head;
        if let Some(operation) = self.hidden.take().filter(|_| kind == b'S') {
            return self.executed_unseen(operation, say);
        }
        if matches!(kind, b'Q' | b'E' | b'S') {
            self.bound = None;
        }
        match kind {
            b'Q' => {
                let operation = self.query(head);
                self.executed(operation, Due::Query, say);
            }
            b'P' => {
                self.parse(head);
                self.pairing.asked(Due::Parse);
            }
            b'B' => {
                self.bind(head);
                self.pairing.asked(Due::Bind);
            }
            b'D' => self.pairing.asked(Due::Describe),
            b'C' => {
                self.close(head);
                self.pairing.asked(Due::Close);
            }
            b'E' => {
                let portal = messages::text(head, HEADER).and_then(|(name, _)| self.portals.get(name));
                let operation = portal.cloned().unwrap_or_else(|| self.unknown());
                self.executed(operation, Due::Execute, say);
            }
            b'F' => {
                let operation = Summary { operation: Some("CALL"), ..Summary::default() };
                let operation = operation.into_operation(SYSTEM, None, self.namespace.as_ref());
                self.executed(operation.into(), Due::Query, say);
            }
            b'S' if self.copies => {}
            b'S' => self.pairing.asked(Due::Sync),
            b'c' | b'f' => self.copies = false,
            _ => {}
        }
    }

    fn executed(&mut self, operation: Arc<Operation>, due: impl Fn(u64) -> Due, say: &mut Say) {
        let key = self.key();
        let word = word(&operation);
        say.message(request(key, operation));
        self.pairing.asked_for(due(key), word);
    }

    /// Sync, behind bytes that are not known but for the Execute that they end with.
    fn executed_unseen(&mut self, operation: Arc<Operation>, say: &mut Say) {
        let key = self.key();
        if self.pairing.asked_unseen(key, word(&operation)) {
            say.message(request(key, operation));
        } else {
            self.pairing.asked(Due::Sync);
        }
    }

    /// What is asked for by a statement that is not known.
    fn unknown(&mut self) -> Arc<Operation> {
        let namespace = self.namespace.as_ref();
        let unknown = || Arc::new(Summary::default().into_operation(SYSTEM, None, namespace));
        self.unknown.get_or_insert_with(unknown).clone()
    }

    fn operation(&self, statement: &[u8], whole: bool) -> Arc<Operation> {
        let summary = Summary::of(statement, Dialect::PostgreSql, whole);
        summary.into_operation(SYSTEM, None, self.namespace.as_ref()).into()
    }

    fn query(&mut self, head: &[u8]) -> Arc<Operation> {
        let (statement, whole) = messages::statement(head, HEADER);
        if let Some((last, last_whole, operation)) = &self.last
            && **last == *statement
            && *last_whole == whole
        {
            return operation.clone();
        }
        let operation = self.operation(statement, whole);
        if statement.len() <= MAX_LAST_BYTES {
            self.last = Some((statement.into(), whole, operation.clone()));
        }
        operation
    }

    fn parse(&mut self, head: &[u8]) {
        // Without all of its name any statement may be meant.
        let Some((name, at)) = messages::text(head, HEADER) else { return self.statements.clear() };
        let (statement, whole) = messages::statement(head, at);
        if messages::is_plain(name) {
            let operation = self.operation(statement, whole);
            remember(&mut self.statements, name, operation);
        }
    }

    fn bind(&mut self, head: &[u8]) {
        let Some((portal, at)) = messages::text(head, HEADER) else { return self.portals.clear() };
        let statement = messages::text(head, at).and_then(|(name, _)| self.statements.get(name));
        let statement = statement.cloned();
        self.bound = Some(statement.clone().unwrap_or_else(|| self.unknown()));
        match statement {
            Some(operation) if messages::is_plain(portal) => {
                remember(&mut self.portals, portal, operation);
            }
            _ => {
                self.portals.remove(portal);
            }
        }
    }

    fn close(&mut self, head: &[u8]) {
        let Some((name, _)) = messages::text(head, HEADER + 1) else { return };
        match head[HEADER] {
            b'S' => self.statements.remove(name),
            _ => self.portals.remove(name),
        };
    }

    /// The answer to whether to encrypt.
    fn one_byte(&mut self, kind: u8, say: &mut Say) {
        self.one_byte = false;
        if kind != b'N' {
            self.encrypted = true;
            say.tunnel();
        }
    }

    fn answer(&mut self, kind: u8, head: &[u8], say: &mut Say) {
        let pairing = &mut self.pairing;
        match kind {
            b'1' => pairing.stepped(Due::Parse, say),
            b'2' => pairing.stepped(Due::Bind, say),
            b'3' => pairing.stepped(Due::Close, say),
            b't' => pairing.described(false, false, say),
            b'n' => pairing.described(true, false, say),
            b'T' => pairing.described(true, true, say),
            b'G' | b'W' => {
                self.copies = pairing.copying_in();
                pairing.more(say);
            }
            b'D' | b'd' | b'c' | b'H' | b'V' | b'R' => pairing.more(say),
            b'C' => {
                let tag = messages::text(head, HEADER).map_or(&[][..], |(tag, _)| tag);
                let word = tag.split(|&byte| byte == b' ').next().unwrap_or_default();
                pairing.completed(std::str::from_utf8(word).ok().and_then(sql::word), say);
            }
            b'I' | b's' => pairing.completed(None, say),
            b'E' => {
                self.one_byte = false;
                let (code, fatal) = messages::error(head);
                pairing.error(states::status(code), fatal, say);
            }
            b'Z' => {
                self.copies = false;
                pairing.ready(say);
            }
            // Notices, notifications, parameters, keys: they answer nothing.
            _ => {}
        }
    }
}

/// The first word of the statement.
fn word(operation: &Operation) -> Option<&'static str> {
    let named = operation.attributes.iter().find(|(name, _)| *name == "db.operation.name");
    named.and_then(|(_, value)| if let Value::Name(word) = value { Some(*word) } else { None })
}

fn request(key: u64, operation: Arc<Operation>) -> HeadInfo {
    HeadInfo { key: Some(key), operation: Some(operation), ..HeadInfo::default() }
}

/// Remembers what a name stands for, if there is room.
fn remember(names: &mut HashMap<Box<[u8]>, Arc<Operation>>, name: &[u8], operation: Arc<Operation>) {
    if let Some(known) = names.get_mut(name) {
        *known = operation;
    } else if names.len() < MAX_NAMES {
        names.insert(name.into(), operation);
    }
}
