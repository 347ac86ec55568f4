//! DNS over UDP (RFC 1035, section 4.2.1): a message a datagram, without its length in front, which is put there so that the
//! same framing reads it.
//!
//! A client that gets no answer asks again, mostly with the same bytes: that is the same exchange.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::framing::Connection;
use super::{Dns, head};
use crate::operation::Operation;
use crate::parts::{Call, Direction, Part, What};
use crate::protocol::{Framing, Memory, Protocol};

/// Bytes of the length that is put in front.
const LENGTH: u64 = 2;
/// Questions remembered at most.
const MAX_OPEN: usize = 4096;

/// Framing state of the datagrams between two ends.
#[derive(Debug)]
pub(super) struct Datagrams {
    messages: Connection,
    /// Bytes so far, by direction: with lengths, and without.
    offsets: [[u64; 2]; 2],
    /// Questions that wait, by id.
    open: BTreeMap<[u8; 2], Vec<u8>>,
    /// What was asked last.
    last: Arc<Operation>,
}

impl Datagrams {
    pub(super) fn new(before: bool) -> Datagrams {
        let messages = Connection::new(before.then_some([0, 0]));
        Datagrams { messages, offsets: [[0, 0]; 2], open: BTreeMap::new(), last: Arc::default() }
    }

    /// Whether it is the question of an exchange that is open.
    fn is_asked_again(&mut self, direction: Direction, message: &[u8]) -> bool {
        let Some(&id) = message.first_chunk::<2>() else { return false };
        if direction == Direction::Responses {
            self.open.remove(&id);
            return false;
        }
        if self.open.get(&id).is_some_and(|open| open == message) {
            return true;
        }
        if self.open.len() == MAX_OPEN {
            self.open.pop_first();
        }
        self.open.insert(id, message.to_vec());
        false
    }
}

/// What the datagram is.
pub(super) fn recognise(bytes: &[u8]) -> Option<Direction> {
    let message = with_length(bytes.len() as u64, bytes);
    let directions = [Direction::Requests, Direction::Responses];
    directions.into_iter().find(|direction| head::proves(*direction, &message))
}

fn with_length(length: u64, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

impl Framing for Datagrams {
    fn call(&mut self, direction: Direction, call: Call<'_>, memory: &mut Memory, parts: &mut Vec<Part>) {
        let again = self.is_asked_again(direction, call.head);
        let message = with_length(call.length, call.head);
        let begin = parts.len();
        let inner = Call { length: call.length + LENGTH, head: &message, ..call };
        self.messages.call(direction, inner, memory, parts);
        let [from, to] = &mut self.offsets[direction as usize];
        for part in &mut parts[begin..] {
            let end = part.offset + part.length;
            let place = |offset: u64| offset.saturating_sub(*from + LENGTH) + *to;
            (part.offset, part.length) = (place(part.offset), place(end) - place(part.offset));
            // Who reads the head later does not know its length.
            if let (What::HeadEnd(info), Direction::Requests) = (&mut part.what, direction) {
                self.last = Arc::new(Dns.read(direction, &message, &self.last));
                info.operation = Some(Arc::clone(&self.last));
            }
        }
        let is_left_out = |part: &mut Part| if part.what.is_marker() { again } else { part.length == 0 };
        parts.extract_if(begin.., is_left_out).for_each(drop);
        *from += call.length + LENGTH;
        *to += call.length;
    }

    /// What was missed are whole messages.
    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        let [_, to] = &mut self.offsets[direction as usize];
        parts.push(Part { offset: *to, length, what: What::Lost });
        *to += length;
        self.open.clear();
    }

    fn close(&mut self, _direction: Direction, _parts: &mut Vec<Part>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: u8, name: &str) -> Vec<u8> {
        let mut bytes = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.extend([0, 0, 28, 0, 1]);
        bytes
    }

    fn answer(question: &[u8]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        (bytes[2], bytes[3]) = (0x81, 0x83);
        bytes
    }

    fn parts(framing: &mut Datagrams, direction: Direction, bytes: &[u8]) -> Vec<Part> {
        let mut parts = Vec::new();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        framing.call(direction, call, &mut Memory::default(), &mut parts);
        assert_eq!(parts.iter().map(|part| part.length).sum::<u64>(), bytes.len() as u64);
        parts
    }

    fn heads(parts: &[Part]) -> Vec<(Option<u64>, Option<u16>, Option<String>)> {
        let head = |part: &Part| match &part.what {
            What::HeadEnd(info) => {
                let target = info.operation.as_ref().and_then(|operation| operation.target.as_deref());
                Some((info.key, info.status.code, target.map(str::to_owned)))
            }
            _ => None,
        };
        parts.iter().filter_map(head).collect()
    }

    #[test]
    fn a_question_that_is_asked_again_is_one_exchange_and_its_answer_is_paired() {
        let mut framing = Datagrams::new(false);
        let (first, second) = (question(7, "a.test"), question(8, "b.test"));
        assert_eq!(recognise(&first), Some(Direction::Requests));
        assert_eq!(recognise(&answer(&first)), Some(Direction::Responses));
        assert_eq!(recognise(b"no message of that kind"), None);
        let asked = heads(&parts(&mut framing, Direction::Requests, &first));
        assert_eq!(asked, [(Some(7), None, Some("a.test".to_owned()))]);
        assert_eq!(heads(&parts(&mut framing, Direction::Requests, &first)), []);
        assert_eq!(heads(&parts(&mut framing, Direction::Requests, &second)).len(), 1);
        for asked in [&second, &first] {
            let told = heads(&parts(&mut framing, Direction::Responses, &answer(asked)));
            assert_eq!(told, [(Some(asked[1].into()), Some(3), None)]);
        }
        assert_eq!(heads(&parts(&mut framing, Direction::Requests, &first)).len(), 1);
    }
}
