//! Series of a busy host: spikes among unrelated bursts and slow stretches, seen by several metrics at once.
//!
//! Bursts last a fifth of a second to five, slow stretches 20 to 100 s. Slow requests show all of them; failed ones and those
//! given up show every spike, some of the bursts, and stretches only where a burst falls into one.

use super::{Made, Pulse, Scenario, Teeth, counted, load};
use retrospan_random::Random;

/// What is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Busy {
    /// Length, bins, rate, load and combs; its unrelated bursts are not used. `width_s` is that of a spike.
    pub scenario: Scenario,
    /// Unrelated bursts.
    pub bursts: usize,
    /// Slow stretches.
    pub stretches: usize,
    /// Share of the bursts that fall into a slow stretch.
    pub crowded: f64,
    /// Spikes fail, or make clients give up; else they are only slow.
    pub failing: bool,
}

impl Default for Busy {
    /// An hour at 26 requests/s; spikes of 1.7 s every 600 s.
    fn default() -> Self {
        Self {
            scenario: Scenario {
                rate: 26.0,
                width_s: 1.7,
                combs: vec![Teeth { jitter: 0.005, ..Teeth::every(600.0) }],
                ..Scenario::default()
            },
            bursts: 35,
            stretches: 8,
            crowded: 0.5,
            failing: true,
        }
    }
}

/// What one metric sees.
struct Facet {
    /// Ordinary share of bad requests.
    ordinary: f64,
    /// Share of requests that spikes and bursts make bad.
    share: f64,
    /// Share of the unrelated bursts that it sees.
    bursts: f64,
    /// Of the share of bad requests in a slow stretch, what it sees.
    stretches: f64,
}

const SLOW: Facet = Facet { ordinary: 0.01, share: 0.8, bursts: 1.0, stretches: 1.0 };
const FAILED: Facet = Facet { ordinary: 1e-4, share: 0.5, bursts: 0.5, stretches: 0.0 };
const GIVEN_UP: Facet = Facet { ordinary: 1e-4, share: 0.4, bursts: 0.6, stretches: 0.0 };

/// Makes the series of slow requests, of failed ones and of those given up; without `failing` of slow ones alone.
pub fn make(busy: &Busy, random: &mut Random) -> Vec<Made> {
    let scenario = &busy.scenario;
    let horizon_s = scenario.horizon_s;
    let bins = (horizon_s / scenario.bin_s).round() as usize;
    let load = load(scenario, bins, random);
    let spikes_s: Vec<Vec<f64>> = scenario.combs.iter().map(|comb| comb.onsets(horizon_s, random)).collect();
    let stretches: Vec<Pulse> = (0..busy.stretches)
        .map(|_| Pulse {
            onset_s: random.uniform() * horizon_s,
            width_s: 20.0 + 80.0 * random.uniform(),
            share: 0.05 + 0.45 * random.uniform(),
        })
        .collect();
    let bursts: Vec<Pulse> = (0..busy.bursts)
        .map(|_| {
            let crowded = !stretches.is_empty() && random.uniform() < busy.crowded;
            let onset_s = if crowded {
                let stretch = stretches[random.below(stretches.len())];
                stretch.onset_s + random.uniform() * stretch.width_s
            } else {
                random.uniform() * horizon_s
            };
            Pulse {
                onset_s,
                width_s: 0.2 * 25f64.powf(random.uniform()),
                share: 0.2 + 0.7 * random.uniform(),
            }
        })
        .filter(|pulse| pulse.onset_s < horizon_s)
        .collect();
    let facets: &[Facet] = if busy.failing { &[SLOW, FAILED, GIVEN_UP] } else { &[SLOW] };
    let one = |facet: &Facet| {
        let mut pulses: Vec<Pulse> = spikes_s
            .iter()
            .flatten()
            .map(|&onset_s| Pulse { onset_s, width_s: scenario.width_s, share: facet.share })
            .collect();
        let seen: Vec<Pulse> = bursts.iter().filter(|_| random.uniform() < facet.bursts).copied().collect();
        pulses.extend(seen.iter().map(|pulse| Pulse { share: pulse.share * facet.share, ..*pulse }));
        pulses.extend(stretches.iter().map(|pulse| Pulse { share: pulse.share * facet.stretches, ..*pulse }));
        let of_facet = Scenario { ordinary_share: facet.ordinary, ..scenario.clone() };
        let (series, affected) = counted(&of_facet, &load, &pulses, random);
        let mut bursts_s: Vec<f64> = seen.iter().map(|pulse| pulse.onset_s).collect();
        bursts_s.sort_unstable_by(f64::total_cmp);
        Made { series, spikes_s: spikes_s.clone(), bursts_s, affected }
    };
    facets.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_sees_the_spikes_and_some_of_the_rest() {
        let made = make(&Busy::default(), &mut Random::new(3));
        assert_eq!(made.len(), 3);
        let again = make(&Busy::default(), &mut Random::new(3));
        for (one, other) in made.iter().zip(&again) {
            assert_eq!(one.series.bad, other.series.bad);
            let bad = |onset: &f64| {
                let from = (onset / 0.2) as usize;
                one.series.bad[from..(from + 10).min(one.series.bad.len())].iter().sum::<u32>()
            };
            assert!(one.spikes_s[0].iter().filter(|onset| **onset < 3598.0).all(|onset| bad(onset) > 3));
        }
        assert!(made[0].bursts_s.len() > made[1].bursts_s.len());
        let bad = |made: &Made| made.series.bad.iter().sum::<u32>();
        assert!(bad(&made[0]) > 2 * bad(&made[1]), "slow stretches are no failures");
        assert_eq!(make(&Busy { failing: false, ..Busy::default() }, &mut Random::new(3)).len(), 1);
    }
}
