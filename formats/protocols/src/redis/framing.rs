//! Framing of one connection: commands one way, answers and pushed messages the other.

use super::answers::Answers;
use super::requests::Requests;
use super::side::{Shared, Side};
use crate::parts::{Call, Direction, Part};
use crate::protocol::{Framing, Memory};
use crate::queue::Queue;

/// Framing state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    requests: Requests,
    answers: Answers,
    shared: Shared,
}

impl Connection {
    pub(super) fn new(before: Option<[u64; 2]>) -> Connection {
        let [requests, answers] = before.unwrap_or_default();
        Connection {
            requests: Requests::new(requests),
            answers: Answers::new(answers),
            shared: Shared { queue: Queue::in_batches(before.is_none()), ..Shared::default() },
        }
    }
}

impl Framing for Connection {
    fn call(&mut self, direction: Direction, call: Call<'_>, _memory: &mut Memory, parts: &mut Vec<Part>) {
        match direction {
            Direction::Requests => {
                self.requests.call(call, &mut self.shared, parts);
                self.shared.queue.answered = false;
            }
            Direction::Responses => {
                self.answers.call(call, &mut self.shared, parts);
                self.shared.queue.answering = self.answers.is_within();
            }
        }
    }

    fn gap(&mut self, direction: Direction, length: u64, parts: &mut Vec<Part>) {
        match direction {
            Direction::Requests => {
                self.shared.queue.answered = false;
                self.requests.unknown(length, false, &mut self.shared, parts);
            }
            Direction::Responses => self.answers.unknown(length, false, &mut self.shared, parts),
        }
    }

    /// No message lasts until then.
    fn close(&mut self, _direction: Direction, _parts: &mut Vec<Part>) {}
}
