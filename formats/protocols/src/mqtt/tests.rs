//! Conversations of bytes built here.

use super::*;
use crate::testing::{self, Reader};
use crate::{PROTOCOLS, Status};
use Direction::{Requests, Responses};

/// What must never be kept.
const SECRET: &str = "hunter2";

fn packet(first: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = content.len();
    let length =
        if length < 128 { vec![length as u8] } else { vec![length as u8 | 0x80, (length >> 7) as u8] };
    [&[first][..], &length, &content].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn id(id: u16) -> [u8; 2] {
    id.to_be_bytes()
}

fn connect(level: u8) -> Vec<u8> {
    let name = text(if level == 3 { "MQIsdp" } else { "MQTT" });
    let properties = [&[0x15][..], &text(SECRET)].concat();
    let properties =
        if level == 5 { [&[properties.len() as u8][..], &properties].concat() } else { Vec::new() };
    let login = [SECRET; 5].map(text).concat();
    packet(0x10, &[&name, &[level, 0xf6, 0, 60], &properties, &login])
}

/// A message of version 5 with properties, of which one stands for the topic.
fn aliased(first: u8, topic: &str, number: &[u8], alias: u8) -> Vec<u8> {
    let user = [&[0x26][..], &text(SECRET), &text(SECRET)].concat();
    let before = [&[0x01, 1, 0x08][..], &text(SECRET)].concat();
    let all = [&before[..], &[0x23, 0, alias], &user].concat();
    packet(first, &[&text(topic), number, &[all.len() as u8], &all, SECRET.as_bytes()])
}

/// Version 3.1.1.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let message = |first, topic: &str, number: &[u8]| {
        packet(first, &[&text(topic), number, SECRET.repeat(60).as_bytes()])
    };
    vec![
        (Requests, connect(4)),
        (Responses, packet(0x20, &[&[0, 0]])),
        (Requests, packet(0x82, &[&id(1), &text("a/+/b"), &[1], &text(SECRET_TOPIC), &[0]])),
        (Responses, packet(0x90, &[&id(1), &[1, 0x80]])),
        (
            Requests,
            [message(0x30, "a/0", b""), message(0x32, "a/1", &id(2)), message(0x34, "a/2", &id(3))].concat(),
        ),
        (Responses, [packet(0x50, &[&id(3)]), packet(0x40, &[&id(2)])].concat()),
        (Requests, [packet(0x62, &[&id(3)]), packet(0xc0, &[])].concat()),
        (Responses, [message(0x32, "a/x/b", &id(1)), message(0x30, "a/y/b", b"")].concat()),
        (Responses, [message(0x34, "a/z/b", &id(2)), packet(0xd0, &[]), packet(0x70, &[&id(3)])].concat()),
        (Requests, [packet(0x50, &[&id(2)]), packet(0x40, &[&id(1)])].concat()),
        (Responses, packet(0x62, &[&id(2)])),
        (Requests, packet(0x70, &[&id(2)])),
        // Sent again while it waits.
        (Requests, [message(0x32, "a/1", &id(4)), message(0x3a, "a/1", &id(4))].concat()),
        (Responses, packet(0x40, &[&id(4)])),
        (Requests, packet(0xa2, &[&id(5), &text("a/+/b")])),
        (Responses, packet(0xb0, &[&id(5)])),
        (Requests, message(0x30, SECRET_TOPIC, b"")),
        (Requests, packet(0xe0, &[])),
    ]
}

/// Not plain.
const SECRET_TOPIC: &str = "hunter2 ";

fn of_version_5() -> Vec<(Direction, Vec<u8>)> {
    let why = [&[0x1f][..], &text(SECRET)].concat();
    let why = [&[why.len() as u8][..], &why].concat();
    vec![
        (Requests, connect(5)),
        (Responses, packet(0xf0, &[&[0x18], &why])),
        (Requests, packet(0xf0, &[&[0x18], &why])),
        (Responses, packet(0x20, &[&[0, 0], &why])),
        (Requests, packet(0x82, &[&id(1), &[2, 0x0b, 7], &text("a/#"), &[0x2c]])),
        (Responses, packet(0x90, &[&id(1), &why, &[2]])),
        (
            Requests,
            [aliased(0x32, "a/1", &id(2), 1), aliased(0x32, "", &id(3), 1), aliased(0x30, "", b"", 2)]
                .concat(),
        ),
        (Responses, [packet(0x40, &[&id(2), &[0x10]]), packet(0x40, &[&id(3), &[0x97], &why])].concat()),
        (Responses, [aliased(0x30, "b/1", b"", 1), aliased(0x34, "", &id(9), 1)].concat()),
        (Requests, packet(0x50, &[&id(9), &[0x80], &why])),
        (Requests, aliased(0x34, "a b", &id(4), 1)),
        (Responses, packet(0x50, &[&id(4), &[0x10]])),
        (Requests, packet(0x62, &[&id(4), &[0], &why])),
        (Responses, packet(0x70, &[&id(4), &[0]])),
        (Requests, packet(0xa2, &[&id(6), &why, &text("a/#"), &text("c")])),
        (Responses, packet(0xb0, &[&id(6), &why, &[0, 0x11]])),
        (Requests, packet(0xf0, &[&[0x19], &why])),
        (Responses, packet(0xf0, &[&[0x18], &why])),
        (Requests, packet(0xf0, &[&[0x18], &why])),
        (Responses, packet(0xf0, &[])),
        (Responses, packet(0xe0, &[&[0x8e], &why])),
    ]
}

fn rows(reader: &Reader) -> Vec<String> {
    let row = |e: &testing::Exchange| {
        let end = match (e.end, e.one_way) {
            (Some(end), false) => format!("answered {end}"),
            (None, true) => "one-way".to_owned(),
            (None, false) => "open".to_owned(),
            other => format!("{other:?}"),
        };
        let Status { code, text, failed } = e.status;
        let text = text.map_or(String::new(), |text| format!(" {} {text}", code.unwrap_or(999)));
        let (turned, failed) = (if e.turned { "server: " } else { "" }, if failed { " failed" } else { "" });
        let (name, target) = (e.operation.name.as_deref(), e.operation.target.as_deref());
        format!("{turned}{} {} {} {end}{text}{failed}", name.unwrap_or("-"), target.unwrap_or("-"), e.start)
    };
    reader.exchanges().iter().map(row).collect()
}

#[test]
fn packets_make_exchanges() {
    let reader = testing::read(&Mqtt, &conversation(), &[]);
    let expected = [
        "CONNECT - 0 answered 1 0 SUCCESS",
        "SUBSCRIBE a/+/b 2 answered 3 128 UNSPECIFIED_ERROR failed",
        "PUBLISH a/0 4 one-way",
        "PUBLISH a/1 4 answered 5",
        "PUBLISH a/2 4 answered 8",
        "PINGREQ - 6 answered 8",
        "server: PUBLISH a/x/b 7 answered 9",
        "server: PUBLISH a/y/b 7 one-way",
        "server: PUBLISH a/z/b 8 answered 11",
        "PUBLISH a/1 12 answered 13",
        "UNSUBSCRIBE a/+/b 14 answered 15",
        "PUBLISH - 16 one-way",
        "DISCONNECT - 17 one-way",
    ];
    assert_eq!(rows(&reader), expected);
    assert_eq!(reader.lost_bytes, 0);
}

#[test]
fn version_5_has_reasons_and_numbers_for_topics() {
    let reader = testing::read(&Mqtt, &of_version_5(), &[]);
    let expected = [
        "CONNECT - 0 answered 3 0 SUCCESS",
        "SUBSCRIBE a/# 4 answered 5 2 GRANTED_QOS_2",
        "PUBLISH a/1 6 answered 7 16 NO_MATCHING_SUBSCRIBERS",
        "PUBLISH a/1 6 answered 7 151 QUOTA_EXCEEDED failed",
        "PUBLISH - 6 one-way",
        "server: PUBLISH b/1 8 one-way",
        "server: PUBLISH b/1 8 answered 9 128 UNSPECIFIED_ERROR failed",
        "PUBLISH - 10 answered 13 16 NO_MATCHING_SUBSCRIBERS",
        "UNSUBSCRIBE a/# 14 answered 15",
        "AUTH - 16 answered 19 0 SUCCESS",
        "server: DISCONNECT - 20 one-way",
    ];
    assert_eq!(rows(&reader), expected);
    let why = |e: &testing::Exchange| e.operation.attributes.iter().any(|(key, _)| *key == "error.type");
    assert!(why(&reader.exchanges()[10]) && !why(&reader.exchanges()[0]));
    assert_eq!(reader.lost_bytes, 0);
}

#[test]
fn version_3_1_refuses_with_codes_of_its_own() {
    let conversation = [(Requests, connect(3)), (Responses, packet(0x20, &[&[0, 5]]))];
    assert_eq!(
        rows(&testing::read(&Mqtt, &conversation, &[])),
        ["CONNECT - 0 answered 1 5 NOT_AUTHORIZED failed"]
    );
}

#[test]
fn any_cut_gives_the_same_and_keeps_no_secret() {
    for conversation in [conversation(), of_version_5()] {
        testing::check_any_cut(&Mqtt, &conversation);
        testing::check_stored(&Mqtt, &conversation);
        for cuts in [&[][..], &[1], &[9], &[64, 3], &[1000]] {
            for (_, kept) in testing::read(&Mqtt, &conversation, cuts).kept() {
                let kept = String::from_utf8_lossy(&kept);
                for part in ["hunt", "unter2", "nter", "a b"] {
                    assert!(!kept.contains(part), "{cuts:?}: {kept}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_invented_after_a_loss() {
    let mut reader = Reader::new(&Mqtt, None);
    let message =
        |topic: &str, number: u16| packet(0x32, &[&text(topic), &id(number), &[0], SECRET.as_bytes()]);
    reader.call(Requests, &connect(5), 0);
    reader.call(Responses, &packet(0x20, &[&[0, 0, 0]]), 1);
    reader.call(Requests, &[aliased(0x30, "a", b"", 1), message("b", 1)].concat(), 2);
    reader.gap(Requests, 900, 3);
    reader.call(Requests, SECRET.as_bytes(), 4);
    // The number may have got another meaning.
    reader.call(Requests, &aliased(0x32, "c", &id(7), 2), 5);
    reader.call(Requests, &aliased(0x30, "", b"", 1), 6);
    reader.call(Responses, &packet(0x40, &[&id(1)]), 7);
    // Its answer may have been lost, and its number be that of another message that was lost.
    reader.gap(Responses, 4, 8);
    reader.gap(Requests, 900, 9);
    reader.call(Responses, &packet(0x40, &[&id(7)]), 10);
    reader.call(Requests, &message("d", 7), 11);
    reader.call(Responses, &packet(0x40, &[&id(7)]), 12);
    reader.call(Requests, &packet(0xc0, &[]), 13);
    let expected = [
        "CONNECT - 0 answered 1 0 SUCCESS",
        "PUBLISH a 2 one-way",
        "PUBLISH b 2 answered 7",
        "PUBLISH c 5 open",
        "PUBLISH - 6 one-way",
        "PUBLISH d 11 answered 12",
        "PINGREQ - 13 open",
    ];
    assert_eq!(rows(&reader), expected);
}

#[test]
fn a_subscription_tells_the_version_in_the_middle() {
    for (subscription, answer) in [
        (packet(0x82, &[&id(1), &text("a"), &[1], &text("b"), &[0]]), packet(0x90, &[&id(1), &[1, 0]])),
        (packet(0x82, &[&id(1), &[0], &text("a"), &[1]]), packet(0x90, &[&id(1), &[0], &[1]])),
    ] {
        let mut reader = Reader::new(&Mqtt, Some([500, 900]));
        reader.call(Requests, &subscription, 0);
        reader.call(Responses, &answer, 1);
        assert!(rows(&reader)[0].starts_with("SUBSCRIBE a 0 answered 1"), "{:?}", rows(&reader));
    }
}

#[test]
fn is_recognised_by_what_only_one_side_sends() {
    let verdict = |direction, bytes: &[u8], fresh| Mqtt.recognise(direction, bytes, fresh);
    let subscription = packet(0x82, &[&id(1), &text("a/+/b"), &[1]]);
    let message = packet(0x30, &[&text("a/b"), SECRET.as_bytes()]);
    for level in [3, 4, 5] {
        let connect = connect(level);
        assert_eq!(verdict(Requests, &connect, false), Verdict::Surely);
        assert_eq!(verdict(Requests, &connect[..20], false), Verdict::Surely);
        assert_eq!(verdict(Requests, &connect[..5], true), Verdict::Maybe);
        for other in PROTOCOLS.iter().filter(|other| other.name() != "mqtt") {
            for bytes in [&connect, &subscription, &message] {
                assert!(other.recognise(Requests, bytes, true) < Verdict::Surely, "{}", other.name());
            }
        }
    }
    assert_eq!(verdict(Requests, &subscription, false), Verdict::Surely);
    // Messages go both ways; the first one of all is a client's.
    assert_eq!([Requests, Responses].map(|way| verdict(way, &message, false)), [Verdict::No; 2]);
    assert_eq!([Requests, Responses].map(|way| verdict(way, &message, true)), [Verdict::Maybe, Verdict::No]);
    assert_eq!(verdict(Requests, &[&message[..], &packet(0xc0, &[])].concat(), false), Verdict::Surely);
    assert_eq!(verdict(Responses, &[packet(0xd0, &[]), message].concat(), false), Verdict::Surely);
    for nothing in
        [&packet(0xc0, &[])[..], &packet(0x40, &[&id(1)]), &packet(0xe0, &[]), &packet(0x20, &[&[0, 0]])]
    {
        assert_eq!(
            [Requests, Responses].map(|way| verdict(way, nothing, true)),
            [Verdict::No; 2],
            "{nothing:?}"
        );
    }
}

#[test]
fn other_protocols_are_not_it() {
    let others: [&[u8]; 11] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"0 1 2\r\n",
        b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
        b"\x30\x84\0\0\0\x10\x02\x01\x01\x60\x84\0\0\0\x07\x02\x01\x03\x04\0\x80\0",
        b"\x30\x29\x02\x01\0\x04\x06public\xa0\x1c",
        b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03",
        b"\x82\x05hello",
        b"\0\x1d\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01",
        &[0x30; 64],
        &[0; 64],
    ];
    for bytes in others {
        for direction in [Requests, Responses] {
            assert_eq!(Mqtt.recognise(direction, bytes, true), Verdict::No, "{bytes:?}");
        }
    }
}
