//! Messages of one socket in, spans out: every request gets one, its answer is paired with it, and it ends once.
//!
//! Where messages say which exchange they belong to ([`Protocol::has_keys`]), that decides (`keys.rs`), and an answer that
//! belongs to none is nobody's. Else the k-th answer on a connection answers its k-th request; answers that only announce
//! another (1xx of HTTP) are none. Where calls are missing, or bytes came that may be requests of another kind, that count
//! cannot be trusted: what may be touched is `lost` until the connection is quiet again.

use std::collections::VecDeque;
use std::sync::Arc;

use retrospan_protocols::{Direction, HeadInfo, Operation, Protocol};

use crate::assembly::close_state::CloseState;
use crate::assembly::connections::SocketIndex;
use crate::assembly::heads::{self, Heads};
use crate::assembly::keys::{self, Keys, Reuse};
use crate::assembly::messages::Notice;
use crate::assembly::outcomes::{Answer, Exchanged, Other, decide, must_wait};
use crate::assembly::side::Side;
use crate::assembly::span::{Link, MessageExtent, OpenSpans, Response, Span, SpanIndex};
use crate::assembly::streams::CallTiming;
use crate::tables::outcome::Outcome;

impl Span {
    fn exchanged<'a>(&self, closing: &Closing<'a>) -> Exchanged<'a> {
        let last = self.response.map_or(self.request.last, |r| r.extent.last);
        Exchanged {
            side: self.side,
            start_ns: self.start_ns,
            last,
            damaged: self.damaged,
            unparsed_ns: self.unparsed_ns,
            answer: self.response.map(|r| Answer {
                status: r.status,
                failed: self.protocol.failed(r.status),
                head_ns: r.head_ns,
                last: r.extent.last,
                end: r.extent.end,
                length: r.extent.length(&self.operation),
            }),
            unread: closing.unread,
            counted: closing.counted,
            other: closing.other,
            acknowledged: self.response.is_none_or(|r| {
                closing.acknowledged.is_some_and(|acknowledged| acknowledged >= r.extent.end)
            }),
        }
    }
}

/// What is known of the socket when spans have to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// Its end.
    pub ending: &'a CloseState,
    /// The kernel has bytes that the application did not take.
    pub unread: bool,
    /// Position up to which the other side has acknowledged.
    pub acknowledged: Option<u64>,
    /// The streams were seen from their first byte on.
    pub counted: bool,
    /// The other end, where it was recorded.
    pub other: Option<Other<'a>>,
    /// Now, or when the recording ended, boot time ns.
    pub now_ns: i64,
}

/// Something happened to a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanUpdate {
    /// Its first byte was seen.
    Started(SpanIndex),
    /// Its request's head is complete.
    HeadParsed(SpanIndex),
    /// Its answer is complete.
    Responded(SpanIndex),
    /// How it ended is decided.
    Ended(SpanIndex),
}

/// The exchanges of one socket.
#[derive(Clone, Debug)]
pub struct Exchanges {
    protocol: &'static dyn Protocol,
    socket: SocketIndex,
    side: Side,
    /// Requests whose span is not decided, in order.
    open: VecDeque<SpanIndex>,
    /// Answered to a client that may have been gone.
    awaiting_close: Vec<SpanIndex>,
    /// The answer that is being read, before its head says what it is.
    response: Option<MessageExtent>,
    /// The span whose answer is being read.
    answering: Option<SpanIndex>,
    /// Answers that came before their requests: two threads of a client may be reported so, and a server may answer before
    /// it reads.
    early: VecDeque<(Option<u64>, Response)>,
    /// The answer that is being read may go on in later messages.
    goes_on: bool,
    keys: Keys,
    /// Position up to which answers were read.
    placed: u64,
    /// All of the requests' bytes were understood so far, from the connection's first byte on.
    understood: bool,
    /// Bytes that may be a request came since the last answer.
    unknown: bool,
    /// Answers and requests may have been counted wrong since the last gap.
    uncertain: bool,
    /// A request was sent before the answer to the one before it.
    pipelined: bool,
    /// Bytes of answers came last at that did not tell whose answers they are, ns.
    unplaced_ns: i64,
    /// Requests so far.
    pub requests: u32,
    /// The last request's.
    last_operation: Arc<Operation>,
    /// Decided last, with what tells spans at one place apart.
    decided: VecDeque<(SpanIndex, u64)>,
}

/// Pipelined requests that one unseen event may have decided wrongly.
const MAX_DECIDED: usize = 64;
/// Requests that wait at most; those that a peer never answers must not cost memory.
const MAX_OPEN: usize = 4096;
/// Answers that wait for their request.
const MAX_EARLY: usize = 64;

impl Exchanges {
    /// No exchange yet. `from_start`: nor was there one before the recording.
    pub fn new(
        protocol: &'static dyn Protocol,
        socket: SocketIndex,
        side: Side,
        from_start: bool,
    ) -> Exchanges {
        Exchanges {
            protocol,
            socket,
            side,
            open: VecDeque::new(),
            awaiting_close: Vec::new(),
            response: None,
            answering: None,
            early: VecDeque::new(),
            goes_on: false,
            keys: Keys::default(),
            placed: 0,
            understood: from_start,
            unknown: false,
            uncertain: false,
            pipelined: false,
            unplaced_ns: i64::MIN,
            requests: 0,
            last_operation: heads::unread(),
            decided: VecDeque::new(),
        }
    }

    /// What is spoken.
    pub fn protocol(&self) -> &'static dyn Protocol {
        self.protocol
    }

    /// Which side of its connection the socket is on.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Takes in a notice about a message. `updates` gets what became of spans.
    pub fn notice(
        &mut self,
        direction: Direction,
        notice: Notice<'_>,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
        heads: &mut Heads,
    ) {
        match (direction, notice) {
            (_, Notice::Gap { messages }) => self.gap(direction, messages, live, closing, updates),
            (Direction::Requests, Notice::Begin { position, seq, timing }) => {
                self.request(position, seq, timing, live, closing, updates);
            }
            (Direction::Requests, Notice::Head { bytes, info, timing }) => {
                let Some(&index) = self.open.back() else { return };
                let Some(span) = live.get_mut(index) else { return };
                span.operation = heads.read(self.protocol, bytes, &self.last_operation);
                self.last_operation = Arc::clone(&span.operation);
                span.key = info.and_then(|info| info.key);
                span.request.head_bytes = info.map_or(0, |_| bytes.len() as u64);
                if info.is_some_and(|info| info.unanswered) {
                    span.response = Some(Response::none(timing));
                }
                updates.push(SpanUpdate::HeadParsed(index));
                self.keyed_request(index, live, closing, updates);
            }
            (Direction::Requests, Notice::Progress { position, timing }) => {
                if let Some(request) = self.last_request(live) {
                    request.progress(position, timing);
                }
            }
            (Direction::Requests, Notice::Unplaced { in_message, position, timing }) => {
                if !in_message {
                    self.close_endless(live, closing, updates);
                    self.understood = false;
                    self.unknown = true;
                } else {
                    // Of several that are sent at once the others may be among them.
                    self.understood &= !self.pipelined;
                    if let Some(request) = self.last_request(live) {
                        request.endless = true;
                        request.progress(position, timing);
                    }
                }
            }
            (Direction::Requests, Notice::End { position, body_bytes, timing }) => {
                let Some(&index) = self.open.back() else { return };
                let Some(span) = live.get_mut(index) else { return };
                span.request.complete(position, body_bytes, timing);
                if span.response.is_some_and(|response| response.is_none()) {
                    span.response = Some(Response::none(timing));
                }
                if span.answered() {
                    self.settle(index, live, closing, updates);
                }
            }
            (Direction::Responses, Notice::Begin { position, timing, .. }) => {
                self.response = Some(MessageExtent::begin(position, timing));
                self.answering = None;
            }
            (Direction::Responses, Notice::Head { bytes, info, timing }) => {
                self.response_head(bytes, info, timing, live, closing, updates);
            }
            (Direction::Responses, Notice::Progress { position, timing }) => {
                self.response_extent(live, |extent| extent.progress(position, timing));
            }
            (Direction::Responses, Notice::Unplaced { in_message, position, timing }) => {
                self.unplaced_from(timing.exit_ns, live, closing, updates);
                self.unplaced(in_message, position, timing, live);
            }
            (Direction::Requests, Notice::MayEnd { position, timing }) => {
                if let Some(request) = self.last_request(live) {
                    request.endless = true;
                    request.progress(position, timing);
                }
            }
            (Direction::Responses, Notice::MayEnd { position, timing }) => {
                self.response_extent(live, |extent| {
                    extent.endless = true;
                    extent.progress(position, timing);
                    extent.may_end = true;
                });
            }
            (Direction::Responses, Notice::End { position, body_bytes, timing }) => {
                let goes_on = std::mem::take(&mut self.goes_on);
                self.response_extent(live, |extent| match goes_on {
                    true => extent.progress(position, timing),
                    false => extent.complete(position, body_bytes, timing),
                });
                self.response = None;
                self.placed = position;
                if goes_on {
                    self.response_extent(live, |extent| extent.may_end = true);
                    self.answering = None;
                }
                if let Some(index) = self.answering.take() {
                    self.answered(index, live, closing, updates);
                }
            }
        }
    }

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

    /// Messages say which exchange they belong to.
    fn keyed(&self) -> bool {
        self.protocol.has_keys()
    }

    fn last_request<'a>(&self, live: &'a mut OpenSpans) -> Option<&'a mut MessageExtent> {
        let span = live.get_mut(*self.open.back()?)?;
        (!span.request.complete).then_some(&mut span.request)
    }

    fn request(
        &mut self,
        position: u64,
        seq: u32,
        timing: CallTiming,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.close_endless(live, closing, updates);
        let before = self.open.back().and_then(|&index| live.get(index));
        self.pipelined |= before.is_some_and(|span| span.request.first == timing);
        if self.open.is_empty() && !self.pipelined {
            self.uncertain = false;
        }
        // The next answer may be that of a request which was not understood.
        self.uncertain |= std::mem::take(&mut self.unknown);
        let span = Span {
            protocol: self.protocol,
            socket: self.socket,
            side: self.side,
            number: self.requests,
            seq,
            start_ns: if self.side == Side::Client { timing.enter_ns } else { timing.exit_ns },
            key: None,
            operation: heads::unread(),
            request: MessageExtent::begin(position, timing),
            response: None,
            damaged: self.uncertain && !self.keyed(),
            unparsed_ns: None,
            span_end: None,
            link: Link::default(),
        };
        let index = live.insert(span);
        if self.open.len() == MAX_OPEN {
            self.give_up_first(live, closing, updates);
        }
        self.requests = self.requests.saturating_add(1);
        self.open.push_back(index);
        updates.push(SpanUpdate::Started(index));
        let Some(early) = self.early_for(timing) else { return };
        let Some(span) = live.get_mut(index) else { return };
        span.response = Some(early);
        if early.extent.complete {
            self.answered(index, live, closing, updates);
        } else {
            self.answering = Some(index);
        }
    }

    /// The answer that came before the request which this call began to move.
    fn early_for(&mut self, timing: CallTiming) -> Option<Response> {
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

    /// The head of a request says what its exchange is called by.
    fn keyed_request(
        &mut self,
        index: SpanIndex,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        let Some(span) = live.get(index).filter(|span| self.keyed() && span.key.is_some()) else { return };
        // A client sends before it takes; its threads may be reported so. A server reads before it answers.
        let sent_ns = span.request.first.enter_ns;
        let before = |(key, early): &(_, Response)| *key == span.key && sent_ns <= early.extent.first.exit_ns;
        let early = self.early.iter().position(before).and_then(|at| self.early.remove(at));
        match self.keys.reuse(index, &self.open, live) {
            Reuse::No => {}
            Reuse::After(ended) => self.answered(ended, live, closing, updates),
            Reuse::Missed(missed) => self.give_up(missed, live, closing, updates),
        }
        let (Some((_, early)), Some(span)) = (early, live.get_mut(index)) else { return };
        span.response = Some(early);
        if early.extent.complete {
            self.answered(index, live, closing, updates);
        } else if !early.extent.may_end {
            self.answering = Some(index);
        }
    }

    /// An answer whose end was not seen ended somewhere before the next request, and before what may be one.
    fn close_endless(&mut self, live: &mut OpenSpans, closing: &Closing<'_>, updates: &mut Vec<SpanUpdate>) {
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

    fn response_head(
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
            return self.keyed_response(info.and_then(|info| info.key), response, live);
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
            }
            return;
        };
        self.close_before(index, answers.is_some(), live, closing, updates);
        if let Some(span) = live.get_mut(index) {
            span.response = Some(response);
            // It may answer a request that was not understood, or missed.
            span.damaged |= info.is_some() && answers.is_none();
        }
        self.answering = Some(index);
    }

    /// An answer, or more of one, that says which exchange it belongs to. One that belongs to none is left out.
    fn keyed_response(&mut self, key: Option<u64>, response: Response, live: &mut OpenSpans) {
        self.answering = key.and_then(|key| keys::waiting(key, &self.open, live));
        let begin_missed = self.answering.is_some_and(|index| self.keys.may_have_missed(index, live));
        let Some(span) = self.answering.and_then(|index| live.get_mut(index)) else {
            if self.side == Side::Client {
                if self.early.len() == MAX_EARLY {
                    self.early.pop_front();
                }
                self.early.push_back((key, response));
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

    /// The first request's answer was missed, if it has any.
    fn give_up_first(&mut self, live: &mut OpenSpans, closing: &Closing<'_>, updates: &mut Vec<SpanUpdate>) {
        let Some(&index) = self.open.front() else { return };
        if let Some(span) = live.get_mut(index) {
            span.damaged = true;
        }
        self.give_up(index, live, closing, updates);
    }

    /// What became of this answer is known as far as it will be.
    fn give_up(
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

    /// An answer whose end was not seen ended somewhere before the next one. `certain`: the next one is that of this span, so
    /// what waits before it has missed its own.
    fn close_before(
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

    fn response_extent(&mut self, live: &mut OpenSpans, update: impl FnOnce(&mut MessageExtent)) {
        if let Some(index) = self.answering {
            if let Some(response) = live.get_mut(index).and_then(|span| span.response.as_mut()) {
                update(&mut response.extent);
            }
        } else if let Some(extent) = &mut self.response {
            update(extent);
        } else if let Some((_, early)) = self.early.back_mut() {
            update(&mut early.extent);
        }
    }

    /// Bytes of answers are missing, or do not tell whose answers they are.
    fn unplaced_from(
        &mut self,
        now_ns: i64,
        live: &mut OpenSpans,
        closing: &Closing<'_>,
        updates: &mut Vec<SpanUpdate>,
    ) {
        self.unplaced_ns = now_ns;
        if self.keyed() {
            for missed in self.keys.unplaced(now_ns, &self.open, live) {
                self.give_up(missed, live, closing, updates);
            }
        }
    }

    fn unplaced(&mut self, in_message: bool, position: u64, timing: CallTiming, live: &mut OpenSpans) {
        // What follows an answer of unknown end after the next request is no more of it.
        let read = self.answering.is_some() || self.response.is_some() || !self.early.is_empty();
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

    /// The answer of a span is complete.
    fn answered(
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
    fn settle(
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

    fn decide(
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
    fn gap(
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
                Direction::Requests => self.open.back().copied(),
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
                    let last = self.open.back().and_then(|&index| live.get_mut(index));
                    if let Some(span) = last.filter(|span| !span.request.complete) {
                        (span.damaged, span.request.endless) = (true, true);
                    }
                }
                Direction::Responses => self.unplaced_from(closing.now_ns, live, closing, updates),
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
