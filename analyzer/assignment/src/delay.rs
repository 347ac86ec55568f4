//! One kind of delay: from what it is measured, and how it is distributed.
//!
//! A call follows upon the request's arrival, upon the end of a call before, or upon the beginning of one. Which of them is
//! found out: the one from which the delays are best predicted.

use std::collections::BTreeMap;

use crate::density::{Density, Histogram, Scale};
use crate::record::{Record, Reference};

/// A learnt kind of delay.
#[derive(Clone, Debug)]
pub struct Delay {
    /// From what it is measured.
    pub reference: Reference,
    /// Since when a request waits for its turn, where order is kept.
    pub turn: Reference,
    density: Density,
    /// By the call that was the last to end or begin, where each has its own.
    each: Vec<(Reference, Density)>,
    /// From the last end or the arrival, where the reference is missing.
    fallback: Density,
    /// How many delays it was learnt from.
    pub weight: f64,
    /// Their leave-one-out log likelihood, nats.
    pub ln: f64,
}

impl Delay {
    /// Nothing is known.
    pub fn unknown(scale: Scale) -> Delay {
        Delay {
            reference: Reference::Latest,
            turn: Reference::Arrival,
            density: Density::flat(scale),
            each: Vec::new(),
            fallback: Density::flat(scale),
            weight: 0.0,
            ln: 0.0,
        }
    }

    /// A first idea.
    pub fn guess(reference: Reference, density: Density, scale: Scale) -> Delay {
        Delay { reference, density, ..Delay::unknown(scale) }
    }

    /// The logarithm of the density of a delay, wherever it is measured from.
    pub fn ln_of(&self, delay_ns: i64) -> f64 {
        self.density.ln(delay_ns)
    }

    /// The logarithm of the density of something happening, a ns.
    pub fn ln(&self, record: &Record, seen: Moment) -> f64 {
        let moment = record.moment(self.reference, seen.arrival_ns, seen.now_ns);
        let own = moment.is_some() && self.reference.is_own();
        let density = match moment {
            Some(_) => self.of_each(record, seen).unwrap_or(&self.density),
            None => &self.fallback,
        };
        let from_ns = moment.unwrap_or_else(|| record.fallback(seen.arrival_ns));
        match seen.free {
            Free::Since(free_ns) if !own => density.ln(seen.now_ns - from_ns.max(free_ns)),
            Free::NotBefore(free_ns) if free_ns > from_ns => {
                density.ln(seen.now_ns - from_ns) - density.ln_longer(free_ns - from_ns)
            }
            _ => density.ln(seen.now_ns - from_ns),
        }
    }

    /// Debug.
    pub fn is_split(&self) -> bool {
        !self.each.is_empty()
    }

    fn of_each(&self, record: &Record, seen: Moment) -> Option<&Density> {
        let here = |reference: Reference| record.moment(reference, seen.arrival_ns, seen.now_ns).is_some();
        self.each.iter().find(|(reference, _)| here(*reference)).map(|(_, density)| density)
    }

    /// Since when the request waits for its turn, ns.
    pub fn waits_since(&self, record: &Record, arrival_ns: i64, now_ns: i64) -> i64 {
        record.moment(self.turn, arrival_ns, now_ns).unwrap_or_else(|| record.fallback(arrival_ns))
    }

    /// Slots whose times must be kept for it, as bits.
    pub fn needs(&self) -> u64 {
        self.reference.needs() | self.turn.needs()
    }
}

impl Moment {
    /// The delay since `from_ns`.
    fn delay(&self, own: bool, from_ns: i64) -> i64 {
        match self.free {
            Free::Since(free_ns) if !own => self.now_ns - from_ns.max(free_ns),
            _ => self.now_ns - from_ns,
        }
    }
}

/// Delays of one kind, as far as they are known.
#[derive(Clone, Debug)]
pub struct Samples {
    scale: Scale,
    /// By reference: the delays from it, and of the same ones those from the fallback.
    by_reference: BTreeMap<Reference, (Histogram, Histogram)>,
    fallback: Histogram,
}

/// When something happened.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// When its request came, ns.
    pub arrival_ns: i64,
    /// When it happened, ns.
    pub now_ns: i64,
    /// Whether the process was free for it.
    pub free: Free,
}

/// Whether a process is free for something.
#[derive(Clone, Copy, Debug)]
pub enum Free {
    /// Always.
    Always,
    /// Delays count from that moment on, ns: it was busy before.
    Since(i64),
    /// Others had to come first, and came at that moment, ns.
    NotBefore(i64),
}

/// References that one kind of delay is tried with.
const TRIED: usize = 40;
/// What is there in a smaller share of the cases is no reference.
const RARE: f64 = 0.05;
/// What happens in such a share of the cases happens always.
const ALWAYS: f64 = 0.97;

impl Samples {
    /// None yet.
    pub fn new(scale: Scale) -> Samples {
        Samples { scale, by_reference: BTreeMap::new(), fallback: Histogram::new(scale) }
    }

    /// How many there are.
    pub fn weight(&self) -> f64 {
        self.fallback.weight()
    }

    /// Something happened. With `only`, no other reference is considered.
    pub fn add(&mut self, record: &Record, seen: Moment, only: Option<Reference>, weight: f64) {
        let fallback = seen.delay(false, record.fallback(seen.arrival_ns));
        self.fallback.add(fallback, seen.now_ns, weight);
        let mut add = |reference, from_ns: Option<i64>| {
            let Some(from_ns) = from_ns else { return };
            if self.by_reference.len() >= TRIED && !self.by_reference.contains_key(&reference) {
                return;
            }
            let new = || (Histogram::new(self.scale), Histogram::new(self.scale));
            let (from_it, from_fallback) = self.by_reference.entry(reference).or_insert_with(new);
            from_it.add(seen.delay(reference.is_own(), from_ns), seen.now_ns, weight);
            from_fallback.add(fallback, seen.now_ns, weight);
        };
        let moment = |reference| record.moment(reference, seen.arrival_ns, seen.now_ns);
        let each = [
            (Reference::LastEnd, Reference::LastEndWas(record.last_to_end)),
            (
                Reference::LastBegin,
                record.made.last().map_or(Reference::LastBegin, |m| Reference::LastBeginWas(m.slot)),
            ),
        ];
        if let Some(only) = only {
            add(only, moment(only));
            if let Some(&(_, was)) = each.iter().find(|(of, was)| *of == only && was != of) {
                add(was, moment(was));
            }
            return;
        }
        add(Reference::Arrival, moment(Reference::Arrival));
        for (of, was) in each {
            add(of, moment(of));
            if was != of {
                add(was, moment(was));
            }
        }
        for (at, made) in record.made.iter().enumerate() {
            if record.made[at + 1..].iter().all(|later| later.slot != made.slot) {
                add(Reference::EndOf(made.slot), Some(made.end_ns));
                add(Reference::BeginOf(made.slot), Some(made.begin_ns));
            }
        }
    }

    /// The best reference and its densities. Where no other references were considered, `turn` is as it was.
    pub fn fit(&self, turn: Option<Reference>) -> Delay {
        let mut best: Option<Delay> = None;
        for (&reference, (from_it, same)) in &self.by_reference {
            let rare = from_it.weight() < RARE * self.weight();
            if rare || matches!(reference, Reference::LastEndWas(_) | Reference::LastBeginWas(_)) {
                continue;
            }
            let mut missing = self.fallback.clone();
            missing.subtract(same);
            let ((density, of_it), (fallback, of_missing)) = (from_it.fit(), missing.fit());
            let (each, of_each) = self.fit_each(reference, &density);
            let (each, of_it) = if of_each > of_it { (each, of_each) } else { (Vec::new(), of_it) };
            let ln = of_it + of_missing;
            if best.as_ref().is_none_or(|best| ln > best.ln) {
                let (turn, weight) = (turn.unwrap_or_else(|| self.turn()), self.weight());
                best = Some(Delay { reference, turn, density, each, fallback, weight, ln });
            }
        }
        best.unwrap_or_else(|| {
            let (fallback, ln) = self.fallback.fit();
            let (reference, density) = (Reference::Arrival, fallback.clone());
            Delay { reference, density, fallback, weight: self.weight(), ln, ..Delay::unknown(self.scale) }
        })
    }

    /// The references that tell apart which call was the last.
    fn each(&self, of: Reference) -> impl Iterator<Item = (Reference, &Histogram)> {
        let is_of = move |reference: Reference| match reference {
            Reference::LastEndWas(_) => of == Reference::LastEnd,
            Reference::LastBeginWas(_) => of == Reference::LastBegin,
            _ => false,
        };
        let all = self.by_reference.iter().map(|(&reference, (from_it, _))| (reference, from_it));
        all.filter(move |(reference, _)| is_of(*reference))
    }

    fn fit_each(&self, of: Reference, all: &Density) -> (Vec<(Reference, Density)>, f64) {
        let (mut each, mut ln) = (Vec::new(), 0.0);
        for (reference, from_it) in self.each(of) {
            let (density, of_it) = from_it.fit_over(Some(all));
            each.push((reference, density));
            ln += of_it;
        }
        if each.len() < 2 { (Vec::new(), f64::NEG_INFINITY) } else { (each, ln) }
    }

    /// The same as `like`, for these samples.
    pub fn refit(&self, like: &Delay) -> Delay {
        let Some((from_it, same)) = self.by_reference.get(&like.reference) else { return like.clone() };
        let mut missing = self.fallback.clone();
        missing.subtract(same);
        let (density, fallback) = (from_it.refit(&like.density, None), missing.refit(&like.fallback, None));
        let each = like.each.iter().map(|(reference, like)| {
            let from_it = self.by_reference.get(reference).map(|(from_it, _)| from_it);
            let refitted = from_it.map(|from_it| from_it.refit(like, Some(&density)));
            (*reference, refitted.unwrap_or_else(|| density.clone()))
        });
        Delay { each: each.collect(), density, fallback, weight: self.weight(), ..like.clone() }
    }

    /// The end of a call that always came before, the latest of them; else the arrival.
    fn turn(&self) -> Reference {
        let before = self.by_reference.iter().filter(|(reference, (from_it, _))| {
            matches!(reference, Reference::EndOf(_))
                && from_it.weight() >= ALWAYS * self.weight()
                && from_it.negative_share() <= 1.0 - ALWAYS
        });
        let latest = before.min_by(|a, b| a.1.0.mean_position().total_cmp(&b.1.0.mean_position()));
        latest.map_or(Reference::Arrival, |(&reference, _)| reference)
    }

    /// Adds those of `other`.
    pub fn merge(&mut self, other: &Samples) {
        for (&reference, (from_it, same)) in &other.by_reference {
            let new = || (Histogram::new(self.scale), Histogram::new(self.scale));
            let ours = self.by_reference.entry(reference).or_insert_with(new);
            ours.0.merge(from_it);
            ours.1.merge(same);
        }
        self.fallback.merge(&other.fallback);
    }

    /// Takes those of `other` out.
    pub fn subtract(&mut self, other: &Samples) {
        for (reference, (from_it, same)) in &other.by_reference {
            if let Some(ours) = self.by_reference.get_mut(reference) {
                ours.0.subtract(from_it);
                ours.1.subtract(same);
            }
        }
        self.fallback.subtract(&other.fallback);
    }
}
