//! Findings in sentences, and the SQL that goes with them.

use super::{Cause, Cycle, HopShare, Metric, Spike, Unexplained};
use crate::periodicity::{self, refine};
use crate::text::{duration, time};

/// `40 ms before each onset`; what is less than it varies by, or 1 ms, is no lead.
pub fn lead(lead_ns: i64, deviation_ns: f64) -> String {
    let least_ns = (deviation_ns as i64).max(1_000_000);
    match lead_ns {
        ns if ns > least_ns => format!("{} before each onset", duration(ns)),
        ns if ns < -least_ns => format!("{} after each onset", duration(-ns)),
        _ => "at each onset".to_owned(),
    }
}

/// A part of the period, in every cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    period_s: f64,
    origin_ns: i64,
    /// Share of the period from the origin on.
    share: f64,
}

impl Phase {
    /// From one moment to another (ns since 1970 UTC), and the same in every other cycle. It is rounded outward to the
    /// digits that a statement shows, so that [`Phase::holds`] and the statement agree.
    pub fn new(period_ns: f64, from_ns: i64, to_ns: i64) -> Phase {
        let origin_ns = from_ns.div_euclid(1_000_000) * 1_000_000;
        let share = (to_ns - origin_ns) as f64 / period_ns;
        Phase { period_s: period_ns.round() / 1e9, origin_ns, share: (share * 1e6).ceil() / 1e6 }
    }

    /// Whether it holds at a moment, ns since 1970 UTC.
    pub fn holds(&self, at_ns: i64) -> bool {
        self.share >= 1.0 || periodicity::phase(at_ns, self.period_s, self.origin_ns) < self.share
    }

    /// As a SQL condition on a column of times; None where it always holds.
    pub fn condition(&self, column: &str) -> Option<String> {
        let origin = time(self.origin_ns, 0, 3);
        let Phase { period_s, share, .. } = self;
        (*share < 1.0).then(|| format!("fold_phase({column}, {period_s:.9}, '{origin}') < {share:.6}"))
    }
}

/// What is counted, in words.
pub fn bad(metric: Metric) -> &'static str {
    match metric {
        Metric::Latency => "slow requests",
        Metric::Errors => "failed requests",
        Metric::ClientClosed => "clients that gave up",
        Metric::Missing => "stretches without an answer",
    }
}

/// The best supported cause, with the program that goes with it where there is one; or that there is none.
pub fn cause(causes: &[Cause], top: Option<&HopShare>) -> String {
    let Some(best) = causes.first() else {
        let Some(HopShare { hop, part, process, failures, .. }) = top else {
            return "no recorded kernel event coincides".to_owned();
        };
        let place = match (part.as_str(), *failures > 0) {
            ("server", false) => format!("{process} itself takes longer"),
            ("server", true) => format!("{process} itself fails"),
            ("connect", false) => format!("connections to {} take longer to be established", listener(hop)),
            ("connect", true) => format!("connects to {} fail", listener(hop)),
            (_, false) => format!("requests wait on {hop}: on the network, or until {process} takes them"),
            (_, true) => format!("connections break on {hop}"),
        };
        return format!("no recorded kernel event coincides: {place}");
    };
    let started = causes.iter().find(|cause| cause.kind == "exec" && best.kind != "exec");
    match started {
        Some(started) => format!("{}; {}", best.claim, started.claim),
        None => best.claim.clone(),
    }
}

/// That no cause is sure although something comes near.
pub fn no_sure_cause(nearest: &str) -> String {
    format!("nothing recorded is shown to be the cause; nearest to it: {nearest}")
}

/// When and how badly something came that is not shown to be periodic.
pub fn unexplained(left: &Unexplained, utc_offset_s: i32) -> String {
    let worst = &left.worst;
    let when = time(worst.onset_ns, utc_offset_s, 1);
    let length = duration(worst.end_ns - worst.onset_ns);
    let (how_often, at) = match left.episodes {
        1 => ("Once, not periodic".to_owned(), "at"),
        2 => ("Twice, too seldom for a period".to_owned(), "the worst at"),
        n => {
            let fap =
                left.fap.map(|fap| format!(" (best period: FAP {})", probability(fap))).unwrap_or_default();
            (format!("{n} times, not shown to be periodic{fap}"), "the worst at")
        }
    };
    let how_bad = match left.metric {
        Metric::Missing => format!("no answer for {length}"),
        metric => format!("{:.0} {} within {length}", worst.affected, bad(metric)),
    };
    let lost = if worst.excess_s >= 0.01 && left.metric != Metric::Missing {
        let lost = duration((worst.excess_s * 1e9) as i64);
        format!(", {lost} lost in all")
    } else {
        String::new()
    };
    let needed = left.needed.as_ref().map(|needed| format!("; {needed}")).unwrap_or_default();
    format!("{how_often}: {at} {when} {how_bad}{lost}, at {}{needed}", left.stream)
}

/// `nginx:8080` of `inner-envoy -> nginx:8080`.
pub fn listener(hop: &str) -> &str {
    hop.rsplit_once(" -> ").map_or(hop, |(_, listener)| listener)
}

/// `nginx` of `inner-envoy -> nginx:8080`.
pub fn answering(hop: &str) -> &str {
    let listener = listener(hop);
    // Of imported traces there may be no port, and a name may have a colon.
    let is_port = |port: &str| port == "?" || (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let (process, _) = listener.rsplit_once(':').filter(|(_, port)| is_port(port)).unwrap_or((listener, ""));
    process
}

/// What a hop's share of the excess or of the failures is.
pub fn part(hop: &HopShare) -> String {
    match (hop.part.as_str(), hop.failures > 0) {
        ("server", false) => format!("own time of {}", hop.process),
        ("server", true) => format!("failures that begin in {}", hop.process),
        ("connect", false) => format!("waiting for the connection to {}", listener(&hop.hop)),
        ("connect", true) => format!("connects to {} that fail", listener(&hop.hop)),
        ("queue", false) => format!("requests lie unread at {}", hop.process),
        ("queue", true) => format!("requests that lie unread at {}", hop.process),
        (_, false) => format!("waiting for {}", hop.process),
        (_, true) => format!("connections to {} that break", hop.process),
    }
}

/// Of how many cycles in a row one is hit, where it is always that one; else 1.
pub fn one_in(cycles: &[Cycle]) -> usize {
    let hits: Vec<usize> = cycles.iter().filter(|c| c.onset_ns.is_some()).map(|c| c.number).collect();
    let divisor = |a: usize, b: usize| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    hits.windows(2).map(|pair| pair[1].abs_diff(pair[0])).fold(0, divisor).max(1)
}

/// That only every so many-th cycle is hit, in which case what comes back has a longer period; empty else.
pub fn only_every(spike: &Spike, digits: usize) -> String {
    let each = one_in(&spike.cycle_table);
    if each < 2 {
        return String::new();
    }
    let nth = match each {
        2 => "2nd".to_owned(),
        3 => "3rd".to_owned(),
        more => format!("{more}th"),
    };
    let longer_s = spike.period_s * each as f64;
    format!("only every {nth} cycle is hit: every {longer_s:.digits$} s, outside of the periods searched")
}

/// `12.3 ms`, or `at most 28.9 ms` where onsets are not known any better.
pub fn jitter(spike: &Spike) -> String {
    let off = spike.cycle_table.iter().filter_map(|cycle| Some((cycle.onset_ns? - cycle.expected_ns) as f64));
    let squares: f64 = off.map(|ns| ns * ns).sum();
    let measured_s = (squares / (spike.hits as f64 - 2.0).max(1.0)).sqrt() * 1e-9;
    let least = if measured_s < 0.999 * spike.jitter_s { "at most " } else { "" };
    format!("{least}{}", duration((spike.jitter_s * 1e9) as i64))
}

/// What keeps the time, or what it would take to tell.
pub fn clock(spike: &Spike) -> String {
    match spike.clock.as_str() {
        "locked" => "clock-locked".to_owned(),
        "undecided" => format!("clock-locked or free-running cannot be told yet ({})", to_tell(spike)),
        clock => clock.to_owned(),
    }
}

/// Which clock is favoured where none can be named, and what it would take.
pub fn to_tell(spike: &Spike) -> String {
    let favoured = match spike.clock_evidence {
        evidence if evidence > 0.0 => "clock-locked is favoured; ",
        evidence if evidence < 0.0 => "free-running is favoured; ",
        _ => "",
    };
    let tell = match refine::hits_for_clock(spike.hits, spike.clock_evidence) {
        Some(hits) => format!("about {hits} cycles hit would tell"),
        None => "many more cycles would tell".to_owned(),
    };
    format!("{favoured}{tell}")
}

/// The wall-clock boundary that the teeth are near, or that they are near none.
pub fn boundary(spike: &Spike) -> String {
    let Some(boundary) = spike.boundary else { return "near no wall-clock boundary".to_owned() };
    let offset = duration((boundary.offset_s * 1e9) as i64);
    let chance = probability(boundary.chance);
    let every_s = boundary.every_s.round() as usize;
    if !(10..60).contains(&every_s) {
        let every = duration((boundary.every_s * 1e9) as i64);
        return format!("{offset} from every {every} on the clock (by chance {chance})");
    }
    let seconds: Vec<String> = (0..60).step_by(every_s).map(|second| format!(":{second:02}")).collect();
    format!("{offset} from {} of every minute (by chance {chance})", seconds.join(", "))
}

/// Digits behind the point that a period's uncertainty leaves.
pub fn period_digits(spike: &Spike) -> usize {
    let margin_s = (spike.period_ci_s[1] - spike.period_ci_s[0]) / 2.0;
    (1.0 - margin_s.max(1e-6).log10().floor()).clamp(0.0, 6.0) as usize
}

/// The finding in one sentence.
pub fn sentence(spike: &Spike) -> String {
    let margin_s = (spike.period_ci_s[1] - spike.period_ci_s[0]) / 2.0;
    let digits = period_digits(spike);
    let only = only_every(spike, digits);
    let only = if only.is_empty() { only } else { format!(" ({only})") };
    let extrapolated = if spike.fap_extrapolated { ", extrapolated" } else { "" };
    let place = match spike.hops.first() {
        Some(top) if top.failures > 0 => {
            let place = match top.part.as_str() {
                "server" => &top.process,
                "connect" => "connects that fail",
                "queue" => "requests that lie unread",
                _ => "the connections",
            };
            format!("{:.0} % of the failures begin in {place} ({})", 100.0 * top.share, top.hop)
        }
        Some(top) if top.part == "server" => {
            format!("{:.0} % of the excess is own time of {} ({})", 100.0 * top.share, top.process, top.hop)
        }
        Some(top) if top.part == "connect" => {
            let listener = listener(&top.hop);
            let share = 100.0 * top.share;
            format!("{share:.0} % of the excess is waiting for the connection to {listener} ({})", top.hop)
        }
        Some(top) if top.part == "queue" => {
            format!(
                "{:.0} % of the excess is requests that lie unread at {} ({})",
                100.0 * top.share,
                top.process,
                top.hop
            )
        }
        Some(top) => format!("{:.0} % of the excess is waiting in {}", 100.0 * top.share, top.hop),
        None => format!("seen in {}", spike.stream),
    };
    format!(
        "{} every {:.digits$} s +- {margin_s:.digits$} s, {} of {} cycles{only}, FAP {}{extrapolated}: {place}; {}",
        bad(spike.metric),
        spike.period_s,
        spike.hits,
        spike.cycles,
        probability(spike.fap),
        spike.cause,
    )
}

/// `0.002`, `3e-9`.
pub fn probability(p: f64) -> String {
    if p >= 0.001 { format!("{p:.3}") } else { format!("{p:.0e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles of 30 s, hit at these numbers, each onset so many ns late.
    fn cycles(count: usize, hits: &[usize], late_ns: i64) -> Vec<Cycle> {
        let cycle = |number: usize| {
            let expected_ns = 30_000_000_000 * number as i64;
            let onset_ns = hits.contains(&number).then_some(expected_ns + late_ns);
            Cycle { number, expected_ns, onset_ns, ..Cycle::default() }
        };
        (1..=count).map(cycle).collect()
    }

    fn spike(cycle_table: Vec<Cycle>) -> Spike {
        Spike {
            period_s: 30.0,
            period_ci_s: [29.995, 30.005],
            hits: cycle_table.iter().filter(|cycle| cycle.onset_ns.is_some()).count(),
            cycles: cycle_table.len(),
            jitter_s: 0.02,
            clock: "undecided".to_owned(),
            clock_evidence: 1.2,
            cycle_table,
            ..Spike::default()
        }
    }

    #[test]
    fn a_phase_is_what_its_condition_says() {
        let origin_ns = 1_795_194_000_123_456_789;
        let phase = Phase::new(60_000_017_601.4, origin_ns, origin_ns + 50_000_000);
        let condition = "fold_phase(time, 60.000017601, '2026-11-20 17:00:00.123+00:00') < 0.000841";
        assert_eq!(phase.condition("time").as_deref(), Some(condition));
        let later_ns = origin_ns + 7 * 60_000_017_601;
        assert!(phase.holds(later_ns) && phase.holds(later_ns + 50_000_000));
        assert!(!phase.holds(later_ns - 1_000_000) && !phase.holds(later_ns + 51_000_000));
        let always = Phase::new(1e9, origin_ns, origin_ns + 2_000_000_000);
        assert_eq!((always.holds(later_ns), always.condition("time")), (true, None));
    }

    #[test]
    fn a_period_of_which_every_second_cycle_is_hit_is_said_to_be_longer() {
        let alternating = sentence(&spike(cycles(9, &[1, 3, 5, 9], 0)));
        let words = "4 of 9 cycles (only every 2nd cycle is hit: every 60.0000 s, outside of the periods searched), FAP";
        assert!(alternating.contains(words), "{alternating}");
        let missing = sentence(&spike(cycles(9, &[1, 3, 4, 9], 0)));
        assert!(missing.contains("4 of 9 cycles, FAP"), "{missing}");
        assert_eq!(one_in(&[]), 1);
    }

    #[test]
    fn a_jitter_below_what_can_be_seen_is_a_bound() {
        assert_eq!(jitter(&spike(cycles(6, &[1, 2, 3, 4, 5, 6], 1_000_000))), "at most 20.0 ms");
        let late_ns = (0.02e9 * (4.0f64 / 6.0).sqrt()) as i64;
        assert_eq!(jitter(&spike(cycles(6, &[1, 2, 3, 4, 5, 6], late_ns))), "20.0 ms");
    }

    #[test]
    fn clock_and_boundary_are_always_stated() {
        let six = spike(cycles(6, &[1, 2, 3, 4, 5, 6], 0));
        let told = "clock-locked or free-running cannot be told yet (clock-locked is favoured; about 10 cycles hit would tell)";
        assert_eq!(clock(&six), told);
        assert_eq!(clock(&Spike { clock: "locked".to_owned(), ..six.clone() }), "clock-locked");
        assert_eq!(clock(&Spike { clock: "free-running".to_owned(), ..six.clone() }), "free-running");
        assert_eq!(boundary(&six), "near no wall-clock boundary");
    }
}
