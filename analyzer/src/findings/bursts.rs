//! Event series as they are held against a spike: those of the suspected processes apart, small ones left out, bursts joined.

use std::collections::BTreeSet;

use super::kernel_events::{EventSeries, Occurrence};
use super::subject::Subject;

/// Which rows of a series count: those of the suspected processes, or those of all others. Of a hop's series all do.
/// Of delays those that are small do not.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// The series.
    pub series: &'a EventSeries,
    /// Those of the suspected hop or processes.
    pub involved: bool,
    processes: &'a BTreeSet<i64>,
    namespaces: &'a BTreeSet<i64>,
    /// The smallest size that counts.
    pub least: f64,
}

impl<'a> Counted<'a> {
    /// Of a series that is held against a spike.
    pub fn new(series: &'a EventSeries, involved: bool, subject: &'a Subject<'_>) -> Counted<'a> {
        let (processes, namespaces) = (subject.processes, subject.namespaces);
        let all = Counted { series, involved, processes, namespaces, least: 0.0 };
        if series.kind.delays() { Counted { least: least(&all, subject), ..all } } else { all }
    }

    /// Whether a row is of these processes, whatever its size.
    pub fn is_of_them(&self, row: &Occurrence) -> bool {
        let suspected = match self.series.kind.of_namespace() {
            true => row.netns.is_some_and(|netns| self.namespaces.contains(&netns)),
            false => row.process_id.is_some_and(|id| self.processes.contains(&id)),
        };
        self.series.kind.of_hop() || suspected == self.involved
    }

    /// Whether a row counts.
    pub fn has(&self, row: &Occurrence) -> bool {
        self.is_of_them(row) && row.size >= self.least
    }
}

/// A burst: what happened in quick succession is one thing.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Begin, ns since 1970 UTC.
    pub from_ns: i64,
    /// The latest that it may have begun: as `from_ns`, but for what is known to lie in an interval.
    pub latest_ns: i64,
    /// End.
    pub to_ns: i64,
    /// How much in all.
    pub size: f64,
    /// Of what delays: how long the thread that it kept longest could not go on, ns.
    pub longest_ns: i64,
}

impl Burst {
    /// When it began, as near to that moment as it may have.
    pub fn begin_near(&self, at_ns: i64) -> i64 {
        at_ns.clamp(self.from_ns, self.latest_ns)
    }
}

/// Pauses shorter than this are within one burst, if the period is not short.
const GAP_NS: i64 = 1_000_000_000;
/// Delays this much shorter than those at the onsets have nothing to do with them.
const SMALL: f64 = 0.1;
/// The same of what is counted.
const LITTLE: f64 = 0.25;

/// How long a pause within a burst can be. An episode's scale, not the period's: ordinary short waits every few seconds
/// would be one burst of minutes.
fn gap_ns(subject: &Subject<'_>) -> i64 {
    ((subject.period_ns / 20.0) as i64).min(GAP_NS)
}

/// The bursts that the rows which count make up.
pub fn joined(counted: &Counted<'_>, subject: &Subject<'_>) -> Vec<Burst> {
    let series = counted.series;
    let gap_ns = gap_ns(subject);
    let mut bursts: Vec<Burst> = Vec::new();
    let mut threads: Vec<ThreadDelay> = Vec::new();
    for next in series.times.iter().filter(|row| counted.has(row)) {
        match bursts.last_mut() {
            Some(last) if next.from_ns - last.to_ns < gap_ns => {
                last.to_ns = last.to_ns.max(next.to_ns);
                last.size =
                    if series.kind.adds_up() { last.size + next.size } else { last.size.max(next.size) };
            }
            _ => {
                threads.clear();
                let Occurrence { from_ns, to_ns, size, .. } = *next;
                let latest_ns = if series.kind.within_interval() { to_ns } else { from_ns };
                bursts.push(Burst { from_ns, latest_ns, to_ns, size, longest_ns: 0 });
            }
        }
        if let Some(last) = bursts.last_mut().filter(|_| series.kind.delays()) {
            last.longest_ns = last.longest_ns.max(overlap(&mut threads, next));
        }
    }
    if series.kind.within_interval() {
        leave_out_small(&mut bursts, subject);
    }
    bursts
}

/// Leaves out bursts of a counter that are much smaller than those at the onsets: a busy host counts a little all the time.
fn leave_out_small(bursts: &mut Vec<Burst>, subject: &Subject<'_>) {
    let at_hit = |&(onset_ns, end_ns, _): &(i64, i64, i64)| {
        let first = bursts.partition_point(|burst| burst.to_ns < onset_ns);
        let within = bursts[first..].iter().take_while(|burst| burst.from_ns <= end_ns);
        within.map(|burst| burst.size).fold(0.0, f64::max)
    };
    let mut sizes: Vec<f64> = subject.hits.iter().map(at_hit).collect();
    sizes.sort_by(f64::total_cmp);
    let least = LITTLE * sizes.get(sizes.len() / 2).copied().unwrap_or_default();
    bursts.retain(|burst| burst.size >= least);
}

/// How long one thread was kept so far.
struct ThreadDelay {
    tid: i64,
    until_ns: i64,
    sum_ns: i64,
}

/// Adds a delay to its thread's, what overlaps once, and tells how much that is.
fn overlap(threads: &mut Vec<ThreadDelay>, delay: &Occurrence) -> i64 {
    let index = threads.iter().position(|kept| kept.tid == delay.tid).unwrap_or_else(|| {
        threads.push(ThreadDelay { tid: delay.tid, until_ns: i64::MIN, sum_ns: 0 });
        threads.len() - 1
    });
    let kept = &mut threads[index];
    kept.sum_ns += (delay.to_ns - delay.from_ns.max(kept.until_ns)).max(0);
    kept.until_ns = kept.until_ns.max(delay.to_ns);
    kept.sum_ns
}

/// The size from which a delay counts: a share of the longest at an onset, of the median hit.
fn least(all: &Counted<'_>, subject: &Subject<'_>) -> f64 {
    let before_ns = gap_ns(subject);
    let times = &all.series.times;
    let mut longest: Vec<f64> = subject
        .hits
        .iter()
        .map(|&(onset_ns, end_ns, _)| {
            let first = times.partition_point(|h| h.from_ns < onset_ns - before_ns);
            let within = times[first..].iter().take_while(|h| h.from_ns <= end_ns);
            within.filter(|row| all.is_of_them(row)).map(|h| h.size).fold(0.0, f64::max)
        })
        .collect();
    longest.sort_by(f64::total_cmp);
    SMALL * longest.get(longest.len() / 2).copied().unwrap_or_default()
}

/// How many there are where everything within a twentieth of the period is one.
pub fn count_coarse(bursts: &[Burst], subject: &Subject<'_>) -> usize {
    let gap_ns = (subject.period_ns / 20.0) as i64;
    let apart = |pair: &&[Burst]| pair[1].from_ns - pair[0].to_ns >= gap_ns;
    bursts.windows(2).filter(apart).count() + usize::from(!bursts.is_empty())
}
