//! The rules of event loops that do first things first: a thread's requests wait in line for each call of the pattern.

use std::collections::VecDeque;

use crate::assembly::regimes::pattern::Pattern;
use crate::assembly::regimes::turns::{Behind, NONE, Place, Process};
use crate::hashing::IntMap;

/// What happens in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The answer to a call begins to be received.
    Begins(Place),
    /// All of the answer to a call was received.
    Back(Place),
    /// The answer to a request begins to be sent.
    Answered(Place),
    /// A request was received.
    Received(Place),
    /// A call was sent.
    Sent(Place),
}

/// What happens in a process, in order of time.
pub fn steps<D>(process: &Process<D>) -> Vec<(i64, Step)> {
    let mut steps = Vec::with_capacity(2 * (process.requests.len() + process.calls.len()));
    for (place, request) in (0..).zip(&process.requests) {
        steps.push((request.received_ns, Step::Received(place)));
        steps.push((request.answered_ns, Step::Answered(place)));
    }
    for (place, call) in (0..).zip(&process.calls) {
        steps.push((call.sent_ns, Step::Sent(place)));
        steps.push((call.begins_ns, Step::Begins(place)));
        steps.push((call.back_ns, Step::Back(place)));
    }
    steps.retain(|(at_ns, _)| *at_ns < i64::MAX);
    steps.sort_unstable();
    steps
}

/// Which calls of the pattern a request has made, as bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    sent: u32,
    back: u32,
}

impl Progress {
    /// Whether the call may be made now and was not yet.
    fn is_ready(self, pattern: &Pattern, slot: usize) -> bool {
        self.sent >> slot & 1 == 0 && pattern[slot].waits_for & !self.back == 0
    }

    /// A call is made.
    pub fn send(&mut self, slot: usize) {
        self.sent |= 1 << slot;
    }

    /// A call came back. Returns those that may be made now for the first time.
    pub fn come_back(&mut self, pattern: &Pattern, slot: usize) -> impl Iterator<Item = usize> {
        let before = *self;
        self.back |= 1 << slot;
        let after = *self;
        (0..pattern.len()).filter(move |&other| {
            let waits_for = pattern[other].waits_for;
            waits_for >> slot & 1 != 0
                && waits_for & !after.back == 0
                && waits_for & !before.back != 0
                && after.sent >> other & 1 == 0
        })
    }
}

/// Takes the parents away from calls that the pattern has no place for when they are sent, and from those that follow from these.
pub fn in_pattern<D>(
    process: &Process<D>,
    pattern: &Pattern,
    steps: &[(i64, Step)],
    mut parents: Vec<Place>,
) -> Vec<Place> {
    if pattern.is_empty() {
        return parents;
    }
    let mut slots = vec![0; process.calls.len()];
    let mut progress = vec![Progress::default(); process.requests.len()];
    for &(_, step) in steps {
        match step {
            Step::Sent(place) if parents[place as usize] != NONE => {
                let (call, request) = (&process.calls[place as usize], parents[place as usize]);
                let follows = match call.behind {
                    Behind::Call(before) => parents[before as usize] == request,
                    _ => true,
                };
                let of_request = progress[request as usize];
                let is_next =
                    |slot: &usize| pattern[*slot].to == call.to && of_request.is_ready(pattern, *slot);
                match (0..pattern.len()).find(is_next).filter(|_| follows) {
                    Some(slot) => {
                        slots[place as usize] = slot;
                        progress[request as usize].send(slot);
                    }
                    None => parents[place as usize] = NONE,
                }
            }
            Step::Back(place) if parents[place as usize] != NONE => {
                let request = parents[place as usize];
                progress[request as usize].back |= 1 << slots[place as usize];
            }
            _ => {}
        }
    }
    parents
}

/// Parents by order: a call is made for the request that has waited longest for it on its thread.
pub fn in_order<D>(process: &Process<D>, pattern: &Pattern, steps: &[(i64, Step)]) -> Vec<Place> {
    let mut parents = vec![NONE; process.calls.len()];
    let mut slots = vec![0; process.calls.len()];
    let mut progress = vec![Progress::default(); process.requests.len()];
    let mut lines: IntMap<(u32, usize), VecDeque<Place>> = IntMap::default();
    for &(at_ns, step) in steps {
        match step {
            Step::Received(request) => {
                let thread = process.requests[request as usize].thread;
                for slot in (0..pattern.len()).filter(|&slot| pattern[slot].waits_for == 0) {
                    lines.entry((thread, slot)).or_default().push_back(request);
                }
            }
            Step::Sent(place) => {
                let call = &process.calls[place as usize];
                let of_destination = (0..pattern.len()).filter(|&slot| pattern[slot].to == call.to);
                for slot in of_destination {
                    let Some(line) = lines.get_mut(&(call.thread, slot)) else { continue };
                    while line.front().is_some_and(|&request| process.open_at(request, at_ns).is_none()) {
                        line.pop_front();
                    }
                    if let Some(request) = line.pop_front() {
                        parents[place as usize] = request;
                        slots[place as usize] = slot;
                        progress[request as usize].send(slot);
                        break;
                    }
                }
            }
            Step::Back(place) if parents[place as usize] != NONE => {
                let request = parents[place as usize];
                let thread = process.calls[place as usize].back_by;
                for slot in progress[request as usize].come_back(pattern, slots[place as usize]) {
                    lines.entry((thread, slot)).or_default().push_back(request);
                }
            }
            Step::Back(_) | Step::Begins(_) | Step::Answered(_) => {}
        }
    }
    parents
}

/// Parents by the order of answers: an answer is sent for the call that came back first of those that nobody was answered for.
/// Only of calls that nothing waits for.
pub fn in_order_back<D>(process: &Process<D>, pattern: &Pattern, steps: &[(i64, Step)]) -> Vec<Place> {
    let mut parents = vec![NONE; process.calls.len()];
    let awaited = pattern.iter().fold(0, |bits, slot| bits | slot.waits_for);
    let mut last = (0..pattern.len()).filter(|slot| awaited >> slot & 1 == 0);
    let (Some(slot), None) = (last.next(), last.next()) else { return parents };
    let to = pattern[slot].to;
    if pattern.iter().filter(|slot| slot.to == to).count() != 1 {
        return parents;
    }
    let mut lines: IntMap<u32, VecDeque<Place>> = IntMap::default();
    for &(_, step) in steps {
        match step {
            Step::Begins(place) if process.calls[place as usize].to == to => {
                lines.entry(process.calls[place as usize].back_by).or_default().push_back(place);
            }
            Step::Answered(place) => {
                let request = &process.requests[place as usize];
                let Some(line) = lines.get_mut(&request.answered_by) else { continue };
                // One that was sent before the request came is nobody's.
                while line
                    .front()
                    .is_some_and(|&call| process.calls[call as usize].sent_ns < request.received_ns)
                {
                    line.pop_front();
                }
                if let Some(call) = line.pop_front() {
                    parents[call as usize] = place;
                }
            }
            _ => {}
        }
    }
    parents
}
