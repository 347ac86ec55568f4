//! Seeded random numbers: xoshiro256++ (Blackman and Vigna 2019), started by splitmix64. The same seed gives the same
//! numbers on every machine.

/// A generator.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// A generator of its own for every `seed`.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        }))
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in [0, 1).
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..`count`; 0 where that is empty.
    #[inline]
    pub fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }

    /// Exponential with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Standard normal (Box and Muller 1958).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Poisson with the given mean; rounded normal above 50.
    pub fn poisson(&mut self, mean: f64) -> u32 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u32;
        }
        let (mut count, mut left) = (0, mean);
        loop {
            left -= self.exponential();
            if left < 0.0 {
                return count;
            }
            count += 1;
        }
    }

    /// Number of successes in `count` trials of probability `share`.
    pub fn binomial(&mut self, count: u32, share: f64) -> u32 {
        let mean = f64::from(count) * share;
        if mean < 10.0 && share < 0.2 {
            // Skip from success to success.
            let (mut successes, mut at) = (0, 0.0);
            if share <= 0.0 {
                return 0;
            }
            let log_miss = (1.0 - share).ln();
            loop {
                at += (-self.exponential() / log_miss).floor() + 1.0;
                if at > f64::from(count) {
                    return successes;
                }
                successes += 1;
            }
        }
        if count <= 200 {
            return (0..count).filter(|_| self.uniform() < share).count() as u32;
        }
        let deviate = mean + (mean * (1.0 - share)).sqrt() * self.normal();
        deviate.round().clamp(0.0, f64::from(count)) as u32
    }

    /// Gamma with the given shape and mean 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.uniform()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * (shape + 1.0) / shape * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v / shape;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(1);
        let count = 40_000;
        let mut check = |mean: f64, sd: f64, draw: &mut dyn FnMut(&mut Random) -> f64| {
            let draws: Vec<f64> = (0..count).map(|_| draw(&mut random)).collect();
            let m = draws.iter().sum::<f64>() / f64::from(count);
            let s = (draws.iter().map(|d| (d - m).powi(2)).sum::<f64>() / f64::from(count)).sqrt();
            assert!((m - mean).abs() < 5.0 * sd / f64::from(count).sqrt(), "mean {m} of {mean}");
            assert!((s / sd - 1.0).abs() < 0.05, "sd {s} of {sd}");
        };
        check(0.5, (1.0f64 / 12.0).sqrt(), &mut Random::uniform);
        check(1.0, 1.0, &mut Random::exponential);
        check(0.0, 1.0, &mut Random::normal);
        check(3.0, 3.0f64.sqrt(), &mut |r| f64::from(r.poisson(3.0)));
        check(300.0, 300.0f64.sqrt(), &mut |r| f64::from(r.poisson(300.0)));
        check(2.0, 1.98f64.sqrt(), &mut |r| f64::from(r.binomial(200, 0.01)));
        check(50.0, 25.0f64.sqrt(), &mut |r| f64::from(r.binomial(100, 0.5)));
        check(1.0, 0.5, &mut |r| r.gamma(4.0));
        check(1.0, 2.0f64.sqrt(), &mut |r| r.gamma(0.5));
    }
}
