//! What was seen of a process, each link by its probability, and the model that follows from it.

use std::collections::HashMap;

use crate::delay::{Delay, Samples};
use crate::density::{Density, Histogram, Scale};
use crate::model::{ANSWER, Call, Model, Next, OperationModel, SlotModel, Times, end_of};
use crate::record::{Counts, Mixing, Record, Reference, SLOTS, Slot};

/// By how much the share of calls that no request caused grows in a round, at most.
const GROWTH: f64 = 3.0;

/// What was seen of a slot.
#[derive(Clone, Debug)]
struct SlotSeen {
    delay: Samples,
    outlasting: f64,
    excess: Histogram,
}

/// What was seen of an operation.
#[derive(Clone, Debug)]
struct OperationSeen {
    requests: f64,
    next: HashMap<u64, Next, Mixing>,
    share: [f64; SLOTS],
    slots: Vec<Option<SlotSeen>>,
    answer: Samples,
}

/// What was seen of a process, each link by its probability.
#[derive(Clone, Debug)]
pub struct Seen {
    scale: Scale,
    /// Whether other references are tried than those in use.
    choosing: bool,
    operations: Vec<OperationSeen>,
    background: Vec<f64>,
    in_order: f64,
    out_of_order: f64,
}

impl Seen {
    /// Nothing yet.
    pub fn new(scale: Scale, model: &Model, choosing: bool) -> Seen {
        let operation = OperationSeen {
            requests: 0.0,
            next: HashMap::default(),
            share: [0.0; SLOTS],
            slots: vec![None; SLOTS],
            answer: Samples::new(scale),
        };
        Seen {
            scale,
            choosing,
            operations: vec![operation; model.operations.len()],
            background: vec![0.0; model.background.len()],
            in_order: 0.0,
            out_of_order: 0.0,
        }
    }

    /// A call was this request's.
    pub fn call(&mut self, model: &Model, request: &Times, record: &Record, call: &Call, weight: f64) {
        let (scale, slot) = (self.scale, record.counts.next(call.kind));
        let known = model.operations[request.kind as usize].slot(slot);
        let operation = &mut self.operations[request.kind as usize];
        operation.next.entry(record.counts.0).or_default().add(slot, weight);
        operation.share[slot as usize] += weight;
        let seen = operation.slots[slot as usize].get_or_insert_with(|| SlotSeen {
            delay: Samples::new(scale),
            outlasting: 0.0,
            excess: Histogram::new(scale),
        });
        let only = (!self.choosing).then_some(known.delay.reference);
        seen.delay.add(record, model.moment(request, call), only, weight);
        if call.end_ns > request.end_ns {
            seen.outlasting += weight;
            seen.excess.add(call.end_ns - request.end_ns, call.end_ns, weight);
        }
    }

    /// A request was answered.
    pub fn answer(&mut self, model: &Model, request: &Times, record: &Record, weight: f64) {
        let operation = &mut self.operations[request.kind as usize];
        operation.requests += weight;
        operation.next.entry(record.counts.0).or_default().add(ANSWER, weight);
        let only = (!self.choosing).then_some(model.operations[request.kind as usize].answer.reference);
        operation.answer.add(record, end_of(request), only, weight);
    }

    /// Whether a call was that of the request that had waited longest.
    pub fn turn(&mut self, oldest: bool, weight: f64) {
        if oldest { self.in_order += weight } else { self.out_of_order += weight }
    }

    /// A call was nobody's.
    pub fn nobodys(&mut self, call: &Call, weight: f64) {
        self.background[call.kind as usize] += weight;
    }

    /// The model under which this is likely. `lasted_ns`: how long the recording that was seen lasted.
    pub fn learn(&self, model: &Model, lasted_ns: i64) -> Model {
        let known = model.operations.iter().map(|known| (!self.choosing).then_some(known));
        let operations =
            self.operations.iter().zip(known).map(|(seen, known)| seen.learn(self.scale, known)).collect();
        self.with(operations, model, lasted_ns)
    }

    /// The same kind of model as `like`, for what was seen without `part`.
    pub fn learn_without(&self, part: &Seen, like: &Model, lasted_ns: i64) -> Model {
        let mut rest = self.clone();
        rest.subtract(part);
        let operations =
            rest.operations.iter().zip(&like.operations).map(|(seen, like)| seen.refit(like)).collect();
        rest.with(operations, like, lasted_ns)
    }

    fn with(&self, operations: Vec<OperationModel>, model: &Model, lasted_ns: i64) -> Model {
        // It grows slowly: where much is in doubt, "nobody's" is an easy way out.
        let rate = |calls: f64| (calls.max(0.0) + 0.05) / lasted_ns.max(1) as f64;
        let known = self.background.iter().zip(&model.background);
        let background = known.zip(&model.most_background);
        let background =
            background.map(|((&calls, &before), &most)| rate(calls).min(GROWTH * before).min(most)).collect();
        let most_background = model.most_background.clone();
        let decided = self.in_order + self.out_of_order;
        let disorder = (self.out_of_order.max(0.0) + 0.1) / (decided + 10.0);
        let (regime, durations) = (model.regime, model.durations.clone());
        Model { regime, disorder, operations, background, most_background, durations, all_matters: false }
    }

    /// Adds what `other` saw.
    pub fn merge(&mut self, other: &Seen) {
        self.combine(other, 1.0);
        for (ours, theirs) in self.operations.iter_mut().zip(&other.operations) {
            ours.answer.merge(&theirs.answer);
            for (ours, theirs) in ours.slots.iter_mut().zip(&theirs.slots) {
                let Some(theirs) = theirs else { continue };
                match ours {
                    None => *ours = Some(theirs.clone()),
                    Some(ours) => {
                        ours.delay.merge(&theirs.delay);
                        ours.excess.merge(&theirs.excess);
                        ours.outlasting += theirs.outlasting;
                    }
                }
            }
        }
    }

    fn subtract(&mut self, other: &Seen) {
        self.combine(other, -1.0);
        for (ours, theirs) in self.operations.iter_mut().zip(&other.operations) {
            ours.answer.subtract(&theirs.answer);
            for (ours, theirs) in ours.slots.iter_mut().zip(&theirs.slots) {
                if let (Some(ours), Some(theirs)) = (ours, theirs) {
                    ours.delay.subtract(&theirs.delay);
                    ours.excess.subtract(&theirs.excess);
                    ours.outlasting -= theirs.outlasting;
                }
            }
        }
    }

    /// Counts, with their sign.
    fn combine(&mut self, other: &Seen, sign: f64) {
        self.background.iter_mut().zip(&other.background).for_each(|(ours, theirs)| *ours += sign * theirs);
        self.in_order += sign * other.in_order;
        self.out_of_order += sign * other.out_of_order;
        for (ours, theirs) in self.operations.iter_mut().zip(&other.operations) {
            ours.requests += sign * theirs.requests;
            ours.share.iter_mut().zip(&theirs.share).for_each(|(ours, theirs)| *ours += sign * theirs);
            for (&counts, row) in &theirs.next {
                let known = ours.next.entry(counts).or_default();
                row.of.iter().for_each(|&(slot, weight)| known.add(slot, sign * weight));
            }
        }
    }
}

impl OperationSeen {
    fn learn(&self, scale: Scale, known: Option<&OperationModel>) -> OperationModel {
        let turn = |slot: usize| known.map(|known| known.slot(slot as Slot).delay.turn);
        let slots = (0..SLOTS).map(|slot| self.slots[slot].as_ref().map(|seen| seen.learn(turn(slot))));
        self.with(slots.collect(), self.answer.fit(None), SlotModel::unknown(scale))
    }

    fn refit(&self, like: &OperationModel) -> OperationModel {
        let slots =
            self.slots.iter().zip(&like.slots).map(|(seen, like)| Some(seen.as_ref()?.refit(like.as_ref()?)));
        self.with(slots.collect(), self.answer.refit(&like.answer), like.unknown.clone())
    }

    fn with(&self, slots: Vec<Option<SlotModel>>, answer: Delay, unknown: SlotModel) -> OperationModel {
        let share = self.share.map(|calls| ((calls.max(0.0) + 0.01) / (self.requests + 1.0)).min(1.0));
        let mut model = OperationModel { ln_next: HashMap::default(), share, slots, answer, unknown };
        for (&counts, row) in &self.next {
            let of = |slot| model.probability(Some(row), Counts(counts), slot as Slot).ln() as f32;
            model.ln_next.insert(counts, Box::new(std::array::from_fn(of)));
        }
        model
    }
}

impl SlotSeen {
    fn learn(&self, turn: Option<Reference>) -> SlotModel {
        self.with(self.delay.fit(turn), self.excess.fit().0)
    }

    fn refit(&self, like: &SlotModel) -> SlotModel {
        let refitted = self.with(self.delay.refit(&like.delay), self.excess.refit(&like.excess, None));
        SlotModel { outlasts: like.outlasts, ..refitted }
    }

    fn with(&self, delay: Delay, excess: Density) -> SlotModel {
        let outlasting = ((self.outlasting + 0.02) / (self.delay.weight() + 1.0)).clamp(1e-6, 1.0 - 1e-6);
        SlotModel {
            delay,
            outlasts: outlasting > 0.5,
            ln_outlasting: outlasting.ln(),
            ln_within: (1.0 - outlasting).ln(),
            excess,
        }
    }
}
