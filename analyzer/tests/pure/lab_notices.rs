//! The comparisons of the other tests notice what is wrong: each of them fails on
//! made-up spans with one mistake.

use crate::lab::capture::Span;
use crate::lab::causes::{Cause, Injected, SHORT};
use crate::lab::chain::Way;
use crate::lab::check;
use crate::lab::client::Exchange;
use crate::lab::judge::{Contrast, judge, leave_out};
use crate::lab::steady::Answer;
use serde_json::{Value, json};

const PORTS: [u16; 3] = [8000, 8001, 8080];
const WAY: Way = Way { ports: [50_000, 50_001, 50_002], uses: [0; 3] };

/// A right chain of `requests` requests on one way: spans in order, six a request.
fn chain(requests: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    for nth in 0..requests {
        for side in 0..6 {
            let start = (nth * 1000 + side * 10) as i64;
            let end = (nth * 1000 + 500 - side * 10) as i64;
            let parent = side.checked_sub(1).map(|above| format!("{nth}-{above}"));
            let own = if side == 5 { end - start } else { 20 };
            let span = serde_json::json!({
                "trace_id": nth.to_string(), "span_id": format!("{nth}-{side}"), "parent_span_id": parent,
                "kind": if side % 2 == 0 { "client" } else { "server" }, "name": "GET",
                "start_ns": start, "end_ns": end, "duration_ns": end - start, "own_ns": own,
                "method": "GET", "path": "/x", "status": 200, "outcome": "ok",
                "request_bytes": 10, "response_bytes": 20,
                "src_addr": "127.0.0.1", "src_port": WAY.ports[side / 2],
                "dst_addr": "127.0.0.1", "dst_port": PORTS[side / 2],
                "connection_id": side / 2,
                "link_evidence": if side % 2 == 0 { "proxy_bytes" } else { "connection" },
            });
            spans.push(serde_json::from_value(span).expect("a span"));
        }
    }
    spans
}

fn truth(requests: usize) -> Vec<Exchange> {
    let exchange = |nth: usize| Exchange {
        client_port: WAY.ports[0],
        method: "GET".to_owned(),
        path: "/x".to_owned(),
        status: Some(200),
        request_bytes: 10,
        response_bytes: 20,
        request_body_bytes: 0,
        response_body_bytes: 0,
        chunked: false,
        began_ns: nth as i64 * 1000,
        took_ns: 500,
    };
    (0..requests).map(exchange).collect()
}

/// Whether a comparison fails.
fn fails(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    std::panic::catch_unwind(check).is_err()
}

#[test]
fn what_is_right_passes() {
    let spans = chain(3);
    let score = check::score(&spans, PORTS, &[WAY]);
    assert_eq!((score.requests, score.right, score.missing, score.wrong.len()), (3, 15, 0, 0));
    check::whole_traces(&spans, 3);
    check::exchanges(&spans, "client", PORTS[0], &truth(3));
}

#[test]
fn a_port_that_two_connections_had_is_told_apart() {
    let mut spans = chain(2);
    // The second request came on another connection of the first hop, with the same port.
    for span in &mut spans[6..8] {
        span.connection_id = 9;
    }
    let mixed = spans.clone();
    assert!(fails(move || drop(check::score(&mixed, PORTS, &[WAY]))), "the sides differ");
    for span in &mut spans[8..12] {
        span.connection_id += 10;
    }
    let score = check::score(&spans, PORTS, &[WAY, Way { uses: [1; 3], ..WAY }]);
    assert_eq!((score.requests, score.right, score.wrong.len()), (2, 10, 0));
}

#[test]
fn a_swapped_parent_is_wrong_and_an_absent_one_missing() {
    let mut spans = chain(2);
    let other = spans[6].span_id.clone();
    spans[1].parent_span_id = Some(other);
    spans[3].parent_span_id = None;
    let score = check::score(&spans, PORTS, &[WAY]);
    assert_eq!((score.right, score.missing, score.wrong.len()), (8, 1, 1));
}

#[test]
fn an_absent_span_and_one_too_many_are_noticed() {
    for hop in 0..6 {
        let mut spans = chain(2);
        spans.remove(hop);
        assert!(fails(move || drop(check::score(&spans, PORTS, &[WAY]))), "span {hop} is not there");
    }
    let mut spans = chain(2);
    spans[0].src_port += 7;
    let moved = spans.clone();
    assert!(fails(move || drop(check::score(&moved, PORTS, &[WAY]))));
    assert!(fails(move || check::exchanges(&spans, "client", PORTS[0], &truth(2))));
}

#[test]
fn every_wrong_value_is_noticed() {
    let mistakes: [fn(&mut Span); 10] = [
        |span| span.method = Some("PUT".to_owned()),
        |span| span.path = Some("/y".to_owned()),
        |span| span.status = None,
        |span| span.outcome = "client_closed".to_owned(),
        |span| span.request_bytes = Some(11),
        |span| span.response_bytes = None,
        |span| span.response_body_bytes = Some(1),
        |span| span.src_addr = "::ffff:127.0.0.1".to_owned(),
        |span| span.end_ns += 1,
        |span| {
            span.end_ns += 1000;
            span.duration_ns += 1000;
        },
    ];
    for (nth, mistake) in mistakes.into_iter().enumerate() {
        let mut spans = chain(1);
        mistake(&mut spans[0]);
        assert!(fails(move || check::exchanges(&spans, "client", PORTS[0], &truth(1))), "mistake {nth}");
    }
}

#[test]
fn a_trace_that_is_not_whole_is_noticed() {
    let mistakes: [fn(&mut Vec<Span>); 4] = [
        |spans| spans[3].end_ns = spans[2].end_ns + 1,
        |spans| spans[2].own_ns += 1,
        |spans| spans[1].link_evidence = Some("assignment".to_owned()),
        |spans| spans[5].trace_id = "another".to_owned(),
    ];
    for (nth, mistake) in mistakes.into_iter().enumerate() {
        let mut spans = chain(1);
        mistake(&mut spans);
        assert!(fails(move || check::whole_traces(&spans, 1)), "mistake {nth}");
    }
}

const SECOND: i64 = 1_000_000_000;

/// A request a tenth of a second over so many seconds; those due in the first half of every fifth second are slow.
fn load(seconds: i64) -> Vec<Answer> {
    let answer = |nth: i64| {
        let due_ns = nth * SECOND / 10;
        let took_ns = if due_ns % (5 * SECOND) < SECOND / 2 { SECOND / 5 } else { SECOND / 1000 };
        Answer { due_ns, sent_ns: due_ns, done_ns: due_ns + took_ns, port: 1, status: 200 }
    };
    (0..seconds * 10).map(answer).collect()
}

#[test]
fn what_the_client_felt_is_held_against_what_was_injected() {
    let injected = |first: i64| -> Vec<Injected> {
        let one = |nth: i64| Injected { onset_ns: nth, end_ns: nth + SECOND / 2 };
        (0..8).map(|nth| one((first + nth * 5) * SECOND)).collect()
    };
    let mut load = load(40);
    let right = Contrast::of(&injected(0), &load);
    assert_eq!((right.inside.as_slice(), right.outside), (&[5; 8][..], 0));
    assert_eq!(right.ordinary_ns, [SECOND / 1000; 2]);
    let elsewhere = Contrast::of(&injected(2), &load);
    assert_eq!((elsewhere.inside.as_slice(), elsewhere.outside), (&[0; 8][..], 40));
    assert!(!elsewhere.is_clear());
    // No answer is as bad as a slow one.
    load[12].status = 0;
    load[32].status = 0;
    assert_eq!(Contrast::of(&injected(0), &load).inside[0], 6);
    assert_eq!(Contrast::of(&injected(0), &load).outside, 1);
}

/// What `spikes` is to print for a shop that stops every five seconds.
fn finding() -> Value {
    json!({
        "period_s": 5.002, "period_ci_s": [4.99, 5.01], "fap": 0.001, "cycles": 9, "hits": 9, "metric": "latency",
        "stream": "shop-client", "hop": "inner-envoy -> shop:8080", "cause": "shop was stopped (9 of 9 cycles)",
        "causes": [{"kind": "stopped"}], "sql": "SELECT 1",
    })
}

fn mistakes(cause: Cause, spikes: &Value) -> usize {
    judge(cause, SHORT, 9, &json!({"spikes": spikes})).wrong.len()
}

#[test]
fn every_mistake_of_a_finding_is_noticed() {
    assert_eq!(mistakes(Cause::Stop, &json!([finding()])), 0);
    assert_eq!(mistakes(Cause::Nothing, &json!([])), 0);
    assert_eq!(mistakes(Cause::Nothing, &json!([finding()])), 1);
    assert_eq!(mistakes(Cause::Stop, &json!([])), 1);
    assert_eq!(mistakes(Cause::Stop, &json!([finding(), finding()])), 1);
    let wrong = [
        ("period_s", json!(2.5)),
        ("period_s", json!(null)),
        ("period_ci_s", json!([5.001, 5.003])),
        ("period_ci_s", json!(null)),
        ("fap", json!(0.02)),
        ("fap", json!(null)),
        ("hits", json!(7)),
        ("hop", json!("edge-envoy -> inner-envoy:8001")),
        ("cause", json!("nothing coincides")),
        ("causes", json!([])),
        ("causes", json!([{"kind": "exec"}, {"kind": "stopped"}])),
    ];
    for (key, value) in wrong {
        let mut finding = finding();
        finding[key] = value;
        assert_eq!(mistakes(Cause::Stop, &json!([finding])), 1, "{key}");
    }
    // That requests wait on the network is said where there is no cause, too.
    let mut vague = finding();
    vague["cause"] = json!(
        "no recorded kernel event coincides: requests wait on a hop: on the network, or until shop takes them"
    );
    vague["causes"] = json!([]);
    assert_eq!(mistakes(Cause::Delay, &json!([vague])), 1);
    // Where the program itself sleeps, no cause may be made up.
    assert_eq!(mistakes(Cause::Sleep, &json!([finding()])), 1);
    let mut honest = finding();
    honest["causes"] = json!([]);
    assert_eq!(mistakes(Cause::Sleep, &json!([honest])), 0);
}

#[test]
fn only_the_kernels_own_looks_at_memory_are_left_out() {
    let left = |watch_s: Option<f64>| {
        let mut findings = json!({"spikes": [{"period_s": 5.0}, {"period_s": 5.5}, {"period_s": 7.0}]});
        leave_out(&mut findings, watch_s);
        let periods = findings["spikes"].as_array().into_iter().flatten();
        periods.filter_map(|spike| spike["period_s"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(left(Some(5.0)), [5.0, 7.0]);
    assert_eq!(left(None), [5.0, 5.5, 7.0]);
}
