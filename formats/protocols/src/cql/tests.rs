use super::*;
use crate::parts::Direction::{Requests, Responses};
use crate::testing::{self, Exchange, Reader};

fn envelope(version: u8, flags: u8, stream: u16, opcode: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = (body.len() as u32).to_be_bytes();
    [&[version, flags], &stream.to_be_bytes()[..], &[opcode], &length, &body].concat()
}

fn long(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

fn query(stream: u16, statement: &str) -> Vec<u8> {
    envelope(4, 0, stream, codes::QUERY, &[&long(statement), b"\0\x01\x01\0\x01\0\0\0\x06canary"])
}

const ID: [u8; 16] = *b"0198*56789abcdef";

fn execute(stream: u16) -> Vec<u8> {
    envelope(4, 0, stream, codes::EXECUTE, &[&string(&ID), b"\0\x06\x01\0\x01\0\0\0\x06canary"])
}

fn result(stream: u16, kind: u8, rest: &[u8]) -> Vec<u8> {
    envelope(0x84, 0, stream, codes::RESULT, &[&[0, 0, 0, kind], rest])
}

fn rows(stream: u16) -> Vec<u8> {
    result(stream, 2, b"\0\0\0\x01\0\0\0\x01\0\x06canary\0\0\0\x01\0\0\0\x06canary")
}

fn error(stream: u16, code: u32) -> Vec<u8> {
    envelope(0x84, 0, stream, codes::ERROR, &[&code.to_be_bytes(), &string(b"no canary")])
}

fn segment(alone: bool, content: &[u8]) -> Vec<u8> {
    let header = (content.len() as u32 | u32::from(alone) << 17).to_le_bytes();
    let checksum = segment::crc24(&header[..3]).to_le_bytes();
    [&header[..3], &checksum[..3], content, b"cana"].concat()
}

fn of<'a>(reader: &'a Reader, title: &str) -> &'a Exchange {
    let named = |exchange: &&Exchange| exchange.operation.title.as_deref() == Some(title);
    reader.exchanges().iter().find(named).unwrap_or_else(|| panic!("{title}"))
}

/// Everything that a connection of version 4 may have.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let options =
        [b"\0\x02", &string(b"CQL_VERSION")[..], &string(b"3.4.5"), &string(b"DRIVER"), &string(b"canary")];
    let event =
        envelope(0x84, 0, 0xffff, codes::EVENT, &[&string(b"STATUS_CHANGE"), b"\0\x02UP\x04\x7f\0\0\x01"]);
    let insert = "INSERT INTO k.t (a, b) VALUES (?, 'canary')";
    let batch = [
        &[0, 0, 2, 0][..],
        &long("UPDATE k.u SET a = 'canary'"),
        &[0, 1, 0, 0, 0, 6],
        b"canary\x01",
        &string(&ID),
        &[0, 0, 0, 1, 0],
    ];
    let payload =
        [&b"\0\x01"[..], &string(b"canary"), &long("canary"), &long("SELECT a FROM p"), b"\0\x01\0"].concat();
    let warned = [&[9; 16], &b"\0\x01"[..], &string(b"canary"), b"\0\0\x22\0", &string(b"canary")].concat();
    vec![
        (Requests, envelope(4, 0, 0, codes::OPTIONS, &[])),
        (Responses, envelope(0x84, 0, 0, codes::SUPPORTED, &[b"\0\0"])),
        (Requests, envelope(4, 0, 1, codes::STARTUP, &options)),
        (Responses, envelope(0x84, 0, 1, codes::AUTHENTICATE, &[&string(b"org.canary")])),
        (Requests, envelope(4, 0, 1, codes::AUTH_RESPONSE, &[&long("\0canary\0canary")])),
        (Responses, envelope(0x84, 0, 1, codes::AUTH_SUCCESS, &[b"\xff\xff\xff\xff"])),
        (Requests, envelope(4, 0, 2, codes::REGISTER, &[b"\0\x01", &string(b"STATUS_CHANGE")])),
        (Responses, envelope(0x84, 0, 2, codes::READY, &[])),
        (Requests, query(3, "USE k")),
        (Responses, [event, result(3, 3, &string(b"k"))].concat()),
        (Requests, envelope(4, 0, 4, codes::PREPARE, &[&long(insert)])),
        (Responses, result(4, 4, &[&string(&ID), &b"\0\0\0\x01\0\0\0\0"[..]].concat())),
        (Requests, [execute(5), query(6, "SELECT * FROM k.v WHERE a = 12345"), execute(7)].concat()),
        (Responses, [rows(6), error(7, 0x1100)].concat()),
        (Responses, result(5, 1, b"")),
        (Requests, envelope(4, 0, 5, codes::BATCH, &batch)),
        (Responses, error(5, 0x4321)),
        (Requests, envelope(4, 4, 5, codes::QUERY, &[&payload])),
        (Responses, envelope(0x84, 2 | 8, 5, codes::ERROR, &[&warned])),
        (Requests, envelope(4, 1, 5, codes::QUERY, &[b"\0\0\0\x20canary"])),
        (Responses, envelope(0x84, 1, 5, codes::ERROR, &[b"\0\0\0\x20canary"])),
    ]
}

#[test]
fn a_span_each_and_what_it_says() {
    let reader = testing::read(&Cassandra, &conversation(), &[]);
    let status =
        |e: &Exchange| (e.status.code, e.status.text.unwrap_or(""), e.status.failed, e.end.is_some());
    let told: Vec<_> =
        reader.exchanges().iter().map(|e| (e.operation.title.as_deref().unwrap_or("-"), status(e))).collect();
    let fine = (None, "", false, true);
    let expected = [
        ("OPTIONS", fine),
        ("STARTUP", fine),
        ("AUTH_RESPONSE", fine),
        ("REGISTER", fine),
        ("USE", fine),
        ("PREPARE k.t", fine),
        ("INSERT k.t", fine),
        ("SELECT k.v", fine),
        ("INSERT k.t", (Some(0x1100), "WRITE_TIMEOUT", true, true)),
        ("BATCH k.u", (Some(0x4321), "", true, true)),
        ("SELECT p", (Some(0x2200), "INVALID", true, true)),
        ("QUERY", (None, "", true, true)),
    ];
    assert_eq!(told, expected);
    let insert = &of(&reader, "INSERT k.t").operation;
    let texts = ["db.query.text", "db.namespace"].map(|key| insert.text(key).map(|text| &**text));
    assert_eq!(texts, [Some("INSERT INTO k.t (a, b) VALUES (?)"), Some("k")]);
    assert!(
        of(&reader, "BATCH k.u")
            .operation
            .attributes
            .contains(&("db.operation.batch.size", crate::Value::Int(2)))
    );
    assert_eq!(reader.lost_bytes, 0);
}

fn no_secret_is_kept(conversation: &testing::Conversation) {
    for cuts in [&[][..], &[1], &[7, 64]] {
        for (_, kept) in testing::read(&Cassandra, conversation, cuts).kept() {
            let secret = |bytes: &[u8]| [&b"can"[..], b"ary", b"123"].contains(&bytes);
            assert!(!kept.windows(3).any(secret), "{kept:?}");
        }
    }
}

#[test]
fn any_cut_gives_the_same_exchanges_and_no_secret_is_kept() {
    testing::check_any_cut(&Cassandra, &conversation());
    no_secret_is_kept(&conversation());
}

/// Version 5: messages in segments, of which one has two messages, and one message three segments.
fn in_segments() -> Vec<(Direction, Vec<u8>)> {
    let five = |version, stream: u16, opcode, body: &[&[u8]]| envelope(version, 0, stream, opcode, body);
    let query = |stream, statement| five(5, stream, codes::QUERY, &[&long(statement), b"\0\x01\0\0\0\0"]);
    let prepared = [&[0, 0, 0, 4][..], &string(&ID), &string(&ID), b"\0\0\0\0"].concat();
    let answer = five(0x85, 3, codes::RESULT, &[&[0, 0, 0, 2], &[0; 8], b"canary".repeat(50).as_slice()]);
    let parts =
        [segment(false, &answer[..100]), segment(false, &answer[100..200]), segment(false, &answer[200..])];
    let done = |stream| five(0x85, stream, codes::RESULT, &[&[0, 0, 0, 1]]);
    vec![
        (Requests, five(5, 0, codes::STARTUP, &[b"\0\x01", &string(b"CQL_VERSION"), &string(b"3.0.0")])),
        (Responses, five(0x85, 0, codes::READY, &[])),
        (
            Requests,
            segment(true, &five(5, 1, codes::PREPARE, &[&long("SELECT a FROM t WHERE b = ?"), &[0; 4]])),
        ),
        (Responses, segment(true, &five(0x85, 1, codes::RESULT, &[&prepared]))),
        (
            Requests,
            segment(
                true,
                &[
                    query(2, "UPDATE u SET a = 'canary'"),
                    five(
                        5,
                        3,
                        codes::EXECUTE,
                        &[&string(&ID), &string(&ID), b"\0\x01\0\0\0\x01\0\x01\0\0\0\x06canary"],
                    ),
                ]
                .concat(),
            ),
        ),
        (Responses, parts.concat()),
        (Responses, segment(true, &done(2))),
        (
            Requests,
            [segment(true, &[]), segment(true, &query(3, "DELETE FROM d WHERE a = 'canary'"))].concat(),
        ),
        (Responses, segment(true, &done(3))),
    ]
}

#[test]
fn messages_in_segments_are_read() {
    let conversation = in_segments();
    testing::check_any_cut(&Cassandra, &conversation);
    no_secret_is_kept(&conversation);
    let reader = testing::read(&Cassandra, &conversation, &[]);
    let told: Vec<_> =
        reader.exchanges().iter().map(|e| (e.operation.title.as_deref().unwrap_or("-"), e.end)).collect();
    let expected = [
        ("STARTUP", Some(1)),
        ("PREPARE t", Some(3)),
        ("UPDATE u", Some(6)),
        ("SELECT t", Some(5)),
        ("DELETE d", Some(8)),
    ];
    assert_eq!(told, expected);
    assert_eq!(reader.lost_bytes, 0);
    for (direction, bytes) in &conversation[2..] {
        if bytes[..3] != [0, 0, 2] {
            assert_eq!(Cassandra.recognise(*direction, bytes, false), Verdict::Surely, "{bytes:?}");
        }
    }
    // The checksum of a header as another implementation has it.
    assert_eq!(
        segment::Segment::of(&[0x0c, 0, 2, 0xd7, 0x67, 0x9f]),
        segment::Segment::of(&segment(true, &[0; 12]))
    );
}

#[test]
fn compressed_segments_are_not_read() {
    let options =
        [b"\0\x02", &string(b"CQL_VERSION")[..], &string(b"3.0.0"), &string(b"COMPRESSION"), &string(b"lz4")];
    let conversation = [
        (Requests, envelope(5, 0, 0, codes::STARTUP, &options)),
        (Responses, envelope(0x85, 0, 0, codes::READY, &[])),
        (Requests, query(1, "SELECT a FROM t")),
        (Responses, rows(1)),
    ];
    testing::check_any_cut(&Cassandra, &conversation);
    let reader = testing::read(&Cassandra, &conversation, &[]);
    assert_eq!((reader.exchanges().len(), reader.lost_bytes), (1, 0));
}

#[test]
fn lost_answers_are_not_made_up() {
    let mut reader = Reader::new(&Cassandra, Some([7, 7]));
    reader.call(Responses, &rows(3), 0);
    reader.call(Requests, &query(3, "SELECT a FROM b"), 1);
    reader.gap(Responses, 30, 2);
    reader.call(Requests, &query(3, "SELECT a FROM c"), 3);
    reader.call(Responses, &rows(3), 4);
    reader.call(Requests, &[query(3, "SELECT a FROM d"), query(4, "SELECT a FROM e")].concat(), 5);
    reader.gap(Responses, 30, 6);
    reader.gap(Requests, 40, 7);
    reader.call(Responses, &rows(3), 8);
    reader.call(Requests, &query(5, "SELECT a FROM f"), 9);
    reader.call(Responses, &[rows(5), rows(4)].concat(), 10);
    let ends: Vec<_> = reader.exchanges().iter().map(|e| e.end).collect();
    assert_eq!(ends, [None, Some(4), None, None, Some(10)]);
}

#[test]
fn messages_are_recognised_anywhere_and_nothing_else_is() {
    for (direction, bytes) in conversation() {
        let other = if direction == Requests { Responses } else { Requests };
        assert_eq!(Cassandra.recognise(other, &bytes, false), Verdict::No, "{bytes:?}");
    }
    let surely = [
        (Requests, query(9, "select a from b")),
        (Requests, query(9, "select a from b")[..24].to_vec()),
        (Requests, execute(9)),
        (Requests, [execute(9), execute(10)].concat()),
        (Requests, envelope(4, 0, 0, codes::OPTIONS, &[])),
        (Responses, rows(1)),
        (Responses, rows(1)[..30].to_vec()),
        (Responses, error(1, 0x2500)),
    ];
    for (direction, bytes) in &surely {
        assert_eq!(Cassandra.recognise(*direction, bytes, false), Verdict::Surely, "{bytes:?}");
    }
    assert_eq!(Cassandra.recognise(Requests, b"\x04\0\0", true), Verdict::Maybe);
    let postgresql = b"Q\0\0\0\x0dSELECT 1\0".to_vec();
    let kafka = b"\0\0\0\x14\0\x03\0\0\0\0\0\x01\0\x04test\0\0\0\0".to_vec();
    let mysql = b"\x04\0\0\0\x07\0\0\0\0".to_vec();
    for bytes in [postgresql, kafka, mysql, b"\x04".to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        for direction in [Requests, Responses] {
            assert_ne!(Cassandra.recognise(direction, &bytes, true), Verdict::Surely, "{bytes:?}");
        }
    }
}

#[test]
fn what_was_kept_is_recognised_as_well() {
    for conversation in [conversation(), in_segments()] {
        let reader = testing::read(&Cassandra, &conversation, &[]);
        for ((direction, bytes), (_, kept)) in conversation.into_iter().zip(reader.kept()) {
            let recognise = |bytes: &[u8]| Cassandra.recognise(direction, bytes, true);
            assert_eq!(recognise(&bytes), recognise(&kept), "{bytes:?}");
        }
    }
}
