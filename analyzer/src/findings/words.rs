//! Findings in sentences, and the SQL that goes with them.

use super::{Cause, HopShare, Metric, Spike};
use crate::text::duration;

/// `40 ms before each onset`.
pub fn lead(lead_ns: i64) -> String {
    match lead_ns {
        ns if ns > 1_000_000 => format!("{} before each onset", duration(ns)),
        ns if ns < -1_000_000 => format!("{} after each onset", duration(-ns)),
        _ => "at each onset".to_owned(),
    }
}

/// A condition that holds for `share` of the period from `origin_ns` (since 1970 UTC) on, in every cycle.
pub fn in_phase(column: &str, period_ns: f64, origin_ns: i64, share: f64) -> String {
    let (s, ns) = (origin_ns.div_euclid(1_000_000_000), origin_ns.rem_euclid(1_000_000_000));
    let origin = crate::text::time(s * 1_000_000_000, 0, 0);
    let origin = origin.trim_end_matches("+00:00");
    format!("fold_phase({column}, {:.9}, TIMESTAMP '{origin}.{ns:09}') < {:.6}", period_ns * 1e-9, share)
}

/// What is counted, in words.
pub fn bad(metric: Metric) -> &'static str {
    match metric {
        Metric::Latency => "slow requests",
        Metric::Errors => "failed requests",
        Metric::ClientClosed => "requests given up by the client",
        Metric::Missing => "stretches in which nothing completes",
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

/// The finding in one sentence.
pub fn sentence(spike: &Spike) -> String {
    let margin_s = (spike.period_ci_s[1] - spike.period_ci_s[0]) / 2.0;
    let digits = (1.0 - margin_s.max(1e-6).log10().floor()).clamp(0.0, 6.0) as usize;
    let extrapolated = if spike.fap_extrapolated { ", extrapolated" } else { "" };
    let place = match spike.hops.first() {
        Some(top) if top.failures > 0 => {
            let place = if top.part == "server" { &top.process } else { "the connections" };
            format!("{:.0} % of the failures begin in {place} ({})", 100.0 * top.share, top.hop)
        }
        Some(top) if top.part == "server" => {
            format!("{:.0} % of the excess is own time of {} ({})", 100.0 * top.share, top.process, top.hop)
        }
        Some(top) => format!("{:.0} % of the excess is waiting in {}", 100.0 * top.share, top.hop),
        None => format!("seen in {}", spike.stream),
    };
    format!(
        "{} every {:.digits$} s +- {margin_s:.digits$} s, {} of {} cycles, FAP {}{extrapolated}: {place}; {}",
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
