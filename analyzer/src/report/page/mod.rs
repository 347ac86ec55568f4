//! The report as one HTML file that needs nothing else: no script, style, font or picture is fetched, and the browser is
//! told not to.

pub mod examples;
pub mod finding;
pub mod parts;
pub mod statements;

use std::collections::BTreeSet;

use super::data::{Report, Trace, TraceGroup};
use super::draw::colour::{INKS, Theme, hex, ink, name};
use super::draw::markup::Markup;
use super::draw::svg::filter_tables;
use super::pictures::{heat, map, waterfall};
use crate::findings::{Spike, wording};
use crate::report::page::parts::{both, table, table_of_rows};
use crate::text::{count, duration, time};

/// What the page may do: use its own styles and scripts and pictures within itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";
/// Series of latencies that can be switched to.
const MAX_SERIES: usize = 24;
/// Losses in the table.
const MAX_LOSSES: usize = 100;

/// Writes the page.
pub fn html(report: &Report) -> String {
    let mut page = Markup::default();
    head(&mut page, report);
    page.raw("<body><a class=\"skip\" href=\"#findings\">To the findings</a>");
    definitions(&mut page);
    banner(&mut page, report);
    page.raw("<main>");
    page.raw("<ul class=\"facts\">");
    for (name, value) in &report.facts {
        page.raw("<li>").text(name).raw(" ").element("b", &[], value).raw("</li>");
    }
    page.raw("</ul>");
    findings(&mut page, report);
    latency(&mut page, report);
    service_map(&mut page, report);
    traces(&mut page, report);
    losses(&mut page, report);
    page.raw("</main>");
    help(&mut page);
    page.raw("<dialog id=\"rows\" aria-label=\"The rows behind a number\"><h2>The rows behind it</h2><p></p><div class=\"sql\"><pre><code>");
    page.raw(
        "</code></pre><button type=\"button\" class=\"copy\">Copy</button></div><form method=\"dialog\">",
    );
    page.raw("<button>Close</button></form></dialog>");
    examples::write(&mut page, report, &shown_series(report));
    page.raw("<div id=\"tip\" role=\"status\" hidden></div><script>").raw(include_str!("page.js"));
    page.raw("</script></body></html>\n");
    page.into_string()
}

fn head(page: &mut Markup, report: &Report) {
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.empty("meta", &[("http-equiv", "Content-Security-Policy".into()), ("content", POLICY.into())]);
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.raw(
        "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">",
    );
    page.element("title", &[], &format!("{} · Retrospan", report.name));
    page.raw("<style>:root{").text(&variables(Theme::Light)).raw("}");
    page.raw("@media (prefers-color-scheme:dark){:root:not([data-theme=light]){");
    page.text(&variables(Theme::Dark)).raw("}}");
    page.raw(":root[data-theme=dark]{").text(&variables(Theme::Dark)).raw("}");
    // Paper is white, whatever the screen is.
    page.raw("@media print{:root,:root:not([data-theme=light]),:root[data-theme=dark]{");
    page.text(&variables(Theme::Light)).raw("}}\n");
    for (ink, _) in INKS {
        let name = name(ink);
        page.text(&format!(".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}"));
    }
    page.raw("\n").raw(include_str!("page.css")).raw("</style></head>");
}

fn variables(theme: Theme) -> String {
    let scheme = if theme == Theme::Dark { "dark" } else { "light" };
    let mut text = format!("color-scheme:{scheme};--heat:url(#heat-{scheme})");
    for (ink_of, name) in INKS {
        text.push_str(&format!(";--{name}:{}", hex(ink(ink_of, theme))));
    }
    text
}

/// What pictures refer to: the colour maps, and the pattern of lost times.
fn definitions(page: &mut Markup) {
    page.raw("<svg class=\"defs\" aria-hidden=\"true\"><defs>");
    for (theme, id) in [(Theme::Light, "heat-light"), (Theme::Dark, "heat-dark")] {
        page.open("filter", &[("id", id.into()), ("color-interpolation-filters", "sRGB".into())]);
        page.raw("<feComponentTransfer>");
        let [red, green, blue] = filter_tables(theme);
        for (element, values) in [("feFuncR", red), ("feFuncG", green), ("feFuncB", blue)] {
            page.empty(element, &[("type", "table".into()), ("tableValues", values.into())]);
        }
        page.raw("</feComponentTransfer></filter>");
    }
    page.raw("<pattern id=\"lost\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">");
    page.raw("<rect width=\"6\" height=\"6\" class=\"f-panel\"/><rect width=\"2\" height=\"6\" class=\"f-faint\"/>");
    page.raw("</pattern></defs></svg>");
}

fn banner(page: &mut Markup, report: &Report) {
    page.raw("<header>").element("h1", &[], &report.name);
    page.raw("<nav><a href=\"#findings\">Findings</a><a href=\"#latency\">Latency</a><a href=\"#map\">Services</a>");
    page.raw("<a href=\"#traces\">Traces</a>");
    if !report.lost.is_empty() {
        page.raw("<a href=\"#lost\">Lost</a>");
    }
    page.raw("</nav><span><button id=\"theme\" type=\"button\">Light or dark</button> ");
    page.raw("<button id=\"help-button\" type=\"button\" aria-label=\"Keys\">?</button></span></header>");
}

fn findings(page: &mut Markup, report: &Report) {
    page.raw("<section id=\"findings\" tabindex=\"-1\"><h2>Findings</h2>");
    let found = &report.findings;
    let searched = &found.searched;
    if found.spikes.is_empty() {
        page.raw("<article class=\"finding none\"><h3>No periodic spike.</h3>");
    }
    for note in &found.notes {
        page.element("p", &[], note);
    }
    if found.spikes.is_empty() {
        page.raw("</article>");
    }
    for place in 0..found.spikes.len() {
        finding::article(page, report, place);
    }
    if !found.unexplained.is_empty() {
        unexplained(page, report);
    }
    if searched.spans > 0 && !searched.is_too_short() {
        let words = format!(
            "Searched: {} spans in {} streams, {} series with enough episodes, periods from {} to {}; a report without any \
             periodic spike shows one or more with probability {}.",
            count(searched.spans),
            count(searched.streams as u64),
            count(searched.tests as u64),
            finding::seconds(searched.min_period_s),
            finding::seconds(searched.max_period_s),
            searched.fap,
        );
        page.element("p", &[("class", "quiet".into())], &words);
    }
    page.raw("</section>");
}

fn unexplained(page: &mut Markup, report: &Report) {
    page.raw("<h4>What is not shown to be periodic</h4>");
    for left in &report.findings.unexplained {
        page.raw("<details><summary>")
            .text(&wording::unexplained(left, report.utc_offset_s))
            .raw("</summary>");
        parts::sql(page, &left.sql);
        page.raw("</details>");
    }
}

/// The series that can be switched to: those with the most requests, and those of findings.
fn shown_series(report: &Report) -> Vec<usize> {
    let of_spike = |spike: &Spike| [spike.hop.clone(), spike.stream.clone()];
    let wanted: BTreeSet<String> = report.findings.spikes.iter().flat_map(of_spike).collect();
    let is_shown =
        |place: &usize| *place < MAX_SERIES || wanted.contains(&report.timeline.series[*place].name);
    (0..report.timeline.series.len()).filter(is_shown).collect()
}

fn latency(page: &mut Markup, report: &Report) {
    page.raw("<section id=\"latency\" tabindex=\"-1\"><h2>Latency over time</h2>");
    let shown: Vec<_> =
        shown_series(report).into_iter().map(|place| (place, &report.timeline.series[place])).collect();
    if shown.len() > 1 {
        page.raw("<p><label for=\"series\">Show </label><select id=\"series\">");
        for (place, series) in &shown {
            let seen_by = if series.seen_by.is_empty() {
                String::new()
            } else {
                format!(", as {} saw it", series.seen_by)
            };
            let label = format!("{}{seen_by} ({})", series.name, count(series.requests));
            page.element("option", &[("value", (*place as f64).into())], &label);
        }
        page.raw("</select></p>");
    }
    for (place, series) in &shown {
        page.open("figure", &[("data-series", (*place as f64).into())]);
        page.raw("<figcaption>").text(&series.name).raw(" <span>");
        let failed = match (series.failed, series.left) {
            (0, 0) => "none failed".to_owned(),
            (failed, left) => format!("{} failed, {} gave up", count(failed), count(left)),
        };
        let column = duration(report.timeline.column_ns);
        page.text(&format!("{} requests, {failed}; a column is {column}", count(series.requests)));
        page.raw("</span></figcaption>");
        both(page, |size| heat::scene(report, series, size));
        page.raw("</figure>");
    }
    if !report.lost.is_empty() {
        page.raw("<p class=\"key\"><span><i class=\"bar-lost\"></i>events are missing</span></p>");
    }
    page.raw("</section>");
}

fn service_map(page: &mut Markup, report: &Report) {
    page.raw("<section id=\"map\" tabindex=\"-1\"><h2>Who asks whom</h2>");
    if report.edges.is_empty() {
        page.raw("<p>No request was recorded.</p></section>");
        return;
    }
    both(page, |size| map::scene(report, size));
    let length_s = report.to_ns.saturating_sub(report.from_ns).max(1) as f64 / 1e9;
    let rows: Vec<(Vec<String>, Option<String>)> = report
        .edges
        .iter()
        .map(|edge| {
            let cells = vec![
                edge.name.clone(),
                count(edge.requests),
                heat::rate(edge.requests as f64 / length_s),
                count(edge.failed),
                count(edge.left),
                duration(edge.p50_ns as i64),
                duration(edge.p99_ns as i64),
                count(edge.connections),
            ];
            (cells, Some(statements::edge(edge)))
        })
        .collect();
    let columns = ["hop", "#requests", "#rate", "#failed", "#gave up", "#median", "#p99", "#connections"];
    table_of_rows(page, &columns, &rows);
    page.raw("</section>");
}

fn traces(page: &mut Markup, report: &Report) {
    page.raw("<section id=\"traces\" tabindex=\"-1\"><h2>Traces</h2>");
    if report.traces.is_empty() {
        page.raw("<p>None.</p></section>");
        return;
    }
    page.raw("<p class=\"key\"><span><i class=\"bar-server\"></i>own time of the answering side</span>");
    page.raw("<span><i class=\"bar-client\"></i>own time of the asking side: network, and waiting to be read</span>");
    page.raw("<span><i class=\"bar-waiting\"></i>waiting for the spans below</span>");
    page.raw("<span><i class=\"bar-event\"></i>a kernel event meanwhile</span></p>");
    for group in &report.traces {
        trace_group(page, report, group);
    }
    page.raw("</section>");
}

fn trace_group(page: &mut Markup, report: &Report, group: &TraceGroup) {
    match group.finding {
        Some(place) => page.element("h4", &[], &format!("Finding {}", place + 1)),
        None => page.element("h4", &[], "Of the whole recording"),
    };
    page.raw("<div class=\"beside\">");
    let slow = if group.finding.is_some() { "In a spike" } else { "Slowest" };
    for (title, traces) in [("Typical", &group.typical), (slow, &group.slow)] {
        if traces.is_empty() {
            continue;
        }
        page.raw("<div class=\"traces\"><div class=\"steps\">").element("b", &[], title);
        if traces.len() > 1 {
            page.raw("<button type=\"button\" data-step=\"-1\" aria-label=\"Previous trace\">◀</button>");
            page.raw("<button type=\"button\" data-step=\"1\" aria-label=\"Next trace\">▶</button>");
            page.raw("<span class=\"where quiet\" aria-live=\"polite\"></span>");
        }
        page.raw("</div>");
        traces.iter().for_each(|trace| one_trace(page, report, trace));
        page.raw("</div>");
    }
    page.raw("</div>");
}

fn one_trace(page: &mut Markup, report: &Report, trace: &Trace) {
    page.raw("<figure class=\"trace\"><figcaption>").text(&duration(trace.length_ns)).raw(" <span>");
    page.text(&time(trace.start_ns, report.utc_offset_s, 3)).raw("</span></figcaption>");
    both(page, |size| waterfall::scene(trace, size));
    page.raw("<p class=\"quiet sql\"><code>").text(&trace.id);
    page.raw("</code> <button type=\"button\" class=\"copy\">Copy</button></p></figure>");
}

fn losses(page: &mut Markup, report: &Report) {
    if report.lost.is_empty() {
        return;
    }
    page.raw("<section id=\"lost\" tabindex=\"-1\"><h2>What was lost</h2>");
    let sum: u64 = report.lost.iter().map(|lost| lost.count).sum();
    let words = format!(
        "{} events in {} interval{}. Requests of these times may be missing or incomplete; pictures show them hatched.",
        count(sum),
        count(report.lost.len() as u64),
        if report.lost.len() == 1 { "" } else { "s" },
    );
    page.element("p", &[], &words);
    let rows: Vec<Vec<String>> = report
        .lost
        .iter()
        .take(MAX_LOSSES)
        .map(|lost| {
            let at = |ns: i64| time(ns, report.utc_offset_s, 3);
            vec![at(lost.from_ns), at(lost.to_ns), count(lost.count), lost.what.clone()]
        })
        .collect();
    table(page, &["from", "to", "#events", "what"], &rows);
    page.raw("</section>");
}

fn help(page: &mut Markup) {
    page.raw("<dialog id=\"help\" aria-label=\"Keys\"><h2>Keys</h2><table><tbody>");
    let keys = [
        ("1 … 9", "to a finding"),
        ("h", "latency over time"),
        ("s", "choose whose latency"),
        ("m", "who asks whom"),
        ("t", "traces"),
        ("← →", "within traces: the one before, the next"),
        ("↑ ↓", "rows of a table, spans of a trace, bars of a picture"),
        ("← ↑ ↓ →", "in a heat map: from cell to cell, ten at once with Shift"),
        ("Enter", "in a heat map: requests of that cell; a second cell can be compared with it"),
        ("d", "light or dark"),
        ("?", "this list"),
        ("Esc", "close"),
    ];
    for (key, what) in keys {
        page.raw("<tr><td>").element("kbd", &[], key).raw("</td>").element(
            "td",
            &[("class", "wide".into())],
            what,
        );
        page.raw("</tr>");
    }
    page.raw("</tbody></table><form method=\"dialog\"><button>Close</button></form></dialog>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_nothing_outside() {
        let page = html(&Report::default());
        assert!(page.contains("No periodic spike."));
        for outside in ["http://", "https://", "src=\"", "@import", "url(h"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("default-src &#39;none&#39;"));
    }
}
