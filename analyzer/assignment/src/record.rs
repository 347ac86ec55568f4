//! What a request has called so far, under one hypothesis.

/// Callees that a process's model tells apart; the rarest share the last number.
pub const CALLEES: usize = 16;
/// Calls of one request to one callee that are told apart: the first, the second, all later ones.
pub const OCCURRENCES: usize = 3;
/// Callee and occurrence.
pub type Slot = u8;
/// Number of slots.
pub const SLOTS: usize = CALLEES * OCCURRENCES;

/// How often each callee was called, four bits each, at most 15.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts(pub u64);

impl Counts {
    /// Calls to a callee.
    pub fn of(self, callee: u8) -> u64 {
        self.0 >> (4 * callee) & 15
    }

    /// One more call.
    pub fn plus(self, callee: u8) -> Counts {
        if self.of(callee) == 15 { self } else { Counts(self.0 + (1 << (4 * callee))) }
    }

    /// The slot of the next call to a callee.
    pub fn next(self, callee: u8) -> Slot {
        slot(callee, (self.of(callee) as usize).min(OCCURRENCES - 1))
    }
}

/// The slot of a call.
pub fn slot(callee: u8, occurrence: usize) -> Slot {
    (callee as usize * OCCURRENCES + occurrence) as Slot
}

/// The callee of a slot.
pub fn callee_of(slot: Slot) -> u8 {
    slot / OCCURRENCES as u8
}

/// A call that was made.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Which one.
    pub slot: Slot,
    /// When it began, ns.
    pub begin_ns: i64,
    /// When it ended or will end, ns.
    pub end_ns: i64,
}

/// The calls of one request.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// How often each callee was called.
    pub counts: Counts,
    /// The last of the ends of calls that the request waits for, and the call.
    pub last_end_ns: Option<i64>,
    /// The call that ends last.
    pub last_to_end: Slot,
    /// The calls that may still matter, in order.
    pub made: Vec<Made>,
    /// Equal for records that lead to the same future.
    pub key: u64,
}

/// What a delay is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The latest thing that happened to the request, whatever it was: before anything is learnt.
    Latest,
    /// When the request came.
    Arrival,
    /// The last of the ends of its calls.
    LastEnd,
    /// When its last call was made.
    LastBegin,
    /// The same, where this call was the last to end: each call has its own distribution.
    LastEndWas(Slot),
    /// The same, where this call was the last to begin.
    LastBeginWas(Slot),
    /// The end of a certain call.
    EndOf(Slot),
    /// The beginning of a certain call.
    BeginOf(Slot),
}

impl Reference {
    /// The slot whose times must be kept for it, as a bit.
    pub fn needs(self) -> u64 {
        match self {
            Reference::EndOf(slot) | Reference::BeginOf(slot) => 1 << slot,
            _ => 0,
        }
    }

    /// Whether it is something that the process itself did, not something that came to it.
    pub fn is_own(self) -> bool {
        matches!(
            self,
            Reference::LastBegin | Reference::LastBeginWas(_) | Reference::BeginOf(_) | Reference::Latest
        )
    }
}

impl Record {
    /// The moment that a delay up to `now_ns` is measured from.
    pub fn moment(&self, reference: Reference, arrival_ns: i64, now_ns: i64) -> Option<i64> {
        let last = |slot| self.made.iter().rev().find(|made| made.slot == slot);
        match reference {
            Reference::Arrival => Some(arrival_ns),
            Reference::LastEnd => self.last_end_ns,
            Reference::LastBegin => self.made.last().map(|made| made.begin_ns),
            Reference::LastEndWas(slot) => self.last_end_ns.filter(|_| self.last_to_end == slot),
            Reference::LastBeginWas(slot) => {
                self.made.last().filter(|made| made.slot == slot).map(|made| made.begin_ns)
            }
            Reference::EndOf(slot) => last(slot).map(|made| made.end_ns),
            Reference::BeginOf(slot) => last(slot).map(|made| made.begin_ns),
            Reference::Latest => {
                let of = |made: &Made| if made.end_ns <= now_ns { made.end_ns } else { made.begin_ns };
                Some(self.made.iter().map(of).fold(arrival_ns, i64::max))
            }
        }
    }

    /// Where a reference is missing: the last end, else the arrival.
    pub fn fallback(&self, arrival_ns: i64) -> i64 {
        self.last_end_ns.unwrap_or(arrival_ns)
    }
}

/// Mixes a number into a hash.
pub fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// Hashes numbers fast.
pub type Mixing = std::hash::BuildHasherDefault<Mixer>;

/// The hasher behind it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mixer(u64);

impl std::hash::Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = mix(self.0, u64::from(byte)));
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = mix(self.0, u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0, value);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_saturate() {
        let many = (0..40).fold(Counts::default(), |counts, _| counts.plus(15));
        assert_eq!((many.of(15), many.of(14)), (15, 0));
        assert_eq!(many.next(15), slot(15, 2));
    }

    #[test]
    fn the_latest_is_no_end_that_is_to_come() {
        let made = Made { slot: 0, begin_ns: 20, end_ns: 90 };
        let record = Record { made: vec![made], last_end_ns: Some(90), ..Record::default() };
        assert_eq!(record.moment(Reference::Latest, 10, 50), Some(20));
        assert_eq!(record.moment(Reference::Latest, 10, 95), Some(90));
        assert_eq!(record.moment(Reference::EndOf(3), 10, 95), None);
    }
}
