//! MongoDB as its clients use it: every command is one span on each side, with the code of the error that the server answered.

use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::clients::{CANARY, Counts, KINDS, Waiting, client, count, is_whole, run_client, spans_by};
use crate::lab::java::{program, served};
use crate::lab::process::Program;
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port};

/// A server of its protocol, which keeps everything in memory and prints what it serves.
struct MongoDb {
    port: u16,
    program: Program,
    home: TempDir,
}

impl MongoDb {
    fn start() -> MongoDb {
        let (home, port) = (folder(), free_port());
        let mut command = program("mongodb", "MongoDb");
        let mut program = Program::start("mongodb", home.path(), command.arg(port.to_string()));
        program.wait_listening(port);
        MongoDb { port, program, home }
    }

    /// What it has served so far, by the command and the code of its error.
    fn served(&self) -> Counts {
        served(&self.program.printed())
    }
}

/// Compares spans with what was served since.
fn are_served(capture: &Capture, after: &Counts, before: &Counts, odd: &str) {
    is_whole(capture, "mongodb", odd);
    let mut expected = Counts::new();
    for (what, n) in after {
        // A command that nobody knows has no name.
        count(&mut expected, what.replace(CANARY, "?"), n - before.get(what).unwrap_or(&0));
    }
    expected.retain(|_, n| *n > 0);
    for kind in KINDS {
        let what = "COALESCE(operation, '?') || ' ' || COALESCE(status, 0)";
        assert_eq!(spans_by(capture, kind, what, &format!("NOT ({odd})")), expected, "{kind}");
        let named = "status IS NOT NULL AND status <> 40324 AND status_text IS NULL";
        assert_eq!(spans_by(capture, kind, "status", named), Counts::new(), "{kind}");
    }
    eprintln!("MongoDB: {expected:?}");
}

#[test]
fn mongodb_commands_cursors_and_errors_are_spans_as_the_server_serves_them() {
    let Some(_turn) = ebpf_or_skip("mongodb_commands_cursors_and_errors_are_spans_as_the_server_serves_them")
    else {
        return;
    };
    let server = MongoDb::start();
    let recording = Recording::of_ports(&[server.port]);
    run_client("mongodb", server.port, &["work"]);
    let capture = recording.finish();
    are_served(&capture, &server.served(), &Counts::new(), "FALSE");
}

#[test]
fn mongodb_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are() {
    let Some(_turn) =
        ebpf_or_skip("mongodb_sessions_that_are_older_than_the_recording_or_killed_are_told_as_they_are")
    else {
        return;
    };
    let mut server = MongoDb::start();
    let waiting = Waiting::start("mongodb", server.port);
    let recording = Recording::of_ports(&[server.port]);
    let before = server.served();
    waiting.work();
    let mut command = client("mongodb", server.port, &["sleep"]);
    let killed = Program::start("killed", server.home.path(), &mut command);
    let log = server.home.path().join("mongodb.out");
    server
        .program
        .wait("a query that sleeps", || std::fs::read_to_string(&log).unwrap_or_default().contains("asleep"));
    killed.signal(libc::SIGKILL);
    drop(killed);
    let capture = recording.finish();
    let slept = "outcome = 'client_closed' AND operation = 'find' AND target = 'sleep'";
    are_served(&capture, &server.served(), &before, slept);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "outcome", slept).values().sum::<i64>(), 1, "{kind}");
    }
}
