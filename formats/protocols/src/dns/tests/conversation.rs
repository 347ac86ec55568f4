//! Messages, conversations made of them, and what framing finds in those.

use super::*;
use crate::blank;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: u16,
    pub answer: bool,
    pub opcode: u8,
    pub questions: u16,
    pub name: String,
    pub kind: u16,
    pub code: u8,
    pub records: u16,
    /// Upper bits of the code.
    pub edns: Option<u8>,
    /// What its records hold.
    pub data: String,
}

impl Message {
    pub fn asks(id: u16, name: &str, kind: u16) -> Message {
        let name = name.to_owned();
        let (opcode, data) = (QUERY, "some data".to_owned());
        Message { id, answer: false, opcode, questions: 1, name, kind, code: 0, records: 0, edns: None, data }
    }

    pub fn answers(id: u16, name: &str, kind: u16, code: u8) -> Message {
        Message { answer: true, code, ..Message::asks(id, name, kind) }
    }

    pub fn edns(self) -> Message {
        self.extended(0)
    }

    pub fn extended(self, bits: u8) -> Message {
        Message { edns: Some(bits), ..self }
    }

    pub fn records(self, records: u16) -> Message {
        Message { records, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend([u8::from(self.answer) << 7 | self.opcode << 3 | 1, self.code]);
        for count in [self.questions, self.records, 0, u16::from(self.edns.is_some())] {
            bytes.extend(count.to_be_bytes());
        }
        if self.questions == 1 {
            for label in self.name.split('.').filter(|label| !label.is_empty()) {
                bytes.push(label.len() as u8);
                bytes.extend(label.bytes());
            }
            bytes.push(0);
            bytes.extend(self.kind.to_be_bytes());
            bytes.extend([0, 1]);
        }
        for _ in 0..self.records {
            bytes.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, self.data.len() as u8 + 1]);
            bytes.push(self.data.len() as u8);
            bytes.extend(self.data.bytes());
        }
        if let Some(bits) = self.edns {
            bytes.extend([0, 0, 41, 4, 208, bits, 0, 0, 0, 0, 0]);
        }
        [(bytes.len() as u16).to_be_bytes().to_vec(), bytes].concat()
    }
}

/// Calls in order.
pub struct Conversation {
    pub calls: Vec<(Direction, Vec<u8>)>,
}

/// What was found in a conversation.
#[derive(Debug, Default)]
pub struct Found {
    /// Key and operation of each request.
    pub requests: Vec<(Option<u64>, Operation)>,
    /// Those of them that will not be answered.
    pub unanswered: Vec<usize>,
    /// Each answer.
    pub answers: Vec<HeadInfo>,
    /// Messages that were read to their end.
    pub ends: [usize; 2],
    pub lost: u64,
    heads: [Vec<u8>; 2],
    pub kept: Vec<u8>,
}

impl Conversation {
    /// The same in calls of at most so many bytes.
    fn cut(&self, size: usize) -> Conversation {
        let pieces = |(direction, bytes): &(Direction, Vec<u8>)| {
            bytes.chunks(size).map(|piece| (*direction, piece.to_vec())).collect::<Vec<_>>()
        };
        Conversation { calls: self.calls.iter().flat_map(pieces).collect() }
    }

    pub fn read(&self) -> Found {
        self.read_known(usize::MAX)
    }

    /// Of each call at most so many first bytes and eight last ones are known.
    pub fn read_known(&self, most: usize) -> Found {
        self.read_with(|_, _| Some(most))
    }

    /// The same in one direction.
    pub fn read_known_of(&self, cut: Direction, most: usize) -> Found {
        self.read_with(|_, direction| Some(if direction == cut { most } else { usize::MAX }))
    }

    /// Of one call nothing is known, or it was not seen at all.
    pub fn read_without(&self, call: usize, gap: bool) -> Found {
        self.read_with(|index, _| match index == call {
            true if gap => None,
            true => Some(0),
            false => Some(usize::MAX),
        })
    }

    /// Reads it, and what was kept of it again, which must be the same.
    fn read_with(&self, known: impl Fn(usize, Direction) -> Option<usize>) -> Found {
        let (mut framing, mut again) = (Dns.framing(None), Dns.framing(None));
        let (mut found, mut found_again) = (Found::default(), Found::default());
        for (index, (direction, bytes)) in self.calls.iter().enumerate() {
            let (mut parts, mut parts_again) = (Vec::new(), Vec::new());
            let (mut kept, mut kept_tail) = (Vec::new(), Vec::new());
            let Some(most) = known(index, *direction) else {
                framing.gap(*direction, bytes.len() as u64, &mut parts);
                again.gap(*direction, bytes.len() as u64, &mut parts_again);
                continue;
            };
            let (head, tail) = match bytes.len() > most.saturating_add(8) {
                true if most == 0 => (&[][..], &[][..]),
                true => (&bytes[..most], &bytes[bytes.len() - 8..]),
                false => (&bytes[..], &[][..]),
            };
            let call = |head, tail| Call { length: bytes.len() as u64, head, tail, ..Call::default() };
            framing.call(*direction, call(head, tail), &mut Memory::default(), &mut parts);
            blank::copy(&parts, head, 0, &mut kept);
            if blank::copy(&parts, tail, (bytes.len() - tail.len()) as u64, &mut kept_tail).any {
                kept_tail.resize(tail.len(), blank::BLANK);
            }
            again.call(*direction, call(&kept, &kept_tail), &mut Memory::default(), &mut parts_again);
            found.add(*direction, &parts, head);
            found_again.add(*direction, &parts_again, &kept);
            found.kept.extend(kept.iter().chain(&kept_tail));
            let markers =
                |parts: Vec<Part>| parts.into_iter().filter(|p| p.what.is_marker()).collect::<Vec<_>>();
            assert_eq!(markers(parts_again), markers(parts), "call {index}: {bytes:?}");
        }
        let told = |found: &Found| {
            let told = |(key, operation): &(_, Operation)| (*key, operation.name.clone());
            found.requests.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(told(&found_again), told(&found));
        assert_eq!((&found_again.answers, found_again.ends), (&found.answers, found.ends));
        // Of names less may be left, and never another one.
        found.requests = found_again.requests;
        found
    }
}

impl Found {
    fn add(&mut self, direction: Direction, parts: &[Part], bytes: &[u8]) {
        let start = parts.iter().find(|part| part.length > 0).map_or(0, |part| part.offset);
        let head = &mut self.heads[direction as usize];
        let mut from = 0;
        for part in parts {
            let at = ((part.offset.saturating_sub(start)) as usize).min(bytes.len());
            match &part.what {
                What::MayBegin => {
                    head.clear();
                    from = at;
                }
                What::HeadEnd(info) if direction == Requests => {
                    head.extend(&bytes[from..at]);
                    if info.unanswered {
                        self.unanswered.push(self.requests.len());
                    }
                    self.requests.push((info.key, Dns.read(Requests, head, &Operation::default())));
                }
                What::HeadEnd(info) => self.answers.push(info.clone()),
                What::End { .. } => self.ends[direction as usize] += 1,
                What::Lost => self.lost += part.length,
                _ => {}
            }
        }
        head.extend(bytes.get(from..).unwrap_or_default());
    }

    /// Those of the requests.
    pub fn keys(&self) -> Vec<Option<u64>> {
        self.requests.iter().map(|(key, _)| *key).collect()
    }
}

/// In every cut: whole, and in calls of each size. The second argument of `check` says that it is cut.
pub fn in_every_cut(calls: &[(Direction, Vec<u8>)], check: impl Fn(&Found, bool)) {
    let whole = Conversation { calls: calls.to_vec() };
    check(&whole.read(), false);
    let longest = calls.iter().map(|(_, bytes)| bytes.len()).max().unwrap_or_default();
    for size in 1..longest {
        check(&whole.cut(size).read(), true);
    }
}
