//! docs/tutorial.md: every command it shows is run on testdata/tutorial.cap, and prints what the page says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli_support::stdout;
use serde_json::Value;

/// What the page calls the capture.
const NAME: &str = "friday.cap";

/// A piece of the page.
#[derive(Debug, PartialEq)]
enum Piece {
    /// Lines that are left alone.
    Text(String),
    /// A command after `$ `, its further lines after `> `, and what it printed.
    Session { command: String, output: String },
    /// What a block of another kind shows: nothing here can run it.
    Unrun(String),
}

/// Blocks called `console` are sessions, blocks called `sh` are commands that need a host or another machine.
fn pieces(page: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut block = None;
    for line in page.split_inclusive('\n') {
        if let Some(name) = line.trim_end().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(name) };
            pieces.push(Piece::Text(line.to_owned()));
            continue;
        }
        match (block, pieces.last_mut()) {
            (Some("console"), last) => match (line.strip_prefix("$ "), line.strip_prefix("> "), last) {
                (Some(command), _, _) => {
                    pieces.push(Piece::Session { command: command.to_owned(), output: String::new() });
                }
                (_, Some(more), Some(Piece::Session { command, output })) if output.is_empty() => {
                    command.push_str(more);
                }
                (_, _, Some(Piece::Session { output, .. })) => output.push_str(line),
                _ => panic!("a console block begins with {line:?}, not with a command"),
            },
            (Some(_), _) => pieces.push(Piece::Unrun(line.to_owned())),
            (None, Some(Piece::Text(text))) => text.push_str(line),
            (None, _) => pieces.push(Piece::Text(line.to_owned())),
        }
    }
    pieces
}

/// The page that the pieces make.
fn written(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) | Piece::Unrun(text) => text.clone(),
        Piece::Session { command, output } => {
            format!("$ {}\n{output}", command.trim_end_matches('\n').replace('\n', "\n> "))
        }
    };
    pieces.iter().map(piece).collect()
}

/// The folder in which the page's commands run; a copy, so that nothing is cached in testdata.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/tutorial.cap");
    copy(&from, &folder.path().join(NAME));
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What the command prints, in a shell that finds `retrospan`; it must succeed.
fn printed(folder: &Path, command: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_retrospan")).parent().unwrap().to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&others))).unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .env("PATH", path)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}\n{text}");
    text
}

fn page_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md")
}

#[test]
fn every_command_prints_what_the_page_says() {
    let page = fs::read_to_string(page_path()).unwrap();
    let mut pieces = pieces(&page);
    assert_eq!(written(&pieces), page);
    let folder = folder();
    let mut verbs = Vec::new();
    for piece in &mut pieces {
        if let Piece::Session { command, output } = piece {
            verbs.extend(command.split_whitespace().nth(1).map(str::to_owned));
            *output = printed(folder.path(), command);
        }
    }
    for verb in ["info", "spikes", "sql", "trace", "report"] {
        assert!(verbs.iter().any(|shown| shown == verb), "the page shows no {verb}");
    }
    let now = written(&pieces);
    if std::env::var_os("ACCEPT").is_some() {
        fs::write(page_path(), &now).unwrap();
    }
    let committed = fs::read_to_string(page_path()).unwrap();
    assert!(
        committed == now,
        "docs/tutorial.md is stale (ACCEPT=1 cargo test --test pure tutorial); now it is\n{now}"
    );
}

/// The page goes on with what the finding printed, not with what it once was.
#[test]
fn the_page_runs_what_the_finding_says() {
    let page = fs::read_to_string(page_path()).unwrap();
    let said = |name: &str| {
        let mut lines = page.lines().map(str::trim_start);
        lines.find_map(|line| line.strip_prefix(name)).map(str::trim_start).unwrap()
    };
    for name in ["rows ", "trace "] {
        let command = format!("\n$ {}", said(name));
        assert!(page.contains(&command), "the page does not show {command:?}");
    }
}

#[test]
fn only_what_needs_a_host_is_not_run() {
    let page = fs::read_to_string(page_path()).unwrap();
    for piece in pieces(&page) {
        match piece {
            Piece::Unrun(line) => assert!(
                ["retrospan-record ", "scp ", " export "].iter().any(|word| line.contains(word)),
                "{line:?} could be run, or is no command"
            ),
            // Indented lines would be code that nobody runs.
            Piece::Text(text) => assert!(!text.lines().any(|line| line.starts_with("    ")), "{text}"),
            Piece::Session { .. } => {}
        }
    }
}

/// What was done to the shop in the recording is what the finding says, whatever the page shows.
#[test]
fn the_finding_is_what_was_done() {
    let folder = folder();
    let found: Value =
        serde_json::from_str(&stdout(folder.path(), &["spikes", NAME, "--format", "json"])).unwrap();
    let spikes = found["spikes"].as_array().unwrap();
    assert!(!spikes.is_empty());
    for spike in spikes {
        let period_s = spike["period_s"].as_f64().unwrap();
        assert!((period_s - 60.0).abs() < 0.1, "{spike}");
        let cause = &spike["causes"][0];
        assert_eq!((cause["kind"].as_str(), cause["subject"].as_str()), (Some("stopped"), Some("shop")));
        assert_eq!((cause["coincidences"].as_u64(), cause["elsewhere"].as_u64()), (Some(9), Some(0)));
    }
    let rows = stdout(folder.path(), &["sql", NAME, spikes[0]["sql"].as_str().unwrap(), "--format", "csv"]);
    assert_eq!(rows.lines().count(), 1 + 9, "{rows}");
    for cause in spikes.iter().flat_map(|spike| spike["causes"].as_array().unwrap()) {
        let shown = stdout(folder.path(), &["sql", NAME, cause["sql"].as_str().unwrap(), "--format", "csv"]);
        assert_eq!(Some(shown.lines().count() as u64 - 1), cause["rows"].as_u64(), "{cause}");
    }
    let started = "SELECT count(*) AS n FROM execs WHERE comm = 'snapshot-shop'";
    assert_eq!(stdout(folder.path(), &["sql", NAME, started, "--format", "csv"]), "n\n9\n");
}

/// Clients wait for a second at most, the shop stands still for longer: slow requests begin with it all the same, and where
/// only half of the period is looked for it is said that every second cycle alone is hit.
#[test]
fn slow_requests_begin_when_the_shop_stops() {
    let folder = folder();
    let found = |more: &[&str]| -> Value {
        let arguments = [&["spikes", NAME, "--metric", "latency", "--format", "json"], more].concat();
        serde_json::from_str(&stdout(folder.path(), &arguments)).unwrap()
    };
    let slow = found(&[]);
    let spike = &slow["spikes"][0];
    assert!(spike["jitter_s"].as_f64().unwrap() < 0.05, "{spike}");
    let period_s = spike["period_s"].as_f64().unwrap();
    assert!((period_s - 60.0).abs() < 0.01, "{period_s}");
    for cycle in spike["cycle_table"].as_array().unwrap() {
        let past_the_minute_ns = cycle["onset_ns"].as_i64().unwrap() % 60_000_000_000;
        assert!((100_000_000..130_000_000).contains(&past_the_minute_ns), "{cycle}");
    }
    let half = found(&["--max-period", "40s"]);
    let sentence = half["spikes"][0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("only every 2nd cycle is hit: every 60.0"), "{sentence}");
    for beyond in [["--max-period", "59.5s"], ["--min-period", "60.4s"]] {
        for spike in found(&beyond)["spikes"].as_array().unwrap() {
            let period_s = spike["period_s"].as_f64().unwrap();
            assert!((period_s - 60.0).abs() > 1.0, "{beyond:?}: {period_s}");
        }
    }
}
