//! Exchanges that end badly: clients that give up in every way, servers that do,
//! and the end of the recording. Judged from both sides, and again with only the
//! servers and proxies recorded.

use std::thread;
use std::time::Duration;

use crate::lab::capture::Span;
use crate::lab::chain::Chain;
use crate::lab::check::none_of;
use crate::lab::client::{Connection, Request};
use crate::lab::recording::Recording;
use crate::lab::servers::{self, Server};
use crate::lab::{ebpf_or_skip, folder, load};

const SLEPT_NS: i64 = 1_500_000_000;

/// What the span of one side must say; a path names the exchange.
struct Ending {
    path: &'static str,
    outcome: &'static str,
    status: Option<i64>,
    /// Status of an answer written after the client was gone; server side only.
    late: Option<i64>,
}

const fn ending(path: &'static str, outcome: &'static str, status: Option<i64>, late: Option<i64>) -> Ending {
    Ending { path, outcome, status, late }
}

/// How the exchanges of [`end_badly`] end.
const ENDINGS: [Ending; 10] = [
    ending("/sleep/1500", "client_closed", None, Some(200)),
    ending("/sleep/1501", "client_closed", None, None),
    ending("/sleep/502", "client_closed", None, Some(200)),
    ending("/sleep/303", "ok", Some(200), None),
    ending("/sleep/1504", "client_closed", None, None),
    ending("/size/50000000", "client_closed", Some(200), None),
    ending("/close", "server_closed", None, None),
    ending("/reset", "reset", None, None),
    ending("/status/500", "error", Some(500), None),
    ending("/size/9", "ok", Some(200), None),
];

/// A proxy that has taken a request has forwarded it after that long. One whose client is gone at once never does.
const FORWARDED: Duration = Duration::from_millis(100);

/// Makes all those exchanges, and waits until the server is done with them.
/// Returns how long curl says that its given-up request took.
fn end_badly(port: u16, server: &Server) -> i64 {
    let request = |path: &str| {
        let mut connection = Connection::open(port);
        connection.send(&Request::new("GET", path).bytes());
        connection
    };
    let given_up = load::curl(port, &["/sleep/1500"], &["--max-time", "0.5"]);
    assert_eq!(given_up[0].exit_code, 28, "curl gave up");
    // RST while the server works.
    let connection = request("/sleep/1501");
    connection.wait_taken();
    thread::sleep(FORWARDED);
    connection.reset();
    // FIN of a full close while the server works.
    let connection = request("/sleep/502");
    connection.wait_taken();
    thread::sleep(FORWARDED);
    drop(connection);
    // FIN of a half-close, and the answer is taken.
    let mut connection = request("/sleep/303");
    connection.finish_sending();
    assert_eq!(connection.response("GET").status, 200);
    // FIN of a half-close, then RST before the answer.
    let connection = request("/sleep/1504");
    connection.wait_taken();
    thread::sleep(FORWARDED);
    connection.finish_sending();
    connection.reset();
    // A close in mid-body.
    let mut connection = request("/size/50000000");
    connection.take(100_000);
    drop(connection);
    for path in ["/close", "/reset"] {
        request(path).wait_closed();
    }
    for path in ["/status/500", "/size/9"] {
        request(path).response("GET");
    }
    server.wait_served(ENDINGS.len());
    given_up[0].process_ns
}

/// Compares the spans of one side at `port` with [`ENDINGS`].
fn endings_are_told(spans: &[Span], kind: &str, port: u16) {
    let mut problems = Vec::new();
    for expected in &ENDINGS {
        let mut found = spans.iter().filter(|span| {
            span.kind == kind && span.dst_port == port && span.path.as_deref() == Some(expected.path)
        });
        let (Some(span), None) = (found.next(), found.next()) else {
            problems.push(format!("not one {kind} span of {}", expected.path));
            continue;
        };
        // A late answer never reaches the client's side.
        let late = expected.late.filter(|_| kind == "server");
        let same_late = kind == "client" || span.late_status == late;
        if (span.outcome.as_str(), span.status) != (expected.outcome, expected.status) || !same_late {
            let (outcome, status) = (expected.outcome, expected.status);
            problems.push(format!("expected {outcome} {status:?} late {late:?}, found {span:?}"));
        }
    }
    let all = spans.iter().filter(|span| span.kind == kind && span.dst_port == port).count();
    if all != ENDINGS.len() {
        problems.push(format!("{all} {kind} spans of {} exchanges", ENDINGS.len()));
    }
    none_of(&format!("{kind} side at {port}"), &problems);
}

/// The span of the client that gave up ends when it did; what came later is `late`.
fn given_up_in_time(span: &Span, client_ran_ns: i64) {
    assert!(span.duration_ns <= client_ran_ns, "{span:?} against {client_ran_ns} ns of the client's");
    if span.kind == "server" {
        let late_ns = span.late_ns.unwrap_or_else(|| panic!("no late_ns in {span:?}"));
        assert!(span.duration_ns + late_ns >= SLEPT_NS, "answered before the server did: {span:?}");
    }
}

fn of_path<'a>(spans: &'a [Span], kind: &str, port: u16, path: &str) -> &'a Span {
    let found = spans
        .iter()
        .find(|span| span.kind == kind && span.dst_port == port && span.path.as_deref() == Some(path));
    found.unwrap_or_else(|| panic!("no {kind} span of {path} at {port}"))
}

#[test]
fn both_sides_tell_how_it_ended() {
    let Some(_turn) = ebpf_or_skip("both_sides_tell_how_it_ended") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    let client_ran_ns = end_badly(go.port, &go);
    let capture = recording.finish();
    let spans = capture.spans();
    for kind in ["client", "server"] {
        endings_are_told(&spans, kind, go.port);
        given_up_in_time(of_path(&spans, kind, go.port, "/sleep/1500"), client_ran_ns);
    }
}

#[test]
fn the_server_alone_tells_how_it_ended() {
    let Some(_turn) = ebpf_or_skip("the_server_alone_tells_how_it_ended") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_pids(&[go.pid()]);
    let client_ran_ns = end_badly(go.port, &go);
    let capture = recording.finish();
    let spans = capture.spans();
    assert!(spans.iter().all(|span| span.kind == "server"), "only the server was recorded");
    endings_are_told(&spans, "server", go.port);
    given_up_in_time(of_path(&spans, "server", go.port, "/sleep/1500"), client_ran_ns);
}

/// All the endings again, with two proxies between client and server: where the
/// client connects, both sides say the same as without.
#[test]
fn the_edge_of_a_chain_tells_how_it_ended() {
    let Some(_turn) = ebpf_or_skip("the_edge_of_a_chain_tells_how_it_ended") else { return };
    let chain = Chain::start();
    let recording = Recording::of_ports(&chain.ports());
    end_badly(chain.port(), &chain.server);
    chain.ways(ENDINGS.len());
    let capture = recording.finish();
    let spans = capture.spans();
    for kind in ["client", "server"] {
        endings_are_told(&spans, kind, chain.port());
    }
}

#[test]
fn the_edge_proxy_alone_tells_how_it_ended() {
    let Some(_turn) = ebpf_or_skip("the_edge_proxy_alone_tells_how_it_ended") else { return };
    let chain = Chain::start();
    let recording = Recording::of_pids(&[chain.edge.pid()]);
    end_badly(chain.port(), &chain.server);
    chain.ways(ENDINGS.len());
    let capture = recording.finish();
    endings_are_told(&capture.spans(), "server", chain.port());
}

/// What the server side of each hop of a chain says of a slow request whose client
/// gave up, and of fast ones around it.
fn chain_of_quitters(recording: impl FnOnce(&Chain) -> Recording) {
    let chain = Chain::start();
    let recording = recording(&chain);
    let mut ran_ns = Vec::new();
    for _ in 0..5 {
        let given_up = load::curl(chain.port(), &["/sleep/1500"], &["--max-time", "0.5"]);
        assert_eq!(given_up[0].exit_code, 28, "curl gave up");
        ran_ns.push(given_up[0].process_ns);
        load::curl(chain.port(), &["/size/10"], &[]);
    }
    chain.ways(10);
    let capture = recording.finish();
    let spans = capture.spans();
    let [edge, inner, server] = chain.ports();
    for (hop, port) in [edge, inner, server].into_iter().enumerate() {
        let here: Vec<_> = spans.iter().filter(|s| s.kind == "server" && s.dst_port == port).collect();
        assert_eq!(here.len(), 10, "server spans at hop {hop}");
        let slow: Vec<_> = here.iter().filter(|span| span.path.as_deref() == Some("/sleep/1500")).collect();
        assert_eq!(slow.len(), 5);
        for (span, ran_ns) in slow.into_iter().zip(&ran_ns) {
            if hop == 0 {
                assert_eq!((span.outcome.as_str(), span.status), ("client_closed", None), "{span:?}");
                assert_eq!(span.late_status, Some(200), "the answer came when nobody was there: {span:?}");
                given_up_in_time(span, *ran_ns);
            } else {
                // The proxies only half-closed and did take the answer.
                assert_eq!((span.outcome.as_str(), span.status), ("ok", Some(200)), "{span:?}");
                assert!(span.duration_ns >= SLEPT_NS, "{span:?}");
            }
        }
        let fast = here.iter().filter(|span| span.path.as_deref() == Some("/size/10"));
        assert!(fast.into_iter().all(|span| span.outcome == "ok" && span.late_status.is_none()));
    }
}

#[test]
fn clients_that_leave_a_chain_of_proxies() {
    let Some(_turn) = ebpf_or_skip("clients_that_leave_a_chain_of_proxies") else { return };
    chain_of_quitters(|chain| Recording::of_ports(&chain.ports()));
}

#[test]
fn clients_that_leave_a_chain_of_which_only_proxies_and_server_are_recorded() {
    let Some(_turn) =
        ebpf_or_skip("clients_that_leave_a_chain_of_which_only_proxies_and_server_are_recorded")
    else {
        return;
    };
    chain_of_quitters(|chain| Recording::of_pids(&[chain.edge.pid(), chain.inner.pid(), chain.server.pid()]));
}

#[test]
fn the_end_of_the_recording_cuts_what_is_in_flight() {
    let Some(_turn) = ebpf_or_skip("the_end_of_the_recording_cuts_what_is_in_flight") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    let mut connection = Connection::open(go.port);
    connection.send(&Request::new("GET", "/sleep/4000").bytes());
    connection.wait_taken();
    let capture = recording.finish();
    let spans = capture.spans();
    let seen: Vec<_> = spans.iter().map(|span| (span.outcome.as_str(), span.status)).collect();
    assert_eq!(seen, [("timeout_cut", None); 2], "client and server span");
}
