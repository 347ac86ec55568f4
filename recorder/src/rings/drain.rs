//! Empties the rings on a timer; the kernel programs wake us only where a ring fills before.
//!
//! In: the rings. Out: their records, copied once, in the merge; and the time up to which every record is
//! there, which is the watermark of the merge.
//!
//! A program takes a number before it takes the time. So when all numbers that were given out at some moment have
//! arrived, or are counted as lost, no record of an earlier time is under way. Where one is missing the watermark stays
//! well behind the clock.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};

use crate::host::jitter::Jitter;
use crate::rings::filling::Filling;
use crate::rings::merge::Merge;

/// How long a record whose number is missing may be under way before it counts as late. A program needs microseconds;
/// what needs more is an interrupted or descheduled (virtual) CPU.
const HOLD_BACK: Duration = Duration::from_millis(50);
/// What the programs' clock may be behind ours: theirs is one that can be read in interrupts.
const CLOCKS_DIFFER: Duration = Duration::from_millis(1);
/// Bytes taken from one ring before the next has its turn.
const RING_TURN_BYTES: usize = 4 << 20;

/// The rings and where their reading stands.
pub struct Drain {
    rings: Vec<Ring>,
    jitter: Jitter,
    pace: Pace,
}

/// How long to sleep between rounds: short where rings fill, long where little comes, because each waking costs
/// whoever runs on that CPU, and work on a few records costs more a record than on many.
struct Pace {
    ring_bytes: u64,
    longest: Duration,
    pause: Duration,
}

/// The pause where rings fill.
const SHORTEST: Duration = Duration::from_millis(7);
/// The pause where little happens. A burst that begins in it wakes us ([`Filling`]).
const LONGEST: Duration = Duration::from_millis(400);
/// A smaller ring may fill between two looks of the kernel programs, which are 64 records apart: nobody wakes us then.
const LEAST_WATCHED_BYTES: u64 = 1 << 20;

/// What the kernel programs had given out at a moment, taken before the rings are read.
#[derive(Clone, Debug, Default)]
pub struct IssuedSeqs {
    /// The moment, boot time.
    pub at_ns: u64,
    /// The next sequence number of each CPU.
    pub next_seqs: Vec<u64>,
}

struct Ring {
    ring: RingBuf<MapData>,
    /// Records read.
    records: u64,
    /// Records that found no room, as far as is known: numbers that never arrive.
    lost: u64,
    /// Time of the latest record read, ns.
    latest_ns: u64,
}

/// What one round over the rings found.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrainPass {
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
        let ring = |ring| Ring { ring, records: 0, lost: 0, latest_ns: 0 };
        Drain {
            rings: rings.into_iter().map(ring).collect(),
            jitter: Jitter::default(),
            pace: Pace::new(ring_bytes.into()),
        }
    }

    /// Reads every ring once, at most [`RING_TURN_BYTES`] of each.
    pub fn round(&mut self, issued: &IssuedSeqs, merge: &mut Merge) -> DrainPass {
        let held_back = |ns: u64, by: Duration| ns.saturating_sub(by.as_nanos() as u64);
        let mut round =
            DrainPass { watermark_ns: held_back(issued.at_ns, CLOCKS_DIFFER), ..DrainPass::default() };
        merge.begin_drain();
        let mut fullest_bytes = 0;
        for (cpu, ring) in self.rings.iter_mut().enumerate() {
            let next_seq = issued.next_seqs.get(cpu).copied().unwrap_or(u64::MAX);
            let read = ring.read(next_seq, merge);
            fullest_bytes = fullest_bytes.max(read.bytes as u64);
            round.records += read.records;
            round.bytes += read.bytes as u64;
            if !is_complete(ring.records - read.beyond, ring.lost, next_seq) {
                round.watermark_ns = round.watermark_ns.min(held_back(issued.at_ns, HOLD_BACK));
            }
            if read.bytes >= RING_TURN_BYTES {
                round.more = true;
                round.watermark_ns = round.watermark_ns.min(held_back(ring.latest_ns, HOLD_BACK));
            }
        }
        self.pace.follow(fullest_bytes);
        round
    }

    /// Takes in how many records found no room in each ring.
    pub fn note_lost(&mut self, lost: impl Iterator<Item = u64>) {
        for (ring, lost) in self.rings.iter_mut().zip(lost) {
            ring.lost = lost;
        }
    }

    /// Records read from each ring since the start.
    pub fn records(&self) -> Vec<u64> {
        self.rings.iter().map(|r| r.records).collect()
    }

    /// Tells when a ring fills. Needs a running event loop.
    pub fn filling(&self) -> std::io::Result<Filling> {
        // SAFETY: the rings are open as long as they are borrowed here.
        Filling::of(self.rings.iter().map(|ring| unsafe { BorrowedFd::borrow_raw(ring.ring.as_raw_fd()) }))
    }

    /// How long to sleep, never the same twice, so that the drain does not beat in time with what it records.
    pub fn pause(&mut self) -> Duration {
        self.jitter.around(self.pace.pause)
    }
}

impl Pace {
    fn new(ring_bytes: u64) -> Pace {
        let longest = if ring_bytes < LEAST_WATCHED_BYTES { SHORTEST } else { LONGEST };
        Pace { ring_bytes, longest, pause: SHORTEST }
    }

    /// Takes in what the fullest ring held.
    fn follow(&mut self, fullest_bytes: u64) {
        if fullest_bytes > self.ring_bytes / 4 {
            self.pause = SHORTEST;
        } else if fullest_bytes > self.ring_bytes / 32 {
            self.pause = (self.pause / 2).max(SHORTEST);
        } else if fullest_bytes < self.ring_bytes / 64 {
            self.pause = (self.pause * 2).min(self.longest);
        }
    }
}

/// Whether every number below `next_seq` is that of a record which arrived or is counted as lost. What the kernel programs
/// have not counted yet, or we have not asked for, counts as missing.
fn is_complete(arrived: u64, lost: u64, next_seq: u64) -> bool {
    arrived + lost == next_seq
}

/// What one turn of a ring found.
struct Read {
    records: u64,
    bytes: usize,
    /// Records whose number was not yet given out at the moment asked about.
    beyond: u64,
}

impl Ring {
    fn read(&mut self, next_seq: u64, merge: &mut Merge) -> Read {
        let mut read = Read { records: 0, bytes: 0, beyond: 0 };
        while read.bytes < RING_TURN_BYTES {
            let Some(item) = self.ring.next() else { break };
            read.bytes += item.len();
            read.records += 1;
            if let Some(header) = merge.push(&item) {
                self.latest_ns = self.latest_ns.max(header.boot_ns);
                read.beyond += u64::from(header.seq >= next_seq);
            }
        }
        self.records += read.records;
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_traffic_is_fetched_rarely_and_much_at_once() {
        let mut pace = Pace::new(8 << 20);
        (0..8).for_each(|_| pace.follow(100));
        assert_eq!(pace.pause, LONGEST);
        pace.follow((256 << 10) + 1);
        assert_eq!(pace.pause, LONGEST / 2);
        pace.follow((2 << 20) + 1);
        assert_eq!(pace.pause, SHORTEST);
        pace.follow(200_000);
        assert_eq!(pace.pause, SHORTEST, "neither much nor little");
    }

    #[test]
    fn one_missing_number_holds_the_watermark_back() {
        assert!(is_complete(0, 0, 0));
        assert!(is_complete(7, 3, 10));
        assert!(!is_complete(7, 2, 10), "under way, or lost and not yet known to be");
        assert!(!is_complete(7, 0, u64::MAX), "nobody knows what was given out");
    }

    #[test]
    fn small_rings_are_never_left_for_long() {
        let mut pace = Pace::new(512 << 10);
        (0..8).for_each(|_| pace.follow(0));
        assert_eq!(pace.pause, SHORTEST);
    }
}
