//! Spans of many processes in, requests and calls of each one out.

use std::collections::{BTreeMap, HashMap};

use crate::clock;
use crate::density::Scale;
use crate::lattice::{Event, NOBODY, Work};
use crate::model::{Call, Times};
use crate::record::CALLEES;
use crate::span::{Incoming, Outgoing};

/// The spans of one process, and what they are in a [`Work`].
#[derive(Clone, Debug)]
pub struct Process {
    /// Requests and calls.
    pub work: Work,
    /// Ids of the requests.
    pub request_ids: Vec<u64>,
    /// Positions of the calls among all outgoing spans.
    pub call_positions: Vec<usize>,
    /// Number of operations.
    pub operations: usize,
    /// Number of callees.
    pub callees: usize,
    /// Of its clock.
    pub scale: Scale,
}

/// Requests of a process, and its calls with their positions among all.
type Spans = (Vec<Incoming>, Vec<(usize, Outgoing)>);

/// Takes the spans apart by process. `apart`: processes whose calls are dated by another clock.
pub fn by_process(incoming: &[Incoming], outgoing: &[Outgoing], apart: &[u32]) -> Vec<Process> {
    let mut processes: BTreeMap<u32, Spans> = BTreeMap::new();
    for span in incoming {
        processes.entry(span.process).or_default().0.push(*span);
    }
    for (at, span) in outgoing.iter().enumerate() {
        processes.entry(span.process).or_default().1.push((at, *span));
    }
    let made = processes.into_iter().filter(|(_, (_, calls))| !calls.is_empty());
    made.map(|(id, (requests, calls))| Process::new(requests, calls, apart.contains(&id))).collect()
}

impl Process {
    fn new(mut requests: Vec<Incoming>, mut calls: Vec<(usize, Outgoing)>, apart: bool) -> Process {
        requests.sort_by_key(|span| (span.begin_ns, span.end_ns, span.id));
        calls.sort_by_key(|(_, span)| (span.begin_ns, span.end_ns, span.id));
        let of_requests = requests.iter().flat_map(|span| [span.begin_ns, span.end_ns]);
        let of_calls = calls.iter().flat_map(|(_, span)| [span.begin_ns, span.end_ns]);
        let scale = Scale::new(clock::resolution_ns(of_requests.chain(of_calls)));
        let slack_ns = if apart { one_clock(&requests, &mut calls) } else { 0 };

        let operations = numbered(requests.iter().map(|span| span.operation));
        let callees = numbered(calls.iter().map(|(_, span)| span.callee));
        let by_id: HashMap<u64, u32> = requests.iter().zip(0..).map(|(span, at)| (span.id, at)).collect();
        let request = |id: Option<u64>| id.and_then(|id| by_id.get(&id).copied()).unwrap_or(NOBODY);
        let mut work = Work {
            requests: Vec::with_capacity(requests.len()),
            certain: calls.iter().map(|(_, span)| request(span.certain)).collect(),
            itself: calls.iter().map(|(_, span)| request(Some(span.id))).collect(),
            ..Work::default()
        };
        let mut events = Vec::with_capacity(2 * requests.len() + calls.len());
        for (span, at) in requests.iter().zip(0..) {
            let (begin_ns, end_ns) = (span.begin_ns, span.end_ns);
            work.requests.push(Times { kind: operations[&span.operation] as u16, begin_ns, end_ns });
            events.push((begin_ns - slack_ns, Event::Came(at)));
            events.push((end_ns, Event::Answered(at)));
        }
        let (mut before_ns, mut alike) = (i64::MIN, [i64::MIN; CALLEES]);
        for ((_, span), at) in calls.iter().zip(0..) {
            let kind = callees[&span.callee].min(CALLEES - 1) as u8;
            let (begin_ns, end_ns) = (span.begin_ns, span.end_ns);
            let alike_before_ns = std::mem::replace(&mut alike[kind as usize], begin_ns);
            work.calls.push(Call { kind, begin_ns, end_ns, before_ns, alike_before_ns });
            events.push((begin_ns, Event::Called(at)));
            before_ns = begin_ns;
        }
        events.sort_unstable();
        work.events = events.into_iter().map(|(_, event)| event).collect();
        Process {
            work,
            request_ids: requests.iter().map(|span| span.id).collect(),
            call_positions: calls.iter().map(|(at, _)| *at).collect(),
            operations: operations.len(),
            callees: callees.len().min(CALLEES),
            scale,
        }
    }

    /// Stretches of events between moments with nothing in hand, at least `least` events each.
    pub fn stretches(&self, least: usize) -> Vec<std::ops::Range<usize>> {
        let (mut stretches, mut from, mut in_hand) = (Vec::new(), 0, 0_usize);
        for (at, event) in self.work.events.iter().enumerate() {
            match event {
                Event::Came(_) => in_hand += 1,
                Event::Answered(_) => in_hand = in_hand.saturating_sub(1),
                Event::Called(_) => {}
            }
            if in_hand == 0 && at + 1 - from >= least {
                stretches.push(from..at + 1);
                from = at + 1;
            }
        }
        if from < self.work.events.len() {
            stretches.push(from..self.work.events.len());
        }
        stretches
    }

    /// How long these events took, ns.
    pub fn lasted_ns(&self, events: &[Event]) -> i64 {
        match (events.first(), events.last()) {
            (Some(&first), Some(&last)) => self.time_ns(last) - self.time_ns(first),
            _ => 0,
        }
    }

    fn time_ns(&self, event: Event) -> i64 {
        match event {
            Event::Came(at) => self.work.requests[at as usize].begin_ns,
            Event::Answered(at) => self.work.requests[at as usize].end_ns,
            Event::Called(at) => self.work.calls[at as usize].begin_ns,
        }
    }
}

/// Dates the calls by the clock of the requests. Returns how much a call may seem to be too early, ns.
fn one_clock(requests: &[Incoming], calls: &mut [(usize, Outgoing)]) -> i64 {
    let spans: Vec<Outgoing> = calls.iter().map(|(_, span)| *span).collect();
    let offset_ns = clock::offset_ns(requests, &spans);
    for (_, span) in calls.iter_mut() {
        span.begin_ns -= offset_ns;
        span.end_ns -= offset_ns;
    }
    let mut gaps: Vec<i64> = (calls.iter())
        .filter_map(|(_, call)| {
            let at = requests.partition_point(|request| request.begin_ns <= call.begin_ns);
            Some(call.begin_ns - requests.get(at.checked_sub(1)?)?.begin_ns)
        })
        .collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(0)
}

/// Numbers for keys, the most frequent first.
fn numbered(keys: impl Iterator<Item = u32>) -> HashMap<u32, usize> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    let mut order: Vec<(u32, usize)> = counts.into_iter().collect();
    order.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
    order.into_iter().zip(0..).map(|((key, _), number)| (key, number)).collect()
}
