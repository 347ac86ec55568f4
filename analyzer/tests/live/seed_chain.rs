//! The seed experiment: client -> Envoy -> Envoy -> HTTP server. Byte-identical
//! requests, many at once; the truth about parents is Envoy's access log.

use crate::lab::chain::Chain;
use crate::lab::check::{self, Score};
use crate::lab::client::{Connection, Request};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, load};

/// Records `requests` through a chain, `concurrency` at once, and judges the links.
fn chain_is_linked(test: &str, requests: usize, concurrency: usize, keep_alive: bool) {
    let Some(_turn) = ebpf_or_skip(test) else { return };
    let chain = Chain::start();
    let recording = Recording::of_ports(&chain.ports());
    load::ab(chain.port(), "/size/100", requests, concurrency, keep_alive);
    let ways = chain.ways(if keep_alive { concurrency } else { requests });
    let capture = recording.finish();
    let spans = capture.spans();
    let score = check::score(&spans, chain.ports(), &ways);
    assert_eq!(score.requests, requests, "requests with all their spans");
    none_wrong_nearly_all_right(&score);
    if score.missing == 0 {
        check::whole_traces(&spans, requests);
    }
}

fn none_wrong_nearly_all_right(score: &Score) {
    check::none_of("parents", &score.wrong);
    let all = score.requests * 5;
    assert!(
        score.right * 1000 >= all * 999,
        "{} of {all} parents right, {} missing",
        score.right,
        score.missing
    );
}

#[test]
fn one_at_a_time_on_one_connection() {
    chain_is_linked("one_at_a_time_on_one_connection", 300, 1, true);
}

#[test]
fn one_at_a_time_with_a_connection_each() {
    chain_is_linked("one_at_a_time_with_a_connection_each", 300, 1, false);
}

#[test]
fn sixteen_at_once_on_kept_connections() {
    chain_is_linked("sixteen_at_once_on_kept_connections", 2_000, 16, true);
}

#[test]
fn sixteen_at_once_with_a_connection_each() {
    chain_is_linked("sixteen_at_once_with_a_connection_each", 2_000, 16, false);
}

#[test]
fn sixty_four_at_once_on_kept_connections() {
    chain_is_linked("sixty_four_at_once_on_kept_connections", 4_000, 64, true);
}

#[test]
fn sixty_four_at_once_with_a_connection_each() {
    chain_is_linked("sixty_four_at_once_with_a_connection_each", 2_000, 64, false);
}

/// How the proxies paired connections that existed before the recording is not in
/// the capture: leaving such spans unlinked is right, linking them wrongly is not.
#[test]
fn connections_from_before_the_recording_get_no_wrong_parent() {
    let Some(_turn) = ebpf_or_skip("connections_from_before_the_recording_get_no_wrong_parent") else {
        return;
    };
    let chain = Chain::start();
    let request = Request::new("GET", "/size/100");
    let mut connections: Vec<_> = (0..16).map(|_| Connection::open(chain.port())).collect();
    for connection in &mut connections {
        connection.exchange(&request);
    }
    let recording = Recording::of_ports(&chain.ports());
    for _ in 0..20 {
        // All at once, so that time alone cannot tell them apart.
        for connection in &mut connections {
            connection.send(&request.bytes());
        }
        for connection in &mut connections {
            connection.response("GET");
        }
    }
    drop(connections);
    let ways = chain.ways(16);
    let capture = recording.finish();
    let spans = capture.spans();
    let score = check::score(&spans, chain.ports(), &ways);
    assert_eq!(score.requests, 320, "requests with all their spans");
    check::none_of("parents", &score.wrong);
    // Both ends of one connection are known all the same, by its sequence numbers.
    assert!(score.right >= 320 * 3, "only {} parents found", score.right);
}
