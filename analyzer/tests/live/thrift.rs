//! Thrift in all its encodings and transports: every call is one span on each side, with the exception that answered it.

use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::clients::{Counts, KINDS, Waiting, client, count, is_whole, run_client, spans_by};
use crate::lab::java::served;
use crate::lab::process::Program;
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port};

/// Encodings and transports, each on its port.
const WAYS: usize = 9;
/// The place of the one that compresses: methods are not known there.
const COMPRESSED: usize = 8;

/// Clients of each, one after another.
const CLIENTS: i64 = 3;
/// The places of those that have no frames.
const WITHOUT_FRAMES: [usize; 3] = [0, 2, 4];

/// Servers that print what they are asked for.
struct Thrift {
    ports: Vec<u16>,
    program: Program,
    home: TempDir,
}

impl Thrift {
    fn start() -> Thrift {
        let home = folder();
        let ports: Vec<_> = (0..WAYS).map(|_| free_port()).collect();
        let mut thrift = client("thrift", ports[0], &["serve"]);
        let mut program =
            Program::start("thrift", home.path(), thrift.args(ports[1..].iter().map(u16::to_string)));
        ports.iter().for_each(|port| program.wait_listening(*port));
        Thrift { ports, program, home }
    }

    /// What clients are told: what to do, and the other ports.
    fn told(&self, what: &str) -> Vec<String> {
        [what.to_owned()].into_iter().chain(self.ports[1..].iter().map(u16::to_string)).collect()
    }

    /// What it was asked for so far, by port and method with the exception that answers it.
    fn served(&self) -> Counts {
        let answer = |what: &str| match what.rsplit([' ', ':']).next() {
            Some("fail") => "INTERNAL_ERROR",
            Some("missing") => "UNKNOWN_METHOD",
            _ => "fine",
        };
        let mut counts = Counts::new();
        for (what, n) in served(&self.program.printed()) {
            count(&mut counts, format!("{what} {}", answer(&what)), n);
        }
        counts
    }

    /// Compares spans with what was asked for since.
    fn are_served(&self, capture: &Capture, before: &Counts, odd: &str) {
        let [binary, compact, old] = WITHOUT_FRAMES.map(|place| self.ports[place]);
        // Not all of a large answer is kept, and without frames nothing else tells where it ends.
        let large = format!(
            "operation = 'all' AND response_bytes > 100000 AND outcome IN ('lost', 'unparsed')
             AND dst_port IN ({binary}, {compact}, {old})"
        );
        // A server that takes the length by itself may be reported before its client's send: the first call begins behind it then.
        let late = "kind = 'client' AND request_number = 0 AND outcome = 'unparsed'";
        is_whole(capture, "thrift", &format!("{odd} OR {large} OR {late}"));
        let compressed = self.ports[COMPRESSED];
        let mut expected = Counts::new();
        for (what, n) in self.served() {
            let hidden = what.starts_with(&compressed.to_string());
            // Its answers are not compressed.
            let answer = what.rsplit(' ').next().unwrap_or_default();
            let name = if hidden { format!("{compressed} ? {answer}") } else { what.clone() };
            count(&mut expected, name, n - before.get(&what).unwrap_or(&0));
        }
        expected.retain(|_, n| *n > 0);
        let method = "CASE WHEN target IS NULL THEN '' ELSE target || ':' END || COALESCE(operation, '?')";
        let what = format!("dst_port || ' ' || {method} || ' ' || COALESCE(status_text, 'fine')");
        for kind in KINDS {
            if kind == "server" && expected.contains_key(&format!("{compressed} ? fine")) {
                // It reads four bytes before the rest, which tell nothing at the begin of a connection.
                count(&mut expected, format!("{compressed} ? fine"), -CLIENTS);
            }
            assert_eq!(spans_by(capture, kind, &what, &format!("NOT ({odd})")), expected, "{kind}");
            let failed = spans_by(capture, kind, "outcome", "outcome = 'error'");
            let exceptions = |what: &str| !what.ends_with("fine");
            let all: i64 = expected.iter().filter(|(what, _)| exceptions(what)).map(|(_, n)| n).sum();
            assert_eq!(failed.values().sum::<i64>(), all, "{kind}");
        }
        eprintln!("Thrift: {expected:?}");
    }
}

fn texts(told: &[String]) -> Vec<&str> {
    told.iter().map(String::as_str).collect()
}

#[test]
fn thrift_calls_of_every_encoding_and_transport_are_spans_as_their_servers_serve_them() {
    let Some(_turn) =
        ebpf_or_skip("thrift_calls_of_every_encoding_and_transport_are_spans_as_their_servers_serve_them")
    else {
        return;
    };
    let server = Thrift::start();
    let recording = Recording::of_ports(&server.ports);
    run_client("thrift", server.ports[0], &texts(&server.told("work")));
    let capture = recording.finish();
    server.are_served(&capture, &Counts::new(), "FALSE");
}

#[test]
fn thrift_clients_that_are_older_than_the_recording_or_killed_are_told_as_they_are() {
    let Some(_turn) =
        ebpf_or_skip("thrift_clients_that_are_older_than_the_recording_or_killed_are_told_as_they_are")
    else {
        return;
    };
    let mut server = Thrift::start();
    let waiting = Waiting::of(&mut client("thrift", server.ports[0], &texts(&server.told("stay"))));
    let recording = Recording::of_ports(&server.ports);
    let before = server.served();
    waiting.work();
    // One of those ports is enough for it.
    let mut command = client("thrift", server.ports[3], &["sleep"]);
    let killed = Program::start("killed", server.home.path(), &mut command);
    let log = server.home.path().join("thrift.out");
    server
        .program
        .wait("a call that sleeps", || std::fs::read_to_string(&log).unwrap_or_default().contains("asleep"));
    killed.signal(libc::SIGKILL);
    drop(killed);
    let capture = recording.finish();
    let slept = "outcome = 'client_closed' AND operation = 'slow'";
    let mut before = before;
    count(&mut before, format!("{} slow fine", server.ports[3]), 1);
    server.are_served(&capture, &before, slept);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "outcome", slept).values().sum::<i64>(), 1, "{kind}");
    }
}
