//! `retrospan CAPTURE`: one screen that says what was found, when, at which hops, and what to type next.

use std::fmt::Write;
use std::process::ExitCode;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::prelude::SessionContext;
use retrospan_formats::manifest::State;
use retrospan_formats::reader::Capture;

use super::block_on;
use super::spikes::look;
use crate::cli::OverviewArgs;
use crate::error::Result;
use crate::findings::search::Options;
use crate::findings::{Findings, wording};
use crate::print;
use crate::session;
use crate::tables::columns::{numbers, texts};
use crate::tables::dimensions;
use crate::tables::outcome::Outcome;
use crate::tables::spans::Sides;
use crate::terminal::{self, Paint, Terminal, width};
use crate::text::{count, duration, escape_controls, shell_word, time};

/// Width of the page where there is no window, columns.
const PAGE: usize = 100;
/// Columns before the strips.
const LEAD: usize = 16;
/// Strips are no wider: an hour has a column a minute, and there is room for their numbers.
const MOST_BUCKETS: usize = 60;
/// Findings, and series without a period, that are shown.
const MOST_FINDINGS: usize = 5;
/// Hops that are shown, those with the most requests.
const MOST_HOPS: usize = 8;
/// A request is slow where it took so many times what is usual at its hop.
const SLOW: i64 = 10;
/// Prints it; no finding is a result too.
pub fn run(args: OverviewArgs) -> Result<ExitCode> {
    let capture = args.capture.open()?;
    let offset_s = args.zone.offset_s(capture.manifest.host.utc_offset_s);
    let clock = dimensions::clock(&capture)?;
    let terminal = terminal::stdout();
    let page = block_on(async {
        let context = session::open(&capture)?;
        let findings = look(&context, &capture, &Options::default()).await?;
        let page = Page {
            terminal,
            name: args.capture.path.display().to_string(),
            begin_ns: clock.wall_ns(capture.manifest.started_boot_ns),
            end_ns: clock.wall_ns(capture.manifest.whole_until_boot_ns),
            offset_s,
        };
        let buckets = page.buckets();
        let strip = strip(&context, page.begin_ns, page.bucket_ns(), buckets).await?;
        let hops = hops(&context, Sides::of(&capture.manifest)).await?;
        let mut text = page.head(&capture);
        page.findings(&findings, &mut text);
        page.strips(&strip, &findings, &mut text);
        page.hops(&hops, &mut text);
        page.next(&findings, &mut text);
        Ok(text)
    })?;
    print::text(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// Requests that began in a stretch of the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    requests: i64,
    bad: i64,
}

/// Requests without a recorded parent, by the stretch in which they began.
async fn strip(
    context: &SessionContext,
    begin_ns: i64,
    bucket_ns: i64,
    buckets: usize,
) -> Result<Vec<Bucket>> {
    let query = format!(
        "WITH roots AS (
             SELECT CAST(start_time AS BIGINT) AS at, duration_ns, outcome, coalesce(process, '') AS process,
                    coalesce(dst_port, 0) AS port, sampled_one_in AS one_in
             FROM spans WHERE parent_span_id IS NULL
         ), usual AS (
             SELECT process, port, approx_percentile_cont(duration_ns, 0.5) AS usual_ns
             FROM roots WHERE outcome = 'ok' GROUP BY process, port
         )
         SELECT (at - {begin_ns}) / {bucket_ns} AS bucket, sum(one_in) AS requests,
                coalesce(sum(one_in) FILTER (WHERE {} OR duration_ns > {SLOW} * usual_ns), 0) AS bad
         FROM roots LEFT JOIN usual USING (process, port)
         GROUP BY 1",
        Outcome::failed_condition()
    );
    let mut strip = vec![Bucket::default(); buckets];
    for batch in session::plan(context, &query).await?.collect().await? {
        let (at, requests, bad) =
            (numbers(&batch, "bucket")?, numbers(&batch, "requests")?, numbers(&batch, "bad")?);
        for row in 0..batch.num_rows() {
            let index = usize::try_from(at.value(row)).unwrap_or(0).min(buckets - 1);
            strip[index].requests += requests.value(row);
            strip[index].bad += bad.value(row);
        }
    }
    Ok(strip)
}

/// A pair of processes and the port between them.
struct Hop {
    name: String,
    requests: i64,
    failed: i64,
    p50_ns: Option<i64>,
    p99_ns: Option<i64>,
}

/// The hops with the most requests. A request that was recorded at both ends counts once, by what its client
/// saw.
async fn hops(context: &SessionContext, sides: Sides) -> Result<Vec<Hop>> {
    let Sides { asking, answering, .. } = sides;
    let query = format!(
        "SELECT coalesce(c.hop, concat(coalesce(s.src_addr, '?'), ' -> ', coalesce(s.dst_addr, '?'), ':', s.dst_port)) AS hop,
                sum(s.sampled_one_in) AS requests,
                coalesce(sum(s.sampled_one_in) FILTER (WHERE {}), 0) AS failed,
                CAST(approx_percentile_cont(duration_ns, 0.5) FILTER (WHERE outcome IN ('ok', 'error')) AS BIGINT) AS p50_ns,
                CAST(approx_percentile_cont(duration_ns, 0.99) FILTER (WHERE outcome IN ('ok', 'error')) AS BIGINT) AS p99_ns
         FROM spans s
         LEFT JOIN connections c ON c.connection_id = s.connection_id
         WHERE {asking} OR {answering} AND coalesce(s.link_evidence, '') <> 'connection'
               AND NOT (coalesce(s.link_evidence, '') = 'context' AND c.client_socket_id IS NOT NULL)
         GROUP BY 1 ORDER BY requests DESC, hop LIMIT {}",
        Outcome::failed_condition(),
        MOST_HOPS + 1
    );
    let mut hops = Vec::new();
    for batch in session::plan(context, &query).await?.collect().await? {
        hops.extend(hops_of(&batch)?);
    }
    Ok(hops)
}

fn hops_of(batch: &RecordBatch) -> Result<Vec<Hop>> {
    let names = texts(batch, "hop")?;
    let [requests, failed, p50, p99] =
        ["requests", "failed", "p50_ns", "p99_ns"].map(|name| numbers(batch, name));
    let (requests, failed, p50, p99) = (requests?, failed?, p50?, p99?);
    let hop = |row: usize| Hop {
        name: escape_controls(names.value(row)),
        requests: requests.value(row),
        failed: failed.value(row),
        p50_ns: p50.is_valid(row).then(|| p50.value(row)),
        p99_ns: p99.is_valid(row).then(|| p99.value(row)),
    };
    Ok((0..batch.num_rows()).map(hop).collect())
}

/// Where it is shown, and of what.
struct Page {
    terminal: Terminal,
    name: String,
    begin_ns: i64,
    end_ns: i64,
    offset_s: i32,
}

impl Page {
    fn columns(&self) -> usize {
        self.terminal.width().unwrap_or(PAGE)
    }

    fn buckets(&self) -> usize {
        self.columns().saturating_sub(LEAD + 16).clamp(10, MOST_BUCKETS)
    }

    fn bucket_ns(&self) -> i64 {
        let length_ns = self.end_ns.saturating_sub(self.begin_ns).max(1);
        let buckets = self.buckets() as i64;
        length_ns / buckets + i64::from(length_ns % buckets > 0)
    }

    fn line(&self, text: &mut String, line: &str, indent: usize) {
        let _ = writeln!(text, "{}", self.terminal.wrap(line, indent));
    }

    fn title(&self, text: &mut String, title: &str) {
        let _ = writeln!(text, "\n{}", self.terminal.paint(Paint::Bold, title));
    }

    fn head(&self, capture: &Capture) -> String {
        let manifest = &capture.manifest;
        let lost = manifest.losses.iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count));
        let state = match capture.state {
            State::Complete => "",
            State::Interrupted => ", interrupted",
            State::Recording => ", recording",
        };
        let lost = match lost {
            0 => "nothing was lost".to_owned(),
            n => self.terminal.paint(Paint::Yellow, &format!("{} events were lost", count(n))),
        };
        let sampled = match dimensions::sampled_one_in(manifest) {
            1 => String::new(),
            n => format!(", one connection in {}", count(n)),
        };
        let origin = match &manifest.imported {
            Some(imported) => format!("{} of {}", manifest.probe_set, imported.files.join(", ")),
            None => manifest.host.name.clone(),
        };
        let mut text = String::new();
        let line = format!(
            "{}  {}, {}, {}{sampled}{state}; {lost}",
            self.terminal.paint(Paint::Bold, &escape_controls(&self.name)),
            escape_controls(&origin),
            time(self.begin_ns, self.offset_s, 0),
            duration(self.end_ns - self.begin_ns),
        );
        self.line(&mut text, &line, 2);
        text
    }

    fn findings(&self, findings: &Findings, text: &mut String) {
        self.title(text, "Findings");
        for (index, spike) in findings.spikes.iter().take(MOST_FINDINGS).enumerate() {
            let number = self.terminal.paint(Paint::Red, &format!("{}.", index + 1));
            self.line(text, &format!("  {number} {}", escape_controls(&spike.summary)), 5);
            let odds = self.terminal.paint(Paint::Dim, &escape_controls(&spike.odds));
            self.line(text, &format!("     {odds}"), 5);
        }
        if findings.spikes.len() > MOST_FINDINGS {
            let _ = writeln!(text, "     and {} more", findings.spikes.len() - MOST_FINDINGS);
        }
        for note in &findings.notes {
            self.line(text, &format!("  {}", escape_controls(note)), 4);
        }
        for left in findings.unexplained.iter().take(MOST_FINDINGS) {
            let line = format!("  {}", wording::unexplained(left, self.offset_s));
            self.line(text, &escape_controls(&line), 4);
        }
    }

    /// Requests, those that were slow or failed, and where the findings are.
    fn strips(&self, strip: &[Bucket], findings: &Findings, text: &mut String) {
        self.title(text, "Traffic");
        let each = duration(self.bucket_ns());
        let most = |of: fn(&Bucket) -> i64| strip.iter().map(of).max().unwrap_or_default();
        let (requests, bad) = (most(|b| b.requests), most(|b| b.bad));
        let all = self.curve(strip.iter().map(|b| b.requests), requests);
        let _ = writeln!(text, "  {:<12}  {all}  up to {}", "requests", count(requests.unsigned_abs()));
        let curve = self.terminal.paint(Paint::Red, &self.curve(strip.iter().map(|b| b.bad), bad));
        let _ = writeln!(text, "  {:<12}  {curve}  up to {}", "slow, failed", count(bad.unsigned_abs()));
        let marks = self.marks(findings, strip.len());
        if !marks.trim().is_empty() {
            let marks = self.terminal.paint(Paint::Red, marks.trim_end());
            let _ = writeln!(text, "  {:<12}  {marks}", "finding");
        }
        let _ = writeln!(text, "  {:<12}  {}", "", self.hours(strip.len()));
        let line = format!("  {each} a column; slow: more than {SLOW} times the median of its hop");
        self.line(text, &self.terminal.paint(Paint::Dim, &line), 4);
    }

    fn curve(&self, values: impl Iterator<Item = i64>, most: i64) -> String {
        let levels: [char; 9] = match self.terminal.unicode {
            true => [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            false => [' ', '_', '.', ':', '-', '=', '+', '*', '#'],
        };
        let level = |value: i64| match value {
            0 => levels[0],
            // The least is seen too, beside ten thousand.
            value => levels[(value * 8).div_euclid(most.max(1)).clamp(1, 8) as usize],
        };
        values.map(level).collect()
    }

    /// The number of each finding at its onsets.
    fn marks(&self, findings: &Findings, buckets: usize) -> String {
        let mut marks = vec![' '; buckets];
        for (index, spike) in findings.spikes.iter().take(MOST_FINDINGS).enumerate().rev() {
            let mark = char::from_digit(index as u32 + 1, 10).unwrap_or('^');
            for onset_ns in spike.cycle_table.iter().filter_map(|cycle| cycle.onset_ns) {
                let at = usize::try_from((onset_ns - self.begin_ns).div_euclid(self.bucket_ns()));
                if let Some(place) = at.ok().and_then(|at| marks.get_mut(at)) {
                    *place = mark;
                }
            }
        }
        marks.into_iter().collect()
    }

    /// Begin, middle and end on the clock.
    fn hours(&self, buckets: usize) -> String {
        let clock = |part: i64| {
            let at = self.begin_ns + (self.end_ns - self.begin_ns) / 2 * part;
            time(at, self.offset_s, 0).get(11..19).unwrap_or_default().to_owned()
        };
        if buckets < 30 {
            return clock(0);
        }
        let half = buckets / 2;
        let second = buckets - half - 8;
        format!("{:<half$}{:<second$}{}", clock(0), clock(1), clock(2))
    }

    fn hops(&self, hops: &[Hop], text: &mut String) {
        self.title(text, "Hops");
        let room = self.columns().saturating_sub(2 + 40).max(16);
        let shown = &hops[..hops.len().min(MOST_HOPS)];
        let names: Vec<String> = shown.iter().map(|hop| self.terminal.cut(&hop.name, room)).collect();
        let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
        let head = format!("  {:widest$} {:>9} {:>8} {:>9} {:>9}", "", "requests", "failed", "p50", "p99");
        let _ = writeln!(text, "{}", self.terminal.paint(Paint::Dim, &head));
        for (hop, name) in shown.iter().zip(&names) {
            let of = |ns: Option<i64>| ns.map_or_else(|| "-".to_owned(), duration);
            let failed = format!("{:>8}", count(hop.failed.unsigned_abs()));
            let failed = if hop.failed > 0 { self.terminal.paint(Paint::Red, &failed) } else { failed };
            let pad = " ".repeat(widest - width(name));
            let requests = count(hop.requests.unsigned_abs());
            let _ = writeln!(
                text,
                "  {name}{pad} {requests:>9} {failed} {:>9} {:>9}",
                of(hop.p50_ns),
                of(hop.p99_ns)
            );
        }
        if hops.len() > MOST_HOPS {
            let _ = writeln!(
                text,
                "  and more: retrospan query run who_talks_to_whom {}",
                shell_word(&self.name)
            );
        }
        if hops.is_empty() {
            let _ = writeln!(text, "  no request was recorded");
        }
    }

    /// Commands to copy.
    fn next(&self, findings: &Findings, text: &mut String) {
        self.title(text, "Next");
        let name = shell_word(&self.name);
        let html = shell_word(&format!("{}.html", self.name.trim_end_matches('/').trim_end_matches(".cap")));
        let mut commands = Vec::new();
        if let Some(spike) = findings.spikes.first() {
            commands.push((format!("retrospan spikes {name}"), "the evidence of each finding"));
            if let Some(trace) = spike.slow_traces.first() {
                let id = trace.get(..12).unwrap_or(trace);
                commands.push((format!("retrospan trace {name} {id}"), "a request that finding 1 hit"));
            }
        } else {
            commands.push((format!("retrospan spans {name} --slowest"), "the slowest requests"));
            commands.push((format!("retrospan trace {name}"), "where the slowest one spent its time"));
        }
        commands.push((format!("retrospan report {name} -o {html}"), "all of it with pictures, as one file"));
        let widest = commands.iter().map(|(command, _)| width(command)).max().unwrap_or(0);
        let has_room = self.terminal.width().is_none_or(|columns| widest + 44 <= columns);
        for (command, what) in commands {
            let pad = " ".repeat(widest - width(&command));
            let what = if has_room {
                format!("{pad}  {}", self.terminal.paint(Paint::Dim, what))
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {command}{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{Cycle, Spike};

    const PAGE: Page = Page {
        terminal: Terminal::PLAIN,
        name: String::new(),
        begin_ns: 0,
        end_ns: 3_600_000_000_000,
        offset_s: 3600,
    };

    #[test]
    fn the_strip_is_in_scale_and_findings_stand_below_their_onsets() {
        assert_eq!(PAGE.curve([0, 1, 400, 800].into_iter(), 800), " ▁▄█");
        assert_eq!(PAGE.curve([0, 0].into_iter(), 0), "  ");
        let ascii = Page { terminal: Terminal { unicode: false, ..Terminal::PLAIN }, ..PAGE };
        assert_eq!(ascii.curve([0, 1, 400, 800].into_iter(), 800), " _-#");
        let cycle = |minute: i64| Cycle { onset_ns: Some(minute * 60_000_000_000 + 1), ..Cycle::default() };
        let spike = |minutes: &[i64]| Spike {
            cycle_table: minutes.iter().map(|m| cycle(*m)).collect(),
            ..Spike::default()
        };
        let findings = Findings { spikes: vec![spike(&[5, 15, 59]), spike(&[6, 15])], ..Findings::default() };
        let marks = PAGE.marks(&findings, 60);
        let places: Vec<(usize, char)> = marks.chars().enumerate().filter(|(_, c)| *c != ' ').collect();
        assert_eq!(places, [(5, '1'), (6, '2'), (15, '1'), (59, '1')], "the better finding goes before");
        assert_eq!(
            PAGE.hours(60).split_whitespace().collect::<Vec<_>>(),
            ["01:00:00", "01:30:00", "02:00:00"]
        );
        assert_eq!(PAGE.hours(60).len(), 60);
    }
}
