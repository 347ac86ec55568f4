//! One finding on the page: the sentence, its numbers, its pictures, its tables.

use super::parts::{both, number, sql, table};
use super::statements;
use crate::findings::{Cause, Cycle, Interval, Spike, wording};
use crate::report::data::Report;
use crate::report::draw::markup::Markup;
use crate::report::pictures::{cycles, fold};
use crate::text::{count, duration, time};

/// Cycles in the table.
const MAX_CYCLES: usize = 300;
/// Smaller shares of the excess have no row.
const LEAST_SHARE: f64 = 0.005;
/// Rows of the shorter tables.
const MAX_ROWS: usize = 12;

/// Writes it.
pub fn article(page: &mut Markup, report: &Report, place: usize) {
    let Some(spike) = report.findings.spikes.get(place) else { return };
    let id = format!("finding-{}", place + 1);
    page.open("article", &[("class", "finding".into()), ("id", id.into()), ("tabindex", "-1".into())]);
    page.raw("<h3>").element("span", &[("class", "number".into())], &format!("{}.", place + 1));
    page.raw(" ").text(&spike.summary).raw("</h3>");
    page.element("p", &[("class", "odds".into())], &spike.odds);
    numbers(page, spike);
    page.raw("<details><summary>The rows that show it</summary>");
    sql(page, &spike.sql);
    page.raw("</details>");
    if report.folds.get(place).is_some() {
        pictures(page, report, place);
    }
    hops(page, spike);
    dimensions(page, spike);
    causes(page, &spike.causes);
    also(page, spike);
    cycle_table(page, report, spike);
    page.raw("</article>");
}

/// `600 s`, `1.25 s`, `20.0 ms`.
pub fn seconds(seconds: f64) -> String {
    duration((seconds * 1e9).round() as i64)
}

/// A probability.
pub fn probability(part: f64) -> String {
    match part {
        part if part <= 0.0 => "0".to_owned(),
        part if part < 0.001 => format!("{part:.0e}"),
        part => format!("{part:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

fn numbers(page: &mut Markup, spike: &Spike) {
    let [low, high] = spike.period_ci_s;
    // Two digits of what is uncertain.
    let digits = (1.0 - (high - low).max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
    let between = |interval: &Interval| {
        (seconds(interval.mean), format!("{} to {}", seconds(interval.low), seconds(interval.high)))
    };
    let affected = &spike.affected_per_cycle;
    let excess = between(&spike.excess_s_per_cycle);
    let extrapolated = if spike.fap_extrapolated { ", extrapolated" } else { "" };
    let (episodes, stream) = (statements::episodes(spike), statements::stream(spike));
    let all = [
        (
            "period",
            format!("{:.digits$} s", spike.period_s),
            format!("95 %: {low:.digits$} to {high:.digits$}"),
            &episodes,
        ),
        (
            "cycles hit",
            format!("{} of {}", spike.hits, spike.cycles),
            only_every(spike, format!("jitter {}", wording::jitter(spike))),
            &episodes,
        ),
        ("false alarm", probability(spike.fap), format!("null: {}{extrapolated}", spike.null), &episodes),
        ("where", spike.hop.clone(), String::new(), &statements::hop_in_spikes(spike, &spike.hop)),
        ("seen in", spike.stream.clone(), format!("{}, {}", spike.by, wording::bad(spike.metric)), &stream),
        (
            "affected in a cycle",
            format!("{:.1}", affected.mean),
            format!("{:.1} to {:.1}", affected.low, affected.high),
            &spike.requests_sql,
        ),
        ("excess in a cycle", excess.0, excess.1, &spike.requests_sql),
        (
            "share of all such",
            percent(spike.share_of_bad),
            format!("{:.0} of {}", spike.affected_requests, count(spike.bad_requests)),
            &spike.requests_sql,
        ),
        ("clock", spike.clock.clone(), clock(spike), &episodes),
    ];
    page.raw("<dl class=\"numbers\">");
    for (name, value, small, statement) in &all {
        page.raw("<div>").element("dt", &[], name).raw("<dd>");
        number(page, value, statement);
        if !small.is_empty() {
            page.raw(" ").element("small", &[], small);
        }
        page.raw("</dd></div>");
    }
    page.raw("</dl>");
}

/// That only every so many-th cycle is hit, where it is so, before other words.
fn only_every(spike: &Spike, words: String) -> String {
    match wording::only_every(spike, wording::period_digits(spike)) {
        only if only.is_empty() => words,
        only => format!("{only}; {words}"),
    }
}

/// What is known of the clock beside its name.
fn clock(spike: &Spike) -> String {
    let boundary = wording::boundary(spike);
    if spike.clock == "undecided" { format!("{}; {boundary}", wording::to_tell(spike)) } else { boundary }
}

fn pictures(page: &mut Markup, report: &Report, place: usize) {
    page.raw("<figure><figcaption>Folded at the period <span>one column a cycle, time in the cycle downwards: what ");
    page.raw("comes back lies in one line; click a cell for its requests</span></figcaption>");
    both(page, |size| fold::scene(report, place, size));
    page.raw(
        "</figure><figure><figcaption>Its shape <span>all spikes laid over each other at their onsets</span>",
    );
    page.raw("</figcaption>");
    both(page, |size| fold::zoom(report, place, size));
    page.raw("</figure><figure><figcaption>Its cost</figcaption>");
    both(page, |size| cycles::scene(report, place, size));
    page.raw("</figure>");
}

fn hops(page: &mut Markup, spike: &Spike) {
    if spike.hops.is_empty() {
        return;
    }
    let failures = spike.hops[0].failures > 0;
    let heading = if failures { "Where the failures begin" } else { "Where the excess is" };
    page.raw("<div>").element("h4", &[], heading);
    // The share comes first: what stands on the right is out of sight on a phone.
    page.raw("<div class=\"scroll\"><table><thead><tr><th>share</th><th>hop</th><th>what</th>");
    page.raw("<th class=\"n\">excess</th><th class=\"n\">cycles</th></tr></thead><tbody>");
    // What rounds to nothing is left out.
    for hop in spike.hops.iter().filter(|hop| hop.share >= LEAST_SHARE).take(MAX_ROWS) {
        page.raw("<tr>");
        share(page, hop.share);
        page.element("td", &[("class", "wide".into())], &hop.hop);
        page.element("td", &[("class", "wide".into())], &wording::part(hop));
        page.raw("<td class=\"n\">");
        number(page, &seconds(hop.excess_s), &statements::hop_in_spikes(spike, &hop.hop));
        page.raw("</td>");
        let cycles = format!("{} of {}", hop.positive_cycles, spike.hits);
        page.element("td", &[("class", "n".into())], &cycles).raw("</tr>");
    }
    page.raw("</tbody></table></div></div>");
}

/// A cell with a share as a bar and a number.
fn share(page: &mut Markup, part: f64) {
    page.raw("<td><span class=\"share\">");
    let width = format!("width:{:.1}%", 100.0 * part.clamp(0.0, 1.0));
    page.open("i", &[("style", width.into())]).close("i");
    page.raw("</span> ").text(&percent(part)).raw("</td>");
}

fn dimensions(page: &mut Markup, spike: &Spike) {
    if spike.dimensions.is_empty() {
        return;
    }
    page.raw("<div><h4>Whom it hits</h4><div class=\"scroll\"><table><thead><tr>");
    page.raw(
        "<th>of affected</th><th class=\"n\">of ordinary</th><th></th><th>value</th></tr></thead><tbody>",
    );
    for row in spike.dimensions.iter().take(MAX_ROWS) {
        page.raw("<tr>");
        share(page, row.share);
        page.element("td", &[("class", "n".into())], &percent(row.share_of_ordinary));
        page.element("td", &[], &row.dimension);
        page.element("td", &[("class", "wide".into())], &row.value).raw("</tr>");
    }
    page.raw("</tbody></table></div></div>");
}

fn causes(page: &mut Markup, causes: &[Cause]) {
    if causes.is_empty() {
        return;
    }
    page.raw("<h4>What coincides</h4>");
    for cause in causes.iter().take(MAX_ROWS) {
        let dose =
            cause.dose.map(|dose| format!(", size goes with the excess: {dose:.2}")).unwrap_or_default();
        let details = format!(
            "seen in {} of {} cycles hit, {} times elsewhere, absent in {} of {} misses; chance {}; leads by {} ± {}{dose}",
            cause.coincidences,
            cause.hits,
            count(cause.elsewhere as u64),
            cause.absent_in_misses,
            cause.misses,
            probability(cause.chance),
            seconds(cause.lead_s),
            seconds(cause.lead_sd_s),
        );
        page.raw("<details><summary>").text(&cause.claim).raw(" <span class=\"quiet\">").text(&details);
        page.raw("</span></summary>");
        sql(page, &cause.sql);
        page.raw("</details>");
    }
}

fn also(page: &mut Markup, spike: &Spike) {
    if spike.also.is_empty() {
        return;
    }
    page.raw("<h4>Seen elsewhere with the same beat</h4>");
    let row = |also: &crate::findings::Also| {
        let cells = [also.stream.as_str(), &also.by, wording::bad(also.metric), &also.hits.to_string()];
        cells.map(str::to_owned).to_vec()
    };
    let rows: Vec<Vec<String>> = spike.also.iter().take(MAX_ROWS).map(row).collect();
    table(page, &["~stream", "by", "metric", "#episodes"], &rows);
}

fn cycle_table(page: &mut Markup, report: &Report, spike: &Spike) {
    if spike.cycle_table.is_empty() {
        return;
    }
    page.raw("<details><summary>Cycles <span class=\"hits\">");
    let mark = |cycle: &Cycle| if cycle.onset_ns.is_some() { '●' } else { '○' };
    let marks: String = spike.cycle_table.iter().take(60).map(mark).collect();
    page.text(&marks).raw("</span></summary><div class=\"scroll tall\"><table class=\"rove\"><thead><tr>");
    for name in [
        "cycle", "onset", "late by", "lasted", "requests", "affected", "failed", "gave up", "excess", "worst",
    ] {
        page.element("th", &[("class", "n".into())], name);
    }
    page.raw("</tr></thead><tbody>");
    for cycle in spike.cycle_table.iter().take(MAX_CYCLES) {
        let class = if cycle.onset_ns.is_some() { "hit" } else { "miss" };
        page.open("tr", &[("class", class.into())]);
        let statement = statements::cycle(spike, cycle);
        for (place, cell) in cells(cycle, report.utc_offset_s).iter().enumerate() {
            page.raw("<td class=\"n\">");
            match statement.as_ref().filter(|_| place >= FIRST_COUNT) {
                Some(statement) => number(page, cell, statement),
                None => {
                    page.text(cell);
                }
            }
            page.raw("</td>");
        }
        page.raw("</tr>");
    }
    page.raw("</tbody></table></div></details>");
}

/// The first cell of a cycle that counts requests.
const FIRST_COUNT: usize = 4;

/// A row of the table of cycles.
fn cells(cycle: &Cycle, utc_offset_s: i32) -> Vec<String> {
    let lost = if cycle.lossy { "; events are missing" } else { "" };
    let mut cells = vec![cycle.number.to_string()];
    match cycle.onset_ns {
        Some(onset_ns) => cells.extend([
            format!("{}{lost}", time(onset_ns, utc_offset_s, 3)),
            duration(onset_ns.saturating_sub(cycle.expected_ns)),
            cycle.end_ns.map(|end_ns| duration(end_ns.saturating_sub(onset_ns))).unwrap_or_default(),
            count(cycle.requests),
            format!("{:.1}", cycle.affected),
            count(cycle.errors),
            count(cycle.client_closed),
            seconds(cycle.excess_s),
            seconds(cycle.worst_s),
        ]),
        None => {
            cells.extend([time(cycle.expected_ns, utc_offset_s, 3), format!("no episode{lost}")]);
            cells.extend(std::iter::repeat_n(String::new(), 7));
        }
    }
    cells
}
