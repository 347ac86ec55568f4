//! Answers that say which request they belong to, in any order, as DNS over TCP sends them.

use crate::assembly_support::{Assembled, Connection, MS, World, line, pair};

const A: u8 = 1;
const AXFR: u8 = 252;

/// A question, or an answer to it with so many bytes behind it.
fn message(id: u8, kind: u8, answer: Option<(u8, usize)>) -> Vec<u8> {
    let (bits, code, more) = answer.map_or((1, 0, 0), |(code, more)| (0x81, code, more));
    let records = u8::from(more > 0);
    let mut bytes = vec![0, id, bits, code, 0, 1, 0, records, 0, 0, 0, 0];
    bytes.extend([1, b'a' + id, 4, b't', b'e', b's', b't', 0, 0, kind, 0, 1]);
    bytes.resize(bytes.len() + more, 7);
    [vec![0, bytes.len() as u8], bytes].concat()
}

fn asks(id: u8) -> Vec<u8> {
    message(id, A, None)
}

fn answers(id: u8, code: u8) -> Vec<u8> {
    message(id, A, Some((code, 0)))
}

const COLUMNS: [&str; 6] = ["stream_id", "operation", "target", "status_text", "outcome", "response_bytes"];

/// Both sides, which must say the same.
fn rows(assembled: &Assembled, connection: Connection) -> Vec<String> {
    let of = |socket| assembled.of(socket).iter().map(|span| line(span, &COLUMNS)).collect::<Vec<_>>();
    let (client, server) = (of(connection.client), of(connection.server));
    assert_eq!(client, server);
    client
}

fn outcomes(assembled: &Assembled, connection: Connection) -> String {
    let rows = rows(assembled, connection);
    rows.iter().map(|row| row.split(' ').nth(4).unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn answers_go_to_the_request_they_name_and_to_no_other() {
    let mut world = World::new();
    let connection = pair(&mut world);
    for id in [1, 2, 3] {
        world.request(connection, &asks(id));
    }
    world.wait(MS);
    // One that nobody asked for is first.
    world.respond(connection, &answers(9, 0));
    world.respond(connection, &[answers(3, 3), answers(1, 2)].concat());
    world.wait(MS);
    world.respond(connection, &answers(2, 0));
    world.close(connection);
    let expected = ["1 A b.test SERVFAIL error 26", "2 A c.test NOERROR ok 26", "3 A d.test NXDOMAIN ok 26"];
    let assembled = world.assembled();
    assert_eq!(rows(&assembled, connection), expected);
    let protocols: Vec<_> = assembled.rows("connections").iter().map(|row| row["protocol"].clone()).collect();
    assert_eq!(protocols, ["dns"]);
}

#[test]
fn requests_that_use_one_key_at_once_are_told_apart_by_nobody() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &asks(1));
    world.request(connection, &asks(2));
    world.request(connection, &asks(1));
    world.respond(connection, &answers(1, 0));
    world.respond(connection, &answers(2, 0));
    world.respond(connection, &answers(1, 0));
    // Both are over, and the key is free.
    world.request(connection, &asks(1));
    world.respond(connection, &answers(1, 0));
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "lost ok lost ok");
}

/// Bytes that go there or back, and whose calls are lost.
fn missed(world: &mut World, connection: Connection, bytes: &[u8], back: bool) {
    let before = world.rows.len();
    if back {
        world.respond(connection, bytes);
    } else {
        world.request(connection, bytes);
    }
    let rows = world.rows.split_off(before);
    world.losses.push((rows[0].boot_ns, rows[1].boot_ns));
}

#[test]
fn what_was_missed_touches_whom_it_may_have_answered_and_nobody_later() {
    // A client that waits for each answer, with a key of its own for each request or one for all.
    for (one_key, expected) in [(false, "ok lost ok ok"), (true, "ok lost lost ok")] {
        let mut world = World::new();
        let connection = pair(&mut world);
        for number in 1..5 {
            let id = if one_key { 5 } else { number };
            world.request(connection, &asks(id));
            if number == 2 {
                missed(&mut world, connection, &answers(id, 0), true);
            } else {
                world.respond(connection, &answers(id, 0));
            }
            world.wait(MS);
        }
        world.close(connection);
        assert_eq!(outcomes(&world.assembled(), connection), expected);
    }
    // Requests that nobody saw, and their answers.
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &asks(1));
    missed(&mut world, connection, &asks(2), false);
    world.request(connection, &asks(3));
    for id in [2, 3, 1] {
        world.respond(connection, &answers(id, 0));
    }
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "ok ok");
    // One that sends ahead: the answer that came is its own, the other one's may be among what is missing.
    let mut world = World::new();
    let connection = pair(&mut world);
    for id in [1, 2, 3] {
        world.request(connection, &asks(id));
    }
    world.respond(connection, &answers(3, 0));
    missed(&mut world, connection, &answers(1, 0), true);
    world.respond(connection, &answers(2, 3));
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "lost ok ok");
    // Of a transfer the begin is missing.
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &message(1, AXFR, None));
    missed(&mut world, connection, &message(1, AXFR, Some((0, 60))), true);
    world.respond(connection, &message(1, AXFR, Some((0, 70))));
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "lost");
}

#[test]
fn bytes_that_are_no_message_are_nobodys() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &asks(1));
    world.request(connection, b"\0\x05hello");
    world.request(connection, &asks(2));
    world.respond(connection, &answers(2, 0));
    world.respond(connection, b"\0\x05hello");
    world.respond(connection, &answers(1, 0));
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "ok ok");
}

#[test]
fn an_answer_may_be_of_many_messages_between_which_others_come() {
    for more in [false, true] {
        let mut world = World::new();
        let connection = pair(&mut world);
        world.request(connection, &message(1, AXFR, None));
        world.respond(connection, &message(1, AXFR, Some((0, 60))));
        world.request(connection, &asks(2));
        world.respond(connection, &[answers(2, 0), message(1, AXFR, Some((0, 70)))].concat());
        world.wait(MS);
        world.respond(connection, &message(1, AXFR, Some((0, 80))));
        let mut expected = vec!["1 AXFR b.test NOERROR ok 288", "2 A c.test NOERROR ok 26"];
        if more {
            // The connection goes on, and the key is used again.
            world.wait(MS);
            world.request(connection, &asks(3));
            world.respond(connection, &answers(3, 0));
            world.request(connection, &asks(1));
            world.respond(connection, &answers(1, 3));
            expected.extend(["3 A d.test NOERROR ok 26", "1 A b.test NXDOMAIN ok 26"]);
        }
        world.close(connection);
        assert_eq!(rows(&world.assembled(), connection), expected);
    }
}

#[test]
fn an_answer_of_many_messages_that_is_last_is_whole_by_what_followed_it() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &message(1, AXFR, None));
    world.respond(connection, &message(1, AXFR, Some((0, 60))));
    world.request(connection, &asks(2));
    world.respond(connection, &answers(2, 0));
    world.request(connection, &message(3, AXFR, None));
    world.respond(connection, &message(3, AXFR, Some((0, 60))));
    // It fails half way.
    world.respond(connection, &message(3, AXFR, Some((2, 0))));
    world.request(connection, &message(4, AXFR, None));
    world.respond(connection, &message(4, AXFR, Some((5, 0))));
    world.close(connection);
    let expected = [
        "1 AXFR b.test NOERROR ok 86",
        "2 A c.test NOERROR ok 26",
        "3 AXFR d.test SERVFAIL error 112",
        "4 AXFR e.test REFUSED error 26",
    ];
    assert_eq!(rows(&world.assembled(), connection), expected);
}

#[test]
fn two_threads_of_a_client_may_be_reported_in_any_order() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, &asks(1));
    let before = world.rows.len();
    world.request(connection, &asks(2));
    world.respond(connection, &[answers(2, 0), answers(1, 0)].concat());
    // The call that sent the second request returns last.
    let mut sent = world.rows.remove(before);
    let now_ns = world.rows.last().unwrap().boot_ns + 1;
    sent.duration_ns += now_ns - sent.boot_ns;
    sent.boot_ns = now_ns;
    world.rows.push(sent);
    world.close(connection);
    let expected = ["1 A b.test NOERROR ok 26", "2 A c.test NOERROR ok 26"];
    assert_eq!(rows(&world.assembled(), connection), expected);
}

#[test]
fn a_request_that_is_not_answered_says_so_whatever_others_get() {
    let mut world = World::new();
    let connection = pair(&mut world);
    for id in [1, 2, 3] {
        world.request(connection, &asks(id));
    }
    world.respond(connection, &answers(3, 0));
    world.respond(connection, &answers(1, 0));
    world.fin(connection.server, connection.client);
    world.receive_end(connection.client);
    world.fin(connection.client, connection.server);
    world.gone(connection.client, 0);
    world.gone(connection.server, 0);
    let expected = ["1 A b.test NOERROR ok 26", "2 A c.test - server_closed -", "3 A d.test NOERROR ok 26"];
    assert_eq!(rows(&world.assembled(), connection), expected);
}

#[test]
fn an_answer_is_whole_where_its_end_is_told_behind_bytes_that_were_not_kept() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let query = b"Q\0\0\0\x15SELECT a FROM t;\0";
    let row = [&b"D\0\0\0\x6e\0\x01\0\0\0\x64"[..], &[b'x'; 100]].concat();
    let end = b"C\0\0\0\x0dSELECT 9\0Z\0\0\0\x05I";
    for rows in [1, 90, 900, 1] {
        world.request(connection, query);
        world.respond(connection, &[&b"T\0\0\0\x06\0\0"[..], &row.repeat(rows), end].concat());
        world.wait(MS);
    }
    world.close(connection);
    assert_eq!(outcomes(&world.assembled(), connection), "ok ok ok ok");
}
