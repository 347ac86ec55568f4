//! A capture, and what `retrospan` says about it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::process::{run, run_ok};

/// A capture directory, removed with its guard.
pub struct Capture {
    dir: PathBuf,
    home: TempDir,
}

impl Drop for Capture {
    /// A failed test leaves its capture behind for whoever looks into it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.home.disable_cleanup(true);
            eprintln!("the capture is kept: {}", self.dir.display());
        }
    }
}

/// One row of the `spans` table; columns as the contract names them.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub kind: String,
    pub name: String,
    pub service: Option<String>,
    /// Unix ns, computed by the query below.
    pub start_ns: i64,
    pub end_ns: i64,
    pub duration_ns: i64,
    pub own_ns: i64,
    pub protocol: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub status: Option<i64>,
    pub outcome: String,
    pub late_status: Option<i64>,
    pub late_ns: Option<i64>,
    pub request_bytes: Option<i64>,
    pub response_bytes: Option<i64>,
    pub request_body_bytes: Option<i64>,
    pub response_body_bytes: Option<i64>,
    pub src_addr: String,
    pub src_port: u16,
    pub dst_addr: String,
    pub dst_port: u16,
    pub pid: Option<i64>,
    pub process: Option<String>,
    pub connection_id: i64,
    pub link_evidence: Option<String>,
    pub link_confidence: Option<f64>,
}

impl Capture {
    /// Takes over a capture inside the folder `home`.
    pub fn new(dir: PathBuf, home: TempDir) -> Self {
        Self { dir, home }
    }

    /// The capture directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder around it, free for the test's use.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `retrospan COMMAND CAPTURE ARGS...`; must succeed. Returns its stdout.
    pub fn retrospan(&self, command: &str, args: &[&str]) -> String {
        run_ok(retrospan().arg(command).arg(&self.dir).args(args))
    }

    /// The same, however it ends.
    pub fn try_retrospan(&self, command: &str, args: &[&str]) -> Output {
        run(retrospan().arg(command).arg(&self.dir).args(args))
    }

    /// Rows of an SQL query, a JSON object each; a null may be left out.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let text = self.retrospan("sql", &[query, "--format", "json"]);
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        text.lines().map(parse).collect()
    }

    /// The one number that a query yields in its column `n`.
    pub fn number(&self, query: &str) -> i64 {
        let rows = self.sql(query);
        let number = rows.first().and_then(|row| row["n"].as_i64());
        number.unwrap_or_else(|| panic!("no number n from {query}: {rows:?}"))
    }

    /// All spans in order of their starts.
    pub fn spans(&self) -> Vec<Span> {
        let rows = self.sql(
            "SELECT *, CAST(start_time AS BIGINT) AS start_ns, CAST(end_time AS BIGINT) AS end_ns \
             FROM spans ORDER BY start_time, span_id",
        );
        let span =
            |row: Value| serde_json::from_value(row.clone()).unwrap_or_else(|e| panic!("span {row}: {e}"));
        rows.into_iter().map(span).collect()
    }
}

/// The analyzer's binary.
pub fn analyzer_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_retrospan"))
}

/// A `retrospan` command to add arguments to.
pub fn retrospan() -> Command {
    Command::new(analyzer_binary())
}
