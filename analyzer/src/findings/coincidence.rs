//! What coincides with a spike, and how likely that is by chance.
//!
//! For every train the same question: in how many cycles does it come as near to the onset as it does, and how often would
//! that be so if the train were shifted in time? A train with the spike's own period coincides in all cycles or in
//! none, which the shifts show too; so nothing is multiplied over cycles. The number of trains looked at is paid for.
//! What the mechanism explains (the process was kept from running for as long as requests waited) goes before what merely
//! comes at the same time.

use super::Cause;
use super::happenings::{Happening, Kind, Train};
use super::words;
use crate::text::duration;

/// What a spike looks like to its causes.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Begin and end of each cycle's episode and the longest wait in it, ns; times since 1970 UTC, in order.
    pub hits: &'a [(i64, i64, i64)],
    /// Where episodes were expected and did not come.
    pub misses: &'a [i64],
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
    /// Processes whose delay would explain that share.
    pub processes: &'a [String],
}

/// Shifts that stand for chance.
const SHIFTS: usize = 2000;
/// A coincidence less likely than this is named.
const CHANCE: f64 = 0.05;
/// What comes this much after an onset may still have been first: an onset is the begin of a request.
const AT_ONCE_NS: i64 = 20_000_000;
/// Share of the hits in which a cause must be seen.
const SHARE: f64 = 0.7;
/// Share of the wait that a delay must account for to explain it.
const EXPLAINS: f64 = 0.3;

/// The trains that coincide, best supported first.
pub fn causes(trains: &[Train], subject: &Subject<'_>) -> Vec<Cause> {
    let clustered: Vec<(usize, Vec<Happening>)> =
        trains.iter().enumerate().map(|(index, train)| (index, clusters(train, subject))).collect();
    // What never comes near a spike is no candidate.
    let near: Vec<(usize, Vec<Happening>, Met)> = clustered
        .into_iter()
        .filter_map(|(index, times)| {
            let met = meet(&times, trains[index].kind, subject);
            let seen = met.leads_ns.len();
            (seen >= 2 && seen as f64 >= SHARE * subject.hits.len() as f64).then_some((index, times, met))
        })
        .collect();
    let candidates = near.len();
    let mut causes: Vec<(f64, Cause)> = near
        .into_iter()
        .filter_map(|(index, times, met)| judge(&trains[index], &times, &met, candidates, subject))
        .collect();
    // Of equals the first: a program may have started the others.
    causes.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| a.1.chance.total_cmp(&b.1.chance))
            .then_with(|| b.1.lead_s.total_cmp(&a.1.lead_s))
    });
    causes.into_iter().map(|(_, cause)| cause).collect()
}

/// Joins what happened within a twentieth of the period: a burst is one thing.
fn clusters(train: &Train, subject: &Subject<'_>) -> Vec<Happening> {
    let gap_ns = (subject.period_ns / 20.0) as i64;
    let mut clusters: Vec<Happening> = Vec::new();
    for &next in &train.times {
        match clusters.last_mut() {
            Some(last) if next.from_ns - last.to_ns < gap_ns => {
                last.to_ns = last.to_ns.max(next.to_ns);
                last.size =
                    if train.kind.adds_up() { last.size + next.size } else { last.size.max(next.size) };
            }
            _ => clusters.push(next),
        }
    }
    clusters
}

/// Where a train comes near the hits.
struct Met {
    /// From its begin to the onset, by hit that has one; positive where it comes first.
    leads_ns: Vec<i64>,
    /// Its size there, and the hit.
    sizes: Vec<(usize, f64)>,
    /// How far from the onset the begin may be, before and after.
    reach_ns: (i64, i64),
}

/// How far from an onset a begin can be and still have to do with it: a tenth of the period before, and until the end
/// of the episode after; what is sampled once a second is known no better.
fn reach(kind: Kind, subject: &Subject<'_>) -> (i64, i64) {
    let before = (subject.period_ns / 10.0) as i64;
    let width = subject.hits.iter().map(|(from, to, _)| to - from).max().unwrap_or_default();
    let sampled = if sampled(kind) { 1_500_000_000 } else { 0 };
    (before.max(sampled), (width + subject.resolution_ns).min((subject.period_ns / 4.0) as i64).max(sampled))
}

fn sampled(kind: Kind) -> bool {
    matches!(kind, Kind::Throttled | Kind::Cpu | Kind::RoundTrip)
}

fn meet(times: &[Happening], kind: Kind, subject: &Subject<'_>) -> Met {
    let reach_ns = reach(kind, subject);
    let mut met = Met { leads_ns: Vec::new(), sizes: Vec::new(), reach_ns };
    for (hit, &(onset_ns, _, _)) in subject.hits.iter().enumerate() {
        if let Some(nearest) = nearest(times, onset_ns, reach_ns) {
            met.leads_ns.push(onset_ns - nearest.from_ns);
            met.sizes.push((hit, nearest.size));
        }
    }
    met
}

fn nearest(times: &[Happening], onset_ns: i64, (before, after): (i64, i64)) -> Option<&Happening> {
    let first = times.partition_point(|h| h.from_ns < onset_ns - before);
    let within = times[first..].iter().take_while(|h| h.from_ns <= onset_ns + after);
    within.min_by_key(|h| (h.from_ns - onset_ns).abs())
}

fn judge(
    train: &Train,
    times: &[Happening],
    met: &Met,
    candidates: usize,
    subject: &Subject<'_>,
) -> Option<(f64, Cause)> {
    let hits = subject.hits.len();
    let seen = met.leads_ns.len();
    let lead_ns = median(&met.leads_ns);
    let accounted = accounted(train, met, subject);
    let involved = if train.kind.of_hop() {
        train.subject == subject.hop
    } else {
        subject.processes.contains(&train.subject)
    };
    // What follows from requests being given up, or made again, is no cause of it.
    let effect =
        matches!(train.kind, Kind::Reset | Kind::Reconnect | Kind::Exec | Kind::Dns) && lead_ns < -AT_ONCE_NS;
    // The very processes that wait are busy when they may go on, and who is late to answer is late to acknowledge.
    let aftermath = match train.kind {
        Kind::Cpu => involved,
        Kind::RoundTrip | Kind::Retransmit => !(involved && subject.on_the_way),
        _ => false,
    };
    if effect || aftermath {
        return None;
    }
    let chance = (chance(times, met, subject) * candidates as f64).min(1.0);
    let mechanism = involved
        && match train.kind {
            kind if kind.delays() => accounted >= EXPLAINS,
            Kind::Retransmit | Kind::RoundTrip | Kind::Dns => true,
            _ => false,
        };
    let elsewhere = times.len() - seen.min(times.len());
    let specific = times.len() as f64 <= 2.0 * seen as f64 + 2.0;
    if chance > CHANCE
        || (!mechanism
            && (train.kind.delays()
                || !specific
                || (lead_ns < -subject.resolution_ns && !sampled(train.kind))))
    {
        return None;
    }
    let absent = |expected: &&i64| nearest(times, **expected, met.reach_ns).is_none();
    let dose = dose(met, subject);
    let support = seen as f64 / hits.max(1) as f64;
    let weight = match (mechanism, train.kind) {
        (true, Kind::Stopped) => 5.0,
        // A throttled process waits for a CPU because it is throttled.
        (true, Kind::Throttled) => 4.5 + accounted.min(1.0) / 2.0,
        (true, kind) if kind.delays() => 4.0 + accounted.min(1.0) / 2.0,
        (true, _) => 3.0,
        (false, Kind::Exec) => 2.0,
        (false, _) => 1.0,
    };
    let cause = Cause {
        kind: train.kind.name().to_owned(),
        subject: train.subject.clone(),
        claim: claim(train, met, times, lead_ns, hits),
        coincidences: seen,
        hits,
        elsewhere,
        absent_in_misses: subject.misses.iter().filter(absent).count(),
        misses: subject.misses.len(),
        chance,
        lead_s: lead_ns as f64 * 1e-9,
        lead_sd_s: deviation(&met.leads_ns) * 1e-9,
        dose,
        sql: sql(train, subject, met),
    };
    Some((weight + support + dose.unwrap_or(0.0).max(0.0) / 4.0, cause))
}

/// Median share of the longest wait that a delay lasted.
fn accounted(train: &Train, met: &Met, subject: &Subject<'_>) -> f64 {
    if !train.kind.delays() {
        return 0.0;
    }
    let mut shares: Vec<f64> =
        met.sizes.iter().map(|&(hit, size_ns)| size_ns / (subject.hits[hit].2 as f64).max(1.0)).collect();
    shares.resize(subject.hits.len(), 0.0);
    shares.sort_by(f64::total_cmp);
    shares[shares.len() / 2]
}

/// How often a shifted train comes as near in as many cycles.
fn chance(times: &[Happening], met: &Met, subject: &Subject<'_>) -> f64 {
    let farthest = |before: bool| {
        let leads = met.leads_ns.iter().filter(|&&lead| (lead >= 0) == before).map(|lead| lead.abs());
        (leads.max().unwrap_or_default() * 3 / 2).max(2 * subject.resolution_ns)
    };
    let reach = (farthest(true).min(met.reach_ns.0), farthest(false).min(met.reach_ns.1));
    let (begin_ns, end_ns) = subject.recording;
    let length_ns = (end_ns - begin_ns).max(1);
    let count = |shift_ns: i64| {
        let near = |&&(onset_ns, _, _): &&(i64, i64, i64)| {
            // Shifting the train forward is shifting the onset back, around the recording.
            let at = begin_ns + (onset_ns - begin_ns - shift_ns).rem_euclid(length_ns);
            nearest(times, at, reach).is_some()
        };
        subject.hits.iter().filter(near).count()
    };
    let observed = count(0);
    let as_good = (1..SHIFTS)
        .filter(|&i| count((length_ns as i128 * i as i128 / SHIFTS as i128) as i64) >= observed)
        .count();
    (1 + as_good) as f64 / SHIFTS as f64
}

/// Spearman's rank correlation of size and excess over the hits, where both vary and there are enough.
fn dose(met: &Met, subject: &Subject<'_>) -> Option<f64> {
    let pairs: Vec<(f64, f64)> =
        met.sizes.iter().filter_map(|&(hit, size)| Some((size, *subject.excess_s.get(hit)?))).collect();
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

fn claim(train: &Train, met: &Met, times: &[Happening], lead_ns: i64, hits: usize) -> String {
    let seen = met.leads_ns.len();
    let sizes: Vec<i64> = met.sizes.iter().map(|&(_, size)| size as i64).collect();
    let typical = median(&sizes);
    let subject = &train.subject;
    let elsewhere = match times.len().saturating_sub(seen) {
        0 => "never elsewhere".to_owned(),
        n => format!("{n} x elsewhere"),
    };
    let cycles = format!("in {seen} of {hits} cycles, {elsewhere}");
    let when = words::lead(lead_ns);
    match train.kind {
        Kind::Stopped => {
            format!("{subject} was stopped (SIGSTOP) for {}, beginning {when}, {cycles}", duration(typical))
        }
        Kind::Throttled => {
            format!("the cgroup of {subject} was throttled for {}, {cycles}", duration(typical))
        }
        Kind::RunQueue => {
            let holder = train.other.as_ref().map(|o| format!(", mostly held by {o}")).unwrap_or_default();
            format!("{subject} waited {} for a CPU{holder}, {cycles}", duration(typical))
        }
        Kind::OffCpu => {
            format!("{subject} was blocked {} in uninterruptible sleep (disk), {cycles}", duration(typical))
        }
        Kind::Retransmit => format!("{typical} segments were retransmitted on {subject}, {cycles}"),
        Kind::RoundTrip => {
            format!("the round trip of {subject} rose to {}, {cycles}", duration(typical * 1000))
        }
        Kind::Exec => format!("{subject} was started {when}, {cycles}"),
        Kind::Cpu => format!("{subject} used {} of CPU, {cycles}", duration(typical)),
        Kind::Reset => format!("{typical} resets on {subject} {when}, {cycles}"),
        Kind::Reconnect => format!("{typical} connections were opened on {subject} {when}, {cycles}"),
        Kind::Dns => format!("{typical} connections to a name server ({subject}) {when}, {cycles}"),
    }
}

/// The rows of the train near the comb.
fn sql(train: &Train, subject: &Subject<'_>, met: &Met) -> String {
    let before = met.leads_ns.iter().copied().max().unwrap_or_default().max(0) + subject.resolution_ns;
    let longest = subject.hits.iter().map(|(from, to, _)| to - from).max().unwrap_or_default();
    let span = before + longest + met.reach_ns.1;
    let first = subject.hits.first().map_or(0, |hit| hit.0) - before;
    format!(
        "SELECT * FROM ({}) WHERE {} ORDER BY time",
        train.sql,
        words::in_phase("time", subject.period_ns, first, (span as f64 / subject.period_ns).min(1.0))
    )
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
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn train(kind: Kind, subject: &str, times: impl IntoIterator<Item = (i64, i64)>) -> Train {
        let times = times.into_iter().map(|(from_ns, to_ns)| Happening {
            from_ns,
            to_ns,
            size: (to_ns - from_ns) as f64,
        });
        Train {
            kind,
            subject: subject.into(),
            other: None,
            times: times.collect(),
            sql: "SELECT 1 AS time".into(),
        }
    }

    fn found(trains: &[Train]) -> Vec<(String, String)> {
        let hits: Vec<(i64, i64, i64)> =
            (0..9).map(|i| (7 * SECOND + i * 20 * SECOND, 8 * SECOND + i * 20 * SECOND, SECOND)).collect();
        let subject = Subject {
            hits: &hits,
            misses: &[],
            excess_s: &[1.0; 9],
            period_ns: 20.0 * SECOND as f64,
            recording: (0, 180 * SECOND),
            resolution_ns: SECOND / 10,
            hop: "a -> b:1",
            on_the_way: true,
            processes: &["b".to_owned()],
        };
        causes(trains, &subject).into_iter().map(|cause| (cause.kind, cause.subject)).collect()
    }

    #[test]
    fn a_stop_goes_before_a_program_started_at_the_same_time() {
        let every = |from: i64, length: i64| {
            (0..9).map(move |i| (from + i * 20 * SECOND, from + i * 20 * SECOND + length))
        };
        let trains = [
            train(Kind::Exec, "/bin/cron-job", every(7 * SECOND - 40_000_000, 0)),
            train(Kind::Stopped, "b", every(7 * SECOND, SECOND)),
            train(Kind::Exec, "/bin/unrelated", every(15 * SECOND, 0)),
        ];
        let expected =
            [("stopped", "b"), ("exec", "/bin/cron-job")].map(|(k, s)| (k.to_owned(), s.to_owned()));
        assert_eq!(found(&trains), expected);
    }

    #[test]
    fn throttling_goes_before_the_wait_for_a_cpu_that_it_makes() {
        let every =
            |from: i64| (0..9).map(move |i| (from + i * 20 * SECOND, from + i * 20 * SECOND + 900_000_000));
        let trains = [
            train(Kind::RunQueue, "b", every(7 * SECOND)),
            train(Kind::Throttled, "b", every(7 * SECOND + 50_000_000)),
        ];
        let expected = [("throttled", "b"), ("run_queue", "b")].map(|(k, s)| (k.to_owned(), s.to_owned()));
        assert_eq!(found(&trains), expected);
    }

    #[test]
    fn of_programs_that_always_start_together_the_first_is_named_first() {
        let started = |subject: &str, before_ms: i64| {
            let at = 7 * SECOND - before_ms * 1_000_000;
            train(Kind::Exec, subject, (0..9).map(move |i| (at + i * 20 * SECOND, at + i * 20 * SECOND)))
        };
        let trains = [started("/bin/gzip", 20), started("/bin/snapshot", 40)];
        let named: Vec<String> = found(&trains).into_iter().map(|(_, subject)| subject).collect();
        assert_eq!(named, ["/bin/snapshot", "/bin/gzip"]);
    }

    #[test]
    fn what_happens_all_the_time_or_rarely_is_no_cause() {
        let often = train(Kind::Exec, "/bin/date", (0..180).map(|i| (i * SECOND, i * SECOND)));
        let little = train(
            Kind::RunQueue,
            "b",
            (0..9).map(|i| (7 * SECOND + i * 20 * SECOND, 7 * SECOND + i * 20 * SECOND + 6_000_000)),
        );
        let once = train(Kind::Stopped, "b", [(7 * SECOND, 8 * SECOND)]);
        assert_eq!(found(&[often, little, once]), []);
    }
}
