//! The comb likelihood: do point events lie near `phase + j * period`?
//!
//! Tooth j of a comb fires with probability q, at its place plus a normal deviate of sigma; unrelated events are a Poisson
//! process beside it. The log-likelihood ratio against the Poisson process alone is maximised over period, phase and
//! sigma. Teeth that did not fire cost likelihood, which is what tells P from P/2.
//!
//! Two things are not in the plain likelihood. A comb that fires at fewer than `min_share` of its teeth is not
//! looked at: any three events lie on *some* fine comb. And combs are ranked by `score`, the likelihood ratio times the
//! share of the prior range of period and phase that the events leave (Laplace's approximation to the Bayes factor; half of its logarithm counts, see `prior_weight`):
//! three events that happen to lie on a very sharp comb had two parameters to be put there.

mod trial;

/// What is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Length of the recording.
    pub horizon_ns: i64,
    /// Shortest period.
    pub min_period_ns: i64,
    /// Longest period.
    pub max_period_ns: i64,
    /// Resolution of an onset: no comb is sharper.
    pub resolution_ns: i64,
    /// Onsets closer than this are one; periods below four times this are not searched.
    pub gap_ns: i64,
    /// Smallest share of its teeth at which a comb fires.
    pub min_share: f64,
    /// Weight of the prior range in the score: 0 for the plain likelihood ratio, 1 for the Bayes factor.
    pub prior_weight: f64,
    /// Widest sigma, as a share of the period.
    pub widest: f64,
}

impl Grid {
    /// All periods from `min_period_ns` to 1/2.9 of the recording, so that there are three teeth or nearly so.
    pub fn new(horizon_ns: i64, min_period_ns: i64, resolution_ns: i64) -> Self {
        let min_period_ns = min_period_ns.max(1);
        Self {
            horizon_ns,
            min_period_ns,
            max_period_ns: (horizon_ns as f64 / 2.9) as i64,
            resolution_ns: resolution_ns.max(1),
            gap_ns: min_period_ns / GAPS_A_PERIOD,
            min_share: 0.4,
            prior_weight: 0.5,
            widest: 0.06,
        }
    }

    /// Shortest period of so many events, s: with fewer than `min_share` of the teeth there is nothing to find.
    fn shortest_with_s(&self, count: usize) -> f64 {
        let most_teeth = count as f64 / self.min_share.max(1e-9) + 1.0;
        self.horizon_ns as f64 * 1e-9 / most_teeth
    }

    /// Whether two scales that join onsets to `counts` events each, a finer one's to the second number, are one: the same events
    /// and periods.
    pub fn is_same_scale(&self, finer: &Grid, counts: (usize, usize)) -> bool {
        let shortest_ns = (self.shortest_with_s(counts.0) * 1e9) as i64;
        counts.0 == counts.1 && self.min_period_ns.max(shortest_ns) == finer.min_period_ns.max(shortest_ns)
    }

    /// The same periods at every scale, finest first: onsets joined at gaps that do not depend on the shortest period asked for
    /// (unless that is short), and at each the periods of four gaps or more.
    pub fn scales(&self) -> Vec<Grid> {
        let finest_ns = (self.min_period_ns / GAPS_A_PERIOD).clamp(1, FINEST_GAP_NS);
        let mut gap_ns = FINEST_GAP_NS as f64;
        while gap_ns as i64 > finest_ns {
            gap_ns /= GAP_STEP;
        }
        let mut scales = Vec::new();
        loop {
            let shortest_ns = ((gap_ns * GAPS_A_PERIOD as f64) as i64).max(self.min_period_ns);
            if !scales.is_empty() && (shortest_ns as f64) * LEAST_RANGE > self.max_period_ns as f64 {
                return scales;
            }
            scales.push(Grid { min_period_ns: shortest_ns, gap_ns: gap_ns as i64, ..self.clone() });
            gap_ns *= GAP_STEP;
        }
    }
}

/// A comb and the events on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Comb {
    /// Distance of teeth.
    pub period_ns: f64,
    /// Tooth 0, from the recording's begin.
    pub phase_ns: f64,
    /// Standard deviation of events around their teeth.
    pub sigma_ns: f64,
    /// Share of teeth that fire.
    pub q: f64,
    /// Log-likelihood ratio against no comb.
    pub llr: f64,
    /// What combs are ranked by, and false alarms counted with: the largest over the whole grid. Those of several scales
    /// do not compare.
    pub score: f64,
    /// Teeth within the recording.
    pub teeth: usize,
    /// Events on the comb: number of the tooth, index of the event.
    pub hits: Vec<(usize, usize)>,
    /// Onsets closer than this were one event; a hit is the first of them.
    pub gap_ns: i64,
}

/// Sigma as shares of the period.
const SIGMAS: [f64; 6] = [0.003, 0.01, 0.02, 0.04, 0.06, 0.08];
/// Events further from a tooth than this many sigma are not of it.
const REACH: f64 = 3.0;
/// Combs that are as good but for so much are told apart by their length.
const TIE: f64 = 1.0;
/// Up to so many events phases are sorted, beyond they are counted in `PHASES` parts of the period.
const SORTED: usize = 16;
const PHASES: usize = 256;
/// Combs looked at closely where phases are only counted.
const CANDIDATES: usize = 24;
/// A period is searched where onsets are joined at this part of it or less.
const GAPS_A_PERIOD: i64 = 4;
/// The finest gap, unless shorter periods are asked for, and the factor from one gap to the next.
const FINEST_GAP_NS: i64 = 2_500_000_000;
const GAP_STEP: f64 = 3.0;
/// A scale whose longest period is not so many times its shortest is not worth a test.
const LEAST_RANGE: f64 = 2.0;

/// The best comb through the onsets (ascending), joined at the grid's gap; None where none has three events.
pub fn search(onsets_ns: &[f64], grid: &Grid) -> Option<Comb> {
    search_scales(onsets_ns, std::slice::from_ref(grid)).pop()?
}

/// The best comb of each scale; `scales` are those of one [`Grid::scales`], finest first.
///
/// Where joining changes nothing from one scale to the next, the longer periods are looked at once.
pub fn search_scales(onsets_ns: &[f64], scales: &[Grid]) -> Vec<Option<Comb>> {
    let mut found = vec![None; scales.len()];
    let mut coarser: Option<(Vec<usize>, Peaks)> = None;
    for (grid, found) in scales.iter().zip(&mut found).rev() {
        let kept = merged(onsets_ns, grid.gap_ns);
        let onsets: Vec<f64> = kept.iter().map(|&index| onsets_ns[index]).collect();
        let shortest_ns = grid.min_period_ns.max(grid.gap_ns.saturating_mul(GAPS_A_PERIOD));
        let Some(search) = Search::new(&onsets, grid, shortest_ns) else { continue };
        let known = coarser.take().filter(|(before, _)| *before == kept).map(|(_, peaks)| peaks);
        let peaks = search.peaks(known.unwrap_or_default());
        *found = search.best(&peaks).map(|mut comb| {
            comb.hits.iter_mut().for_each(|hit| hit.1 = kept[hit.1]);
            comb.gap_ns = grid.gap_ns;
            comb
        });
        coarser = Some((kept, peaks));
    }
    found
}

/// Indices of the onsets that begin a group; onsets closer than `gap_ns` to the one before are of its group.
pub fn merged(onsets_ns: &[f64], gap_ns: i64) -> Vec<usize> {
    (0..onsets_ns.len()).filter(|&i| i == 0 || onsets_ns[i] - onsets_ns[i - 1] >= gap_ns as f64).collect()
}

/// One list of onsets, in seconds.
struct Search {
    times: Vec<f64>,
    horizon: f64,
    shortest: f64,
    longest: f64,
    floor: f64,
    /// Shortest and longest period asked for.
    asked: (f64, f64),
    min_share: f64,
    /// Weight of the prior, and -ln of the range of ln(period).
    prior: (f64, f64),
    widest: f64,
    /// Log-likelihood without a comb.
    null: f64,
}

/// What was looked at so far, of the same onsets.
#[derive(Default)]
struct Peaks {
    trials: Vec<Trial>,
    /// Periods of the grid, longest first, that were.
    periods: usize,
    /// The prior's range that they were scored with, as in `Search`.
    range: f64,
}

/// A comb under trial.
#[derive(Clone, Copy, Debug)]
struct Trial {
    period: f64,
    phase: f64,
    sigma: f64,
    llr: f64,
    score: f64,
    hits: usize,
    teeth: usize,
}

impl Search {
    fn new(onsets_ns: &[f64], grid: &Grid, shortest_ns: i64) -> Option<Self> {
        let count = onsets_ns.len();
        let horizon = grid.horizon_ns as f64 * 1e-9;
        let longest = grid.max_period_ns as f64 * 1e-9;
        if count < 3 || horizon <= 0.0 {
            return None;
        }
        let shortest = (shortest_ns as f64 * 1e-9).max(grid.shortest_with_s(count));
        if shortest > longest {
            return None;
        }
        let range = (grid.max_period_ns as f64 / grid.min_period_ns as f64).ln().max(1.0);
        Some(Self {
            times: onsets_ns.iter().map(|onset| onset * 1e-9).collect(),
            horizon,
            shortest,
            longest,
            floor: grid.resolution_ns as f64 * 1e-9,
            asked: (grid.min_period_ns as f64 * 1e-9, longest),
            min_share: grid.min_share,
            prior: (grid.prior_weight, -range.ln()),
            widest: grid.widest,
            null: count as f64 * (count as f64 / horizon).ln() - count as f64,
        })
    }

    /// Looks at the periods that were not looked at yet.
    fn peaks(&self, mut known: Peaks) -> Peaks {
        let rescored = self.prior.0 * (self.prior.1 - known.range);
        known.trials.iter_mut().for_each(|trial| trial.score += rescored);
        let periods = self.periods(known.periods);
        known.periods = known.periods.max(self.period_count());
        known.range = self.prior.1;
        if self.times.len() <= SORTED {
            self.sorted(periods, &mut known.trials);
        } else {
            known.trials.extend(self.counted(periods));
        }
        known
    }

    fn best(&self, peaks: &Peaks) -> Option<Comb> {
        let peaks = &peaks.trials;
        let best = peaks.iter().map(|trial| trial.score).fold(f64::NEG_INFINITY, f64::max);
        let chosen = peaks
            .iter()
            .filter(|trial| trial.score >= best - TIE)
            .max_by(|a, b| self.rank(a, best).total_cmp(&self.rank(b, best)))?;
        let sharpened = self
            .sigmas(chosen.period)
            .filter_map(|sigma| self.climb(chosen.period, chosen.phase, sigma, f64::NEG_INFINITY));
        let chosen = sharpened.fold(*chosen, |best, next| if next.score > best.score { next } else { best });
        Some(self.comb(&chosen, best.max(chosen.score)))
    }

    /// Frequencies from one period of the grid to the next: an eighth of a cycle over the recording.
    fn step(&self) -> f64 {
        1.0 / (8.0 * self.horizon)
    }

    fn period_count(&self) -> usize {
        ((1.0 / self.shortest - 1.0 / self.longest) / self.step()).floor().max(0.0) as usize + 1
    }

    /// The periods searched, longest first, but for so many of the first.
    fn periods(&self, from: usize) -> impl Iterator<Item = f64> + use<> {
        let (first, step) = (1.0 / self.longest, self.step());
        (from..self.period_count()).map(move |index| 1.0 / (first + index as f64 * step))
    }

    fn sorted(&self, periods: impl Iterator<Item = f64>, peaks: &mut Vec<Trial>) {
        let mut best = peaks.iter().map(|trial| trial.score).fold(f64::NEG_INFINITY, f64::max);
        let mut phases = Vec::with_capacity(self.times.len());
        for period in periods {
            // Ties are for the longest period, so whatever is good enough for one must be seen.
            if let Some(trial) = self.at_period(period, best - TIE, &mut phases) {
                best = best.max(trial.score);
                peaks.push(trial);
            }
        }
    }

    /// Many events: the windows of phase with the most improbable counts are candidates, and only those are looked at.
    fn counted(&self, periods: impl Iterator<Item = f64>) -> Vec<Trial> {
        let mut candidates: Vec<(f64, f64, f64, f64)> = Vec::with_capacity(2 * CANDIDATES);
        let mut least = 0.0;
        let all = self.times.len() as f64;
        let mut counts = [0i32; PHASES];
        let mut sums = [0i32; 2 * PHASES + 1];
        let mut windows = [0i32; PHASES];
        for period in periods {
            counts.fill(0);
            let inverse = 1.0 / period;
            for time in &self.times {
                let turns = time * inverse;
                // Truncation is the floor of what is not negative.
                let part = ((turns - turns as i64 as f64) * PHASES as f64) as usize;
                counts[part.min(PHASES - 1)] += 1;
            }
            for index in 0..2 * PHASES {
                sums[index + 1] = sums[index] + counts[index % PHASES];
            }
            let fewest = (self.min_share * (self.horizon * inverse).floor()).max(3.0);
            for sigma in self.sigmas(period) {
                let width = ((4.0 * sigma * inverse * PHASES as f64).round() as usize).clamp(1, PHASES / 2);
                let ends = &sums[width..width + PHASES];
                windows
                    .iter_mut()
                    .zip(ends.iter().zip(&sums))
                    .for_each(|(window, (end, start))| *window = end - start);
                let most = windows.iter().fold(0, |most, &count| if count > most { count } else { most });
                let (hits, share) = (f64::from(most), width as f64 / PHASES as f64);
                if hits < fewest {
                    continue;
                }
                let rest = (all - hits).max(1e-9);
                let gain = hits * (hits / (all * share)).ln() + rest * (rest / (all - all * share)).ln();
                if gain > least {
                    let start = windows.iter().position(|&count| count == most).unwrap_or(0);
                    let phase = (start as f64 + width as f64 / 2.0) / PHASES as f64 * period;
                    candidates.push((gain, period, phase, sigma));
                    if candidates.len() == 2 * CANDIDATES {
                        candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
                        candidates.truncate(CANDIDATES);
                        least = candidates[CANDIDATES - 1].0;
                    }
                }
            }
        }
        candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let climbed = candidates.into_iter().take(CANDIDATES);
        climbed
            .filter_map(|(_, period, phase, sigma)| self.climb(period, phase, sigma, f64::NEG_INFINITY))
            .collect()
    }

    /// Sigmas tried at a period; where the floor is above two of the shares, they are the same.
    fn sigmas(&self, period: f64) -> impl Iterator<Item = f64> + use<> {
        let (floor, widest) = (self.floor, self.widest);
        SIGMAS.iter().enumerate().filter_map(move |(index, share)| {
            let next = SIGMAS.get(index + 1).filter(|next| **next <= widest);
            let same = next.is_some_and(|next| next * period <= floor);
            (*share <= widest && !same).then_some((share * period).max(floor))
        })
    }

    /// Longest period first; within 5 % of a period the better comb.
    fn rank(&self, trial: &Trial, best: f64) -> f64 {
        (trial.period / self.shortest).ln() / 0.05 + (trial.score - best) * 1.5 / TIE
    }

    /// The best comb of one period that may exceed `enough`.
    fn at_period(&self, period: f64, enough: f64, phases: &mut Vec<f64>) -> Option<Trial> {
        phases.clear();
        let inverse = 1.0 / period;
        phases.extend(self.times.iter().map(|time| time * inverse - (time * inverse) as i64 as f64));
        phases.sort_unstable_by(f64::total_cmp);
        let count = phases.len();
        let fewest_teeth = (self.horizon / period).floor().max(1.0);
        let mut best: Option<Trial> = None;
        let mut enough = enough;
        for sigma in self.sigmas(period) {
            let reach = (2.0 * REACH * sigma / period).min(1.0);
            let mut end = 0;
            let mut sum = 0.0;
            let mut bound = (0, f64::NAN);
            let mut seen = 0;
            for start in 0..count {
                let at = |index: usize| phases[index % count] + if index >= count { 1.0 } else { 0.0 };
                while end < start + count && at(end) - phases[start] <= reach {
                    sum += at(end);
                    end += 1;
                }
                let hits = end - start;
                let mean = sum / hits as f64;
                sum -= phases[start];
                // A part of the window before is not better than the whole.
                if end == std::mem::replace(&mut seen, end) {
                    continue;
                }
                if hits < 3 || (hits as f64) < self.min_share * fewest_teeth {
                    continue;
                }
                if bound.0 != hits {
                    bound = (hits, self.bound(period, sigma, hits, fewest_teeth));
                }
                if bound.1 <= enough {
                    continue;
                }
                if let Some(trial) = self.climb(period, mean * period, sigma, enough)
                    && trial.score > enough
                {
                    enough = trial.score;
                    best = Some(trial);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests;
