//! The probability of a false alarm: how often do events without a period give as good a comb?
//!
//! Four ways of having no period are simulated with as many events, the same merging and the same search; the largest
//! probability counts. A closed formula would be wrong: what is maximised over thousands of combs, on a handful of
//! events, follows none.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::comb::{Comb, Grid, merged, search};
use retrospan_random::Random;

/// A way of having no period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Null {
    /// Anywhere, not closer than the merge gap.
    Uniform,
    /// Where there is load, in proportion to it.
    Load,
    /// Clusters kept as they are, put anywhere.
    Clusters,
    /// One after the other with irregular pauses: events that keep some distance are no clock.
    Renewal,
}

impl Null {
    /// The name in findings.
    pub fn name(self) -> &'static str {
        match self {
            Null::Uniform => "uniform",
            Null::Load => "load",
            Null::Clusters => "clusters",
            Null::Renewal => "renewal",
        }
    }
}

/// What a comb is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FalseAlarm {
    /// Probability of a score as high without a period.
    pub p: f64,
    /// No trial scored as high: `p` is beyond what was drawn, an upper bound from a fitted tail.
    pub extrapolated: bool,
    /// The null that gave the largest probability.
    pub null: Null,
    /// Trials under that null.
    pub trials: usize,
}

/// Once so many trials scored as high, the probability is known well enough (Besag and Clifford 1991).
const ENOUGH: usize = 20;
/// So few say less than the fitted tail does (Knijnenburg et al. 2009).
const FEW: usize = 10;
/// Fewest and most trials for a comb that looks real.
const TRIALS: (f64, f64) = (999.0, 1_999.0);
/// Operations worth spending on one null, and the fewest trials whatever they cost. A tail is fitted to no fewer.
const OPERATIONS: f64 = 3e9;
const FEWEST: f64 = 200.0;
/// Drawing stops early where the fitted tail's bound is this share of the probability that matters.
const CLEAR: f64 = 0.1;
/// So many times the probability that matters is clearly above it, even where it is one scale's of several.
const ABOVE: f64 = 5.0;
/// A factor from the probability that matters to what is not near it.
const NEAR: f64 = 3.0;
/// As good trials that are enough to say so.
const FEWEST_ABOVE: usize = 8;
/// No probability below this is claimed.
const LEAST: f64 = 1e-12;
/// The fitted tail's shape may be this many standard errors heavier: its one-sided 90 % bound.
const SURE: f64 = 1.2816;
/// Load that varies less than this (coefficient of variation over fifty stretches) is even.
const EVEN: f64 = 0.1;
/// Shape of the gamma distribution of a renewal process's intervals.
const SHAPE: f64 = 4.0;

/// The largest false-alarm probability of a comb under the four null models.
///
/// `onsets_ns` ascend, `comb` is `search` of them. `load` is requests per equal stretch of the recording (empty: even).
/// `want` is the probability that matters: nothing more is drawn for what is clearly above.
pub fn false_alarm(
    onsets_ns: &[f64],
    comb: &Comb,
    grid: &Grid,
    load: &[f64],
    seed: u64,
    want: f64,
) -> FalseAlarm {
    let kept = merged(onsets_ns, grid.gap_ns);
    let trials = trials(kept.len(), grid, want);
    let mut worst = cached(Null::Uniform, kept.len(), grid, comb.score, trials, want);
    if worst.p <= ABOVE * want {
        let renewal = cached(Null::Renewal, kept.len(), grid, comb.score, trials, want);
        worst = if renewal.p > worst.p { renewal } else { worst };
    }
    if worst.p > ABOVE * want {
        return worst;
    }
    let mut consider = |null: Null, draw: &mut dyn FnMut(&mut Random) -> Vec<f64>| {
        let mut random = Random::new(seed ^ (null as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let found = sequential(comb.score, trials, want, null, |_| score_of(&draw(&mut random), grid));
        if found.p > worst.p {
            worst = found;
        }
        worst.p > ABOVE * want
    };
    if let Some(density) = Density::new(load)
        && consider(Null::Load, &mut |random| density.draw(random, kept.len(), grid))
    {
        return worst;
    }
    let blocks = clusters(&kept, onsets_ns, comb.period_ns / 4.0);
    if blocks.len() < kept.len() {
        consider(Null::Clusters, &mut |random| place(&blocks, random, grid));
    }
    worst
}

/// Score of the best comb; where there is none, less than any.
fn score_of(onsets_ns: &[f64], grid: &Grid) -> f64 {
    search(onsets_ns, grid).map_or(f64::NEG_INFINITY, |comb| comb.score)
}

/// Draws until enough trials scored as high, or none did and the tail is clearly below what matters.
fn sequential(
    score: f64,
    trials: usize,
    want: f64,
    null: Null,
    mut draw: impl FnMut(usize) -> f64,
) -> FalseAlarm {
    let known = |above: usize, scores: &[f64]| {
        if above < FEW {
            return tail(score, scores, null);
        }
        let p = (1 + above) as f64 / (scores.len() + 1) as f64;
        FalseAlarm { p, extrapolated: false, null, trials: scores.len() }
    };
    let (mut above, mut look) = (0, FEWEST as usize);
    let mut scores = Vec::new();
    for trial in 0..trials {
        let drawn = draw(trial);
        above += usize::from(drawn >= score);
        let done = trial + 1;
        // The second stop is for what is above that on any count.
        let hopeless = above >= FEWEST_ABOVE && above as f64 > 2.0 * ABOVE * want * done as f64;
        if above == ENOUGH || hopeless {
            let p = above as f64 / done as f64;
            return FalseAlarm { p, extrapolated: false, null, trials: done };
        }
        scores.push(drawn);
        if done == look && above == 0 {
            let found = tail(score, &scores, null);
            if found.p <= CLEAR * want {
                return found;
            }
            look += look / 2;
        }
        // More trials than that are for what may yet be below the probability that matters.
        if done == TRIALS.0 as usize && done < trials {
            let found = known(above, &scores);
            if found.p <= CLEAR * want || found.p > NEAR * want {
                return found;
            }
        }
    }
    known(above, &scores)
}

/// Beyond all trials, or nearly all: a generalised Pareto distribution fitted to the highest tenth by probability-weighted moments
/// (Hosking and Wallis 1987). Its shape is an upper bound, that many standard errors above the fitted one and never lighter
/// than exponential: few trials tell little of a far tail, and so much is claimed and no more.
fn tail(score: f64, scores: &[f64], null: Null) -> FalseAlarm {
    let mut sorted: Vec<f64> = scores.iter().copied().filter(|score| score.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let trials = scores.len();
    let top = (trials / 10).min(sorted.len().saturating_sub(1));
    let above = scores.iter().filter(|drawn| **drawn >= score).count();
    let at_most = (1 + above) as f64 / (trials + 1) as f64;
    if trials < FEWEST as usize || top < 10 {
        return FalseAlarm { p: at_most, extrapolated: false, null, trials };
    }
    let threshold = sorted[sorted.len() - top - 1];
    let excess: Vec<f64> = sorted[sorted.len() - top..].iter().map(|score| score - threshold).collect();
    let n = top as f64;
    let mean = excess.iter().sum::<f64>() / n;
    let weighted =
        excess.iter().enumerate().map(|(i, e)| e * (n - 1.0 - i as f64) / (n - 1.0)).sum::<f64>() / n;
    let fitted = (2.0 - mean / (mean - 2.0 * weighted)).clamp(-0.5, 0.4);
    let shape = (fitted + SURE * shape_error(fitted, n)).clamp(0.0, 0.9);
    let scale = mean * (1.0 - fitted.max(0.0));
    let z = (score - threshold) / scale.max(1e-9);
    let survival = if shape < 1e-6 { (-z).exp() } else { (1.0 + shape * z).powf(-1.0 / shape) };
    let p = (n / trials as f64 * survival).clamp(LEAST, at_most);
    FalseAlarm { p, extrapolated: above == 0, null, trials }
}

/// Standard error of a shape fitted to `n` values by probability-weighted moments, for many of them (Hosking and Wallis 1987;
/// the sign of their k is the other).
fn shape_error(shape: f64, n: f64) -> f64 {
    let x = shape;
    let variance =
        (1.0 - x) * (2.0 - x).powi(2) * (1.0 - x + 2.0 * x * x) / ((1.0 - 2.0 * x) * (3.0 - 2.0 * x));
    (variance / n).sqrt()
}

/// How many trials the level is worth: ten as high are expected at it, within what searches of this size cost.
fn trials(count: usize, grid: &Grid, want: f64) -> usize {
    let periods = 8.0 * grid.horizon_ns as f64 / grid.min_period_ns.max(4 * grid.gap_ns) as f64;
    let most = (OPERATIONS / (periods * (count as f64 + 500.0))).clamp(FEWEST, TRIALS.1);
    (10.0 / want.max(1e-9)).clamp(TRIALS.0, TRIALS.1).min(most) as usize
}

/// Scores under a null that only the number of events matters for, in the order drawn: many streams share them.
type Scores = Arc<Mutex<Vec<f64>>>;
type Key = (Null, [u64; 9]);
static DRAWN: LazyLock<Mutex<HashMap<Key, Scores>>> = LazyLock::new(Mutex::default);

fn cached(null: Null, count: usize, grid: &Grid, score: f64, trials: usize, want: f64) -> FalseAlarm {
    let count = alike(count);
    let key = [
        count as u64,
        grid.horizon_ns as u64,
        grid.min_period_ns as u64,
        grid.max_period_ns as u64,
        grid.resolution_ns as u64,
        grid.gap_ns as u64,
        grid.min_share.to_bits(),
        grid.prior_weight.to_bits(),
        grid.widest.to_bits(),
    ];
    let scores = {
        let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.entry((null, key)).or_default().clone()
    };
    let mut scores = scores.lock().unwrap_or_else(PoisonError::into_inner);
    sequential(score, trials, want, null, |trial| {
        if trial == scores.len() {
            // A generator for every trial: what was drawn before does not matter.
            let mut random = Random::new(trial as u64 ^ ((count as u64) << 40) ^ ((null as u64) << 60));
            let draw = if null == Null::Renewal { renewal } else { uniform };
            scores.push(score_of(&draw(count, grid, &mut random), grid));
        }
        scores[trial]
    })
}

/// Numbers of events above fifty are rounded up to the next of a series in steps of a tenth: scores hardly differ.
fn alike(count: usize) -> usize {
    let mut step = 50;
    while step < count {
        step += step / 10;
    }
    if count <= 50 { count } else { step }
}

/// Events anywhere, none closer than the gap to the next.
pub fn uniform(count: usize, grid: &Grid, random: &mut Random) -> Vec<f64> {
    place(&vec![vec![0.0]; count], random, grid)
}

/// Events of a renewal process whose intervals scatter by half their mean (gamma, shape 4), given their number.
pub fn renewal(count: usize, grid: &Grid, random: &mut Random) -> Vec<f64> {
    // The recording begins and ends somewhere within an interval, more likely within a long one.
    let end = |random: &mut Random| random.uniform() * random.gamma(SHAPE + 1.0) * (SHAPE + 1.0) / SHAPE;
    let mut at = 0.0;
    let mut onsets: Vec<f64> = Vec::with_capacity(count);
    for index in 0..count {
        at += if index == 0 { end(random) } else { random.gamma(SHAPE) };
        onsets.push(at);
    }
    let scale = grid.horizon_ns as f64 / (at + end(random));
    onsets.iter_mut().for_each(|onset| *onset *= scale);
    onsets
}

/// Events closer than `gap_ns` to the one before are of its cluster; each as distances from its first.
fn clusters(kept: &[usize], onsets_ns: &[f64], gap_ns: f64) -> Vec<Vec<f64>> {
    let mut blocks: Vec<Vec<f64>> = Vec::new();
    let (mut first, mut last) = (0.0, f64::NEG_INFINITY);
    for &index in kept {
        let onset = onsets_ns[index];
        match blocks.last_mut() {
            Some(block) if onset - last < gap_ns => block.push(onset - first),
            _ => {
                first = onset;
                blocks.push(vec![0.0]);
            }
        }
        last = onset;
    }
    blocks
}

/// Blocks in random order at random places, none closer than the gap to the next.
fn place(blocks: &[Vec<f64>], random: &mut Random, grid: &Grid) -> Vec<f64> {
    let horizon = grid.horizon_ns as f64;
    let length: f64 = blocks.iter().filter_map(|block| block.last()).sum();
    let between = blocks.len().saturating_sub(1) as f64;
    let gap = (grid.gap_ns as f64).min((horizon - length).max(0.0) / (2.0 * between.max(1.0)));
    let free = (horizon - length - gap * between).max(0.0);
    let mut starts: Vec<f64> = blocks.iter().map(|_| random.uniform() * free).collect();
    starts.sort_unstable_by(f64::total_cmp);
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    let mut taken = 0.0;
    let mut onsets = Vec::with_capacity(blocks.iter().map(Vec::len).sum());
    for (start, &block) in starts.iter().zip(&order) {
        onsets.extend(blocks[block].iter().map(|offset| start + taken + offset));
        taken += blocks[block].last().unwrap_or(&0.0) + gap;
    }
    onsets
}

/// Where load is, as a cumulative share.
struct Density(Vec<f64>);

impl Density {
    /// None where the load is even, or there is none.
    fn new(load: &[f64]) -> Option<Self> {
        let total: f64 = load.iter().sum();
        let stretch = load.len().div_ceil(50).max(1);
        // The last stretch may be a short one: not compared.
        let sums: Vec<f64> = load.chunks_exact(stretch).map(|chunk| chunk.iter().sum()).collect();
        let mean = sums.iter().sum::<f64>() / sums.len().max(1) as f64;
        let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / sums.len().max(1) as f64;
        // What Poisson arrivals alone would vary is not unevenness.
        if total <= 0.0 || (variance - mean).max(0.0).sqrt() < EVEN * mean {
            return None;
        }
        let mut sum = 0.0;
        Some(Self(
            load.iter()
                .map(|requests| {
                    sum += requests / total;
                    sum
                })
                .collect(),
        ))
    }

    /// Events in proportion to load, none closer than the gap where there is room.
    fn draw(&self, random: &mut Random, count: usize, grid: &Grid) -> Vec<f64> {
        let width = grid.horizon_ns as f64 / self.0.len() as f64;
        let gap = grid.gap_ns as f64;
        let mut onsets: Vec<f64> = Vec::with_capacity(count);
        for _ in 0..count {
            for attempt in 0..20 {
                let share = random.uniform();
                let bin = self.0.partition_point(|&sum| sum <= share).min(self.0.len() - 1);
                let onset = (bin as f64 + random.uniform()) * width;
                let place = onsets.partition_point(|&other| other < onset);
                let near = |other: Option<&f64>| other.is_some_and(|other| (other - onset).abs() < gap);
                if attempt == 19 || !(near(onsets.get(place)) || (place > 0 && near(onsets.get(place - 1)))) {
                    onsets.insert(place, onset);
                    break;
                }
            }
        }
        onsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: f64 = 1e9;

    fn hour() -> Grid {
        Grid::new(3_600_000_000_000, 60_000_000_000, 100_000_000)
    }

    fn alarm(onsets_s: &[f64], load: &[f64], want: f64) -> FalseAlarm {
        let mut onsets: Vec<f64> = onsets_s.iter().map(|s| s * SECOND).collect();
        onsets.sort_unstable_by(f64::total_cmp);
        let comb = search(&onsets, &hour()).expect("a comb");
        false_alarm(&onsets, &comb, &hour(), load, 1, want)
    }

    #[test]
    fn random_events_alarm_no_more_often_than_they_may() {
        let grid = hour();
        let mut random = Random::new(11);
        let sets = 300;
        let below = (0..sets)
            .filter(|_| {
                let onsets = uniform(6, &grid, &mut random);
                search(&onsets, &grid)
                    .is_some_and(|comb| false_alarm(&onsets, &comb, &grid, &[], 1, 0.1).p <= 0.1)
            })
            .count();
        assert!((5..=42).contains(&below), "{below} of {sets} at 10 %");
    }

    #[test]
    fn six_of_six_are_no_false_alarm_and_a_tail_is_called_one() {
        let jittered = [110.0, 690.0, 1325.0, 1900.0, 2480.0, 3115.0];
        let found = alarm(&jittered, &[], 0.01);
        assert!(found.p < 0.01, "{found:?}");
        let exact = [110.0, 710.0, 1310.0, 1910.0, 2510.0, 3110.0];
        let found = alarm(&exact, &[], 0.01);
        assert!(found.p < 1e-3 && found.extrapolated, "{found:?}");
        assert!(found.p >= LEAST);
    }

    #[test]
    fn irregular_pauses_are_no_clock() {
        let found = alarm(&[200.0, 500.0, 1220.0, 1800.0, 2620.0, 3050.0], &[], 0.01);
        assert!(found.p > 0.01, "{found:?}");
    }

    #[test]
    fn events_that_only_follow_the_load_are_explained_by_it() {
        // Traffic comes for 10 s every 600 s, and any of it may be bad.
        let load: Vec<f64> = (0..3600).map(|s| if s % 600 < 10 { 1000.0 } else { 0.0 }).collect();
        let onsets = [2.0, 605.0, 1203.0, 1807.0, 2401.0, 3004.0];
        assert!(alarm(&onsets, &[], 0.01).p < 0.01);
        let found = alarm(&onsets, &load, 0.01);
        assert!(found.p > 0.05 && found.null == Null::Load, "{found:?}");
    }

    #[test]
    fn clusters_are_moved_as_they_are() {
        let blocks = clusters(&[0, 1, 2, 3], &[10.0, 25.0, 400.0, 900.0], 50.0);
        assert_eq!(blocks, [vec![0.0, 15.0], vec![0.0], vec![0.0]]);
        let grid = hour();
        let mut random = Random::new(1);
        for _ in 0..100 {
            let blocks = [vec![0.0, 20.0 * SECOND], vec![0.0], vec![0.0]];
            let onsets = place(&blocks, &mut random, &grid);
            assert_eq!(onsets.len(), 4);
            assert!(onsets.windows(2).any(|pair| (pair[1] - pair[0] - 20.0 * SECOND).abs() < 1.0));
            assert!(onsets.windows(2).all(|pair| pair[1] - pair[0] >= grid.gap_ns as f64));
            assert!(onsets.iter().all(|onset| (0.0..=grid.horizon_ns as f64).contains(onset)));
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer() {
        let onsets = [100.0, 650.0, 1350.0, 1830.0, 2555.0, 3100.0];
        assert_eq!(alarm(&onsets, &[], 0.01), alarm(&onsets, &[], 0.01));
    }

    #[test]
    fn what_few_trials_cannot_show_is_not_claimed() {
        // As good as it gets: eight of eight, to the millisecond.
        let exact: Vec<f64> = (0..8).map(|tooth| 110.0 + 450.0 * f64::from(tooth)).collect();
        let found = alarm(&exact, &[], 0.01);
        assert!(found.extrapolated && found.trials >= FEWEST as usize && found.p > 1e-9, "{found:?}");
        let stricter = alarm(&exact, &[], 1e-5);
        assert!(stricter.p < 1e-5 && stricter.p <= found.p, "{stricter:?}");
    }

    #[test]
    fn the_tail_of_few_trials_is_seldom_below_the_truth() {
        let mut random = Random::new(5);
        let truth = (-16.0f64).exp();
        let sets = 300;
        let below = (0..sets)
            .filter(|_| {
                let scores: Vec<f64> = (0..200).map(|_| random.exponential()).collect();
                tail(16.0, &scores, Null::Uniform).p < truth
            })
            .count();
        assert!(below <= sets / 7, "{below} of {sets}");
    }

    #[test]
    fn the_tail_continues_where_trials_end() {
        let mut random = Random::new(3);
        let scores: Vec<f64> = (0..10_000).map(|_| random.exponential()).collect();
        let p = tail(14.0, &scores, Null::Uniform).p;
        assert!(((-14.0f64).exp()..1e-4).contains(&p), "{p} of {}", (-14.0f64).exp());
    }
}
