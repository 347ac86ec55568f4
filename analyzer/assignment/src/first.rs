//! A first idea of how a process works, from correlations in time alone.
//!
//! If a call follows upon an arrival, or upon the end of another call, then more of the one than chance explains come a certain
//! time after the other, whatever belongs to what: the excess over chance is the distribution of the delay. That holds however much is
//! in hand at once, where guesses of single links would be worthless.

use crate::delay::Delay;
use crate::density::{Histogram, Scale};
use crate::lattice::Work;
use crate::model::{BACKGROUND, Model, SlotModel};
use crate::record::{Reference, slot};

/// Moments of each kind that are looked at.
const TARGETS: usize = 3_000;
/// Moments before each of them that are looked at.
const SOURCES: usize = 48;
/// Longer delays are not looked for, ns.
const LONGEST_NS: i64 = 2_000_000_000;
/// The excess must be so many standard deviations of chance.
const DEVIATIONS: f64 = 2.5;
/// Share of the calls that need to be explained.
const ALL: f64 = 0.85;
/// What tells so much as the best may be the cause too.
const COMPARABLE: f64 = 0.2;
/// How many delays the excess is worth, at most: it is no more than a first idea.
const WORTH: f64 = 20.0;

/// Gives `model` the delays that show.
pub fn suggest(model: &mut Model, work: &Work, scale: Scale) {
    let mut callees = Vec::new();
    for callee in 0..model.background.len() as u8 {
        let calls = || work.calls.iter().filter(move |call| call.kind == callee);
        let begins: Vec<i64> = calls().map(|call| call.begin_ns).collect();
        let mut ends: Vec<i64> = calls().map(|call| call.end_ns).collect();
        ends.sort_unstable();
        callees.push((callee, begins, ends));
    }
    let mut arrivals = vec![Vec::new(); model.operations.len()];
    let mut answers = arrivals.clone();
    for request in &work.requests {
        arrivals[request.kind as usize].push(request.begin_ns);
        answers[request.kind as usize].push(request.end_ns);
    }
    answers.iter_mut().for_each(|answers| answers.sort_unstable());
    let callers: Vec<Vec<usize>> =
        callees.iter().map(|(_, begins, _)| callers(begins, &arrivals, scale)).collect();
    for (callee, targets, _) in &callees {
        let mut explained = 0.0;
        for &kind in &callers[*callee as usize] {
            let mut sources = vec![(Reference::Arrival, arrivals[kind].as_slice())];
            for (other, begins, ends) in callees.iter().filter(|(other, ..)| other != callee) {
                if callers[*other as usize].contains(&kind) {
                    sources.push((Reference::EndOf(slot(*other, 0)), ends.as_slice()));
                    sources.push((Reference::BeginOf(slot(*other, 0)), begins.as_slice()));
                }
            }
            if let Some((delay, share)) = best(targets, &sources, scale) {
                explained += share;
                model.operations[kind].set_slot(slot(*callee, 0), SlotModel::with_delay(delay, scale));
            }
        }
        // Whatever does not follow upon anything may be nobody's, hardly more.
        model.most_background[*callee as usize] *= (1.05 - explained).clamp(2.0 * BACKGROUND, 1.0);
        if !callers[*callee as usize].is_empty() {
            for (kind, operation) in model.operations.iter_mut().enumerate() {
                if !callers[*callee as usize].contains(&kind) {
                    operation.hardly_calls(*callee);
                }
            }
        }
    }
    for (kind, operation) in model.operations.iter_mut().enumerate() {
        let called = callees.iter().filter(|(callee, ..)| callers[*callee as usize].contains(&kind));
        let ends: Vec<_> =
            called.map(|(callee, _, ends)| (Reference::EndOf(slot(*callee, 0)), ends.as_slice())).collect();
        if let Some((delay, _)) = best(&answers[kind], &ends, scale) {
            operation.answer = delay;
        }
    }
    model.all_matters = false;
}

/// The operations that explain these calls. Where one causes the other, both seem to; the closer one is taken.
fn callers(targets: &[i64], arrivals: &[Vec<i64>], scale: Scale) -> Vec<usize> {
    let explained = |(kind, arrivals): (usize, &Vec<i64>)| {
        let (excess, gain) = excess(targets, arrivals, scale)?;
        Some((gain, kind, excess.weight() / targets.len().min(TARGETS) as f64, excess.mean_position()))
    };
    let mut kinds: Vec<_> = arrivals.iter().enumerate().filter_map(explained).collect();
    let most = kinds.iter().map(|(gain, ..)| *gain).fold(0.0, f64::max);
    kinds.retain(|(gain, ..)| *gain >= COMPARABLE * most);
    kinds.sort_by(|a, b| a.3.total_cmp(&b.3));
    let mut left = ALL;
    kinds.retain(|(_, _, share, _)| {
        let wanted = left > 0.0;
        left -= share;
        wanted
    });
    kinds.into_iter().map(|(_, kind, ..)| kind).collect()
}

fn best(targets: &[i64], sources: &[(Reference, &[i64])], scale: Scale) -> Option<(Delay, f64)> {
    let found = sources.iter().filter_map(|(reference, moments)| {
        let (excess, gain) = excess(targets, moments, scale)?;
        Some((gain, *reference, excess))
    });
    let best = found.fold(None::<(f64, Reference, Histogram)>, |best, this| match best {
        Some(best) if best.0 >= this.0 => Some(best),
        _ => Some(this),
    });
    let (_, reference, mut excess) = best?;
    let share = excess.weight() / targets.len().min(TARGETS) as f64;
    excess.scale_to(WORTH);
    Some((Delay::guess(reference, excess.fit().0, scale), share))
}

/// By how much more often than by chance a source lies so long before a target, and how much that tells, nats.
fn excess(targets: &[i64], sources: &[i64], scale: Scale) -> Option<(Histogram, f64)> {
    let lasted = (sources.last()? - sources.first()?).max(1) as f64;
    let rate = sources.len() as f64 / lasted;
    let targets = &targets[..targets.len().min(TARGETS)];
    let mut found = Histogram::new(scale);
    let mut reaches = Vec::with_capacity(targets.len());
    let mut until = 0;
    for &target in targets {
        while until < sources.len() && sources[until] <= target {
            until += 1;
        }
        let from = until.saturating_sub(SOURCES);
        let delays = sources[from..until].iter().map(|source| target - source);
        delays.filter(|&delay| delay < LONGEST_NS).for_each(|delay| found.add(delay, target, 1.0));
        let reach = if from == 0 { LONGEST_NS } else { target - sources[from] };
        reaches.push(reach.min(LONGEST_NS));
    }
    reaches.sort_unstable();
    let gain = found.subtract_chance(
        |from_ns, until_ns| {
            let far_enough = reaches.len() - reaches.partition_point(|&reach| (reach as f64) < from_ns);
            rate * (until_ns - from_ns) * far_enough as f64
        },
        DEVIATIONS,
    );
    (found.weight() > 0.05 * targets.len() as f64).then_some((found, gain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    #[test]
    fn a_cause_stands_out_among_many_in_hand() {
        let mut random = Random::new(3);
        let mut at = 0;
        let causes: Vec<i64> = (0..2_000)
            .map(|_| {
                at += random.exponential(200_000.0);
                at
            })
            .collect();
        let mut effects: Vec<i64> =
            causes.iter().map(|cause| cause + 2_000_000 + (random.even() * 300_000.0) as i64).collect();
        effects.sort_unstable();
        let mut others: Vec<i64> = (0..2_000).map(|_| (random.even() * at as f64) as i64).collect();
        others.sort_unstable();
        let scale = Scale::new(1_000);
        let sources = [(Reference::Arrival, others.as_slice()), (Reference::EndOf(0), causes.as_slice())];
        let (delay, share) = best(&effects, &sources, scale).expect("a delay");
        assert!((0.7..1.3).contains(&share), "{share}");
        assert_eq!(delay.reference, Reference::EndOf(0));
        assert!(delay.ln_of(2_150_000) > delay.ln_of(1_000_000) + 2.0);
    }
}
