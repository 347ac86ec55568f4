//! `retrospan info`: what a capture holds, from its manifest and its clock samples alone.

use std::fmt::Write;
use std::process::ExitCode;

use retrospan_formats::manifest::{File, Manifest, State, Tls, TlsFile};
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;
use serde_json::{Map, Value, json};

use crate::cli::{InfoArgs, TextFormat};
use crate::error::Result;
use crate::print;
use crate::tables::dimensions::{self, Clock, ClockStep};
use crate::terminal::{self, Paint};
use crate::text::{self, count, duration, escape_controls, size};

/// Prints it.
pub fn run(args: InfoArgs) -> Result<ExitCode> {
    let capture = args.capture.open()?;
    let clock = dimensions::clock(&capture)?;
    print::text(&match args.format {
        TextFormat::Text => as_text(&capture, &clock, args.zone.offset_s(capture.manifest.host.utc_offset_s)),
        TextFormat::Json => format!("{}\n", as_json(&capture, &clock)),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Rows, bytes and files of a table.
struct Held {
    table: &'static str,
    rows: u64,
    bytes: u64,
    files: usize,
}

fn held(capture: &Capture) -> Vec<Held> {
    let of = |table: &'static str| {
        let files = capture.files(table);
        let sum = |of: fn(&File) -> u64| files.iter().map(|f| of(f)).fold(0, u64::saturating_add);
        Held { table, rows: sum(|f| f.rows), bytes: sum(|f| f.bytes), files: files.len() }
    };
    tables::ALL.iter().map(|table| of(table.name)).collect()
}

/// The moment up to which everything is in the capture, wall clock.
fn whole_until_wall_ns(capture: &Capture, clock: &Clock) -> i64 {
    clock.wall_ns(capture.manifest.whole_until_boot_ns)
}

fn length_ns(capture: &Capture) -> i64 {
    capture.manifest.whole_until_boot_ns.saturating_sub(capture.manifest.started_boot_ns).max(0)
}

fn as_text(capture: &Capture, clock: &Clock, zone: i32) -> String {
    let manifest = &capture.manifest;
    let until = text::time(whole_until_wall_ns(capture, clock), zone, 3);
    let state = match capture.state {
        State::Complete => "complete".to_owned(),
        State::Interrupted => format!("interrupted: whole until {until}"),
        State::Recording => format!("recording: whole until {until} so far"),
    };
    let mut lines = vec![
        ("capture", manifest.capture_id.clone()),
        ("state", state),
        origin(manifest),
        ("started", text::time(manifest.started_wall_ns, zone, 3)),
        ("zone", zone_text(zone, manifest)),
        ("length", duration(length_ns(capture))),
        made_by(manifest),
        ("options", options(&manifest.options)),
        ("format", manifest.format_version.to_string()),
    ];
    if let Some(reason) = &manifest.probe_set_reason {
        lines.push(("probes", format!("not of the set sockets: {reason}")));
    }
    lines.extend(let_go(manifest, zone));
    if let (Some(cost), None) = (&manifest.cost, &manifest.imported) {
        lines.push(("cost", cost_text(cost)));
    }
    if manifest.losses.iter().all(|loss| loss.count == 0 || loss.is_left_out()) {
        lines.push(("losses", "none".to_owned()));
    }
    for loss in manifest.losses.iter().filter(|loss| loss.count > 0) {
        lines.push(match loss.is_left_out() {
            true => {
                ("left out", format!("{} of {} calls: {}", loss.left_out(), count(loss.count), loss.cause))
            }
            false => ("losses", format!("{} {}: {}", count(loss.count), loss.kind, loss.cause)),
        });
    }
    lines.extend(manifest.tls.iter().flat_map(tls).map(|text| ("tls", text)));
    for step in &clock.steps {
        let at = text::time(clock.wall_ns(step.boot_ns), zone, 3);
        lines.push(("clock", format!("the wall clock was set by {} before {at}", duration(step.step_ns))));
    }
    let mut page = String::new();
    for (name, value) in &lines {
        let terminal = terminal::stdout();
        let line = terminal.wrap(&format!("{name:<9} {}", escape_controls(value)), 10);
        let is_bad = *name == "losses" && value != "none" || value.starts_with("interrupted");
        let line = if is_bad { terminal.paint(Paint::Red, &line) } else { line };
        let _ = writeln!(page, "{line}");
    }
    page.push_str(&held_text(&held(capture), manifest.is_of_traces()));
    page
}

/// Where TLS libraries were found, and what of their sessions is not known.
fn tls(tls: &Tls) -> Vec<String> {
    let file = |file: &TlsFile| match &file.problem {
        Some(problem) => format!("{} ({}): not recorded: {problem}", file.file, file.library),
        None => format!("{} ({}), {} functions", file.file, file.library, file.functions),
    };
    let mut lines: Vec<String> = tls.files.iter().map(file).collect();
    if tls.untied > 0 {
        let (untied, sessions) = (count(tls.untied), count(tls.sessions));
        lines.push(format!("{untied} of {sessions} sessions are on no socket that is known (docs/tls.md)"));
    }
    lines
}

/// What is not in it, or why it ends: of a recording that kept the latest only, of a copy, at a limit.
fn let_go(manifest: &Manifest, zone: i32) -> Vec<(&'static str, String)> {
    let rolled = manifest.rolled.as_ref().map(|rolled| {
        let began = text::time(rolled.recording_started_wall_ns, zone, 3);
        let events = count(rolled.events);
        ("let go", format!("{events} events since {began}, as the recording keeps the latest only"))
    });
    let frozen = manifest
        .frozen
        .as_ref()
        .map(|reason| ("copied", format!("on {reason}, while the recording went on")));
    let ended = manifest.ended_by.as_ref().map(|limit| ("ended", format!("by {limit}")));
    [rolled, frozen, ended].into_iter().flatten().collect()
}

/// Where it comes from.
fn origin(manifest: &Manifest) -> (&'static str, String) {
    let host = &manifest.host;
    match &manifest.imported {
        Some(imported) if manifest.is_of_traces() => ("traces", imported.files.join(", ")),
        Some(imported) => ("packets", imported.files.join(", ")),
        None => {
            ("host", format!("{}, Linux {} {}, {} CPUs", host.name, host.kernel, host.machine, host.cpus))
        }
    }
}

fn made_by(manifest: &Manifest) -> (&'static str, String) {
    let version = &manifest.recorder_version;
    match &manifest.imported {
        Some(_) => ("importer", version.clone()),
        None => ("recorder", format!("{version}, probe set {}", manifest.probe_set)),
    }
}

/// In which zone times are, here and in SQL.
fn zone_text(zone: i32, manifest: &Manifest) -> String {
    let (name, of_host) = (text::zone(zone), manifest.host.utc_offset_s);
    match zone == of_host {
        true if manifest.is_of_traces() => format!("{name}; traces do not tell the hosts'"),
        true if manifest.imported.is_some() => format!("{name}; packets do not tell the host's"),
        true => format!("{name}, of the host; also of times in SQL (--utc: UTC)"),
        false => format!("{name}; the host's is {}", text::zone(of_host)),
    }
}

fn held_text(held: &[Held], of_traces: bool) -> String {
    // Traces fill few tables, and nothing else fills these; older recorders know no containers.
    let is_seldom = |name: &str| name.starts_with("imported_") || name == tables::CONTAINERS.name;
    let is_shown = |table: &&Held| table.files > 0 || !(of_traces || is_seldom(table.table));
    let widest = held.iter().filter(is_shown).map(|table| table.table.len()).max().unwrap_or(0).max(10);
    let mut text = format!("\n{:<widest$} {:>14} {:>10} {:>6}\n", "table", "rows", "size", "files");
    for table in held.iter().filter(is_shown) {
        let (rows, bytes) = (count(table.rows), size(table.bytes));
        let _ = writeln!(text, "{:<widest$} {rows:>14} {bytes:>10} {:>6}", table.table, table.files);
    }
    text
}

/// The options that were used.
fn options(options: &Map<String, Value>) -> String {
    let used = |value: &Value| match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(values) if values.is_empty() => None,
        Value::Array(values) => {
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            Some(values.iter().map(text).collect::<Vec<_>>().join(","))
        }
        other => Some(other.to_string()),
    };
    let used = options.iter().filter_map(|(name, value)| Some(format!("{name}={}", used(value)?)));
    let used: Vec<String> = used.collect();
    if used.is_empty() { "none".to_owned() } else { used.join(" ") }
}

fn cost_text(cost: &retrospan_formats::manifest::Cost) -> String {
    let mut text = format!(
        "recorder {:.2} s user, {:.2} s system, {} at most",
        cost.user_cpu_s,
        cost.system_cpu_s,
        size(cost.peak_rss_bytes)
    );
    // Starting costs the same however short the recording: as a share it says something only later.
    if cost.elapsed_s >= 10.0 {
        let percent = 100.0 * (cost.user_cpu_s + cost.system_cpu_s) / cost.elapsed_s;
        let _ = write!(text, " ({percent:.2} % of a core)");
    }
    if let Some(programs_s) = cost.programs_s {
        let each = if cost.events > 0 { programs_s * 1e9 / cost.events as f64 } else { 0.0 };
        let _ = write!(text, "; {programs_s:.2} s in kernel programs, {each:.0} ns an event");
    }
    text
}

fn as_json(capture: &Capture, clock: &Clock) -> Value {
    let manifest = &capture.manifest;
    let utc = |wall_ns: i64| text::time(wall_ns, 0, 9).replace("+00:00", "Z").replacen(' ', "T", 1);
    let tables: Map<String, Value> = held(capture)
        .into_iter()
        .map(|t| (t.table.to_owned(), json!({"rows": t.rows, "bytes": t.bytes, "files": t.files})))
        .collect();
    let losses: Vec<_> = manifest.losses.iter().filter(|loss| loss.count > 0).collect();
    let step = |s: &ClockStep| json!({"before": utc(clock.wall_ns(s.boot_ns)), "by_ns": s.step_ns});
    let steps: Vec<Value> = clock.steps.iter().map(step).collect();
    json!({
        "capture_id": manifest.capture_id,
        "format_version": manifest.format_version,
        "state": capture.state.name(),
        "host": manifest.host,
        "started": utc(manifest.started_wall_ns),
        "whole_until": utc(whole_until_wall_ns(capture, clock)),
        "length_ns": length_ns(capture),
        "recorder_version": manifest.recorder_version,
        "probe_set": manifest.probe_set,
        "probe_set_reason": manifest.probe_set_reason,
        "imported": manifest.imported,
        "options": manifest.options,
        "tables": tables,
        "losses": losses,
        "tls": manifest.tls,
        "rolled": manifest.rolled,
        "frozen": manifest.frozen,
        "ended_by": manifest.ended_by,
        "cost": manifest.cost,
        "clock_steps": steps,
    })
}
