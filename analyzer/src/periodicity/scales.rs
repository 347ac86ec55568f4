//! The search over time scales: one comb at each, and one probability for all.
//!
//! On a busy host spikes stand among unrelated bursts and slow stretches. Which of them are one event depends on the scale:
//! what is thirty episodes at a few seconds is eight at a minute, and six of those may be the spikes. So onsets are joined at a
//! ladder of gaps ([`Grid::scales`]), the same one whatever shortest period is asked for, and each scale is searched and tested
//! by itself: scores of scales with other numbers of events do not compare, but probabilities do. They are combined by their
//! harmonic mean (Wilson 2019), which pays for the number of scales where only one shows the comb, and for next to nothing
//! where they all show it: tests of the same events depend on each other.

use super::comb::{Comb, Grid, merged, search_scales};
use super::null_models::{FalseAlarm, false_alarm};

/// The best comb at one scale.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The scale.
    pub grid: Grid,
    /// The comb; its hits are indices of the onsets given.
    pub comb: Comb,
}

impl Scaled {
    /// Whether a finer scale joins the same onsets and looks at the same periods.
    fn is_same_test(&self, finer: &Scaled, onsets_ns: &[f64]) -> bool {
        let events = |scaled: &Scaled| merged(onsets_ns, scaled.grid.gap_ns).len();
        self.grid.is_same_scale(&finer.grid, (events(self), events(finer)))
    }
}

/// The best combs of all scales.
#[derive(Clone, Debug, Default)]
pub struct Scales {
    /// Finest first; scales without any comb are left out.
    pub combs: Vec<Scaled>,
    /// Scales looked at.
    pub count: usize,
}

/// What a comb's events are expected to add to the best score without a period: scores grow with the number of events.
const EXPECTED: f64 = 0.3;
/// Scales that have this share of the surest one's evidence (of the logarithm of its probability) are nearly as sure.
const NEARLY: f64 = 2.0 / 3.0;

impl Scales {
    /// Looks for the best comb at every scale. Onsets ascend.
    pub fn search(onsets_ns: &[f64], grid: &Grid) -> Scales {
        let scales = grid.scales();
        let count = scales.len();
        let combs = search_scales(onsets_ns, &scales);
        let found =
            scales.into_iter().zip(combs).filter_map(|(grid, comb)| Some(Scaled { grid, comb: comb? }));
        Scales { combs: found.collect(), count }
    }

    /// How good the best of them looks before anything is drawn. Only for the order in which candidates are tested.
    pub fn promise(&self, onsets_ns: &[f64]) -> f64 {
        let of_scale = |scaled: &Scaled| {
            scaled.comb.score - EXPECTED * merged(onsets_ns, scaled.grid.gap_ns).len() as f64
        };
        self.combs.iter().map(of_scale).fold(f64::NEG_INFINITY, f64::max)
    }

    /// The comb of the surest scale, with the probability of all scales together; None without any comb.
    ///
    /// `load` is requests per equal stretch of the recording (empty: even), `want` the probability that matters.
    pub fn surest(
        &self,
        onsets_ns: &[f64],
        load: &[f64],
        seed: u64,
        want: f64,
    ) -> Option<(Comb, FalseAlarm)> {
        let mut tested: Vec<(&Scaled, FalseAlarm)> = Vec::with_capacity(self.combs.len());
        for scaled in &self.combs {
            let known = tested.last().filter(|(finer, _)| scaled.is_same_test(finer, onsets_ns));
            let alarm = known.map(|(_, alarm)| *alarm);
            let alarm =
                alarm.unwrap_or_else(|| false_alarm(onsets_ns, &scaled.comb, &scaled.grid, load, seed, want));
            tested.push((scaled, alarm));
        }
        let (_, alarm) = tested.iter().min_by(|a, b| a.1.p.total_cmp(&b.1.p))?;
        // A coarse scale does not have the periods that are short for it: there every second tooth may pass for the comb. Of
        // scales that are nearly as sure the one that explains most has it.
        let nearly = alarm.p.powf(NEARLY);
        let best = tested.iter().filter(|(_, alarm)| alarm.p <= nearly);
        let (best, _) = best.max_by(|a, b| a.0.comb.llr.total_cmp(&b.0.comb.llr))?;
        let others = (self.count - tested.len()) as f64;
        let inverse: f64 = others + tested.iter().map(|(_, alarm)| 1.0 / alarm.p).sum::<f64>();
        let p = (self.count as f64 / inverse).min(1.0);
        Some((best.comb.clone(), FalseAlarm { p, ..*alarm }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrospan_random::Random;

    const SECOND: f64 = 1e9;

    fn hour(shortest_s: f64) -> Grid {
        Grid::new(3_600_000_000_000, (shortest_s * SECOND) as i64, 100_000_000)
    }

    /// Spikes every 600 s, and three slow stretches that are many episodes each.
    fn busy() -> Vec<f64> {
        let mut random = Random::new(4);
        let spikes = (0..6).map(|tooth| 150.0 + 600.0 * f64::from(tooth));
        let mut onsets: Vec<f64> = spikes.collect();
        for begin in [420.0, 1_560.0, 2_900.0] {
            onsets.extend((0..12).map(|_| begin + 100.0 * random.uniform()));
        }
        onsets.iter_mut().for_each(|onset| *onset = (*onset + 2.0 * random.normal()) * SECOND);
        onsets.sort_unstable_by(f64::total_cmp);
        onsets
    }

    #[test]
    fn the_shortest_period_asked_for_does_not_decide() {
        let onsets = busy();
        let mut before: Option<f64> = None;
        for shortest_s in [300.0, 100.0, 30.0, 10.0] {
            let found = Scales::search(&onsets, &hour(shortest_s)).surest(&onsets, &[], 1, 0.01);
            let (comb, alarm) = found.expect("a comb");
            assert!((comb.period_ns / SECOND - 600.0).abs() < 3.0, "{shortest_s} s: {comb:?}");
            assert_eq!((comb.hits.len(), comb.teeth), (6, 6), "{shortest_s} s");
            assert!(alarm.p < 0.005, "{shortest_s} s: {alarm:?}");
            // A wider search is not surer of the same, but for what chance in the draws makes of it.
            assert!(before.is_none_or(|narrower| alarm.p > 0.4 * narrower), "{shortest_s} s: {alarm:?}");
            before = Some(alarm.p);
        }
    }

    #[test]
    fn scales_are_the_same_whatever_is_asked_for() {
        let gaps =
            |shortest_s: f64| hour(shortest_s).scales().iter().map(|grid| grid.gap_ns).collect::<Vec<_>>();
        assert_eq!(gaps(10.0), [2_500_000_000, 7_500_000_000, 22_500_000_000, 67_500_000_000]);
        assert_eq!(gaps(200.0), gaps(10.0));
        assert_eq!(gaps(2.0)[2..], gaps(10.0));
        for grid in hour(2.0).scales() {
            assert!(grid.min_period_ns >= 2_000_000_000 && grid.gap_ns * 4 <= grid.min_period_ns + 4);
        }
    }

    #[test]
    fn every_second_tooth_is_not_taken_for_the_comb_where_the_scale_is_coarse() {
        let onsets: Vec<f64> = (0..60).map(|tooth| (30.0 + 60.0 * f64::from(tooth)) * SECOND).collect();
        let (comb, alarm) =
            Scales::search(&onsets, &hour(10.0)).surest(&onsets, &[], 1, 0.01).expect("a comb");
        assert!((comb.period_ns / SECOND - 60.0).abs() < 0.1, "{comb:?}");
        assert!(alarm.p < 1e-4, "{alarm:?}");
    }

    #[test]
    fn longer_periods_are_looked_at_once_and_seen_all_the_same() {
        let mut random = Random::new(7);
        for count in [6, 14, 30] {
            let mut onsets: Vec<f64> = (0..count).map(|_| random.uniform() * 3600.0 * SECOND).collect();
            onsets.sort_unstable_by(f64::total_cmp);
            let scales = hour(10.0).scales();
            let together = search_scales(&onsets, &scales);
            for (grid, comb) in scales.iter().zip(together) {
                let alone = crate::periodicity::comb::search(&onsets, grid);
                let scores = [alone, comb].map(|comb| comb.map_or(f64::NEG_INFINITY, |comb| comb.score));
                assert!((scores[0] - scores[1]).abs() < 1e-6 || count > 16, "{count}, {grid:?}: {scores:?}");
                assert!(scores[1] > scores[0] - 0.5, "{count}, {grid:?}: {scores:?}");
            }
        }
    }
}
