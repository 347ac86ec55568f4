//! What begins a connection, or goes on with one.

use super::made::{END_HEADERS, END_STREAM, Way, data, frame, headers, reset};
use super::talk::{Talk, everything};
use super::*;
use crate::detect;
use crate::http2::frame::{PREFACE, kind};

fn verdict(direction: Direction, bytes: &[u8]) -> Verdict {
    Http2.recognise(direction, bytes, false)
}

#[test]
fn a_preface_is_known_from_its_first_line_on() {
    for length in 16..PREFACE.len() {
        let told = detect::surely(&PREFACE[..length], true).expect("known");
        assert_eq!((told.protocol.name(), told.direction), ("http2", Direction::Requests));
    }
    assert_eq!(Http2.recognise(Direction::Requests, &PREFACE[..8], true), Verdict::Maybe);
    assert_eq!(verdict(Direction::Requests, &PREFACE[..8]), Verdict::No);
    assert_eq!(verdict(Direction::Requests, b"PRI * HTTP/1.1\r\n\r\n"), Verdict::No);
    assert_eq!(verdict(Direction::Responses, PREFACE), Verdict::No);
}

#[test]
fn heads_are_known_wherever_the_connection_is_seen_first() {
    let mut talk = Talk::default();
    let ask = talk.rpc(5, "/shop.Orders/Get");
    let answer = talk.rpc_head(5);
    let both = [Direction::Requests, Direction::Responses];
    for (way, bytes) in both.into_iter().zip([&ask, &answer]) {
        for other in both {
            let expected = if way == other { Verdict::Surely } else { Verdict::No };
            assert_eq!(verdict(other, bytes), expected);
            let update = frame(kind::WINDOW_UPDATE, 0, 0, b"\0\0\x10\0");
            assert_eq!(verdict(other, &[&update, &bytes[..]].concat()), expected);
        }
    }
    // Later ones, of which most is in a table that nobody has seen.
    let later = talk.rpc(7, "/shop.Orders/Get");
    assert_eq!(verdict(Direction::Requests, &later), Verdict::Surely);
    let later = talk.rpc_head(7);
    assert_eq!(verdict(Direction::Responses, &later), Verdict::Surely);
    // Cut within its fields, once two have shown what it is.
    assert_eq!(verdict(Direction::Requests, &ask[..9]), Verdict::No);
    assert_eq!(verdict(Direction::Requests, &ask[..12]), Verdict::Surely);
    assert_eq!(verdict(Direction::Responses, &answer[..12]), Verdict::No);
}

#[test]
fn what_tells_no_way_tells_nothing() {
    let settings = frame(kind::SETTINGS, 0, 0, b"\0\x03\0\0\0\x80");
    let silent = [
        settings.clone(),
        frame(kind::SETTINGS, 1, 0, b""),
        frame(kind::PING, 0, 0, &[0; 8]),
        frame(kind::WINDOW_UPDATE, 0, 1, b"\0\0\x10\0"),
        data(1, END_STREAM, b"content"),
        reset(1, 8),
        frame(kind::CONTINUATION, END_HEADERS, 1, b"\x82\x86\x84"),
        headers(2, END_STREAM, b"\x82\x86\x84"),
        headers(1, END_STREAM, b"\x82\x86\x84\x80"),
    ];
    for bytes in silent {
        for direction in [Direction::Requests, Direction::Responses] {
            assert_eq!(verdict(direction, &bytes), Verdict::No, "{bytes:x?}");
        }
    }
    // But the first of all, before any preface, are the server's.
    assert_eq!(Http2.recognise(Direction::Responses, &settings, true), Verdict::Surely);
    assert_eq!(Http2.recognise(Direction::Requests, &settings, true), Verdict::No);
}

#[test]
fn other_bytes_are_none_of_it() {
    let others = [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"\0\0\0\x21\0\x03\0\x09\0\0\0\x01\0\x08producer\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x01\0\0\0\x0e",
        b"\0\0\0\x01\x04\0\0\0\0",
        &[0; 64],
        &[0xff; 64],
    ];
    for bytes in others {
        for fresh in [false, true] {
            for direction in [Direction::Requests, Direction::Responses] {
                assert_eq!(Http2.recognise(direction, bytes, fresh), Verdict::No, "{bytes:x?}");
            }
        }
    }
}

#[test]
fn what_is_kept_is_recognised_as_what_came() {
    let reader = testing::read(&Http2, &everything(), &[]);
    for ((direction, came), (_, kept)) in everything().iter().zip(reader.kept()) {
        assert_eq!(verdict(*direction, came), verdict(*direction, &kept), "{came:x?}");
    }
    let begun = [(":method", "GET", Way::Indexed), (":path", "/a?b=c", Way::Coded)];
    let head = Talk::default().request(1, 0, &begun);
    assert_eq!(verdict(Direction::Requests, &head), Verdict::Surely);
}
