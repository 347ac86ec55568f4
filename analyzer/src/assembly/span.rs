//! A span, and what it is made of: two messages, how it ended, and its place among other spans.

use std::sync::Arc;

use retrospan_protocols::{Operation, Protocol, Status};

use crate::assembly::connections::{Endpoint, SocketIndex, Sockets};
use crate::assembly::outcomes::{Length, SpanEnd};
use crate::assembly::side::Side;
use crate::assembly::streams::CallTiming;

/// Place of a span in [`OpenSpans`].
pub type SpanIndex = u32;

/// How far one message is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageExtent {
    /// Position of the first byte.
    pub begin: u64,
    /// After the last byte so far.
    pub end: u64,
    /// The message is complete.
    pub complete: bool,
    /// Where it ends is not known.
    pub endless: bool,
    /// It ends with the sending side's FIN.
    pub until_close: bool,
    /// Its last bytes are such as end a message.
    pub may_end: bool,
    /// Length of the head; 0 where it is not known.
    pub head_bytes: u64,
    /// Length of the body, where it is known.
    pub body_bytes: Option<u64>,
    /// Bytes of other messages in between.
    pub others: u64,
    /// The call that moved the first byte.
    pub first: CallTiming,
    /// The call that moved the last byte so far.
    pub last: CallTiming,
}

impl MessageExtent {
    /// Bytes on the wire.
    pub fn bytes(&self) -> u64 {
        self.end - self.begin - self.others
    }

    /// A message begins.
    pub(super) fn begin(position: u64, timing: CallTiming) -> MessageExtent {
        MessageExtent {
            begin: position,
            end: position,
            first: timing,
            last: timing,
            ..MessageExtent::default()
        }
    }

    /// Bytes of it up to `position` were moved.
    pub(super) fn progress(&mut self, position: u64, timing: CallTiming) {
        if position > self.end {
            self.end = position;
            self.last = timing;
            self.may_end = false;
        }
    }

    /// It goes on with another message, which begins there.
    pub(super) fn resume(&mut self, position: u64) {
        self.others += position.saturating_sub(self.end);
        self.end = self.end.max(position);
        self.may_end = false;
    }

    /// Its last byte was moved.
    pub(super) fn complete(&mut self, position: u64, body_bytes: Option<u64>, timing: CallTiming) {
        self.end = position;
        self.last = timing;
        self.body_bytes = body_bytes;
        self.complete = true;
    }

    /// What is known of where it ends, if it is an answer to this request.
    pub(super) fn length(&self, request: &Operation) -> Length {
        if self.complete {
            return Length::Whole;
        }
        // An answer to HEAD has a length and no body.
        let bare = self.head_bytes > 0 && self.end <= self.begin + self.head_bytes;
        if self.endless || (request.name.is_none() && bare) {
            return Length::Unknown { may_end: self.may_end };
        }
        if self.until_close { Length::UntilClose } else { Length::Owed }
    }
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Where and when.
    pub extent: MessageExtent,
    /// Status.
    pub status: Status,
    /// When the head was complete, ns.
    pub head_ns: i64,
}

impl Response {
    /// That of a request to which none will come.
    pub(super) fn none(timing: CallTiming) -> Response {
        let extent = MessageExtent { complete: true, ..MessageExtent::begin(0, timing) };
        Response { extent, status: Status::default(), head_ns: timing.exit_ns }
    }

    /// None will come.
    pub(super) fn is_none(&self) -> bool {
        self.extent.complete && self.extent.end == 0
    }
}

/// One side of one exchange.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it speaks.
    pub protocol: &'static dyn Protocol,
    /// The socket.
    pub socket: SocketIndex,
    /// Which side of the connection it is.
    pub side: Side,
    /// How many requests came before it on this socket.
    pub number: u32,
    /// Raw sequence number of the request's first byte.
    pub seq: u32,
    /// Boot time of its begin, ns.
    pub start_ns: i64,
    /// What the protocol calls it by on its connection; see [`Protocol::has_keys`].
    pub key: Option<u64>,
    /// What the request's head says.
    pub operation: Arc<Operation>,
    /// The request.
    pub request: MessageExtent,
    /// The answer.
    pub response: Option<Response>,
    /// Events of it are missing.
    pub damaged: bool,
    /// Bytes that were not understood may be those of its answer: it is damaged unless its protocol tells of its end.
    pub torn: bool,
    /// Answering bytes that no parser took came last at, ns.
    pub unparsed_ns: Option<i64>,
    /// How it ended.
    pub span_end: Option<SpanEnd>,
    /// Its place among other spans.
    pub link: Link,
}

impl Span {
    /// The answer is complete; whatever happens later on this thread is not part of answering.
    pub fn answered(&self) -> bool {
        self.response.is_some_and(|r| r.extent.complete)
    }

    /// Its process: the caller where it is known, else the socket's owner; 0 where neither is.
    pub fn process_id(&self, sockets: &Sockets) -> i64 {
        match self.request.first.process_id {
            0 => sockets.get(self.socket).process_id,
            caller => caller,
        }
    }

    /// Its outcome is not known: a part of it is missing, and nothing told of an end behind that.
    pub fn is_damaged(&self) -> bool {
        self.damaged || (self.torn && !self.answered())
    }
}

/// Why a span has its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// Both ends of one connection.
    Connection,
    /// The bytes that left a proxy are the bytes that came.
    ProxyBytes,
    /// Equal trace context within one process.
    Context,
    /// The same thread, which works on one request after the other.
    Thread,
    /// What the thread received right before it sent, or right before it answered.
    Turn,
    /// The first to come is the first to be called for.
    Order,
    /// The connection that a pool's order gives the request.
    Pool,
    /// What it shares with this one only of the requests that its process had in hand.
    Identity,
    /// Delays and the order of calls, as the whole recording shows them.
    Assignment,
}

impl Evidence {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Evidence::Connection => "connection",
            Evidence::ProxyBytes => "proxy_bytes",
            Evidence::Context => "context",
            Evidence::Thread => "thread",
            Evidence::Turn => "turn",
            Evidence::Order => "order",
            Evidence::Pool => "pool",
            Evidence::Identity => "identity",
            Evidence::Assignment => "assignment",
        }
    }

    /// How sure it is, where nothing else tells: 1 where bytes prove it.
    pub const fn confidence(self) -> f64 {
        match self {
            Evidence::Connection | Evidence::ProxyBytes => 1.0,
            Evidence::Context => 0.95,
            Evidence::Thread
            | Evidence::Turn
            | Evidence::Order
            | Evidence::Pool
            | Evidence::Identity
            | Evidence::Assignment => 0.9,
        }
    }
}

/// A span that was written already, as far as its children need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its trace.
    pub trace_id: u128,
    /// Its id.
    pub span_id: u64,
    /// Its end, boot time ns, where that is known.
    pub end_ns: Option<i64>,
}

/// A span's parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// None that is known.
    #[default]
    None,
    /// Not written yet.
    Open(SpanIndex),
    /// Written.
    Written(Written),
}

/// A parent that holds unless there is better evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) span: SpanIndex,
    /// [`Link::serial`] of that span.
    pub(super) serial: u64,
    pub(super) evidence: Evidence,
    pub(super) confidence: f64,
}

/// A span's place among others.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// The parent.
    pub parent: Parent,
    /// Why.
    pub evidence: Option<Evidence>,
    /// How sure that is, from 0 to 1.
    pub confidence: f64,
    /// Children that are not written yet.
    pub children: Vec<SpanIndex>,
    /// Intervals of children that are written, boot time ns.
    pub covered: Vec<(i64, i64)>,
    /// The parent by the way its process works, if there is no better evidence.
    pub(super) candidate: Option<Candidate>,
    /// How often each destination was called for it, by the way its process works.
    pub(super) called: Vec<(Endpoint, u32)>,
    /// It came when its parent was written already.
    pub late: bool,
    /// Tells spans at the same place apart.
    pub serial: u64,
}

/// Spans that are not written yet.
#[derive(Clone, Debug, Default)]
pub struct OpenSpans {
    slots: Vec<Option<Box<Span>>>,
    free: Vec<SpanIndex>,
    serial: u64,
}

impl OpenSpans {
    /// The span there.
    pub fn get(&self, index: SpanIndex) -> Option<&Span> {
        self.slots.get(index as usize)?.as_deref()
    }

    /// The span there.
    pub fn get_mut(&mut self, index: SpanIndex) -> Option<&mut Span> {
        self.slots.get_mut(index as usize)?.as_deref_mut()
    }

    /// Takes the span out.
    pub fn remove(&mut self, index: SpanIndex) -> Option<Box<Span>> {
        let span = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(span)
    }

    /// Gives a new span a place.
    pub fn insert(&mut self, mut span: Box<Span>) -> SpanIndex {
        self.serial += 1;
        span.link.serial = self.serial;
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(span);
                index
            }
            None => {
                self.slots.push(Some(span));
                self.slots.len() as SpanIndex - 1
            }
        }
    }
}
