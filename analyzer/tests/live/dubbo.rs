//! Dubbo 2 as providers and consumers of it speak: every call is one span on each side, with the status that answers it.

use std::process::Command;

use tempfile::TempDir;

use crate::lab::capture::Capture;
use crate::lab::clients::{CANARY, Counts, KINDS, Waiting, count, is_whole, spans_by};
use crate::lab::java::{program, served};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port};

/// A provider that prints what it is called.
struct Provider {
    serialization: &'static str,
    port: u16,
    program: Program,
    home: TempDir,
}

impl Provider {
    fn start(serialization: &'static str) -> Provider {
        let (home, port) = (folder(), free_port());
        let mut command = dubbo(port, "serve", serialization);
        // 127.0.0.1 as a number: every other form of it is replaced by all addresses.
        let mut program =
            Program::start("provider", home.path(), command.env("DUBBO_IP_TO_BIND", "2130706433"));
        program.wait_listening(port);
        Provider { serialization, port, program, home }
    }

    fn consumer(&self, what: &str) -> Command {
        dubbo(self.port, what, self.serialization)
    }

    /// How it was called so far, by method and what it answered.
    fn served(&self) -> Counts {
        let mut counts = Counts::new();
        for (method, n) in served(&self.program.printed()) {
            let answer = match method.as_str() {
                "refuse" | "fail" => "RESPONSE_WITH_EXCEPTION",
                "note" => "-",
                _ => "OK",
            };
            count(&mut counts, format!("Dubbo$Orders/{method} {answer}"), n);
        }
        counts
    }
}

fn dubbo(port: u16, what: &str, serialization: &str) -> Command {
    let mut command = program("dubbo", "Dubbo");
    command.args([&port.to_string(), CANARY, what, serialization]);
    command
}

/// Compares spans with these counts.
fn are_served(capture: &Capture, mut expected: Counts, odd: &str) {
    is_whole(capture, "dubbo", odd);
    expected.retain(|_, n| *n > 0);
    let what = "target || '/' || operation || ' ' || COALESCE(status_text, '-')";
    for kind in KINDS {
        assert_eq!(spans_by(capture, kind, what, &format!("NOT ({odd})")), expected, "{kind}");
        let failed = spans_by(capture, kind, "outcome", "outcome = 'error'");
        let not_well = |what: &str| !what.ends_with(" OK") && !what.ends_with(" -");
        let all: i64 = expected.iter().filter(|(what, _)| not_well(what)).map(|(_, n)| n).sum();
        assert_eq!(failed.values().sum::<i64>(), all, "{kind}");
    }
    eprintln!("Dubbo: {expected:?}");
}

fn calls_are_spans(serialization: &'static str) {
    let provider = Provider::start(serialization);
    // As much of what a consumer sends at once.
    let recording = Recording::start(&["--port", &provider.port.to_string(), "--snaplen", "4096"]);
    let printed = run_ok(&mut provider.consumer("work"));
    let told: serde_json::Value = serde_json::from_str(printed.trim()).expect("what it did");
    let capture = recording.finish();
    let mut expected = provider.served();
    let told = |what: &str| told[what].as_i64().expect("a count");
    count(&mut expected, "Dubbo$Orders/get OK", -told("generic"));
    count(&mut expected, "Dubbo$Orders/$invoke OK", told("generic"));
    count(&mut expected, "Dubbo$Nowhere/get BAD_REQUEST", told("lost"));
    are_served(&capture, expected, "FALSE");
}

#[test]
fn dubbo_calls_in_hessian_are_spans_as_the_provider_serves_them() {
    let Some(_turn) = ebpf_or_skip("dubbo_calls_in_hessian_are_spans_as_the_provider_serves_them") else {
        return;
    };
    calls_are_spans("hessian2");
}

#[test]
fn dubbo_calls_in_fastjson_are_spans_as_the_provider_serves_them() {
    let Some(_turn) = ebpf_or_skip("dubbo_calls_in_fastjson_are_spans_as_the_provider_serves_them") else {
        return;
    };
    calls_are_spans("fastjson2");
}

#[test]
fn dubbo_consumers_that_are_older_than_the_recording_or_killed_are_told_as_they_are() {
    let Some(_turn) =
        ebpf_or_skip("dubbo_consumers_that_are_older_than_the_recording_or_killed_are_told_as_they_are")
    else {
        return;
    };
    let mut provider = Provider::start("hessian2");
    let waiting = Waiting::of(&mut provider.consumer("stay"));
    let recording = Recording::start(&["--port", &provider.port.to_string(), "--snaplen", "4096"]);
    let before = provider.served();
    waiting.work();
    let asleep = || provider.program.printed().matches("asleep").count();
    let slept = asleep();
    let killed = Program::start("killed", provider.home.path(), &mut provider.consumer("sleep"));
    let log = provider.home.path().join("provider.out");
    provider.program.wait("a call that sleeps", || {
        std::fs::read_to_string(&log).unwrap_or_default().matches("asleep").count() > slept
    });
    killed.signal(libc::SIGKILL);
    drop(killed);
    let capture = recording.finish();
    let mut expected = provider.served();
    before.iter().for_each(|(what, n)| count(&mut expected, what, -n));
    count(&mut expected, "Dubbo$Orders/slow OK", -1);
    let slept = "outcome = 'client_closed' AND operation = 'slow'";
    are_served(&capture, expected, slept);
    for kind in KINDS {
        assert_eq!(spans_by(&capture, kind, "outcome", slept).values().sum::<i64>(), 1, "{kind}");
    }
}
