//! What coincides with a spike, and how likely that is by chance.
//!
//! For every series the same question: in how many cycles does it come as near to the onset as it does, and how often would
//! that be so if the series were shifted in time? A series with the spike's own period coincides in all cycles or in
//! none, which the shifts show too; so nothing is multiplied over cycles. The number of series that could have been named,
//! wherever the onsets are, is paid for.
//! What the mechanism explains (the process was kept from running for as long as requests waited) goes before what merely
//! comes at the same time.

mod claim;
mod doubt;
mod rows;

pub use self::doubt::nearest_to_a_cause;
use super::Cause;
use super::bursts::{Burst, Counted, count_coarse, joined};
use super::kernel_events::{EventSeries, Kind, Occurrence};
use super::subject::Subject;

/// Shifts that stand for chance, and how far each goes on from the one before, as a share of the whole periods: the golden ratio
/// has no period in common with anything.
const SHIFTS: usize = 4000;
const TURN: f64 = 0.618_033_988_749_894_9;
/// A coincidence less likely than this is named.
const CHANCE: f64 = 0.05;
/// What comes this much after an onset may still have been first: an onset is the begin of a request.
const AT_ONCE_NS: i64 = 20_000_000;
/// Share of the hits in which a cause must be seen.
const SHARE: f64 = 0.7;
/// Most of the hits, in twentieths: all but those whose onsets are known badly.
const MOST_OF_20: usize = 17;
/// So many times as far off as before an onset is what begins after it.
const AFTER_COUNTS: i64 = 3;
/// Share of the wait that a delay must account for to explain it.
const EXPLAINS: f64 = 0.3;

/// A series, or the part of it that is of the suspected processes, in bursts.
struct Part<'a> {
    counted: Counted<'a>,
    bursts: Vec<Burst>,
}

impl<'a> Part<'a> {
    /// The parts of a series: what happens to processes of one name may happen to others than the suspected ones.
    fn of(series: &'a EventSeries, subject: &'a Subject<'_>) -> Vec<Part<'a>> {
        let sides: &[bool] = match series.kind.of_hop() {
            true => &[of_the_hop(series, subject)],
            false => &[true, false],
        };
        let part = |&involved: &bool| {
            let counted = Counted::new(series, involved, subject);
            Part { counted, bursts: joined(&counted, subject) }
        };
        sides.iter().map(part).filter(|part| !part.bursts.is_empty()).collect()
    }

    /// Often and long enough to explain the spike if only it came at the right time.
    fn could_explain(&self, subject: &Subject<'_>) -> bool {
        let mut waits: Vec<i64> = subject.hits.iter().map(|hit| hit.2).collect();
        waits.sort_unstable();
        let least_ns = EXPLAINS * waits.get(waits.len() / 2).copied().unwrap_or_default() as f64;
        let large = self
            .bursts
            .iter()
            .filter(|b| !self.counted.series.kind.delays() || b.longest_ns as f64 >= least_ns);
        self.counted.involved
            && self.counted.series.kind.explains()
            && large.count() as f64 >= SHARE * subject.hits.len() as f64
    }

    /// As often as the spike, more or less: named if only it came at the right time.
    fn could_coincide(&self, subject: &Subject<'_>) -> bool {
        let hits = subject.hits.len();
        !self.counted.series.kind.delays()
            && self.bursts.len() as f64 >= SHARE * hits as f64
            && count_coarse(&self.bursts, subject) <= 2 * hits + 2
    }
}

/// Whether a hop's series is of the suspected hop, or of connections that its answering processes wait for.
fn of_the_hop(series: &EventSeries, subject: &Subject<'_>) -> bool {
    let awaited = |h: &Occurrence| h.process_id.is_some_and(|id| subject.answering.contains(&id));
    series.subject == subject.hop || (series.kind.of_connects() && series.times.iter().any(awaited))
}

/// How many series could have been named wherever the onsets are: what a coincidence has to pay for.
#[derive(Clone, Copy)]
struct Candidates {
    explain: usize,
    coincide: usize,
}

/// The series that coincide, best supported first.
pub fn causes(series: &[EventSeries], subject: &Subject<'_>) -> Vec<Cause> {
    let parts: Vec<Part<'_>> = series.iter().flat_map(|series| Part::of(series, subject)).collect();
    let candidates = Candidates {
        explain: parts.iter().filter(|part| part.could_explain(subject)).count(),
        coincide: parts.iter().filter(|part| part.could_coincide(subject)).count(),
    };
    let mut causes: Vec<(f64, Cause)> = parts
        .iter()
        .filter_map(|part| {
            let matches = match_onsets(&part.bursts, part.counted.series.kind, subject);
            let seen = matches.leads_ns.len();
            let often = seen >= 2 && seen as f64 >= SHARE * subject.hits.len() as f64;
            often.then(|| judge(part, &matches, candidates, subject)).flatten()
        })
        .collect();
    // Of equals, to the power of ten, the first: a program may have started the others.
    let about = |cause: &Cause| cause.chance.log10().round();
    causes.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| about(&a.1).total_cmp(&about(&b.1)))
            .then_with(|| b.1.lead_s.total_cmp(&a.1.lead_s))
    });
    causes.into_iter().map(|(_, cause)| cause).collect()
}

/// Where a series comes near the hits.
struct Matches {
    /// From its begin to the onset, by hit that has one; positive where it comes first.
    leads_ns: Vec<i64>,
    /// The burst there, and the hit.
    bursts: Vec<(usize, Burst)>,
    /// How far from the onset the begin may be, before and after.
    reach_ns: (i64, i64),
    /// So many times as far off as before an onset is what begins after it.
    after_counts: i64,
}

/// How far from an onset a begin can be and still have to do with it: a tenth of the period before, and until the end
/// of the episode after; what is sampled once a second is known no better.
fn reach(kind: Kind, subject: &Subject<'_>) -> (i64, i64) {
    let before = (subject.period_ns / 10.0) as i64;
    let width = subject.hits.iter().map(|(from, to, _)| to - from).max().unwrap_or_default();
    let sampled = if sampled(kind) && !kind.within_interval() { 1_500_000_000 } else { 0 };
    (before.max(sampled), (width + subject.resolution_ns).min((subject.period_ns / 4.0) as i64).max(sampled))
}

fn sampled(kind: Kind) -> bool {
    matches!(kind, Kind::Throttled | Kind::Cpu | Kind::RoundTrip) || kind.within_interval()
}

fn match_onsets(bursts: &[Burst], kind: Kind, subject: &Subject<'_>) -> Matches {
    let reach_ns = reach(kind, subject);
    // What is counted is mostly that something overflows, for which it first has to fill.
    let after_counts = if kind.within_interval() { 1 } else { AFTER_COUNTS };
    let mut matches = Matches { leads_ns: Vec::new(), bursts: Vec::new(), reach_ns, after_counts };
    for (hit, &(onset_ns, _, _)) in subject.hits.iter().enumerate() {
        if let Some(nearest) = nearest(bursts, onset_ns, reach_ns) {
            matches.leads_ns.push(onset_ns - nearest.begin_near(onset_ns));
            matches.bursts.push((hit, *nearest));
        }
    }
    matches
}

fn nearest(bursts: &[Burst], onset_ns: i64, (before, after): (i64, i64)) -> Option<&Burst> {
    let first = bursts.partition_point(|h| h.latest_ns < onset_ns - before);
    let within = bursts[first..].iter().take_while(|h| h.from_ns <= onset_ns + after);
    within.min_by_key(|h| (h.begin_near(onset_ns) - onset_ns).abs())
}

fn judge(
    part: &Part<'_>,
    matches: &Matches,
    candidates: Candidates,
    subject: &Subject<'_>,
) -> Option<(f64, Cause)> {
    let Part { counted: Counted { series, involved, .. }, bursts } = part;
    let (seen, hits) = (matches.leads_ns.len(), subject.hits.len());
    let lead_ns = median(&matches.leads_ns);
    if follows(part, lead_ns, subject) {
        return None;
    }
    let accounted = accounted(series, matches, subject);
    let mechanism = *involved && series.kind.explains() && (!series.kind.delays() || accounted >= EXPLAINS);
    let elsewhere = elsewhere(bursts, matches, subject);
    let late = lead_ns < -subject.resolution_ns && !sampled(series.kind);
    if !mechanism && (series.kind.delays() || elsewhere > seen + 2 || late) {
        return None;
    }
    let paid = if mechanism { candidates.explain } else { candidates.coincide };
    let chance = (chance(bursts, matches, mechanism, subject) * paid.max(1) as f64).min(1.0);
    if chance > CHANCE {
        return None;
    }
    let absent = |expected: &&i64| nearest(bursts, **expected, matches.reach_ns).is_none();
    let dose = dose(matches, subject);
    let (sql, rows) = rows::statement(part, matches, subject);
    let cause = Cause {
        kind: series.kind.name().to_owned(),
        subject: series.subject.clone(),
        claim: claim::claim(part, matches, lead_ns, subject),
        reason: claim::reason(part, matches, subject),
        explains: mechanism,
        pids: claim::pids(part, matches, subject),
        coincidences: seen,
        hits,
        elsewhere,
        absent_in_misses: subject.misses.iter().filter(absent).count(),
        misses: subject.misses.len(),
        chance,
        lead_s: lead_ns as f64 * 1e-9,
        lead_sd_s: deviation(&matches.leads_ns) * 1e-9,
        dose,
        sql,
        rows,
    };
    Some((weight(series.kind, mechanism.then_some(accounted), &cause), cause))
}

/// Whether it follows from the trouble.
fn follows(part: &Part<'_>, lead_ns: i64, subject: &Subject<'_>) -> bool {
    match part.counted.series.kind {
        // Requests are given up, or made again.
        Kind::Reset | Kind::Reconnect | Kind::Exec | Kind::Dns | Kind::ClosedTogether
            if lead_ns < -AT_ONCE_NS =>
        {
            true
        }
        // The very processes that wait are busy when they may go on, and who is late to answer is late to acknowledge.
        Kind::Cpu => part.counted.involved,
        Kind::RoundTrip | Kind::Retransmit => !(part.counted.involved && subject.on_the_way),
        _ => false,
    }
}

/// What explains goes before what agrees in misses and size, and that before what merely comes at the same time.
/// `accounted` is the share of the wait that it explains; None where it does not.
fn weight(kind: Kind, accounted: Option<f64>, cause: &Cause) -> f64 {
    let explains = accounted.map_or(0.0, |accounted| {
        let share = (accounted.min(1.0) * 10.0).round() / 20.0;
        match kind {
            Kind::Stopped => 5.0,
            // A throttled process waits for a CPU because it is throttled.
            Kind::Throttled => 4.5 + share,
            // That nobody accepts has itself a reason, which goes first where it is known.
            Kind::ListenQueue => 0.0,
            kind if kind.delays() => 4.0 + share,
            // Of a namespace or cgroup, not of the very connections or threads.
            Kind::Counted(_) => 2.5,
            _ => 3.0,
        }
    });
    let absent = match cause.misses {
        0 => 0.0,
        misses => 2.0 * cause.absent_in_misses as f64 / misses as f64 - 1.0,
    };
    let agrees = absent + cause.dose.unwrap_or_default() / 4.0;
    let program = if kind == Kind::Exec { 0.5 } else { 0.0 };
    let seen = cause.coincidences as f64 / cause.hits.max(1) as f64;
    10.0 * explains + agrees + program + 0.1 * seen
}

/// Bursts that are neither at an onset nor where one was expected, nor at another episode: a stop that hit too few requests to
/// be an episode is no stop elsewhere.
fn elsewhere(bursts: &[Burst], matches: &Matches, subject: &Subject<'_>) -> usize {
    let (before, after) = (matches.farthest(subject).0 * 3 / 2, matches.reach_ns.1);
    let onsets: Vec<i64> = subject.hits.iter().map(|hit| hit.0).collect();
    let begins = |onsets: &[i64], burst: &Burst, before: i64| {
        let next = onsets.partition_point(|onset| onset + after < burst.from_ns);
        onsets.get(next).is_some_and(|onset| onset - before <= burst.from_ns)
    };
    let expected = |burst: &Burst| {
        [subject.misses, subject.unseen].iter().any(|teeth| begins(teeth, burst, matches.reach_ns.0))
    };
    let at_one = |burst: &&Burst| {
        begins(&onsets, burst, before) || expected(burst) || begins(subject.others, burst, before)
    };
    bursts.len() - bursts.iter().filter(at_one).count()
}

/// Median share of the longest wait for which a delay kept one thread: many short waits side by side delay nobody for long.
fn accounted(series: &EventSeries, matches: &Matches, subject: &Subject<'_>) -> f64 {
    if !series.kind.delays() {
        return 0.0;
    }
    let share =
        |&(hit, burst): &(usize, Burst)| burst.longest_ns as f64 / (subject.hits[hit].2 as f64).max(1.0);
    let mut shares: Vec<f64> = matches.bursts.iter().map(share).collect();
    shares.resize(subject.hits.len(), 0.0);
    shares.sort_by(f64::total_cmp);
    shares[shares.len() / 2]
}

impl Matches {
    /// How near to an onset a series must come to be as near as this one, before and after. What begins after an onset must
    /// be nearer than what begins before. These stretches grow with one number only, so that what is as near is what
    /// chance would have to bring as near, whichever side this one is on.
    fn farthest(&self, subject: &Subject<'_>) -> (i64, i64) {
        self.farthest_of(self.leads_ns.len(), subject)
    }

    /// The same for so many of the hits, those that it comes nearest to.
    fn farthest_of(&self, count: usize, subject: &Subject<'_>) -> (i64, i64) {
        let far = |&lead: &i64| match lead {
            0.. => lead,
            _ if -lead <= subject.resolution_ns => 0,
            _ => -lead * self.after_counts,
        };
        let mut distances: Vec<i64> = self.leads_ns.iter().map(far).collect();
        distances.sort_unstable();
        let farthest = distances[..count.min(distances.len())].last().copied().unwrap_or_default();
        let farthest = farthest.max(subject.resolution_ns);
        let after = (farthest / self.after_counts).max(subject.resolution_ns);
        (farthest.min(self.reach_ns.0), after.min(self.reach_ns.1))
    }
}

/// How often a shifted series comes as near in as many cycles: in all those that this one meets, or in most of them, as one onset
/// that is known badly would make every distance a large one. Both questions are paid for, and the second is asked only of what would
/// explain the spike.
fn chance(bursts: &[Burst], matches: &Matches, mechanism: bool, subject: &Subject<'_>) -> f64 {
    let all = matches.leads_ns.len();
    let fewest = (SHARE * subject.hits.len() as f64).ceil() as usize;
    let most = (all * MOST_OF_20 / 20).max(fewest).min(all);
    let of_all = chance_of(bursts, matches.farthest(subject), all, subject);
    if most == all || !mechanism {
        return of_all;
    }
    (2.0 * of_all.min(chance_of(bursts, matches.farthest_of(most, subject), most, subject))).min(1.0)
}

fn chance_of(bursts: &[Burst], reach: (i64, i64), matches: usize, subject: &Subject<'_>) -> f64 {
    let (begin_ns, end_ns) = subject.recording;
    // Around whole periods: else a series of the spike's period would be out of step with itself beyond the seam, and no shift
    // of it would be found as good.
    let periods = ((end_ns - begin_ns) as f64 / subject.period_ns).floor().max(1.0);
    let around_ns = ((periods * subject.period_ns) as i64).max(1);
    let count = |shift_ns: i64| {
        let near = |&&(onset_ns, _, _): &&(i64, i64, i64)| {
            // Shifting the series forward is shifting the onset back.
            let at = begin_ns + (onset_ns - begin_ns - shift_ns).rem_euclid(around_ns);
            nearest(bursts, at, reach).is_some()
        };
        subject.hits.iter().filter(near).count()
    };
    let shift_ns = |i: usize| ((i as f64 * TURN).fract() * around_ns as f64) as i64;
    let as_good = (1..SHIFTS).filter(|&i| count(shift_ns(i)) >= matches).count();
    (1 + as_good) as f64 / SHIFTS as f64
}

/// Spearman's rank correlation of size and excess over the hits, where both vary and there are enough.
fn dose(matches: &Matches, subject: &Subject<'_>) -> Option<f64> {
    let pairs: Vec<(f64, f64)> = matches
        .bursts
        .iter()
        .filter_map(|(hit, burst)| Some((burst.size, *subject.excess_s.get(*hit)?)))
        .collect();
    let varies = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        variance.sqrt() > 0.1 * mean.abs()
    };
    if pairs.len() < 5
        || !varies(pairs.iter().map(|p| p.0).collect())
        || !varies(pairs.iter().map(|p| p.1).collect())
    {
        return None;
    }
    let (a, b) = (ranks(pairs.iter().map(|p| p.0).collect()), ranks(pairs.iter().map(|p| p.1).collect()));
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        ab += (x - middle) * (y - middle);
        aa += (x - middle).powi(2);
        bb += (y - middle).powi(2);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

fn ranks(values: Vec<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    order.iter().enumerate().for_each(|(rank, &index)| ranks[index] = rank as f64);
    ranks
}

fn median(values: &[i64]) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn deviation(values: &[i64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<i64>() as f64 / n;
    (values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests;
