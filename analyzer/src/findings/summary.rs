//! A finding in two sentences for somebody who has ten seconds: what comes back how often and why, and how sure that is.
//!
//! Numbers are rounded as people say them; the exact ones follow in the text and stay in the JSON.

use super::wording::listener;
use super::{Cause, HopShare, Metric, Spike};
use crate::text::{count, duration};

/// Less likely by chance than one in so many is not said any finer.
const RAREST: f64 = 1e-6;

/// `Every 60 s about 5 clients give up, because shop (pid 812, port 8080) is stopped (SIGSTOP) for 1.97 s.`
pub fn what(spike: &Spike) -> String {
    format!("Every {} {}{}.", period(spike), affected(spike), why(spike))
}

/// `9 of 9 times, never at another time; odds that this is chance: 1 in 3 300.`
pub fn odds(spike: &Spike) -> String {
    let cause = match spike.causes.first() {
        None => String::new(),
        Some(cause) if cause.coincidences == spike.hits && cause.elsewhere == 0 => {
            ", never at another time".to_owned()
        }
        Some(cause) => {
            let besides = match cause.elsewhere {
                0 => String::new(),
                n => format!(" and {} times besides", count(n as u64)),
            };
            format!(", the cause with {} of them{besides}", cause.coincidences)
        }
    };
    format!(
        "{} of {} times{cause}; odds that this is chance: {}.",
        spike.hits,
        spike.cycles,
        one_in(spike.fap)
    )
}

/// The shortest number that the uncertainty of the period allows: `10 min`, `15 s`, `12.4 s`.
fn period(spike: &Spike) -> String {
    let margin_s = (spike.period_ci_s[1] - spike.period_ci_s[0]) / 2.0;
    let rounded = |digits: i32| {
        let unit = 10f64.powi(digits);
        (spike.period_s * unit).round() / unit
    };
    let near = |digits: &i32| (rounded(*digits) - spike.period_s).abs() <= margin_s && rounded(*digits) > 0.0;
    let shortest_s = (-1..=3).find(near).map_or(spike.period_s, rounded);
    let whole = |unit_s: f64| shortest_s >= unit_s && (shortest_s % unit_s).abs() < 1e-9;
    match shortest_s {
        s if s >= 7200.0 && whole(3600.0) => format!("{} h", s / 3600.0),
        s if s >= 120.0 && whole(60.0) => format!("{} min", s / 60.0),
        s if s >= 1.0 => format!("{s} s"),
        s => duration((s * 1e9).round() as i64),
    }
}

/// Whom it hits, and how badly.
fn affected(spike: &Spike) -> String {
    let mean = spike.affected_per_cycle.mean;
    let hits = spike.cycle_table.iter().filter(|cycle| cycle.onset_ns.is_some());
    let some = |one: &str, many: &str| match rounded(mean) {
        0 | 1 => format!("about one {one}"),
        n => format!("about {} {many}", count(n)),
    };
    match spike.metric {
        Metric::ClientClosed => some("client gives up", "clients give up"),
        Metric::Errors => some("request fails", "requests fail"),
        Metric::Latency => match median(hits.map(|cycle| cycle.worst_s).collect()) {
            worst_s if worst_s > 0.0 => {
                let worst = duration((worst_s * 1e9) as i64);
                some(&format!("request takes {worst}"), &format!("requests take up to {worst}"))
            }
            _ => some("request is slow", "requests are slow"),
        },
        Metric::Missing => {
            let lengths = hits.filter_map(|cycle| Some((cycle.end_ns? - cycle.onset_ns?) as f64));
            format!("no request completes for about {}", duration(median(lengths.collect()) as i64))
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Two significant digits at most.
fn rounded(number: f64) -> u64 {
    let unit = 10f64.powf(number.max(1.0).log10().floor() - 1.0).max(1.0);
    ((number / unit).round() * unit) as u64
}

fn why(spike: &Spike) -> String {
    match spike.causes.first() {
        Some(cause) if cause.explains => {
            format!(", because {}{}", cause.reason, started_before(cause, spike))
        }
        Some(cause) => format!("; at the same time {}", cause.reason),
        None => {
            let place =
                spike.hops.first().map(|top| format!("; {}", place(top, &spike.pids))).unwrap_or_default();
            format!("{place}; nothing recorded is shown to be the cause")
        }
    }
}

/// The program whose start comes before what explains it.
fn started_before(cause: &Cause, spike: &Spike) -> String {
    let before = |other: &&Cause| other.kind == "exec" && other.lead_s >= cause.lead_s;
    let started = spike.causes.iter().skip(1).find(before);
    started.map(|started| format!(", just after {}", started.reason)).unwrap_or_default()
}

/// Where the time goes, or where failures begin.
fn place(top: &HopShare, pids: &[i64]) -> String {
    let pid = match pids {
        [pid] => format!(" (pid {pid})"),
        _ => String::new(),
    };
    let share = format!("{:.0} %", 100.0 * top.share);
    match (top.part.as_str(), top.failures > 0) {
        ("server", false) => format!("{share} of the time is lost in {}{pid}", listener(&top.hop)),
        ("server", true) => format!("{share} of the failures begin in {}{pid}", listener(&top.hop)),
        ("connect", false) => {
            format!("{share} of the time is lost waiting for the connection to {}{pid}", listener(&top.hop))
        }
        ("queue", false) => {
            format!("{share} of the time requests lie unread at {}{pid}", listener(&top.hop))
        }
        ("queue", true) => {
            format!("{share} of the failures are requests that lie unread at {}{pid}", listener(&top.hop))
        }
        ("connect", true) => format!("{share} of the failures are connects to {}{pid}", listener(&top.hop)),
        (_, false) => {
            format!("{share} of the time is lost on {}, until {}{pid} takes or answers", top.hop, top.process)
        }
        (_, true) => format!("{share} of the failures are connections that break on {}", top.hop),
    }
}

/// `1 in 3 300`.
fn one_in(chance: f64) -> String {
    match chance {
        chance if chance < RAREST => format!("less than 1 in {}", count((1.0 / RAREST) as u64)),
        chance => format!("1 in {}", count(rounded(1.0 / chance).max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Cycle, Interval};

    fn spike(period_s: f64, margin_s: f64) -> Spike {
        Spike {
            period_s,
            period_ci_s: [period_s - margin_s, period_s + margin_s],
            metric: Metric::ClientClosed,
            affected_per_cycle: Interval { mean: 5.22, low: 4.0, high: 6.0 },
            fap: 3e-4,
            hits: 9,
            cycles: 9,
            cycle_table: vec![Cycle {
                onset_ns: Some(0),
                end_ns: Some(1_200_000_000),
                worst_s: 1.9,
                ..Cycle::default()
            }],
            ..Spike::default()
        }
    }

    fn cause(kind: &str, reason: &str, explains: bool, lead_s: f64) -> Cause {
        Cause {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            explains,
            lead_s,
            coincidences: 9,
            hits: 9,
            ..Cause::default()
        }
    }

    #[test]
    fn a_period_is_as_short_as_it_may_be() {
        let said = |period_s, margin_s| period(&spike(period_s, margin_s));
        assert_eq!(said(60.000_2, 0.008), "60 s");
        assert_eq!(said(600.3, 0.5), "10 min");
        assert_eq!(said(600.3, 0.1), "600.3 s");
        assert_eq!(said(14.97, 0.01), "14.97 s");
        assert_eq!(said(5401.0, 2.0), "90 min");
        assert_eq!(said(10_800.0, 30.0), "3 h");
        assert_eq!(said(0.25, 0.001), "250 ms");
        assert_eq!(said(12.345_678, 1e-6), "12.345678 s");
    }

    #[test]
    fn a_cause_that_explains_is_told_from_one_that_comes_at_the_same_time() {
        let stop = "shop (pid 812, port 8080) is stopped (SIGSTOP) for 1.97 s";
        let mut spike = spike(60.0, 0.01);
        spike.causes = vec![cause("stopped", stop, true, 0.03)];
        assert_eq!(what(&spike), format!("Every 60 s about 5 clients give up, because {stop}."));
        spike.causes.push(cause("exec", "/bin/snapshot is started", false, 0.04));
        assert!(
            what(&spike).ends_with("for 1.97 s, just after /bin/snapshot is started."),
            "{}",
            what(&spike)
        );
        spike.causes.remove(0);
        assert_eq!(
            what(&spike),
            "Every 60 s about 5 clients give up; at the same time /bin/snapshot is started."
        );
    }

    #[test]
    fn without_a_cause_the_place_is_named() {
        let mut spike = Spike { pids: vec![7], metric: Metric::Errors, ..spike(15.0, 0.01) };
        let (hop, process) = ("envoy -> shop:8080".to_owned(), "shop".to_owned());
        spike.hops =
            vec![HopShare { hop, process, part: "server".to_owned(), share: 0.94, ..HopShare::default() }];
        let said = "Every 15 s about 5 requests fail; 94 % of the time is lost in shop:8080 (pid 7); nothing recorded is shown to be the cause.";
        assert_eq!(what(&spike), said);
        spike.metric = Metric::Missing;
        assert!(
            what(&spike).starts_with("Every 15 s no request completes for about 1.20 s; 94 %"),
            "{}",
            what(&spike)
        );
        spike.metric = Metric::Latency;
        assert!(
            what(&spike).starts_with("Every 15 s about 5 requests take up to 1.90 s; 94 %"),
            "{}",
            what(&spike)
        );
        spike.affected_per_cycle.mean = 1.2;
        assert!(
            what(&spike).starts_with("Every 15 s about one request takes 1.90 s; 94 %"),
            "{}",
            what(&spike)
        );
    }

    #[test]
    fn odds_are_said_as_one_in_so_many() {
        let mut spike = spike(60.0, 0.01);
        assert_eq!(odds(&spike), "9 of 9 times; odds that this is chance: 1 in 3 300.");
        spike.causes = vec![cause("stopped", "", true, 0.0)];
        assert_eq!(
            odds(&spike),
            "9 of 9 times, never at another time; odds that this is chance: 1 in 3 300."
        );
        (spike.causes[0].coincidences, spike.causes[0].elsewhere, spike.fap) = (7, 2, 1e-9);
        let said = "9 of 9 times, the cause with 7 of them and 2 times besides; odds that this is chance: less than 1 in 1 000 000.";
        assert_eq!(odds(&spike), said);
    }
}
