//! The sample capture that `.ci/demo` shows where nothing can be recorded: real, and whole.

use std::path::{Path, PathBuf};

use crate::cli_support::stdout;
use retrospan_analyzer::sql::library;

/// A copy, so that derived tables are not cached in testdata.
fn sample(directory: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sample.cap");
    let to = directory.join("sample.cap");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("manifest.json"), to.join("manifest.json")).unwrap();
    for table in ["events", "sockets", "processes", "clock"] {
        std::fs::create_dir(to.join(table)).unwrap();
        for file in std::fs::read_dir(from.join(table)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(table).join(file.file_name())).unwrap();
        }
    }
    to
}

/// It was recorded without evidence from the kernel: views of that are empty, and no error.
#[test]
fn views_of_what_was_not_recorded_are_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = sample(directory.path());
    for (view, _) in library::VIEWS {
        let query = format!("SELECT count(*) AS n FROM {view}");
        let rows = stdout(directory.path(), &["sql", path.to_str().unwrap(), &query, "--format", "csv"]);
        let always = ["opened_connections", "listen_queue_waits", "process_places"].contains(&view);
        assert!(always || rows == "n\n0\n", "{view}: {rows}");
    }
    let opened = "SELECT count(*) = 33 AS all_of_them FROM opened_connections";
    let rows = stdout(directory.path(), &["sql", path.to_str().unwrap(), opened, "--format", "csv"]);
    assert_eq!(rows, "all_of_them\ntrue\n");
}

#[test]
fn every_request_has_both_ends_of_three_hops() {
    let directory = tempfile::tempdir().unwrap();
    let path = sample(directory.path());
    let path = path.to_str().unwrap();
    let query = "SELECT outcome, kind, dst_port, count(*) AS spans FROM spans WHERE kind <> 'internal' GROUP BY 1, 2, 3 ORDER BY 1, 3, 2";
    let text = stdout(directory.path(), &["sql", path, query, "--format", "csv"]);
    let expected: Vec<String> = ["client_closed", "ok"]
        .into_iter()
        .flat_map(|outcome| [8000, 8001, 8080].map(|port| (outcome, port)))
        .flat_map(|(outcome, port)| ["client", "server"].map(|kind| (outcome, kind, port)))
        .map(|(outcome, kind, port)| {
            format!("{outcome},{kind},{port},{}", if outcome == "ok" { 10 } else { 1 })
        })
        .collect();
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), expected);
    let query = "SELECT count(*) AS spans, count(DISTINCT trace_id) AS traces, count(parent_span_id) AS children FROM spans WHERE kind <> 'internal'";
    let text = stdout(directory.path(), &["sql", path, query, "--format", "csv"]);
    assert_eq!(text.lines().nth(1), Some("66,11,55"));
    // nginx opened a connection for the first request, which waited.
    let query = "SELECT kind, name, process, outcome, link_evidence FROM spans WHERE kind = 'internal'";
    let text = stdout(directory.path(), &["sql", path, query, "--format", "csv"]);
    let waits: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(waits, ["internal,connect 127.0.0.1:8001,nginx,ok,proxy_bytes"]);
}
