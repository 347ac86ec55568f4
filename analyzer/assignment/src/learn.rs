//! Learns how a process works from its own recording, without knowing a single link (expectation maximisation).
//!
//! Each round gives every possible link its probability under the model so far, and learns the next model from them, each link
//! with its weight. What is learnt from is in parts, and each part is judged by what the others taught: otherwise a wrong link
//! would confirm itself. Early rounds are rough and see little, so that what they cost is bounded.

use std::ops::Range;

use crate::density::{Density, Histogram};
use crate::first;
use crate::lattice::{Limits, NOBODY, Possible, Sink};
use crate::model::{BACKGROUND, Model, Regime};
use crate::record::{Record, mix};
use crate::seen::Seen;
use crate::sweep::Sweep;
use crate::work::Process;

/// Stretches of events are at least so long: in a short recording, in a long one.
const STRETCH: (usize, usize) = (20, 1_000);
/// Parts of what is learnt from, each of which is judged by the others.
const PARTS: u64 = 5;
/// With fewer stretches all parts are judged by what all of them taught.
const FEW: usize = 12;
/// Links that are less probable teach nothing.
const NEGLIGIBLE: f64 = 0.003;

/// A round of learning.
#[derive(Clone, Copy)]
struct Round {
    /// Events that it sees, at most.
    events: usize,
    limits: Limits,
    /// Whether the references of delays are chosen anew.
    choosing: bool,
}

const fn round(events: usize, states: usize, nats: f64, choosing: bool) -> Round {
    Round { events, limits: Limits { states, nats, layers: 1_000 }, choosing }
}

/// From nothing.
const FIRST: [Round; 4] = [
    round(2_000, 24, 8.0, true),
    round(4_000, 24, 8.0, true),
    round(6_000, 32, 8.0, true),
    round(usize::MAX, 32, 8.0, false),
];
/// In another regime, from what was learnt in the first.
const OTHER: [Round; 2] = [round(6_000, 16, 7.0, true), round(6_000, 24, 8.0, true)];
/// How likely a regime is.
const COMPARED: Round = round(6_000, 32, 8.0, false);
/// In the better regime.
const LAST: [Round; 1] = [round(usize::MAX, 32, 8.0, false)];

/// What was learnt of a process.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// From all that was learnt from.
    pub model: Model,
    /// By part: what was learnt from all others.
    without: Vec<Model>,
    stretches: Vec<Range<usize>>,
}

/// The part of a stretch.
fn part_of(stretch: usize) -> usize {
    ((mix(1, stretch as u64) >> 33) % PARTS) as usize
}

/// Learns from at most `most` events.
pub fn learn(process: &Process, most: usize) -> Learnt {
    let mut learner = Learner { process, stretches: chosen(process, most) };
    let start = start(process);
    let mut best = Learnt {
        without: vec![start.clone(); PARTS as usize],
        model: start,
        stretches: std::mem::take(&mut learner.stretches),
    };
    learner.stretches.clone_from(&best.stretches);
    FIRST.iter().for_each(|round| _ = learner.improve(&mut best, round));
    let first = best.clone();
    let mut ln = learner.judge(&first, &COMPARED, |_| {});
    let mut changed = false;
    for regime in [Regime::InOrder, Regime::OneByOne] {
        let mut other = first.clone();
        other.set_regime(regime);
        OTHER.iter().for_each(|round| _ = learner.improve(&mut other, round));
        let ln_other = learner.judge(&other, &COMPARED, |_| {});
        if ln_other > ln {
            (best, ln, changed) = (other, ln_other, true);
        }
    }
    if changed {
        LAST.iter().for_each(|round| _ = learner.improve(&mut best, round));
    }
    best
}

impl Learnt {
    /// All events, by the model to use: where something was learnt from, the one that was not.
    pub fn ranges(&self, events: usize) -> Vec<(Range<usize>, &Model)> {
        let mut ranges = Vec::new();
        let mut from = 0;
        for (at, range) in self.stretches.iter().enumerate() {
            if from < range.start {
                ranges.push((from..range.start, &self.model));
            }
            ranges.push((range.clone(), &self.without[part_of(at)]));
            from = range.end;
        }
        if from < events {
            ranges.push((from..events, &self.model));
        }
        ranges
    }

    fn set_regime(&mut self, regime: Regime) {
        self.model.regime = regime;
        self.without.iter_mut().for_each(|model| model.regime = regime);
    }
}

struct Learner<'a> {
    process: &'a Process,
    stretches: Vec<Range<usize>>,
}

impl Learner<'_> {
    /// One round.
    fn improve(&self, learnt: &mut Learnt, round: &Round) -> f64 {
        let mut lasted_ns = 0;
        let mut parts = Vec::new();
        let ln = self.judge(learnt, round, |seen: (Seen, i64)| {
            lasted_ns += seen.1;
            parts.push(seen.0);
        });
        let mut all = parts[0].clone();
        parts[1..].iter().for_each(|part| all.merge(part));
        learnt.model = all.learn(&learnt.model, lasted_ns);
        // A process that is never idle is one stretch: nothing is left to learn it from.
        let few = self.stretches.len() < FEW;
        let without = |part| match few {
            true => learnt.model.clone(),
            false => all.learn_without(part, &learnt.model, lasted_ns),
        };
        learnt.without = parts.iter().map(without).collect();
        ln
    }

    /// The logarithm of the likelihood; what was seen of each part, and how long that lasted, goes to `seen`.
    fn judge(&self, learnt: &Learnt, round: &Round, mut seen: impl FnMut((Seen, i64))) -> f64 {
        let work = &self.process.work;
        let events: usize = self.stretches.iter().map(ExactSizeIterator::len).sum();
        let every = events.div_ceil(round.events).max(1);
        let mut ln = 0.0;
        for (part, model) in learnt.without.iter().enumerate() {
            let empty = Seen::new(self.process.scale, model, round.choosing);
            let mut found = Learning { process: self.process, model, seen: empty };
            let mut lasted_ns = 0;
            for (at, stretch) in self.stretches.iter().enumerate().step_by(every) {
                if part_of(at) == part {
                    let events = &work.events
                        [stretch.start..stretch.end.min(stretch.start + round.events.min(1 << 20))];
                    ln += Sweep::new(work, model, round.limits).run(events, &mut found);
                    lasted_ns += self.process.lasted_ns(events);
                }
            }
            seen((found.seen, lasted_ns));
        }
        ln
    }
}

/// What of a long recording is learnt from: stretches evenly spread over it.
fn chosen(process: &Process, most: usize) -> Vec<Range<usize>> {
    let mut stretches = process.stretches((process.work.events.len() / 64).clamp(STRETCH.0, STRETCH.1));
    let events: usize = stretches.iter().map(ExactSizeIterator::len).sum();
    let every = events.div_ceil(most).max(1);
    let mut left = most;
    stretches = stretches.into_iter().step_by(every).collect();
    for stretch in &mut stretches {
        stretch.end = stretch.end.min(stretch.start + left);
        left -= stretch.len();
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}

fn start(process: &Process) -> Model {
    let work = &process.work;
    let requests = work.requests.len().max(1) as f64;
    let mut calls = vec![0.0; process.callees];
    let mut lasted = vec![Histogram::new(process.scale); process.callees];
    for call in &work.calls {
        calls[call.kind as usize] += 1.0;
        lasted[call.kind as usize].add(call.end_ns - call.begin_ns, call.begin_ns, 1.0);
    }
    let durations: Vec<Density> = lasted.iter().map(|lasted| lasted.fit().0).collect();
    let all_ns = process.lasted_ns(&work.events).max(1) as f64;
    let background = calls.iter().map(|calls| BACKGROUND * calls / all_ns).collect();
    let calls_a_request: Vec<f64> = calls.iter().map(|calls| calls / requests).collect();
    let (scale, operations) = (process.scale, process.operations);
    let mut model =
        Model::unknown(scale, Regime::SideBySide, operations, &calls_a_request, background, durations);
    first::suggest(&mut model, work, scale);
    model
}

/// Learns from what the sweep finds.
struct Learning<'a> {
    process: &'a Process,
    model: &'a Model,
    seen: Seen,
}

impl Sink for Learning<'_> {
    fn called(&mut self, call: u32, possible: &Possible<'_>) {
        let call = &self.process.work.calls[call as usize];
        if possible.probability < NEGLIGIBLE {
            return;
        }
        if possible.request == NOBODY {
            return self.seen.nobodys(call, possible.probability);
        }
        let request = &self.process.work.requests[possible.request as usize];
        self.seen.call(self.model, request, possible.record, call, possible.probability);
        self.seen.turn(possible.oldest, possible.probability);
    }

    fn answered(&mut self, request: u32, record: &Record, probability: f64) {
        if probability >= NEGLIGIBLE {
            let request = &self.process.work.requests[request as usize];
            self.seen.answer(self.model, request, record, probability);
        }
    }
}
