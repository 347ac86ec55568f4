//! How long framing takes, as figures to look at: `cargo test --lib http2 -- --ignored --nocapture`.

use std::fs;

use super::made::{END_STREAM, Way, data};
use super::talk::{CANARY, Talk};
use super::*;
use crate::{Call, Memory};

const PAIRS: u32 = 50_000;

fn get(talk: &mut Talk, stream: u32, context: &str) {
    let path = format!("/items/{}?token={CANARY}", stream % 100);
    let fields = [
        (":method", "GET", Way::Indexed),
        (":scheme", "http", Way::Indexed),
        (":authority", "shop.example:8080", Way::Indexed),
        (":path", &*path, Way::Coded),
        ("user-agent", "test/1", Way::Indexed),
        ("accept", "*/*", Way::Indexed),
        ("cookie", CANARY, Way::Indexed),
        ("traceparent", context, Way::Added),
    ];
    let ask = talk.request(stream, END_STREAM, &fields);
    talk.ask(ask);
    let fields = [
        (":status", "200", Way::Indexed),
        ("content-type", "application/json", Way::Indexed),
        ("content-length", "12", Way::Coded),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT", Way::Indexed),
    ];
    let head = talk.response(stream, 0, &fields);
    talk.answer([head, data(stream, END_STREAM, CANARY.as_bytes())].concat());
}

fn call(talk: &mut Talk, stream: u32, context: &str) {
    let fields = [
        (":method", "POST", Way::Indexed),
        (":scheme", "http", Way::Indexed),
        (":path", if stream % 4 == 1 { "/shop.Orders/Get" } else { "/shop.Orders/List" }, Way::Indexed),
        (":authority", "shop.example:8080", Way::Indexed),
        ("content-type", "application/grpc", Way::Indexed),
        ("user-agent", "grpc-go/1.60", Way::Indexed),
        ("te", "trailers", Way::Indexed),
        ("authorization", CANARY, Way::Indexed),
        ("traceparent", context, Way::Added),
    ];
    let head = talk.request(stream, 0, &fields);
    talk.ask([head, data(stream, END_STREAM, CANARY.as_bytes())].concat());
    let (head, end) = (talk.rpc_head(stream), talk.rpc_end(stream, "0"));
    talk.answer([head, data(stream, 0, CANARY.as_bytes()), end].concat());
}

/// How long this thread has run, ns; other programs do not count.
fn on_cpu() -> u64 {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

fn time(what: &str, calls: &[(Direction, Vec<u8>)]) -> Vec<(Direction, Vec<u8>)> {
    let (mut framing, mut memory) = (Http2.framing(None), Memory::default());
    let (mut parts, mut kept) = (Vec::new(), Vec::new());
    let mut stored = Vec::with_capacity(calls.len());
    let begin = on_cpu();
    for (direction, bytes) in calls {
        parts.clear();
        let call = Call { length: bytes.len() as u64, head: bytes, ..Call::default() };
        framing.call(*direction, call, &mut memory, &mut parts);
        if what.starts_with("came") {
            kept.clear();
            crate::blank::copy(&parts, bytes, 0, &mut kept);
            stored.push((*direction, kept.clone()));
        }
    }
    let each = (on_cpu() - begin) / u64::from(PAIRS);
    println!("{what}: {each} ns a pair");
    stored
}

#[test]
#[ignore = "says how long it takes, and nothing else"]
fn time_of_a_request_with_its_answer() {
    for (what, pair) in [("GET", get as fn(&mut Talk, u32, &str)), ("gRPC", call)] {
        let mut talk = Talk::default();
        talk.begin();
        for number in 0..PAIRS {
            let context = format!("00-4bf92f3577b34da6a3ce929d{number:08x}-00f067aa{number:08x}-01");
            pair(&mut talk, 2 * number + 1, &context);
        }
        for _ in 0..2 {
            let kept = time(&format!("came, {what}"), &talk.conversation);
            time(&format!("kept, {what}"), &kept);
        }
    }
}
