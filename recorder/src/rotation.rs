//! When a part of the capture ends: by its size, or after a time that varies.

use std::time::{Duration, Instant};

use crate::host::jitter::Jitter;

/// Rows of a part at most: one row group of a Parquet file.
const PART_ROWS: u64 = 1 << 20;
/// Payload bytes of a part at most.
const PART_PAYLOAD_BYTES: u64 = 128 << 20;

/// When the current part ends.
pub struct Rotation {
    longest: Duration,
    since: Instant,
    after: Duration,
}

impl Rotation {
    /// A part begins `now`, and lasts `longest` at most.
    pub fn new(longest: Duration, now: Instant, jitter: &mut Jitter) -> Rotation {
        Rotation { longest, since: now, after: Rotation::next(longest, jitter) }
    }

    /// Whether the part ends now that it holds so much.
    pub fn is_due(&self, (rows, payload_bytes): (u64, u64)) -> bool {
        rows >= PART_ROWS || payload_bytes >= PART_PAYLOAD_BYTES || self.since.elapsed() >= self.after
    }

    /// How long the part may still last.
    pub fn left(&self) -> Duration {
        self.after.saturating_sub(self.since.elapsed())
    }

    /// The next part begins.
    pub fn restart(&mut self, jitter: &mut Jitter) {
        self.since = Instant::now();
        self.after = Rotation::next(self.longest, jitter);
    }

    /// 30 % about a middle, so that parts do not beat in time with what is recorded; 95 % of the longest at most, so
    /// that a part has time to reach the disk within it.
    fn next(longest: Duration, jitter: &mut Jitter) -> Duration {
        jitter.around(longest.mul_f64(0.73))
    }
}
