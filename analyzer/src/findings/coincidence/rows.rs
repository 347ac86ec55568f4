//! The statement that shows the rows behind a cause: a selection from the view that the series was read from.
//!
//! It shows the bursts at the onsets, those in cycles without an episode, and what else counts at that phase of the
//! period. So a reader sees in which cycles the cause came and in which it did not.

use std::collections::BTreeSet;

use super::{Burst, Matches, Part, Subject, nearest};
use crate::findings::groups::quoted;
use crate::findings::wording::Phase;

/// Room for rounding on both sides of a phase, ns.
const ROUNDING_NS: i64 = 1_000_000;

/// The statement, and how many rows it gives.
pub fn statement(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> (String, usize) {
    let source = part.counted.series.kind.source();
    let phase = phase(part, matches, subject);
    let mut conditions = vec![format!("{} = {}", source.subject, quoted(&part.counted.series.subject))];
    conditions.extend(part.counted.series.kind.condition());
    conditions.extend(match part.counted.series.kind.of_namespace() {
        true => of_namespaces(part, subject, source.netns),
        false => of_suspects(part, subject, source.process_id),
    });
    conditions.extend(not_small(part, &phase, source.size));
    conditions.extend(phase.condition("time"));
    let sql = format!("SELECT * FROM {} WHERE {} ORDER BY time", source.view, conditions.join(" AND "));
    let shown =
        part.counted.series.times.iter().filter(|row| part.counted.has(row) && phase.holds(row.from_ns));
    (sql, shown.count())
}

/// The smallest part of the period in which every burst that counts begins and goes on, as far as an episode would.
fn phase(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> Phase {
    let origin_ns = matches.bursts.first().map_or(subject.recording.0, |(_, burst)| burst.from_ns);
    let from_origin_ns = |ns: i64| {
        let since_ns = (ns - origin_ns) as f64;
        since_ns - (since_ns / subject.period_ns).round() * subject.period_ns
    };
    let (mut first_ns, mut last_ns) = (0.0, 0.0);
    for (burst, end_ns) in counted(part, matches, subject) {
        let until_ns = burst.to_ns.min(end_ns + matches.reach_ns.1);
        let times = &part.counted.series.times;
        let begin = times.partition_point(|row| row.from_ns < burst.from_ns);
        let within = times[begin..].iter().take_while(|row| row.from_ns <= until_ns);
        let last = within.filter(|row| part.counted.has(row)).last().map_or(burst.from_ns, |row| row.from_ns);
        let begin_ns = from_origin_ns(burst.from_ns);
        first_ns = f64::min(first_ns, begin_ns);
        last_ns = f64::max(last_ns, begin_ns + (last - burst.from_ns) as f64);
    }
    let from_ns = origin_ns + first_ns as i64 - ROUNDING_NS;
    Phase::new(subject.period_ns, from_ns, origin_ns + last_ns as i64 + ROUNDING_NS)
}

/// The bursts at the onsets, and those in cycles without an episode; with the end of the episode there, or of the
/// longest that there could have been.
fn counted(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> Vec<(Burst, i64)> {
    let longest_ns = subject.hits.iter().map(|(from, to, _)| to - from).max().unwrap_or_default();
    let at_miss = |&expected_ns: &i64| {
        nearest(&part.bursts, expected_ns, matches.reach_ns).map(|burst| (*burst, expected_ns + longest_ns))
    };
    let at_hits = matches.bursts.iter().map(|&(hit, burst)| (burst, subject.hits[hit].1));
    at_hits.chain(subject.misses.iter().filter_map(at_miss)).collect()
}

/// A condition that tells the suspected processes from others of the same name, where there are both.
fn of_suspects(part: &Part<'_>, subject: &Subject<'_>, column: &str) -> Option<String> {
    if part.counted.series.times.iter().all(|row| part.counted.is_of_them(row)) {
        return None;
    }
    let ids: BTreeSet<i64> = part.counted.series.times.iter().filter_map(|row| row.process_id).collect();
    let suspected: Vec<String> = ids.intersection(subject.processes).map(i64::to_string).collect();
    let which = if part.counted.involved { "IN" } else { "NOT IN" };
    Some(format!("{column} {which} ({})", suspected.join(", ")))
}

/// A condition that tells the suspected processes' network namespaces from others with processes of the same names.
fn of_namespaces(part: &Part<'_>, subject: &Subject<'_>, column: &str) -> Option<String> {
    if part.counted.series.times.iter().all(|row| part.counted.is_of_them(row)) {
        return None;
    }
    let suspected: Vec<String> = subject.namespaces.iter().map(i64::to_string).collect();
    let which = if part.counted.involved { "IN" } else { "NOT IN" };
    Some(format!("{column} {which} ({})", suspected.join(", ")))
}

/// A condition that leaves out what is too small to count, where there is any at that phase.
fn not_small(part: &Part<'_>, phase: &Phase, column: &str) -> Option<String> {
    let least = part.counted.least;
    let small =
        part.counted.series.times.iter().filter(|row| part.counted.is_of_them(row) && row.size < least);
    let shown = small.map(|row| row.from_ns).any(|from_ns| phase.holds(from_ns));
    shown.then(|| format!("{column} >= {:.0}", least.ceil()))
}
