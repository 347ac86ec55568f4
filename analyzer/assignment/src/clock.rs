//! Clocks: how fine they are, and how far apart two of them stand.

use crate::span::{Incoming, Outgoing};

/// Neighbours of each call, before and after, that are compared with it.
const NEIGHBOURS: usize = 8;
/// Farther apart than that no two clocks of one recording are believed to be, ns.
const FARTHEST_NS: i64 = 1_000_000_000;

/// The step of the clock: the largest of 1 us, 10 us ... 1 s of which all times are multiples.
pub fn resolution_ns(times: impl Iterator<Item = i64> + Clone) -> i64 {
    let steps = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000];
    steps.into_iter().find(|step| times.clone().all(|time| time % step == 0)).unwrap_or(1_000)
}

/// How much later the clock of the callee is than that of the caller, ns. `requests` are calls as their caller saw them,
/// `calls` the same ones as the callee did, in the order of time.
///
/// The middles of both sides of one call lie together where the ways there and back are alike. Pairs that do not belong
/// together differ by this and that; those that do differ by the same, which stands out.
pub fn offset_ns(requests: &[Incoming], calls: &[Outgoing]) -> i64 {
    let mut differences = Vec::new();
    for call in calls {
        let middle = call.begin_ns / 2 + call.end_ns / 2;
        let at = requests.partition_point(|request| request.begin_ns < call.begin_ns);
        for request in &requests[at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS).min(requests.len())] {
            let difference = middle - (request.begin_ns / 2 + request.end_ns / 2);
            let fits = request.end_ns - request.begin_ns >= call.end_ns - call.begin_ns;
            if fits && difference.abs() < FARTHEST_NS {
                differences.push(difference);
            }
        }
    }
    differences.sort_unstable();
    densest(&differences, calls.len() / 2).unwrap_or(0)
}

/// The middle of the shortest stretch that holds `count` of the values.
fn densest(sorted: &[i64], count: usize) -> Option<i64> {
    let last = count.max(2) - 1;
    let stretches = (0..sorted.len().saturating_sub(last)).map(|at| (sorted[at + last] - sorted[at], at));
    stretches.min().map(|(_, at)| sorted[at + last / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_is_found() {
        assert_eq!(resolution_ns([3_000_000, 14_000_000].into_iter()), 1_000_000);
        assert_eq!(resolution_ns([3_000_123].into_iter()), 1_000);
    }

    #[test]
    fn an_offset_is_found() {
        let times: Vec<i64> = (0..200).map(|k| k * 7_000_000 + (k * k % 13) * 400_000).collect();
        let requests: Vec<Incoming> = (times.iter())
            .map(|&t| Incoming { id: 0, process: 0, operation: 0, begin_ns: t, end_ns: t + 5_000_000 })
            .collect();
        let calls: Vec<Outgoing> = (times.iter().enumerate())
            .map(|(k, t)| {
                let begin_ns = t - 2_000_000 + (k as i64 % 5) * 20_000;
                let end_ns = begin_ns + 3_000_000;
                Outgoing { id: 0, process: 0, callee: 0, begin_ns, end_ns, certain: None }
            })
            .collect();
        assert!((offset_ns(&requests, &calls) + 3_000_000).abs() < 200_000);
    }
}
