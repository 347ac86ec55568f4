//! What comes near a spike without being shown to be its cause: that nothing coincides is said only where nothing does.

use super::{
    CHANCE, EXPLAINS, Matches, Part, Subject, accounted, chance, claim, follows, match_onsets, median,
};
use crate::findings::bursts::Counted;
use crate::findings::kernel_events::EventSeries;

/// Share of the hits in which it must be seen to be worth a word.
const SEEN: f64 = 1.0 / 3.0;
/// Share of the wait that a delay must account for to be worth a word.
const ACCOUNTED: f64 = 0.1;

/// The series that would explain most of a spike for which [`super::causes`] gives nothing, and why it is not named as the cause;
/// None where none comes near.
pub fn nearest_to_a_cause(series: &[EventSeries], subject: &Subject<'_>) -> Option<String> {
    let parts = series.iter().flat_map(|series| Part::of(series, subject));
    let near = parts.filter_map(|part| near(&part, subject));
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, text)| text)
}

/// How much a series has for it, and what it does and lacks, in words.
fn near(part: &Part<'_>, subject: &Subject<'_>) -> Option<(f64, String)> {
    let Part { counted: Counted { series, involved, .. }, bursts } = part;
    let matches = match_onsets(bursts, series.kind, subject);
    let (seen, hits) = (matches.leads_ns.len(), subject.hits.len());
    if seen < 2 || (seen as f64) < SEEN * hits as f64 || !series.kind.explains() {
        return None;
    }
    let lead_ns = median(&matches.leads_ns);
    let share = share(part, &matches, subject);
    if follows(part, lead_ns, subject) || (series.kind.delays() && share < ACCOUNTED) {
        return None;
    }
    let by_chance = chance(bursts, &matches, *involved, subject);
    // Others than the suspects are kept waiting by something on a busy host all the time.
    if !involved && (share < EXPLAINS || by_chance > CHANCE) {
        return None;
    }
    let lacks = if !involved {
        "but that is not where the time goes".to_owned()
    } else if by_chance > CHANCE {
        format!("which may be chance ({:.0} %)", 100.0 * by_chance)
    } else if series.kind.delays() && accounted(series, &matches, subject) < EXPLAINS {
        "which is a small part of the wait".to_owned()
    } else {
        "which is too little to be sure".to_owned()
    };
    let text = format!("{}, {lacks}", claim::claim(part, &matches, lead_ns, subject));
    let weight = seen as f64 / hits as f64 + share.min(1.0) + f64::from(u8::from(*involved)) - by_chance;
    Some((weight, text))
}

/// Median share of the wait for which it kept one thread, of the hits where it is seen; of what is no delay all.
fn share(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> f64 {
    if !part.counted.series.kind.delays() {
        return 1.0;
    }
    let of_wait = matches
        .bursts
        .iter()
        .map(|&(hit, burst)| burst.longest_ns as f64 / (subject.hits[hit].2 as f64).max(1.0));
    let mut shares: Vec<f64> = of_wait.collect();
    shares.sort_by(f64::total_cmp);
    shares.get(shares.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::super::tests::{SECOND, series};
    use super::super::{Kind, causes};
    use super::*;

    /// Ten onsets every 8 s with waits of a second; `b` is what is suspected.
    fn every_8_s(series: &[EventSeries], misses: &[i64], others: &[i64]) -> (usize, String, Option<String>) {
        let hits: Vec<(i64, i64, i64)> = (0..10)
            .map(|i| 5 * SECOND + i * 8 * SECOND)
            .filter(|at| !misses.contains(at))
            .map(|at| (at, at + SECOND, SECOND))
            .collect();
        let processes = BTreeSet::from([1]);
        let subject = Subject {
            hits: &hits,
            misses,
            others,
            excess_s: &[],
            period_ns: 8.0 * SECOND as f64,
            recording: (0, 90 * SECOND),
            resolution_ns: SECOND / 10,
            hop: "a -> b:1",
            on_the_way: true,
            processes: &processes,
            answering: &processes,
            namespaces: &BTreeSet::from([77]),
            pids: &HashMap::new(),
            unseen: &[],
        };
        let causes = causes(series, &subject);
        let claim = causes.first().map(|cause| cause.claim.clone()).unwrap_or_default();
        (causes.len(), claim, nearest_to_a_cause(series, &subject))
    }

    fn stops(of: &str, length_ns: i64, late_ns: impl Fn(i64) -> i64) -> EventSeries {
        let at = (0..10).map(|i| 5 * SECOND + i * 8 * SECOND - late_ns(i));
        series(Kind::Stopped, of, at.map(|at| (at, at + length_ns)))
    }

    #[test]
    fn stops_at_cycles_without_an_episode_are_not_elsewhere() {
        let misses = [3, 7].map(|i| 5 * SECOND + i * 8 * SECOND);
        let (found, claim, _) = every_8_s(&[stops("b", SECOND, |_| 50_000_000)], &misses, &[]);
        assert_eq!(found, 1);
        assert!(
            claim.ends_with("in 8 of 8 cycles, in 2 of 2 without an episode, never elsewhere"),
            "{claim}"
        );
        // A comb that has every second one only.
        let odd: Vec<i64> = (0..10).step_by(2).map(|i| 9 * SECOND + i * 8 * SECOND).collect();
        let both = (0..10).map(|i| 5 * SECOND + i * 8 * SECOND).chain(odd.iter().copied());
        let mut both: Vec<i64> = both.collect();
        both.sort_unstable();
        let both = series(Kind::Stopped, "b", both.into_iter().map(|at| (at, at + SECOND)));
        let (_, claim, _) = every_8_s(&[both], &[], &odd);
        assert!(claim.ends_with("in 10 of 10 cycles, at 5 other episodes, never elsewhere"), "{claim}");
    }

    #[test]
    fn one_onset_that_is_known_badly_does_not_deny_the_stops() {
        let late = |i: i64| if i == 4 { 780_000_000 } else { 60_000_000 };
        let waits = series(
            Kind::RunQueue,
            "b",
            (0..60).map(|i| (i * 1_499_000_000, i * 1_499_000_000 + 400_000_000)),
        );
        let (found, claim, _) = every_8_s(&[stops("b", 600_000_000, late), waits], &[], &[]);
        assert_eq!(found, 1, "{claim}");
        assert!(claim.starts_with("b is stopped"), "{claim}");
    }

    #[test]
    fn what_comes_near_is_not_denied() {
        // In five of ten cycles only: no cause, but not nothing.
        let some = (0..5).map(|i| 5 * SECOND + i * 16 * SECOND);
        let some = series(Kind::Stopped, "b", some.map(|at| (at, at + SECOND)));
        let (found, _, near) = every_8_s(&[some], &[], &[]);
        assert_eq!(found, 0);
        assert!(near.as_ref().is_some_and(|near| near.contains("in 5 of 10 cycles")), "{near:?}");
        // Short stops explain a small part.
        let (found, _, near) = every_8_s(&[stops("b", 150_000_000, |_| 0)], &[], &[]);
        assert_eq!(found, 0);
        assert!(near.as_ref().is_some_and(|near| near.ends_with("a small part of the wait")), "{near:?}");
        // Somebody else's.
        let (found, _, near) = every_8_s(&[stops("c", SECOND, |_| 0)], &[], &[]);
        assert_eq!(found, 0);
        assert!(near.as_ref().is_some_and(|near| near.ends_with("not where the time goes")), "{near:?}");
        // Nothing near, or nothing to speak of.
        let far = series(
            Kind::Stopped,
            "b",
            (0..10).map(|i| (9 * SECOND + i * 8 * SECOND, 10 * SECOND + i * 8 * SECOND)),
        );
        assert_eq!(every_8_s(&[far], &[], &[]).2, None);
        assert_eq!(every_8_s(&[stops("b", 20_000_000, |_| 0)], &[], &[]).2, None);
    }
}
