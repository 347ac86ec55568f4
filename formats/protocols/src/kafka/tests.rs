//! Conversations of bytes built here.

use super::*;
use crate::testing::{self, Reader};
use crate::{PROTOCOLS, Status};

/// What must never be kept.
const SECRET: &str = "hunter2";
const ID: [u8; 16] = [7; 16];
use Direction::{Requests, Responses};

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn request(key: u16, version: u16, id: u32, client: &str, body: &[u8]) -> Vec<u8> {
    let fixed = [&key.to_be_bytes()[..], &version.to_be_bytes(), &id.to_be_bytes(), &text(client)].concat();
    framed(&[&fixed, body].concat())
}

fn answer(id: u32, body: &[u8]) -> Vec<u8> {
    framed(&[&id.to_be_bytes(), body].concat())
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// The same where messages are flexible.
fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8 + 1], text.as_bytes()].concat()
}

fn produce(version: u16, id: u32, acks: i16, topic: &str) -> Vec<u8> {
    let records = SECRET.repeat(40);
    let parts = [
        &b"\xff\xff"[..],
        &acks.to_be_bytes(),
        &[0, 0, 0x75, 0x30],
        &[0, 0, 0, 1],
        &text(topic),
        &[0, 0, 0, 1, 0, 0, 0, 0],
        &(records.len() as u32).to_be_bytes(),
        records.as_bytes(),
    ];
    request(0, version, id, "shop", &parts.concat())
}

fn produced(id: u32, topic: &str, codes: &[i16]) -> Vec<u8> {
    let mut body = [&[0, 0, 0, 1][..], &text(topic), &(codes.len() as u32).to_be_bytes()].concat();
    for code in codes {
        body.extend([&[0, 0, 0, 0][..], &code.to_be_bytes(), &[1; 8], &[2; 8]].concat());
    }
    body.extend([0; 4]);
    answer(id, &body)
}

/// Fetch of version 13, which names topics by their ids.
fn fetch(id: u32, topic: [u8; 16]) -> Vec<u8> {
    let partition = [&[0; 4][..], &[0; 4], &[1; 8], &[0; 4], &[1; 8], &[0; 4], &[0]].concat();
    let parts = [&[0][..], &[0; 25], &[2], &topic, &[2], &partition];
    let end = [&[0][..], &[1], &short(""), &[0]].concat();
    request(1, 13, id, "shop", &[&parts.concat(), &end[..]].concat())
}

fn fetched(id: u32, codes: [i16; 2], records: usize) -> Vec<u8> {
    let mut body = [&[0][..], &[0; 4], &[0, 0], &[0; 4], &[2], &ID, &[3]].concat();
    for code in codes {
        body.extend([&[0; 4][..], &code.to_be_bytes(), &[1; 24], &[1], &[0; 4]].concat());
        let length = records as u32 + 1;
        body.extend([length as u8 | 0x80, (length >> 7) as u8]);
        body.extend(SECRET.bytes().cycle().take(records));
        // One tagged field.
        body.extend([&[1, 0, 7][..], SECRET.as_bytes()].concat());
    }
    answer(id, &[body, vec![0, 0]].concat())
}

fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let versions = [&[0][..], &short(SECRET), &short(SECRET), &[0]].concat();
    let metadata = [&[0, 2][..], &[0; 16], &short("orders"), &[0, 0, 0, 0]].concat();
    let broker = [&[0, 0, 0, 1][..], &short(SECRET), &[0, 0, 1, 1], &short(SECRET), &[0]].concat();
    let partition = [&[0, 0][..], &[0; 12], &[2, 0, 0, 0, 1], &[1], &[1], &[0]].concat();
    let topic = [&[0, 0][..], &short("orders"), &ID, &[0], &[2], &partition, &[0; 4], &[0]].concat();
    let known = [&[0][..], &[0; 4], &[2], &broker, &short(SECRET), &[0; 4], &[2], &topic, &[0]].concat();
    let config = [&[0, 0, 0, 1, 2][..], &text("orders"), &[0xff; 4], &[0]].concat();
    let value = [&text(SECRET)[..], &text(SECRET), &[0, 1, 0], &[0; 4]].concat();
    let configured =
        [&[0; 4][..], &[0, 0, 0, 1, 0, 0], &text(SECRET), &[2], &text(SECRET), &[0, 0, 0, 1], &value];
    let join =
        [&text("billing")[..], &[0; 8], &text(SECRET), &text(SECRET), &[0, 0, 0, 1], &text(SECRET)].concat();
    let join = [&join[..], &[0, 0, 0, 7], SECRET.as_bytes()].concat();
    let joined =
        [&[0; 4][..], &[0, 25], &[0; 4], &text(SECRET), &text(SECRET), &text(SECRET), &[0; 4]].concat();
    vec![
        (Requests, request(18, 3, 1, "shop", &versions)),
        (Responses, answer(1, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2])),
        (Requests, request(3, 12, 2, "shop", &metadata)),
        (Responses, answer(2, &known)),
        (Requests, [fetch(3, ID), fetch(4, [9; 16])].concat()),
        (Responses, [fetched(3, [0, 0], 200), fetched(4, [3, 0], 200)].concat()),
        (
            Requests,
            [produce(3, 5, -1, "orders"), produce(3, 6, 0, "orders"), produce(3, 7, 1, "a b")].concat(),
        ),
        (Responses, produced(5, "orders", &[-1, -1])),
        (Responses, produced(7, "orders", &[0])),
        (Requests, request(11, 3, 8, SECRET_CLIENT, &join)),
        (Responses, answer(8, &joined)),
        (Requests, request(32, 1, 9, "shop", &config)),
        (Responses, answer(9, &configured.concat())),
        (Requests, request(36, 0, 10, "shop", &[&[0, 0, 0, 7], SECRET.as_bytes()].concat())),
        (Responses, answer(10, &[&[0, 58][..], &text(SECRET), &[0, 0, 0, 7], SECRET.as_bytes()].concat())),
        (Requests, request(17, 0, 11, "shop", &text(SECRET))),
        (Responses, answer(11, &[0, 0, 0, 0, 0, 1, 0, 7, b'h', b'u', b'n', b't', b'e', b'r', b'2'])),
        (Requests, framed(SECRET.as_bytes())),
        (Responses, framed(SECRET.as_bytes())),
        (Requests, framed(b"")),
        (Responses, framed(b"")),
        (Requests, request(3, 1, 12, "shop", &[0xff; 4])),
        (
            Responses,
            answer(12, &[&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 3][..], &text("gone"), &[0; 5]].concat()),
        ),
        // Newer than all we know.
        (Requests, request(12, 30, 13, "shop", SECRET.as_bytes())),
        (Responses, answer(13, SECRET.as_bytes())),
    ]
}

/// Not plain, as far as it is no name of an application.
const SECRET_CLIENT: &str = "hunter2 {}";

type Row<'a> = (Option<&'a str>, Option<&'a str>, Option<u16>, Option<&'a str>, bool, bool);

fn rows(reader: &Reader) -> Vec<Row<'_>> {
    let row = |e: &'_ testing::Exchange| (e.status.code, e.status.text, e.status.failed, e.one_way);
    let named = reader
        .exchanges()
        .iter()
        .map(|e| (e.operation.name.as_deref(), e.operation.target.as_deref(), row(e)));
    named
        .map(|(name, target, (code, text, failed, one_way))| (name, target, code, text, failed, one_way))
        .collect()
}

#[test]
fn requests_and_answers_make_exchanges() {
    let reader = testing::read(&Kafka, &conversation(), &[]);
    let (none, orders) = (None, Some("orders"));
    let expected: [Row<'_>; 13] = [
        (Some("ApiVersions"), none, Some(35), Some("UNSUPPORTED_VERSION"), true, false),
        (Some("Metadata"), orders, Some(0), Some("NONE"), false, false),
        (Some("Fetch"), orders, Some(0), Some("NONE"), false, false),
        (Some("Fetch"), none, None, None, false, false),
        (Some("Produce"), orders, None, Some("UNKNOWN_SERVER_ERROR"), true, false),
        (Some("Produce"), orders, None, None, false, true),
        (Some("Produce"), none, Some(0), Some("NONE"), false, false),
        (Some("JoinGroup"), none, Some(25), Some("UNKNOWN_MEMBER_ID"), true, false),
        (Some("DescribeConfigs"), orders, Some(0), Some("NONE"), false, false),
        (Some("SaslAuthenticate"), none, Some(58), Some("SASL_AUTHENTICATION_FAILED"), true, false),
        (Some("SaslHandshake"), none, Some(0), Some("NONE"), false, false),
        (Some("Metadata"), none, Some(3), Some("UNKNOWN_TOPIC_OR_PARTITION"), true, false),
        (Some("Heartbeat"), none, None, None, false, false),
    ];
    assert_eq!(rows(&reader), expected);
    assert!(reader.exchanges().iter().all(|e| e.one_way || e.end == Some(e.start + 1) || e.key == Some(7)));
    let attribute =
        |exchange: usize, key| reader.exchanges()[exchange].operation.text(key).map(|text| &**text);
    assert_eq!(attribute(7, "messaging.consumer.group.name"), Some("billing"));
    assert_eq!(attribute(4, "messaging.destination.name"), Some("orders"));
    assert_eq!(
        (attribute(4, "messaging.client.id"), attribute(7, "messaging.client.id")),
        (Some("shop"), None)
    );
    assert_eq!(reader.lost_bytes, 0);
}

#[test]
fn any_cut_gives_the_same_and_keeps_no_secret() {
    let conversation = conversation();
    testing::check_any_cut(&Kafka, &conversation);
    testing::check_stored(&Kafka, &conversation);
    for cuts in [&[][..], &[1], &[9], &[64, 3], &[1000]] {
        for (_, kept) in testing::read(&Kafka, &conversation, cuts).kept() {
            let kept = String::from_utf8_lossy(&kept);
            for part in ["hunt", "unter2", "nter"] {
                assert!(!kept.contains(part), "{cuts:?}: {kept}");
            }
        }
    }
}

#[test]
fn what_is_cut_off_is_not_guessed() {
    let mut reader = Reader::new(&Kafka, None);
    let mut send = |direction, frame: &[u8], known: usize| {
        reader.call(direction, &frame[..known], 0);
        reader.gap(direction, (frame.len() - known) as u64, 0);
    };
    send(Requests, &produce(3, 1, 1, "orders"), 50);
    // Nobody knows whether this one wants an answer, until another one has got one.
    send(Requests, &produce(3, 2, 0, "orders"), 16);
    send(Requests, &produce(3, 3, 1, "orders"), 30);
    send(Responses, &produced(1, "orders", &[0, 0]), 34);
    send(Responses, &produced(3, "orders", &[0, 0]), 12);
    let expected: [Row<'_>; 3] = [
        (Some("Produce"), Some("orders"), None, None, false, false),
        (Some("Produce"), None, None, None, false, true),
        (Some("Produce"), None, None, None, false, false),
    ];
    assert_eq!(rows(&reader), expected);
    assert!(reader.exchanges().iter().all(|e| e.one_way || e.end.is_some()));
}

#[test]
fn goes_on_after_a_loss() {
    let mut reader = Reader::new(&Kafka, None);
    reader.call(Requests, &produce(3, 1, 1, "orders")[..40], 0);
    reader.gap(Requests, 5000, 1);
    reader.call(Requests, &[SECRET.as_bytes(), &produce(3, 2, 1, "orders")].concat(), 2);
    reader.call(Requests, &produce(3, 3, 1, "orders"), 3);
    // An answer of which the length comes by itself, after others were lost.
    reader.call(Responses, &[0, 0, 0], 4);
    reader.gap(Responses, 100, 5);
    let last = produced(3, "orders", &[6]);
    reader.call(Responses, &last[..4], 6);
    reader.call(Responses, &last[4..], 7);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| (e.start, e.end, e.status.code)).collect();
    assert_eq!(ends, [(0, None, None), (3, Some(7), Some(6))]);
    // In the middle of a connection an answer is nobody's.
    let mut reader = Reader::new(&Kafka, Some([70, 900]));
    reader.call(Responses, &last, 0);
    reader.call(Requests, &produce(3, 3, 1, "orders"), 1);
    reader.call(Responses, &last, 2);
    assert_eq!(reader.exchanges().iter().map(|e| e.end).collect::<Vec<_>>(), [Some(2)]);
}

#[test]
fn is_recognised_by_requests_alone() {
    for (direction, bytes) in conversation() {
        let is_request = direction == Requests && bytes.len() > 11 && bytes[7] != 30;
        for fresh in [false, true] {
            let verdict = if is_request { Verdict::Surely } else { Kafka.recognise(Requests, &bytes, false) };
            assert!(Kafka.recognise(Requests, &bytes, fresh) >= verdict, "{bytes:?}");
            assert_eq!(Kafka.recognise(Responses, &bytes, fresh), Verdict::No);
            let of_others = PROTOCOLS.iter().filter(|other| other.name() != "kafka" && is_request);
            for other in of_others {
                assert!(other.recognise(direction, &bytes, fresh) < Verdict::Surely, "{}", other.name());
            }
        }
    }
    let request = produce(3, 1, 1, "orders");
    for (bytes, fresh, verdict) in [
        (&request[..64], false, Verdict::Surely),
        (&request[..20], true, Verdict::Maybe),
        (&request[..20], false, Verdict::No),
        (&request[..4], true, Verdict::Maybe),
        (&request[..4], false, Verdict::No),
        // The length was read before.
        (&request[4..], false, Verdict::Surely),
        (&request[4..64], false, Verdict::Surely),
    ] {
        assert_eq!(Kafka.recognise(Requests, bytes, fresh), verdict, "{bytes:?}");
    }
}

#[test]
fn other_protocols_are_not_it() {
    let others: [&[u8]; 12] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x01\0\0",
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x01\0\0",
        b"\0\0\0\x4c\0\x03\0\0user\0postgres\0database\0postgres\0\0",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\0\x1d\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01",
        b"\0\0\0\x24\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\0",
        b"\x01\0\0\0\0\0\x08\0\x0a\0\x0b\0\0\0\0\xce",
        b"\x3a\0\0\0\x07\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0",
        &[0; 64],
        &[0xff; 64],
    ];
    for bytes in others {
        for fresh in [false, true] {
            for direction in [Requests, Responses] {
                assert_eq!(Kafka.recognise(direction, bytes, fresh), Verdict::No, "{bytes:?}");
            }
        }
    }
}

#[test]
fn a_connection_does_not_begin_with_a_request_that_nobody_knows() {
    // Another protocol's frame, whose first four bytes came alone.
    let other = framed(&[&[0x0f, 0xff, 0, 0, 0, 0, 0, 1, 0, 3, 2, 1, 1][..], &[0; 30]].concat());
    let mut reader = Reader::new(&Kafka, None);
    reader.call(Requests, &other[..4], 0);
    reader.call(Requests, &other[4..], 1);
    assert!(reader.exchanges().is_empty());
    // Behind one that is known it is of a later version.
    let mut reader = Reader::new(&Kafka, None);
    reader.call(Requests, &request(18, 0, 1, "me", &[]), 0);
    reader.call(Requests, &other, 1);
    assert_eq!(reader.exchanges().len(), 2);
}

#[test]
fn codes_together_make_one_status() {
    let of = |codes: &[i16]| {
        let conversation =
            [(Requests, produce(3, 1, 1, "orders")), (Responses, produced(1, "orders", codes))];
        testing::read(&Kafka, &conversation, &[]).exchanges()[0].status
    };
    let failed = Status { failed: true, ..Status::default() };
    assert_eq!(of(&[6, 6]), Status { code: Some(6), text: Some("NOT_LEADER_OR_FOLLOWER"), failed: true });
    assert_eq!((of(&[6, 7]), of(&[6, 0]), of(&[])), (failed, Status::default(), Status::default()));
}
