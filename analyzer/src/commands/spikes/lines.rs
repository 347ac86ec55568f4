//! What a finding says in numbers, as named lines: for the terminal and for a ticket alike.

use crate::findings::{Cause, Cycle, Spike, wording};
use crate::text::{count, shell_word, time};

/// Causes and places that are listed.
const MOST: usize = 5;
/// Streams of the same beat that are listed.
const MOST_ALSO: usize = 6;
/// Cycles that are listed.
pub const MOST_CYCLES: usize = 24;

/// The lines in the order in which they are asked for.
pub fn of(spike: &Spike, utc_offset_s: i32) -> Vec<(&'static str, String)> {
    let mut lines = vec![("period", period(spike))];
    lines.push(("seen in", format!("{} at {} ({})", wording::bad(spike.metric), spike.stream, spike.by)));
    lines.push(("when", when(spike, utc_offset_s)));
    lines.push(("how much", how_much(spike)));
    for hop in spike.hops.iter().filter(|hop| hop.share >= 0.02).take(MOST) {
        let (share, part) = (100.0 * hop.share, wording::part(hop));
        let cycles = format!("in {} of {} cycles", hop.positive_cycles, spike.hits);
        lines.push(("where", format!("{share:>3.0} %  {}: {part}, {cycles}", hop.hop)));
    }
    for share in spike.dimensions.iter().take(3) {
        let [affected, others] = [share.share, share.share_of_ordinary].map(|part| 100.0 * part);
        let whom = format!("{affected:.0} % of the affected have {} {}", share.dimension, share.value);
        lines.push(("who", format!("{whom}, {others:.0} % of the others")));
    }
    if spike.causes.is_empty() {
        lines.push(("cause", spike.cause.clone()));
    }
    lines.extend(spike.causes.iter().take(MOST).map(|cause| ("cause", of_cause(cause))));
    let also: Vec<String> = spike
        .also
        .iter()
        .take(MOST_ALSO)
        .map(|also| format!("{} ({})", also.stream, wording::bad(also.metric)))
        .collect();
    if !also.is_empty() {
        lines.push(("also in", also.join(", ")));
    }
    lines
}

fn period(spike: &Spike) -> String {
    let margin_s = (spike.period_ci_s[1] - spike.period_ci_s[0]) / 2.0;
    let digits = wording::period_digits(spike);
    let only = match wording::only_every(spike, digits) {
        only if only.is_empty() => only,
        only => format!(" ({only})"),
    };
    let extrapolated = if spike.fap_extrapolated { ", extrapolated" } else { "" };
    format!(
        "{:.digits$} s +- {margin_s:.digits$} s, {} of {} cycles{only}, FAP {}{extrapolated}",
        spike.period_s,
        spike.hits,
        spike.cycles,
        wording::probability(spike.fap),
    )
}

fn when(spike: &Spike, utc_offset_s: i32) -> String {
    format!(
        "first at {}, jitter {}, {}, {}",
        time(spike.first_tooth_ns, utc_offset_s, 3),
        wording::jitter(spike),
        wording::boundary(spike),
        wording::clock(spike)
    )
}

fn how_much(spike: &Spike) -> String {
    let (affected, excess) = (spike.affected_per_cycle, spike.excess_s_per_cycle);
    format!(
        "{:.0} requests ({:.0} to {:.0}) and {:.2} s ({:.2} to {:.2}) beyond the ordinary a cycle; {:.0} % of all {}",
        affected.mean,
        affected.low.max(0.0),
        affected.high,
        excess.mean,
        excess.low,
        excess.high,
        100.0 * spike.share_of_bad,
        wording::bad(spike.metric),
    )
}

fn of_cause(cause: &Cause) -> String {
    let dose =
        cause.dose.map(|dose| format!(", rank correlation with the excess {dose:.2}")).unwrap_or_default();
    let misses = match cause.misses {
        0 => String::new(),
        n => format!(", absent in {} of {n} cycles without a spike", cause.absent_in_misses),
    };
    format!("{}; by chance {}{dose}{misses}", cause.claim, wording::probability(cause.chance))
}

/// The heads of [`cycle`]'s cells.
pub const CYCLE_HEADS: [&str; 9] =
    ["cycle", "expected", "onset", "requests", "affected", "failed", "gave up", "excess", "worst"];

/// A cycle's cells; of one without an episode the first three.
pub fn cycle(cycle: &Cycle, utc_offset_s: i32) -> Vec<String> {
    let expected = time(cycle.expected_ns, utc_offset_s, 3);
    let clock = expected.get(11..23).unwrap_or_default().to_owned();
    let mut cells = vec![cycle.number.to_string(), clock];
    let Some(onset_ns) = cycle.onset_ns else {
        cells.push("miss".to_owned());
        return cells;
    };
    cells.extend([
        format!("{:+} ms", ((onset_ns - cycle.expected_ns) as f64 * 1e-6).round() as i64),
        count(cycle.requests),
        format!("{:.0}", cycle.affected),
        count(cycle.errors),
        count(cycle.client_closed),
        format!("{:.2} s", cycle.excess_s),
        format!("{:.2} s", cycle.worst_s),
    ]);
    cells
}

/// What a reader may run to see the rows and the requests behind a finding.
pub fn commands(spike: &Spike, capture: &str) -> Vec<(&'static str, String)> {
    let mut commands = vec![("rows", sql(capture, &spike.sql))];
    let traces = spike.slow_traces.iter().take(2);
    commands
        .extend(traces.map(|trace| ("trace", format!("retrospan trace {} {trace}", shell_word(capture)))));
    commands
}

/// A command that runs a statement.
pub fn sql(capture: &str, statement: &str) -> String {
    format!("retrospan sql {} {}", shell_word(capture), shell_word(statement))
}
