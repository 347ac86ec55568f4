//! `retrospan import`: small packet captures become captures that every command reads, and nothing is left of
//! what fails.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::cli_support::*;
use crate::lab::workspace;

const FILES: [&str; 2] = ["talk.pcapng", "talk-any.pcap.gz"];
const SPANS: &str = "SELECT method, path, status, outcome, dst_port FROM spans ORDER BY start_time";

fn packets(name: &str) -> PathBuf {
    workspace().join("testdata/packets").join(name)
}

fn import(directory: &Path, files: &[&Path], more: &[&str]) -> Output {
    let mut command = command(directory);
    command.arg("import").args(files).args(["-o", "out.cap"]).args(more);
    command.output().expect("the program runs")
}

fn rows(directory: &Path, query: &str) -> Vec<Value> {
    let text = stdout(directory, &["sql", "out.cap", query, "--format", "json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file of a folder, one after the other.
fn everything(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let all =
        entries.map(|path| if path.is_dir() { everything(&path) } else { fs::read(path).expect("a file") });
    all.flatten().collect()
}

#[test]
fn packets_become_spans() {
    for name in FILES {
        let folder = tempfile::tempdir().expect("a folder");
        let output = import(folder.path(), &[&packets(name)], &[]);
        let text = said(&output);
        assert!(output.status.success() && output.stdout.is_empty(), "{text}");
        assert!(text.starts_with("imported 30 packets: 3 TCP connections, 1 UDP socket, "), "{text}");
        let found = rows(folder.path(), SPANS);
        let value = |row: &Value, name: &str| row.get(name).cloned().unwrap_or_default();
        let columns = ["method", "path", "status", "outcome", "dst_port"];
        let found: Vec<_> = found.iter().map(|row| columns.map(|name| value(row, name))).collect();
        let span = |path: &str, status: Value, outcome: &str| {
            [json!("GET"), json!(path), status, json!(outcome), json!(18080)]
        };
        let want = [
            span("/items", json!(200), "ok"),
            span("/long", json!(200), "ok"),
            span("/broken", json!(503), "error"),
            span("/slow", Value::Null, "client_closed"),
            // The datagram goes by turns.
            [Value::Null, Value::Null, Value::Null, json!("ok"), json!(18053)],
        ];
        assert_eq!(found, want, "{name}");
        let info = stdout(folder.path(), &["info", "out.cap"]);
        assert!(info.contains(&format!("packets   {name}")) && info.contains("losses    none"), "{info}");
        let refused = rows(folder.path(), "SELECT connect_outcome FROM connections WHERE dst_port = 18081");
        assert_eq!(refused[0]["connect_outcome"], "refused", "{refused:?}");
        let bytes = everything(&folder.path().join("out.cap"));
        assert!(!bytes.windows(7).any(|window| window == b"secret-"), "{name}");
    }
}

#[test]
fn times_are_those_of_the_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(import(folder.path(), &[&packets("talk.pcapng")], &[]).status.success());
    let connect = "SELECT CAST(min(time) AS BIGINT) AS ns, first_value(duration_ns ORDER BY time) AS duration_ns FROM events \
                   WHERE kind = 'connect' AND errno = 0";
    let first = "SELECT CAST(min(time) AS BIGINT) AS ns FROM events";
    let (connect, first) = (rows(folder.path(), connect), rows(folder.path(), first));
    let ns = |row: &Value| row["ns"].as_i64().expect("a time");
    assert_eq!(ns(&connect[0]) - ns(&first[0]), connect[0]["duration_ns"].as_i64().expect("ns"));
    let file = fs::read(packets("talk.pcapng")).expect("a file");
    // The first packet's block: its time stands as two halves.
    let at = file.windows(4).position(|window| window == [6, 0, 0, 0]).expect("a packet");
    let word = |at: usize| u64::from(u32::from_le_bytes(*file[at..].first_chunk().expect("four bytes")));
    assert_eq!(ns(&first[0]), (word(at + 12) << 32 | word(at + 16)) as i64);
}

#[test]
fn several_files_and_standard_input_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = [packets(FILES[0]), packets(FILES[1])];
    let output = import(folder.path(), &[&both[0], &both[1]], &["--payload", "none"]);
    assert!(said(&output).contains("imported 60 packets: 3 TCP connections"), "{}", said(&output));
    fs::remove_dir_all(folder.path().join("out.cap")).expect("the capture");
    let mut command = command(folder.path());
    command.args(["import", "-", "-o", "out.cap", "--payload", "full"]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(&fs::read(&both[1]).expect("a file")).expect("it reads");
    drop(input);
    assert!(child.wait_with_output().expect("its end").status.success());
    assert_eq!(rows(folder.path(), SPANS).len(), 5);
}

#[test]
fn a_file_that_is_cut_is_read_up_to_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = fs::read(packets("talk.pcapng")).expect("a file");
    let cut = folder.path().join("cut.pcapng");
    fs::write(&cut, &whole[..whole.len() * 9 / 10]).expect("a file");
    let output = import(folder.path(), &[&cut], &[]);
    assert!(
        output.status.success() && said(&output).contains("cut.pcapng: ends within a packet"),
        "{}",
        said(&output)
    );
    let losses = rows(folder.path(), "SELECT kind, cause, count FROM loss");
    assert_eq!(losses, [json!({"kind": "record", "cause": "file_cut", "count": 1})]);
}

#[test]
fn what_cannot_be_imported_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "this is no packet capture at all").expect("a file");
    let line = failure(folder.path(), &["import", "notes.txt", "-o", "out.cap"], 2);
    assert!(line.contains("notes.txt: neither a packet capture"), "{line}");
    let line = failure(folder.path(), &["import", "none.pcap", "-o", "out.cap"], 2);
    assert!(line.contains("none.pcap"), "{line}");
    assert!(!folder.path().join("out.cap").exists());
    fs::create_dir(folder.path().join("full")).expect("a folder");
    fs::write(folder.path().join("full/file"), "").expect("a file");
    let from = packets("talk.pcapng");
    let from = from.to_str().expect("a path");
    let line = failure(folder.path(), &["import", from, "-o", "full"], 2);
    assert!(line.contains("not an empty directory"), "{line}");
}

/// As many of each kind as tshark 4.0 finds; a message of several frames counts once.
#[test]
fn messages_behind_an_upgrade_are_rows_of_the_span_that_asked_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(import(folder.path(), &[&packets("websocket.pcap.gz")], &[]).status.success());
    let spans = rows(folder.path(), "SELECT span_id, path, status, outcome FROM spans");
    assert_eq!(spans.len(), 1, "{spans:?}");
    let of_span = ["path", "status", "outcome"].map(|name| spans[0][name].clone());
    assert_eq!(of_span, [json!("/chat"), json!(101), json!("ok")]);
    let messages = rows(
        folder.path(),
        "SELECT direction, kind, body_bytes, complete, span_id FROM messages WHERE kind IS NOT NULL \
         ORDER BY first_exit_time, direction, position",
    );
    assert!(messages.iter().all(|row| row["span_id"] == spans[0]["span_id"] && row["complete"] == true));
    let message = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        (text("direction"), text("kind"), row["body_bytes"].as_i64().unwrap_or(-1))
    };
    let found: Vec<_> = messages.iter().map(message).collect();
    let of = |direction: &str| -> Vec<(&str, i64)> {
        let these = found.iter().filter(|(way, _, _)| way == direction);
        these.map(|(_, kind, bytes)| (kind.as_str(), *bytes)).collect()
    };
    let asked = [("text", 5), ("text", 4), ("pong", 13), ("binary", 3000), ("text", 13), ("close", 2)];
    let answered = [("text", 5), ("text", 4), ("ping", 13), ("binary", 3000), ("text", 13), ("close", 2)];
    assert_eq!((of("request"), of("response")), (asked.into(), answered.into()), "{found:?}");
    let bytes = everything(&folder.path().join("out.cap"));
    let secrets: [&[u8]; 3] = [b"HELLO", b"are you", b"TWO"];
    assert!(secrets.iter().all(|secret| !bytes.windows(secret.len()).any(|window| window == *secret)));
}
