//! Requests and answers of a connection: which answer is whose, and what it says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::apis::{Api, SASL_HANDSHAKE};
use super::errors;
use super::head::{self, Asked, FIXED, Header, LENGTH};
use super::layout::Kind;
use super::walk::{Body, End, Going, Piece, tags, walk};
use crate::blank::BLANK;
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::messaging::{Recent, plain_name};
use crate::operation::{Operation, Status, Title, Value};
use crate::parts::{Direction, HeadInfo};
use crate::protocol::Verdict;

/// Bytes of a request that tell what is wanted of it.
const REQUEST_HEAD: usize = 1024;
/// Bytes up to the correlation id of an answer, and it.
const ANSWER_FIXED: usize = 8;
/// Requests that wait, and topics whose id is known, at most.
const MAX_KNOWN: usize = 4096;

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Requests that wait for their answer, in order: so they are answered.
    open: VecDeque<Open>,
    /// By id.
    topics: HashMap<[u8; 16], Arc<str>>,
    recent: Recent<Made>,
    /// A handshake was asked for behind which tokens of SASL come that are in no request.
    tokens: bool,
    /// A request was found, and no bytes were lost since: then one of an unknown kind is one, too.
    found: bool,
}

/// A request that waits.
#[derive(Debug)]
struct Open {
    id: u32,
    api: Option<&'static Api>,
    version: u8,
    /// No answer may be wanted.
    may_be_unanswered: bool,
    /// Its answer may be among bytes that were lost.
    may_be_lost: bool,
}

/// What an operation was made from.
#[derive(Debug)]
struct Made {
    key: i16,
    client: Option<Box<str>>,
    group: Option<Box<str>>,
    topic: Option<Arc<str>>,
    one_topic: bool,
}

impl Codec for Reading {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        let Some(total) = head::total(bytes) else {
            return if bytes.len() < LENGTH { Measure::Need(LENGTH) } else { Measure::None };
        };
        match direction {
            Direction::Requests => self.measure_request(bytes, total),
            Direction::Responses => self.measure_answer(bytes, total),
        }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        let length_alone = |least: u64| bytes.len() == LENGTH && is_usual_length(bytes, least);
        match direction {
            Direction::Requests => {
                head::likeness(bytes) == Verdict::Surely || length_alone((FIXED - LENGTH) as u64)
            }
            Direction::Responses if self.open.is_empty() => false,
            Direction::Responses => {
                let is_asked = head::answer_id(bytes).is_some_and(|id| self.asked(id).is_some());
                is_asked && head::total(bytes).is_some_and(|total| total >= ANSWER_FIXED as u64)
                    || length_alone(LENGTH as u64)
            }
        }
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        match direction {
            Direction::Requests => keep_request(head, runs),
            Direction::Responses => self.keep_answer(head, runs),
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        match frame.direction {
            Direction::Requests => self.request(frame.head, say),
            Direction::Responses => self.answer(frame.head, say),
        }
    }

    fn lost(&mut self, direction: Direction) {
        match direction {
            Direction::Requests => (self.tokens, self.found) = (false, false),
            Direction::Responses => {
                for open in &mut self.open {
                    open.may_be_lost = true;
                }
            }
        }
    }
}

/// Whether four bytes alone are the length of a message: some are read so, before the rest.
fn is_usual_length(bytes: &[u8], least: u64) -> bool {
    head::total(bytes).is_some_and(|total| (least + LENGTH as u64..1 << 26).contains(&total))
}

impl Reading {
    fn measure_request(&self, bytes: &[u8], total: u64) -> Measure {
        let head = total.min(REQUEST_HEAD as u64) as usize;
        if self.tokens {
            return Measure::Frame { total, head };
        }
        if bytes.len() < FIXED {
            let may_be = total >= FIXED as u64;
            return if may_be { Measure::Need(FIXED) } else { Measure::None };
        }
        let is_one = match Header::of(bytes) {
            Some(header) => self.found || header.known().is_some(),
            None => false,
        };
        if is_one { Measure::Frame { total, head } } else { Measure::None }
    }

    fn measure_answer(&self, bytes: &[u8], total: u64) -> Measure {
        if self.tokens && total < ANSWER_FIXED as u64 {
            return Measure::Frame { total, head: LENGTH };
        }
        let Some(id) = head::answer_id(bytes) else {
            let may_be = total >= ANSWER_FIXED as u64;
            return if may_be { Measure::Need(ANSWER_FIXED) } else { Measure::None };
        };
        let head = self.asked(id).and_then(|open| open.api).map_or(ANSWER_FIXED, Api::answer_head);
        Measure::Frame { total, head }
    }

    fn asked(&self, id: u32) -> Option<&Open> {
        self.open.iter().find(|open| open.id == id)
    }

    fn keep_answer(&self, head: &[u8], runs: &mut Runs) {
        runs.keep(head.len().min(LENGTH));
        if head.len() < ANSWER_FIXED {
            return;
        }
        let Some(open) = head::answer_id(head).and_then(|id| self.asked(id)) else {
            // Of a token of SASL, perhaps.
            return runs.blank(ANSWER_FIXED - LENGTH);
        };
        runs.keep(ANSWER_FIXED - LENGTH);
        let names = open.api.is_some_and(Api::names_topics);
        let end = walk_answer(open, head, |piece| {
            runs.keep(piece.length.len());
            match piece.kind {
                Kind::Error => runs.keep(piece.content.len()),
                Kind::Topic | Kind::TopicId if names && head::may_keep(piece, head, false) => {
                    runs.keep(piece.content.len());
                }
                _ => runs.blank(piece.content.len()),
            }
            Going::On
        });
        if !matches!(end, End::Cut(_)) {
            runs.enough();
        }
    }

    fn request(&mut self, head: &[u8], say: &mut Say) {
        // A token of SASL, or too little of a request.
        let Some(header) = Header::of(head) else { return };
        if self.tokens && header.known().is_none() {
            return;
        }
        self.found = true;
        let asked = Asked::of(&header, head);
        let key = header.api.map_or(-1, |api| api.key);
        self.tokens = key == SASL_HANDSHAKE && header.version == 0;
        let produces = has_acks(header.api);
        let unanswered = produces && asked.acks == Some(0);
        if !unanswered {
            self.wait(&header, produces && asked.acks.is_none());
        }
        let operation = header.api.map(|api| self.operation(api, header.client(head), &asked));
        say.message(HeadInfo {
            key: Some(u64::from(header.id)),
            operation: Some(operation.unwrap_or_default()),
            unanswered,
            ..HeadInfo::default()
        });
    }

    fn wait(&mut self, header: &Header, may_be_unanswered: bool) {
        if self.open.len() >= MAX_KNOWN {
            self.open.pop_front();
        }
        let (id, api, version) = (header.id, header.api, header.version);
        self.open.push_back(Open { id, api, version, may_be_unanswered, may_be_lost: false });
    }

    fn operation(&mut self, api: &Api, client: Option<&str>, asked: &Asked<'_>) -> Arc<Operation> {
        let by_id = asked.topic_id.and_then(|id| self.topics.get(&id));
        let topic = asked.topic.or(by_id.map(|topic| &**topic));
        let same = |made: &Made| {
            made.key == api.key
                && made.client.as_deref() == client
                && made.group.as_deref() == asked.group
                && made.topic.as_deref() == topic
                && made.one_topic == asked.one_topic
        };
        self.recent.operation(same, || {
            let topic: Option<Arc<str>> = topic.map(Into::into);
            let operation = operation(api.name, client, asked, topic.as_ref());
            let (client, group) = (client.map(Into::into), asked.group.map(Into::into));
            (Made { key: api.key, client, group, topic, one_topic: asked.one_topic }, operation)
        })
    }

    fn answer(&mut self, head: &[u8], say: &mut Say) {
        let Some(id) = head::answer_id(head) else { return };
        let Some(place) = self.open.iter().position(|open| open.id == id) else {
            say.message(HeadInfo::default());
            return;
        };
        // They are answered in order, so what was passed over has got no answer.
        let mut kept = 0;
        for _ in 0..place {
            let passed = &self.open[kept];
            if passed.may_be_unanswered && !passed.may_be_lost {
                say.no_answer(u64::from(passed.id));
                self.open.remove(kept);
            } else {
                kept += 1;
            }
        }
        let Some(open) = self.open.remove(kept) else { return };
        let mut codes = Codes::default();
        let learns = open.api.is_some_and(Api::names_topics);
        let mut named = None;
        let end = walk_answer(&open, head, |piece| {
            let content = &head[piece.content.clone()];
            match piece.kind {
                Kind::Error => codes.add(piece.depth, content),
                Kind::Topic if learns => named = plain_name(content),
                Kind::TopicId if learns => self.learn(content, named.take()),
                _ => {}
            }
            Going::On
        });
        let all = matches!(end, End::Done(_) | End::Enough);
        say.message(HeadInfo { key: Some(u64::from(id)), status: codes.status(all), ..HeadInfo::default() });
    }

    fn learn(&mut self, id: &[u8], topic: Option<&str>) {
        let (Some(id), Some(topic)) = (id.first_chunk(), topic) else { return };
        if self.topics.get(id).is_some_and(|known| **known == *topic) {
            return;
        }
        if self.topics.len() >= MAX_KNOWN {
            self.topics.clear();
        }
        self.topics.insert(*id, topic.into());
    }
}

/// Whether requests of this kind say how many acknowledgements they want, and may want none.
fn has_acks(api: Option<&Api>) -> bool {
    api.is_some_and(|api| api.request.iter().any(|op| op.kind == Kind::Acks))
}

fn operation(
    name: &'static str,
    client: Option<&str>,
    asked: &Asked<'_>,
    topic: Option<&Arc<str>>,
) -> Operation {
    let only = topic.filter(|_| asked.one_topic);
    let mut attributes = vec![("messaging.operation.name", Value::Name(name))];
    let kind = match name {
        "Produce" => Some("send"),
        "Fetch" | "ShareFetch" => Some("receive"),
        "OffsetCommit" | "TxnOffsetCommit" | "ShareAcknowledge" => Some("settle"),
        _ => None,
    };
    attributes.extend(kind.map(|kind| ("messaging.operation.type", Value::Name(kind))));
    let texts = [
        ("messaging.destination.name", only.cloned()),
        ("messaging.consumer.group.name", asked.group.map(Into::into)),
        ("messaging.client.id", client.map(Into::into)),
    ];
    attributes.extend(texts.into_iter().filter_map(|(key, text)| Some((key, Value::Text(text?)))));
    Operation {
        name: Some(name.into()),
        title: Some(match only {
            Some(topic) => Title::Named(format!("{name} {topic}").into()),
            None => Title::Defined(name),
        }),
        target: topic.cloned(),
        attributes,
        ..Operation::default()
    }
}

fn keep_request(head: &[u8], runs: &mut Runs) {
    let Some(header) = Header::of(head) else {
        runs.keep(head.len().min(LENGTH));
        return;
    };
    runs.keep(head.len().min(header.client.start));
    if header.client(head).is_some() {
        runs.keep(header.client.len());
    } else {
        runs.blank(header.client.end.min(head.len()).saturating_sub(runs.at()));
    }
    let mut asked = Asked::default();
    let mut of_topic = false;
    let end = header.walk(head, |piece| {
        runs.keep(piece.length.len());
        let keep = head::may_keep(piece, head, of_topic);
        if piece.kind == Kind::ResourceType {
            of_topic = head[piece.content.clone()] == [2];
        }
        if keep {
            runs.keep(piece.content.len());
        } else {
            runs.blank(piece.content.len());
        }
        asked.see(piece, head)
    });
    if !matches!(end, End::Cut(_)) {
        runs.enough();
    }
}

/// Tells of the fields of an answer, as far as an error or a topic may be behind them.
fn walk_answer(open: &Open, bytes: &[u8], mut see: impl FnMut(&Piece) -> Going) -> End {
    let Some(api) = open.api.filter(|api| open.version <= api.newest) else { return End::Broken };
    let Some(total) = head::total(bytes) else { return End::Broken };
    let last = if api.names_topics() { None } else { Some(Kind::Error) };
    let body = Body {
        layout: api.answer,
        version: open.version,
        flexible: api.has_flexible_answer(open.version),
        bytes,
        at: ANSWER_FIXED,
        total,
        last: None,
    };
    match tags(body, &mut see) {
        End::Done(at) => {
            let flexible = api.is_flexible(open.version);
            walk(Body { at, flexible, last, ..body }, see)
        }
        end => end,
    }
}

/// The error codes of an answer.
#[derive(Debug, Default)]
struct Codes {
    /// That of the answer as a whole says that it failed.
    of_all: Option<i16>,
    /// The first one that is no zero, and whether another follows.
    first: Option<i16>,
    differ: bool,
    /// How deep zeros stand, and anything does.
    zeros: Option<usize>,
    deepest: usize,
    /// Some was not kept.
    unknown: bool,
}

/// What stands for a code behind fields that were none.
const NOT_KEPT: i16 = i16::from_be_bytes([BLANK; 2]);

impl Codes {
    fn add(&mut self, depth: usize, code: &[u8]) {
        let Some(code) = code.first_chunk().map(|code| i16::from_be_bytes(*code)) else { return };
        if code == NOT_KEPT {
            self.unknown = true;
            return;
        }
        self.deepest = self.deepest.max(depth);
        if code == 0 {
            self.zeros = self.zeros.max(Some(depth));
            return;
        }
        if depth == 0 && self.of_all.is_none() {
            self.of_all = Some(code);
        }
        self.differ |= self.first.is_some_and(|first| first != code);
        self.first = self.first.or(Some(code));
    }

    /// What they say together. `all`: there are no others. A zero says nothing of what is inside.
    fn status(&self, all: bool) -> Status {
        if let Some(code) = self.of_all {
            return errors::status(code);
        }
        let zeros = self.zeros == Some(self.deepest);
        match self.first {
            _ if !all || self.unknown => Status::default(),
            None if zeros => errors::status(0),
            Some(code) if !zeros && !self.differ => errors::status(code),
            Some(_) if !zeros => Status { failed: true, ..Status::default() },
            _ => Status::default(),
        }
    }
}
