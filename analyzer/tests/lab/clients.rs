//! Clients of many protocols, and what captures say of what they did.
//!
//! In: a script of the folder `clients`, run by a Python with the packages of real clients. Out: its end, and counts of spans to
//! compare with what its server counted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::capture::Capture;
use super::process::run_ok;
use super::{cache, check, duck, workspace};

/// What clients send as names, keys, values and passwords. Any three bytes of it betray it: it is made of letters that
/// hardly meet otherwise.
pub const CANARY: &str = "qzxjqzxjqzxjqzxj";
/// Finds pieces of it in any case.
const TRACES: &str = "qzx|zxj|xjq|jqz";
/// Both sides of a connection.
pub const KINDS: [&str; 2] = ["client", "server"];

/// How often something happened, by its name.
pub type Counts = BTreeMap<String, i64>;

/// The client of a protocol, which is told its server's port, the canary and more.
pub fn client(protocol: &str, port: u16, more: &[&str]) -> Command {
    let python = cache().join("clients/bin/python");
    assert!(python.is_file(), "no Python with clients: run .ci/setup");
    let script = workspace().join(format!("analyzer/tests/lab/clients/{protocol}_client.py"));
    let mut command = Command::new(python);
    command.arg(script).arg(port.to_string()).arg(CANARY).args(more);
    command
}

/// Runs it to its end. Returns what it says that it did.
pub fn run_client(protocol: &str, port: u16, more: &[&str]) -> serde_json::Value {
    let printed = run_ok(&mut client(protocol, port, more));
    serde_json::from_str(&printed).unwrap_or_default()
}

/// A client that has connected, and works on when it is told to.
pub struct Waiting(Child);

impl Waiting {
    /// Starts one that is told to `stay`, and waits until it has spoken with its server.
    pub fn start(protocol: &str, port: u16) -> Waiting {
        Waiting::of(&mut client(protocol, port, &["stay"]))
    }

    /// The same of any client that waits so.
    pub fn of(command: &mut Command) -> Waiting {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a client to start");
        let mut line = String::new();
        let printed = child.stdout.as_mut().expect("what it prints");
        BufReader::new(printed).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Waiting(child)
    }

    /// Lets it go on.
    pub fn go(&mut self) {
        self.0.stdin.take().expect("its input").write_all(b"\n").expect("a write");
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.0.kill().expect("a client that runs");
        self.0.wait().expect("its end");
    }

    /// Lets it work to its end.
    pub fn work(mut self) {
        self.go();
        let status = self.0.wait().expect("its end");
        assert!(status.success(), "{status}");
    }
}

/// Adds to a count.
pub fn count(counts: &mut Counts, name: impl Into<String>, by: i64) {
    *counts.entry(name.into()).or_default() += by;
}

/// How many spans of a kind have each value of an expression, of those for which it has one.
pub fn spans_by(capture: &Capture, kind: &str, expression: &str, condition: &str) -> Counts {
    let rows = capture.sql(&format!(
        "SELECT CAST({expression} AS VARCHAR) AS name, count(*) AS n FROM spans
         WHERE kind = '{kind}' AND ({condition}) AND ({expression}) IS NOT NULL GROUP BY 1"
    ));
    let text = |row: &serde_json::Value| row["name"].as_str().expect("a name").to_owned();
    rows.iter().map(|row| (text(row), row["n"].as_i64().expect("a count"))).collect()
}

/// Fails if the capture has lost anything, holds a part of the canary, or spans of another protocol or without an answer but for
/// those of `odd`, a condition.
pub fn is_whole(capture: &Capture, protocol: &str, odd: &str) {
    has_all(capture, protocol, odd);
    holds_no_canary(capture);
}

/// The same, whatever of the canary the capture holds.
pub fn has_all(capture: &Capture, protocol: &str, odd: &str) {
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    let odd = capture.sql(&format!(
        "SELECT kind, protocol, operation, status, status_text, outcome, count(*) AS n FROM spans
         WHERE kind <> 'internal' AND (protocol <> '{protocol}' OR outcome NOT IN ('ok', 'error')) AND NOT ({odd})
         GROUP BY 1, 2, 3, 4, 5, 6"
    ));
    assert!(odd.is_empty(), "{odd:?}");
}

/// Fails if six letters of the canary are in a file of the capture: three turn up in random names now and then.
pub fn holds_hardly_any_canary(capture: &Capture) {
    let found = duck::find(capture.dir(), &format!("(?:{TRACES}){{2}}"));
    check::none_of("traces of the canary", &found);
}

/// Fails if a part of the canary is in a file of the capture.
pub fn holds_no_canary(capture: &Capture) {
    check::none_of("traces of the canary", &duck::find(capture.dir(), TRACES));
}
