//! What is not known, and how the place in the stream is found again.

use super::super::Exchanges;
use super::super::head::Head;
use super::super::start_line::{Line, begins_head, surely_begins};
use super::{Known, Side, State};
use crate::parts::{Direction, Part, What};

/// The end of a chunked body without trailers, with the line end before the last chunk.
const CHUNKED_END: &[u8] = b"\r\n0\r\n\r\n";
/// The end of a head, or of a chunked body.
const EMPTY_LINE: &[u8] = b"\r\n\r\n";
const LINE_END: &[u8] = b"\r\n";

impl Side {
    /// Bytes of a message that we are lost in. The last of a call may show that it ends here.
    pub(super) fn lost_bytes(&mut self, known: Known<'_>, parts: &mut Vec<Part>) {
        let bytes = known.bytes;
        let State::LostInMessage { chunked, bodyless, line_end, ended } = &mut self.state else {
            return;
        };
        let framing = [CHUNKED_END, EMPTY_LINE, LINE_END];
        let ending = framing.into_iter().find(|&end| bytes.ends_with(end));
        // All of what tells the end is framing, so that it tells it again after redaction.
        let (kept, ends) = match ending {
            _ if !known.last || !(*chunked || *bodyless) => (0, false),
            Some(LINE_END) if *chunked => (2, known.first && bytes == LINE_END && *line_end),
            Some(EMPTY_LINE) => (EMPTY_LINE.len(), true),
            Some(CHUNKED_END) if *chunked => (CHUNKED_END.len(), true),
            Some(CHUNKED_END) => (EMPTY_LINE.len(), true),
            _ => (0, false),
        };
        *line_end = kept > 0;
        *ended = ends && *chunked;
        self.push(What::Lost, (bytes.len() - kept) as u64, parts);
        self.push(What::Framing, kept as u64, parts);
        if ends {
            self.push(What::MayEnd, 0, parts);
        }
    }

    /// A call that begins with a head ends whatever we were lost in, where nothing else than a head can come.
    pub(super) fn resynchronise(
        &mut self,
        known: Known<'_>,
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) {
        let requests = self.direction == Direction::Requests;
        let (may, end) = match self.state {
            // A request's body may hold anything; but after a final answer the client has no reason to send it.
            State::Body { may_be_skipped: true, .. } => (exchanges.answered, Some(true)),
            State::LostInMessage { .. } if requests => (exchanges.answered, Some(false)),
            // Another thread of a client may take an answer before the call that sent the request has returned.
            State::LostInMessage { ended: true, .. } if !self.when.sent && !exchanges.awaits_response() => {
                (true, Some(false))
            }
            State::LostInMessage { .. } => (exchanges.awaits_head(), Some(false)),
            State::StartLine if !self.line.certain => {
                let line = self.head.as_ref().map(|head| head.try_start_line(known.bytes, known.after));
                (matches!(line, Some(Line::Invalid { .. })), None)
            }
            State::Lost => (!(requests && (exchanges.switching || exchanges.tunnel)), None),
            _ => return,
        };
        // After a loss the call may go on with a start line.
        let any_method = exchanges.answered;
        let part = known.after.is_empty() && end == Some(false) && !exchanges.pipelined;
        if may && part && begins_head(self.direction, known.bytes) {
            self.after_loss = true;
        } else if !may || !surely_begins(self.direction, known.bytes, known.after, any_method) {
            if requests && exchanges.answered && end == Some(false) {
                // Perhaps the next message, of which nothing is known.
                self.state = State::lost_in_message(false, false);
            }
            return;
        }
        if let Some(exact) = end {
            self.push(What::End { exact }, 0, parts);
        }
        if matches!(self.state, State::StartLine) {
            self.lose_count(exchanges, true);
        }
        self.state = State::Between;
    }

    /// Nothing that begins here is a message.
    pub(super) fn not_understood(
        &mut self,
        bytes: &[u8],
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) -> usize {
        self.lose_count(exchanges, true);
        self.head = None;
        self.state = State::Lost;
        self.all(What::Lost, bytes, parts)
    }

    /// The state where what began in an earlier call was no start line.
    pub(super) fn lost(&mut self) -> State {
        if std::mem::take(&mut self.after_loss) { State::lost_in_message(false, false) } else { State::Lost }
    }

    /// Messages may have come that were not understood or not seen. `seen`: some call moved them.
    pub(super) fn lose_count(&mut self, exchanges: &mut Exchanges, seen: bool) {
        self.fresh = false;
        match self.direction {
            Direction::Requests => exchanges.unknown_requests(),
            Direction::Responses => exchanges.unknown_responses(seen),
        }
    }

    /// Bytes of a call that are not known.
    pub(in super::super) fn hole(&mut self, length: u64, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        if let State::MayHaveBody(content) = self.state {
            // A head would have been kept.
            self.state = content.begin(false);
        }
        self.unknown(length, true, exchanges, parts);
    }

    /// Bytes that no call is known to have moved.
    pub(in super::super) fn gap(&mut self, length: u64, exchanges: &mut Exchanges, parts: &mut Vec<Part>) {
        if self.direction == Direction::Requests {
            exchanges.answered = false;
        }
        self.unknown(length, false, exchanges, parts);
    }

    /// Bytes that are not known. `seen`: a call moved them.
    pub(super) fn unknown(
        &mut self,
        length: u64,
        seen: bool,
        exchanges: &mut Exchanges,
        parts: &mut Vec<Part>,
    ) {
        let mut left = length;
        while left > 0 {
            let used = self.counted(left, parts);
            if used == 0 {
                break;
            }
            left -= used;
        }
        if left == 0 {
            return;
        }
        if exchanges.tunnel && matches!(self.state, State::Between | State::Lost) {
            self.state = State::Tunnel;
        }
        let what = match &self.state {
            State::UntilClose => What::Body,
            State::Tunnel => What::Tunnel,
            _ => What::Lost,
        };
        self.lose(exchanges, seen, parts);
        self.push(what, left, parts);
    }

    /// The state after unknown bytes where their number does not help.
    pub(super) fn lose(&mut self, exchanges: &mut Exchanges, seen: bool, parts: &mut Vec<Part>) {
        match self.state {
            State::UntilClose | State::Tunnel => return,
            State::StartLine => {
                let surely = self.head.as_ref().is_some_and(Head::is_surely_message);
                if surely && !self.line.certain {
                    self.confirm_line(parts);
                    if self.direction == Direction::Requests {
                        exchanges.begin(self.line.when);
                    }
                }
                if self.line.certain {
                    self.lose_head(exchanges, true);
                } else {
                    self.head = None;
                    self.state = match self.direction {
                        // It may have been one, with a body behind it.
                        Direction::Requests => State::lost_in_message(false, false),
                        Direction::Responses => self.lost(),
                    };
                }
            }
            State::Head => self.lose_head(exchanges, true),
            State::Between | State::Lost | State::Preamble(_) => self.state = State::Lost,
            State::Body { .. } | State::MayHaveBody(_) => {
                self.state = State::lost_in_message(false, false);
            }
            State::Chunked(_) => self.state = State::lost_in_message(true, false),
            State::LostInMessage { chunked, bodyless, .. } => {
                self.state = State::lost_in_message(chunked, bodyless);
            }
        }
        self.lose_count(exchanges, seen);
    }

    /// The rest of the head is not known. `ends`: where it has no body, its end may be seen yet.
    pub(super) fn lose_head(&mut self, exchanges: &mut Exchanges, ends: bool) {
        let Some(head) = self.head.take() else { return };
        match self.direction {
            Direction::Requests => exchanges.request(head.method),
            Direction::Responses if head.is_interim() => {
                // No body follows, but another head.
                self.state = State::Lost;
                return;
            }
            Direction::Responses => {
                exchanges.response(self.when);
            }
        }
        self.state = State::lost_in_message(false, ends && head.seems_bodyless());
    }
}
