//! One comb against the events: how likely it makes them, and the best one near it.

use std::f64::consts::TAU;

use super::{Comb, REACH, Search, Trial};

/// Refitting to the events seldom gains more than this.
const CLIMB: f64 = 4.0;

/// The nearest whole number of something below 2^51 (`round` is a call where the processor's own is not assumed).
fn nearest(value: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    (value + SHIFT) - SHIFT
}

impl Search {
    /// No comb with so many events within reach scores higher.
    pub(super) fn bound(&self, period: f64, sigma: f64, hits: usize, teeth: f64) -> f64 {
        let hits = hits as f64;
        let q = (hits / teeth).min(0.999);
        let background = (self.times.len() as f64 - hits).max(0.3) / self.horizon;
        let peak = q / (sigma * TAU.sqrt());
        let llr = hits * (background + peak).ln()
            + (self.times.len() as f64 - hits) * (background + peak * 0.011_109).ln()
            + (teeth - hits).max(0.0) * (1.0 - q).ln()
            - background * self.horizon
            - self.null;
        // The hits on neighbouring teeth leave most of the prior.
        let spread = hits * (hits * hits - 1.0) / 12.0;
        llr + self.prior.0
            * ((TAU * sigma * sigma / (hits * spread).sqrt() / (period * period)).ln() + self.prior.1)
    }

    /// From a place on the grid to the top near it: refits phase, then period and phase, to the events within reach.
    pub(super) fn climb(&self, period: f64, phase: f64, sigma: f64, enough: f64) -> Option<Trial> {
        let mut best = self.evaluate(period, phase, sigma)?;
        if best.score < enough - CLIMB {
            return None;
        }
        for _ in 0..3 {
            let Some((period, phase)) = self.refit(&best) else { break };
            if period > self.longest * 1.01 || period < self.shortest * 0.99 {
                break;
            }
            let Some(next) = self.evaluate(period, phase, sigma) else { break };
            if next.score <= best.score + 1e-6 {
                break;
            }
            best = next;
        }
        self.is_asked_for(&best).then_some(best)
    }

    /// Whether the hits themselves keep a period that was asked for: a wide comb at an end of the range also holds those of
    /// a period beyond it.
    fn is_asked_for(&self, trial: &Trial) -> bool {
        let swing = 2.0 * REACH * trial.sigma / (trial.hits as f64 - 1.0);
        if trial.period - swing >= self.asked.0 && trial.period + swing <= self.asked.1 {
            return true;
        }
        let Some((period, phase)) = self.refit(trial) else { return true };
        let (mut n, mut squares, mut sum_j, mut sum_jj) = (0.0, 0.0, 0.0, 0.0);
        self.residuals(trial.period, trial.phase, |tooth, residual, index| {
            if residual.abs() <= REACH * trial.sigma {
                n += 1.0;
                squares += (self.times[index] - phase - tooth * period).powi(2);
                sum_j += tooth;
                sum_jj += tooth * tooth;
            }
        });
        let sigma = (squares / (n - 2.0f64).max(1.0)).sqrt().max(self.floor / 12.0f64.sqrt());
        let margin = 2.0 * sigma / (sum_jj - sum_j * sum_j / n).sqrt();
        period + margin >= self.asked.0 && period - margin <= self.asked.1
    }

    /// Least squares of the hits' times on their teeth.
    fn refit(&self, trial: &Trial) -> Option<(f64, f64)> {
        let (mut n, mut sum_j, mut sum_t) = (0.0, 0.0, 0.0);
        let (mut sum_jj, mut sum_jt) = (0.0, 0.0);
        for &time in &self.times {
            let tooth = nearest((time - trial.phase) / trial.period);
            if (time - trial.phase - tooth * trial.period).abs() <= REACH * trial.sigma {
                n += 1.0;
                sum_j += tooth;
                sum_t += time;
                sum_jj += tooth * tooth;
                sum_jt += tooth * time;
            }
        }
        let spread = sum_jj - sum_j * sum_j / n;
        if n < 3.0 || spread < 0.5 {
            return None;
        }
        let period = (sum_jt - sum_j * sum_t / n) / spread;
        (period > 0.0).then(|| (period, (sum_t - period * sum_j) / n))
    }

    /// Calls `each` with tooth, distance and index of every event that is the nearest of its tooth, and with NaN for the
    /// distance of the others.
    fn residuals(&self, period: f64, phase: f64, mut each: impl FnMut(f64, f64, usize)) {
        let inverse = 1.0 / period;
        let mut held: Option<(f64, f64, usize)> = None;
        for (index, &time) in self.times.iter().enumerate() {
            let tooth = nearest((time - phase) * inverse);
            let residual = time - phase - tooth * period;
            match held {
                Some((of, distance, _)) if of == tooth && distance.abs() <= residual.abs() => {
                    each(tooth, f64::NAN, index);
                }
                Some((of, distance, at)) => {
                    each(of, if of == tooth { f64::NAN } else { distance }, at);
                    held = Some((tooth, residual, index));
                }
                None => held = Some((tooth, residual, index)),
            }
        }
        if let Some((tooth, distance, index)) = held {
            each(tooth, distance, index);
        }
    }

    fn evaluate(&self, period: f64, phase: f64, sigma: f64) -> Option<Trial> {
        let reach = REACH * sigma;
        let first = (-phase / period).ceil();
        let last = ((self.horizon - phase) / period).floor();
        let mut teeth = (last - first + 1.0).max(0.0);
        let (mut hits, mut sum_j, mut sum_jj) = (0.0, 0.0, 0.0);
        let (mut lowest, mut highest) = (first, last);
        self.residuals(period, phase, |tooth, residual, _| {
            if residual.abs() <= reach {
                hits += 1.0;
                sum_j += tooth;
                sum_jj += tooth * tooth;
                lowest = lowest.min(tooth);
                highest = highest.max(tooth);
            }
        });
        // A tooth just outside whose event came just inside.
        teeth += (first - lowest) + (highest - last);
        if hits < 3.0 || hits < self.min_share * teeth {
            return None;
        }
        let q = (hits / teeth).min(0.999);
        let background = (self.times.len() as f64 - hits).max(0.3) / self.horizon;
        let peak = q / (sigma * TAU.sqrt());
        let alone = background.ln();
        let mut llr = (teeth - hits).max(0.0) * (1.0 - q).ln() - background * self.horizon - self.null;
        self.residuals(period, phase, |_, residual, _| {
            let z = residual / sigma;
            // Not `>`: a second event of a tooth has no distance.
            llr += if z.abs() < 6.0 { (background + peak * (-0.5 * z * z).exp()).ln() } else { alone };
        });
        let spread = sum_jj - sum_j * sum_j / hits;
        let left = TAU * sigma * sigma / (hits * spread).sqrt() / (period * period);
        let score = llr + self.prior.0 * (left.ln() + self.prior.1);
        Some(Trial { period, phase, sigma, llr, score, hits: hits as usize, teeth: teeth as usize })
    }

    pub(super) fn comb(&self, trial: &Trial, score: f64) -> Comb {
        let mut phase = trial.phase;
        let first = (-phase / trial.period).ceil();
        let mut hits: Vec<(f64, usize)> = Vec::with_capacity(trial.hits);
        self.residuals(trial.period, phase, |tooth, residual, index| {
            if residual.abs() <= REACH * trial.sigma {
                hits.push((tooth, index));
            }
        });
        let zero = hits.first().map_or(first, |hit| hit.0.min(first));
        phase += zero * trial.period;
        Comb {
            period_ns: trial.period * 1e9,
            phase_ns: phase * 1e9,
            sigma_ns: trial.sigma * 1e9,
            q: hits.len() as f64 / trial.teeth.max(1) as f64,
            llr: trial.llr,
            score,
            teeth: trial.teeth,
            hits: hits.into_iter().map(|(tooth, index)| ((tooth - zero) as usize, index)).collect(),
            gap_ns: 0,
        }
    }
}
