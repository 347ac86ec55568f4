//! What others look for periods with, each as a statistic and the period where it is largest.
//!
//! All get the same periods. Those at the level of requests or bins get bad requests by second; Rayleigh, H and RITA's
//! formula the episodes' onsets. Their thresholds are simulated like the comb's: none of their closed formulas holds here.

use std::f64::consts::TAU;

use retrospan_analyzer::periodicity::Series;

/// A statistic and its period, s.
pub type Peak = (f64, f64);

/// The names, in the order of `all`.
pub const NAMES: [&str; 6] = ["Rayleigh (ep.)", "H-test (ep.)", "RITA (ep.)", "FFT", "ACF", "BLS"];

/// Every baseline on one series and its episodes (onsets in s).
pub fn all(series: &Series, onsets: &[f64], shortest: f64, longest: f64) -> [Peak; 6] {
    let horizon = series.total.len() as f64 * series.bin_ns as f64 * 1e-9;
    let seconds = by_second(series);
    let periods: Vec<f64> = {
        let step = 1.0 / (8.0 * horizon);
        let count = ((1.0 / shortest - 1.0 / longest) / step) as usize;
        (0..=count).map(|index| 1.0 / (1.0 / longest + index as f64 * step)).collect()
    };
    [
        longest_of(periods.iter().map(|&period| (rayleigh(onsets, period), period)).collect()),
        longest_of(periods.iter().map(|&period| (h_test(onsets, period), period)).collect()),
        rita(onsets),
        longest_of(periods.iter().map(|&period| (power(&seconds, period), period)).collect()),
        autocorrelation(&seconds, shortest, longest),
        longest_of(periods.iter().map(|&period| (box_search(&seconds, horizon, period), period)).collect()),
    ]
}

/// Seconds with bad requests: time and number.
fn by_second(series: &Series) -> Vec<(f64, f64)> {
    let width = (1_000_000_000 / series.bin_ns).max(1) as usize;
    let sums = series.bad.chunks(width).map(|bins| bins.iter().map(|&bad| f64::from(bad)).sum::<f64>());
    sums.enumerate().filter(|(_, bad)| *bad > 0.0).map(|(at, bad)| (at as f64 + 0.5, bad)).collect()
}

/// The largest; of those within 2 % of it the longest period, as harmonics of sharp spikes are all equal.
fn longest_of(peaks: Vec<Peak>) -> Peak {
    let most = peaks.iter().map(|peak| peak.0).fold(f64::NEG_INFINITY, f64::max);
    let best = peaks.into_iter().filter(|peak| peak.0 >= 0.98 * most).max_by(|a, b| a.1.total_cmp(&b.1));
    (most, best.map_or(0.0, |peak| peak.1))
}

fn vector(onsets: &[f64], frequency: f64) -> f64 {
    let (sin, cos) = onsets.iter().fold((0.0, 0.0), |(sin, cos), onset| {
        let phase = TAU * onset * frequency;
        (sin + phase.sin(), cos + phase.cos())
    });
    (sin * sin + cos * cos) / onsets.len().max(1) as f64
}

fn rayleigh(onsets: &[f64], period: f64) -> f64 {
    vector(onsets, 1.0 / period)
}

/// de Jager 1989, twenty harmonics.
fn h_test(onsets: &[f64], period: f64) -> f64 {
    let mut sum = 0.0;
    let mut most = f64::NEG_INFINITY;
    for harmonic in 1..=20 {
        sum += 2.0 * vector(onsets, f64::from(harmonic) / period);
        most = most.max(sum - 4.0 * f64::from(harmonic) + 4.0);
    }
    most
}

/// The score of RITA's beacon analysis for times: Bowley's skewness and the median deviation of intervals.
fn rita(onsets: &[f64]) -> Peak {
    let mut intervals: Vec<f64> = onsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if intervals.len() < 3 {
        return (0.0, 0.0);
    }
    intervals.sort_unstable_by(f64::total_cmp);
    let quantile = |values: &[f64], part: f64| {
        let at = part * (values.len() - 1) as f64;
        let low = values[at as usize];
        low + (values[(at as usize + 1).min(values.len() - 1)] - low) * at.fract()
    };
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(&intervals, part));
    let skew = if high - low < 10.0 || middle == low || middle == high {
        0.0
    } else {
        (low + high - 2.0 * middle) / (high - low)
    };
    let mut deviations: Vec<f64> = intervals.iter().map(|interval| (interval - middle).abs()).collect();
    deviations.sort_unstable_by(f64::total_cmp);
    let scatter = ((middle - quantile(&deviations, 0.5)) / middle).max(0.0);
    ((1.0 - skew.abs() + scatter) / 2.0, middle)
}

fn power(seconds: &[(f64, f64)], period: f64) -> f64 {
    let (sin, cos) = seconds.iter().fold((0.0, 0.0), |(sin, cos), (at, bad)| {
        let phase = TAU * at / period;
        (sin + bad * phase.sin(), cos + bad * phase.cos())
    });
    let total: f64 = seconds.iter().map(|second| second.1 * second.1).sum();
    (sin * sin + cos * cos) / total.max(1.0)
}

/// Largest autocorrelation of the counts by second, the mean taken off.
fn autocorrelation(seconds: &[(f64, f64)], shortest: f64, longest: f64) -> Peak {
    let mut products = vec![0.0; longest as usize + 2];
    for (index, (at, bad)) in seconds.iter().enumerate() {
        for (other, more) in &seconds[index + 1..] {
            let lag = (other - at) as usize;
            if lag >= products.len() {
                break;
            }
            products[lag] += bad * more;
        }
    }
    let zero: f64 = seconds.iter().map(|second| second.1 * second.1).sum();
    let peaks = (shortest as usize..=longest as usize).map(|lag| (products[lag] / zero.max(1.0), lag as f64));
    longest_of(peaks.collect())
}

/// Box least squares in its Poisson form: the best box of three widths in the folded counts.
fn box_search(seconds: &[(f64, f64)], horizon: f64, period: f64) -> f64 {
    const PARTS: usize = 200;
    let mut folded = [0.0; 2 * PARTS];
    let all: f64 = seconds.iter().map(|second| second.1).sum();
    for (at, bad) in seconds {
        let part = ((at / period).fract() * PARTS as f64) as usize % PARTS;
        folded[part] += bad;
        folded[part + PARTS] += bad;
    }
    // Phase bins within a recording that is no whole number of periods are seen unequally often.
    let exposure = |part: usize| ((horizon / period - part as f64 / PARTS as f64).floor() + 1.0).max(1.0);
    let mut most = 0.0f64;
    for width in [2, 4, 10] {
        for start in 0..PARTS {
            let inside: f64 = folded[start..start + width].iter().sum();
            let exposed: f64 = (start..start + width).map(|part| exposure(part % PARTS)).sum();
            let expected = all * exposed * period / PARTS as f64 / horizon;
            if inside > expected {
                let rest = all - inside;
                let left = if rest > 0.0 { rest * (rest / (all - expected)).ln() } else { 0.0 };
                most = most.max(inside * (inside / expected).ln() + left);
            }
        }
    }
    most
}
