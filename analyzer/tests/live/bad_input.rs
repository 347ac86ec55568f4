//! Captures that are none, or no longer: exit 2, one line that names the file,
//! nothing changed on disk. And traffic that means harm to whoever looks at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::capture::{Capture, retrospan};
use crate::lab::client::Connection;
use crate::lab::recording::Recording;
use crate::lab::{self, ebpf_or_skip, folder, servers, workspace};

/// A copy of a sample capture, to be damaged.
fn sample() -> Capture {
    let home = folder();
    let samples = fs::read_dir(workspace().join("testdata")).expect("testdata");
    let mut samples: Vec<PathBuf> = samples.map(|entry| entry.expect("an entry").path()).collect();
    samples.retain(|path| path.join("manifest.json").is_file() && path.join("events").is_dir());
    samples.sort();
    let from = samples.first().expect("a sample capture in testdata/");
    let to = home.path().join("sample.cap");
    copy(from, &to);
    Capture::new(to, home)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file to copy");
        }
    }
}

/// Every file below `dir` with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return files;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    files
}

/// Every command refuses the capture with one line that has `named` in it.
fn is_refused(dir: &Path, named: &str) {
    let before = contents(dir);
    let commands: [&[&str]; 4] = [
        &["info"],
        &["sql", "SELECT count(*) FROM events", "--format", "json"],
        &["spans"],
        &["trace", "00112233445566778899aabbccddeeff"],
    ];
    for command in commands {
        let output = lab::process::run(retrospan().arg(command[0]).arg(dir).args(&command[1..]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let case = format!("{} with a bad {named}: {} {said}", command[0], output.status);
        assert_eq!(output.status.code(), Some(2), "{case}");
        assert_eq!(said.trim_end().lines().count(), 1, "{case}");
        assert!(said.contains(named), "{case}");
        assert!(output.stdout.is_empty(), "{case}: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(contents(dir), before, "{case}: changed something");
    }
}

fn events_file(capture: &Capture) -> PathBuf {
    let mut files: Vec<_> = contents(&capture.dir().join("events")).into_keys().collect();
    files.sort();
    files.swap_remove(0)
}

#[test]
fn a_whole_sample_is_read() {
    let capture = sample();
    assert!(capture.number("SELECT count(*) AS n FROM events") > 0);
    assert!(capture.number("SELECT count(*) AS n FROM spans") > 0);
}

#[test]
fn what_is_no_capture() {
    let home = folder();
    is_refused(&home.path().join("missing.cap"), "missing.cap");
    let empty = home.path().join("empty.cap");
    fs::create_dir(&empty).expect("a folder");
    is_refused(&empty, "empty.cap");
    let file = home.path().join("file.cap");
    fs::write(&file, "not a directory").expect("a file");
    is_refused(&file, "file.cap");
    let foreign = home.path().join("foreign.cap");
    fs::create_dir(&foreign).expect("a folder");
    fs::write(foreign.join("manifest.json"), r#"{"name": "some web app", "icons": []}"#).expect("a file");
    is_refused(&foreign, "manifest.json");
}

#[test]
fn a_manifest_that_is_empty_cut_or_of_another_version() {
    let capture = sample();
    let manifest = capture.dir().join("manifest.json");
    let good = fs::read_to_string(&manifest).expect("the manifest");
    let version = of_version_999(&good);
    let half = good[..good.len() / 2].to_owned();
    for bad in [String::new(), half, "\u{0}\u{1}".to_owned(), "[]".to_owned(), version] {
        fs::write(&manifest, bad).expect("a bad manifest");
        is_refused(capture.dir(), "manifest.json");
    }
}

/// The manifest of a version yet to come.
fn of_version_999(manifest: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(manifest).expect("a JSON manifest");
    value["format_version"] = 999.into();
    value.to_string()
}

#[test]
fn a_file_that_is_missing_cut_swapped_or_flipped() {
    let capture = sample();
    let file = events_file(&capture);
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let good = fs::read(&file).expect("an events file");
    fs::remove_file(&file).expect("an events file");
    is_refused(capture.dir(), &name);
    for bad in [&good[..0], &good[..good.len() / 2], &good[..good.len() - 1], b"PAR1 not really PAR1"] {
        fs::write(&file, bad).expect("a bad file");
        is_refused(capture.dir(), &name);
    }
    // One flipped bit anywhere: most such files read back without an error from Parquet.
    for nth in 0..20 {
        let mut flipped = good.clone();
        flipped[good.len() * nth / 20] ^= 1 << (nth % 8);
        fs::write(&file, flipped).expect("a bad file");
        is_refused(capture.dir(), &name);
    }
    fs::write(&file, good).expect("the good file");
    assert!(capture.number("SELECT count(*) AS n FROM events") > 0, "whole again");
}

#[test]
fn a_left_over_temporary_file_means_interrupted() {
    let capture = sample();
    fs::write(capture.dir().join("events/000099.parquet.tmp"), "PAR1").expect("a temporary file");
    let info = capture.retrospan("info", &[]);
    assert!(info.contains("interrupted"), "{info}");
}

#[test]
fn usage_errors_are_exit_2() {
    let capture = sample();
    for args in [&["SELECT * FROM nothing"][..], &["SELEKT 1"], &["SELECT 1", "--format", "xml"]] {
        let output = capture.try_retrospan("sql", args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{args:?}");
    }
}

/// Requests whose lines a terminal, a spreadsheet or a browser would obey.
const HOSTILE: [&[u8]; 5] = [
    b"GET /\x1b[31mred\x1b[2J\x07\x08 HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /\"quoted\",'single',;=cmd|calc HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /<script>alert(1)</script>&amp; HTTP/1.1\r\nHost: lab\r\nUser-Agent: \x1b]0;title\x07\r\n\r\n",
    b"GET /\xff\xfe\xc3\x28\xe2\x80\xae HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /a\nb\rc\x00d HTTP/1.1\r\nHost: lab\r\nX: \xc2\x9b31m\r\n\r\n",
];

#[test]
fn hostile_bytes_stay_harmless() {
    let Some(_turn) = ebpf_or_skip("hostile_bytes_stay_harmless") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    for request in HOSTILE {
        let mut connection = Connection::open(go.port);
        connection.send(request);
        connection.finish_sending();
        connection.wait_closed();
    }
    let capture = recording.finish();
    let query = "SELECT kind, method, path, status, outcome, name FROM spans ORDER BY start_time, span_id";
    let json = capture.sql(query);
    let paths: Vec<_> = json.iter().filter_map(|row| row["path"].as_str()).collect();
    for part in ["red", "quoted", "script"] {
        let found = paths.iter().filter(|path| path.contains(part)).count();
        assert_eq!(found, 2, "client and server span of {part} in {paths:?}");
    }
    let trace = capture.spans().first().map(|span| span.trace_id.clone()).expect("a span");
    let shown = [
        capture.retrospan("sql", &[query, "--format", "table"]),
        capture.retrospan("sql", &[query, "--format", "csv"]),
        capture.retrospan("sql", &["SELECT payload FROM events", "--format", "csv"]),
        capture.retrospan("spans", &[]),
        capture.retrospan("trace", &[&trace]),
        capture.retrospan("info", &[]),
    ];
    for text in &shown {
        let bad = text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\r')) || is_bidi(*c));
        assert!(bad.is_none(), "{bad:?} in {text:?}");
    }
    let table_rows = shown[0].lines().filter(|line| line.contains("GET")).count();
    assert!(table_rows >= 6, "{}", shown[0]);
    assert_eq!(csv_records(&shown[1]), json.len() + 1, "{}", shown[1]);
    assert_eq!(shown[3].lines().count(), json.len(), "one line a span:\n{}", shown[3]);
}

/// Characters that turn the reading direction around.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Counts the records of a CSV text: line ends within quotes do not count.
fn csv_records(text: &str) -> usize {
    let mut quoted = false;
    let ends = text.chars().filter(|c| {
        quoted ^= *c == '"';
        *c == '\n' && !quoted
    });
    ends.count()
}
