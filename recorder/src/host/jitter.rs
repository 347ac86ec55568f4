//! Pauses that are never the same twice, so that the recorder does not beat in time with what it records.

use std::time::Duration;

use crate::host;

/// A source of unequal pauses. Not random in any stronger sense.
#[derive(Debug)]
pub struct Jitter(u64);

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter(host::boot_ns() | 1)
    }
}

impl Jitter {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// That long, give or take 30 %.
    pub fn around(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.7 + (self.number() % 6_001) as f64 / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_spread_over_thirty_percent_each_way() {
        let mut jitter = Jitter::default();
        let pauses: Vec<f64> =
            (0..2_000).map(|_| jitter.around(Duration::from_secs(1)).as_secs_f64()).collect();
        assert!(pauses.iter().all(|p| (0.7..=1.3001).contains(p)));
        assert!(pauses.iter().any(|p| *p < 0.75) && pauses.iter().any(|p| *p > 1.25));
    }
}
