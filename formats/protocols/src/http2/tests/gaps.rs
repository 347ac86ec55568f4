//! Connections that are seen in part.

use super::made::{END_STREAM, Way, data, frame, headers, reset};
use super::talk::{CANARY, Talk};
use super::*;
use crate::http2::frame::kind;
use crate::{Call, Memory, blank};

const GET: [(&str, &str, Way); 3] =
    [(":method", "GET", Way::Indexed), (":scheme", "http", Way::Indexed), (":path", "/a?b=c", Way::Indexed)];
const OK: [(&str, &str, Way); 2] = [(":status", "200", Way::Indexed), ("server", "x", Way::Indexed)];

#[test]
fn a_connection_that_begins_in_the_middle() {
    let mut talk = Talk::default();
    let (_, _) = (talk.rpc(1, "/shop.Orders/Get"), talk.rpc_head(1));
    let mut reader = Reader::new(&Http2, Some([500, 300]));
    // The rest of what began before.
    reader.call(Direction::Responses, &data(1, 0, CANARY.as_bytes()), 0);
    let end = talk.rpc_end(1, "0");
    reader.call(Direction::Responses, &end, 1);
    // What it asks for stands in entries that were not seen.
    let again = talk.rpc(3, "/shop.Orders/Get");
    reader.call(Direction::Requests, &again, 2);
    let new = talk.rpc(5, "/shop.Orders/List");
    reader.call(Direction::Requests, &new, 3);
    let head = talk.rpc_head(3);
    reader.call(Direction::Responses, &head, 4);
    let end = talk.rpc_end(3, "13");
    reader.call(Direction::Responses, &end, 5);
    let known: Vec<_> = reader.exchanges().iter().map(|e| (e.key, name(e), target(e), e.end)).collect();
    let expected = [(Some(3), "POST", "?", Some(5)), (Some(5), "POST", "/shop.Orders/List", None)];
    assert_eq!(known, expected);
    // Whether these are gRPC is not known: the content type was one of the entries. An answer's tells.
    let fields = [(":status", "200", Way::Indexed), ("content-type", "application/grpc", Way::Added)];
    let head = talk.response(5, 0, &fields);
    reader.call(Direction::Responses, &head, 6);
    let third = talk.rpc(7, "/shop.Orders/Sum");
    reader.call(Direction::Requests, &third, 7);
    let sum = exchange(&reader, 7);
    assert_eq!((name(sum), sum.operation.protocol), ("shop.Orders/Sum", Some("grpc")));
}

#[test]
fn lost_frames_make_no_wrong_names() {
    let mut talk = Talk::default();
    talk.begin();
    let mut reader = testing::read(&Http2, &talk.conversation, &[]);
    let first = talk.request(1, END_STREAM, &GET);
    reader.call(Direction::Requests, &first, 10);
    // A block is lost, whose entries shift those before.
    let other =
        [(":method", "GET", Way::Indexed), (":scheme", "http", Way::Indexed), (":path", "/b", Way::Indexed)];
    let lost = talk.request(3, END_STREAM, &other);
    reader.gap(Direction::Requests, lost.len() as u64, 11);
    let again = talk.request(5, END_STREAM, &GET);
    reader.call(Direction::Requests, &again, 12);
    let known = talk.request(7, END_STREAM, &[GET[0], GET[1], (":path", "/new", Way::Indexed)]);
    reader.call(Direction::Requests, &known, 13);
    let same = talk.request(9, END_STREAM, &[GET[0], GET[1], (":path", "/new", Way::Indexed)]);
    reader.call(Direction::Requests, &same, 14);
    let targets: Vec<_> = reader.exchanges().iter().map(|e| (e.key, target(e))).collect();
    let expected = [(Some(1), "/a"), (Some(5), "?"), (Some(7), "/new"), (Some(9), "/new")];
    assert_eq!(targets, expected);
}

#[test]
fn lost_answers_are_not_made_up() {
    let mut talk = Talk::default();
    talk.begin();
    let mut reader = testing::read(&Http2, &talk.conversation, &[]);
    for stream in [1, 3, 5, 7] {
        let head = talk.request(stream, END_STREAM, &GET);
        reader.call(Direction::Requests, &head, 10);
    }
    let call = talk.rpc(9, "/shop.Orders/Get");
    reader.call(Direction::Requests, &call, 11);
    let begun = talk.response(7, 0, &OK);
    reader.call(Direction::Responses, &begun, 12);
    let lost = [talk.response(1, 0, &OK), talk.response(3, 0, &OK), talk.rpc_head(9)].concat();
    reader.gap(Direction::Responses, lost.len() as u64, 13);
    // Its head, with its status, was among them.
    reader.call(Direction::Responses, &data(1, END_STREAM, b"content"), 14);
    let trailers = talk.server.block(&[("x-sum", "1", Way::Coded)]);
    reader.call(Direction::Responses, &headers(3, END_STREAM, &trailers), 15);
    // This one's end may have been.
    reader.call(Direction::Responses, &reset(7, 0), 16);
    let whole = talk.response(5, END_STREAM, &OK);
    reader.call(Direction::Responses, &whole, 17);
    // Trailers alone tell how a call went.
    let end = talk.rpc_end(9, "14");
    reader.call(Direction::Responses, &end, 18);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| (e.key.unwrap(), e.end, e.cancelled)).collect();
    let expected =
        [(1, None, None), (3, None, None), (5, Some(17), None), (7, None, None), (9, Some(18), None)];
    assert_eq!(ends, expected);
    assert_eq!(exchange(&reader, 9).status.text, Some("UNAVAILABLE"));
}

/// Reads calls of which only the first bytes are known, and what was kept of them again.
fn snapped(calls: &[(Direction, Vec<u8>)], snap: usize) -> [Vec<(Option<u64>, String, Status)>; 2] {
    let mut kept: Vec<(Direction, u64, Vec<u8>)> = calls
        .iter()
        .map(|(way, bytes)| (*way, bytes.len() as u64, bytes[..bytes.len().min(snap)].to_vec()))
        .collect();
    [0, 1].map(|_| {
        let mut framing = Http2.framing(None);
        let mut heads = Vec::new();
        for (way, length, head) in &mut kept {
            let mut parts = Vec::new();
            let call = Call { length: *length, head, ..Call::default() };
            framing.call(*way, call, &mut Memory::default(), &mut parts);
            let mut stored = Vec::new();
            blank::copy(&parts, head, 0, &mut stored);
            *head = stored;
            for part in parts {
                if let crate::What::HeadEnd(info) = part.what {
                    heads.push((info.key, format!("{:?}", info.operation), info.status));
                }
            }
        }
        heads
    })
}

#[test]
fn calls_that_were_cut_are_read_as_far_as_they_go() {
    let mut calls = super::talk::everything();
    for (_, bytes) in &mut calls {
        bytes.extend(frame(kind::WINDOW_UPDATE, 0, 0, b"\0\0\x10\0"));
    }
    for snap in 1..120 {
        let [came, kept] = snapped(&calls, snap);
        assert_eq!(came, kept, "{snap}");
    }
    let mut talk = Talk::default();
    talk.begin();
    let mut fields = GET.to_vec();
    fields.push(("x-long", CANARY, Way::Plain));
    let long = talk.request(1, END_STREAM, &fields);
    talk.ask(long);
    let [came, _] = snapped(&talk.conversation, 36);
    assert!(came[0].1.contains("\"/a\""), "{came:?}");
}

#[test]
fn endless_heads_are_given_up() {
    let mut talk = Talk::default();
    talk.begin();
    let mut reader = testing::read(&Http2, &talk.conversation, &[]);
    reader.call(Direction::Requests, &frame(kind::HEADERS, 0, 1, b"\x82"), 10);
    for now in 0..10_000 {
        reader.call(Direction::Requests, &frame(kind::CONTINUATION, 0, 1, b"\x86\x84"), now);
    }
    assert!(reader.exchanges().is_empty() && reader.lost_bytes > 0);
    let head = talk.request(3, END_STREAM, &GET);
    reader.call(Direction::Requests, &head, 20_000);
    assert_eq!(name(exchange(&reader, 3)), "GET");
    // Nor is one that something else stands in.
    reader.call(Direction::Requests, &frame(kind::HEADERS, 0, 5, b"\x82"), 20_001);
    reader.call(Direction::Requests, &data(3, 0, b"content"), 20_002);
    assert!(reader.exchanges().iter().all(|exchange| exchange.key != Some(5)));
}

#[test]
fn streams_that_never_end_are_bounded() {
    let mut talk = Talk::default();
    talk.begin();
    let mut reader = testing::read(&Http2, &talk.conversation, &[]);
    for stream in (1..20_000).step_by(2) {
        let head = talk.request(stream, 0, &GET);
        reader.call(Direction::Requests, &head, 10);
    }
    let mut answer = |stream| {
        let head = talk.response(stream, END_STREAM, &OK);
        reader.call(Direction::Responses, &head, 11);
        exchange(&reader, stream.into()).end.is_some()
    };
    assert!(answer(19_999) && !answer(1));
}

/// Two threads of a client may be reported so.
#[test]
fn an_answer_may_come_before_its_request() {
    let mut talk = Talk::default();
    talk.begin();
    let mut reader = testing::read(&Http2, &talk.conversation, &[]);
    let (first, second) = (talk.request(1, END_STREAM, &GET), talk.request(3, 0, &GET));
    let (head, other) = (talk.response(3, 0, &OK), talk.response(1, END_STREAM, &OK));
    reader.call(Direction::Responses, &head, 10);
    reader.call(Direction::Requests, &first, 11);
    reader.call(Direction::Requests, &second, 12);
    reader.call(Direction::Responses, &other, 13);
    reader.call(Direction::Requests, &data(3, END_STREAM, b"content"), 14);
    reader.call(Direction::Responses, &data(3, END_STREAM, b"content"), 15);
    // This reader pairs no answer with a request that comes later.
    let seen: Vec<_> = reader.exchanges().iter().map(|e| (e.key, target(e), e.asked, e.end)).collect();
    assert_eq!(seen, [(Some(1), "/a", Some(11), Some(13)), (Some(3), "/a", Some(14), None)]);
}
