//! How exchanges end: clients that give up, servers that close, resets, half-closes, the end of the recording.

use crate::assembly_support::{Connection, GET, MS, OK, US, World, alone, line, outcome, pair};
use retrospan_formats::event::{Kind, flags};

fn give_up() -> (World, Connection) {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.wait(500 * MS);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    world.wait(2_500 * MS);
    world.send(server, OK);
    world.gone(server, 32);
    (world, connection)
}

#[test]
fn a_client_that_gave_up_is_no_slow_success() {
    let (world, Connection { client, server }) = give_up();
    let assembled = world.assembled();
    assert_eq!(outcome(assembled.only(client)), "GET /a - client_closed - 52 -");
    let span = assembled.only(server);
    assert_eq!(outcome(span), "GET /a - client_closed 200 52 43");
    let number = |column: &str| span[column].parse::<i64>().unwrap();
    assert!((500 * MS..501 * MS).contains(&number("duration_ns")));
    assert!((2_500 * MS..2_501 * MS).contains(&number("late_ns")));
    let both = outcome(span);
    assert_eq!(outcome(alone(&world).assembled().only(server)), both, "the server's side alone");
}

#[test]
fn a_reset_by_the_client_is_giving_up() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.wait(100 * MS);
    world.call(client, Kind::Close, 0, US);
    world.gone(client, 0);
    world.gone(server, 104);
    world.wait(100 * MS);
    world.call(server, Kind::Send, 32, US);
    for world in [alone(&world), world] {
        for span in world.assembled().spans() {
            assert_eq!(outcome(span), "GET /a - client_closed - 52 -");
            assert!((100 * MS..101 * MS).contains(&span["duration_ns"].parse().unwrap()));
        }
    }
}

#[test]
fn a_half_close_that_takes_its_answer_is_ok() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.call(client, Kind::Shutdown, 0, US);
    world.fin(client, server);
    world.wait(300 * MS);
    world.respond(connection, OK);
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.gone(server, 0);
    for world in [alone(&world), world] {
        for span in world.assembled().spans() {
            assert_eq!(outcome(span), "GET /a 200 ok - 52 43");
            assert!(span["duration_ns"].parse::<i64>().unwrap() > 300 * MS);
        }
    }
}

#[test]
fn a_half_close_whose_answer_the_server_cuts_off_is_the_servers_closing() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.call(client, Kind::Shutdown, 0, US).flags = flags::SHUT_WRITE;
    world.fin(client, server);
    world.wait(300 * MS);
    world.respond(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    world.wait(200 * MS);
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.gone(server, 0);
    world.receive_end(client);
    world.call(client, Kind::Close, 0, US);
    for world in [alone(&world), world] {
        for span in world.assembled().spans() {
            assert_eq!(outcome(span), "GET /a 200 server_closed - 52 43");
            assert!(span["duration_ns"].parse::<i64>().unwrap() > 500 * MS);
        }
    }
}

#[test]
fn a_half_close_that_still_waits_is_cut_by_the_recordings_end() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, GET);
    world.call(connection.client, Kind::Shutdown, 0, US).flags = flags::SHUT_WRITE;
    world.fin(connection.client, connection.server);
    let assembled = world.assembled();
    assert_eq!(outcome(assembled.only(connection.client)), "GET /a - timeout_cut - 52 -");
    world.call(connection.client, Kind::Close, 0, US);
    let assembled = world.assembled();
    assert_eq!(outcome(assembled.only(connection.client)), "GET /a - client_closed - 52 -");
}

/// The recording began while a message was on its way: everything after it is as it would be otherwise.
#[test]
fn giving_up_in_mid_body_keeps_the_status() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.respond(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    world.wait(50 * MS);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    world.send(server, b"more");
    world.gone(server, 32);
    for world in [alone(&world), world] {
        for span in world.assembled().spans() {
            let columns = ["status", "outcome", "late_status", "late_ns"];
            assert_eq!(line(span, &columns), "200 client_closed - -");
        }
    }
}

#[test]
fn leaving_before_any_answer_is_giving_up_even_if_the_server_then_closes() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.wait(MS);
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.gone(server, 0);
    for world in [alone(&world), world] {
        for span in world.assembled().spans() {
            assert_eq!(outcome(span), "GET /a - client_closed - 52 -");
        }
    }
}

#[test]
fn a_server_that_closes_or_resets_without_an_answer() {
    for reset in [false, true] {
        let mut world = World::new();
        let connection = pair(&mut world);
        let Connection { client, server } = connection;
        world.request(connection, GET);
        world.wait(20 * MS);
        world.call(server, Kind::Close, 0, US);
        if reset {
            world.gone(server, 0);
            world.gone(client, 104);
            world.call(client, Kind::Receive, 104, US);
        } else {
            world.fin(server, client);
            world.receive_end(client);
            world.fin(client, server);
            world.gone(client, 0);
        }
        let expected = if reset { "GET /a - reset - 52 -" } else { "GET /a - server_closed - 52 -" };
        for world in [alone(&world), world] {
            for span in world.assembled().spans() {
                assert_eq!(outcome(span), expected);
                assert!((20 * MS..21 * MS).contains(&span["duration_ns"].parse().unwrap()));
            }
        }
    }
}

#[test]
fn a_connection_that_times_out_is_reset() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.send(connection.client, GET);
    world.wait(900 * MS);
    world.gone(connection.client, 110);
    let assembled = world.assembled();
    assert_eq!(outcome(assembled.only(connection.client)), "GET /a - reset - 52 -");
}

#[test]
fn an_answer_that_no_parser_takes_is_unparsed() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, GET);
    world.wait(7 * MS);
    world.respond(connection, b"<html>no head</html>");
    world.wait(7 * MS);
    let Connection { client, server } = connection;
    world.fin(server, client);
    world.fin(client, server);
    world.gone(client, 0);
    for span in world.assembled().spans() {
        assert_eq!(outcome(span), "GET /a - unparsed - 52 -");
        assert!((7 * MS..8 * MS).contains(&span["duration_ns"].parse().unwrap()));
    }
}

#[test]
fn what_the_end_of_the_recording_cuts_is_marked() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, GET);
    for span in world.assembled().spans() {
        assert_eq!(outcome(span), "GET /a - timeout_cut - 52 -");
    }
    // Whether more happened is not known where events were lost.
    world.losses.push((world.now_ns, world.now_ns + MS));
    for span in world.assembled().spans() {
        assert_eq!(outcome(span), "GET /a - lost - 52 -");
    }
}

/// Where such an answer ends is not known: its head is longer than what was kept of it.
fn long_answer() -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nhi", "x".repeat(1100)).into_bytes()
}

#[test]
fn what_becomes_of_the_connection_is_not_the_outcome_of_an_answer_that_may_have_been_whole() {
    for end in ["idle", "client fin", "client rst", "server fin", "server rst"] {
        let mut world = World::new();
        let connection = pair(&mut world);
        let Connection { client, server } = connection;
        world.request(connection, GET);
        world.respond(connection, &long_answer());
        world.wait(500 * MS);
        let (from, to) = if end.starts_with("client") { (client, server) } else { (server, client) };
        match end {
            "idle" => {}
            "client fin" => world.close(connection),
            "server fin" => {
                world.call(server, Kind::Close, 0, US);
                world.fin(server, client);
                world.receive_end(client);
                world.call(client, Kind::Close, 0, US);
                world.fin(client, server);
                world.gone(client, 0);
            }
            _ => {
                world.call(from, Kind::Close, 0, US);
                world.gone(from, 0);
                world.gone(to, 104);
                world.call(to, Kind::Receive, 104, US);
            }
        }
        for world in [alone(&world), world] {
            for span in world.assembled().spans() {
                assert_eq!(line(span, &["status", "outcome"]), "200 ok", "{end}: {span:#?}");
                assert!(span["duration_ns"].parse::<i64>().unwrap() < MS, "{end}: {span:#?}");
            }
        }
    }
}

#[test]
fn an_answer_of_unknown_length_that_was_not_all_taken_accuses_nobody() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.respond(connection, &long_answer());
    world.wait(500 * MS);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.send(server, b"more of it");
    world.gone(client, 0);
    world.gone(server, 32);
    for span in world.assembled().spans() {
        assert_eq!(line(span, &["status", "outcome"]), "200 lost");
        assert!(span["duration_ns"].parse::<i64>().unwrap() < 501 * MS);
    }
}

#[test]
fn as_long_as_a_half_close_is_possible_the_client_did_not_leave() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, GET);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    // The server still works on it when the recording ends.
    let served = |world: &World| outcome(world.assembled().only(server));
    assert_eq!(served(&alone(&world)), "GET /a - timeout_cut - 52 -");
    assert_eq!(served(&world), "GET /a - client_closed - 52 -", "the client's own socket says more");
}
