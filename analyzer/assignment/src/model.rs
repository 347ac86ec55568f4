//! How the requests of a process work: which calls, in which order, after which delays.

use std::collections::HashMap;

use crate::delay::{Delay, Free, Moment};
use crate::density::{Density, Scale};
use crate::record::{CALLEES, Counts, Made, Mixing, OCCURRENCES, Record, SLOTS, Slot, callee_of, mix, slot};

/// A request is answered: what is not a call.
pub const ANSWER: Slot = SLOTS as Slot;
/// How many requests the guess from single calls is worth.
const GUESS_WEIGHT: f64 = 1.0;
/// Of each way to go on, so many cases are taken for mistakes.
const DISCOUNT: f64 = 0.8;
/// Share of requests that make a call of which nothing is known.
const HARDLY: f64 = 0.02;
/// Share of calls that no request caused, before anything is known.
pub const BACKGROUND: f64 = 0.01;
/// Share of requests that take another but the oldest where order is kept.
const DISORDER: f64 = 0.02;

/// Which of several waiting requests the next call belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Requests work side by side: each has its own delays.
    SideBySide,
    /// Oldest first, side by side: calls to one callee do not overtake each other.
    InOrder,
    /// Oldest first, one after the other: no call before the process is done with the one before, as in a queue.
    OneByOne,
}

/// How often each thing comes next.
#[derive(Clone, Debug, Default)]
pub struct Next {
    total: f64,
    /// By slot.
    pub of: Vec<(Slot, f64)>,
}

impl Next {
    /// Once more, with a weight.
    pub fn add(&mut self, slot: Slot, weight: f64) {
        self.total += weight;
        match self.of.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, known)) => *known += weight,
            None => self.of.push((slot, weight)),
        }
    }

    fn weight(&self, slot: Slot) -> f64 {
        self.of.iter().find(|(known, _)| *known == slot).map_or(0.0, |(_, weight)| *weight)
    }
}

/// Calls of one slot.
#[derive(Clone, Debug)]
pub struct SlotModel {
    /// When it is made.
    pub delay: Delay,
    /// Whether most of these calls last longer than their request: it does not wait for them.
    pub outlasts: bool,
    /// Logarithm of the share that does.
    pub ln_outlasting: f64,
    /// Logarithm of the share that does not.
    pub ln_within: f64,
    /// How long after the answer it ends, if it does.
    pub excess: Density,
}

/// Requests of one operation.
#[derive(Clone, Debug)]
pub struct OperationModel {
    /// By the calls made so far: the logarithm of the probability of each slot, and of the answer.
    pub ln_next: HashMap<u64, Box<[f32; SLOTS + 1]>, Mixing>,
    /// Share of the requests that make the call of a slot.
    pub share: [f64; SLOTS],
    /// By slot: its calls, where there are any.
    pub slots: Vec<Option<SlotModel>>,
    /// When it is answered.
    pub answer: Delay,
    /// Where there are none.
    pub unknown: SlotModel,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Model {
    /// Which request the next call belongs to.
    pub regime: Regime,
    /// Share of calls that were not of the oldest request, where order is kept.
    pub disorder: f64,
    /// By operation.
    pub operations: Vec<OperationModel>,
    /// By callee: calls that no request caused, a ns.
    pub background: Vec<f64>,
    /// By callee: the most that may be.
    pub most_background: Vec<f64>,
    /// By callee: how long calls last.
    pub durations: Vec<Density>,
    /// All that a request did matters: before anything is learnt.
    pub all_matters: bool,
}

/// Where a delay was, in logarithms, for the explanation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Probability of this call coming next.
    pub order: f64,
    /// Density of its delay, a ns.
    pub delay: f64,
    /// How it lies to the end of the request.
    pub end: f64,
}

impl Score {
    /// All together.
    pub fn total(self) -> f64 {
        self.order + self.delay + self.end
    }
}

impl OperationModel {
    fn unknown(scale: Scale, calls_a_request: &[f64]) -> OperationModel {
        let mut share = [0.0; SLOTS];
        for (callee, &calls) in calls_a_request.iter().enumerate() {
            for occurrence in 0..OCCURRENCES {
                share[slot(callee as u8, occurrence) as usize] =
                    (calls - occurrence as f64).clamp(HARDLY, 1.0);
            }
        }
        let unknown = SlotModel::unknown(scale);
        OperationModel {
            ln_next: HashMap::default(),
            share,
            slots: vec![None; SLOTS],
            answer: Delay::unknown(scale),
            unknown,
        }
    }

    /// Requests of this operation do not seem to call it.
    pub fn hardly_calls(&mut self, callee: u8) {
        (0..OCCURRENCES).for_each(|occurrence| self.share[slot(callee, occurrence) as usize] = HARDLY);
    }

    /// Makes it known.
    pub fn set_slot(&mut self, slot: Slot, model: SlotModel) {
        self.slots[slot as usize] = Some(model);
    }

    /// What is known of a slot.
    pub fn slot(&self, slot: Slot) -> &SlotModel {
        self.slots[slot as usize].as_ref().unwrap_or(&self.unknown)
    }

    /// The logarithm of the probability that this comes next.
    pub fn ln_next(&self, counts: Counts, next: Slot) -> f64 {
        match self.ln_next.get(&counts.0) {
            Some(row) => f64::from(row[next as usize]),
            None => self.probability(None, counts, next).ln(),
        }
    }

    /// The probability that this comes next, from what came next so far.
    pub fn probability(&self, row: Option<&Next>, counts: Counts, next: Slot) -> f64 {
        let share = |slot: Slot| if slot == ANSWER { 1.0 } else { self.share[slot as usize] };
        let all: f64 = 1.0 + (0..CALLEES as u8).map(|callee| share(counts.next(callee))).sum::<f64>();
        let guess = share(next) / all;
        let (seen, total) = row.map_or((0.0, 0.0), |row| (row.weight(next), row.total));
        // What was seen once may be a mistake.
        let believed = (seen - DISCOUNT).max(0.0);
        ((believed + (GUESS_WEIGHT + seen - believed) * guess) / (total + GUESS_WEIGHT)).max(1e-9)
    }

    /// When the last of the calls that are waited for ends, and which it is, with one call more.
    fn last_end(&self, record: &Record, made: Made) -> (Option<i64>, Slot) {
        let later = made.end_ns >= record.last_end_ns.unwrap_or(i64::MIN);
        if later && !self.slot(made.slot).outlasts {
            (Some(made.end_ns), made.slot)
        } else {
            (record.last_end_ns, record.last_to_end)
        }
    }

    /// Slots whose times may still be asked for.
    fn needed(&self, counts: Counts) -> u64 {
        let to_come = self.slots.iter().enumerate().filter_map(|(at, model)| {
            let occurrence = (at % OCCURRENCES) as u64;
            let open = counts.of(callee_of(at as Slot)) <= occurrence || at % OCCURRENCES == OCCURRENCES - 1;
            model.as_ref().filter(|_| open).map(|model| model.delay.needs())
        });
        to_come.fold(self.answer.needs(), |needed, more| needed | more)
    }
}

impl SlotModel {
    /// Only its delay is known.
    pub fn with_delay(delay: Delay, scale: Scale) -> SlotModel {
        SlotModel { delay, ..SlotModel::unknown(scale) }
    }

    /// Nothing is known of it.
    pub fn unknown(scale: Scale) -> SlotModel {
        let (ln_outlasting, ln_within) = (0.01_f64.ln(), 0.99_f64.ln());
        let (delay, excess) = (Delay::unknown(scale), Density::flat(scale));
        SlotModel { delay, outlasts: false, ln_outlasting, ln_within, excess }
    }
}

/// A request that calls are given to.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Number of the operation within its process.
    pub kind: u16,
    /// ns.
    pub begin_ns: i64,
    /// ns.
    pub end_ns: i64,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Number of the callee within its process.
    pub kind: u8,
    /// ns.
    pub begin_ns: i64,
    /// ns.
    pub end_ns: i64,
    /// When the process made the call before, ns.
    pub before_ns: i64,
    /// When it made the one before to the same callee, ns.
    pub alike_before_ns: i64,
}

impl Model {
    /// Before anything is learnt.
    pub fn unknown(
        scale: Scale,
        regime: Regime,
        operations: usize,
        calls_a_request: &[f64],
        background: Vec<f64>,
        durations: Vec<Density>,
    ) -> Model {
        let operations = vec![OperationModel::unknown(scale, calls_a_request); operations];
        let most_background = background.iter().map(|rate| rate / BACKGROUND).collect();
        let disorder = DISORDER;
        Model { regime, disorder, operations, background, most_background, durations, all_matters: true }
    }

    /// How well a call fits a request that has made those of `record`.
    pub fn score(&self, request: &Times, record: &Record, call: &Call) -> Score {
        let operation = &self.operations[request.kind as usize];
        let slot = record.counts.next(call.kind);
        let model = operation.slot(slot);
        let end = if call.end_ns > request.end_ns {
            let ordinary = self.durations[call.kind as usize].ln(call.end_ns - call.begin_ns);
            model.ln_outlasting + model.excess.ln(call.end_ns - request.end_ns) - ordinary
        } else {
            model.ln_within
        };
        let delay = model.delay.ln(record, self.moment(request, call));
        Score { order: operation.ln_next(record.counts, slot), delay, end }
    }

    /// How well the end of a request fits what it has done.
    pub fn answer(&self, request: &Times, record: &Record) -> f64 {
        let operation = &self.operations[request.kind as usize];
        operation.ln_next(record.counts, ANSWER) + operation.answer.ln(record, end_of(request))
    }

    /// The record with one call more.
    pub fn extend(&self, request: &Times, record: &Record, call: &Call) -> Record {
        let operation = &self.operations[request.kind as usize];
        let made = Made { slot: record.counts.next(call.kind), begin_ns: call.begin_ns, end_ns: call.end_ns };
        let (last_end_ns, last_to_end) = operation.last_end(record, made);
        let mut all = Vec::with_capacity(record.made.len() + 1);
        all.extend_from_slice(&record.made);
        all.push(made);
        let key = self.key_after(request, record, call);
        Record { counts: record.counts.plus(call.kind), last_end_ns, last_to_end, made: all, key }
    }

    /// The key of the record with one call more.
    pub fn key_after(&self, request: &Times, record: &Record, call: &Call) -> u64 {
        let operation = &self.operations[request.kind as usize];
        let made = Made { slot: record.counts.next(call.kind), begin_ns: call.begin_ns, end_ns: call.end_ns };
        let (last_end_ns, last_to_end) = operation.last_end(record, made);
        let counts = record.counts.plus(call.kind);
        let mut key = mix(counts.0 ^ 0x5bd1, last_end_ns.unwrap_or(0) as u64);
        key = mix(key, call.begin_ns as u64);
        key = mix(key, u64::from(made.slot) << 8 | u64::from(last_to_end));
        let needed = if self.all_matters { u64::MAX } else { operation.needed(counts) };
        for made in record.made.iter().chain([&made]).filter(|made| needed & (1 << made.slot) != 0) {
            key = mix(mix(key, made.begin_ns as u64 ^ u64::from(made.slot)), made.end_ns as u64);
        }
        key
    }

    /// When a call is made.
    pub fn moment(&self, request: &Times, call: &Call) -> Moment {
        let free = match self.regime {
            Regime::SideBySide => Free::Always,
            Regime::OneByOne => Free::Since(call.before_ns),
            Regime::InOrder => Free::NotBefore(call.alike_before_ns),
        };
        Moment { arrival_ns: request.begin_ns, now_ns: call.begin_ns, free }
    }

    /// Since when the request waits to make this call, ns.
    pub fn waits_since(&self, request: &Times, record: &Record, call: &Call) -> i64 {
        let slot = record.counts.next(call.kind);
        let delay = &self.operations[request.kind as usize].slot(slot).delay;
        delay.waits_since(record, request.begin_ns, call.begin_ns)
    }
}

/// When a request is answered.
pub fn end_of(request: &Times) -> Moment {
    Moment { arrival_ns: request.begin_ns, now_ns: request.end_ns, free: Free::Always }
}
