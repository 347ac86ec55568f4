//! What a cause does, in words: once without numbers of cycles, for the finding's first sentence, and once with them.

use std::collections::BTreeSet;

use super::{Burst, Matches, Part, Subject, deviation, elsewhere, median, nearest};
use crate::findings::kernel_events::{EventSeries, Kind};
use crate::findings::wording;
use crate::text::duration;

/// Pids that are named; the rest are a number.
const MOST_PIDS: usize = 3;

/// `shop (pid 812) is stopped (SIGSTOP) for 1.97 s`.
pub fn reason(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> String {
    let series = part.counted.series;
    let size = |(_, burst): &(usize, Burst)| match series.kind.delays() {
        true => burst.longest_ns,
        false => burst.size as i64,
    };
    let typical = median(&matches.bursts.iter().map(size).collect::<Vec<i64>>());
    let pids = pids(part, matches, subject);
    let who = with_pids(&series.subject, &pids, port(&pids, subject));
    let to = with_pids(wording::listener(&series.subject), &pids, None);
    match series.kind {
        Kind::Stopped => format!("{who} is stopped (SIGSTOP) for {}", duration(typical)),
        Kind::Throttled => format!("the cgroup of {who} is throttled for {}", duration(typical)),
        Kind::RunQueue => {
            let holder = series.other.as_ref().map(|o| format!(", mostly held by {o}")).unwrap_or_default();
            format!("{who} waits up to {} a thread for a CPU{holder}", duration(typical))
        }
        Kind::OffCpu => {
            format!("{who} is blocked up to {} a thread in uninterruptible sleep (disk)", duration(typical))
        }
        Kind::Retransmit => {
            format!("{} on {}", some(typical, "segment is", "segments are", "retransmitted"), series.subject)
        }
        Kind::SynAgain => {
            let again = some(typical, "SYN is", "SYNs are", "sent again");
            format!("{again} to {to} (its listen queue is full, or it does not answer)")
        }
        Kind::ConnectFailed => {
            let connects = if typical == 1 { "connect" } else { "connects" };
            format!("{typical} {connects} to {to} {}", how_it_fails(series))
        }
        Kind::ListenQueue => {
            format!("connections to {to} wait up to {} until they are accepted", duration(typical))
        }
        Kind::ListenDrop => {
            let dropped = some(typical, "handshake segment is", "handshake segments are", "dropped");
            format!("{dropped} by the full listen queue of {who}")
        }
        Kind::RoundTrip => {
            format!("the round trip of {} rises to {}", series.subject, duration(typical * 1000))
        }
        Kind::Exec => format!("{} is started", series.subject),
        Kind::Cpu => format!("{who} uses {} of CPU", duration(typical)),
        Kind::Reset => format!("{} on {}", some(typical, "reset is", "resets are", "seen"), series.subject),
        Kind::Reconnect => {
            format!("{} on {}", some(typical, "connection is", "connections are", "opened"), series.subject)
        }
        Kind::Dns => {
            let opened = some(typical, "connection is", "connections are", "opened");
            format!("{opened} to a name server ({})", series.subject)
        }
        Kind::ClosedTogether => {
            format!("{who} closes {} at once", some(typical, "connection", "connections", "").trim_end())
        }
        Kind::Counted(counter) => {
            let whom = if pids.is_empty() { &series.subject } else { &who };
            counter.reason(typical, whom, series.other.as_deref().unwrap_or_default())
        }
    }
}

/// The reason with when it comes and in how many cycles.
pub fn claim(part: &Part<'_>, matches: &Matches, lead_ns: i64, subject: &Subject<'_>) -> String {
    let reason = reason(part, matches, subject);
    let when = wording::lead(lead_ns, deviation(&matches.leads_ns));
    let cycles = cycles(&part.bursts, matches, subject);
    match part.counted.series.kind {
        Kind::Stopped => format!("{reason}, beginning {when}, {cycles}"),
        Kind::Exec | Kind::Reset | Kind::Reconnect | Kind::Dns | Kind::ClosedTogether => {
            format!("{reason} {when}, {cycles}")
        }
        _ => format!("{reason}, {cycles}"),
    }
}

/// Pids of the processes that it is about: those it happens to at the onsets; of connects those that answer at the hop.
pub fn pids(part: &Part<'_>, matches: &Matches, subject: &Subject<'_>) -> Vec<i64> {
    let series = part.counted.series;
    let ids: BTreeSet<i64> = if series.kind.of_connects() && series.subject == subject.hop {
        subject.answering.clone()
    } else if series.kind.of_hop() {
        BTreeSet::new()
    } else {
        matches.bursts.iter().flat_map(|(_, burst)| of_burst(part, burst)).collect()
    };
    let pids: BTreeSet<i64> = ids.iter().filter_map(|id| subject.pids.get(id).copied()).collect();
    pids.into_iter().collect()
}

fn of_burst<'a>(part: &'a Part<'_>, burst: &Burst) -> impl Iterator<Item = i64> + use<'a> {
    let times = &part.counted.series.times;
    let first = times.partition_point(|row| row.from_ns < burst.from_ns);
    let until_ns = burst.to_ns;
    let within = times[first..].iter().take_while(move |row| row.from_ns <= until_ns);
    within.filter(|row| part.counted.has(row)).filter_map(|row| row.process_id)
}

/// The port of the hop, where these processes answer there.
fn port<'a>(pids: &[i64], subject: &'a Subject<'_>) -> Option<&'a str> {
    let answers = |pid: &i64| subject.answering.iter().any(|id| subject.pids.get(id) == Some(pid));
    let (_, port) = subject.hop.rsplit_once(':')?;
    pids.iter().all(answers).then_some(port)
}

/// `shop (pid 812, port 8080)`, `nginx (pids 11, 12, 13 and 4 more)`.
fn with_pids(name: &str, pids: &[i64], port: Option<&str>) -> String {
    let named: Vec<String> = pids.iter().take(MOST_PIDS).map(i64::to_string).collect();
    let port = port.map(|port| format!(", port {port}")).unwrap_or_default();
    match (pids.len(), pids.len().saturating_sub(MOST_PIDS)) {
        (0, _) => name.to_owned(),
        (1, _) => format!("{name} (pid {}{port})", named[0]),
        (_, 0) => format!("{name} (pids {}{port})", named.join(", ")),
        (_, more) => format!("{name} (pids {} and {more} more{port})", named.join(", ")),
    }
}

/// `1 segment is retransmitted`, `5 segments are retransmitted`.
fn some(count: i64, one: &str, many: &str, done: &str) -> String {
    format!("{count} {} {done}", if count == 1 { one } else { many })
}

fn how_it_fails(series: &EventSeries) -> &'static str {
    match series.other.as_deref() {
        Some("refused") => "refused",
        Some("timed_out") => "timed out",
        Some("reset") => "reset",
        Some("unreachable") => "unanswered, as it cannot be reached",
        _ => "failed",
    }
}

/// In how many cycles it was seen, and where else.
fn cycles(bursts: &[Burst], matches: &Matches, subject: &Subject<'_>) -> String {
    let is_met = |at: &&i64| nearest(bursts, **at, matches.reach_ns).is_some();
    let without = match subject.misses.iter().filter(is_met).count() {
        0 => String::new(),
        n => format!(", in {n} of {} without an episode", subject.misses.len()),
    };
    let others = match subject.others.iter().filter(is_met).count() {
        0 => String::new(),
        n => format!(", at {n} other episodes"),
    };
    let elsewhere = match elsewhere(bursts, matches, subject) {
        0 => "never elsewhere".to_owned(),
        n => format!("{n} x elsewhere"),
    };
    let (seen, hits) = (matches.leads_ns.len(), subject.hits.len());
    format!("in {seen} of {hits} cycles{without}{others}, {elsewhere}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_with_their_pids() {
        assert_eq!(with_pids("shop", &[], None), "shop");
        assert_eq!(with_pids("shop", &[7], Some("80")), "shop (pid 7, port 80)");
        assert_eq!(with_pids("shop:80", &[7, 8, 9], None), "shop:80 (pids 7, 8, 9)");
        assert_eq!(with_pids("shop", &[7, 8, 9, 10, 11], None), "shop (pids 7, 8, 9 and 2 more)");
    }
}
