//! Conversations packet by packet, as clients and servers have them.

use super::packets::{LONGEST, capability};
use super::*;
use crate::Direction::{Requests, Responses};
use crate::testing::{self, Exchange as Seen, Reader};

mod secrets;

type Call = (Direction, Vec<u8>);

const BASE: u32 =
    capability::PROTOCOL_41 | capability::SECURE_CONNECTION | capability::CONNECT_WITH_DB | 0x2000;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

/// Packets numbered from there on.
fn packets(first: u8, payloads: &[&[u8]]) -> Vec<u8> {
    let numbered = payloads.iter().enumerate();
    numbered.flat_map(|(at, payload)| packet(first.wrapping_add(at as u8), payload)).collect()
}

fn asks(command: u8, rest: &[u8]) -> Call {
    (Requests, packet(0, &[&[command], rest].concat()))
}

fn answers(payloads: &[&[u8]]) -> Call {
    (Responses, packets(1, payloads))
}

fn greeting(capabilities: u32, version: &str) -> Vec<u8> {
    let bits = capabilities.to_le_bytes();
    let parts: [&[u8]; 9] = [
        &[10],
        version.as_bytes(),
        b"\0\x07\0\0\0challeng\0",
        &bits[..2],
        &[0x2d, 2, 0],
        &bits[2..],
        &[21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        b"emoreChalleng\0",
        b"mysql_native_password\0",
    ];
    packet(0, &parts.concat())
}

fn login_of(capabilities: u32, user: &str, proof: &[u8], database: &str) -> Vec<u8> {
    let mut payload = capabilities.to_le_bytes().to_vec();
    payload.extend([0, 0, 0, 1, 0x2d]);
    payload.extend([0; 23]);
    payload.extend(user.bytes().chain([0, proof.len() as u8]));
    payload.extend(proof);
    payload.extend(database.bytes().chain([0]));
    payload.extend(b"mysql_native_password\0");
    packet(1, &payload)
}

const OK: &[u8] = &[0, 1, 0, 2, 0, 0, 0];
const OK_MORE: &[u8] = &[0, 1, 0xfc, 0x34, 0x12, 10, 0, 0, 0];
const EOF: &[u8] = &[0xfe, 0, 0, 2, 0];
const EOF_MORE: &[u8] = &[0xfe, 0, 0, 10, 0];
const EOF_CURSOR: &[u8] = &[0xfe, 0, 0, 0x42, 0];
/// The end of rows where definitions have none.
const OK_EOF: &[u8] = &[0xfe, 0, 0, 2, 0, 0, 0];
const ERROR: &[u8] = b"\xff\x7a\x04#42S02Table 'shop.o' doesn't exist";
const COLUMN: &[u8] = b"\x03def\x04shop\x01o\x01o\x02id\x02id\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0";
const ROW: &[u8] = b"\x011\x05hello";

/// A connection up to the server's OK, on which this is agreed.
fn begin(capabilities: u32) -> Vec<Call> {
    vec![
        (Responses, greeting(capabilities, "8.0.36")),
        (Requests, login_of(capabilities, "someone", &[7; 20], "shop")),
        (Responses, packet(2, b"\xfecaching_sha2_password\0challengechallenge12\0")),
        (Requests, packet(3, &[9; 32])),
        (Responses, packets(4, &[&[1, 3], OK])),
    ]
}

/// Every kind of command and of answer. `eof`: definitions have an end of their own.
fn everything(eof: bool) -> Vec<Call> {
    let end = if eof { EOF } else { OK_EOF };
    let ends = |definitions: &[&[u8]]| -> Vec<u8> {
        let mut payloads = definitions.to_vec();
        payloads.extend(eof.then_some(EOF));
        payloads.iter().flat_map(|payload| [&[payload.len() as u8], *payload].concat()).collect()
    };
    // Answers as lists of payloads, each behind its length.
    let split = |parts: &[&[u8]]| -> Call {
        let bytes = parts.concat();
        let mut payloads: Vec<&[u8]> = Vec::new();
        let mut rest = &bytes[..];
        while let Some((&length, after)) = rest.split_first() {
            payloads.push(&after[..usize::from(length)]);
            rest = &after[usize::from(length)..];
        }
        answers(&payloads)
    };
    let one = |payload: &[u8]| [&[payload.len() as u8], payload].concat();
    let prepared = b"\0\x05\0\0\0\x01\0\x02\0\0\0\0";
    let mut calls = begin(if eof { BASE } else { BASE | capability::DEPRECATE_EOF });
    calls.extend([
        asks(0x03, b"select * from o where id = 17"),
        split(&[&one(&[2]), &ends(&[COLUMN, COLUMN]), &one(ROW), &one(ROW), &one(end)]),
        asks(0x03, b"select 1; select 2; select 3"),
        split(&[&one(&[1]), &ends(&[COLUMN]), &one(if eof { EOF_MORE } else { &[0xfe, 0, 0, 10, 0, 0, 0] })]),
    ]);
    // The answer goes on in other calls.
    let so_far = if eof { 5 } else { 4 };
    calls.extend([
        (Responses, packets(so_far, &[OK_MORE])),
        (Responses, packets(so_far + 1, &[ERROR])),
        asks(
            0x03,
            &[&[1, 1, 0, 1, 0xfe, 0, 11][..], b"traceparent\x37", TRACE, b"insert into o values (1)"]
                .concat(),
        ),
        answers(&[OK]),
        asks(0x16, b"select * from o where id in (?, ?)"),
        split(&[&one(prepared), &ends(&[COLUMN, COLUMN]), &ends(&[COLUMN])]),
        asks(0x18, b"\x05\0\0\0\0\0long data"),
        asks(0x17, b"\x05\0\0\0\0\x01\0\0\0\0\x01\x03\0\x03\0\x01\0\0\0\x02\0\0\0"),
        split(&[&one(&[1]), &ends(&[COLUMN]), &one(&[0, 0, 9, 0, 0, 0]), &one(end)]),
        asks(0x1a, b"\x05\0\0\0"),
        answers(&[OK]),
        asks(0x17, b"\x05\0\0\0\x01\x01\0\0\0\0\0"),
        split(&[
            &one(&[1]),
            &if eof { [one(COLUMN), one(EOF_CURSOR)].concat() } else { [one(COLUMN), one(OK_EOF)].concat() },
        ]),
        asks(0x1c, b"\x05\0\0\0\x0a\0\0\0"),
        split(&[&one(&[0, 0, 9, 0, 0, 0]), &one(end)]),
        asks(0x19, b"\x05\0\0\0"),
        asks(0x17, b"\x05\0\0\0\0\x01\0\0\0\0\0"),
        answers(&[ERROR]),
        asks(0x02, b"stock"),
        answers(&[OK]),
        asks(0x04, b"o\0%"),
        split(&[&one(COLUMN), &one(end)]),
        asks(0x09, b""),
        answers(&[b"Uptime: 5  Threads: 1"]),
        asks(0x03, b"load data local infile 'f' into table o"),
        answers(&[b"\xfbf"]),
        (Requests, packets(2, &[b"1,2\n", b"3,4\n", b""])),
        (Responses, packet(5, OK)),
        asks(0x11, b"else\0\x14provethatprovethatpr\0"),
        answers(&[b"\xfemysql_native_password\0challengechallenge12\0"]),
        (Requests, packet(2, &[3; 20])),
        (Responses, packet(3, OK)),
        asks(0x1b, b"\0\0"),
        answers(&[EOF]),
        asks(0x03, b"alter table o force"),
        answers(&[b"\xff\xff\xff\x01\x01\x02", OK]),
        asks(0x0e, b""),
        answers(&[OK]),
        asks(0x01, b""),
    ]);
    calls
}

const TRACE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn names(seen: &[Seen]) -> Vec<String> {
    let name = |seen: &Seen| seen.operation.title.as_deref().unwrap_or("?").to_owned();
    seen.iter().map(name).collect()
}

#[test]
fn every_command_has_its_answer_however_it_is_cut() {
    for eof in [true, false] {
        let calls = everything(eof);
        testing::check_any_cut(&MySql, &calls);
        let reader = testing::read(&MySql, &calls, &[]);
        let seen = reader.exchanges();
        assert_eq!(reader.lost_bytes, 0);
        assert_eq!(
            names(seen),
            [
                "SELECT o",
                "SELECT",
                "INSERT o",
                "PREPARE SELECT o",
                "SEND_LONG_DATA",
                "SELECT o",
                "RESET",
                "SELECT o",
                "FETCH",
                "CLOSE",
                "EXECUTE",
                "INIT_DB",
                "FIELD_LIST",
                "STATISTICS",
                "LOAD o",
                "CHANGE_USER",
                "SET_OPTION",
                "ALTER o",
                "PING",
                "QUIT"
            ]
        );
        let one_way = |seen: &Seen| {
            matches!(&**seen.operation.name.as_ref().unwrap(), "SEND_LONG_DATA" | "CLOSE" | "QUIT")
        };
        assert!(seen.iter().all(|seen| seen.one_way == one_way(seen) && seen.end.is_some() != one_way(seen)));
        let failed: Vec<_> =
            seen.iter().filter(|seen| seen.status.failed).map(|seen| seen.status.code).collect();
        assert_eq!(failed, [Some(1146), Some(1146)]);
        assert_eq!(seen[1].status.text, Some("ER_NO_SUCH_TABLE"));
        assert!(seen[2].operation.context.is_some());
        assert_eq!(seen[0].operation.text("db.namespace").map(|name| &**name), Some("shop"));
        assert_eq!(seen[12].operation.text("db.namespace").map(|name| &**name), Some("stock"));
        assert_eq!(seen[12].operation.target.as_deref(), Some("o"));
    }
}

#[test]
fn the_middle_of_a_connection_tells_whether_definitions_have_an_end() {
    for eof in [true, false] {
        let calls = everything(eof);
        let mut reader = Reader::new(&MySql, Some([9, 9]));
        for (now, (direction, bytes)) in calls[7..].iter().enumerate() {
            reader.call(*direction, bytes, now as i64);
        }
        let seen = reader.exchanges();
        assert_eq!(names(seen).len(), 19, "{:?}", names(seen));
        assert!(seen.iter().all(|seen| seen.one_way || seen.end.is_some()), "{seen:#?}");
    }
}

#[test]
fn an_answer_that_may_be_complete_was_if_the_client_goes_on() {
    let prepared = b"\0\x05\0\0\0\0\0\x01\0\0\0\0";
    let mut reader = Reader::new(&MySql, Some([9, 9]));
    let calls = [
        asks(0x16, b"insert into o values (?)"),
        answers(&[prepared, COLUMN]),
        asks(0x03, b"commit"),
        answers(&[OK]),
    ];
    for (now, (direction, bytes)) in calls.iter().enumerate() {
        reader.call(*direction, bytes, now as i64);
        assert_eq!(reader.exchanges()[0].end, (now == 3).then_some(1));
    }
    assert_eq!(reader.exchanges()[1].end, Some(3));
}

#[test]
fn a_hole_in_rows_costs_no_more_than_the_sight_of_their_end() {
    let mut reader = testing::read(&MySql, &begin(BASE), &[]);
    let rows = packets(1, &[&[1], COLUMN, EOF, ROW, ROW]);
    reader.call(Requests, &asks(0x03, b"select * from o").1, 10);
    reader.call(Responses, &rows, 11);
    reader.gap(Responses, 500, 12);
    reader.call(Responses, &packets(9, &[ROW, ROW, EOF]), 13);
    reader.call(Requests, &asks(0x03, b"select * from p").1, 14);
    reader.call(Responses, &packets(1, &[&[1], COLUMN, EOF, ROW, EOF]), 15);
    let ends: Vec<_> = reader.exchanges().iter().map(|seen| seen.end).collect();
    assert_eq!(ends, [Some(13), Some(15)]);
    // A missed request shifts nothing.
    reader.gap(Requests, 30, 16);
    reader.call(Responses, &packet(1, OK), 17);
    reader.call(Requests, &asks(0x03, b"select * from q").1, 18);
    reader.call(Responses, &packet(1, ERROR), 19);
    let seen = &reader.exchanges()[2..];
    assert_eq!((seen.len(), seen[0].end, seen[0].status.failed), (1, Some(19), true));
}

#[test]
fn commands_that_are_sent_ahead_are_answered_in_order() {
    let mut calls = begin(BASE);
    let ahead = [asks(0x03, b"select 1").1, asks(0x03, b"commit").1, asks(0x0e, b"").1].concat();
    let behind = [packets(1, &[&[1], COLUMN, EOF, ROW, EOF]), packet(1, ERROR), packet(1, OK)].concat();
    calls.extend([(Requests, ahead), (Responses, behind)]);
    testing::check_any_cut(&MySql, &calls);
    let reader = testing::read(&MySql, &calls, &[]);
    let failed: Vec<_> =
        reader.exchanges().iter().map(|seen| (seen.end.is_some(), seen.status.failed)).collect();
    assert_eq!(failed, [(true, false), (true, true), (true, false)]);
}

#[test]
fn packets_of_the_greatest_length_go_on() {
    let text = [b"select '".to_vec(), vec![b'x'; LONGEST], b"'".to_vec()].concat();
    let payload = [&[3][..], &text].concat();
    let (first, rest) = payload.split_at(LONGEST);
    let mut calls = begin(BASE);
    let row = vec![b'y'; LONGEST + 9];
    calls.extend([
        (Requests, packets(0, &[first, rest])),
        (Responses, packets(2, &[&[1], COLUMN, EOF, &row[..LONGEST], &row[LONGEST..], EOF])),
        asks(0x0e, b""),
        answers(&[OK]),
    ]);
    let reader = testing::read(&MySql, &calls, &[]);
    let seen = reader.exchanges();
    assert_eq!((names(seen), reader.lost_bytes), (vec!["SELECT".to_owned(), "PING".to_owned()], 0));
    assert!(seen.iter().all(|seen| seen.end.is_some()));
    assert_eq!(seen[0].request_bytes, payload.len() as u64 + 8);
}

#[test]
fn what_is_encrypted_or_compressed_is_not_read() {
    let ssl = [&(BASE | capability::SSL).to_le_bytes()[..], &[0, 0, 0, 1, 0x2d], &[0; 23]].concat();
    let calls = [
        (Responses, greeting(BASE | capability::SSL, "5.7.44")),
        (Requests, [packet(1, &ssl), b"\x16\x03\x01\0\x05hello".to_vec()].concat()),
        (Responses, b"\x16\x03\x03\0\x05hello".to_vec()),
        asks(0x03, b"select 1"),
    ];
    let reader = testing::read(&MySql, &calls, &[]);
    assert_eq!((reader.exchanges().len(), reader.lost_bytes), (0, 0));
    let mut calls = begin(BASE | capability::COMPRESS);
    calls.extend([(Requests, [&[13, 0, 0, 0, 0, 0, 0][..], &asks(0x03, b"select 1").1].concat())]);
    let reader = testing::read(&MySql, &calls, &[]);
    assert_eq!((reader.exchanges().len(), reader.lost_bytes), (0, 0));
}

#[test]
fn only_what_can_be_nothing_else_is_recognised() {
    let both = |bytes: &[u8]| {
        [Requests, Responses].map(|direction| MySql.recognise(direction, bytes, false) == Verdict::Surely)
    };
    let query = asks(0x03, b"select * from o where id = 17").1;
    for requests in [&query[..], &query[..22], &login_of(BASE, "a", &[1; 20], "b")] {
        assert_eq!(both(requests), [true, false], "{requests:?}");
    }
    let rows = answers(&[&[1], COLUMN, EOF, ROW, EOF]).1;
    for answers in [&greeting(BASE, "10.11.6-MariaDB-0+deb12u1")[..], &rows, &packet(1, ERROR)] {
        assert_eq!(both(answers), [false, true], "{answers:?}");
    }
    let others: [&[u8]; 9] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        &packet(0, b"\x0e"),
        &packet(1, OK),
        &packet(0, b"\x03hello, world, how are you"),
        &packet(1, b"\x03select * from o where id = 17"),
        &[&query[..], b"GET / HTTP/1.1"].concat(),
        b"\0\x18ab\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01",
    ];
    for other in others {
        assert_eq!(both(other), [false, false], "{other:?}");
    }
}
