//! Hypotheses about some requests that may have each other's calls.
//!
//! A component is a lattice: layers of states, one layer a call or an answer. It begins with one state, or with all pairs of
//! states of two components that a call ties together, and it ends when one state is left. Then the way back
//! (forward-backward algorithm) gives each link its probability, also in the components that it was made of.

use std::collections::HashMap;

use crate::lattice::{Event, NOBODY, Possible, Sink};
use crate::model::Score;
use crate::record::{Mixing, Record};

/// What each request of a component has called so far.
#[derive(Clone, Debug)]
pub struct State {
    /// Logarithm of its probability, together with all that was seen.
    pub ln: f64,
    /// Equal for states with the same future.
    pub hash: u64,
    /// Requests that have called something, with the number of their record.
    pub records: Vec<(u32, u32)>,
}

/// A step from one state to another.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Number of the state before.
    pub from: u32,
    /// Number of the state after.
    pub to: u32,
    /// Whose call it was, or who was answered.
    pub request: u32,
    /// What that request had called before.
    pub record: u32,
    /// Logarithm of its probability.
    pub ln: f64,
    /// Whether no other request had waited longer.
    pub oldest: bool,
    /// How the call was judged.
    pub score: Score,
}

/// A possible next state, before equal ones are put together.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Of the state after.
    pub hash: u64,
    /// Logarithm of its probability, together with all that was seen.
    pub ln: f64,
    /// How it is reached.
    pub edge: Edge,
    /// The request's record after it.
    pub record_after: u32,
}

impl Candidate {
    /// A call of `request`, or its answer, in a state.
    pub fn new(from: usize, state: &State, request: u32, record: u32, score: Score) -> Candidate {
        let ln = score.total();
        let edge = Edge { from: from as u32, to: 0, request, record, ln, oldest: true, score };
        Candidate { hash: state.hash, ln: state.ln + ln, edge, record_after: 0 }
    }
}

#[derive(Debug)]
struct Layer {
    event: Event,
    ln_before: Vec<f64>,
    edges: Vec<Edge>,
    /// Logarithm of the share of the probability that was kept.
    ln_kept: f64,
}

/// Two components that a call tied together.
#[derive(Debug)]
struct Joined {
    a: Component,
    b: Component,
    /// Pairs of their states.
    pairs: Vec<(u32, u32)>,
}

/// Requests that may have each other's calls.
#[derive(Debug)]
pub struct Component {
    /// The requests in hand.
    pub members: Vec<u32>,
    /// Hypotheses.
    pub states: Vec<State>,
    layers: Vec<Layer>,
    /// The components that it was made of, and of which of their states its first ones.
    made_of: Option<Box<Joined>>,
    /// Logarithm of the share of the probability that was kept when they were joined.
    ln_kept: f64,
}

impl Component {
    /// One request that has called what is known.
    pub fn new(request: u32, record: u32, hash: u64) -> Component {
        let records = if record == 0 { Vec::new() } else { vec![(request, record)] };
        Component {
            members: vec![request],
            states: vec![State { ln: 0.0, hash, records }],
            layers: Vec::new(),
            made_of: None,
            ln_kept: 0.0,
        }
    }

    /// Layers since it began.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// All pairs of states of two components, the most probable ones.
    pub fn join(mut a: Component, mut b: Component, most: usize) -> Component {
        let mut pairs = Vec::with_capacity(a.states.len() * b.states.len());
        for (at, one) in a.states.iter().enumerate() {
            pairs.extend(b.states.iter().enumerate().map(|(bt, other)| (one.ln + other.ln, at, bt)));
        }
        let all = ln_sum(pairs.iter().map(|(ln, ..)| *ln));
        if pairs.len() > most {
            pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
            pairs.truncate(most);
        }
        let kept = ln_sum(pairs.iter().map(|(ln, ..)| *ln));
        let states = pairs.iter().map(|&(ln, at, bt)| {
            let (one, other) = (&a.states[at], &b.states[bt]);
            let mut records = one.records.clone();
            records.extend_from_slice(&other.records);
            State { ln, hash: one.hash ^ other.hash, records }
        });
        let states = states.collect();
        let mut members = std::mem::take(&mut a.members);
        members.append(&mut b.members);
        let ln_kept = (kept - all).min(0.0);
        let pairs = pairs.into_iter().map(|(_, at, bt)| (at as u32, bt as u32)).collect();
        let made_of = Some(Box::new(Joined { a, b, pairs }));
        Component { members, states, layers: Vec::new(), made_of, ln_kept }
    }

    /// Goes on to the states that `candidates` lead to: equal ones are one, the `most` probable ones are kept.
    /// `ln_kept`: what was kept of what might have been a candidate.
    pub fn step(&mut self, event: Event, candidates: &mut [Candidate], most: usize, mut ln_kept: f64) {
        candidates.sort_by_key(|candidate| (candidate.hash, candidate.edge.from, candidate.edge.request));
        let mut groups: Vec<(f64, usize, usize)> = Vec::new();
        let mut from = 0;
        while from < candidates.len() {
            let same = candidates[from..].iter().take_while(|c| c.hash == candidates[from].hash).count();
            let ln = ln_sum(candidates[from..from + same].iter().map(|c| c.ln));
            groups.push((ln, from, from + same));
            from += same;
        }
        if groups.len() > most {
            let all = ln_sum(groups.iter().map(|(ln, ..)| *ln));
            groups.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            groups.truncate(most);
            ln_kept += (ln_sum(groups.iter().map(|(ln, ..)| *ln)) - all).min(0.0);
        }
        let answered = matches!(event, Event::Answered(_));
        let mut edges = Vec::with_capacity(candidates.len());
        let mut states = Vec::with_capacity(groups.len());
        for (to, &(ln, from, until)) in groups.iter().enumerate() {
            edges.extend(candidates[from..until].iter().map(|c| Edge { to: to as u32, ..c.edge }));
            let candidate = &candidates[from];
            states.push(self.states[candidate.edge.from as usize].after(ln, candidate, answered));
        }
        let ln_before = self.states.iter().map(|state| state.ln).collect();
        self.layers.push(Layer { event, ln_before, edges, ln_kept });
        self.states = states;
    }

    /// Gives each link of the past its probability. Returns the logarithm of the likelihood of what was seen.
    pub fn finish(&mut self, records: &[Record], sink: &mut impl Sink) -> f64 {
        let ln_total = ln_sum(self.states.iter().map(|state| state.ln));
        let mut back =
            Back { ln_total, ln_kept: 0.0, ln_all_kept: 0.0, answered: HashMap::default(), records };
        self.go_back(vec![0.0; self.states.len()], &mut back, sink);
        self.layers.clear();
        self.made_of = None;
        self.ln_kept = 0.0;
        // What was dropped would have gone on as what was kept did.
        let ln_dropped = back.ln_all_kept;
        self.states.iter_mut().for_each(|state| state.ln -= ln_total);
        ln_total - ln_dropped
    }

    fn go_back(&self, mut ln_after: Vec<f64>, back: &mut Back<'_>, sink: &mut impl Sink) {
        for layer in self.layers.iter().rev() {
            back.ln_kept += layer.ln_kept;
            back.ln_all_kept += layer.ln_kept;
            if let Event::Answered(request) = layer.event {
                back.answered.insert(request, back.ln_kept);
            }
            let mut ln_here = vec![f64::NEG_INFINITY; layer.ln_before.len()];
            for edge in &layer.edges {
                let ln = edge.ln + ln_after[edge.to as usize];
                let here = &mut ln_here[edge.from as usize];
                *here = ln_add(*here, ln);
                let ln_all = layer.ln_before[edge.from as usize] + ln - back.ln_total;
                if ln_all > TOO_LITTLE {
                    back.tell(layer.event, edge, ln_all.exp(), sink);
                }
            }
            ln_after = ln_here;
        }
        let Some(made_of) = &self.made_of else { return };
        let Joined { a, b, pairs } = made_of.as_ref();
        back.ln_kept += self.ln_kept;
        back.ln_all_kept += self.ln_kept;
        let mut ln_a = vec![f64::NEG_INFINITY; a.states.len()];
        let mut ln_b = vec![f64::NEG_INFINITY; b.states.len()];
        for (&(at, bt), ln) in pairs.iter().zip(ln_after) {
            let (at, bt) = (at as usize, bt as usize);
            ln_a[at] = ln_add(ln_a[at], ln + b.states[bt].ln);
            ln_b[bt] = ln_add(ln_b[bt], ln + a.states[at].ln);
        }
        let ln_kept = back.ln_kept;
        a.go_back(ln_a, back, sink);
        back.ln_kept = ln_kept;
        b.go_back(ln_b, back, sink);
    }

    /// Calls `each` with the number of every record that is still needed.
    pub fn records_mut(&mut self, each: &mut impl FnMut(&mut u32)) {
        self.states.iter_mut().flat_map(|state| &mut state.records).for_each(|(_, record)| each(record));
        self.layers.iter_mut().flat_map(|layer| &mut layer.edges).for_each(|edge| each(&mut edge.record));
        if let Some(made_of) = &mut self.made_of {
            made_of.a.records_mut(each);
            made_of.b.records_mut(each);
        }
    }
}

/// Less probable links are not told, ln.
const TOO_LITTLE: f64 = -30.0;

struct Back<'a> {
    ln_total: f64,
    /// Logarithm of the share of the probability that was kept since.
    ln_kept: f64,
    /// The same of all components together.
    ln_all_kept: f64,
    /// The same since a request was answered: what was dropped later says nothing of its calls.
    answered: HashMap<u32, f64, Mixing>,
    records: &'a [Record],
}

impl Back<'_> {
    fn tell(&self, event: Event, edge: &Edge, probability: f64, sink: &mut impl Sink) {
        let record = &self.records[edge.record as usize];
        match event {
            Event::Called(call) => {
                let Edge { request, oldest, score, .. } = *edge;
                let later = self.answered.get(&request).copied().unwrap_or(0.0);
                let lost = 1.0 - (self.ln_kept - later).min(0.0).exp();
                sink.called(call, &Possible { request, record, probability, lost, oldest, score });
            }
            Event::Answered(request) => sink.answered(request, record, probability),
            Event::Came(_) => {}
        }
    }
}

impl State {
    /// The number of a request's record.
    pub fn record_of(&self, request: u32) -> u32 {
        self.records.iter().find(|(other, _)| *other == request).map_or(0, |(_, record)| *record)
    }

    fn after(&self, ln: f64, candidate: &Candidate, answered: bool) -> State {
        let mut records = self.records.clone();
        let request = candidate.edge.request;
        if answered {
            records.retain(|(other, _)| *other != request);
        } else if request != NOBODY {
            match records.iter_mut().find(|(other, _)| *other == request) {
                Some((_, record)) => *record = candidate.record_after,
                None => records.push((request, candidate.record_after)),
            }
        }
        State { ln, hash: candidate.hash, records }
    }
}

/// The logarithm of a sum.
pub fn ln_add(a: f64, b: f64) -> f64 {
    let (more, less) = if a > b { (a, b) } else { (b, a) };
    if less == f64::NEG_INFINITY || less < more - 40.0 { more } else { more + (less - more).exp().ln_1p() }
}

/// The logarithm of the sum of many.
pub fn ln_sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, ln_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(Vec<(u32, u32, f64, f64)>);

    impl Sink for Told {
        fn called(&mut self, call: u32, possible: &Possible<'_>) {
            self.0.push((call, possible.request, possible.probability, possible.lost));
        }

        fn answered(&mut self, _: u32, _: &Record, _: f64) {}
    }

    fn candidate(state: &State, request: u32, hash: u64, ln: f64) -> Candidate {
        let mut candidate = Candidate::new(0, state, request, 0, Score { order: ln, ..Score::default() });
        (candidate.hash, candidate.record_after) = (hash, 1);
        candidate
    }

    fn in_doubt() -> Component {
        let mut both = Component::join(Component::new(4, 0, 0), Component::new(5, 0, 0), 9);
        let state = both.states[0].clone();
        let mut candidates = [candidate(&state, 4, 7, 0.75_f64.ln()), candidate(&state, 5, 8, 0.25_f64.ln())];
        both.step(Event::Called(2), &mut candidates, 9, 0.0);
        both
    }

    #[test]
    fn links_have_their_probabilities() {
        let (mut told, mut both) = (Told(Vec::new()), in_doubt());
        let ln = both.finish(&[Record::default()], &mut told);
        assert!(ln.abs() < 1e-9);
        assert!(
            told.0.iter().any(|&(call, request, p, _)| (call, request) == (2, 4) && (p - 0.75).abs() < 1e-9)
        );
    }

    #[test]
    fn what_comes_later_changes_what_was_before() {
        let (mut told, mut both) = (Told(Vec::new()), in_doubt());
        let mut candidates: Vec<Candidate> = (both.states.iter().enumerate())
            .map(|(from, state)| {
                let ln: f64 = if state.hash == 7 { 0.1 } else { 0.3 };
                Candidate::new(from, state, 4, 0, Score { end: ln.ln(), ..Score::default() })
            })
            .collect();
        both.step(Event::Answered(4), &mut candidates, 9, 0.0);
        both.finish(&[Record::default()], &mut told);
        let of_4: f64 = told.0.iter().filter(|told| told.1 == 4).map(|told| told.2).sum();
        assert!((of_4 - 0.5).abs() < 1e-9, "{of_4}");
    }

    #[test]
    fn what_is_dropped_is_told() {
        let (mut told, mut both) = (Told(Vec::new()), Component::new(4, 0, 0));
        let state = both.states[0].clone();
        let mut candidates = [candidate(&state, 4, 7, 0.6_f64.ln()), candidate(&state, 5, 8, 0.4_f64.ln())];
        both.step(Event::Called(2), &mut candidates, 1, 0.0);
        both.finish(&[Record::default()], &mut told);
        assert!((told.0[0].3 - 0.4).abs() < 1e-9, "{:?}", told.0);
    }
}
