//! A page in a headless Chromium, driven by `browser.py`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Whether there is a browser. Where there is none, the test prints a line that no test runner hides and returns
/// early, or fails where nothing may be skipped (`RETROSPAN_REQUIRE_EBPF=1`).
pub fn browser_or_skip(test: &str) -> bool {
    let version =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = std::env::var("RETROSPAN_REQUIRE_EBPF").as_deref() == Ok("1");
    assert!(!required, "chromium is required but cannot be run here");
    // Not eprintln!, which the test runner swallows when a test passes.
    let line = format!("SKIPPED {test}: chromium cannot be run here\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    false
}

/// Opens a page and gives what `browser.py` says about it.
pub fn open(page: &Path, arguments: &[&str]) -> Value {
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/browser.py");
    let output = Command::new("python3").arg(driver).arg(page).args(arguments).output().expect("python3");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
