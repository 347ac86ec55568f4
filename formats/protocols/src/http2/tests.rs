//! Conversations with every feature, however they are cut; what is lost, what is secret, what is recognised.

mod gaps;
pub(super) mod made;
mod random;
mod recognition;
mod talk;

use super::*;
use crate::testing::{self, Exchange, Reader};
use crate::{Operation, Status};
use made::{END_STREAM, Way, data, headers};
use talk::{CANARY, Talk};

fn exchange(reader: &Reader, key: u64) -> &Exchange {
    reader.exchanges().iter().find(|exchange| exchange.key == Some(key)).expect("an exchange")
}

fn name(exchange: &Exchange) -> &str {
    exchange.operation.name.as_deref().unwrap_or("?")
}

fn target(exchange: &Exchange) -> &str {
    exchange.operation.target.as_deref().unwrap_or("?")
}

fn attribute<'a>(operation: &'a Operation, key: &str) -> Option<&'a str> {
    operation.text(key).map(|text| &**text)
}

#[test]
fn any_cut_gives_the_same_exchanges_and_no_more_is_kept() {
    testing::check_any_cut(&Http2, &talk::everything());
}

#[test]
fn requests_and_answers() {
    let reader = testing::read(&Http2, &talk::everything(), &[]);
    let keys: Vec<_> = reader.exchanges().iter().filter_map(|exchange| exchange.key).collect();
    assert_eq!(keys, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25]);
    let get = exchange(&reader, 1);
    assert_eq!((name(get), target(get), get.status.code), ("GET", "/items/7", Some(200)));
    assert_eq!(get.operation.title.as_deref(), Some("GET"));
    assert_eq!(attribute(&get.operation, "url.query"), Some("who=************"));
    assert_eq!(attribute(&get.operation, "http.request.header.host"), Some("shop.example:8080"));
    assert_eq!(attribute(&get.operation, "user_agent.original"), Some("test/1"));
    assert_eq!(get.operation.request_id.as_deref(), Some("r-17"));
    assert_eq!(get.operation.context.map(|context| context.span_id), Some(0x00f0_67aa_0ba9_02b7));
    let put = exchange(&reader, 3);
    assert_eq!((name(put), target(put), put.status.code), ("PUT", "/upload", Some(503)));
    assert!(put.status.failed && put.asked < put.end);
    // The answer's head came in three frames, behind two interim ones.
    let early = exchange(&reader, 5);
    assert_eq!((name(early), early.status.code, early.end.is_some()), ("GET", Some(404), true));
    assert!(!early.status.failed);
}

#[test]
fn calls_of_grpc() {
    let reader = testing::read(&Http2, &talk::everything(), &[]);
    let call = |key| {
        let exchange = exchange(&reader, key);
        assert_eq!(exchange.operation.protocol, Some("grpc"));
        (name(exchange), exchange.status.code, exchange.status.text, exchange.status.failed)
    };
    assert_eq!(call(7), ("shop.Orders/Get", Some(0), Some("OK"), false));
    assert_eq!(call(9), ("shop.Orders/Get", Some(5), Some("NOT_FOUND"), true));
    assert_eq!(call(11), ("shop.Orders/List", Some(0), Some("OK"), false));
    // Somebody in between answered.
    assert_eq!(call(13), ("shop.Orders/Get", Some(503), None, true));
    let get = exchange(&reader, 7);
    assert_eq!(get.operation.title.as_deref(), Some("shop.Orders/Get"));
    assert_eq!(attribute(&get.operation, "rpc.method"), Some("shop.Orders/Get"));
    assert_eq!(target(get), "/shop.Orders/Get");
    assert!(get.operation.attributes.iter().all(|(key, _)| *key != "http.request.method"));
    let list = exchange(&reader, 11);
    assert!(list.start < get.end.unwrap() && get.end < list.end, "they took turns");
}

#[test]
fn streams_that_end_before_their_answer() {
    let reader = testing::read(&Http2, &talk::everything(), &[]);
    let ends = |key| {
        let exchange = exchange(&reader, key);
        (exchange.cancelled, exchange.end.is_some())
    };
    assert_eq!(ends(15), (Some(Direction::Requests), false));
    assert_eq!(ends(17), (Some(Direction::Responses), false));
    // The server had answered, and wanted no more of the request.
    assert_eq!(ends(19), (None, true));
    // Open, as far as anybody has seen.
    assert_eq!(ends(21), (None, false));
    // Those that came too late for the server.
    assert_eq!(ends(23), (Some(Direction::Responses), false));
    assert_eq!(ends(25), (Some(Direction::Responses), false));
}

#[test]
fn bytes_are_those_of_the_stream_and_of_no_other() {
    let mut talk = Talk::default();
    talk.begin();
    let mut asks = Vec::new();
    for key in [1, 3] {
        let head = talk.request(key, 0, &[(":method", "POST", Way::Indexed), (":path", "/", Way::Indexed)]);
        asks.push(head.len() as u64 + 2 * (9 + 10));
        talk.ask(head);
    }
    for _ in 0..2 {
        talk.ask(made::frame(frame::kind::PING, 0, 0, &[7; 8]));
        talk.ask([data(1, 0, &[1; 10]), data(3, 0, &[3; 10])].concat());
    }
    talk.ask([data(1, END_STREAM, b""), data(3, END_STREAM, b"")].concat());
    let reader = testing::read(&Http2, &talk.conversation, &[]);
    for (key, bytes) in [1, 3].into_iter().zip(asks) {
        assert_eq!(exchange(&reader, key).request_bytes, bytes + 9, "{key}");
    }
}

#[test]
fn no_secret_is_kept() {
    for cuts in [&[][..], &[1], &[7], &[64, 3]] {
        let reader = testing::read(&Http2, &talk::everything(), cuts);
        let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
        let mut coded = vec![0; CANARY.bytes().map(huffman::bits).sum::<u32>().div_ceil(8) as usize];
        huffman::encode(CANARY.as_bytes(), &mut coded);
        // Whatever stands before it shifts its bits.
        for shift in 0..8 {
            let shifted: Vec<u8> = coded
                .windows(2)
                .map(|pair| pair[0] << shift | ((u16::from(pair[1]) >> (8 - shift)) as u8))
                .collect();
            let part = &shifted[1..5];
            assert!(!kept.windows(part.len()).any(|window| window == part), "{cuts:?}");
        }
        assert!(!kept.windows(5).any(|window| window == &CANARY.as_bytes()[..5]), "{cuts:?}");
    }
}

#[test]
fn what_a_request_repeats_is_shared() {
    let mut talk = Talk::default();
    talk.begin();
    for key in [1, 3, 5] {
        let fields = [(":method", "GET", Way::Plain), (":path", "/same?x=1", Way::Plain)];
        let head = talk.request(key, END_STREAM, &fields);
        talk.ask(head);
    }
    let reader = testing::read(&Http2, &talk.conversation, &[]);
    let [first, second, third] = reader.exchanges() else { panic!("{reader:?}") };
    assert!(std::sync::Arc::ptr_eq(&first.operation, &second.operation));
    assert!(std::sync::Arc::ptr_eq(&second.operation, &third.operation));
}

#[test]
fn stream_1_is_answered_after_an_upgrade() {
    let mut talk = Talk::default();
    let block = talk.server.block(&[(":status", "200", Way::Indexed), ("server", "x", Way::Indexed)]);
    let mut parts = Vec::new();
    let (key, mut framing) = Http2.framing_after_upgrade().expect("one");
    assert_eq!(key, 1);
    let bytes = [made::frame(frame::kind::SETTINGS, 0, 0, b""), headers(1, END_STREAM, &block)].concat();
    let call = crate::Call { length: bytes.len() as u64, head: &bytes, ..Default::default() };
    framing.call(Direction::Responses, call, &mut Default::default(), &mut parts);
    let answer = parts.iter().find_map(|part| match &part.what {
        crate::What::HeadEnd(info) => Some((info.key, info.status)),
        _ => None,
    });
    assert_eq!(answer, Some((Some(1), Status::of_code(200))));
    assert!(parts.iter().any(|part| part.what == crate::What::End { exact: true }));
}

#[test]
fn attributes_of_answers() {
    let told = |key| {
        let reader = testing::read(&Http2, &talk::everything(), &[]);
        let exchange = exchange(&reader, key);
        let mut told = Vec::new();
        let seen = crate::operation::Exchange {
            operation: &exchange.operation,
            status: exchange.status,
            client: true,
            server: None,
            bytes: [None; 2],
            body_bytes: [None; 2],
        };
        Http2.attributes(&seen, &mut |key, value| told.push(format!("{key} {value:?}")));
        told
    };
    assert!(told(1).contains(&"http.response.status_code Int(200)".to_string()));
    assert!(told(1).contains(&"url.path Text(\"/items/7\")".to_string()));
    assert_eq!(told(7), ["rpc.response.status_code Text(\"OK\")", "rpc.grpc.status_code Int(0)"]);
    assert!(told(9).contains(&"error.type Text(\"NOT_FOUND\")".to_string()));
    assert_eq!(told(13), ["http.response.status_code Int(503)", "error.type Text(\"503\")"]);
}
