//! What nobody can read, by whose turn it is: who asks sends, who answers sends, and so on. A change back to the asking side ends
//! an exchange. So what is unknown or encrypted still has latencies and outcomes.
//!
//! An exchange is all that the asking side sends before it gets data, and all that comes then before it sends again. What the
//! answering side sends before it was asked (a greeting) belongs to none. Where both sides send at once, turns are not what the
//! application sees as its exchanges; their times are those of the bytes all the same.

use crate::operation::{Exchange, Status, ValueRef};
use crate::parts::{Call, Direction, HeadInfo, Part, What, push};
use crate::protocol::{Framing, Memory, Protocol, Signature, Verdict};

/// Turns of a stream.
pub static TCP: Turns = Turns { name: "tcp" };
/// Turns of datagrams.
pub static UDP: Turns = Turns { name: "udp" };
/// Turns of a stream between processes of one host.
pub static UNIX: Turns = Turns { name: "unix" };

/// What is read by turns alone.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    name: &'static str,
}

impl Protocol for Turns {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.name
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    /// Nothing is: it is what is left.
    fn recognise(&self, _direction: Direction, _bytes: &[u8], _fresh: bool) -> Verdict {
        Verdict::No
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Connection { offsets: before.unwrap_or_default(), turn: Turn::Nobody, asked: 0 })
    }

    fn datagrams(&self, _before: bool) -> Option<Box<dyn Framing>> {
        Some(self.framing(None))
    }

    fn failed(&self, _status: Status) -> bool {
        false
    }

    fn attributes(&self, _exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
        tell("network.transport", ValueRef::Text(self.name));
    }
}

/// Framing state of one connection.
#[derive(Debug)]
struct Connection {
    offsets: [u64; 2],
    turn: Turn,
    /// Exchanges that have begun.
    asked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nobody,
    Asking,
    Answering,
}

impl Connection {
    fn push(&mut self, direction: Direction, what: What, length: u64, parts: &mut Vec<Part>) {
        push(&mut self.offsets[direction as usize], what, length, parts);
    }

    fn begin(&mut self, direction: Direction, info: HeadInfo, parts: &mut Vec<Part>) {
        self.push(direction, What::Begin, 0, parts);
        self.push(direction, What::HeadEnd(info), 0, parts);
    }
}

impl Framing for Connection {
    fn call(&mut self, direction: Direction, call: Call<'_>, _memory: &mut Memory, parts: &mut Vec<Part>) {
        match (direction, self.turn) {
            (Direction::Requests, Turn::Asking) | (Direction::Responses, Turn::Answering) => {}
            (Direction::Requests, _) => {
                self.turn = Turn::Asking;
                self.asked += 1;
                self.begin(direction, HeadInfo::default(), parts);
            }
            (Direction::Responses, Turn::Asking) => {
                self.turn = Turn::Answering;
                let answers = self.asked.checked_sub(1);
                self.begin(direction, HeadInfo { answers, ..HeadInfo::default() }, parts);
            }
            (Direction::Responses, Turn::Nobody) => {
                return self.push(direction, What::Body, call.length, parts);
            }
        }
        self.push(direction, What::Body, call.length, parts);
        self.push(direction, What::MayEnd, 0, parts);
    }

    /// Whole turns may be missing with these bytes.
    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        self.turn = Turn::Nobody;
        self.push(direction, What::Lost, length, parts);
    }

    fn close(&mut self, direction: Direction, parts: &mut Vec<Part>) {
        let ends = match direction {
            Direction::Requests => self.turn == Turn::Asking,
            Direction::Responses => self.turn == Turn::Answering,
        };
        if ends {
            self.push(direction, What::End { exact: true }, 0, parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_back_to_the_asking_side_begins_an_exchange() {
        let mut framing = TCP.framing(None);
        let mut told = Vec::new();
        for (direction, length) in [
            (Direction::Responses, 9),
            (Direction::Requests, 3),
            (Direction::Requests, 4),
            (Direction::Responses, 5),
            (Direction::Responses, 6),
            (Direction::Requests, 7),
        ] {
            let mut parts = Vec::new();
            let call = Call { length, ..Call::default() };
            framing.call(direction, call, &mut Memory::default(), &mut parts);
            assert_eq!(parts.iter().map(|part| part.length).sum::<u64>(), length);
            told.push(parts.iter().any(|part| part.what == What::Begin));
        }
        assert_eq!(told, [false, true, false, true, false, true]);
    }
}
