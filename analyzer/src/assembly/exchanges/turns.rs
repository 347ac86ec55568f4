//! Exchanges whose messages come in turns, and those that end without an answer: what framing says of them by their key.

use retrospan_protocols::Direction;

use super::{Closing, Exchanges, SpanUpdate};
use crate::assembly::outcomes::SpanEnd;
use crate::assembly::span::{OpenSpans, Response, SpanIndex};
use crate::assembly::streams::CallTiming;
use crate::tables::outcome::Outcome;

impl Exchanges {
    /// The message of this key goes on at this position.
    pub(super) fn resume(&mut self, direction: Direction, key: u64, position: u64, live: &mut OpenSpans) {
        let index = self.of_key(key, live);
        let span = index.and_then(|index| live.get_mut(index));
        match direction {
            Direction::Requests => {
                self.asking = index;
                if let Some(span) = span.filter(|span| !span.request.complete) {
                    span.request.resume(position);
                }
            }
            Direction::Responses => {
                self.response = None;
                (self.answering, self.reading_early) = (index, false);
                if index.is_none() {
                    return self.resume_early(key, position);
                }
                let response = span.and_then(|span| span.response.as_mut());
                match response.filter(|response| !response.extent.complete) {
                    Some(response) => response.extent.resume(position),
                    None => self.answering = None,
                }
            }
        }
    }

    /// The answer goes on that came before its request.
    fn resume_early(&mut self, key: u64, position: u64) {
        let goes_on = |(of, early): &(Option<u64>, Response)| *of == Some(key) && !early.extent.complete;
        let Some(at) = self.early.iter().position(goes_on) else { return };
        if let Some((key, mut early)) = self.early.remove(at) {
            early.extent.resume(position);
            self.early.push_back((key, early));
            self.reading_early = true;
        }
    }

    /// The open span of this key.
    fn of_key(&self, key: u64, live: &OpenSpans) -> Option<SpanIndex> {
        let has = |&index: &SpanIndex| live.get(index).is_some_and(|span| span.key == Some(key));
        self.open.iter().rev().copied().find(has)
    }

    /// The request of this key has got no answer, and none will come.
    pub(super) fn no_answer(
        &mut self,
        key: u64,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(index) = self.of_key(key, live) else { return };
        let Some(span) = live.get_mut(index).filter(|span| span.response.is_none()) else { return };
        span.response = Some(Response::none(span.request.last));
        if span.request.complete {
            self.settle(index, live, closing, updates);
        }
    }

    /// Whoever sends in this direction has given up the exchange of this key: it ends so, unless it was answered.
    pub(super) fn cancelled(
        &mut self,
        direction: Direction,
        key: u64,
        timing: CallTiming,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(index) = self.of_key(key, live) else { return };
        let Some(span) = live.get_mut(index) else { return };
        if span.answered() {
            return self.settle(index, live, closing, updates);
        }
        if span.is_damaged() {
            return self.give_up(index, live, closing, updates);
        }
        let outcome = match direction {
            Direction::Requests => Outcome::ClientClosed,
            Direction::Responses => Outcome::Reset,
        };
        let status = span.response.map_or_else(Default::default, |response| response.status);
        let end_ns = timing.exit_ns.max(span.start_ns);
        let (late_status, late_at_ns) = (Default::default(), None);
        span.span_end = Some(SpanEnd { end_ns, outcome, status, late_status, late_at_ns });
        self.open.retain(|&open| open != index);
        self.answering = self.answering.filter(|&answering| answering != index);
        updates.push(SpanUpdate::Ended(index));
    }
}
