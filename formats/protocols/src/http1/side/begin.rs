//! Where a message begins: start lines, also those that come in several calls, and what stands in front of the first
//! request.

use super::super::Exchanges;
use super::super::head::Head;
use super::super::preamble::{self, Preamble};
use super::super::start_line::Line;
use super::{Memory, Side, StartLine, State, push_head};
use crate::parts::{Direction, Part, What, push};

impl Side {
    pub(super) fn between(
        &mut self,
        bytes: &[u8],
        after: &[u8],
        memory: &mut Memory<'_>,
        parts: &mut Vec<Part>,
    ) -> usize {
        // RFC 9112 section 2.2: line ends before a request line are ignored.
        if matches!(bytes[0], b'\r' | b'\n') {
            self.line_ends = self.line_ends.saturating_add(1);
            return self.all(What::Framing, &bytes[..1], parts);
        }
        let requests = self.direction == Direction::Requests;
        if bytes[0] == 0 && requests && self.fresh && self.line_ends == preamble::LINE_ENDS {
            self.state = State::Preamble(Preamble::HEADER);
            return 0;
        }
        if requests && memory.exchanges.switching {
            return self.not_understood(bytes, memory.exchanges, parts);
        }
        if let Some(length) = self.whole_head(bytes, memory, parts) {
            return length;
        }
        let (parts_before, offset) = (parts.len(), self.offset);
        self.line = StartLine { offset, when: self.when, certain: true };
        self.push(What::Begin, 0, parts);
        let new = self.new_head();
        let head = self.head.insert(new);
        let line = head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts));
        if line == Line::Whole {
            self.begin(State::Head, memory.exchanges);
            return (self.offset - offset) as usize;
        }
        parts.truncate(parts_before);
        self.offset = offset;
        if let Line::Invalid { used } = line
            && requests
            && self.fresh
            && let Some(preamble) = head.is_preamble(bytes[used])
        {
            self.state = State::Preamble(preamble);
            return self.all(What::Framing, &bytes[..used], parts);
        }
        let line = if line == Line::Part { head.read_start_line(after, |_| {}) } else { line };
        let mut head = self.new_head();
        match line {
            Line::Invalid { .. } => return self.not_understood(bytes, memory.exchanges, parts),
            Line::Whole => {
                self.push(What::Begin, 0, parts);
                self.begin(State::StartLine, memory.exchanges);
            }
            Line::Part => {
                self.line.certain = false;
                self.push(What::MayBegin, 0, parts);
                head.tentative = true;
                self.state = State::StartLine;
            }
        }
        head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts));
        self.head = Some(head);
        bytes.len()
    }

    /// A head that is there from its first byte to its last, which costs less than one in pieces. Returns its length.
    fn whole_head(&mut self, bytes: &[u8], memory: &mut Memory<'_>, parts: &mut Vec<Part>) -> Option<usize> {
        let familiar = memory.familiar.as_deref_mut().filter(|_| !self.sparing)?;
        let whole = familiar.heads.read(self.direction, bytes, &mut familiar.lines)?;
        let offset = self.offset;
        self.head.clone_from(&whole.head);
        self.line = StartLine { offset, when: self.when, certain: true };
        push(&mut self.offset, What::Begin, 0, parts);
        // None of them lengthens the one before.
        for &(keep, length) in &whole.runs {
            let what = if keep { What::Head } else { What::Secret };
            parts.push(Part { offset: self.offset, length: length as u64, what });
            self.offset += length as u64;
        }
        self.begin(State::Head, memory.exchanges);
        self.head_end(memory.exchanges, parts);
        Some((self.offset - offset) as usize)
    }

    pub(super) fn new_head(&self) -> Head {
        let mut head = Head::new(self.direction);
        head.spare(self.sparing);
        head
    }

    /// It is certain that a message begins with the current start line.
    pub(super) fn begin(&mut self, state: State, exchanges: &mut Exchanges) {
        if self.direction == Direction::Requests {
            exchanges.begin(self.line.when);
        }
        (self.fresh, self.after_loss) = (false, false);
        self.state = state;
    }

    pub(super) fn preamble(
        &mut self,
        preamble: Preamble,
        bytes: &[u8],
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        match preamble.step(bytes[0]) {
            preamble::Step::Is(what, next) => {
                self.state = State::Preamble(next);
                self.all(what, &bytes[..1], parts)
            }
            preamble::Step::End(what) => {
                (self.state, self.fresh) = (State::Between, false);
                self.all(what, &bytes[..1], parts)
            }
            preamble::Step::Invalid => self.not_understood(bytes, exchanges, parts),
        }
    }

    /// More of a start line that began in an earlier call.
    pub(super) fn start_line(
        &mut self,
        bytes: &[u8],
        after: &[u8],
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        let Some(mut head) = self.head.take() else {
            return self.not_understood(bytes, exchanges, parts);
        };
        if !self.line.certain {
            let mut dry = head.clone();
            match dry.read_start_line(bytes, |_| {}) {
                Line::Invalid { used } => {
                    return self.no_start_line(&dry, bytes, used, exchanges, parts);
                }
                Line::Part if dry.read_start_line(after, |_| {}) != Line::Whole => {}
                Line::Part | Line::Whole => {
                    head.tentative = false;
                    self.confirm_line(parts);
                    if self.direction == Direction::Requests {
                        exchanges.begin(self.line.when);
                    }
                    (self.fresh, self.after_loss) = (false, false);
                }
            }
        }
        let before = self.offset;
        match head.read_start_line(bytes, |read| push_head(&mut self.offset, read, parts)) {
            Line::Whole => self.state = State::Head,
            Line::Part => {}
            // A line that is certain was read to its end before.
            Line::Invalid { .. } => return self.not_understood(bytes, exchanges, parts),
        }
        self.head = Some(head);
        (self.offset - before) as usize
    }

    pub(super) fn confirm_line(&mut self, parts: &mut Vec<Part>) {
        self.line.certain = true;
        parts.push(Part { offset: self.line.offset, length: 0, what: What::Begin });
    }

    /// What began in an earlier call turns out to be no start line, after `used` of `bytes`. What of these shows that is
    /// kept, as it has to show it again after redaction.
    pub(super) fn no_start_line(
        &mut self,
        head: &Head,
        bytes: &[u8],
        used: usize,
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        if self.direction == Direction::Requests
            && self.fresh
            && let Some(preamble) = head.is_preamble(bytes[used])
        {
            self.state = State::Preamble(preamble);
            return self.all(What::Framing, &bytes[..used], parts);
        }
        for &byte in &bytes[..used] {
            let what = if byte == b' ' { What::Head } else { What::Secret };
            self.push(what, 1, parts);
        }
        let shown = head.surplus(&bytes[used..]);
        let is_sign = shown == 1 && !bytes[used].is_ascii_alphanumeric();
        let what = if is_sign { What::Head } else { What::Secret };
        self.push(what, shown as u64, parts);
        self.lose_count(exchanges, true);
        self.state = self.lost();
        used + shown
    }
}
