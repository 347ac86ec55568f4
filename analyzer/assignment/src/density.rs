//! Delays in, a probability density out.
//!
//! Delays of programs have several modes and long tails, so they are smoothed on a logarithmic scale, `ln(1 + |x| / unit)` to
//! both sides of zero. The width of the kernel is the one under which each delay is best predicted by the others
//! (leave-one-out likelihood); nothing is assumed of the shape.

use crate::record::mix;

/// Bins a nat.
const PER_NAT: f64 = 24.0;
/// The longest delay that is told from longer ones, ns.
const LONGEST_NS: f64 = 100e9;
/// Widths of the kernel that are tried, in bins to each side of one of three boxes.
const HALF_WIDTHS: [usize; 6] = [0, 1, 2, 4, 8, 14];
/// Share of the widest kernel, for what lies between and beyond the modes.
const WIDE: f64 = 0.1;
/// How many delays the flat density under all others is worth.
const FLAT_WEIGHT: f64 = 1.0;
/// How many delays the density of their kind is worth.
const KIND_WEIGHT: f64 = 5.0;
/// Share of the flat density below zero.
const FLAT_NEGATIVE: f64 = 0.02;

/// How delays are laid on bins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    unit_ns: f64,
    ln_unit: f64,
    /// The bin of delay 0, also the number of bins to each side.
    zero: usize,
}

impl Scale {
    /// `resolution_ns`: the step of the clock. Shorter delays than that are alike.
    pub fn new(resolution_ns: i64) -> Scale {
        let unit_ns = resolution_ns.max(1) as f64;
        let nats = (LONGEST_NS / unit_ns).max(1.0).ln_1p();
        Scale { unit_ns, ln_unit: unit_ns.ln(), zero: (nats * PER_NAT) as usize + 2 }
    }

    fn bins(&self) -> usize {
        2 * self.zero + 1
    }

    /// The bin, and `ln(1 + |x| / unit)`.
    fn position(&self, delay_ns: f64) -> (f64, f64) {
        let nats = (1.0 + delay_ns.abs() / self.unit_ns).ln();
        let position = self.zero as f64 + (nats * PER_NAT).copysign(delay_ns);
        (position.clamp(0.0, (self.bins() - 2) as f64), nats)
    }

    /// The flat density, an integral of one over all bins, a bin.
    fn flat(&self, bin: usize) -> f64 {
        let share = if bin < self.zero { FLAT_NEGATIVE } else { 1.0 - FLAT_NEGATIVE };
        share / self.zero as f64
    }
}

/// Weighted delays.
#[derive(Clone, Debug)]
pub struct Histogram {
    scale: Scale,
    bins: Vec<f32>,
    weight: f64,
    /// Sum of `ln |dx / dy|`, which turns densities a nat into densities a ns.
    jacobian: f64,
}

impl Histogram {
    /// No delays.
    pub fn new(scale: Scale) -> Histogram {
        Histogram { scale, bins: Vec::new(), weight: 0.0, jacobian: 0.0 }
    }

    /// Adds a delay. It is spread over the step of the clock, alike for the same `seed`.
    pub fn add(&mut self, delay_ns: i64, seed: i64, weight: f64) {
        let spread = (mix(0, seed as u64) >> 40) as f64 / (1_u64 << 24) as f64 - 0.5;
        let delay = delay_ns as f64;
        let (position, _) = self.scale.position(delay + spread * self.scale.unit_ns);
        let nats = (1.0 + delay.abs() / self.scale.unit_ns).ln();
        if self.bins.is_empty() {
            self.bins = vec![0.0; self.scale.bins()];
        }
        let (bin, part) = (position as usize, position.fract());
        self.bins[bin] += (weight * (1.0 - part)) as f32;
        self.bins[bin + 1] += (weight * part) as f32;
        self.weight += weight;
        self.jacobian += weight * (nats + self.scale.ln_unit);
    }

    /// How many delays there are.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Makes it worth `weight` delays, if it is worth more.
    pub fn scale_to(&mut self, weight: f64) {
        let factor = weight / self.weight.max(1e-9);
        if factor < 1.0 {
            self.bins.iter_mut().for_each(|bin| *bin *= factor as f32);
            self.weight *= factor;
            self.jacobian *= factor;
        }
    }

    /// Takes out what is there by chance: `chance` tells how many delays between two are. What is less than `deviations`
    /// standard deviations above that is no excess. Returns how much the excess tells, nats.
    pub fn subtract_chance(&mut self, chance: impl Fn(f64, f64) -> f64, deviations: f64) -> f64 {
        /// Bins that are judged together.
        const TOGETHER: usize = 4;
        let delay = |bin: usize| ((bin as f64 - self.scale.zero as f64) / PER_NAT).exp() - 1.0;
        let unit_ns = self.scale.unit_ns;
        let (mut gain, mut weight) = (0.0, 0.0);
        let first = self.scale.zero.min(self.bins.len());
        self.bins[..first].fill(0.0);
        for (at, bins) in self.bins[first..].chunks_mut(TOGETHER).enumerate() {
            let bin = first + at * TOGETHER;
            let from_ns = (delay(bin) * unit_ns - unit_ns / 2.0).max(0.0);
            let until_ns = delay(bin + TOGETHER) * unit_ns - unit_ns / 2.0;
            let (expected, found) =
                (chance(from_ns, until_ns).max(0.01), f64::from(bins.iter().sum::<f32>()));
            let excess = found - expected;
            if excess > deviations * expected.sqrt() && excess > 1.0 {
                gain += found * (found / expected).ln() - excess;
                weight += excess;
                bins.iter_mut().for_each(|bin| *bin *= (excess / found) as f32);
            } else {
                bins.fill(0.0);
            }
        }
        self.weight = weight;
        gain
    }

    /// Share of the delays below zero.
    pub fn negative_share(&self) -> f64 {
        let negative: f32 = self.bins.iter().take(self.scale.zero.saturating_sub(1)).sum();
        f64::from(negative) / self.weight.max(1e-9)
    }

    /// The mean on the logarithmic scale.
    pub fn mean_position(&self) -> f64 {
        let sum: f64 = self.bins.iter().zip(0..).map(|(&bin, at)| f64::from(bin) * f64::from(at)).sum();
        sum / self.weight.max(1e-9)
    }

    /// Adds the delays of `other`.
    pub fn merge(&mut self, other: &Histogram) {
        if other.bins.is_empty() {
            return;
        }
        if self.bins.is_empty() {
            self.bins = vec![0.0; self.scale.bins()];
        }
        self.bins.iter_mut().zip(&other.bins).for_each(|(bin, &more)| *bin += more);
        self.weight += other.weight;
        self.jacobian += other.jacobian;
    }

    /// Takes the delays of `other` out.
    pub fn subtract(&mut self, other: &Histogram) {
        if other.bins.is_empty() || self.bins.is_empty() {
            return;
        }
        self.bins.iter_mut().zip(&other.bins).for_each(|(bin, &less)| *bin = (*bin - less).max(0.0));
        self.weight = (self.weight - other.weight).max(0.0);
        self.jacobian -= other.jacobian;
        if self.weight < 1e-6 {
            *self = Histogram::new(self.scale);
        }
    }

    /// The best density for these delays, and its leave-one-out log likelihood in nats (densities a ns).
    pub fn fit(&self) -> (Density, f64) {
        self.fit_over(None)
    }

    /// The same, where few delays do not change much of what is known of their kind.
    pub fn fit_over(&self, kind: Option<&Density>) -> (Density, f64) {
        if self.weight < 1e-6 {
            return (kind.cloned().unwrap_or_else(|| Density::flat(self.scale)), 0.0);
        }
        let base = self.base(kind);
        let mut best = (f64::NEG_INFINITY, 0);
        for (at, &half) in HALF_WIDTHS.iter().enumerate() {
            let smoothed = Smoothed::new(&self.bins, half);
            let score = self.leave_one_out(&smoothed, &base);
            if score > best.0 {
                best = (score, at);
            } else if at > best.1 + 1 {
                break;
            }
        }
        let mixed = self.smoothed(best.1);
        let score = self.leave_one_out(&mixed, &base);
        (self.density(&mixed, best.1, &base), score - self.jacobian)
    }

    /// The density for these delays, as smooth as `like`.
    pub fn refit(&self, like: &Density, kind: Option<&Density>) -> Density {
        if self.weight < 1e-6 {
            return kind.cloned().unwrap_or_else(|| Density::flat(self.scale));
        }
        self.density(&self.smoothed(like.width), like.width, &self.base(kind))
    }

    fn smoothed(&self, width: usize) -> Smoothed {
        let wide = HALF_WIDTHS[(width + 3).min(HALF_WIDTHS.len() - 1)];
        Smoothed::new(&self.bins, HALF_WIDTHS[width]).mixed_with(&Smoothed::new(&self.bins, wide))
    }

    /// What is believed before the first delay, by bin, as many delays as that is worth.
    fn base(&self, kind: Option<&Density>) -> Vec<f64> {
        let flat = |bin| FLAT_WEIGHT * self.scale.flat(bin);
        let of_kind =
            |bin: usize| kind.map_or(0.0, |kind| KIND_WEIGHT * f64::from(kind.ln_a_nat[bin]).exp() / PER_NAT);
        (0..self.scale.bins()).map(|bin| flat(bin) + of_kind(bin)).collect()
    }

    fn density(&self, smoothed: &Smoothed, width: usize, base: &[f64]) -> Density {
        let total = self.weight + base.iter().sum::<f64>();
        let value = |bin: usize| (smoothed.at(bin) + base[bin]) / total * PER_NAT;
        Density::new(self.scale, width, (0..self.scale.bins()).map(value))
    }

    fn leave_one_out(&self, smoothed: &Smoothed, base: &[f64]) -> f64 {
        let total = (self.weight - 1.0).max(0.0) + base.iter().sum::<f64>();
        let occupied = smoothed.from.max(1)..smoothed.until.min(self.bins.len());
        occupied
            .filter(|&bin| self.bins[bin] > 0.0)
            .map(|bin| {
                let others = (smoothed.at(bin) - smoothed.peak).max(0.0) + base[bin];
                f64::from(self.bins[bin]) * (others / total * PER_NAT).ln()
            })
            .sum()
    }
}

/// Bins under a kernel of three boxes.
struct Smoothed {
    from: usize,
    until: usize,
    values: Vec<f64>,
    /// What one delay puts on its own bin.
    peak: f64,
}

impl Smoothed {
    fn new(bins: &[f32], half: usize) -> Smoothed {
        let first = bins.iter().position(|&bin| bin > 0.0).unwrap_or(0);
        let last = bins.iter().rposition(|&bin| bin > 0.0).unwrap_or(0);
        let from = first.saturating_sub(3 * half);
        let until = (last + 3 * half + 1).min(bins.len());
        let mut values: Vec<f64> = bins[from..until].iter().map(|&bin| f64::from(bin)).collect();
        let mut single = vec![0.0; 6 * half + 1];
        single[3 * half] = 1.0;
        for _ in 0..3 {
            values = boxed(&values, half);
            single = boxed(&single, half);
        }
        // A delay lies between two bins, so it puts about 2/3 of a kernel's peak where it is read.
        let peak = if half == 0 { 0.7 } else { single[3 * half] };
        Smoothed { from, until, values, peak }
    }

    fn at(&self, bin: usize) -> f64 {
        if bin < self.from { 0.0 } else { self.values.get(bin - self.from).copied().unwrap_or(0.0) }
    }

    fn mixed_with(&self, wide: &Smoothed) -> Smoothed {
        let (from, until) = (self.from.min(wide.from), self.until.max(wide.until));
        let values = (from..until).map(|bin| (1.0 - WIDE) * self.at(bin) + WIDE * wide.at(bin)).collect();
        Smoothed { from, until, values, peak: (1.0 - WIDE) * self.peak + WIDE * wide.peak }
    }
}

/// The mean of each value and `half` neighbours to each side.
fn boxed(values: &[f64], half: usize) -> Vec<f64> {
    if half == 0 {
        return values.to_vec();
    }
    let width = (2 * half + 1) as f64;
    let mut sum: f64 = values.iter().take(half).sum();
    (0..values.len())
        .map(|at| {
            sum += values.get(at + half).copied().unwrap_or(0.0);
            let mean = sum / width;
            sum -= if at >= half { values[at - half] } else { 0.0 };
            mean.max(0.0)
        })
        .collect()
}

/// A density of delays.
#[derive(Clone, Debug)]
pub struct Density {
    scale: Scale,
    ln_a_nat: Vec<f32>,
    /// Of a delay being longer than a bin begins.
    ln_longer: Vec<f32>,
    /// Number of its kernel's width.
    width: usize,
}

impl Density {
    /// Nothing is known but that delays of all magnitudes are alike.
    pub fn flat(scale: Scale) -> Density {
        Density::new(scale, HALF_WIDTHS.len() - 1, (0..scale.bins()).map(|bin| scale.flat(bin) * PER_NAT))
    }

    fn new(scale: Scale, width: usize, a_nat: impl Iterator<Item = f64>) -> Density {
        let ln_a_nat: Vec<f32> = a_nat.map(|a_nat| a_nat.ln() as f32).collect();
        let mut longer = 1e-9;
        let mut ln_longer: Vec<f32> = (ln_a_nat.iter().rev())
            .map(|ln| {
                longer += f64::from(*ln).exp() / PER_NAT;
                longer.ln().min(0.0) as f32
            })
            .collect();
        ln_longer.reverse();
        Density { scale, ln_a_nat, ln_longer, width }
    }

    /// The logarithm of the probability that a delay is longer.
    pub fn ln_longer(&self, delay_ns: i64) -> f64 {
        let (position, _) = self.scale.position(delay_ns as f64);
        let (bin, part) = (position as usize, position.fract());
        f64::from(self.ln_longer[bin]) * (1.0 - part) + f64::from(self.ln_longer[bin + 1]) * part
    }

    /// The logarithm of the density at a delay, a ns.
    pub fn ln(&self, delay_ns: i64) -> f64 {
        let (position, nats) = self.scale.position(delay_ns as f64);
        let (bin, part) = (position as usize, position.fract());
        let a_nat = f64::from(self.ln_a_nat[bin]) * (1.0 - part) + f64::from(self.ln_a_nat[bin + 1]) * part;
        a_nat - nats - self.scale.ln_unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integral(density: &Density) -> f64 {
        let (mut sum, mut at) = (0.0, -3_000_000_i64);
        while at < 3_000_000 {
            sum += density.ln(at).exp() * 500.0;
            at += 500;
        }
        sum
    }

    #[test]
    fn a_density_holds_about_one() {
        let mut histogram = Histogram::new(Scale::new(1_000));
        (0..400).for_each(|k| histogram.add(200_000 + 1_000 * k, k, 1.0));
        let sum = integral(&histogram.fit().0);
        assert!((0.95..1.02).contains(&sum), "{sum}");
    }

    #[test]
    fn two_modes_stay_two() {
        let mut histogram = Histogram::new(Scale::new(1_000));
        for k in 0..300 {
            histogram.add(100_000 + 200 * k, k, 1.0);
            histogram.add(5_000_000 + 9_000 * k, k, 1.0);
        }
        let (density, _) = histogram.fit();
        let between = density.ln(1_000_000);
        assert!(density.ln(130_000) > between + 6.0 && density.ln(6_000_000) > between + 3.0);
    }

    #[test]
    fn a_sharp_density_is_likelier_than_a_broad_one() {
        let (mut sharp, mut broad) = (Histogram::new(Scale::new(1_000)), Histogram::new(Scale::new(1_000)));
        for k in 0..200_i64 {
            sharp.add(4_000_000 + 100 * (k % 40), k, 1.0);
            broad.add(1_000_000 + 40_000 * k, k, 1.0);
        }
        assert!(sharp.fit().1 > broad.fit().1 + 200.0);
    }

    #[test]
    fn steps_of_a_coarse_clock_are_no_modes() {
        let mut histogram = Histogram::new(Scale::new(1_000_000));
        (0..1_000).for_each(|k| histogram.add(1_000_000 * (3 + k % 9), k, 1.0));
        let (density, _) = histogram.fit();
        assert!((density.ln(5_000_000) - density.ln(5_500_000)).abs() < 0.4);
    }
}
