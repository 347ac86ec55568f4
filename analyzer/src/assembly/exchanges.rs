//! Messages of one socket in, spans out: every request gets one, its answer is paired with it, and it ends once.
//!
//! Where messages say which exchange they belong to ([`Protocol::has_keys`]), that decides (`keys.rs`), and an answer that
//! belongs to none is nobody's. Else the k-th answer on a connection answers its k-th request; answers that only announce
//! another (1xx of HTTP) are none. Where calls are missing, or bytes came that may be requests of another kind, that count
//! cannot be trusted: what may be touched is `lost` until the connection is quiet again.

mod answers;
mod deciding;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;

use retrospan_protocols::{Direction, Operation, Protocol};

use crate::assembly::close_state::CloseState;
use crate::assembly::connections::SocketIndex;
use crate::assembly::heads::{self, Heads};
use crate::assembly::keys::{Keys, Reuse, Unplaced};
use crate::assembly::messages::Notice;
use crate::assembly::outcomes::{Answer, Exchanged, Other};
use crate::assembly::passing::Origin;
use crate::assembly::side::Side;
use crate::assembly::span::{Link, MessageExtent, OpenSpans, Response, Span, SpanIndex};
use crate::assembly::streams::CallTiming;

impl Span {
    fn exchanged<'a>(&self, closing: &Closing<'a>) -> Exchanged<'a> {
        let last = self.response.map_or(self.request.last, |r| r.extent.last);
        Exchanged {
            side: self.side,
            start_ns: self.start_ns,
            last,
            damaged: self.is_damaged(),
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
    /// The span whose request is being read, where requests say which exchange they belong to.
    asking: Option<SpanIndex>,
    /// The answer that is being read, before its head says what it is.
    response: Option<MessageExtent>,
    /// The span whose answer is being read.
    answering: Option<SpanIndex>,
    /// Answers that came before their requests: two threads of a client may be reported so, and a server may answer before
    /// it reads.
    early: VecDeque<(Option<u64>, Response)>,
    /// The last of them is being read.
    reading_early: bool,
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
    /// What was taken up here, and the answer that led here.
    led_by: Option<(SpanIndex, Response)>,
    /// That whose answer let something else be spoken.
    led_on: Option<Origin>,
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
            asking: None,
            awaiting_close: Vec::new(),
            response: None,
            answering: None,
            early: VecDeque::new(),
            reading_early: false,
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
            led_by: None,
            led_on: None,
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

    /// The exchange whose answer let something else be spoken.
    pub fn led_on(&self) -> Option<Origin> {
        self.led_on
    }

    /// What became of some request is not decided.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
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
            (direction, Notice::Resume { key, position }) => self.resume(direction, key, position, live),
            (_, Notice::Status(status)) => {
                if let Some(response) = self.reading(live) {
                    response.status = status;
                }
            }
            (_, Notice::TakenUp { .. } | Notice::Spoken(_)) => {}
            (_, Notice::NoAnswer { key }) => self.no_answer(key, live, closing, updates),
            (direction, Notice::Cancelled { key, timing }) => {
                self.cancelled(direction, key, timing, live, closing, updates);
            }
            (_, Notice::Gap { messages }) => self.gap(direction, messages, live, closing, updates),
            (Direction::Requests, Notice::Begin { position, seq, timing }) => {
                self.request(position, seq, timing, live, closing, updates);
            }
            (Direction::Requests, Notice::Head { bytes, info, timing }) => {
                let Some(index) = self.asking() else { return };
                let Some(span) = live.get_mut(index) else { return };
                span.operation = match info.and_then(|info| info.operation.as_ref()) {
                    Some(operation) => Arc::clone(operation),
                    None => heads.read(self.protocol, bytes, &self.last_operation),
                };
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
                let Some(index) = self.asking() else { return };
                self.asking = None;
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
                (self.answering, self.reading_early) = (None, false);
            }
            (Direction::Responses, Notice::Head { bytes, info, timing }) => {
                self.response_head(bytes, info, timing, live, closing, updates);
            }
            (Direction::Responses, Notice::Progress { position, timing }) => {
                self.response_extent(live, |extent| extent.progress(position, timing));
            }
            (Direction::Responses, Notice::Unplaced { in_message, position, timing }) => {
                self.unplaced_from(Unplaced::NotUnderstood, timing.exit_ns, live, closing, updates);
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

    /// Messages say which exchange they belong to.
    fn keyed(&self) -> bool {
        self.protocol.has_keys()
    }

    /// The span whose request is being read: without keys, the last one.
    fn asking(&self) -> Option<SpanIndex> {
        let last = self.open.back().copied();
        match self.asking {
            asking if !self.keyed() || asking == last => last,
            asking => asking.filter(|asking| self.open.contains(asking)),
        }
    }

    fn last_request<'a>(&self, live: &'a mut OpenSpans) -> Option<&'a mut MessageExtent> {
        let span = live.get_mut(self.asking()?)?;
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
        let span = Box::new(Span {
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
            torn: false,
            unparsed_ns: None,
            span_end: None,
            link: Link::default(),
        });
        let index = live.insert(span);
        if self.open.len() == MAX_OPEN {
            self.give_up_first(live, closing, updates);
        }
        self.requests = self.requests.saturating_add(1);
        self.open.push_back(index);
        self.asking = Some(index);
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
        let at = self.early.iter().position(before);
        let is_read = self.reading_early && at.is_some_and(|at| at + 1 == self.early.len());
        self.reading_early &= !is_read;
        let early = at.and_then(|at| self.early.remove(at));
        match self.keys.reuse(index, &self.open, live) {
            Reuse::No => {}
            Reuse::After(ended) => self.answered(ended, live, closing, updates),
            Reuse::Missed(missed) => self.give_up(missed, live, closing, updates),
        }
        let (Some((_, early)), Some(span)) = (early, live.get_mut(index)) else { return };
        span.response = Some(early);
        if early.extent.complete {
            self.answered(index, live, closing, updates);
        } else if is_read && !early.extent.may_end {
            self.answering = Some(index);
        }
    }
}
