//! Redis as its own tools and clients use it: every command is one span on each side, whatever came with it, and nothing of
//! its arguments is in the capture.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::lab::capture::Capture;
use crate::lab::process::{Program, run, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{self, cache, duck, ebpf_or_skip, folder, free_port, tool, workspace};
use tempfile::TempDir;

/// Any three bytes of it betray it: it is made of letters that hardly meet otherwise.
const CANARY: &str = "qzxjqzxjqzxjqzxj";
/// What a script may begin an error with.
const SCRIPT_ERROR: &str = "qzxjqzxj";
/// Finds pieces of it in any case.
const TRACES: &str = "qzx|zxj|xjq|jqz";

struct Redis {
    port: u16,
    _program: Program,
    _home: TempDir,
}

impl Redis {
    fn start() -> Redis {
        let (home, port) = (folder(), free_port());
        let mut command = Command::new(tool("redis-server"));
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(home.path());
        let mut program = Program::start("redis-server", home.path(), &mut command);
        program.wait_listening(port);
        Redis { port, _program: program, _home: home }
    }

    /// What `redis-cli` prints, failed commands included.
    fn cli(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = run(Command::new(tool("redis-cli")).args(["-p", &port]).args(words));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A section of `INFO`: the numbers of this field by the rest of the name, in upper case.
    fn counted(&self, section: &str, prefix: &str, fields: &[&str]) -> BTreeMap<String, i64> {
        let info = self.cli(&["INFO", section]);
        let rows = info.lines().filter_map(|line| line.strip_prefix(prefix)?.trim().split_once(':'));
        let number = |text: &str, field: &&str| {
            let value = text.split(',').find_map(|pair| pair.strip_prefix(*field)?.strip_prefix('='));
            value.and_then(|value| value.parse::<i64>().ok()).unwrap_or_default()
        };
        let sum = |text: &str| fields.iter().map(|field| number(text, field)).sum();
        rows.map(|(name, text)| (name.to_uppercase().replace('|', " "), sum(text))).collect()
    }
}

/// How many spans of a kind each value of a column has.
fn spans_by(capture: &Capture, column: &str, kind: &str) -> BTreeMap<String, i64> {
    let rows = capture.sql(&format!(
        "SELECT {column} AS name, count(*) AS n FROM spans
         WHERE kind = '{kind}' AND protocol = 'redis' AND {column} IS NOT NULL GROUP BY 1"
    ));
    let text = |row: &serde_json::Value| row["name"].as_str().expect("a name").to_owned();
    rows.iter().map(|row| (text(row), row["n"].as_i64().expect("a count"))).collect()
}

/// Runs the traffic, and compares the capture's counts with those of the server itself, which never saw a span.
fn every_count_is_equal(traffic: impl FnOnce(&Redis)) -> Capture {
    let redis = Redis::start();
    // Room for all that a benchmark does while others use the machine.
    let recording = Recording::start(&["--port", &redis.port.to_string(), "--ring-size", "64m"]);
    redis.cli(&["CONFIG", "RESETSTAT"]);
    traffic(&redis);
    let mut calls = redis.counted("commandstats", "cmdstat_", &["calls", "rejected_calls"]);
    calls.remove("INFO");
    let mut errors = redis.counted("errorstats", "errorstat_", &["count"]);
    // A word of a script's own is blank.
    if let Some(other) = errors.remove(&SCRIPT_ERROR.to_uppercase()) {
        errors.insert("_OTHER".to_owned(), other);
    }
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    for kind in ["client", "server"] {
        let mut operations = spans_by(&capture, "operation", kind);
        // Asked once more after the numbers were read; and subcommands of clients that are newer than the server, which it
        // counts as errors alone.
        let asked = operations.remove("INFO").unwrap_or_default();
        assert_eq!(asked, 2, "{kind}");
        operations.retain(|name, _| name != "CLIENT" && name != "CLIENT SETINFO");
        assert_eq!(operations, calls, "{kind}");
        assert_eq!(spans_by(&capture, "status_text", kind), errors, "{kind}");
    }
    let odd = capture.sql(
        "SELECT kind, operation, outcome, count(*) AS n FROM spans
         WHERE protocol <> 'redis' OR outcome <> CASE WHEN status_text IS NULL THEN 'ok' ELSE 'error' END
         GROUP BY 1, 2, 3",
    );
    assert!(odd.is_empty(), "{odd:?}");
    capture
}

#[test]
fn redis_cli_and_benchmark_are_counted_as_the_server_counts() {
    let Some(_turn) = ebpf_or_skip("redis_cli_and_benchmark_are_counted_as_the_server_counts") else {
        return;
    };
    let capture = every_count_is_equal(|redis| {
        for words in [
            &["SET", "key", CANARY][..],
            &["get", "key"],
            &["LPUSH", "key", CANARY],
            &["CONFIG", "GET", "save"],
            &["OBJECT", "ENCODING", "key"],
            &["AUTH", CANARY],
            &["MGET", "key", CANARY],
            &["--json", "HELLO", "3"],
            &["-3", "HSET", "hash", "a", CANARY],
            &["-3", "HGETALL", "hash"],
            &["EVAL", &format!("return redis.error_reply('{SCRIPT_ERROR} ' .. ARGV[1])"), "0", CANARY],
        ] {
            redis.cli(words);
        }
        let port = redis.port.to_string();
        let benchmark = |more: &[&str]| {
            run_ok(Command::new(tool("redis-benchmark")).args(["-p", &port, "-q"]).args(more));
        };
        benchmark(&[
            "-P",
            "16",
            "-n",
            "20000",
            "-t",
            "ping_inline,ping_mbulk,set,get,incr,lpush,sadd",
            "-c",
            "20",
        ]);
        benchmark(&["-n", "2000", "-t", "ping_inline,set,get,lrange_100", "-c", "5"]);
        benchmark(&["-P", "16", "-n", "2000", "-t", "set", "-d", "16", "-3", "-c", "5"]);
    });
    let found = duck::find(capture.dir(), TRACES);
    lab::check::none_of("traces of the canary", &found);
    let parents = capture.number(
        "SELECT count(*) AS n FROM spans s WHERE s.kind = 'server' AND s.link_evidence IS DISTINCT FROM 'connection'",
    );
    assert_eq!(parents, 0, "server spans without their client span");
    let attributes = capture
        .sql("SELECT DISTINCT attributes AS a FROM spans WHERE operation = 'LPUSH' AND outcome = 'error'");
    assert_eq!(attributes.len(), 1);
    let attributes = attributes[0]["a"].as_str().expect("a text");
    for part in
        ["\"db.system.name\":\"redis\"", "\"db.operation.name\":\"LPUSH\"", "\"error.type\":\"WRONGTYPE\""]
    {
        assert!(attributes.contains(part), "{attributes}");
    }
}

#[test]
fn a_python_client_with_pipelines_channels_and_blocking_commands_is_counted() {
    let Some(_turn) =
        ebpf_or_skip("a_python_client_with_pipelines_channels_and_blocking_commands_is_counted")
    else {
        return;
    };
    let capture = every_count_is_equal(|redis| {
        let python = cache().join("venv/bin/python");
        let script = workspace().join("analyzer/tests/lab/redis_client.py");
        run_ok(Command::new(python).arg(script).arg(redis.port.to_string()).arg(CANARY));
    });
    lab::check::none_of("traces of the canary", &duck::find(capture.dir(), TRACES));
    // It waited, as it was asked to, for what another connection pushed later.
    let waited = capture
        .number("SELECT max(duration_ns) AS n FROM spans WHERE operation = 'BLPOP' AND kind = 'client'");
    assert!(waited > 200_000_000, "{waited}");
}

#[test]
fn what_others_ask_is_no_answer_to_who_watches() {
    let Some(_turn) = ebpf_or_skip("what_others_ask_is_no_answer_to_who_watches") else { return };
    let mut seen = 0;
    let capture = every_count_is_equal(|redis| {
        let home = folder();
        let log = home.path().join("monitor.out");
        let port = redis.port.to_string();
        let mut monitor = Command::new(tool("redis-cli"));
        let mut monitor = Program::start("monitor", home.path(), monitor.args(["-p", &port, "MONITOR"]));
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        monitor.wait("its answer", || read().contains("OK"));
        let benchmark = ["-p", &port, "-q", "-P", "16", "-n", "1000", "-t", "set", "-c", "2"];
        run_ok(Command::new(tool("redis-benchmark")).args(benchmark));
        redis.cli(&["ECHO", "the end"]);
        monitor.wait("the last command", || read().contains("the end"));
        seen = read().lines().filter(|line| line.contains("\"SET\"")).count();
    });
    // The truth of another kind: what the server told somebody else.
    let sets = "SELECT count(*) AS n FROM spans WHERE operation = 'SET' AND kind = 'server'";
    assert_eq!(capture.number(sets), i64::try_from(seen).expect("a count"));
}

#[test]
fn secrets_that_redis_is_told_are_nowhere_however_they_are_cut() {
    let Some(_turn) = ebpf_or_skip("secrets_that_redis_is_told_are_nowhere_however_they_are_cut") else {
        return;
    };
    let redis = Redis::start();
    let recording = Recording::of_ports(&[redis.port]);
    let string = |word: &str| format!("${}\r\n{word}\r\n", word.len());
    let array = |words: &[&str]| {
        format!("*{}\r\n{}", words.len(), words.iter().map(|word| string(word)).collect::<String>())
    };
    let commands = [
        array(&["AUTH", CANARY]),
        array(&["HELLO", "3", "AUTH", "default", CANARY]),
        array(&["SET", CANARY, CANARY]),
        array(&[CANARY, CANARY]),
        array(&["CONFIG", CANARY]),
        array(&["CONFIG", "SET", "masterauth", CANARY]),
        format!("AUTH {CANARY}\r\n"),
        format!("ECHO {CANARY}\r\n"),
        format!("{CANARY}\r\n"),
    ];
    let mut sent = 0;
    for command in &commands {
        for at in 0..command.len() {
            let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("a connection");
            stream.set_nodelay(true).expect("an option");
            // An array first, so that lines are known to be Redis, too.
            stream.write_all(array(&["PING"]).as_bytes()).expect("a write");
            stream.read_exact(&mut [0; 7]).expect("PONG");
            stream.write_all(&command.as_bytes()[..at]).expect("a write");
            stream.write_all(&command.as_bytes()[at..]).expect("a write");
            assert!(stream.read(&mut [0; 512]).expect("an answer") > 0);
            sent += 1;
        }
    }
    let capture = recording.finish();
    lab::check::none_of("traces of the canary", &duck::find(capture.dir(), TRACES));
    // It was all recorded: nothing was lost instead of redacted.
    let pings =
        capture.number("SELECT count(*) AS n FROM spans WHERE operation = 'PING' AND kind = 'server'");
    assert_eq!(pings, sent);
    let sets = capture.number(
        "SELECT count(*) AS n FROM spans WHERE operation = 'SET' AND kind = 'server' AND outcome = 'ok'",
    );
    assert_eq!(sets, i64::try_from(commands[2].len()).expect("a count"));
}
