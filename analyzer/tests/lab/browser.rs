//! A page in a headless Chromium, driven by `browser.py`.

use std::path::Path;
use std::process::{Command, Stdio};

use retrospan_testkit::skip;
use serde_json::Value;

/// Whether there is a browser. Where there is none, the test is skipped.
pub fn browser_or_skip(test: &str) -> bool {
    let version =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = version.is_ok_and(|status| status.success());
    if !is_there {
        skip::lacks(test, "chromium cannot be run here");
    }
    is_there
}

/// Opens a page and gives what `browser.py` says about it.
pub fn open(page: &Path, arguments: &[&str]) -> Value {
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/browser.py");
    let output = Command::new("python3").arg(driver).arg(page).args(arguments).output().expect("python3");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
