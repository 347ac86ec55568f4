//! All ways to give the calls of a process to its requests, each with its probability.
//!
//! A sweep over time. Requests that no doubt ties together are apart: each has its record of calls. A call that may be
//! one of several requests' ties them together in a [`Component`], whose states are what each of them has called so far;
//! hypotheses that lead to the same future are one state. So the sum over all hypotheses is exact but for what is less
//! probable than [`Limits::nats`], as long as no component needs more than [`Limits::states`]. What is dropped beyond that is
//! counted, and told with each link.

use crate::component::{Candidate, Component, Edge, State, ln_sum};
use crate::lattice::{Event, Limits, NOBODY, Possible, Sink, Work};
use crate::model::{Call, Model, Regime, Score};
use crate::record::{Record, mix};

/// Where a request in hand stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// What it has called is known.
    Apart(u32),
    /// It is in doubt, in this component.
    In(usize),
}

/// A request in hand with one of its records, judged for a call.
#[derive(Clone, Copy, Debug)]
struct Judged {
    request: u32,
    record: u32,
    after: u32,
    since_ns: i64,
    /// Whether it belongs to the most probable state.
    probable: bool,
    score: Score,
    ln: f64,
}

/// Records kept before those of the past are dropped.
const RECORDS: usize = 1 << 16;

/// The sweep.
pub struct Sweep<'a> {
    work: &'a Work,
    model: &'a Model,
    limits: Limits,
    in_hand: Vec<(u32, Place)>,
    components: Vec<Option<Component>>,
    records: Vec<Record>,
    judged: Vec<Judged>,
    candidates: Vec<Candidate>,
    ln_likelihood: f64,
}

impl<'a> Sweep<'a> {
    /// Nothing has happened.
    pub fn new(work: &'a Work, model: &'a Model, limits: Limits) -> Sweep<'a> {
        Sweep {
            work,
            model,
            limits,
            in_hand: Vec::new(),
            components: Vec::new(),
            records: vec![Record::default()],
            judged: Vec::new(),
            candidates: Vec::new(),
            ln_likelihood: 0.0,
        }
    }

    /// Goes over `events`; the logarithm of their likelihood.
    pub fn run(mut self, events: &[Event], sink: &mut impl Sink) -> f64 {
        for &event in events {
            match event {
                Event::Came(request) => self.in_hand.push((request, Place::Apart(0))),
                Event::Called(call) => self.called(call, sink),
                Event::Answered(request) => self.answered(request, sink),
            }
            if self.in_hand.is_empty() {
                self.records.truncate(1);
            } else if self.records.len() > RECORDS {
                self.drop_records();
            }
        }
        for at in 0..self.components.len() {
            if let Some(mut component) = self.components[at].take() {
                self.ln_likelihood += component.finish(&self.records, sink);
            }
        }
        self.ln_likelihood
    }

    fn called(&mut self, index: u32, sink: &mut impl Sink) {
        let call = self.work.calls[index as usize];
        self.judge_all(index, &call);
        let ln_nobody = match self.work.certain[index as usize] {
            NOBODY => self.model.background[call.kind as usize].ln(),
            _ if self.judged.is_empty() => self.model.background[call.kind as usize].ln(),
            _ => f64::NEG_INFINITY,
        };
        let best = self.judged.iter().map(|judged| judged.ln).fold(ln_nobody, f64::max);
        self.judged.retain(|judged| judged.ln >= best - self.limits.nats);
        let ln_kept = self.crowd_out();
        let mut requests: Vec<u32> = self.judged.iter().map(|judged| judged.request).collect();
        requests.dedup();
        let nobody_too = ln_nobody >= best - self.limits.nats;
        match (requests.as_slice(), nobody_too) {
            ([], _) => {
                let score = Score { order: ln_nobody, ..Score::default() };
                self.certainly(index, NOBODY, 0, score, true, sink);
            }
            (&[request], false) if matches!(self.place(request), Place::Apart(_)) => {
                let Judged { record, score, ln, .. } = self.judged[0];
                let oldest = self.model.regime == Regime::SideBySide || ln == score.total();
                self.ln_likelihood += ln - score.total();
                self.certainly(index, request, record, score, oldest, sink);
                let times = &self.work.requests[request as usize];
                let after = self.model.extend(times, &self.records[record as usize], &call);
                let place = Place::Apart(self.records.len() as u32);
                self.records.push(after);
                self.set_place(request, place);
            }
            _ => {
                let at = self.join(&requests);
                self.step(at, index, &call, &requests, ln_nobody, ln_kept);
                self.settle(at, sink);
            }
        }
    }

    /// Of too many requests that a call may belong to, the likeliest are kept. Returns the logarithm of their share.
    fn crowd_out(&mut self) -> f64 {
        let mut bests: Vec<(f64, u32)> = Vec::new();
        for judged in &self.judged {
            match bests.last_mut().filter(|(_, request)| *request == judged.request) {
                Some((best, _)) => *best = best.max(judged.ln),
                None => bests.push((judged.ln, judged.request)),
            }
        }
        if bests.len() <= Limits::REQUESTS {
            return 0.0;
        }
        bests.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let all = ln_sum(bests.iter().map(|(ln, _)| *ln));
        bests.truncate(Limits::REQUESTS);
        self.judged.retain(|judged| bests.iter().any(|(_, request)| *request == judged.request));
        ln_sum(bests.iter().map(|(ln, _)| *ln)) - all
    }

    fn certainly(
        &mut self,
        index: u32,
        request: u32,
        record: u32,
        score: Score,
        oldest: bool,
        sink: &mut impl Sink,
    ) {
        self.ln_likelihood += score.total();
        let record = &self.records[record as usize];
        sink.called(index, &Possible { request, record, probability: 1.0, lost: 0.0, oldest, score });
    }

    fn place(&self, request: u32) -> Place {
        let found = self.in_hand.iter().find(|(other, _)| *other == request);
        found.map_or(Place::Apart(0), |(_, place)| *place)
    }

    fn set_place(&mut self, request: u32, place: Place) {
        if let Some((_, known)) = self.in_hand.iter_mut().find(|(other, _)| *other == request) {
            *known = place;
        }
    }

    /// Judges every request in hand, with each of its possible records, for a call.
    fn judge_all(&mut self, index: u32, call: &Call) {
        let (certain, itself) = (self.work.certain[index as usize], self.work.itself[index as usize]);
        self.judged.clear();
        for &(request, place) in &self.in_hand {
            if request == itself || (certain != NOBODY && certain != request) {
                continue;
            }
            let first = self.judged.len();
            match place {
                Place::Apart(record) => self.judged.push(self.judge(request, record, true, call)),
                Place::In(at) => {
                    let states = self.components[at].as_ref().map_or(&[][..], |c| c.states.as_slice());
                    let best = states.iter().map(|state| state.ln).fold(f64::NEG_INFINITY, f64::max);
                    for state in states {
                        let (record, probable) = (state.record_of(request), state.ln == best);
                        match self.judged[first..].iter_mut().find(|judged| judged.record == record) {
                            Some(known) => known.probable |= probable,
                            None => self.judged.push(self.judge(request, record, probable, call)),
                        }
                    }
                }
            }
        }
        if self.model.regime != Regime::SideBySide {
            let oldest = oldest_of(self.judged.iter().filter(|judged| judged.probable));
            let later = self.model.disorder.ln();
            for judged in self.judged.iter_mut().filter(|judged| judged.since_ns > oldest) {
                judged.ln += later;
            }
        }
    }

    fn judge(&self, request: u32, record: u32, probable: bool, call: &Call) -> Judged {
        let times = &self.work.requests[request as usize];
        let before = &self.records[record as usize];
        let score = self.model.score(times, before, call);
        let since_ns = match self.model.regime {
            Regime::SideBySide => 0,
            _ => self.model.waits_since(times, before, call),
        };
        Judged { request, record, after: 0, since_ns, probable, score, ln: score.total() }
    }

    /// The component of all of these requests.
    fn join(&mut self, requests: &[u32]) -> usize {
        let mut joined: Option<Component> = None;
        for &request in requests {
            let component = match self.place(request) {
                Place::Apart(record) => Component::new(request, record, self.hash_of(request, record)),
                Place::In(at) => match self.components[at].take() {
                    Some(component) => component,
                    None => continue,
                },
            };
            joined = Some(match joined {
                None => component,
                Some(before) => {
                    let members = before.members.len() + component.members.len();
                    Component::join(before, component, self.limits.states_for(members))
                }
            });
        }
        let joined = joined.unwrap_or_else(|| Component::new(NOBODY, 0, 0));
        let free = self.components.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            self.components.push(None);
            self.components.len() - 1
        });
        joined.members.iter().for_each(|&member| self.set_place(member, Place::In(at)));
        self.components[at] = Some(joined);
        at
    }

    /// A component's states after a call.
    fn step(&mut self, at: usize, index: u32, call: &Call, requests: &[u32], ln_nobody: f64, ln_kept: f64) {
        let Some(mut component) = self.components[at].take() else { return };
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let others =
            oldest_of(self.judged.iter().filter(|j| j.probable && !component.members.contains(&j.request)));
        for (from, state) in component.states.iter().enumerate() {
            let first = candidates.len();
            for &request in requests {
                let record = state.record_of(request);
                let Some(judged) = self.find(request, record) else { continue };
                candidates.push(Candidate::new(from, state, request, record, judged.score));
            }
            if self.model.regime != Regime::SideBySide {
                self.put_in_order(state, others, &mut candidates[first..]);
            }
            let score = Score { order: ln_nobody, ..Score::default() };
            candidates.push(Candidate::new(from, state, NOBODY, 0, score));
        }
        self.drop_improbable(&mut candidates);
        for candidate in candidates.iter_mut().filter(|candidate| candidate.edge.request != NOBODY) {
            let Edge { request, record, .. } = candidate.edge;
            candidate.record_after = self.extended(request, record, call);
            candidate.hash ^= self.hash_of(request, record) ^ self.hash_of(request, candidate.record_after);
        }
        let most = self.limits.states_for(component.members.len());
        component.step(Event::Called(index), &mut candidates, most, ln_kept);
        self.candidates = candidates;
        self.components[at] = Some(component);
    }

    fn find(&self, request: u32, record: u32) -> Option<&Judged> {
        self.judged.iter().find(|judged| judged.request == request && judged.record == record)
    }

    /// The number of the record with the call, which is made once for all states.
    fn extended(&mut self, request: u32, record: u32, call: &Call) -> u32 {
        let found = self.judged.iter_mut().find(|j| j.request == request && j.record == record);
        let Some(judged) = found else { return 0 };
        if judged.after == 0 {
            let times = &self.work.requests[request as usize];
            judged.after = self.records.len() as u32;
            self.records.push(self.model.extend(times, &self.records[record as usize], call));
        }
        judged.after
    }

    /// Where order is kept, the oldest of those that could make the call is preferred.
    fn put_in_order(&self, state: &State, others: i64, candidates: &mut [Candidate]) {
        let judged = |c: &Candidate| self.find(c.edge.request, c.edge.record).copied();
        let here: Vec<Judged> = candidates.iter().filter_map(judged).collect();
        let oldest = oldest_of(here.iter()).min(others);
        let alike = here.iter().filter(|judged| judged.since_ns <= oldest).count();
        let rest = here.len() - alike;
        for (candidate, judged) in candidates.iter_mut().zip(&here) {
            candidate.edge.oldest = judged.since_ns <= oldest;
            let (share, among) = match (candidate.edge.oldest, rest) {
                (true, 0) => (1.0, alike),
                (true, _) => (1.0 - self.model.disorder, alike),
                (false, _) => (self.model.disorder, rest),
            };
            candidate.edge.ln += (share / among as f64).ln();
            candidate.ln = state.ln + candidate.edge.ln;
        }
    }

    fn drop_improbable(&self, candidates: &mut Vec<Candidate>) {
        let best = candidates.iter().map(|c| c.ln).fold(f64::NEG_INFINITY, f64::max);
        candidates.retain(|candidate| candidate.ln >= best - self.limits.nats);
    }

    fn answered(&mut self, request: u32, sink: &mut impl Sink) {
        let Some(found) = self.in_hand.iter().position(|(other, _)| *other == request) else { return };
        let (_, place) = self.in_hand.remove(found);
        let times = &self.work.requests[request as usize];
        let at = match place {
            Place::In(at) => at,
            Place::Apart(record) => {
                let record = &self.records[record as usize];
                self.ln_likelihood += self.model.answer(times, record);
                return sink.answered(request, record, 1.0);
            }
        };
        let Some(mut component) = self.components[at].take() else { return };
        component.members.retain(|&member| member != request);
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        let mut known: Vec<(u32, f64)> = Vec::new();
        for (from, state) in component.states.iter().enumerate() {
            let record = state.record_of(request);
            let ln = known.iter().find(|(other, _)| *other == record).map(|(_, ln)| *ln);
            let ln = ln.unwrap_or_else(|| {
                let ln = self.model.answer(times, &self.records[record as usize]);
                known.push((record, ln));
                ln
            });
            let mut next =
                Candidate::new(from, state, request, record, Score { end: ln, ..Score::default() });
            next.hash ^= self.hash_of(request, record);
            candidates.push(next);
        }
        self.drop_improbable(&mut candidates);
        let most = self.limits.states_for(component.members.len());
        component.step(Event::Answered(request), &mut candidates, most, 0.0);
        self.candidates = candidates;
        self.components[at] = Some(component);
        self.settle(at, sink);
    }

    /// A component with one state is in no doubt any more.
    fn settle(&mut self, at: usize, sink: &mut impl Sink) {
        let Some(mut component) = self.components[at].take() else { return };
        let settled = component.states.len() == 1 || component.members.is_empty();
        if settled || component.layers() >= self.limits.layers {
            self.ln_likelihood += component.finish(&self.records, sink);
        }
        if settled {
            for &member in &component.members {
                let record = component.states.first().map_or(0, |state| state.record_of(member));
                self.set_place(member, Place::Apart(record));
            }
        } else {
            self.components[at] = Some(component);
        }
    }

    fn hash_of(&self, request: u32, record: u32) -> u64 {
        if record == 0 { 0 } else { mix(u64::from(request) + 1, self.records[record as usize].key) }
    }

    /// Records of the past are dropped, the others get new numbers.
    fn drop_records(&mut self) {
        let mut new = vec![u32::MAX; self.records.len()];
        let mut kept = vec![std::mem::take(&mut self.records[0])];
        new[0] = 0;
        let records = &mut self.records;
        let mut keep = |record: &mut u32| {
            let old = *record as usize;
            if new[old] == u32::MAX {
                new[old] = kept.len() as u32;
                kept.push(std::mem::take(&mut records[old]));
            }
            *record = new[old];
        };
        for (_, place) in &mut self.in_hand {
            if let Place::Apart(record) = place {
                keep(record);
            }
        }
        self.components.iter_mut().flatten().for_each(|component| component.records_mut(&mut keep));
        self.records = kept;
    }
}

/// Since when the oldest of those waits that could make the call, ns.
fn oldest_of<'a>(judged: impl Iterator<Item = &'a Judged> + Clone) -> i64 {
    /// What is less probable than the most probable one by more nats could not.
    const COULD: f64 = 2.0;
    let best = judged.clone().map(|judged| judged.score.order).fold(f64::NEG_INFINITY, f64::max);
    judged.filter(|j| j.score.order > best - COULD).map(|j| j.since_ns).min().unwrap_or(i64::MAX)
}
