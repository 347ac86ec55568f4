//! `info` and `sql` over raw tables: answers, formats, exit codes, hostile strings.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::cli_support::*;
use serde_json::{Value, json};

#[test]
fn info_says_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    snapshot(
        "info",
        &stdout(directory.path(), &["info", path.to_str().unwrap()]).replace(char::is_numeric, "9"),
    );
    let text = stdout(directory.path(), &["info", path.to_str().unwrap(), "--format", "json"]);
    let info: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(info["state"], "complete");
    assert_eq!(info["started"], "2026-11-20T17:00:00.000000000Z");
    assert_eq!(info["length_ns"], 1_000_000_000);
    assert_eq!(info["tables"]["events"]["rows"], 40);
    assert_eq!(info["tables"]["sockets"]["files"], 2);
    assert_eq!(info["losses"], json!([{"kind": "send", "cause": "ring_full", "count": 7}]));
    assert_eq!(info["clock_steps"][0]["by_ns"], 2_000_000_000);
}

#[test]
fn info_of_a_recording_that_lives_and_of_one_that_died() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("live.cap");
    let mut live = writer(&path);
    part(&mut live, &Rows { processes: processes(), ..Rows::default() }, 250, Vec::new());
    let info = stdout(directory.path(), &["info", "live.cap"]);
    assert!(
        info.contains("state     recording: whole until 2026-11-20 18:00:00.250+01:00 so far\n"),
        "{info}"
    );
    drop(live);
    let info = stdout(directory.path(), &["info", "live.cap"]);
    assert!(info.contains("state     interrupted: whole until 2026-11-20 18:00:00.250+01:00\n"), "{info}");
    assert!(info.contains("losses    none\n"), "{info}");
}

#[test]
fn sql_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let query = "SELECT time, kind, done_bytes, remote_port, payload FROM events JOIN sockets USING (socket_id) \
                 WHERE kind = 'send' AND role = 'server' ORDER BY boot_ns LIMIT 2";
    snapshot("table", &stdout(directory.path(), &["sql", path, query]));
    snapshot("csv", &stdout(directory.path(), &["sql", path, query, "--format", "csv"]));
    snapshot("json", &stdout(directory.path(), &["sql", path, query, "--format", "json"]));
    let file = directory.path().join("out.parquet");
    let printed =
        stdout(directory.path(), &["sql", path, query, "--format", "parquet", "-o", file.to_str().unwrap()]);
    assert_eq!(printed, "");
    let written = fs::read(&file).unwrap();
    assert!(written.starts_with(b"PAR1") && written.ends_with(b"PAR1"));
    let piped = retrospan(directory.path(), &["sql", path, query, "--format", "parquet"]);
    assert_eq!(piped.stdout, written);
}

#[test]
fn the_query_comes_from_a_file_or_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    capture(directory.path());
    let name = "a [b] %20 ü.cap";
    fs::write(directory.path().join("q.sql"), "SELECT count(*) AS n FROM events;\n").unwrap();
    let from_file = stdout(directory.path(), &["sql", name, "--file", "q.sql", "--format", "csv"]);
    assert_eq!(from_file, "n\n40\n");
    let mut child = command(directory.path())
        .args(["sql", name, "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT count(*) AS n FROM processes").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"n\n2\n");
}

#[test]
fn dimensions_show_the_last_row_of_each_id() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(&directory.path().join("x.cap"));
    let process = |end: Option<i64>, comm: &str| json!({"process_id": 7, "pid": 7, "comm": comm, "start_boot_ns": 0, "end_boot_ns": end});
    part(&mut writer, &Rows { processes: vec![process(None, "sh")], ..Rows::default() }, 1, Vec::new());
    part(&mut writer, &Rows { processes: vec![process(Some(5), "curl")], ..Rows::default() }, 2, Vec::new());
    writer.complete(cost()).unwrap();
    let query = "SELECT process_id, comm, exe, end_boot_ns FROM processes";
    let rows = stdout(directory.path(), &["sql", "x.cap", query, "--format", "csv"]);
    assert_eq!(rows, "process_id,comm,exe,end_boot_ns\n7,curl,,5\n");
    let columns = stdout(directory.path(), &["sql", "x.cap", "SELECT * FROM processes", "--format", "csv"]);
    assert!(columns.starts_with("process_id,pid,parent_process_id,exe,"), "{columns}");
}

#[test]
fn events_are_merged_in_time_order_without_a_sort() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let plan =
        stdout(directory.path(), &["sql", path, "EXPLAIN SELECT boot_ns, kind FROM events ORDER BY boot_ns"]);
    assert!(plan.contains("SortPreservingMergeExec") && !plan.contains("SortExec"), "{plan}");
    let times = stdout(
        directory.path(),
        &["sql", path, "SELECT boot_ns FROM events ORDER BY boot_ns", "--format", "csv"],
    );
    let times: Vec<i64> = times.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(times.len(), 40);
    assert!(times.is_sorted());
}

#[test]
fn a_question_about_a_time_reads_only_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let late = "SELECT count(*) AS n FROM events WHERE time >= '2026-11-20T17:00:00.9Z'";
    assert_eq!(stdout(directory.path(), &["sql", path, late, "--format", "csv"]), "n\n4\n");
    let plan = stdout(directory.path(), &["sql", path, &format!("EXPLAIN ANALYZE {late}")]);
    assert!(plan.contains("files_ranges_pruned_statistics=2 total → 1 matched"), "{plan}");
}

#[test]
fn hostile_bytes_do_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    for format in ["table", "csv", "json"] {
        for query in [
            "SELECT payload FROM events",
            "SELECT arrow_cast(payload, 'Utf8') AS p FROM events",
            "SELECT '\u{1b}[2J' AS \"\u{1b}[31m\", 'a\nb'",
        ] {
            let text = stdout(directory.path(), &["sql", path, query, "--format", format]);
            // Into a file or a pipe CSV has the line ends of its texts.
            let text = if format == "csv" { text.replace('\r', "") } else { text };
            assert!(!acts_on_a_terminal(&text), "{format}: {text:?}");
        }
    }
    let query = "SELECT arrow_cast(payload, 'Utf8') AS p FROM events WHERE socket_id = 18 LIMIT 1";
    let json = stdout(directory.path(), &["sql", path, query, "--format", "json"]);
    let row: Value = serde_json::from_str(&json).unwrap();
    assert!(row["p"].as_str().unwrap().starts_with(&format!("GET {HOSTILE_PATH} HTTP")), "{row}");
    assert!(!acts_on_a_terminal(&stdout(directory.path(), &["info", path])));
}

#[test]
fn only_reading_is_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    for query in [
        "CREATE TABLE t AS SELECT 1",
        "INSERT INTO events SELECT * FROM events",
        "DROP TABLE events",
        "SET datafusion.execution.batch_size = 1",
        "COPY events TO 'x.parquet'",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM nothing",
        "SELECT",
        "",
    ] {
        mistake(directory.path(), &["sql", path, query]);
    }
    assert!(!directory.path().join("x.parquet").exists());
}

#[test]
fn bad_captures_are_one_line_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    fs::write(directory.path().join("file"), "").unwrap();
    fs::create_dir(directory.path().join("empty.cap")).unwrap();
    for (name, word) in [("none.cap", "no such"), ("file", "not a capture"), ("empty.cap", "manifest.json")] {
        for arguments in [&["info", name] as &[&str], &["sql", name, "SELECT 1"]] {
            let error = failure(directory.path(), arguments, 2);
            assert!(error.contains(name) && error.contains(word), "{error}");
        }
    }
    let events = path.join("events/000001.parquet");
    fs::set_permissions(&events, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&events).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&events, bytes).unwrap();
    let error = failure(directory.path(), &["sql", path.to_str().unwrap(), "SELECT 1"], 2);
    assert!(error.contains("events/000001.parquet"), "{error}");
}

#[test]
fn usage() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(retrospan(directory.path(), &["nonsense"]).status.code(), Some(2));
    for command in ["info", "sql"] {
        let help = stdout(directory.path(), &[command, "--help"]);
        assert!(help.contains("\nEXAMPLES\n") && !help.starts_with("EXAMPLES"), "{help}");
    }
    let path = capture(directory.path());
    let mut child = command(directory.path())
        .args(["sql", path.to_str().unwrap(), "SELECT * FROM generate_series(1, 1000000)"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
}
