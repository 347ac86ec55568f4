//! A capture of which one part is damaged, and `--salvage`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::capture::{Capture, retrospan};
use crate::lab::process::{run, run_ok};
use crate::lab::{copy, folder, workspace};

/// The tutorial's capture, which has thirteen parts.
fn tutorial() -> Capture {
    let home = folder();
    let to = home.path().join("tutorial.cap");
    copy(&workspace().join("testdata/tutorial.cap"), &to);
    Capture::new(to, home)
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("a damaged part");
}

/// What `sql --salvage` answers, an object a row, and what it says beside.
fn salvaged(capture: &Capture, query: &str) -> (Vec<Value>, String) {
    let output = capture.try_retrospan("sql", &["--salvage", query, "--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).expect("text");
    (text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect(), said)
}

fn number(capture: &Capture, query: &str) -> i64 {
    salvaged(capture, query).0[0]["n"].as_i64().expect("a number n")
}

const SPANS: &str = "SELECT count(*) AS n FROM spans";

#[test]
fn the_rest_of_a_damaged_capture_is_read_and_the_hole_is_a_loss() {
    let capture = tutorial();
    let part = capture.dir().join("events/000004.parquet");
    let good = fs::read(&part).expect("a part");
    let rows = capture.number("SELECT count(*) AS n FROM events");
    let spans = capture.number(SPANS);
    assert_eq!(capture.number("SELECT count(*) AS n FROM spans WHERE outcome = 'lost'"), 0);
    flip(&part);

    let refused = capture.try_retrospan("spikes", &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("000004.parquet: damaged: ") && said.ends_with("; --salvage opens the rest\n"),
        "{said}"
    );

    let (losses, said) = salvaged(&capture, "SELECT * FROM loss");
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert_eq!(
        (losses[0]["kind"].as_str(), losses[0]["cause"].as_str()),
        (Some("events"), Some("damaged_part"))
    );
    let lost = losses[0]["count"].as_i64().expect("a count");
    assert!(lost > 1000 && said.contains("events/000004.parquet: left out: "), "{said}");
    assert!(said.contains("rows of events, part 4, from 2026-11-20 17:02:19"), "{said}");
    assert_eq!(number(&capture, "SELECT count(*) AS n FROM events"), rows - lost);
    let within = "SELECT count(*) AS n FROM events, loss WHERE boot_ns BETWEEN from_boot_ns AND to_boot_ns";
    assert_eq!(number(&capture, within), 0, "its neighbours begin after it and end before it");
    // What the hole cuts is lost, never a client that gave up.
    assert!(number(&capture, "SELECT count(*) AS n FROM spans WHERE outcome = 'lost'") > 0);
    let given_up = "SELECT count(*) AS n FROM spans, loss WHERE outcome = 'client_closed' \
                    AND start_time BETWEEN wall_time(from_boot_ns) AND wall_time(to_boot_ns)";
    assert_eq!(number(&capture, given_up), 0);
    let rest = number(&capture, SPANS);
    assert!(rest < spans, "{rest} of {spans}");

    // The derived tables of one are never those of the other.
    fs::write(&part, &good).expect("the part");
    assert_eq!(capture.number(SPANS), spans);
    flip(&part);
    assert_eq!(number(&capture, SPANS), rest);
    fs::write(&part, &good).expect("the part");
    assert_eq!(number(&capture, SPANS), spans, "there is nothing to salvage");
}

#[test]
fn every_command_that_opens_a_capture_salvages() {
    let capture = tutorial();
    flip(&capture.dir().join("tcp/000003.parquet"));
    let html = capture.home().join("t.html").display().to_string();
    for (command, arguments) in [
        ("info", &[][..]),
        ("spans", &["--limit", "1"]),
        ("spikes", &[]),
        ("report", &["-o", &html]),
        ("sql", &["SELECT 1"]),
    ] {
        let output = capture.try_retrospan(command, arguments);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--salvage opens the rest"), "{command}: {said}");
        capture.retrospan(command, &[arguments, &["--salvage"]].concat());
    }
    let info = capture.retrospan("info", &["--salvage"]);
    assert!(info.contains("tcp: damaged_part"), "{info}");
    let query = |salvage: &[&str]| {
        let mut command = retrospan();
        command.args(["query", "run", "losses"]).arg(capture.dir()).args(salvage);
        command
    };
    assert_eq!(run(&mut query(&[])).status.code(), Some(2));
    assert!(run_ok(&mut query(&["--salvage"])).contains("damaged_part"));
}

#[test]
fn a_result_that_cannot_be_written_is_refused_before_the_work() {
    let capture = tutorial();
    // Were the capture opened, it would be what is refused.
    flip(&capture.dir().join("events/000000.parquet"));
    let nowhere = |name: &str| -> String { PathBuf::from("/nonexistent").join(name).display().to_string() };
    let (html, rows) = (nowhere("a.html"), nowhere("a.parquet"));
    let commands: [&[&str]; 2] =
        [&["report", "-o", &html], &["sql", "SELECT 1", "--format", "parquet", "-o", &rows]];
    for arguments in commands {
        let output = capture.try_retrospan(arguments[0], &arguments[1..]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("cannot be written: there is no directory /nonexistent"), "{said}");
    }
    let mut query = retrospan();
    query.args(["query", "run", "losses"]).arg(capture.dir()).args(["-o", &rows]);
    let said = String::from_utf8_lossy(&run(&mut query).stderr).into_owned();
    assert!(said.contains("cannot be written"), "{said}");
}
