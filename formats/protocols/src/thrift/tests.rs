mod split;
mod writer;

use Direction::{Requests, Responses};
use writer::{CANARY, Writer, compressed, exception, framed, message, theader, with};

use super::*;
use crate::testing::{self, Reader};
use crate::{PROTOCOLS, detect};

const CALL: u8 = 1;
const REPLY: u8 = 2;
const ONE_WAY: u8 = 4;

/// A conversation in one encoding, with and without frames: pipelined calls, of one service and of several,
/// that are answered in another order.
fn conversation(writer: Writer, carried: fn(Vec<u8>) -> Vec<u8>) -> Vec<(Direction, Vec<u8>)> {
    let asks = |kind, name, sequence| carried(message(writer, kind, name, sequence));
    let long = "long".repeat(40);
    let asked = [
        asks(CALL, "getUser", 1),
        asks(CALL, "Orders:put", 2),
        asks(ONE_WAY, "log", 3),
        asks(CALL, "getUser", 4),
        asks(CALL, "boom", 5),
        asks(CALL, "not plain", 6),
        asks(CALL, &long, 7),
    ];
    let answered = [
        asks(REPLY, "put", 2),
        asks(REPLY, "getUser", 4),
        asks(REPLY, "getUser", 1),
        carried(exception(writer, "boom", 5, Some(6))),
        asks(REPLY, "not plain", 6),
        asks(REPLY, "nobody asked", 8),
        carried(exception(writer, &long, 7, Some(77))),
    ];
    vec![
        (Requests, asked.concat()),
        (Responses, answered.concat()),
        (Requests, asks(CALL, "getUser", 1)),
        (Responses, carried(exception(writer, "getUser", 1, None))),
    ]
}

/// As they may be carried.
fn conversations() -> Vec<Vec<(Direction, Vec<u8>)>> {
    let mut all = Vec::new();
    for writer in [Writer::Strict, Writer::Old, Writer::Compact] {
        for carried in [framed, theader, (|bytes| bytes) as fn(Vec<u8>) -> Vec<u8>] {
            if writer != Writer::Old || carried(vec![0]) != theader(vec![0]) {
                all.push(conversation(writer, carried));
            }
        }
    }
    all
}

#[test]
fn any_cut_gives_the_same_exchanges_in_each_encoding() {
    for conversation in conversations() {
        testing::check_any_cut(&Thrift, &conversation);
        let reader = testing::read(&Thrift, &conversation, &[]);
        let found = reader.exchanges();
        let names: Vec<_> = found.iter().map(|e| e.operation.name.as_deref()).collect();
        let user = Some("getUser");
        assert_eq!(names, [user, Some("put"), Some("log"), user, Some("boom"), None, None, user]);
        assert_eq!(found[1].operation.title.as_deref(), Some("Orders:put"));
        assert_eq!(found[1].operation.target.as_deref(), Some("Orders"));
        let ended: Vec<_> = found.iter().map(|e| (e.end, e.one_way, e.status.code, e.status.text)).collect();
        let fine = (Some(1), false, None, None);
        assert_eq!(
            ended,
            [
                fine,
                fine,
                (None, true, None, None),
                fine,
                (Some(1), false, Some(6), Some("INTERNAL_ERROR")),
                fine,
                (Some(1), false, None, Some("EXCEPTION")),
                (Some(3), false, None, Some("EXCEPTION")),
            ]
        );
        assert!(found.iter().all(|e| e.status.failed == e.status.text.is_some()));
        assert_eq!(reader.lost_bytes, 0);
    }
}

#[test]
fn no_value_is_kept() {
    for conversation in conversations() {
        for cuts in [&[][..], &[1], &[7], &[64, 3]] {
            let reader = testing::read(&Thrift, &conversation, cuts);
            let kept: Vec<u8> = reader.kept().into_iter().flat_map(|(_, bytes)| bytes).collect();
            for part in
                [&CANARY.as_bytes()[..4], b"2!Ca", b"nary", b"not plain", b"longlong", b"\x12\x34\x56"]
            {
                assert!(!kept.windows(part.len()).any(|window| window == part), "{cuts:?} {part:?}");
            }
        }
    }
}

#[test]
fn truth_values_and_numbers_are_not_kept() {
    let kept = |truth: bool, number: i64| {
        let conversation = [(
            Requests,
            with(Writer::Compact, CALL, "get", 1, |fields| {
                fields.truth(1, truth);
                fields.number(2, number);
            }),
        )];
        testing::read(&Thrift, &conversation, &[]).kept()
    };
    assert_eq!(kept(true, 1000), kept(false, 1111));
}

#[test]
fn calls_with_one_number_are_answered_in_their_order_until_one_is_missed() {
    let asks = |name: &str| framed(message(Writer::Strict, CALL, name, 0));
    let answers = |name: &str| framed(message(Writer::Strict, REPLY, name, 0));
    let ends = |reader: &Reader| reader.exchanges().iter().map(|e| e.end).collect::<Vec<_>>();
    let mut reader = Reader::new(&Thrift, None);
    reader.call(Requests, &[asks("a"), asks("b"), asks("a")].concat(), 0);
    reader.call(Responses, &answers("a"), 1);
    reader.call(Responses, &answers("b"), 2);
    reader.call(Responses, &answers("a"), 3);
    assert_eq!(ends(&reader), [Some(1), Some(2), Some(3)]);
    // Two that are alike, and one answer is missed: whose it was nobody knows.
    reader.call(Requests, &[asks("a"), asks("a"), asks("b")].concat(), 4);
    reader.gap(Responses, 20, 5);
    reader.call(Responses, &[answers("a"), answers("b")].concat(), 6);
    assert_eq!(ends(&reader)[3..], [None, None, Some(6)]);
    // A client that waits: what was open before has been answered.
    let mut reader = Reader::new(&Thrift, None);
    reader.call(Requests, &asks("a"), 0);
    reader.gap(Responses, 20, 1);
    reader.call(Requests, &asks("a"), 2);
    reader.call(Responses, &answers("a"), 3);
    assert_eq!(ends(&reader), [None, Some(3)]);
}

#[test]
fn what_is_missing_of_a_message_costs_that_message_alone() {
    for carried in [framed, (|bytes| bytes) as fn(Vec<u8>) -> Vec<u8>] {
        let large = |sequence| {
            carried(with(Writer::Strict, CALL, "put", sequence, |fields| fields.text(1, &"x".repeat(3000))))
        };
        let mut reader = Reader::new(&Thrift, None);
        let bytes = large(1);
        reader.call(Requests, &bytes[..200], 0);
        reader.gap(Requests, bytes.len() as u64 - 300, 0);
        reader.call(Requests, &bytes[bytes.len() - 100..], 0);
        reader.call(Requests, &large(2), 1);
        reader.gap(Requests, 10, 2);
        reader.call(Requests, b"the end of something", 3);
        reader.call(Requests, &large(3), 4);
        let answers = [3, 2, 1].map(|sequence| carried(message(Writer::Strict, REPLY, "put", sequence)));
        reader.call(Responses, &answers.concat(), 5);
        let found: Vec<_> = reader.exchanges().iter().map(|e| (e.start, e.end)).collect();
        assert_eq!(found, [(0, Some(5)), (1, Some(5)), (4, Some(5))]);
    }
}

#[test]
fn compressed_messages_are_paired_by_the_number_of_their_header() {
    let conversation = [
        (Requests, [compressed(7), compressed(8)].concat()),
        (Responses, [compressed(8), compressed(7)].concat()),
    ];
    testing::check_any_cut(&Thrift, &conversation);
    let reader = testing::read(&Thrift, &conversation, &[]);
    assert!(reader.exchanges().iter().all(|e| e.end == Some(1) && e.operation.name.is_none()));
    assert_eq!(Thrift.recognise(Requests, &compressed(0), true), Verdict::Maybe);
    assert_eq!(Thrift.recognise(Requests, &compressed(0), false), Verdict::No);
}

#[test]
fn compressed_messages_of_one_number_have_no_answers_once_it_is_not_known_whose() {
    let mut reader = Reader::new(&Thrift, None);
    for now in [0, 2] {
        reader.call(Requests, &compressed(0), now);
        reader.call(Responses, &compressed(0), now + 1);
    }
    // The first of these may want no answer.
    reader.call(Requests, &compressed(0), 4);
    reader.call(Requests, &compressed(0), 5);
    reader.call(Responses, &compressed(0), 6);
    reader.call(Requests, &compressed(0), 7);
    reader.call(Responses, &compressed(0), 8);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [Some(1), Some(3), None, None, None]);
}

#[test]
fn deep_structs_are_not_followed_for_ever() {
    for (open, writer) in [(&[12, 0, 1][..], Writer::Strict), (&[0x1c], Writer::Compact)] {
        let mut bytes = message(writer, CALL, "deep", 1);
        let begin = with(writer, CALL, "deep", 1, |_| {}).len() - 1;
        bytes.truncate(begin);
        bytes.extend(open.repeat(100_000));
        let reader = testing::read(&Thrift, &[(Requests, bytes)], &[1000]);
        assert!(reader.exchanges().len() <= 1);
        assert!(reader.lost_bytes > 90_000);
    }
}

#[test]
fn only_messages_with_names_and_structs_are_recognised() {
    for conversation in conversations() {
        for (direction, bytes) in &conversation {
            let other = if *direction == Requests { Responses } else { Requests };
            assert_eq!(Thrift.recognise(*direction, bytes, false), Verdict::Surely);
            assert_eq!(Thrift.recognise(other, bytes, true), Verdict::No);
            let told = detect::surely(bytes, false).expect("thrift");
            assert_eq!((told.protocol.name(), told.direction), ("thrift", *direction));
        }
    }
    let strict = framed(message(Writer::Strict, CALL, "getUser", 1));
    assert_eq!(Thrift.recognise(Requests, &strict[..30], false), Verdict::Surely);
    for length in 4..22 {
        assert_eq!(Thrift.recognise(Requests, &strict[..length], true), Verdict::Maybe, "{length}");
        assert_eq!(Thrift.recognise(Requests, &strict[..length], false), Verdict::No, "{length}");
    }
    let mut wrong: Vec<Vec<u8>> =
        ["GET / HTTP/1.1\r\n\r\n", "*1\r\n$4\r\nPING\r\n", "\0\0\0\u{8}\u{4}\u{2}", ""]
            .map(|text| text.as_bytes().to_vec())
            .into();
    // Kafka, PostgreSQL, a frame that is too short, a name that is none, a type that there is not.
    wrong.push([&[0, 0, 0, 40, 0, 0, 0, 7, 0, 0, 0, 1, 0, 4][..], b"rdkafka"].concat());
    wrong.push([&[0, 0, 0, 40, 0, 3, 0, 0][..], b"user\0me\0"].concat());
    wrong.push([&[0, 0, 0, 9], &message(Writer::Strict, CALL, "getUser", 1)[..]].concat());
    wrong.push(framed(message(Writer::Strict, CALL, "get\nUser", 1)));
    wrong.push(framed(message(Writer::Strict, 5, "getUser", 1)));
    for bytes in wrong {
        for direction in [Requests, Responses] {
            let verdict = Thrift.recognise(direction, &bytes, true);
            assert_eq!(verdict, Verdict::No, "{bytes:?}");
        }
    }
    for other in PROTOCOLS.into_iter().filter(|other| other.name() != "thrift") {
        assert_eq!(other.recognise(Requests, &strict, false), Verdict::No, "{other:?}");
    }
}
