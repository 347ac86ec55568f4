//! When an exchange is over and what became of it is decided: its answer is whole, or was missed, or nothing more comes.

use retrospan_protocols::Direction;

use super::{Closing, Exchanges, MAX_DECIDED, SpanUpdate};
use crate::assembly::keys::Unplaced;
use crate::assembly::outcomes::{decide, must_wait};
use crate::assembly::span::{OpenSpans, Response, SpanIndex};
use crate::tables::outcome::Outcome;

impl Exchanges {
    /// A change of state was not seen: the other side may have left before the last answers, which only seemed to be taken.
    pub fn invalidate(&mut self, live: &mut OpenSpans) {
        for (index, serial) in self.decided.drain(..) {
            if let Some(span) = live.get_mut(index).filter(|span| span.link.serial == serial)
                && let Some(span_end) = &mut span.span_end
            {
                span_end.outcome = Outcome::Lost;
            }
        }
    }

    /// No more will come from this socket: decides what is left.
    pub fn finish(
        &mut self,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        had_loss: impl Fn(i64) -> bool,
        updates: &mut Vec<SpanUpdate>,
    ) {
        if let Some((index, mut response)) = self.led_by.take()
            && self.open.contains(&index)
            && let Some(span) = live.get_mut(index).filter(|span| span.response.is_none())
        {
            response.extent.complete = true;
            span.response = Some(response);
        }
        let left: Vec<_> = self.open.drain(..).chain(self.awaiting_close.drain(..)).collect();
        for index in left {
            let Some(span) = live.get_mut(index) else { continue };
            // Its answer may be among what was not understood: which of several that wait have one is not known.
            let owed = |r: Response| r.extent.endless && !r.extent.complete;
            let goes_on = self.keyed() && span.response.is_some_and(owed);
            let unplaced = goes_on || (span.response.is_none() && span.unparsed_ns.is_none());
            span.damaged |= unplaced && self.unplaced_ns >= span.start_ns;
            let mut exchanged = span.exchanged(closing);
            if let Some(answer) = exchanged.answer.as_mut().filter(|_| goes_on) {
                // What came since is known to belong to others.
                answer.end = answer.end.max(self.placed);
            }
            span.span_end = Some(decide(&exchanged, closing.ending, closing.now_ns, had_loss(span.start_ns)));
            updates.push(SpanUpdate::Ended(index));
        }
    }

    /// An answer whose end was not seen ended somewhere before the next request, and before what may be one.
    pub(super) fn close_endless(
        &mut self,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        if self.pipelined {
            return;
        }
        if self.keyed() {
            for missed in self.keys.missed(&self.open, live) {
                self.give_up(missed, live, closing, updates);
            }
            return;
        }
        let Some(&index) = self.open.front() else { return };
        let Some(span) = live.get_mut(index) else { return };
        match &mut span.response {
            Some(response) if response.extent.endless && !response.extent.complete => {
                response.extent.complete = true;
                self.answering = None;
                self.answered(index, live, closing, updates);
            }
            None if span.unparsed_ns.is_some() => {
                self.open.pop_front();
                self.decide(index, live, closing, updates);
            }
            _ => {}
        }
    }

    /// The first request's answer was missed, if it has any.
    pub(super) fn give_up_first(
        &mut self,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(&index) = self.open.front() else { return };
        if let Some(span) = live.get_mut(index) {
            span.damaged = true;
        }
        self.give_up(index, live, closing, updates);
    }

    /// Nobody reads on: an answer that may have ended is taken as whole, all others are missed.
    pub fn give_up_all(
        &mut self,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.close_endless(live, closing, updates);
        while !self.open.is_empty() {
            self.give_up_first(live, closing, updates);
        }
    }

    /// What became of this answer is known as far as it will be.
    pub(super) fn give_up(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.open.retain(|&open| open != index);
        self.answering = self.answering.filter(|&answering| answering != index);
        self.decide(index, live, closing, updates);
    }

    /// The answer of a span is complete.
    pub(super) fn answered(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(span) = live.get(index) else { return };
        if self.open.len() > 1 && !span.damaged {
            self.pipelined = true;
        }
        updates.push(SpanUpdate::Responded(index));
        if span.request.complete || span.request.endless {
            self.settle(index, live, closing, updates);
        }
    }

    /// Both messages of a span are complete.
    pub(super) fn settle(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.open.retain(|&open| open != index);
        let Some(span) = live.get(index) else { return };
        if !span.damaged && must_wait(&span.exchanged(closing), closing.ending) {
            self.awaiting_close.push(index);
        } else {
            self.decide(index, live, closing, updates);
        }
    }

    pub(super) fn decide(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(span) = live.get_mut(index) else { return };
        span.span_end = Some(decide(&span.exchanged(closing), closing.ending, closing.now_ns, false));
        updates.push(SpanUpdate::Ended(index));
        if !self.pipelined || self.decided.len() == MAX_DECIDED {
            self.decided.pop_front();
        }
        self.decided.push_back((index, span.link.serial));
    }

    /// Calls are missing.
    pub(super) fn gap(
        &mut self,
        direction: Direction,
        messages: bool,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        if !messages {
            // Within one body: only that exchange is touched, and the count stays right.
            let touched = match direction {
                Direction::Requests => self.asking(),
                Direction::Responses => self.answering,
            };
            if let Some(span) = touched.and_then(|index| live.get_mut(index)) {
                span.damaged = true;
            }
            return;
        }
        if self.keyed() {
            // Of those that say what they are, what is missing is nobody's but who waits for it.
            match direction {
                Direction::Requests => {
                    let last = self.asking().and_then(|index| live.get_mut(index));
                    if let Some(span) = last.filter(|span| !span.request.complete) {
                        (span.damaged, span.request.endless) = (true, true);
                    }
                }
                Direction::Responses => {
                    self.unplaced_from(Unplaced::Missing, closing.now_ns, live, closing, updates);
                }
            }
            return;
        }
        self.uncertain = true;
        self.understood = false;
        self.early.clear();
        if direction == Direction::Responses && self.open.is_empty() {
            // An answer that lasts until the connection is closed seemed to end before.
            self.invalidate(live);
        }
        for &index in self.open.iter().chain(&self.awaiting_close) {
            if let Some(span) = live.get_mut(index) {
                span.damaged = true;
            }
        }
        if direction == Direction::Responses && !self.pipelined {
            // Their answers were in the gap: only the last request can still be waiting.
            while self.open.len() > 1 {
                let Some(index) = self.open.pop_front() else { return };
                self.answering = self.answering.filter(|&answering| answering != index);
                self.decide(index, live, closing, updates);
            }
        }
    }
}
