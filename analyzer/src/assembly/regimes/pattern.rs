//! Requests whose calls are certain in, the pattern of a process out: which destinations a request calls, how often, and what
//! has to come back before.

use crate::assembly::regimes::turns::{Call, NONE, Place};
use crate::hashing::IntMap;

/// A call that every request makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The destination's number.
    pub to: u32,
    /// The slots that have come back when it is sent, as bits.
    pub waits_for: u32,
}

/// The calls of a request. Those to one destination are in order.
pub type Pattern = Vec<Slot>;

/// Most calls of one request that a pattern has.
const MAX_SLOTS: usize = 16;
/// So many requests must have shown it ...
const SHOWN: u32 = 10;
/// ... of a hundred with calls at least so many ...
const SHARE_PERCENT: u32 = 80;
/// ... of nearly all at least so many ...
const STRICT_PERCENT: u32 = 90;
/// ... and what one call waits for in so many of a hundred.
const WAITS_PERCENT: u32 = 98;

/// Calls a request makes at most where only their number tells the pattern.
const MAX_GUESSED: usize = 3;

/// What the requests with the same destinations did.
#[derive(Debug)]
struct Seen {
    count: u32,
    /// How often one slot had come back when another was sent.
    back_before: Vec<u32>,
}

/// A pattern that requests have shown.
#[derive(Debug)]
pub struct Learnt {
    /// It.
    pub pattern: Pattern,
    /// Nearly every request has it: what it has no place for is none of a request's.
    pub is_strict: bool,
}

/// What most requests with certain calls do. `parents` are those of the calls, [`NONE`] where they are not certain; a request of
/// which not all calls are certain must have none.
pub fn learn(calls: &[Call], parents: &[Place]) -> Option<Learnt> {
    let mut of_requests: IntMap<Place, Vec<&Call>> = IntMap::default();
    for (call, &parent) in calls.iter().zip(parents).filter(|(_, parent)| **parent != NONE) {
        of_requests.entry(parent).or_default().push(call);
    }
    let all = of_requests.len() as u32;
    let mut seen: IntMap<Vec<u32>, Seen> = IntMap::default();
    for calls in of_requests.values_mut().filter(|calls| calls.len() <= MAX_SLOTS) {
        calls.sort_by_key(|call| (call.to, call.sent_ns));
        let slots = calls.len();
        let seen = seen.entry(calls.iter().map(|call| call.to).collect());
        let seen = seen.or_insert_with(|| Seen { count: 0, back_before: vec![0; slots * slots] });
        seen.count += 1;
        for (at, call) in calls.iter().enumerate() {
            for (before, other) in calls.iter().enumerate() {
                seen.back_before[at * slots + before] += u32::from(other.back_ns <= call.sent_ns);
            }
        }
    }
    let (destinations, seen) = seen.into_iter().max_by(|a, b| (a.1.count, &b.0).cmp(&(b.1.count, &a.0)))?;
    let has_share = |percent| seen.count * 100 >= all * percent;
    (seen.count >= SHOWN && has_share(SHARE_PERCENT)).then(|| Learnt {
        pattern: destinations.iter().enumerate().map(|(at, &to)| seen.slot(at, to)).collect(),
        is_strict: has_share(STRICT_PERCENT),
    })
}

/// The patterns that there can be, where no request's calls are certain: one destination is called so many times a request, and the
/// calls wait for each other in one way or another. None where the numbers do not come out even.
pub fn possible(calls: &[Call], requests: usize) -> Vec<Pattern> {
    let mut counts: IntMap<u32, usize> = IntMap::default();
    for call in calls {
        *counts.entry(call.to).or_default() += 1;
    }
    // Calls that fewer than one request in ten makes are left out: those of timers, or of few requests.
    let mut often = counts.into_iter().filter(|(_, count)| count * 10 >= requests);
    let (Some((to, count)), None) = (often.next(), often.next()) else { return Vec::new() };
    let slots = (count + requests / 2) / requests.max(1);
    if slots == 0 || slots > MAX_GUESSED || count.abs_diff(slots * requests) * 50 > count {
        return Vec::new();
    }
    let ways: &[&[u32]] = match slots {
        1 => &[&[0]],
        2 => &[&[0, 0b1], &[0, 0]],
        _ => &[&[0, 0b1, 0b11], &[0, 0, 0], &[0, 0, 0b11], &[0, 0b1, 0b1]],
    };
    let pattern = |way: &&[u32]| way.iter().map(|&waits_for| Slot { to, waits_for }).collect();
    ways.iter().map(pattern).collect()
}

impl Seen {
    fn slot(&self, at: usize, to: u32) -> Slot {
        let slots = self.back_before.len().isqrt();
        let counts = &self.back_before[at * slots..][..slots];
        let waits = |count: u32| count * 100 >= self.count * WAITS_PERCENT;
        let bits = (0..slots).filter(|&before| waits(counts[before])).fold(0, |bits, slot| bits | 1 << slot);
        Slot { to, waits_for: bits }
    }
}
