//! Several periods at once: the best comb is taken off, the rest searched again.

use super::comb::{Comb, Grid, search};
use super::null_models::FalseAlarm;
use super::scales::Scales;

/// A comb that is no false alarm.
#[derive(Clone, Debug)]
pub struct Found {
    /// The comb; its hits are indices of the onsets given.
    pub comb: Comb,
    /// What it is worth.
    pub false_alarm: FalseAlarm,
}

/// Fewest onsets worth a search.
const FEWEST: usize = 3;

/// What a series holds.
#[derive(Clone, Debug, Default)]
pub struct Prewhitened {
    /// Combs below the level, in the order found.
    pub found: Vec<Found>,
    /// The best comb of what was left, above it.
    pub rejected: Option<Found>,
}

/// All combs, of any scale, with a false-alarm probability of at most `level`.
pub fn all(onsets_ns: &[f64], grid: &Grid, load: &[f64], seed: u64, level: f64) -> Prewhitened {
    let mut prewhitened = Prewhitened::default();
    let mut left: Vec<usize> = (0..onsets_ns.len()).collect();
    while left.len() >= FEWEST {
        let onsets: Vec<f64> = left.iter().map(|&index| onsets_ns[index]).collect();
        let seed = seed.wrapping_add(prewhitened.found.len() as u64);
        let Some((mut comb, false_alarm)) = Scales::search(&onsets, grid).surest(&onsets, load, seed, level)
        else {
            break;
        };
        let explained = explained(&comb, &onsets);
        comb.hits.iter_mut().for_each(|hit| hit.1 = left[hit.1]);
        let next = Found { comb, false_alarm };
        if next.false_alarm.p > level {
            prewhitened.rejected = Some(next);
            break;
        }
        left = left.iter().zip(&explained).filter(|(_, taken)| !**taken).map(|(index, _)| *index).collect();
        prewhitened.found.push(next);
    }
    settle(&mut prewhitened.found, onsets_ns, grid);
    prewhitened
}

/// Which onsets a comb accounts for: its hits, and what was merged into them.
fn explained(comb: &Comb, onsets_ns: &[f64]) -> Vec<bool> {
    let mut taken = vec![false; onsets_ns.len()];
    for &(_, hit) in &comb.hits {
        taken[hit] = true;
        for next in hit + 1..onsets_ns.len() {
            if onsets_ns[next] - onsets_ns[next - 1] >= comb.gap_ns as f64 {
                break;
            }
            taken[next] = true;
        }
    }
    taken
}

/// One more pass over several combs: each is fitted again to the onsets that no other comb is likelier to have caused.
fn settle(found: &mut [Found], onsets_ns: &[f64], grid: &Grid) {
    if found.len() < 2 {
        return;
    }
    for index in 0..found.len() {
        let owner = |onset: f64| {
            let density = |found: &Found| density(&found.comb, onset);
            (0..found.len()).max_by(|&a, &b| density(&found[a]).total_cmp(&density(&found[b])))
        };
        let taken_by_others = |at: usize| {
            found
                .iter()
                .enumerate()
                .any(|(other, found)| other != index && found.comb.hits.iter().any(|hit| hit.1 == at))
                && owner(onsets_ns[at]) != Some(index)
        };
        let mine: Vec<usize> = (0..onsets_ns.len()).filter(|&at| !taken_by_others(at)).collect();
        let onsets: Vec<f64> = mine.iter().map(|&at| onsets_ns[at]).collect();
        let period_ns = found[index].comb.period_ns;
        let near = Grid {
            min_period_ns: ((period_ns * 0.97) as i64).max(grid.min_period_ns),
            max_period_ns: ((period_ns * 1.03) as i64).min(grid.max_period_ns),
            gap_ns: found[index].comb.gap_ns,
            ..grid.clone()
        };
        if let Some(mut comb) = search(&onsets, &near)
            && comb.hits.len() >= found[index].comb.hits.len()
        {
            comb.hits.iter_mut().for_each(|hit| hit.1 = mine[hit.1]);
            comb.score = found[index].comb.score;
            found[index].comb = comb;
        }
    }
}

/// How densely a comb puts events at a moment, per second.
fn density(comb: &Comb, onset_ns: f64) -> f64 {
    let turns = (onset_ns - comb.phase_ns) / comb.period_ns;
    let z = (turns - turns.round()) * comb.period_ns / comb.sigma_ns;
    comb.q * (-0.5 * z * z).exp() / (comb.sigma_ns * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_combs_are_both_found_and_nothing_else() {
        let horizon = 7200.0;
        let train = |period: f64, phase: f64| {
            (0..).map(move |tooth| phase + period * f64::from(tooth)).take_while(move |at| *at < horizon)
        };
        let mut onsets: Vec<f64> = train(600.0, 50.0).chain(train(430.0, 120.0)).map(|at| at * 1e9).collect();
        onsets.sort_unstable_by(f64::total_cmp);
        let grid = Grid::new(7_200_000_000_000, 120_000_000_000, 100_000_000);
        let found = all(&onsets, &grid, &[], 1, 0.01);
        let mut periods: Vec<f64> =
            found.found.iter().map(|found| (found.comb.period_ns * 1e-9).round()).collect();
        periods.sort_unstable_by(f64::total_cmp);
        assert_eq!(periods, [430.0, 600.0]);
    }
}
