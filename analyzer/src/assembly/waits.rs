//! Times in which connections came about in, what a span waited for them out, of the time that its other children leave:
//! the stretches of connects become children of it too. Waiting in a listen queue is queueing, which is a client span's own time: every
//! first request does for as long as its server takes to accept.

use crate::assembly::connections::{Endpoint, SocketIndex, Sockets};
use crate::assembly::openings::{Attempt, Connected};
use crate::assembly::span::Evidence;

/// A time in which a request waited for a connection. Boot time ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Begin.
    pub from_ns: i64,
    /// End; `i64::MAX` where there is none yet.
    pub to_ns: i64,
    /// The requesting end of that connection.
    pub socket: SocketIndex,
    /// The listener's address and port, where known.
    pub to: Option<Endpoint>,
    /// When it was decided what came of the connect, and what; None while it is not.
    pub end: Option<(i64, Connected)>,
    /// Why the request is one that waited for it.
    pub evidence: Evidence,
    /// It is established already, and waits to be accepted.
    pub queued: bool,
}

/// What a span waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// All of it, ns; 0 only where it failed with a connect that had failed before it began.
    pub ns: i64,
    /// The union of `parts`, ns; the rest is in the listen queue.
    pub parts_ns: i64,
    /// The requesting end of the connection that failed, or else that it waited for longest.
    pub socket: SocketIndex,
    /// The stretches in which there were connects for it, by begin; those to different listeners may overlap.
    pub parts: Vec<Wait>,
}

/// Stretches that a span's waits are told in; what lies beyond them stays the span's own time.
const MOST_PARTS: usize = 64;

impl Wait {
    /// For what this attempt comes to.
    pub fn of(attempt: Attempt, socket: SocketIndex, evidence: Evidence, sockets: &Sockets) -> Wait {
        let to_ns = attempt.end.map_or(i64::MAX, |end| end.0);
        let to = sockets.get(socket).remote;
        Wait { from_ns: attempt.from_ns, to_ns, socket, to, end: attempt.end, evidence, queued: false }
    }

    /// It was never established, and not because its caller left.
    pub fn has_failed(&self) -> bool {
        self.end.is_some_and(|end| !matches!(end.1, Connected::Ok | Connected::Abandoned))
    }

    fn within(&self, (begin, end): (i64, i64)) -> i64 {
        (self.to_ns.min(end) - self.from_ns.max(begin)).max(0)
    }
}

/// The part of `gaps` (in order and apart) that is within any wait, and the wait that is named.
pub fn waited(gaps: &[(i64, i64)], waits: &[Wait]) -> Option<(Waited, Wait)> {
    let within = |wait: &Wait| -> i64 { gaps.iter().map(|&gap| wait.within(gap)).sum() };
    let named = *waits.iter().max_by_key(|wait| (wait.has_failed(), within(wait)))?;
    let intervals: Vec<(i64, i64)> = waits.iter().map(|wait| (wait.from_ns, wait.to_ns)).collect();
    let parts = parts(gaps, waits);
    let of_parts: Vec<(i64, i64)> = parts.iter().map(|part| (part.from_ns, part.to_ns)).collect();
    let waited = Waited {
        ns: union_ns(gaps, intervals),
        parts_ns: union_ns(gaps, of_parts),
        socket: named.socket,
        parts,
    };
    Some((waited, named))
}

/// How much of the gaps lies within any of the intervals.
fn union_ns(gaps: &[(i64, i64)], mut intervals: Vec<(i64, i64)>) -> i64 {
    intervals.sort_unstable();
    let mut ns = 0;
    for &(begin, end) in gaps {
        let mut until = begin;
        for &(from, to) in &intervals {
            ns += (to.min(end) - from.max(until)).max(0);
            until = until.max(to.min(end));
        }
    }
    ns
}

/// The connects within the gaps, by begin. Those to one listener that overlap are one: whoever has several connections
/// opened takes the first.
fn parts(gaps: &[(i64, i64)], waits: &[Wait]) -> Vec<Wait> {
    let mut sorted: Vec<Wait> = waits.iter().copied().filter(|wait| !wait.queued).collect();
    sorted.sort_by_key(|wait| (wait.to, wait.to.is_none().then_some(wait.socket), wait.from_ns));
    let mut whole: Vec<Wait> = Vec::with_capacity(sorted.len());
    let mut leading = (false, 0);
    for wait in sorted {
        // The one that carried the request, or else the longest, stands for all.
        let rank = (wait.evidence != Evidence::Thread, wait.to_ns.saturating_sub(wait.from_ns));
        let last = whole.last_mut().filter(|last| {
            let same = last.to.map_or(last.socket == wait.socket, |to| wait.to == Some(to));
            same && wait.from_ns < last.to_ns
        });
        let Some(last) = last else {
            leading = rank;
            whole.push(wait);
            continue;
        };
        let (from_ns, to_ns) = (last.from_ns, last.to_ns.max(wait.to_ns));
        if rank > leading {
            (*last, leading) = (wait, rank);
        }
        (last.from_ns, last.to_ns) = (from_ns, to_ns);
    }
    let cut = |wait: Wait, (begin, end): (i64, i64)| Wait {
        from_ns: wait.from_ns.max(begin),
        to_ns: wait.to_ns.min(end),
        ..wait
    };
    let mut parts: Vec<Wait> = gaps
        .iter()
        .flat_map(|&gap| whole.iter().map(move |&wait| cut(wait, gap)))
        .filter(|part| part.from_ns < part.to_ns)
        .take(MOST_PARTS)
        .collect();
    parts.sort_by_key(|part| (part.from_ns, part.to_ns, part.socket));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(from_ns: i64, to_ns: i64, socket: SocketIndex) -> Wait {
        let to = Some(Endpoint { address: 0, port: socket as u16 });
        let end = Some((to_ns, Connected::Ok));
        Wait { from_ns, to_ns, socket, to, end, evidence: Evidence::Thread, queued: false }
    }

    #[test]
    fn what_overlaps_is_waited_for_once() {
        let gaps = [(0, 100), (200, 300)];
        let found = |waits: &[Wait]| waited(&gaps, waits).map(|(waited, _)| (waited.ns, waited.socket));
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[wait(100, 200, 1)]), Some((0, 1)));
        assert_eq!(found(&[wait(-50, i64::MAX, 1)]), Some((200, 1)));
        let mut waits = [wait(50, 220, 1), wait(60, 250, 2), wait(10, 30, 3), wait(260, 270, 3)];
        assert_eq!(found(&waits), Some((20 + 50 + 50 + 10, 2)));
        waits[2].end = Some((30, Connected::Refused));
        assert_eq!(found(&waits), Some((20 + 50 + 50 + 10, 3)), "what failed is named");
    }

    #[test]
    fn each_connection_has_its_stretches() {
        let found = |gaps: &[(i64, i64)], waits: &[Wait]| -> Vec<(i64, i64, SocketIndex)> {
            parts(gaps, waits).iter().map(|part| (part.from_ns, part.to_ns, part.socket)).collect()
        };
        let gaps = [(0, 100), (200, 300)];
        let over_both = found(&gaps, &[wait(50, 220, 1)]);
        assert_eq!(over_both, [(50, 100, 1), (200, 220, 1)], "another child lies between");
        let at_once = found(&gaps, &[wait(10, 50, 2), wait(20, 60, 1)]);
        assert_eq!(at_once, [(10, 50, 2), (20, 60, 1)]);
        let accepted_later = [Wait { queued: true, ..wait(30, 90, 1) }, wait(-5, 30, 1)];
        assert_eq!(found(&gaps, &accepted_later), [(0, 30, 1)]);
        let (waited, _) = waited(&gaps, &accepted_later).unwrap();
        assert_eq!((waited.ns, waited.parts_ns), (90, 30), "the rest is in the listen queue");
        let to = wait(0, 0, 1).to;
        let taken = Wait { to, evidence: Evidence::ProxyBytes, ..wait(20, 60, 2) };
        let of_one_listener = found(&gaps, &[wait(10, 50, 1), taken, Wait { to, ..wait(60, 70, 3) }]);
        assert_eq!(of_one_listener, [(10, 60, 2), (60, 70, 3)], "it goes by the second; then it tries again");
        let nowhere = |from_ns, to_ns, socket| Wait { to: None, ..wait(from_ns, to_ns, socket) };
        assert_eq!(found(&gaps, &[nowhere(10, 50, 1), nowhere(20, 60, 2)]).len(), 2);
        let gaps: Vec<(i64, i64)> = (0..200).map(|i| (10 * i, 10 * i + 5)).collect();
        assert_eq!(found(&gaps, &[wait(0, i64::MAX, 1)]).len(), MOST_PARTS);
    }
}
