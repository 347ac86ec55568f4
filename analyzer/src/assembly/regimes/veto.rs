//! Calls that are nobody's although a rule gives them to a request: those of timers, and retries.

use crate::assembly::regimes::regime::Choice;
use crate::assembly::regimes::turns::{NONE, Place, Process};
use crate::hashing::IntMap;

/// Most calls of one request to one destination that are told apart.
const MOST_COUNTED: usize = 32;
/// A destination is called by few requests where so many times as many do not.
const FEW_TIMES: u32 = 4;
/// Of so many calls to it one may have no parent; where more have none it is a timer that calls it.
const ORPHANS: u32 = 50;
/// Where of so many requests one makes more calls than usual, how many there are says nothing.
const DIFFERENT: u32 = 5;

/// How many requests make so many calls to a destination.
type Histogram = [u32; MOST_COUNTED];

/// Takes the parents away from calls beyond the number that requests usually make to their destination.
pub fn veto<D>(process: &Process<D>, choices: &mut [Choice]) {
    let limits = limits(process, choices);
    let mut made: IntMap<(Place, u32), u32> = IntMap::default();
    for (call, choice) in process.calls.iter().zip(choices).filter(|(_, choice)| choice.parent != NONE) {
        let made = made.entry((choice.parent, call.to)).or_default();
        *made += 1;
        if limits.get(&call.to).is_some_and(|limit| *made > *limit) {
            choice.parent = NONE;
        }
    }
}

/// By destination: most calls that a request makes; none where requests differ.
fn limits<D>(process: &Process<D>, choices: &[Choice]) -> IntMap<u32, u32> {
    let mut of_request: IntMap<(Place, u32), u32> = IntMap::default();
    // Calls, and those without a parent.
    let mut of_destination: IntMap<u32, [u32; 2]> = IntMap::default();
    for (call, choice) in process.calls.iter().zip(choices) {
        let counts = of_destination.entry(call.to).or_default();
        counts[0] += 1;
        counts[1] += u32::from(choice.parent == NONE);
        if choice.parent != NONE {
            *of_request.entry((choice.parent, call.to)).or_default() += 1;
        }
    }
    let mut histograms: IntMap<u32, Histogram> = IntMap::default();
    for (&(_, to), &count) in &of_request {
        histograms.entry(to).or_default()[(count as usize).min(MOST_COUNTED - 1)] += 1;
    }
    let requests = process.requests.len() as u32;
    let limits = histograms
        .iter()
        .filter_map(|(to, histogram)| Some((*to, limit(histogram, requests, of_destination[to])?)));
    limits.collect()
}

fn limit(histogram: &Histogram, requests: u32, [calls, orphans]: [u32; 2]) -> Option<u32> {
    let with: u32 = histogram.iter().sum();
    let is_rare = requests.saturating_sub(with) >= FEW_TIMES * with;
    let usual = (1..MOST_COUNTED).max_by_key(|&count| (histogram[count], count))?;
    let limit = if is_rare { usize::from(orphans * ORPHANS <= calls) } else { usual };
    let above: u32 = histogram[limit + 1..].iter().sum();
    (above * DIFFERENT <= requests).then_some(limit as u32)
}
