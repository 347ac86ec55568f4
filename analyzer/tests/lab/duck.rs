//! DuckDB as another reader of the same files.

use std::path::Path;
use std::process::Command;

use super::process::run_ok;
use super::{cache, workspace};

fn duck(command: &str, capture: &Path, text: &str) -> String {
    let python = cache().join("venv/bin/python");
    assert!(python.is_file(), "no Python with DuckDB: run .ci/setup");
    let script = workspace().join("analyzer/tests/lab/duck.py");
    run_ok(Command::new(python).arg(script).arg(command).arg(capture).arg(text))
}

/// The one number that DuckDB finds; tables go by their names.
pub fn number(capture: &Path, query: &str) -> i64 {
    let text = duck("number", capture, query);
    text.trim().parse().unwrap_or_else(|_| panic!("DuckDB printed {text}"))
}

/// Cells of any table, and files, whose bytes match a regular expression.
pub fn find(capture: &Path, pattern: &str) -> Vec<String> {
    duck("find", capture, pattern).lines().map(str::to_owned).collect()
}
