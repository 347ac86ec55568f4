//! Samples of connections: scaled by a column, and never linked to what only looks like the right connection.

use crate::assembly_support::{Assembled, Connection, GET, MS, OK, World};

/// Two clients make the same request at about the same time through a proxy that copies bytes. Of the first
/// chain the connection to the server is missing, of the second the one to the client.
fn two_halves(world: &mut World) -> [Connection; 2] {
    let (client, proxy, server) = (world.process("client"), world.process("proxy"), world.process("server"));
    let chain = |world: &mut World| [world.connect(client, proxy, 8000), world.connect(proxy, server, 8080)];
    let (first, second) = (chain(world), chain(world));
    for connection in [first[0], second[0], first[1], second[1]] {
        world.request(connection, GET);
    }
    world.wait(5 * MS);
    for connection in [first[1], second[1], first[0], second[0]] {
        world.respond(connection, OK);
    }
    for connection in [first[1], second[0]] {
        world.sockets[connection.client].recorded = false;
        world.sockets[connection.server].recorded = false;
    }
    for [one, two] in [first, second] {
        world.close(one);
        world.close(two);
    }
    [first[0], second[1]]
}

fn parents(assembled: &Assembled, socket: usize) -> Vec<Option<&String>> {
    assembled.of(socket).into_iter().map(|span| span.get("parent_span_id")).collect()
}

#[test]
fn a_connection_that_is_missing_makes_no_wrong_link() {
    let mut world = World::new();
    world.sampled_one_in = 2;
    let [one, two] = two_halves(&mut world);
    let whole = World { sampled_one_in: 0, ..world.clone() }.assembled();
    assert_ne!(parents(&whole, two.client), [None], "of a whole recording they would be one chain");
    let assembled = world.assembled();
    assert_eq!(parents(&assembled, two.client), [None]);
    // Both ends of one connection are recorded or neither, and stay linked.
    for connection in [one, two] {
        let (client, server) = (assembled.only(connection.client), assembled.only(connection.server));
        assert_eq!(server.get("parent_span_id"), Some(&client["span_id"]));
        assert_eq!(server.get("link_evidence").map(String::as_str), Some("connection"));
    }
    assert_eq!(assembled.rows("traces").len(), 2);
}

#[test]
fn rows_tell_for_how_many_they_stand() {
    for (sampled_one_in, expected) in [(0, "1"), (10, "10")] {
        let mut world = World::new();
        world.sampled_one_in = sampled_one_in;
        two_halves(&mut world);
        let assembled = world.assembled();
        for table in ["spans", "connections"] {
            let rows = assembled.rows(table);
            assert!(!rows.is_empty());
            assert!(rows.iter().all(|row| row["sampled_one_in"] == expected), "{table}");
        }
    }
}
