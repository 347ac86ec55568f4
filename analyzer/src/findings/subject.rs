//! A spike as it is held against what may have caused it.

use std::collections::{BTreeSet, HashMap};

/// What a spike looks like to its causes.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Begin and end of each cycle's episode and the longest wait in it, ns; times since 1970 UTC, in order.
    pub hits: &'a [(i64, i64, i64)],
    /// Where episodes were expected and did not come.
    pub misses: &'a [i64],
    /// Where the series' other episodes begin, in order.
    pub others: &'a [i64],
    /// Teeth around which nothing was seen: no request began, or events were lost.
    pub unseen: &'a [i64],
    /// Excess of each hit, s.
    pub excess_s: &'a [f64],
    /// Period, ns.
    pub period_ns: f64,
    /// Begin and end of the recording.
    pub recording: (i64, i64),
    /// How well an onset is known, ns.
    pub resolution_ns: i64,
    /// Hop with the largest share of the excess.
    pub hop: &'a str,
    /// That share is time on the way, not of a process.
    pub on_the_way: bool,
    /// Ids of the processes whose delay would explain that share.
    pub processes: &'a BTreeSet<i64>,
    /// Those that answer at the hop: what one of them waits for, its requests wait for.
    pub answering: &'a BTreeSet<i64>,
    /// Network namespaces in which they live.
    pub namespaces: &'a BTreeSet<i64>,
    /// Pids by process id.
    pub pids: &'a HashMap<i64, i64>,
}
