//! Conversations message by message, as drivers and servers have them.

use super::*;
use crate::Direction::{Requests, Responses};
use crate::testing::{self, Exchange as Seen, Reader};

mod secrets;

type Call = (Direction, Vec<u8>);

/// A value of a document.
#[derive(Clone, Debug)]
enum Is {
    Int(i32),
    Long(i64),
    Double(f64),
    Text(String),
    Bool(bool),
    Document(Vec<u8>),
    Array(Vec<u8>),
    Bytes(Vec<u8>),
    Expression(String, String),
    Nothing,
}

fn text(text: &str) -> Is {
    Is::Text(text.to_owned())
}

fn document(elements: &[(&str, Is)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, value) in elements {
        let string =
            |text: &str| [&(text.len() as i32 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat();
        let (kind, value) = match value {
            Is::Int(number) => (0x10, number.to_le_bytes().to_vec()),
            Is::Long(number) => (0x12, number.to_le_bytes().to_vec()),
            Is::Double(number) => (0x01, number.to_le_bytes().to_vec()),
            Is::Text(text) => (0x02, string(text)),
            Is::Bool(yes) => (0x08, vec![u8::from(*yes)]),
            Is::Document(bytes) => (0x03, bytes.clone()),
            Is::Array(bytes) => (0x04, bytes.clone()),
            Is::Bytes(bytes) => (0x05, [&(bytes.len() as i32).to_le_bytes()[..], &[0], bytes].concat()),
            Is::Expression(one, two) => (0x0b, [one.as_bytes(), &[0], two.as_bytes(), &[0]].concat()),
            Is::Nothing => (0x0a, Vec::new()),
        };
        bytes.push(kind);
        bytes.extend(name.bytes().chain([0]).chain(value));
    }
    bytes.push(0);
    let length = (bytes.len() as i32).to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    bytes
}

fn message(id: i32, answers: i32, opcode: i32, rest: &[u8]) -> Vec<u8> {
    let total = (16 + rest.len()) as i32;
    let header: Vec<u8> =
        [total, id, answers, opcode].iter().flat_map(|number| number.to_le_bytes()).collect();
    [&header[..], rest].concat()
}

/// Flags, and a body.
fn msg(id: i32, answers: i32, flags: u32, body: &[(&str, Is)], behind: &[u8]) -> Vec<u8> {
    message(id, answers, 2013, &[&flags.to_le_bytes()[..], &[0], &document(body), behind].concat())
}

fn asks(id: i32, body: &[(&str, Is)]) -> Call {
    (Requests, msg(id, 0, 0, body, &[]))
}

fn answers(id: i32, body: &[(&str, Is)]) -> Call {
    (Responses, msg(9000 + id, id, 0, body, &[]))
}

/// A section of documents.
fn sequence(name: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    let documents = documents.concat();
    let size = (4 + name.len() + 1 + documents.len()) as i32;
    [&[1][..], &size.to_le_bytes(), name.as_bytes(), &[0], &documents].concat()
}

fn query(id: i32, namespace: &str, body: &[u8]) -> Call {
    let rest =
        [&[4, 0, 0, 0][..], namespace.as_bytes(), &[0], &[0; 4], &(-1i32).to_le_bytes(), body].concat();
    (Requests, message(id, 0, 2004, &rest))
}

fn reply(id: i32, flags: u8, documents: &[Vec<u8>]) -> Call {
    let count = (documents.len() as i32).to_le_bytes();
    let rest = [&[flags, 0, 0, 0][..], &[0; 12], &count, &documents.concat()].concat();
    (Responses, message(9000 + id, id, 1, &rest))
}

const OK: (&str, Is) = ("ok", Is::Double(1.0));

fn everything() -> Vec<Call> {
    let hello = document(&[
        ("isMaster", Is::Int(1)),
        ("speculativeAuthenticate", Is::Document(document(&[("saslStart", Is::Int(1))]))),
    ]);
    let wrapped = document(&[
        ("$query", Is::Document(document(&[("count", text("o"))]))),
        ("$readPreference", Is::Nothing),
    ]);
    let row = || document(&[("_id", Is::Long(5)), ("ok", Is::Int(0)), ("name", text("x"))]);
    let cursor =
        document(&[("firstBatch", Is::Array(document(&[("0", Is::Document(row()))]))), ("id", Is::Long(77))]);
    let wrong = [
        ("ok", Is::Double(0.0)),
        ("errmsg", text("no")),
        ("code", Is::Int(59)),
        ("codeName", text("CommandNotFound")),
    ];
    let db = || ("$db", text("shop"));
    let legacy =
        |opcode, rest: &[u8]| (Requests, message(30, 0, opcode, &[&[0; 4][..], b"shop.o\0", rest].concat()));
    vec![
        query(1, "admin.$cmd", &hello),
        reply(1, 8, &[document(&[("ismaster", Is::Bool(true)), OK])]),
        asks(
            2,
            &[
                ("find", text("o")),
                ("filter", Is::Document(row())),
                ("r", Is::Expression("^a".into(), "i".into())),
                db(),
            ],
        ),
        answers(2, &[("cursor", Is::Document(cursor.clone())), OK, ("operationTime", Is::Long(1))]),
        asks(3, &[("getMore", Is::Long(77)), ("collection", text("o")), db()]),
        answers(
            3,
            &[
                ("ok", Is::Double(0.0)),
                ("errmsg", text("gone")),
                ("code", Is::Int(43)),
                ("codeName", text("CursorNotFound")),
            ],
        ),
        (
            Requests,
            msg(
                4,
                0,
                1,
                &[("insert", text("o")), db()],
                &[sequence("documents", &[row(), row()]), vec![1, 2, 3, 4]].concat(),
            ),
        ),
        answers(4, &[("n", Is::Int(2)), OK]),
        // Sections the other way round, and nobody answers.
        (
            Requests,
            message(
                5,
                0,
                2013,
                &[
                    &[2, 0, 0, 0][..],
                    &sequence("updates", &[row()]),
                    &[0],
                    &document(&[("update", text("o")), db()]),
                ]
                .concat(),
            ),
        ),
        // Answers in another order.
        asks(6, &[("aggregate", Is::Int(1)), ("pipeline", Is::Array(document(&[]))), db()]),
        asks(7, &[("noSuchThing", Is::Int(1)), db()]),
        answers(7, &wrong),
        answers(6, &[("cursor", Is::Document(cursor)), ("ok", Is::Int(1))]),
        query(8, "shop.$cmd", &wrapped),
        reply(8, 0, &[document(&[("n", Is::Int(3)), OK])]),
        query(9, "shop.o", &row()),
        reply(9, 0, &[row(), row()]),
        query(10, "shop.o", &document(&[])),
        reply(10, 2, &[document(&[("$err", text("no")), ("code", Is::Int(13))])]),
        legacy(2002, &row()),
        (Requests, message(11, 0, 2005, &[&[0; 4][..], b"shop.o\0", &[0; 12]].concat())),
        reply(11, 1, &[]),
        (
            Requests,
            message(
                12,
                0,
                2012,
                &[&2013i32.to_le_bytes()[..], &100i32.to_le_bytes(), &[1], b"compressed"].concat(),
            ),
        ),
        (
            Responses,
            message(
                9012,
                12,
                2012,
                &[&2013i32.to_le_bytes()[..], &100i32.to_le_bytes(), &[1], b"so is this"].concat(),
            ),
        ),
        // An answer that others follow.
        (Requests, msg(13, 0, 1 << 16, &[("hello", Is::Int(1)), ("$db", text("admin"))], &[])),
        (Responses, msg(500, 13, 2, &[("isWritablePrimary", Is::Bool(true)), OK], &[])),
        (Responses, msg(501, 500, 2, &[("isWritablePrimary", Is::Bool(true)), OK], &[])),
        (Responses, msg(502, 501, 0, &[("ok", Is::Double(0.0)), ("code", Is::Int(91))], &[])),
        asks(501, &[("createUser", text("somebody")), db()]),
        answers(501, &[OK]),
    ]
}

fn names(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.operation.title.as_deref().unwrap_or("?")).collect()
}

#[test]
fn every_message_has_its_answer_however_it_is_cut() {
    let calls = everything();
    testing::check_any_cut(&MongoDb, &calls);
    let reader = testing::read(&MongoDb, &calls, &[]);
    let seen = reader.exchanges();
    assert_eq!(reader.lost_bytes, 0);
    assert_eq!(
        names(seen),
        [
            "isMaster",
            "find o",
            "getMore o",
            "insert o",
            "update o",
            "aggregate",
            "?",
            "count o",
            "query o",
            "query o",
            "insert o",
            "getMore o",
            "?",
            "hello",
            "createUser"
        ]
    );
    let one_way: Vec<_> =
        seen.iter().enumerate().filter(|(_, seen)| seen.one_way).map(|(at, _)| at).collect();
    assert_eq!(one_way, [4, 10]);
    assert!(seen.iter().all(|seen| seen.one_way != seen.end.is_some()), "{seen:#?}");
    let failed: Vec<_> = seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| seen.status.failed)
        .map(|(at, seen)| (at, seen.status.code))
        .collect();
    assert_eq!(failed, [(2, Some(43)), (6, Some(59)), (9, None), (11, Some(43))]);
    // A command that nobody knows.
    assert_eq!(seen[6].operation.name, None);
    assert_eq!(seen[1].operation.text("db.namespace").map(|name| &**name), Some("shop"));
    assert_eq!(seen[1].operation.target.as_deref(), Some("o"));
    assert_eq!(seen[14].operation.target, None);
}

#[test]
fn the_status_behind_a_megabyte_of_documents_is_found() {
    let many = Is::Document(document(&[("firstBatch", Is::Bytes(vec![7; 1 << 20]))]));
    let calls = [
        asks(1, &[("find", text("o")), ("$db", text("shop"))]),
        answers(1, &[("cursor", many), ("ok", Is::Int(0)), ("code", Is::Int(11600))]),
    ];
    let reader = testing::read(&MongoDb, &calls, &[]);
    let status = reader.exchanges()[0].status;
    assert_eq!((status.code, status.text, status.failed), (Some(11600), Some("InterruptedAtShutdown"), true));
    // Where a part of it is missing, its end is known all the same, and so is the next message.
    let mut reader = Reader::new(&MongoDb, None);
    reader.call(Requests, &calls[0].1, 0);
    reader.call(Responses, &calls[1].1[..90], 1);
    reader.gap(Responses, calls[1].1.len() as u64 - 90, 2);
    reader.call(Requests, &asks(2, &[("ping", Is::Int(1))]).1, 3);
    reader.call(Responses, &answers(2, &[OK]).1, 4);
    let seen = reader.exchanges();
    assert_eq!(
        (seen[0].end, seen[0].status.failed, seen[1].end, reader.lost_bytes),
        (Some(2), false, Some(4), 0)
    );
}

#[test]
fn a_hole_of_unknown_content_shifts_nothing() {
    for missing in 0..everything().len() {
        let calls = everything();
        let mut reader = Reader::new(&MongoDb, None);
        for (at, (direction, bytes)) in calls.iter().enumerate() {
            match at == missing {
                true => reader.gap(*direction, bytes.len() as u64, at as i64),
                false => reader.call(*direction, bytes, at as i64),
            }
        }
        let whole = testing::read(&MongoDb, &calls, &[]);
        for seen in reader.exchanges() {
            let same = whole.exchanges().iter().find(|other| other.start == seen.start);
            let same = same.unwrap_or_else(|| panic!("{missing}: {seen:#?}"));
            assert_eq!(seen.operation, same.operation);
            assert!(seen.end.is_none() || seen.end == same.end, "{missing}: {seen:#?}");
        }
    }
}

#[test]
fn what_is_kept_of_a_message_is_recognised() {
    let answer = answers(1, &[("cursor", Is::Document(document(&[]))), ("ok", Is::Double(1.0))]);
    for (direction, bytes) in [answer, asks(1, &[("noSuchThing", text("x")), ("$db", text("shop"))])] {
        let reader = testing::read(&MongoDb, &[(direction, bytes)], &[]);
        let (_, kept) = &reader.kept()[0];
        assert_eq!(MongoDb.recognise(direction, kept, false), Verdict::Surely, "{kept:?}");
        // In a connection that is older than the recording.
        let mut reader = Reader::new(&MongoDb, Some([0, 0]));
        reader.call(direction, kept, 0);
        assert_eq!(reader.lost_bytes, 0);
    }
}

#[test]
fn headers_that_are_read_before_the_rest_begin_messages_of_older_connections() {
    let mut reader = Reader::new(&MongoDb, Some([0, 0]));
    let messages = [asks(7, &[("find", text("o"))]), answers(7, &[("ok", Is::Double(1.0))])];
    for (direction, bytes) in messages {
        reader.call(direction, &bytes[..16], 0);
        reader.call(direction, &bytes[16..], 1);
    }
    assert_eq!(reader.exchanges().iter().map(|e| e.end).collect::<Vec<_>>(), [Some(1)]);
    // Nobody waits for this one.
    let (direction, bytes) = answers(8, &[("ok", Is::Double(1.0))]);
    let mut reader = Reader::new(&MongoDb, Some([0, 0]));
    reader.call(direction, &bytes[..16], 0);
    assert_eq!(reader.lost_bytes, 16);
}

#[test]
fn only_what_can_be_nothing_else_is_recognised() {
    let both = |bytes: &[u8]| {
        [Requests, Responses].map(|direction| MongoDb.recognise(direction, bytes, false) == Verdict::Surely)
    };
    for (direction, bytes) in everything() {
        let empty = bytes[12] == 1 && bytes[32] == 0;
        let expected = [direction == Requests, direction == Responses && !empty];
        assert_eq!(both(&bytes), expected, "{bytes:?}");
        assert_eq!(both(&bytes[..16]), [false, false]);
        if bytes[12..14] == [0xdd, 7] && bytes[20] == 0 {
            assert_eq!(both(&bytes[..bytes.len().min(48)]), expected);
        }
    }
    let mut odd = asks(1, &[("find", text("o"))]).1;
    odd[18] = 2;
    let others: [&[u8]; 4] = [b"", b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", &odd];
    for other in others {
        assert_eq!(both(other), [false, false], "{other:?}");
    }
}
