use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::findings::counters::Counter;
use retrospan_random::Random;

pub(super) const SECOND: i64 = 1_000_000_000;

pub(super) fn series(kind: Kind, subject: &str, times: impl IntoIterator<Item = (i64, i64)>) -> EventSeries {
    let times = times.into_iter().map(|(from_ns, to_ns)| Occurrence {
        from_ns,
        to_ns,
        size: (to_ns - from_ns) as f64,
        process_id: (kind.of_connects() || (!kind.of_hop() && kind != Kind::Exec)).then_some(
            match (subject, kind.of_connects()) {
                ("b", false) | ("b -> c:2", true) => 1,
                _ => 2,
            },
        ),
        tid: 1,
        netns: Some(if subject == "b" { 77 } else { 78 }),
    });
    EventSeries { kind, subject: subject.into(), other: None, times: times.collect() }
}

fn found(series: &[EventSeries]) -> Vec<(String, String)> {
    let hits: Vec<(i64, i64, i64)> =
        (0..9).map(|i| (7 * SECOND + i * 20 * SECOND, 8 * SECOND + i * 20 * SECOND, SECOND)).collect();
    let subject = Subject {
        hits: &hits,
        misses: &[],
        others: &[],
        excess_s: &[1.0; 9],
        period_ns: 20.0 * SECOND as f64,
        recording: (0, 180 * SECOND),
        resolution_ns: SECOND / 10,
        hop: "a -> b:1",
        on_the_way: true,
        processes: &BTreeSet::from([1]),
        answering: &BTreeSet::from([1]),
        namespaces: &BTreeSet::from([77]),
        pids: &HashMap::new(),
        unseen: &[],
    };
    causes(series, &subject).into_iter().map(|cause| (cause.kind, cause.subject)).collect()
}

#[test]
fn a_stop_goes_before_a_program_started_at_the_same_time() {
    let every = |from: i64, length: i64| {
        (0..9).map(move |i| (from + i * 20 * SECOND, from + i * 20 * SECOND + length))
    };
    let series = [
        series(Kind::Exec, "/bin/cron-job", every(7 * SECOND - 40_000_000, 0)),
        series(Kind::Stopped, "b", every(7 * SECOND, SECOND)),
        series(Kind::Exec, "/bin/unrelated", every(15 * SECOND, 0)),
    ];
    let expected = [("stopped", "b"), ("exec", "/bin/cron-job")].map(|(k, s)| (k.to_owned(), s.to_owned()));
    assert_eq!(found(&series), expected);
}

#[test]
fn what_the_answering_process_waits_for_explains_the_wait_for_it() {
    let every = |from: i64| (0..9).map(move |i| (from + i * 20 * SECOND, from + i * 20 * SECOND + SECOND));
    // More often elsewhere than at the onsets.
    let often = || [7, 12, 18].into_iter().flat_map(|from| every(from * SECOND));
    let ordered = |subject: &str| {
        let mut series = series(Kind::SynAgain, subject, often());
        series.times.sort_by_key(|time| time.from_ns);
        series
    };
    let other = ordered("x -> c:2");
    assert_eq!(found(std::slice::from_ref(&other)), [], "another process's connects, and elsewhere too");
    let named = found(&[series(Kind::SynAgain, "b -> c:2", every(7 * SECOND)), other]);
    assert_eq!(named, [("syn_retransmit".to_owned(), "b -> c:2".to_owned())]);
    let of_hop = [series(Kind::ListenQueue, "a -> b:1", every(7 * SECOND))];
    assert_eq!(found(&of_hop), [("listen_queue".to_owned(), "a -> b:1".to_owned())]);
}

#[test]
fn throttling_goes_before_the_wait_for_a_cpu_that_it_makes() {
    let every =
        |from: i64| (0..9).map(move |i| (from + i * 20 * SECOND, from + i * 20 * SECOND + 900_000_000));
    let series = [
        series(Kind::RunQueue, "b", every(7 * SECOND)),
        series(Kind::Throttled, "b", every(7 * SECOND + 50_000_000)),
    ];
    let expected = [("throttled", "b"), ("run_queue", "b")].map(|(k, s)| (k.to_owned(), s.to_owned()));
    assert_eq!(found(&series), expected);
}

#[test]
fn of_programs_that_always_start_together_the_first_is_named_first() {
    let started = |subject: &str, before_ms: i64| {
        let at = 7 * SECOND - before_ms * 1_000_000;
        series(Kind::Exec, subject, (0..9).map(move |i| (at + i * 20 * SECOND, at + i * 20 * SECOND)))
    };
    let series = [started("/bin/gzip", 20), started("/bin/snapshot", 40)];
    let named: Vec<String> = found(&series).into_iter().map(|(_, subject)| subject).collect();
    assert_eq!(named, ["/bin/snapshot", "/bin/gzip"]);
}

#[test]
fn what_happens_all_the_time_or_rarely_is_no_cause() {
    let often = series(Kind::Exec, "/bin/date", (0..180).map(|i| (i * SECOND, i * SECOND)));
    let little = series(
        Kind::RunQueue,
        "b",
        (0..9).map(|i| (7 * SECOND + i * 20 * SECOND, 7 * SECOND + i * 20 * SECOND + 6_000_000)),
    );
    let once = series(Kind::Stopped, "b", [(7 * SECOND, 8 * SECOND)]);
    assert_eq!(found(&[often, little, once]), []);
}

/// Twelve slow stretches of 3 s, one every 600 s; requests wait 0.3 s in them.
fn ten_minutes(series: &[EventSeries], misses: &[i64], processes: &[i64]) -> Vec<Cause> {
    let hits: Vec<(i64, i64, i64)> = (0..12)
        .map(|i| 100 * SECOND + i * 600 * SECOND)
        .map(|at| (at, at + 3 * SECOND, 300_000_000))
        .collect();
    let subject = Subject {
        hits: &hits,
        misses,
        others: &[],
        excess_s: &[1.0; 12],
        period_ns: 600.0 * SECOND as f64,
        recording: (0, 7200 * SECOND),
        resolution_ns: SECOND / 10,
        hop: "a -> b:1",
        on_the_way: false,
        processes: &processes.iter().copied().collect(),
        answering: &BTreeSet::new(),
        namespaces: &BTreeSet::from([77]),
        pids: &HashMap::new(),
        unseen: &[],
    };
    causes(series, &subject)
}

/// Waits of `length_ns` at each of those, one after the other on four threads, and short ones every 16 s.
fn waits(length_ns: i64) -> EventSeries {
    let at = |i: i64, j: i64| 100 * SECOND + i * 600 * SECOND + j * 200_000_000;
    let slow = (0..12).flat_map(|i| (0..14).map(move |j| (at(i, j), at(i, j) + length_ns)));
    let short = (0..450).map(|i| (i * 16 * SECOND, i * 16 * SECOND + 5_000_000));
    let mut times: Vec<(i64, i64)> = slow.chain(short).collect();
    times.sort_unstable();
    let mut series = series(Kind::RunQueue, "b", times);
    series.times.iter_mut().enumerate().for_each(|(i, h)| h.tid = i as i64 % 4);
    series
}

#[test]
fn ordinary_short_waits_do_not_hide_the_long_ones_at_a_long_period() {
    let found = ten_minutes(&[waits(300_000_000)], &[], &[1]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].coincidences, found[0].elsewhere), (12, 0));
}

#[test]
fn what_is_too_small_to_count_is_not_shown() {
    let mut waits = waits(300_000_000);
    let proto = waits.times[0];
    let short = |at: i64| Occurrence { from_ns: at, to_ns: at + 5_000_000, size: 5e6, ..proto };
    waits.times.extend((0..450).map(|i| short((16 * i + 4) * SECOND)));
    waits.times.sort_by_key(|row| row.from_ns);
    let [cause] = &ten_minutes(&[waits], &[], &[1])[..] else { panic!("one cause") };
    assert_eq!(cause.rows, 12 * 14);
    let condition = "FROM run_queue_waits WHERE process = 'b' AND duration_ns >= 30000000 AND fold_phase(";
    assert!(cause.sql.contains(condition), "{}", cause.sql);
}

#[test]
fn a_wait_is_one_threads_and_many_short_ones_side_by_side_explain_nothing() {
    // Of 14 waits of 0.3 s the busiest thread has four, of 14 of 20 ms a quarter of what a request waits.
    let found = ten_minutes(&[waits(300_000_000)], &[], &[1]);
    assert!(found[0].claim.starts_with("b waits up to 1.2"), "{}", found[0].claim);
    assert_eq!(ten_minutes(&[waits(20_000_000)], &[], &[1]).len(), 0);
}

fn every(kind: Kind, subject: &str, from_ns: i64, length_ns: i64) -> EventSeries {
    let at = move |i: i64| from_ns + i * 600 * SECOND;
    series(kind, subject, (0..12).map(move |i| (at(i), at(i) + length_ns)))
}

#[test]
fn a_stop_of_another_process_of_the_same_name_is_none_of_the_suspects() {
    let stops = every(Kind::Stopped, "b", 100 * SECOND, 3 * SECOND);
    let other: Vec<Occurrence> =
        stops.times.iter().map(|h| Occurrence { process_id: Some(7), ..*h }).collect();
    let stranger = EventSeries { times: other.clone(), ..stops.clone() };
    assert_eq!(ten_minutes(&[stranger], &[], &[1]).len(), 0);
    // Where both are stopped at other times each is judged by itself.
    let late = other.iter().map(|h| Occurrence { from_ns: h.from_ns + 300 * SECOND, ..*h });
    let late = late.map(|h| Occurrence { to_ns: h.to_ns + 300 * SECOND, ..h });
    let mut times: Vec<Occurrence> = stops.times.iter().copied().chain(late).collect();
    times.sort_by_key(|h| h.from_ns);
    let found = ten_minutes(&[EventSeries { times, ..stops }], &[], &[1, 3]);
    assert_eq!((found.len(), found[0].elsewhere), (1, 0));
    let statement = "SELECT * FROM stopped WHERE process = 'b' AND process_id IN (1) AND fold_phase(time, ";
    assert!(found[0].sql.starts_with(statement), "{}", found[0].sql);
    assert_eq!(found[0].rows, 12);
}

#[test]
fn innocent_programs_with_the_same_period_are_paid_for() {
    let job = |number: i64, from_ns: i64| every(Kind::Exec, &format!("/bin/job{number}"), from_ns, 0);
    let innocent = |number: i64| job(number, (100 + 11 * number) * SECOND);
    // Five seconds before: one in eighty programs comes as near.
    let near = job(0, 95 * SECOND);
    assert_eq!(ten_minutes(std::slice::from_ref(&near), &[], &[1]).len(), 1);
    let crowd: Vec<EventSeries> = (1..30).map(innocent).chain([near]).collect();
    assert_eq!(ten_minutes(&crowd, &[], &[1]).len(), 0);
    // One that comes at the very onset is named all the same.
    let crowd: Vec<EventSeries> = (1..30).map(innocent).chain([job(0, 100 * SECOND - 50_000_000)]).collect();
    assert_eq!(ten_minutes(&crowd, &[], &[1]).len(), 1);
    // What explains pays for what could explain, not for programs.
    let stop = every(Kind::Stopped, "b", 100 * SECOND, SECOND);
    let crowd: Vec<EventSeries> = (1..30).map(innocent).chain([stop]).collect();
    assert_eq!(ten_minutes(&crowd, &[], &[1])[0].kind, "stopped");
}

#[test]
fn what_is_absent_in_the_misses_goes_before_what_is_not() {
    let misses: Vec<i64> = (0..3).map(|i| (400 + i * 1800) * SECOND).collect();
    let mut always = every(Kind::Exec, "/bin/always", 100 * SECOND - 60_000_000, 0);
    let proto = always.times[0];
    always.times.extend(misses.iter().map(|&at| Occurrence { from_ns: at, to_ns: at, ..proto }));
    always.times.sort_by_key(|h| h.from_ns);
    let only_then = every(Kind::Exec, "/bin/only-then", 100 * SECOND - 90_000_000, 0);
    let found = ten_minutes(&[always, only_then], &misses, &[1]);
    let named: Vec<&str> = found.iter().map(|cause| cause.subject.as_str()).collect();
    assert_eq!(named, ["/bin/only-then", "/bin/always"]);
}

/// A program of the spike's period, started at any phase: it is not called unlikelier than it is. The recording is no whole
/// number of periods long.
#[test]
fn the_chance_of_an_innocent_program_is_not_understated() {
    let period_ns = 76 * SECOND;
    let mut random = Random::new(7);
    let (mut at_five, mut at_one) = (0, 0);
    let runs = 1000;
    for _ in 0..runs {
        let onsets: Vec<i64> =
            (0..12).map(|i| i * period_ns + 20 * SECOND + (random.normal() * 1e9) as i64).collect();
        let hits: Vec<_> = onsets.iter().map(|&from| (from, from + SECOND, SECOND)).collect();
        let subject = Subject {
            hits: &hits,
            misses: &[],
            others: &[],
            excess_s: &[1.0; 12],
            period_ns: period_ns as f64,
            recording: (0, 930 * SECOND),
            resolution_ns: SECOND / 10,
            hop: "a -> b:1",
            on_the_way: true,
            processes: &BTreeSet::from([1]),
            answering: &BTreeSet::from([1]),
            namespaces: &BTreeSet::from([77]),
            pids: &HashMap::new(),
            unseen: &[],
        };
        let phase_ns = (random.uniform() * period_ns as f64) as i64;
        let times = (0..13).map(|i| i * period_ns + phase_ns).take_while(|&at| at < 930 * SECOND);
        let job = series(Kind::Exec, "/bin/job", times.map(|at| (at, at)));
        let bursts = joined(&Counted::new(&job, false, &subject), &subject);
        let matches = match_onsets(&bursts, Kind::Exec, &subject);
        if matches.leads_ns.len() == hits.len() {
            let chance = chance(&bursts, &matches, false, &subject);
            at_five += i32::from(chance <= 0.05);
            at_one += i32::from(chance <= 0.01);
        }
    }
    // Five and one in a hundred, and three standard deviations.
    assert!(at_five <= 71 && at_one <= 20, "{at_five} and {at_one} of {runs}");
    assert!(at_five > 5, "{at_five} of {runs}: nothing would ever be named");
}

/// Intervals of about a second, each with an onset of [`found`] somewhere in it, moved by so much.
fn counted(counter: Counter, subject: &str, moved_ns: i64) -> EventSeries {
    let interval = |i: i64| {
        // Where in the interval the onset lies is different each time.
        let before = [200, 700, 100, 900, 400, 600, 300, 800, 500][i as usize] * 1_000_000;
        let from = 7 * SECOND + i * 20 * SECOND - before + moved_ns;
        (from, from + SECOND)
    };
    series(Kind::Counted(counter), subject, (0..9).map(interval))
}

#[test]
fn what_was_counted_in_the_interval_of_each_onset_is_a_cause() {
    let of_namespace = counted(Counter::ListenOverflow, "b", 0);
    let of_host = counted(Counter::DiskBusy, "vda", 0);
    let expected =
        [("listen_overflow", "b"), ("disk_busy", "vda")].map(|(k, s)| (k.to_owned(), s.to_owned()));
    assert_eq!(
        found(&[of_host.clone(), of_namespace]),
        expected,
        "that of the suspects' namespace goes first"
    );
    // A disk is nobody's, so it does not go before what kept the suspects from running.
    let stops = series(
        Kind::Stopped,
        "b",
        (0..9).map(|i| (7 + i * 20, 8 + i * 20)).map(|(a, b)| (a * SECOND, b * SECOND)),
    );
    assert_eq!(found(&[of_host, stops])[0].0, "stopped");
}

#[test]
fn what_was_counted_at_other_times_is_no_cause() {
    for moved_s in [-8, -3, 4, 10] {
        assert_eq!(found(&[counted(Counter::ListenOverflow, "b", moved_s * SECOND)]), [], "{moved_s} s");
    }
    // In every interval of 10 s: one holds each onset, which says nothing.
    let always = (0..18).map(|i| (i * 10 * SECOND, (i + 1) * 10 * SECOND));
    assert_eq!(found(&[series(Kind::Counted(Counter::Steal), "the host", always)]), []);
}

#[test]
fn connections_closed_after_the_onset_follow_from_it() {
    let closed = |late_ms: i64| {
        let at = move |i: i64| 7 * SECOND + i * 20 * SECOND + late_ms * 1_000_000;
        series(Kind::ClosedTogether, "b", (0..9).map(move |i| (at(i), at(i) + 1_000)))
    };
    assert_eq!(found(&[closed(-10)]), [("closed_together".to_owned(), "b".to_owned())]);
    assert_eq!(found(&[closed(200)]), []);
}
