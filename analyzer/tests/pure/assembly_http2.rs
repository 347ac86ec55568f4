//! HTTP/2 whose client writes in one thread and reads in another, as Go's does: where an answer is read before the write of
//! its request has returned, it is reported first.

use crate::assembly_support::{Assembled, Connection, MS, World, line, pair};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
    [&[0, 0, content.len() as u8, kind, flags, 0, 0, 0, stream], content].concat()
}

/// GET of a path of one letter.
fn asks(stream: u8, letter: u8) -> Vec<u8> {
    frame(1, END_HEADERS | END_STREAM, stream, &[0x82, 0x86, 0x04, 2, b'/', letter])
}

/// The head of a 200.
fn begins(stream: u8) -> Vec<u8> {
    frame(1, END_HEADERS, stream, &[0x88])
}

fn content(stream: u8, flags: u8) -> Vec<u8> {
    frame(0, flags, stream, b"content")
}

/// A connection on which both sides have said that they speak it.
fn begun(world: &mut World) -> Connection {
    let connection = pair(world);
    let settings = frame(4, 0, 0, b"");
    world.request(connection, &[PREFACE, &settings].concat());
    world.respond(connection, &settings);
    connection
}

/// Sends a request whose write returns only after so long.
fn asks_slowly(world: &mut World, connection: Connection, bytes: &[u8], longer_ns: i64) {
    let row = world.send(connection.client, bytes);
    row.boot_ns += longer_ns;
    row.duration_ns += longer_ns;
    world.receive(connection.server, bytes);
}

fn rows(assembled: &Assembled, socket: usize) -> Vec<String> {
    let columns = ["target", "status", "outcome", "response_bytes"];
    assembled.of(socket).iter().map(|span| line(span, &columns)).collect()
}

#[test]
fn an_answer_that_is_reported_before_its_request_is_its_answer() {
    let mut world = World::new();
    let connection = begun(&mut world);
    world.request(connection, &asks(1, b'a'));
    asks_slowly(&mut world, connection, &asks(3, b'b'), 5 * MS);
    // Two that take turns, one before its request and one after.
    world.respond(connection, &[begins(3), begins(1)].concat());
    world.respond(connection, &content(3, 0));
    world.respond(connection, &content(1, 0));
    world.respond(connection, &content(3, END_STREAM));
    world.wait(10 * MS);
    world.respond(connection, &content(1, END_STREAM));
    // Reported amid its answer.
    asks_slowly(&mut world, connection, &asks(5, b'c'), 5 * MS);
    world.respond(connection, &begins(5));
    world.wait(10 * MS);
    world.respond(connection, &content(5, END_STREAM));
    world.close(connection);
    let assembled = world.assembled();
    let expected = ["/a 200 ok 42", "/b 200 ok 42", "/c 200 ok 26"];
    assert_eq!(rows(&assembled, connection.server), expected);
    assert_eq!(rows(&assembled, connection.client), expected);
}

#[test]
fn an_answer_to_what_nobody_saw_asked_is_no_other_requests() {
    let mut world = World::new();
    let connection = begun(&mut world);
    world.respond(connection, &[begins(3), content(3, END_STREAM)].concat());
    world.wait(MS);
    // That answer was taken before anybody asked.
    world.request(connection, &asks(3, b'a'));
    world.request(connection, &asks(5, b'b'));
    world.respond(connection, &[begins(5), content(5, END_STREAM)].concat());
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let rows = rows(&assembled, socket);
        assert!(rows.contains(&"/b 200 ok 26".to_owned()), "{rows:?}");
        assert!(!rows.iter().any(|row| row.starts_with("/a 200")), "{rows:?}");
    }
}
