//! Packets of a connection: what each side asks for, and which answer is whose.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::operation::{Asked, Made, operation, shared};
use super::packet::{self, *};
use super::properties::{self, Properties};
use super::reasons;
use crate::frames::{Codec, Frame, Measure, Runs, Say};
use crate::messaging::{Recent, plain_name};
use crate::operation::Status;
use crate::parts::{Direction, HeadInfo};

/// Bytes of a message, and of what else is about topics, that are read.
const MESSAGE_HEAD: usize = 512;
const TOPICS_HEAD: usize = 4096;
/// Requests that wait, and numbers that stand for topics, at most.
const MAX_KNOWN: usize = 4096;

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Level of the protocol, where CONNECT was seen or a subscription tells it.
    level: Option<u8>,
    /// Requests that wait: by whom, of which kind, of which number.
    open: HashMap<(u8, u8, u16), Open>,
    /// What numbers stand for, by direction.
    aliases: [HashMap<u16, Arc<str>>; 2],
    recent: Recent<Made>,
    /// The key of the exchange that began last.
    key: u64,
}

/// A request that waits.
#[derive(Clone, Copy, Debug)]
struct Open {
    key: u64,
    quality: u8,
    /// Topic filters that it has.
    filters: Option<usize>,
    /// What an answer said already that is not the last one.
    status: Status,
    /// Packets of a direction were lost since: with both, its number may be that of another one now.
    lost: [bool; 2],
}

impl Codec for Reading {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        let start = match Begin::of(direction, bytes) {
            Begin::Known(start) => start,
            Begin::Part => return Measure::Need(bytes.len().max(1) + 1),
            Begin::None => return Measure::None,
        };
        let head = match start.kind {
            CONNECT => CONNECT_HEAD,
            PUBLISH => MESSAGE_HEAD,
            SUBSCRIBE | UNSUBSCRIBE | SUBACK | UNSUBACK => TOPICS_HEAD,
            // A number or flags, and a reason.
            _ => start.at + 3,
        };
        Measure::Frame { total: start.total, head }
    }

    fn begins(&self, direction: Direction, bytes: &[u8]) -> bool {
        let waits = |kind, id| self.open.contains_key(&(1 - direction as u8, kind, id));
        packet::begins(direction, bytes, waits)
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let Some(start) = Begin::of(direction, head).known() else {
            runs.keep(head.len().min(FIXED));
            return;
        };
        runs.keep(start.at);
        match start.kind {
            CONNECT => keep_connect(&start, head, runs),
            PUBLISH => self.keep_publish(&start, head, runs),
            SUBSCRIBE | UNSUBSCRIBE => self.keep_filters(&start, head, runs),
            SUBACK | UNSUBACK => {
                runs.keep((head.len() - start.at).min(2));
                let filters = self.asked(direction, &start, head).and_then(|open| open.filters);
                if let Some(codes) = codes(&start, head, filters) {
                    runs.blank(codes.start.saturating_sub(runs.at()));
                    runs.keep(codes.len());
                }
            }
            // Flags and a reason; a number and one.
            CONNACK => runs.keep((head.len() - start.at).min(2)),
            PUBACK..=PUBCOMP => runs.keep((head.len() - start.at).min(3)),
            DISCONNECT | AUTH => runs.keep((head.len() - start.at).min(1)),
            _ => {}
        }
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let (direction, head) = (frame.direction, frame.head);
        let Some(start) = Begin::of(direction, head).known() else { return };
        match start.kind {
            CONNECT => {
                self.level = start.level(head).or(self.level);
                self.asks(direction, &start, Asked::default(), say);
            }
            PUBLISH => self.message(direction, &start, head, say),
            SUBSCRIBE | UNSUBSCRIBE => self.filters(direction, &start, head, say),
            PINGREQ if self.open.contains_key(&(0, PINGREQ, 0)) => {}
            PINGREQ => self.asks(direction, &start, Asked::default(), say),
            CONNACK => {
                let status = reason(&start, head, 1).map(reasons::of_connack).unwrap_or_default();
                self.answers(direction, CONNECT, 0, status, say);
            }
            PUBACK | PUBREC | PUBCOMP => self.acknowledges(direction, &start, head, say),
            SUBACK | UNSUBACK => {
                let Some(id) = start.number(head, start.at) else { return };
                let filters = self.asked(direction, &start, head).and_then(|open| open.filters);
                let codes = codes(&start, head, filters).and_then(|codes| head.get(codes));
                let status =
                    codes.map(|codes| reasons::of_all(start.kind == SUBACK, codes)).unwrap_or_default();
                self.answers(direction, start.kind - 1, id, status, say);
            }
            PINGRESP => self.answers(direction, PINGREQ, 0, Status::default(), say),
            DISCONNECT => {
                let reason = reason(&start, head, 0);
                self.asks(direction, &start, Asked { reason, one_way: true, ..Asked::default() }, say);
            }
            AUTH => self.authenticates(direction, &start, head, say),
            _ => {}
        }
    }

    fn lost(&mut self, direction: Direction) {
        self.aliases[direction as usize].clear();
        for open in self.open.values_mut() {
            open.lost[direction as usize] = true;
        }
    }
}

impl Reading {
    fn is_5(&self) -> bool {
        self.level == Some(5)
    }

    /// A request of a side; both have their own numbers.
    fn asks(&mut self, by: Direction, start: &Start, asked: Asked, say: &mut Say) {
        self.key += 1;
        let key = self.key;
        let numbered = matches!(start.kind, CONNECT | PINGREQ | AUTH).then_some(0).or(asked.id);
        if let Some(id) = numbered.filter(|_| !asked.one_way) {
            if self.open.len() >= MAX_KNOWN {
                self.open.clear();
            }
            let quality = start.quality();
            let open =
                Open { key, quality, filters: asked.filters, status: Status::default(), lost: [false; 2] };
            self.open.insert((by as u8, start.kind, id), open);
        }
        let turned = by == Direction::Responses;
        if turned {
            say.turned();
        }
        let operation = Some(operation(&mut self.recent, start.kind, turned, &asked));
        let unanswered = asked.one_way;
        say.message(HeadInfo { key: Some(key), operation, unanswered, ..HeadInfo::default() });
    }

    /// An answer to what the other side asked for.
    fn answers(&mut self, by: Direction, kind: u8, id: u16, status: Status, say: &mut Say) {
        let asked_by = 1 - by as u8;
        let open = self.open.remove(&(asked_by, kind, id)).filter(|open| open.lost != [true; 2]);
        match (by, open) {
            (Direction::Requests, None) => return,
            (Direction::Requests, Some(_)) => say.turned(),
            (Direction::Responses, _) => {}
        }
        let key = open.map(|open| open.key);
        say.message(HeadInfo { key, status, ..HeadInfo::default() });
    }

    /// The request that a SUBACK or UNSUBACK answers.
    fn asked(&self, by: Direction, start: &Start, head: &[u8]) -> Option<&Open> {
        self.open.get(&(1 - by as u8, start.kind - 1, start.number(head, start.at)?))
    }

    fn message(&mut self, direction: Direction, start: &Start, head: &[u8], say: &mut Say) {
        let topic = start.topic(head);
        let id =
            topic.clone().filter(|_| start.quality() > 0).and_then(|topic| start.number(head, topic.end));
        let sent_before = id.is_some_and(|id| self.open.contains_key(&(direction as u8, PUBLISH, id)));
        let topic = self.topic(direction, start, head, topic);
        if start.is_again() && sent_before {
            return;
        }
        let one_way = start.quality() == 0;
        self.asks(direction, start, Asked { id, topic, one_way, ..Asked::default() }, say);
    }

    /// The topic of a message: its name, or what the number stands for that it has instead.
    fn topic(
        &mut self,
        direction: Direction,
        start: &Start,
        head: &[u8],
        topic: Option<Range<usize>>,
    ) -> Option<Arc<str>> {
        let aliases = &mut self.aliases[direction as usize];
        let Some(range) = topic else {
            // A number may have got another meaning.
            aliases.clear();
            return None;
        };
        let name = plain_name(&head[range.clone()]);
        if self.level != Some(5) {
            return name.map(|name| shared(&self.recent, name));
        }
        let told = properties::read(start, head, behind_id(start, &range), |_, _| {});
        match told {
            Properties { end: None, .. } => {
                aliases.clear();
                name.map(|name| shared(&self.recent, name))
            }
            Properties { alias: Some(alias), .. } if range.is_empty() => aliases.get(&alias).cloned(),
            Properties { alias: Some(alias), .. } => {
                let name = name.map(|name| shared(&self.recent, name));
                let aliases = &mut self.aliases[direction as usize];
                match &name {
                    Some(name) if aliases.len() < MAX_KNOWN => aliases.insert(alias, name.clone()),
                    _ => aliases.remove(&alias),
                };
                name
            }
            _ => name.map(|name| shared(&self.recent, name)),
        }
    }

    fn filters(&mut self, direction: Direction, start: &Start, head: &[u8], say: &mut Say) {
        let mut first = None;
        let mut filters = None;
        if let Some((at, level)) = self.filters_at(start, head) {
            self.level = self.level.or(level);
            filters = start.filters(head, at, |filter| {
                first.get_or_insert(filter);
            });
        }
        let topic = first.and_then(|filter| plain_name(head.get(filter)?)).map(Into::into);
        let id = start.number(head, start.at);
        self.asks(direction, start, Asked { id, topic, filters, ..Asked::default() }, say);
    }

    /// Where the filters begin, behind the number and, in version 5, properties. Where the version is not
    /// known, what is there tells it: only one of the two is possible.
    fn filters_at(&self, start: &Start, head: &[u8]) -> Option<(usize, Option<u8>)> {
        let at = start.at + 2;
        let behind = || start.varint(head, at).map(|(length, from)| from + length);
        match self.level {
            Some(5) => Some((behind()?, None)),
            Some(_) => Some((at, None)),
            None if start.filters(head, at, |_| {}).is_some() => Some((at, Some(4))),
            None => behind().filter(|&at| start.filters(head, at, |_| {}).is_some()).map(|at| (at, Some(5))),
        }
    }

    fn acknowledges(&mut self, direction: Direction, start: &Start, head: &[u8], say: &mut Say) {
        let Some(id) = start.number(head, start.at) else { return };
        let Some(open) = self.open.get_mut(&(1 - direction as u8, PUBLISH, id)) else { return };
        let said = reason(start, head, 2).map(reasons::status).unwrap_or_default();
        let status = if open.status.code.unwrap_or(0) > 0 { open.status } else { said };
        match (start.kind, open.quality) {
            // The other side still has to release it.
            (PUBREC, 2) if !said.failed => open.status = said,
            (PUBACK, 1) | (PUBREC | PUBCOMP, 2) => self.answers(direction, PUBLISH, id, status, say),
            _ => {}
        }
    }

    /// A client that is connected authenticates again, in as many steps as it takes.
    fn authenticates(&mut self, direction: Direction, start: &Start, head: &[u8], say: &mut Say) {
        const AGAIN: u8 = 0x19;
        const SUCCESS: u8 = 0;
        let reason = reason(start, head, 0).unwrap_or(SUCCESS);
        match direction {
            Direction::Requests if reason == AGAIN => self.asks(direction, start, Asked::default(), say),
            Direction::Responses if reason == SUCCESS && self.open.contains_key(&(0, AUTH, 0)) => {
                self.answers(direction, AUTH, 0, reasons::status(reason), say);
            }
            _ => {}
        }
    }

    fn keep_publish(&self, start: &Start, head: &[u8], runs: &mut Runs) {
        let there = head.len() - start.at;
        runs.keep(there.min(2));
        let Some(topic) = start.topic(head) else { return };
        if plain_name(&head[topic.clone()]).is_some() {
            runs.keep(topic.len());
        } else {
            runs.blank(topic.len());
        }
        let at = behind_id(start, &topic);
        runs.keep(at.min(head.len()) - topic.end);
        if self.is_5() && at <= head.len() {
            let told = properties::read(start, head, at, |kept, secret| {
                runs.keep(kept);
                runs.blank(secret);
            });
            if told.end.is_none() {
                return;
            }
        }
        if at <= head.len() {
            runs.enough();
        }
    }

    fn keep_filters(&self, start: &Start, head: &[u8], runs: &mut Runs) {
        runs.keep((head.len() - start.at).min(2));
        let Some((at, _)) = self.filters_at(start, head) else { return };
        if at > start.at + 2 {
            // Properties, of which only their length is needed.
            let Some((_, from)) = start.varint(head, start.at + 2) else { return };
            runs.keep(from - runs.at());
            runs.blank(at.min(head.len()) - runs.at());
        }
        let mut options = 0;
        start.filters(head, at, |filter| {
            runs.keep(options + 2);
            options = usize::from(start.kind == SUBSCRIBE);
            match head.get(filter.clone()) {
                Some(name) if plain_name(name).is_some() => runs.keep(name.len()),
                Some(name) => runs.blank(name.len()),
                None => {}
            }
        });
        runs.keep(options.min(head.len() - runs.at().min(head.len())));
    }
}

/// Where a PUBLISH goes on behind its topic, and its number where it has one.
fn behind_id(start: &Start, topic: &Range<usize>) -> usize {
    topic.end + if start.quality() > 0 { 2 } else { 0 }
}

/// The reason that stands so many bytes behind the length, if there is one.
fn reason(start: &Start, head: &[u8], behind: usize) -> Option<u8> {
    let at = start.at + behind;
    if at as u64 >= start.total { None } else { head.get(at).copied() }
}

/// Where the codes of a SUBACK or UNSUBACK are, one for each filter: at its end.
fn codes(start: &Start, head: &[u8], filters: Option<usize>) -> Option<Range<usize>> {
    let end = usize::try_from(start.total).ok()?;
    let from = end.checked_sub(filters?).filter(|&from| from >= start.at + 2)?;
    (end <= head.len()).then_some(from..end)
}

fn keep_connect(start: &Start, head: &[u8], runs: &mut Runs) {
    if start.level(head).is_some() {
        // Name, level, flags, seconds.
        let name = start.text(head, start.at).map_or(0, |name| name.end - start.at);
        runs.keep((name + 4).min(head.len() - start.at));
    } else if head.len() < start.at + 9 {
        runs.keep(head.len() - start.at);
    }
}
