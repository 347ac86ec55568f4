//! Decided spans in, spans with ids and own times out, and one summary a trace.
//!
//! The two sides of an exchange are decided at different moments, and children may outlive their parents. So a decided span
//! is kept for a short while of event time. When it is written, its live children learn its trace, and its
//! live parent learns which part of its time it took.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use retrospan_protocols::Title;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::assembly::connections::Sockets;
use crate::assembly::connects::Connects;
use crate::assembly::due::Due;
use crate::assembly::links::{KEEP_NS, Links};
use crate::assembly::outcomes::SpanEnd;
use crate::assembly::relatives::{cut_end, known_end, own_time, tell_relatives};
use crate::assembly::span::{OpenSpans, Parent, Span, SpanIndex, Written};
use crate::assembly::waits::Waited;
use crate::hashing::IntMap;
use crate::tables::outcome::Outcome;

/// A span with everything that a row needs.
#[derive(Debug)]
pub struct Finished<'a> {
    /// The span.
    pub span: &'a Span,
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

/// A trace, all of whose spans are written.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Id.
    pub trace_id: u128,
    /// The first span without a recorded parent.
    pub root_span_id: u64,
    /// Its service.
    pub root_service: String,
    /// Its name.
    pub root_name: Title,
    /// Its path.
    pub root_path: Option<Arc<str>>,
    /// Its status.
    pub root_status: Option<u16>,
    /// Its outcome.
    pub root_outcome: Outcome,
    /// Its duration, ns.
    pub root_duration_ns: i64,
    /// Boot time of the first span's begin, ns.
    pub start_ns: i64,
    /// Boot time of the last span's end, ns.
    pub end_ns: i64,
    /// Number of spans, without their waits.
    pub spans: i64,
    /// Spans whose outcome is not ok.
    pub errors: i64,
    /// Services, sorted.
    pub services: BTreeSet<String>,
}

#[derive(Debug)]
struct Growing {
    trace: Trace,
    root_start_ns: i64,
    /// Children of written spans that are not written yet.
    outstanding: i64,
    has_root: bool,
    /// When it is taken for complete, if nothing is outstanding, boot time ns.
    due_ns: i64,
    /// [`Traces::due`] has it, perhaps for an earlier time.
    noted: bool,
}

impl Growing {
    /// It has a root, and no child of a span is still to come.
    fn is_whole(&self) -> bool {
        self.has_root && self.outstanding <= 0
    }
}

/// Most services that a summary lists.
const MAX_SERVICES: usize = 64;
/// A trace whose id came with a request may be continued by a request on another connection, ns.
const CONTEXT_WAIT_NS: i64 = 10_000_000_000;

/// Writes spans when nothing about them can change any more.
#[derive(Debug)]
pub struct Traces {
    capture: u64,
    settle_ns: i64,
    settling: VecDeque<(i64, SpanIndex)>,
    growing: IntMap<u128, Growing>,
    due: Due<u128>,
}

impl Traces {
    /// Ids derive from the capture's id. Spans wait `settle_ns` of event time.
    pub fn new(capture_id: &str, settle_ns: i64) -> Traces {
        Traces {
            capture: xxh3_64_with_seed(capture_id.as_bytes(), 0),
            settle_ns,
            settling: VecDeque::new(),
            growing: IntMap::default(),
            due: Due::default(),
        }
    }

    /// How a span ended is decided.
    pub fn finished(&mut self, index: SpanIndex, now_ns: i64) {
        self.settling.push_back((self.written_ns(now_ns), index));
    }

    /// When spans are written whose end is decided now.
    pub fn written_ns(&self, now_ns: i64) -> i64 {
        now_ns.saturating_add(self.settle_ns)
    }

    /// Writes the spans that are due at `now_ns`: their relatives learn of it, then `write` gets them.
    pub fn settle<'k, E>(
        &mut self,
        now_ns: i64,
        live: &mut OpenSpans,
        links: &mut Links,
        connects: &Connects,
        sockets: &Sockets,
        mut write: impl FnMut(&Finished<'_>) -> Result<Labels<'k>, E>,
    ) -> Result<(), E> {
        while self.settling.front().is_some_and(|(due, _)| *due <= now_ns) {
            let Some((_, index)) = self.settling.pop_front() else { break };
            let Some(resolved) = self.resolve(index, live, connects, sockets) else { continue };
            let Some(span) = live.remove(index) else { continue };
            let Resolved { span_end, trace_id, span_id, .. } = resolved;
            let written = Written { trace_id, span_id, end_ns: known_end(&span_end) };
            tell_relatives(index, &span, written, span_end.end_ns, live);
            let awaited = links.written(&span, written, sockets, now_ns);
            let finished = Finished {
                span: &span,
                span_end,
                trace_id,
                span_id,
                parent_span_id: resolved.parent_span_id,
                remote_parent_span_id: resolved.remote_parent_span_id,
                own_ns: resolved.own_ns,
                waited: resolved.waited,
            };
            let labels = write(&finished)?;
            let wait_ns = if awaited {
                KEEP_NS
            } else if span.operation.context.is_some() {
                CONTEXT_WAIT_NS
            } else {
                self.settle_ns
            };
            self.count(&finished, labels, now_ns.saturating_add(wait_ns));
        }
        Ok(())
    }

    /// Whether any span or trace is due at `now_ns`.
    #[inline]
    pub fn is_due(&self, now_ns: i64) -> bool {
        self.settling.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns) || self.due.is_any(now_ns)
    }

    /// The next trace that is complete at `now_ns`.
    pub fn complete(&mut self, now_ns: i64) -> Option<Trace> {
        while let Some((noted_ns, id)) = self.due.pop(now_ns) {
            let Some(growing) = self.growing.get_mut(&id) else { continue };
            if !growing.is_whole() {
                growing.noted = false;
            } else if growing.due_ns > noted_ns {
                self.due.push(growing.due_ns, id);
            } else {
                return self.growing.remove(&id).map(|growing| growing.trace);
            }
        }
        None
    }

    /// All traces that are left, by start.
    pub fn rest(&mut self) -> Vec<Trace> {
        self.due.clear();
        let mut rest: Vec<_> = self.growing.drain().map(|(_, growing)| growing.trace).collect();
        rest.sort_by_key(|trace| (trace.start_ns, trace.trace_id));
        rest
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
        xxh3_64_with_seed(&self.origin(span, sockets, span.side as u8 + 1), 0).max(1)
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
            None => xxh3_128_with_seed(&self.origin(span, sockets, 0), 0).max(1),
        }
    }

    fn origin(&self, span: &Span, sockets: &Sockets, side: u8) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.capture.to_le_bytes());
        bytes[8..16].copy_from_slice(&sockets.get(span.socket).connection_id.to_le_bytes());
        bytes[16..20].copy_from_slice(&((span.request.begin >> 32) as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&span.seq.to_le_bytes());
        bytes[24] = side;
        bytes
    }

    fn count(&mut self, finished: &Finished<'_>, labels: Labels<'_>, due_ns: i64) {
        let (span, span_end) = (finished.span, &finished.span_end);
        let growing = self.growing.entry(finished.trace_id).or_insert_with(|| Growing::new(finished));
        let trace = &mut growing.trace;
        trace.start_ns = trace.start_ns.min(span.start_ns);
        trace.end_ns = trace.end_ns.max(span_end.end_ns);
        trace.spans += 1;
        trace.errors += i64::from(span_end.outcome != Outcome::Ok);
        if trace.services.len() < MAX_SERVICES && !trace.services.contains(labels.service) {
            trace.services.insert(labels.service.to_owned());
        }
        let is_root = finished.parent_span_id.is_none();
        if is_root && (!growing.has_root || span.start_ns < growing.root_start_ns) {
            growing.root_start_ns = span.start_ns;
            trace.root_span_id = finished.span_id;
            trace.root_service = labels.service.to_owned();
            trace.root_name = labels.name;
            trace.root_path = span.operation.target.clone();
            trace.root_status = span_end.status.code;
            trace.root_outcome = span_end.outcome;
            trace.root_duration_ns = span_end.end_ns - span.start_ns;
        }
        growing.has_root |= is_root;
        growing.outstanding += span.link.children.len() as i64;
        growing.outstanding -= i64::from(matches!(span.link.parent, Parent::Written(_)) && !span.link.late);
        if growing.is_whole() {
            growing.due_ns = growing.due_ns.max(due_ns);
            if !std::mem::replace(&mut growing.noted, true) {
                self.due.push(growing.due_ns, finished.trace_id);
            }
        }
    }
}

/// The id of a span's wait for a connection, by its number among the span's waits.
pub fn wait_span_id(span_id: u64, number: usize) -> u64 {
    xxh3_64_with_seed(&(number as u64).to_le_bytes(), span_id).max(1)
}

/// How a span is called in a summary.
#[derive(Clone, Debug)]
pub struct Labels<'k> {
    /// Service; empty where not known.
    pub service: &'k str,
    /// Name.
    pub name: Title,
}

/// Deeper traces are cut into several; a cycle cannot arise, but nothing depends on that.
const MAX_DEPTH: usize = 1000;

impl Growing {
    fn new(finished: &Finished<'_>) -> Growing {
        Growing {
            trace: Trace {
                trace_id: finished.trace_id,
                root_span_id: finished.span_id,
                root_service: String::new(),
                root_name: Title::Defined(""),
                root_path: None,
                root_status: None,
                root_outcome: finished.span_end.outcome,
                root_duration_ns: 0,
                start_ns: finished.span.start_ns,
                end_ns: finished.span_end.end_ns,
                spans: 0,
                errors: 0,
                services: BTreeSet::new(),
            },
            root_start_ns: i64::MAX,
            outstanding: 0,
            has_root: false,
            due_ns: 0,
            noted: false,
        }
    }
}
