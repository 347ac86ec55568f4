//! TLS sessions: what is read of them, which two are the two ends of one, and how they end.

use retrospan_formats::event::Kind;

use crate::assembly_support::{Connection, GET, MS, OK, US, World, line};

/// What nobody can read: a handshake, and data.
const HELLO: &[u8] = b"\x01\x02hands";
const RECORD: &[u8] = b"\x01\x02****************";

/// A connection between two processes, with a session over it.
fn secured(world: &mut World) -> (Connection, Connection) {
    let (client, server) = (world.process("curl"), world.process("nginx"));
    let tcp = world.connect(client, server, 443);
    world.request(tcp, HELLO);
    world.respond(tcp, RECORD);
    let session = world.session(tcp);
    (tcp, session)
}

/// Bytes of a session: encrypted below it.
fn request(world: &mut World, (tcp, session): (Connection, Connection), bytes: &[u8]) {
    world.request(tcp, RECORD);
    world.request(session, bytes);
}

fn respond(world: &mut World, (tcp, session): (Connection, Connection), bytes: &[u8]) {
    world.respond(tcp, RECORD);
    world.respond(session, bytes);
}

fn free(world: &mut World, session: usize) {
    world.call(session, Kind::Close, 0, US);
    world.sockets[session].closed_ns = Some(world.now_ns);
}

const COLUMNS: [&str; 5] = ["kind", "protocol", "path", "outcome", "link_evidence"];

fn told(world: &World) -> Vec<String> {
    world.assembled().spans().iter().map(|span| line(span, &COLUMNS)).collect()
}

#[test]
fn requests_are_told_once_and_the_server_s_hang_below_the_client_s() {
    let mut world = World::new();
    let both = secured(&mut world);
    for _ in 0..2 {
        request(&mut world, both, GET);
        respond(&mut world, both, OK);
    }
    free(&mut world, both.1.client);
    free(&mut world, both.1.server);
    world.close(both.0);
    let assembled = world.assembled();
    let all = assembled.spans();
    let spans: Vec<_> = all.iter().filter(|span| span["protocol"] == "http").collect();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    for server in spans.iter().filter(|span| span["kind"] == "server") {
        assert_eq!(line(server, &["outcome", "link_evidence"]), "ok connection");
        assert!(
            spans.iter().any(|span| span["kind"] == "client" && span["span_id"] == server["parent_span_id"])
        );
        assert!(server["attributes"].contains(r#""tls.established":true"#), "{server:?}");
    }
    assert!(all.iter().all(|span| span["protocol"] != "tcp"), "no turns of ciphertext");
}

#[test]
fn a_connection_without_a_session_is_told_by_turns() {
    let mut world = World::new();
    let (tcp, session) = secured(&mut world);
    world.sockets.truncate(session.client);
    world.request(tcp, RECORD);
    world.respond(tcp, RECORD);
    world.close(tcp);
    assert!(told(&world).iter().any(|span| span.contains(" tcp ")), "{:?}", told(&world));
}

#[test]
fn sessions_that_are_not_known_to_be_the_two_ends_are_not_paired() {
    let linked = |change: fn(&mut World, Connection)| {
        let mut world = World::new();
        let both = secured(&mut world);
        request(&mut world, both, GET);
        respond(&mut world, both, OK);
        world.close(both.0);
        change(&mut world, both.1);
        let spans = told(&world);
        let of_http = spans.iter().filter(|span| span.contains(" http ")).count();
        assert_eq!(of_http, 2, "{spans:?}");
        spans.iter().any(|span| span.contains("http") && span.ends_with(" connection"))
    };
    assert!(linked(|_, _| {}));
    assert!(!linked(|world, session| world.sockets[session.client].discovered = true), "it began before");
    assert!(!linked(|world, session| world.sockets[session.server].carrier = None), "on no socket");
    // Another session was on the same socket.
    let several = |world: &mut World, session: Connection| {
        let other = world.sockets[session.client].clone();
        world.sockets.push(other);
    };
    assert!(!linked(several));
}

#[test]
fn whoever_leaves_is_told_by_the_socket_below() {
    let outcome = |end: fn(&mut World, (Connection, Connection))| {
        let mut world = World::new();
        let both = secured(&mut world);
        request(&mut world, both, GET);
        world.wait(50 * MS);
        end(&mut world, both);
        world
            .assembled()
            .spans()
            .iter()
            .filter(|span| span["protocol"] == "http")
            .map(|span| line(span, &["kind", "outcome"]))
            .collect::<Vec<_>>()
    };
    let client_leaves = |world: &mut World, (tcp, session): (Connection, Connection)| {
        free(world, session.client);
        world.close(tcp);
        free(world, session.server);
    };
    assert_eq!(outcome(client_leaves), ["client client_closed", "server client_closed"]);
    let server_leaves = |world: &mut World, (tcp, session): (Connection, Connection)| {
        free(world, session.server);
        world.close(Connection { client: tcp.server, server: tcp.client });
        free(world, session.client);
    };
    assert_eq!(outcome(server_leaves), ["client server_closed", "server server_closed"]);
}

/// A goroutine that was in the call when the other one closed: on busy CPUs it is told last.
#[test]
fn an_answer_that_is_told_after_the_end_was_taken() {
    for client_is_recorded in [true, false] {
        let mut world = World::new();
        let (tcp, session) = secured(&mut world);
        for socket in [tcp.client, session.client] {
            world.sockets[socket].recorded = client_is_recorded;
        }
        request(&mut world, (tcp, session), GET);
        let began_ns = world.now_ns;
        world.respond(tcp, RECORD);
        world.receive(session.client, OK);
        free(&mut world, session.client);
        world.close(tcp);
        world.wait(MS);
        let duration_ns = world.now_ns - began_ns;
        world.send(session.server, OK).duration_ns = duration_ns;
        free(&mut world, session.server);
        let spans: Vec<_> = told(&world).into_iter().filter(|span| span.contains(" http ")).collect();
        assert_eq!(spans.len(), 1 + usize::from(client_is_recorded), "{spans:?}");
        assert!(spans.iter().all(|span| span.contains(" ok ")), "{spans:?}");
    }
}
