//! Empties the rings on a timer; the kernel programs never wake us.
//!
//! In: the rings. Out: their records, copied once, in the merge; and the time up to which every record is
//! there, which is the watermark of the merge.

use std::time::Duration;

use aya::maps::{MapData, RingBuf};

use crate::host;
use crate::jitter::Jitter;
use crate::order::Merge;

/// How long a record may be under way from its time stamp to the ring before it counts as late. A program takes
/// its stamp microseconds before; what needs more is an interrupted or descheduled (virtual) CPU.
pub const HOLD_BACK: Duration = Duration::from_millis(50);
/// Bytes taken from one ring before the next has its turn.
const RING_TURN_BYTES: usize = 4 << 20;

/// The rings and where their reading stands.
pub struct Drain {
    rings: Vec<Ring>,
    jitter: Jitter,
    pace: Pace,
}

/// How long to sleep between rounds: short where rings fill, long where little comes, because each waking costs
/// whoever runs on that CPU.
struct Pace {
    ring_bytes: u64,
    longest: Duration,
    pause: Duration,
}

/// The pause where rings fill.
const SHORTEST: Duration = Duration::from_millis(7);
/// The pause where nothing happens, unless a ring is too small for it.
const LONGEST: Duration = Duration::from_millis(40);
/// What a burst that begins in a pause may put into one ring in a second: more than one CPU has been seen to.
const BURST_BYTES_PER_S: u64 = 200 << 20;

struct Ring {
    ring: RingBuf<MapData>,
    /// Records read.
    records: u64,
    /// Time of the latest record read, ns.
    latest_ns: u64,
}

/// What one round over the rings found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// Records read.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Every record emitted up to then has been read.
    pub watermark_ns: u64,
    /// A ring was left with more.
    pub more: bool,
}

impl Drain {
    /// Takes the rings over, each of `ring_bytes`; index = CPU.
    pub fn new(rings: Vec<RingBuf<MapData>>, ring_bytes: u32) -> Drain {
        let ring = |ring| Ring { ring, records: 0, latest_ns: 0 };
        Drain {
            rings: rings.into_iter().map(ring).collect(),
            jitter: Jitter::default(),
            pace: Pace::new(ring_bytes.into()),
        }
    }

    /// Reads every ring once, at most [`RING_TURN_BYTES`] of each.
    pub fn round(&mut self, merge: &mut Merge) -> Round {
        let hold_back_ns = HOLD_BACK.as_nanos() as u64;
        let mut round =
            Round { watermark_ns: host::boot_ns().saturating_sub(hold_back_ns), ..Round::default() };
        merge.begin_drain();
        let mut fullest_bytes = 0;
        for ring in &mut self.rings {
            let (records, bytes) = ring.read(merge);
            fullest_bytes = fullest_bytes.max(bytes as u64);
            round.records += records;
            round.bytes += bytes as u64;
            if bytes >= RING_TURN_BYTES {
                round.more = true;
                round.watermark_ns = round.watermark_ns.min(ring.latest_ns.saturating_sub(hold_back_ns));
            }
        }
        self.pace.follow(fullest_bytes);
        round
    }

    /// Records read from each ring since the start.
    pub fn records(&self) -> Vec<u64> {
        self.rings.iter().map(|r| r.records).collect()
    }

    /// How long to sleep, never the same twice, so that the drain does not beat in time with what it records.
    pub fn pause(&mut self) -> Duration {
        self.jitter.around(self.pace.pause)
    }
}

impl Pace {
    fn new(ring_bytes: u64) -> Pace {
        let fills = Duration::from_secs_f64(ring_bytes as f64 / BURST_BYTES_PER_S as f64);
        Pace { ring_bytes, longest: fills.clamp(SHORTEST, LONGEST), pause: SHORTEST }
    }

    /// Takes in what the fullest ring held.
    fn follow(&mut self, fullest_bytes: u64) {
        if fullest_bytes > self.ring_bytes / 32 {
            self.pause = (self.pause / 2).max(SHORTEST);
        } else if fullest_bytes < self.ring_bytes / 128 {
            self.pause = (self.pause * 2).min(self.longest);
        }
    }
}

impl Ring {
    fn read(&mut self, merge: &mut Merge) -> (u64, usize) {
        let (mut records, mut bytes) = (0, 0);
        while bytes < RING_TURN_BYTES {
            let Some(item) = self.ring.next() else { break };
            bytes += item.len();
            records += 1;
            if let Some(boot_ns) = merge.push(&item) {
                self.latest_ns = self.latest_ns.max(boot_ns);
            }
        }
        self.records += records;
        (records, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_traffic_is_fetched_rarely_and_much_at_once() {
        let mut pace = Pace::new(8 << 20);
        (0..5).for_each(|_| pace.follow(100));
        assert_eq!(pace.pause, LONGEST);
        (0..5).for_each(|_| pace.follow(1 << 20));
        assert_eq!(pace.pause, SHORTEST);
        pace.follow(100_000);
        assert_eq!(pace.pause, SHORTEST, "neither much nor little");
    }

    #[test]
    fn small_rings_are_never_left_for_long() {
        let mut pace = Pace::new(1 << 20);
        (0..5).for_each(|_| pace.follow(0));
        assert_eq!(pace.pause, SHORTEST);
        let mut pace = Pace::new(4 << 20);
        (0..5).for_each(|_| pace.follow(0));
        assert_eq!(pace.pause, Duration::from_millis(20));
    }
}
