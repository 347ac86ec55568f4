//! What packets begin with, and whether bytes are some.

use std::ops::Range;

use crate::parts::Direction;

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGREQ: u8 = 12;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;

/// Bytes of kind and length at most.
pub(super) const FIXED: usize = 5;
/// Of CONNECT what is read: the longer name of the protocol, its level, flags, seconds between pings.
pub(super) const CONNECT_HEAD: usize = FIXED + 12;

/// Kind, flags, and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// Where it goes on behind its length.
    pub(super) at: usize,
    /// Bytes of the packet.
    pub(super) total: u64,
}

/// The begin of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Known(Start),
    /// As far as it goes.
    Part,
    None,
}

impl Begin {
    /// What the first bytes of a packet of this direction say.
    pub(super) fn of(direction: Direction, bytes: &[u8]) -> Begin {
        let Some(&first) = bytes.first() else { return Begin::Part };
        let (kind, flags) = (first >> 4, first & 0xf);
        if !is_usual(direction, kind, flags) {
            return Begin::None;
        }
        let (mut length, mut at) = (0u64, 1);
        loop {
            let Some(&byte) = bytes.get(at) else { return Begin::Part };
            length |= u64::from(byte & 0x7f) << (7 * (at - 1));
            at += 1;
            match byte {
                0..=0x7f => break,
                _ if at == FIXED => return Begin::None,
                _ => {}
            }
        }
        if !least_and_most(kind).contains(&length) {
            return Begin::None;
        }
        Begin::Known(Start { kind, flags, at, total: at as u64 + length })
    }

    pub(super) fn known(self) -> Option<Start> {
        match self {
            Begin::Known(start) => Some(start),
            Begin::Part | Begin::None => None,
        }
    }
}

/// Whether such a packet goes this way, with these flags.
fn is_usual(direction: Direction, kind: u8, flags: u8) -> bool {
    let goes = match kind {
        CONNECT | SUBSCRIBE | UNSUBSCRIBE | PINGREQ => direction == Direction::Requests,
        CONNACK | SUBACK | UNSUBACK | PINGRESP => direction == Direction::Responses,
        _ => kind != 0,
    };
    goes && match kind {
        // No quality of service is 3, and what is sent once is not sent again.
        PUBLISH => flags & 6 != 6 && (flags & 8 == 0 || flags & 6 != 0),
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => flags == 2,
        _ => flags == 0,
    }
}

/// How long such a packet is behind its length.
fn least_and_most(kind: u8) -> std::ops::RangeInclusive<u64> {
    const MOST: u64 = 268_435_455;
    match kind {
        CONNECT => 12..=MOST,
        PINGREQ | PINGRESP => 0..=0,
        SUBSCRIBE => 6..=MOST,
        UNSUBSCRIBE => 5..=MOST,
        SUBACK => 3..=MOST,
        DISCONNECT | AUTH => 0..=MOST,
        _ => 2..=MOST,
    }
}

impl Start {
    pub(super) fn quality(&self) -> u8 {
        self.flags >> 1 & 3
    }

    pub(super) fn is_again(&self) -> bool {
        self.flags & 8 != 0
    }

    /// The number of two bytes there.
    pub(super) fn number(&self, head: &[u8], at: usize) -> Option<u16> {
        let bytes = head.get(at..at + 2)?;
        (at as u64 + 2 <= self.total).then(|| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Where the topic of PUBLISH is; all of it is there.
    pub(super) fn topic(&self, head: &[u8]) -> Option<Range<usize>> {
        let topic = self.text(head, self.at)?;
        (topic.end <= head.len()).then_some(topic)
    }

    /// Where the content of a text is whose length stands there; it may not be there.
    pub(super) fn text(&self, head: &[u8], at: usize) -> Option<Range<usize>> {
        let length = usize::from(self.number(head, at)?);
        let text = at + 2..at + 2 + length;
        (text.end as u64 <= self.total).then_some(text)
    }

    /// The level of the protocol that CONNECT asks for, without the bit of bridges.
    pub(super) fn level(&self, head: &[u8]) -> Option<u8> {
        let name = self.text(head, self.at)?;
        let is_name = matches!(head.get(name.clone())?, b"MQTT" | b"MQIsdp");
        let level = head.get(name.end)? & 0x7f;
        (is_name && (3..=5).contains(&level)).then_some(level)
    }

    /// A length as a varint, and where it ends.
    pub(super) fn varint(&self, head: &[u8], at: usize) -> Option<(usize, usize)> {
        let mut number = 0;
        for place in 0..4 {
            let byte = *head.get(at + place)?;
            number |= usize::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some((number, at + place + 1));
            }
        }
        None
    }

    /// Tells where each topic filter of SUBSCRIBE or UNSUBSCRIBE is, from there on. How many there are, if
    /// they are such to the end.
    pub(super) fn filters(
        &self,
        head: &[u8],
        mut at: usize,
        mut see: impl FnMut(Range<usize>),
    ) -> Option<usize> {
        let mut count = 0;
        while (at as u64) < self.total {
            let filter = self.text(head, at).filter(|filter| !filter.is_empty())?;
            at = filter.end;
            see(filter);
            if self.kind == SUBSCRIBE {
                // Quality, and what version 5 adds.
                let options = *head.get(at)?;
                if options & 0xc0 != 0 || options & 3 == 3 {
                    return None;
                }
                at += 1;
            }
            count += 1;
        }
        (at as u64 == self.total && count > 0).then_some(count)
    }
}

/// Whether a topic may be one of a message: text, without wildcards.
fn is_topic(topic: &[u8]) -> bool {
    let is_text = std::str::from_utf8(topic).is_ok_and(|text| !text.chars().any(char::is_control));
    is_text && !topic.is_empty() && !topic.iter().any(|byte| matches!(byte, b'#' | b'+'))
}

/// Whether a packet is one beyond doubt: bytes agree with each other, as far as they are there.
fn is_proof(start: &Start, bytes: &[u8]) -> bool {
    match start.kind {
        CONNECT => start.level(bytes).is_some(),
        PUBLISH => is_message(start, bytes),
        SUBSCRIBE | UNSUBSCRIBE => {
            let named = |head: &Start, from| head.filters(bytes, from, |_| {}).is_some();
            let id = start.number(bytes, start.at).is_some_and(|id| id != 0);
            let behind = start.varint(bytes, start.at + 2).map(|(length, at)| at + length);
            id && (named(start, start.at + 2) || behind.is_some_and(|at| named(start, at)))
        }
        _ => false,
    }
}

/// Whether a PUBLISH, as far as it is there, has a topic and a number where it must.
pub(super) fn is_message(start: &Start, bytes: &[u8]) -> bool {
    let Some(topic) = start.topic(bytes) else { return false };
    let id = start.quality() == 0 || start.number(bytes, topic.end).is_some_and(|id| id != 0);
    id && is_topic(&bytes[topic])
}

/// What the packets in bytes tell together: whether one is a packet beyond doubt, and which way it goes
/// beyond doubt.
pub(super) fn tells(direction: Direction, bytes: &[u8]) -> (bool, bool) {
    let (mut proof, mut goes) = (false, false);
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = match Begin::of(direction, rest) {
            Begin::Known(start) => start,
            Begin::Part => break,
            Begin::None => return (false, false),
        };
        proof |= is_proof(&start, rest);
        if matches!(start.kind, PUBLISH | SUBSCRIBE | UNSUBSCRIBE | CONNECT) && !is_proof(&start, rest) {
            return (false, false);
        }
        let other = match direction {
            Direction::Requests => Direction::Responses,
            Direction::Responses => Direction::Requests,
        };
        goes |= !is_usual(other, start.kind, start.flags);
        rest = match usize::try_from(start.total).ok().and_then(|total| rest.get(total..)) {
            Some(rest) => rest,
            None => break,
        };
    }
    (proof, goes)
}

/// Whether a call that begins so, after bytes that were not understood, begins a packet of this direction.
/// `waits`: whether the other side waits for an answer to what it asked for with that number.
pub(super) fn begins(direction: Direction, bytes: &[u8], waits: impl Fn(u8, u16) -> bool) -> bool {
    let start = match Begin::of(direction, bytes) {
        Begin::Known(start) => start,
        Begin::Part => return bytes.first().is_some_and(|first| first >> 4 == CONNACK) && waits(CONNECT, 0),
        Begin::None => return false,
    };
    let alone = |most: u64| start.total <= most && bytes.len() as u64 == start.total;
    let id = start.number(bytes, start.at).filter(|&id| id != 0);
    match start.kind {
        CONNECT | PUBLISH | SUBSCRIBE | UNSUBSCRIBE => is_proof(&start, bytes),
        CONNACK => waits(CONNECT, 0),
        PINGREQ | PINGRESP => alone(2),
        PUBACK | PUBREC | PUBCOMP => id.is_some_and(|id| alone(5) || waits(PUBLISH, id)),
        PUBREL => id.is_some() && alone(5),
        SUBACK | UNSUBACK => id.is_some_and(|id| alone(15) || waits(start.kind - 1, id)),
        _ => false,
    }
}

/// Whether bytes, too few to tell, may begin a CONNECT.
pub(super) fn may_connect(bytes: &[u8]) -> bool {
    match Begin::of(Direction::Requests, bytes) {
        Begin::Part => bytes.first().is_some_and(|first| first >> 4 == CONNECT),
        Begin::Known(start) if start.kind == CONNECT => {
            let name = bytes.get(start.at..).unwrap_or_default();
            let names: [&[u8]; 2] = [b"\0\x04MQTT", b"\0\x06MQIsdp"];
            names.iter().any(|known| known.starts_with(&name[..name.len().min(known.len())]))
        }
        _ => false,
    }
}
