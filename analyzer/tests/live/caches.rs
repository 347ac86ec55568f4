//! memcached as its clients use it: every command is one span on each side.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::lab::capture::Capture;
use crate::lab::clients::{Counts, KINDS, Waiting, count, is_whole, run_client, spans_by};
use crate::lab::process::Program;
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool};
use tempfile::TempDir;

struct Memcached {
    port: u16,
    /// A second server would have other counts: this port is of the same one, and not recorded.
    counts_port: u16,
    _program: Program,
    _home: TempDir,
}

impl Memcached {
    fn start() -> Memcached {
        let (home, port, counts_port) = (folder(), free_port(), free_port());
        let mut command = Command::new(tool("memcached"));
        let listen = format!("127.0.0.1:{port},127.0.0.1:{counts_port}");
        command.args(["-u", "root", "-U", "0", "-l", &listen]);
        let mut program = Program::start("memcached", home.path(), &mut command);
        program.wait_listening(port);
        program.wait_listening(counts_port);
        Memcached { port, counts_port, _program: program, _home: home }
    }

    fn counted(&self) -> Counts {
        let mut stream = TcpStream::connect(("127.0.0.1", self.counts_port)).expect("a connection");
        stream.write_all(b"stats\r\nquit\r\n").expect("a write");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("statistics");
        let rows = text.lines().filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
        rows.filter_map(|(name, n)| Some((name.to_owned(), n.trim().parse().ok()?))).collect()
    }
}

/// Compares spans with what the server has counted since. `keys`: of how many keys a `get` of several asks.
fn are_counted(capture: &Capture, after: &Counts, before: &Counts, keys: i64) {
    // Which answer that of the first command was in an older connection nobody can count.
    is_whole(capture, "memcached", "outcome = 'lost' AND request_number = 0 AND operation = 'set'");
    let counted = |name: &str| after[name] - before[name];
    for kind in KINDS {
        let of = |operation: &str, statuses: &[&str]| {
            let all = spans_by(capture, kind, "status_text", &format!("operation = '{operation}'"));
            statuses.iter().map(|status| all.get(*status).copied().unwrap_or_default()).sum::<i64>()
        };
        let all = spans_by(capture, kind, "operation", "outcome <> 'error'");
        let n = |operation: &str| all.get(operation).copied().unwrap_or_default();
        let several = capture.number(&format!(
            "SELECT count(*) AS n FROM spans WHERE kind = '{kind}' AND operation = 'get' AND request_bytes > 300"
        ));
        let asked = n("get") + n("gets") + n("mg") + several * (keys - 1);
        assert_eq!(asked, counted("cmd_get"), "{kind}");
        let found = of("get", &["VALUE"]) + of("gets", &["VALUE"]) + of("mg", &["VA"]) + several * (keys - 1);
        assert_eq!(found, counted("get_hits"), "{kind}");
        // A `cas` of what is not there stores nothing.
        let stores = ["set", "add", "replace", "append", "ms", "cas"].map(n).iter().sum::<i64>();
        let other = of("cas", &["NOT_FOUND"]);
        assert_eq!(stores - other, counted("cmd_set"), "{kind}");
        assert_eq!(of("cas", &["STORED"]), counted("cas_hits"), "{kind}");
        assert_eq!(of("cas", &["EXISTS"]), counted("cas_badval"), "{kind}");
        assert_eq!(n("touch"), counted("cmd_touch"), "{kind}");
        assert_eq!(n("delete") + n("md"), counted("delete_hits") + counted("delete_misses"), "{kind}");
        // One of `ma` that makes what is not there counts as neither.
        assert_eq!(n("incr"), counted("incr_hits") + counted("incr_misses"), "{kind}");
        assert_eq!(n("decr"), counted("decr_hits") + counted("decr_misses"), "{kind}");
    }
}

/// What a client's errors are counted as: one that is too large, and one that is no number, for each.
fn errors(clients: i64, more: &[(&str, i64)]) -> Counts {
    let mut errors = Counts::new();
    count(&mut errors, "SERVER_ERROR object too large for cache", clients);
    count(&mut errors, "CLIENT_ERROR cannot increment or decrement non-numeric value", clients);
    more.iter().for_each(|(name, n)| count(&mut errors, *name, *n));
    errors
}

#[test]
fn memcached_commands_are_counted_as_the_server_counts() {
    let Some(_turn) = ebpf_or_skip("memcached_commands_are_counted_as_the_server_counts") else { return };
    let server = Memcached::start();
    let before = server.counted();
    let recording = Recording::of_ports(&[server.port]);
    run_client("memcached", server.port, &["work"]);
    let after = server.counted();
    let capture = recording.finish();
    are_counted(&capture, &after, &before, 20);
    for kind in KINDS {
        let failed = spans_by(&capture, kind, "status_text", "outcome = 'error'");
        assert_eq!(failed, errors(5, &[("ERROR", 1)]), "{kind}");
    }
}

#[test]
fn a_memcached_client_that_is_older_than_the_recording_is_counted() {
    let Some(_turn) = ebpf_or_skip("a_memcached_client_that_is_older_than_the_recording_is_counted") else {
        return;
    };
    let server = Memcached::start();
    let waiting = Waiting::start("memcached", server.port);
    let recording = Recording::of_ports(&[server.port]);
    let before = server.counted();
    waiting.work();
    let after = server.counted();
    let capture = recording.finish();
    are_counted(&capture, &after, &before, 20);
    for kind in KINDS {
        let failed = spans_by(&capture, kind, "status_text", "outcome = 'error'");
        assert_eq!(failed, errors(1, &[]), "{kind}");
    }
}
