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
}

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
    /// Takes the rings over; index = CPU.
    pub fn new(rings: Vec<RingBuf<MapData>>) -> Drain {
        let ring = |ring| Ring { ring, records: 0, latest_ns: 0 };
        Drain { rings: rings.into_iter().map(ring).collect(), jitter: Jitter::default() }
    }

    /// Reads every ring once, at most [`RING_TURN_BYTES`] of each.
    pub fn round(&mut self, merge: &mut Merge) -> Round {
        let hold_back_ns = HOLD_BACK.as_nanos() as u64;
        let mut round =
            Round { watermark_ns: host::boot_ns().saturating_sub(hold_back_ns), ..Round::default() };
        merge.begin_drain();
        for ring in &mut self.rings {
            let (records, bytes) = ring.read(merge);
            round.records += records;
            round.bytes += bytes as u64;
            if bytes >= RING_TURN_BYTES {
                round.more = true;
                round.watermark_ns = round.watermark_ns.min(ring.latest_ns.saturating_sub(hold_back_ns));
            }
        }
        round
    }

    /// Records read from each ring since the start.
    pub fn records(&self) -> Vec<u64> {
        self.rings.iter().map(|r| r.records).collect()
    }

    /// How long to sleep: 5 to 10 ms, never the same twice, so that the drain does not beat in time with what it
    /// records.
    pub fn pause(&mut self) -> Duration {
        Duration::from_micros(5_000 + self.jitter.number() % 5_000)
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
