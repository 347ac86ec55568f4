//! Made series with known spikes, or with everything that only looks like them. The same seed gives the same series.
//!
//! A scenario is a stream of requests (rate, load over time, ordinary share of bad ones), combs of spikes, and unrelated
//! bursts. A spike makes a share of the requests that start within its width bad.

pub mod busy;

use std::f64::consts::TAU;

use retrospan_random::Random;

/// How the request rate changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Not at all.
    Even,
    /// A wave over the recording, between 0.4 and 1.6 of the mean.
    Diurnal,
    /// From a third to five thirds of the mean: five times as much in the end.
    Ramp,
    /// On and off, with exponential times of this mean, s; a tenth of the rate when off.
    OnOff(f64),
}

/// What makes ordinary requests bad now and then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ordinary {
    /// A latency distribution with a fixed tail beyond the threshold: lognormal, say.
    Steady,
    /// Pareto service times: one slow request holds up those behind it, a geometric number with this mean.
    HeavyTail(f64),
    /// The share is modulated by an autoregressive process: time constant, s, and standard deviation of its logarithm.
    Red(f64, f64),
    /// The share is so many times as high after the middle.
    Step(f64),
}

/// How a spike runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Nothing completes: every request of the width is bad at once (by start).
    Freeze,
    /// Slow for the width; like errors for the width.
    Box,
    /// From none to all of the share over the width.
    Ramp,
}

/// A comb of spikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Teeth {
    /// Period, s.
    pub period_s: f64,
    /// Standard deviation of a spike around its tooth, or of an interval, as a share of the period.
    pub jitter: f64,
    /// Deviations add up: a free-running timer.
    pub free_running: bool,
    /// Share of teeth that do not fire.
    pub missing: f64,
    /// Growth of the period over the recording, as a share.
    pub drift: f64,
}

/// Bursts that follow no comb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unrelated {
    /// So many, anywhere.
    Number(usize),
    /// A random number with this mean, anywhere.
    Poisson(f64),
    /// So many pairs, the second of each 15 to 75 s after the first.
    Pairs(usize),
    /// Each causes others, half a one on average, within a minute or so.
    Hawkes(f64),
    /// Gamma intervals with this mean, s, and shape.
    Renewal(f64, f64),
    /// So many, in proportion to load.
    WithLoad(usize),
    /// One of a hundred times the width.
    Huge,
}

/// What is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Length of the recording, s.
    pub horizon_s: f64,
    /// Length of a bin, s.
    pub bin_s: f64,
    /// Requests a second.
    pub rate: f64,
    /// How that changes.
    pub load: Load,
    /// Share of requests that are bad without a spike.
    pub ordinary_share: f64,
    /// What makes them so.
    pub ordinary: Ordinary,
    /// Combs.
    pub combs: Vec<Teeth>,
    /// How a spike runs.
    pub shape: Shape,
    /// How long, s.
    pub width_s: f64,
    /// Share of requests that a spike makes bad.
    pub share: f64,
    /// Other bursts.
    pub unrelated: Vec<Unrelated>,
}

impl Default for Scenario {
    /// An hour at 10 requests/s, of which 0.5 % are bad; spikes of 5 s that make 80 % bad; no comb, no burst.
    fn default() -> Self {
        Self {
            horizon_s: 3600.0,
            bin_s: 0.2,
            rate: 10.0,
            load: Load::Even,
            ordinary_share: 0.005,
            ordinary: Ordinary::Steady,
            combs: Vec::new(),
            shape: Shape::Box,
            width_s: 5.0,
            share: 0.8,
            unrelated: Vec::new(),
        }
    }
}

impl Teeth {
    /// A clean clock.
    pub fn every(period_s: f64) -> Self {
        Self { period_s, jitter: 0.0, free_running: false, missing: 0.0, drift: 0.0 }
    }

    /// Onsets within the recording, s.
    pub fn onsets(&self, horizon_s: f64, random: &mut Random) -> Vec<f64> {
        let mut onsets = Vec::new();
        let mut tooth = random.uniform() * self.period_s;
        while tooth < horizon_s + self.period_s {
            let deviation = self.jitter * self.period_s * random.normal();
            let onset = if self.free_running { tooth } else { tooth + deviation };
            if random.uniform() >= self.missing && (0.0..horizon_s).contains(&onset) {
                onsets.push(onset);
            }
            let period_s = self.period_s * (1.0 + self.drift * (tooth / horizon_s - 0.5));
            tooth += (period_s + if self.free_running { deviation } else { 0.0 }).max(0.01 * self.period_s);
        }
        onsets.sort_unstable_by(f64::total_cmp);
        onsets
    }
}

/// Requests in equal bins.
#[derive(Clone, Debug, Default)]
pub struct Bins {
    /// Length of a bin.
    pub bin_ns: i64,
    /// Requests of each bin.
    pub total: Vec<u32>,
    /// Bad ones among them.
    pub bad: Vec<u32>,
    /// What requests took beyond the ordinary, summed; may be empty.
    pub excess_ns: Vec<f64>,
}

/// A made series, and what is in it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The series.
    pub series: Bins,
    /// Begin of every spike, by comb, s.
    pub spikes_s: Vec<Vec<f64>>,
    /// Begin of every other burst, s.
    pub bursts_s: Vec<f64>,
    /// Bad requests that are there only because of spikes and bursts.
    pub affected: u64,
}

/// A stretch in which requests are bad that else were not.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    onset_s: f64,
    width_s: f64,
    share: f64,
}

/// Makes a series.
pub fn make(scenario: &Scenario, random: &mut Random) -> Made {
    let bins = (scenario.horizon_s / scenario.bin_s).round() as usize;
    let load = load(scenario, bins, random);
    let spikes_s: Vec<_> =
        scenario.combs.iter().map(|comb| comb.onsets(scenario.horizon_s, random)).collect();
    let mut bursts_s = Vec::new();
    let pulse = |onset_s: f64, width_s: f64| Pulse { onset_s, width_s, share: scenario.share };
    let mut pulses: Vec<Pulse> =
        spikes_s.iter().flatten().map(|&onset| pulse(onset, scenario.width_s)).collect();
    for unrelated in &scenario.unrelated {
        let onsets = bursts(*unrelated, scenario, &load, random);
        let width_s = scenario.width_s * if *unrelated == Unrelated::Huge { 100.0 } else { 1.0 };
        pulses.extend(onsets.iter().map(|&onset| pulse(onset, width_s)));
        bursts_s.extend(onsets);
    }
    let (series, affected) = counted(scenario, &load, &pulses, random);
    bursts_s.sort_unstable_by(f64::total_cmp);
    Made { series, spikes_s, bursts_s, affected }
}

/// Requests with those pulses, and how many of them are bad because of them.
fn counted(scenario: &Scenario, load: &[f64], pulses: &[Pulse], random: &mut Random) -> (Bins, u64) {
    let bins = load.len();
    let mut raised = vec![0.0f64; bins];
    for &Pulse { onset_s: onset, width_s, share } in pulses {
        let first = (onset / scenario.bin_s).floor() as usize;
        let last = ((onset + width_s) / scenario.bin_s).ceil() as usize;
        for (bin, raised) in raised.iter_mut().enumerate().take(last).skip(first) {
            // The share of the bin that lies within the pulse.
            let from = (bin as f64 * scenario.bin_s).max(onset);
            let to = ((bin + 1) as f64 * scenario.bin_s).min(onset + width_s);
            let height = match scenario.shape {
                Shape::Freeze | Shape::Box => 1.0,
                Shape::Ramp => ((from + to) / 2.0 - onset) / width_s,
            };
            *raised = raised.max(share * height * (to - from).max(0.0) / scenario.bin_s);
        }
    }
    let ordinary = ordinary(scenario, bins, random);
    let mut series = Bins { bin_ns: (scenario.bin_s * 1e9) as i64, ..Bins::default() };
    let (mut affected, mut held) = (0, 0u32);
    for bin in 0..bins {
        let total = random.poisson(scenario.rate * load[bin] * scenario.bin_s);
        let spiked = random.binomial(total, raised[bin]);
        let mut bad = random.binomial(total - spiked, ordinary[bin]);
        if let Ordinary::HeavyTail(mean) = scenario.ordinary {
            // Each slow one leaves a queue that spills into the next bins.
            for _ in 0..bad {
                held += (mean * random.exponential()) as u32;
            }
            let late = held.min(total - spiked - bad);
            held -= late;
            bad += late;
        }
        affected += u64::from(spiked);
        series.total.push(total);
        series.bad.push(spiked + bad);
        series.excess_ns.push(f64::from(spiked + bad) * scenario.width_s * 0.5e9);
    }
    (series, affected)
}

/// The rate of each bin over its mean.
fn load(scenario: &Scenario, bins: usize, random: &mut Random) -> Vec<f64> {
    let mut on = true;
    let mut left = 0.0;
    (0..bins)
        .map(|bin| {
            let part = bin as f64 / bins as f64;
            match scenario.load {
                Load::Even => 1.0,
                Load::Diurnal => 1.0 + 0.6 * (TAU * part).sin(),
                Load::Ramp => (1.0 + 4.0 * part) / 3.0,
                Load::OnOff(mean_s) => {
                    left -= scenario.bin_s;
                    if left <= 0.0 {
                        on = !on;
                        left = mean_s * random.exponential();
                    }
                    if on { 1.8 } else { 0.2 }
                }
            }
        })
        .collect()
}

/// The share of bad requests of each bin without spikes.
fn ordinary(scenario: &Scenario, bins: usize, random: &mut Random) -> Vec<f64> {
    let mut state = random.normal();
    (0..bins)
        .map(|bin| match scenario.ordinary {
            Ordinary::Steady | Ordinary::HeavyTail(_) => scenario.ordinary_share,
            Ordinary::Step(factor) => scenario.ordinary_share * if 2 * bin < bins { 1.0 } else { factor },
            Ordinary::Red(time_s, deviation) => {
                let kept = (-scenario.bin_s / time_s).exp();
                state = kept * state + (1.0 - kept * kept).sqrt() * random.normal();
                (scenario.ordinary_share * (deviation * state).exp()).min(0.9)
            }
        })
        .collect()
}

/// Onsets of unrelated bursts, s.
fn bursts(unrelated: Unrelated, scenario: &Scenario, load: &[f64], random: &mut Random) -> Vec<f64> {
    let horizon_s = scenario.horizon_s;
    let mut onsets: Vec<f64> = match unrelated {
        Unrelated::Number(count) => (0..count).map(|_| random.uniform() * horizon_s).collect(),
        Unrelated::Poisson(mean) => (0..random.poisson(mean)).map(|_| random.uniform() * horizon_s).collect(),
        Unrelated::Pairs(count) => (0..count)
            .flat_map(|_| {
                let first = random.uniform() * horizon_s;
                [first, first + 15.0 + 60.0 * random.uniform()]
            })
            .collect(),
        Unrelated::Hawkes(mean) => {
            let mut onsets: Vec<f64> =
                (0..random.poisson(mean / 2.0)).map(|_| random.uniform() * horizon_s).collect();
            let mut parent = 0;
            while parent < onsets.len() {
                for _ in 0..random.poisson(0.5) {
                    onsets.push(onsets[parent] + 60.0 * random.exponential());
                }
                parent += 1;
            }
            onsets
        }
        Unrelated::Renewal(mean_s, shape) => {
            // Begun long before the recording.
            let mut at = -20.0 * mean_s * random.uniform() - 20.0 * mean_s;
            std::iter::from_fn(|| {
                at += mean_s * random.gamma(shape);
                (at < horizon_s).then_some(at)
            })
            .collect()
        }
        Unrelated::WithLoad(count) => {
            let highest = load.iter().copied().fold(0.0, f64::max);
            let mut onsets = Vec::new();
            while onsets.len() < count {
                let part = random.uniform();
                if random.uniform() * highest < load[(part * load.len() as f64) as usize] {
                    onsets.push(part * horizon_s);
                }
            }
            onsets
        }
        Unrelated::Huge => vec![random.uniform() * (horizon_s - 100.0 * scenario.width_s).max(0.0)],
    };
    onsets.retain(|onset| (0.0..horizon_s).contains(onset));
    onsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_series() {
        let scenario = Scenario {
            combs: vec![Teeth { jitter: 0.01, missing: 0.2, ..Teeth::every(600.0) }],
            unrelated: vec![Unrelated::Hawkes(5.0), Unrelated::Pairs(2)],
            load: Load::OnOff(100.0),
            ordinary: Ordinary::Red(60.0, 1.0),
            ..Scenario::default()
        };
        let [first, again, other] = [3, 3, 4].map(|seed| make(&scenario, &mut Random::new(seed)));
        assert_eq!(first.series.bad, again.series.bad);
        assert_ne!(first.series.bad, other.series.bad);
        assert_eq!(first.series.total.len(), 18_000);
    }

    #[test]
    fn spikes_raise_the_share_where_they_are() {
        let scenario = Scenario { rate: 1000.0, combs: vec![Teeth::every(600.0)], ..Scenario::default() };
        let made = make(&scenario, &mut Random::new(1));
        let bad = |from_s: f64| {
            let from = (from_s / scenario.bin_s) as usize + 1;
            let share = |counts: &[u32]| counts[from..from + 20].iter().sum::<u32>();
            f64::from(share(&made.series.bad)) / f64::from(share(&made.series.total))
        };
        assert_eq!(made.spikes_s[0].len(), 6);
        for &at in &made.spikes_s[0] {
            assert!((bad(at) - 0.8).abs() < 0.03, "{}", bad(at));
            assert!(bad((at + 300.0) % 3500.0) < 0.02);
        }
    }
}
