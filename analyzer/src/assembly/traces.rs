//! Written spans in, one summary a trace out, once none of its spans is still to come.

use std::sync::Arc;

use retrospan_protocols::Title;

use crate::assembly::connections::Sockets;
use crate::assembly::due::Due;
use crate::assembly::settling::Finished;
use crate::assembly::span::Parent;
use crate::hashing::IntMap;
use crate::tables::dimensions::Dimensions;
use crate::tables::outcome::Outcome;

/// A trace, all of whose spans are written.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// Id.
    pub trace_id: u128,
    /// The first span without a recorded parent.
    pub root_span_id: u64,
    /// Its service.
    pub root_service: &'a str,
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
    /// Services, each once.
    pub services: Vec<&'a str>,
}

#[derive(Debug)]
struct Growing<'a> {
    trace: Trace<'a>,
    root_start_ns: i64,
    /// Children of written spans that are not written yet.
    outstanding: i64,
    has_root: bool,
    /// When it is taken for complete, if nothing is outstanding, boot time ns.
    due_ns: i64,
    /// [`Traces::due`] has it, perhaps for an earlier time.
    noted: bool,
}

impl Growing<'_> {
    /// It has a root, and no child of a span is still to come.
    fn is_whole(&self) -> bool {
        self.has_root && self.outstanding <= 0
    }
}

/// Most services that a summary lists.
const MAX_SERVICES: usize = 64;
/// Counts spans by trace.
#[derive(Debug)]
pub struct Traces<'a> {
    sockets: &'a Sockets,
    dimensions: &'a Dimensions,
    growing: IntMap<u128, Growing<'a>>,
    due: Due<u128>,
}

impl<'a> Traces<'a> {
    /// None yet.
    pub fn new(sockets: &'a Sockets, dimensions: &'a Dimensions) -> Traces<'a> {
        Traces { sockets, dimensions, growing: IntMap::default(), due: Due::default() }
    }

    /// The next trace that is complete at `now_ns`.
    pub fn complete(&mut self, now_ns: i64) -> Option<Trace<'a>> {
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
    pub fn rest(&mut self) -> Vec<Trace<'a>> {
        self.due.clear();
        let mut rest: Vec<_> = self.growing.drain().map(|(_, growing)| growing.trace).collect();
        rest.sort_by_key(|trace| (trace.start_ns, trace.trace_id));
        rest
    }

    /// Takes in a span. Must get every one in the order in which they are written, after all traces that were complete before.
    pub fn count(&mut self, finished: &Finished) {
        let (span, span_end) = (&*finished.span, &finished.span_end);
        let process = self.dimensions.process(span.process_id(self.sockets));
        let service = process.map_or("", |process| &*process.service);
        let growing = self.growing.entry(finished.trace_id).or_insert_with(|| Growing::new(finished));
        let trace = &mut growing.trace;
        trace.start_ns = trace.start_ns.min(span.start_ns);
        trace.end_ns = trace.end_ns.max(span_end.end_ns);
        trace.spans += 1;
        trace.errors += i64::from(span_end.outcome != Outcome::Ok);
        if trace.services.len() < MAX_SERVICES && !trace.services.contains(&service) {
            trace.services.push(service);
        }
        let is_root = finished.parent_span_id.is_none();
        if is_root && (!growing.has_root || span.start_ns < growing.root_start_ns) {
            growing.root_start_ns = span.start_ns;
            trace.root_span_id = finished.span_id;
            trace.root_service = service;
            trace.root_name = span.operation.title.clone().unwrap_or(Title::Defined(span.protocol.title()));
            trace.root_path = span.operation.target.clone();
            trace.root_status = span_end.status.code;
            trace.root_outcome = span_end.outcome;
            trace.root_duration_ns = span_end.end_ns - span.start_ns;
        }
        growing.has_root |= is_root;
        growing.outstanding += span.link.children.len() as i64;
        growing.outstanding -= i64::from(matches!(span.link.parent, Parent::Written(_)) && !span.link.late);
        if growing.is_whole() {
            growing.due_ns = growing.due_ns.max(finished.due_ns);
            if !std::mem::replace(&mut growing.noted, true) {
                self.due.push(growing.due_ns, finished.trace_id);
            }
        }
    }
}

impl<'a> Growing<'a> {
    fn new(finished: &Finished) -> Growing<'a> {
        Growing {
            trace: Trace {
                trace_id: finished.trace_id,
                root_span_id: finished.span_id,
                root_service: "",
                root_name: Title::Defined(""),
                root_path: None,
                root_status: None,
                root_outcome: finished.span_end.outcome,
                root_duration_ns: 0,
                start_ns: finished.span.start_ns,
                end_ns: finished.span_end.end_ns,
                spans: 0,
                errors: 0,
                services: Vec::new(),
            },
            root_start_ns: i64::MAX,
            outstanding: 0,
            has_root: false,
            due_ns: 0,
            noted: false,
        }
    }
}
