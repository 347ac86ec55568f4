//! Heads and what follows them.

use super::super::Exchanges;
use super::super::chunks::{self, Chunk};
use super::super::head::Then;
use super::super::method::Method;
use super::super::preamble::Preamble;
use super::super::start_line::{begins_head, surely_begins};
use super::{Content, Memory, Side, State, push_head};
use crate::parts::{Direction, HeadInfo, Part, What};

impl Side {
    pub(super) fn head(&mut self, bytes: &[u8], memory: &mut Memory<'_>, parts: &mut Vec<Part>) -> usize {
        let mut lines = memory.familiar.as_deref_mut().map(|familiar| &mut familiar.lines);
        let mut used = 0;
        while let (Some(head), false) = (&mut self.head, used == bytes.len()) {
            let read = head.read(&bytes[used..], lines.as_deref_mut());
            push_head(&mut self.offset, read, parts);
            used += read.length();
            match read.then {
                Then::More => {}
                Then::End => {
                    self.head_end(memory.exchanges, parts);
                    break;
                }
                Then::Invalid => {
                    // Nothing that follows is kept, so no end of a message may be found in it.
                    self.lose_head(memory.exchanges, false);
                    break;
                }
            }
        }
        used
    }

    pub(super) fn head_end(&mut self, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        let Some(head) = self.head.take() else { return };
        let (answered, answers) = match self.direction {
            Direction::Requests => (Method::Other, None),
            Direction::Responses if head.is_interim() => (exchanges.next().0, None),
            Direction::Responses => exchanges.response(self.when),
        };
        let info = HeadInfo { answers, ..head.info(answered) };
        let tunnel = match info.status.code {
            Some(101) => true,
            Some(200..=299) => answered == Method::Connect,
            _ => false,
        };
        let (unclear, content) = (info.unclear, Content::of(&info));
        self.push(What::HeadEnd(info), 0, parts);
        if self.direction == Direction::Requests {
            exchanges.request(head.method);
        }
        self.state = match content {
            _ if unclear => {
                self.push(What::MayEnd, 0, parts);
                State::lost_in_message(false, false)
            }
            None => {
                self.end(true, parts);
                exchanges.tunnel |= tunnel;
                return;
            }
            Some(content) if answered == Method::Unknown => {
                self.push(What::MayEnd, 0, parts);
                State::MayHaveBody(content)
            }
            Some(content) => content.begin(head.expects_continue()),
        };
    }

    /// The bytes after the head of a response to an unknown request.
    pub(super) fn may_have_body(
        &mut self,
        content: Content,
        bytes: &[u8],
        after: &[u8],
        exchanges: &Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        if exchanges.awaits_response() {
            if surely_begins(self.direction, bytes, after, true) {
                self.end(true, parts);
                return 0;
            }
            if after.is_empty() && begins_head(self.direction, bytes) {
                // Too few to tell.
                self.state = State::lost_in_message(false, false);
                return self.all(What::Framing, bytes, parts);
            }
        }
        self.state = content.begin(false);
        0
    }

    /// Consumes up to `available` bytes whose number is known, themselves known or not; returns how many.
    pub(super) fn counted(&mut self, available: u64, parts: &mut Vec<Part>) -> u64 {
        match &mut self.state {
            State::Body { left, may_be_skipped } => {
                let used = available.min(*left);
                *left -= used;
                *may_be_skipped = false;
                let done = *left == 0;
                self.push(What::Body, used, parts);
                if done {
                    self.end(true, parts);
                }
                used
            }
            State::Chunked(Chunk::Data { left }) => {
                let used = available.min(*left);
                *left -= used;
                if *left == 0 {
                    self.state = State::Chunked(Chunk::DataEnd { carriage_return: false });
                }
                self.push(What::Body, used, parts);
                used
            }
            State::Preamble(Preamble::Addresses { left }) => {
                let used = available.min(u64::from(*left));
                *left -= used as u16;
                if *left == 0 {
                    (self.state, self.fresh) = (State::Between, false);
                }
                self.push(What::Secret, used, parts);
                used
            }
            _ => 0,
        }
    }

    pub(super) fn chunk(&mut self, chunk: Chunk, byte: u8, parts: &mut Vec<Part>) -> usize {
        match chunk.step(byte) {
            chunks::Step::Is(what, next) => {
                self.state = State::Chunked(next);
                self.push(what, 1, parts);
            }
            chunks::Step::End => {
                self.push(What::Framing, 1, parts);
                self.end(true, parts);
            }
            chunks::Step::Invalid => {
                self.state = State::lost_in_message(true, false);
                self.push(What::Lost, 1, parts);
            }
        }
        1
    }
}
