//! Captures that are none, or no longer: exit 2, one line that names the file,
//! nothing changed on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::capture::{Capture, retrospan};
use crate::lab::{self, copy, folder, workspace};

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
