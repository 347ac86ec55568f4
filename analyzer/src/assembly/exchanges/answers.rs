//! Whose answer it is that comes, and what of answers cannot be placed.

use std::sync::Arc;

use retrospan_protocols::{Direction, HeadInfo};

use super::{Closing, Exchanges, MAX_EARLY, SpanUpdate};
use crate::assembly::keys::{self, Unplaced};
use crate::assembly::passing::Origin;
use crate::assembly::side::Side;
use crate::assembly::span::{MessageExtent, OpenSpans, Response, SpanIndex};
use crate::assembly::streams::CallTiming;

impl Exchanges {
    /// The answer that came before the request which this call began to move.
    pub(super) fn early_for(&mut self, timing: CallTiming) -> Option<Response> {
        if self.keyed() {
            return None;
        }
        let (_, early) = self.early.pop_front()?;
        // A client sends before it takes; a server that answers before it reads does so from the first request on.
        let belongs = match self.side {
            Side::Client => timing.enter_ns <= early.extent.first.exit_ns,
            Side::Server => self.understood,
        };
        if !belongs {
            self.early.clear();
        }
        belongs.then_some(early)
    }

    pub(super) fn response_head(
        &mut self,
        bytes: &[u8],
        info: Option<&HeadInfo>,
        timing: CallTiming,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(mut extent) = self.response else { return };
        let status = match info {
            Some(info) => info.status,
            None => self.protocol.read(Direction::Responses, bytes, &self.last_operation).status,
        };
        if !self.protocol.is_final(status) {
            return;
        }
        self.goes_on = info.is_some_and(|info| info.goes_on);
        extent.endless |= info.is_none_or(|info| info.unclear || info.goes_on);
        extent.until_close = info.is_some_and(|info| info.until_close);
        extent.head_bytes = info.map_or(0, |_| bytes.len() as u64);
        let response = Response { extent, status, head_ns: timing.exit_ns };
        self.response = None;
        if self.keyed() {
            self.keyed_response(info.and_then(|info| info.key), response, live);
            let told = info.and_then(|info| info.operation.as_deref());
            if let (Some(told), Some(span)) = (told, self.answering.and_then(|index| live.get_mut(index))) {
                // What only the answer says of what was asked.
                Arc::make_mut(&mut span.operation).attributes.extend(told.attributes.iter().cloned());
            }
            return;
        }
        let answers = info.and_then(|info| info.answers);
        let waiting = self.open.iter().copied().find(|&i| {
            live.get(i).is_some_and(|span| {
                span.response.is_none() && answers.is_none_or(|number| number == u64::from(span.number))
            })
        });
        let Some(index) = waiting else {
            let unknown = std::mem::take(&mut self.unknown);
            if unknown || answers.is_some() || self.early.len() == MAX_EARLY {
                self.early.clear();
            } else {
                self.early.push_back((None, response));
                self.reading_early = true;
            }
            return;
        };
        self.close_before(index, answers.is_some(), live, closing, updates);
        if let Some(span) = live.get_mut(index) {
            span.response = Some(response);
            if info.is_some_and(|info| info.leads_to.is_some()) {
                self.led_on = Some(Origin::of(span));
            }
            // It may answer a request that was not understood, or missed.
            span.damaged |= info.is_some() && answers.is_none();
        }
        self.answering = Some(index);
    }

    /// An answer, or more of one, that says which exchange it belongs to. One that belongs to none is left out.
    pub(super) fn keyed_response(&mut self, key: Option<u64>, response: Response, live: &mut OpenSpans) {
        self.answering = key.and_then(|key| keys::waiting(key, &self.open, live));
        let begin_missed = self.answering.is_some_and(|index| self.keys.may_have_missed(index, live));
        let Some(span) = self.answering.and_then(|index| live.get_mut(index)) else {
            if key.is_none() {
                // It may be that of any request which waits.
                self.unplaced_ns = self.unplaced_ns.max(response.extent.first.exit_ns);
            }
            if self.side == Side::Client {
                if self.early.len() == MAX_EARLY {
                    self.early.pop_front();
                }
                self.early.push_back((key, response));
                self.reading_early = true;
            }
            return;
        };
        match &mut span.response {
            Some(before) => {
                before.extent.resume(response.extent.begin);
                before.extent.progress(response.extent.end, response.extent.last);
                if self.protocol.failed(response.status) {
                    before.status = response.status;
                }
            }
            none => {
                *none = Some(response);
                span.damaged |= self.goes_on && begin_missed;
            }
        }
    }

    /// Gives away the exchange whose last answer said that the answer comes in another protocol.
    pub fn hand_over(&mut self, live: &OpenSpans) -> Option<SpanIndex> {
        let goes_on = |&index: &SpanIndex| {
            let response = live.get(index).and_then(|span| span.response);
            response.is_some_and(|response| response.extent.may_end && !response.extent.complete)
        };
        let at = self.open.iter().rposition(goes_on)?;
        (self.asking, self.answering) = (None, None);
        self.open.remove(at)
    }

    /// Takes up such an exchange, which has this key here and no answer yet. If none comes, that which led here was it.
    pub fn take_over(&mut self, index: SpanIndex, key: u64, live: &mut OpenSpans) {
        if let Some(span) = live.get_mut(index) {
            self.led_by = span.response.take().map(|response| (index, response));
            span.key = Some(key);
        }
        self.open.push_back(index);
    }

    /// An answer whose end was not seen ended somewhere before the next one. `certain`: the next one is that of this span, so
    /// what waits before it has missed its own.
    pub(super) fn close_before(
        &mut self,
        index: SpanIndex,
        certain: bool,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        while let Some(&first) = self.open.front() {
            let Some(span) = live.get_mut(first).filter(|_| first != index) else { return };
            match &mut span.response {
                Some(response) if response.extent.endless && !response.extent.complete => {
                    response.extent.complete = true;
                    self.answered(first, live, closing, updates);
                }
                None if certain => self.give_up_first(live, closing, updates),
                _ => return,
            }
            if self.open.front() == Some(&first) {
                return;
            }
        }
    }

    pub(super) fn response_extent(&mut self, live: &mut OpenSpans, update: impl FnOnce(&mut MessageExtent)) {
        if let Some(index) = self.answering {
            if let Some(response) = live.get_mut(index).and_then(|span| span.response.as_mut()) {
                update(&mut response.extent);
            }
        } else if let Some(extent) = &mut self.response {
            update(extent);
        } else if let Some(early) = self.reading_early() {
            update(&mut early.extent);
        }
    }

    fn reading_early(&mut self) -> Option<&mut Response> {
        self.early.back_mut().filter(|_| self.reading_early).map(|(_, early)| early)
    }

    /// The answer that is being read, if its head was.
    pub(super) fn reading<'a>(&'a mut self, live: &'a mut OpenSpans) -> Option<&'a mut Response> {
        match self.answering {
            Some(index) => live.get_mut(index)?.response.as_mut(),
            None => self.reading_early(),
        }
    }

    /// Bytes of answers are missing, or do not tell whose answers they are.
    pub(super) fn unplaced_from(
        &mut self,
        how: Unplaced,
        now_ns: i64,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.unplaced_ns = now_ns;
        if self.keyed() {
            self.early.retain(|(_, early)| early.extent.complete);
            self.reading_early = false;
            for missed in self.keys.unplaced(how, now_ns, &self.open, live) {
                self.give_up(missed, live, closing, updates);
            }
        }
    }

    pub(super) fn unplaced(
        &mut self,
        in_message: bool,
        position: u64,
        timing: CallTiming,
        live: &mut OpenSpans,
    ) {
        // What follows an answer of unknown end after the next request is no more of it.
        let read = self.answering.is_some() || self.response.is_some() || self.reading_early().is_some();
        if in_message && read {
            self.response_extent(live, |extent| {
                extent.endless = true;
                extent.progress(position, timing);
            });
        } else if let Some(span) = self.open.front().and_then(|&index| live.get_mut(index))
            && span.response.is_none()
            && (!self.keyed() || self.open.len() == 1)
        {
            span.unparsed_ns = Some(timing.exit_ns);
        }
    }
}
