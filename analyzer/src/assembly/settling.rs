//! Decided spans in, spans with ids and own times out.
//!
//! The two sides of an exchange are decided at different moments, and children may outlive their parents. So a decided span
//! is kept for a short while of event time. When it is written, its live children learn its trace, and its
//! live parent learns which part of its time it took.

use std::collections::VecDeque;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::assembly::connections::Sockets;
use crate::assembly::connects::Connects;
use crate::assembly::links::{KEEP_NS, Links};
use crate::assembly::outcomes::SpanEnd;
use crate::assembly::passing::Origin;
use crate::assembly::relatives::{cut_end, known_end, own_time, tell_relatives};
use crate::assembly::span::{OpenSpans, Parent, Span, SpanIndex, Written};
use crate::assembly::waits::Waited;

/// A span with everything that a row needs.
#[derive(Debug)]
pub struct Finished {
    /// The span.
    pub span: Box<Span>,
    /// How it ended; the end is the final one.
    pub span_end: SpanEnd,
    /// Trace.
    pub trace_id: u128,
    /// Id.
    pub span_id: u64,
    /// Recorded parent.
    pub parent_span_id: Option<u64>,
    /// Parent that nobody recorded.
    pub remote_parent_span_id: Option<u64>,
    /// Duration without what its children took, connects that it waited for among them, ns.
    pub own_ns: i64,
    /// What it waited for connections; its parts are children too.
    pub waited: Option<Waited>,
    /// All that was due by this boot time was done before it was written, ns.
    pub before_ns: i64,
    /// When its trace is taken for complete, if nothing is outstanding, boot time ns.
    pub due_ns: i64,
}

/// What depends on other spans.
struct Resolved {
    span_end: SpanEnd,
    trace_id: u128,
    span_id: u64,
    parent_span_id: Option<u64>,
    remote_parent_span_id: Option<u64>,
    own_ns: i64,
    waited: Option<Waited>,
}

/// A trace whose id came with a request may be continued by a request on another connection, ns.
const CONTEXT_WAIT_NS: i64 = 10_000_000_000;
/// Deeper traces are cut into several; a cycle cannot arise, but nothing depends on that.
const MAX_DEPTH: usize = 1000;

/// Writes spans when nothing about them can change any more.
#[derive(Debug)]
pub struct Settling {
    capture: u64,
    settle_ns: i64,
    waiting: VecDeque<(i64, SpanIndex)>,
}

impl Settling {
    /// Ids derive from the capture's id. Spans wait `settle_ns` of event time.
    pub fn new(capture_id: &str, settle_ns: i64) -> Settling {
        Settling { capture: xxh3_64_with_seed(capture_id.as_bytes(), 0), settle_ns, waiting: VecDeque::new() }
    }

    /// How a span ended is decided.
    pub fn finished(&mut self, index: SpanIndex, now_ns: i64) {
        self.waiting.push_back((self.written_ns(now_ns), index));
    }

    /// When spans are written whose end is decided now.
    pub fn written_ns(&self, now_ns: i64) -> i64 {
        now_ns.saturating_add(self.settle_ns)
    }

    /// Writes the spans that are due at the second of two times, one event after the other: their relatives learn of it, then
    /// `write` gets them.
    pub fn settle<E>(
        &mut self,
        [before_ns, now_ns]: [i64; 2],
        live: &mut OpenSpans,
        links: &mut Links,
        connects: &Connects,
        sockets: &Sockets,
        mut write: impl FnMut(Finished) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.waiting.front().is_some_and(|(due, _)| *due <= now_ns) {
            let Some((_, index)) = self.waiting.pop_front() else { break };
            let Some(resolved) = self.resolve(index, live, connects, sockets) else { continue };
            let Some(span) = live.remove(index) else { continue };
            let Resolved { span_end, trace_id, span_id, .. } = resolved;
            let written = Written { trace_id, span_id, end_ns: known_end(&span_end) };
            tell_relatives(index, &span, written, span_end.end_ns, live);
            let awaited = links.written(&span, written, sockets, now_ns);
            let wait_ns = if awaited {
                KEEP_NS
            } else if span.operation.context.is_some() {
                CONTEXT_WAIT_NS
            } else {
                self.settle_ns
            };
            let finished = Finished {
                span,
                span_end,
                trace_id,
                span_id,
                parent_span_id: resolved.parent_span_id,
                remote_parent_span_id: resolved.remote_parent_span_id,
                own_ns: resolved.own_ns,
                waited: resolved.waited,
                before_ns,
                due_ns: now_ns.saturating_add(wait_ns),
            };
            write(finished)?;
        }
        Ok(())
    }

    /// Whether any span is due at `now_ns`.
    #[inline]
    pub fn is_due(&self, now_ns: i64) -> bool {
        self.waiting.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns)
    }

    /// Everything about a decided span that depends on others.
    fn resolve(
        &self,
        index: SpanIndex,
        live: &OpenSpans,
        connects: &Connects,
        sockets: &Sockets,
    ) -> Option<Resolved> {
        let span = live.get(index)?;
        let mut span_end = span.span_end?;
        span_end.end_ns = cut_end(span, &span_end, live);
        let parent_span_id = match span.link.parent {
            Parent::None => None,
            Parent::Open(parent) => live.get(parent).map(|parent| self.span_id(parent, sockets)),
            Parent::Written(written) => Some(written.span_id),
        };
        let context = span.operation.context.filter(|_| parent_span_id.is_none());
        let gaps = own_time(span, &span_end, live);
        let waited = connects.waited(span, &span_end, &gaps, sockets);
        let waited_ns = waited.as_ref().map_or(0, |waited| waited.parts_ns);
        Some(Resolved {
            trace_id: self.trace_id(index, live, sockets),
            span_id: self.span_id(span, sockets),
            parent_span_id,
            remote_parent_span_id: context.map(|context| context.span_id),
            own_ns: gaps.iter().map(|(from, to)| to - from).sum::<i64>() - waited_ns,
            waited,
            span_end,
        })
    }

    fn span_id(&self, span: &Span, sockets: &Sockets) -> u64 {
        self.id_of(Origin::of(span), sockets)
    }

    /// The id of the span that begins there.
    pub fn id_of(&self, origin: Origin, sockets: &Sockets) -> u64 {
        xxh3_64_with_seed(&self.origin(origin, sockets, origin.side as u8 + 1), 0).max(1)
    }

    /// The trace of the topmost span: what its request says, or else derived from its first byte, alike for both sides
    /// of the connection.
    fn trace_id(&self, index: SpanIndex, live: &OpenSpans, sockets: &Sockets) -> u128 {
        let mut top = index;
        for _ in 0..MAX_DEPTH {
            match live.get(top).map(|span| span.link.parent) {
                Some(Parent::Open(parent)) if live.get(parent).is_some() => top = parent,
                Some(Parent::Written(written)) => return written.trace_id,
                _ => break,
            }
        }
        let Some(span) = live.get(top) else { return 1 };
        match span.operation.context {
            Some(context) => context.trace_id,
            None => xxh3_128_with_seed(&self.origin(Origin::of(span), sockets, 0), 0).max(1),
        }
    }

    fn origin(&self, of: Origin, sockets: &Sockets, side: u8) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.capture.to_le_bytes());
        bytes[8..16].copy_from_slice(&sockets.get(of.socket).connection_id.to_le_bytes());
        bytes[16..20].copy_from_slice(&((of.begin >> 32) as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&of.seq.to_le_bytes());
        bytes[24] = side;
        bytes
    }
}

/// The id of a span's wait for a connection, by its number among the span's waits.
pub fn wait_span_id(span_id: u64, number: usize) -> u64 {
    xxh3_64_with_seed(&(number as u64).to_le_bytes(), span_id).max(1)
}
