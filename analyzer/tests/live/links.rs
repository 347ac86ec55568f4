//! Programs with many requests in hand: who called for whom, against a header that the recorder blanks.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::lab::capture::analyzer_binary;
use crate::lab::recording::recorder_binary;
use crate::lab::{ebpf_or_skip, tool};

/// Where the bench finds its programs.
fn path() -> String {
    let folder = |name| tool(name).parent().expect("a folder").display().to_string();
    let own = std::env::var("PATH").unwrap_or_default();
    ["go", "nginx", "python3"].map(folder).into_iter().chain([own]).collect::<Vec<_>>().join(":")
}

/// Runs the bench with one subject; what it says of the subject's calls. `options`: more of the recorder's.
fn told(subject: &str, requests: u32, options: &str) -> Value {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/links/run.py");
    let mut command = Command::new(tool("python3"));
    command.arg(bench).args(["--json", subject]);
    command.env("RETROSPAN", analyzer_binary()).env("RECORDER", recorder_binary());
    command.env("REQUESTS", requests.to_string()).env("PATH", path()).env("RECORD", options);
    let output = command.output().expect("the bench to run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e} in {text}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Fails where a parent is wrong, or where so many of a hundred calls have none.
#[track_caller]
fn check(subject: &str, requests: u32, missing_percent: u64) {
    let told = told(subject, requests, "");
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    let (right, missing) = (count("right"), count("missing"));
    // One in a thousand is what the rules are believed with.
    assert!(count("wrong") * 1000 <= right, "{told}");
    assert!(right > 0 && missing * 100 <= missing_percent * (right + missing), "{told}");
    assert_eq!(count("unknown"), 0, "{told}");
}

#[test]
fn calls_of_event_loops_and_threads_have_the_right_parents() {
    let Some(_turn) = ebpf_or_skip("calls_of_event_loops_and_threads_have_the_right_parents") else { return };
    check("nginx:16", 1000, 2);
    check("envoy:16", 1000, 10);
    check("python-threads:16", 500, 2);
    check("python-prefork:16", 500, 2);
}

#[test]
fn goroutines_are_not_guessed_at() {
    let Some(_turn) = ebpf_or_skip("goroutines_are_not_guessed_at") else { return };
    let told = told("go:16", 1000, "");
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    let all = count("right") + count("wrong") + count("missing");
    assert_eq!(all, 2000, "{told}");
    assert!(count("wrong") * 200 <= all, "{told}");
}

#[test]
fn what_is_passed_on_tells_whose_a_goroutines_call_is() {
    let Some(_turn) = ebpf_or_skip("what_is_passed_on_tells_whose_a_goroutines_call_is") else { return };
    let told = told("go:16", 1000, "--hash-secrets");
    let count = |name: &str| told[name].as_u64().unwrap_or_default();
    let (right, wrong, missing) = (count("right"), count("wrong"), count("missing"));
    assert_eq!((right + wrong + missing, wrong), (2000, 0), "{told}");
    assert!(missing * 100 <= 2 * right, "{told}");
}
