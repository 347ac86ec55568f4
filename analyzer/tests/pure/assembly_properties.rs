//! What must hold for any capture: however bytes are cut into calls the spans are the same, and where events are missing a
//! span is right or marked, never wrong.

use std::collections::BTreeMap;

use crate::assembly_support::{Assembled, Cells, Connection, MS, Row, US, World, line};
use proptest::prelude::*;
use retrospan_formats::event::{Kind, flags};

const REQUESTS: [&[u8]; 3] = [
    b"POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world",
    b"GET /two?q=* HTTP/1.1\r\nHost: h\r\n\r\n",
    b"PUT /three HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
];
const RESPONSES: [&[u8]; 3] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnope\r\n1\r\n!\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n",
];

const WHAT: &[&str] =
    &["kind", "method", "path", "status", "late_status", "outcome", "request_bytes", "response_bytes"];

/// `bytes` cut at these places (of 256ths), none empty.
fn cut<'a>(bytes: &'a [u8], places: &[u8]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|&p| usize::from(p) * bytes.len() / 256).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    ends.dedup();
    let mut from = 0;
    let mut calls = Vec::new();
    for end in ends.into_iter().filter(|&end| end > 0) {
        calls.push(&bytes[from..end]);
        from = end;
    }
    calls
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_calls_are_cut_the_spans_are_the_same(
        cuts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 12),
        swaps in prop_oneof![Just(Vec::new()), prop::collection::vec(any::<bool>(), 64)],
    ) {
        let mut world = World::new();
        let (client, server) = (world.process("client"), world.process("server"));
        let connection = world.connect(client, server, 80);
        let (mut swaps, mut swapped) = (swaps.into_iter(), false);
        for index in 0..3 {
            let sides = [
                (connection.client, connection.server, REQUESTS[index]),
                (connection.server, connection.client, RESPONSES[index]),
            ];
            for (side, (from, to, bytes)) in sides.into_iter().enumerate() {
                for (socket, sends) in [(from, true), (to, false)] {
                    let place = index * 4 + side * 2 + usize::from(sends);
                    let first = world.rows.len();
                    for call in cut(bytes, &cuts[place]) {
                        if sends { world.send(socket, call) } else { world.receive(socket, call) };
                    }
                    // Two threads that share the socket are reported in the wrong order.
                    for at in (first + 1..world.rows.len()).step_by(2) {
                        if swaps.next() == Some(true) {
                            swapped = true;
                            let (a, b) = (world.rows[at - 1].boot_ns, world.rows[at].boot_ns);
                            (world.rows[at - 1].boot_ns, world.rows[at].boot_ns) = (b, a);
                            world.rows[at - 1].duration_ns += b - a;
                        }
                    }
                }
            }
            world.sockets[connection.server].acknowledged = world.sockets[connection.server].send_seq;
        }
        world.close(connection);
        let assembled = world.assembled();
        // Of calls in the wrong order one end knows more than the other.
        prop_assert!(swapped || world.stored_once().assembled().tables == assembled.tables);
        for (socket, kind) in [(connection.client, "client"), (connection.server, "server")] {
            let spans: Vec<_> = assembled.of(socket).iter().map(|span| line(span, WHAT)).collect();
            let sizes = |i: usize| format!("{} {}", REQUESTS[i].len(), RESPONSES[i].len());
            prop_assert_eq!(spans, vec![
                format!("{kind} POST /one 200 - ok {}", sizes(0)),
                format!("{kind} GET /two 404 - ok {}", sizes(1)),
                format!("{kind} PUT /three 204 - ok {}", sizes(2)),
            ]);
        }
        prop_assert_eq!(assembled.summary.missing_bytes, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the ends cut what they move, and whoever's call is reported first: with each byte stored once the spans are the same.
    #[test]
    fn whoever_is_reported_first_each_byte_is_needed_once(
        cuts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 12),
        late in prop::collection::vec(any::<bool>(), 64),
    ) {
        let mut world = World::new();
        let connection = pair(&mut world);
        let mut late = late.into_iter();
        for index in 0..3 {
            let sides = [
                (connection.client, connection.server, REQUESTS[index]),
                (connection.server, connection.client, RESPONSES[index]),
            ];
            for (side, (from, to, bytes)) in sides.into_iter().enumerate() {
                let place = index * 4 + side * 2;
                let (sent, taken) = (cut(bytes, &cuts[place]), cut(bytes, &cuts[place + 1]));
                let (mut sent_bytes, mut taken_bytes, mut next) = (0, 0, 0);
                for call in taken {
                    // What is taken was sent; the call that sent the last of it may be reported after.
                    let mut after = Vec::new();
                    taken_bytes += call.len();
                    while sent_bytes < taken_bytes {
                        sent_bytes += sent[next].len();
                        after.push(sent[next]);
                        next += 1;
                    }
                    let last = if late.next() == Some(true) { after.pop() } else { None };
                    after.into_iter().for_each(|call| { world.send(from, call); });
                    world.receive(to, call);
                    if let Some(call) = last {
                        world.send(from, call);
                    }
                }
                world.sockets[from].acknowledged = world.sockets[from].send_seq;
            }
        }
        world.close(connection);
        let (once, assembled) = (world.stored_once().assembled(), world.assembled());
        let what = |assembled: &Assembled| -> Vec<String> { assembled.spans().iter().map(|span| line(span, WHAT)).collect() };
        prop_assert_eq!(what(&once), what(&assembled));
        prop_assert!(assembled.spans().iter().all(|span| span["outcome"] == "ok"));
    }
}

/// Stories with everything that may be missed.
fn stories() -> Vec<(&'static str, World)> {
    vec![
        ("kept connection", kept()),
        ("proxy", proxied()),
        ("give-up", give_up()),
        ("half-close", half_close()),
        ("pipelined", pipelined()),
        ("until close", until_close()),
        ("reset", reset()),
    ]
}

#[test]
fn stories_are_the_same_where_each_byte_is_stored_once() {
    for (name, world) in stories() {
        let once = world.stored_once();
        let flagged = |row: &&Row| row.flags & flags::PAYLOAD_AT_PEER != 0;
        assert!(once.rows.iter().filter(flagged).count() > 1, "{name}");
        assert_eq!(once.assembled(), world.assembled(), "{name}");
    }
}

fn pair(world: &mut World) -> Connection {
    let (client, server) = (world.process("client"), world.process("server"));
    world.connect(client, server, 80)
}

fn kept() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    for index in [0, 1, 2, 1] {
        world.request(connection, REQUESTS[index]);
        world.wait(MS);
        world.respond(connection, RESPONSES[index]);
        world.wait(MS);
    }
    world.close(connection);
    world
}

fn proxied() -> World {
    let mut world = World::new();
    let names = ["client", "edge", "server"];
    let processes = names.map(|name| world.process(name));
    let chains = [(); 3].map(|()| [0, 1].map(|hop| world.connect(processes[hop], processes[hop + 1], 8000)));
    for _ in 0..2 {
        for [one, two] in chains {
            world.request(one, REQUESTS[1]);
            world.request(two, REQUESTS[1]);
        }
        for [one, two] in chains {
            world.respond(two, RESPONSES[0]);
            world.respond(one, RESPONSES[0]);
        }
    }
    for [one, two] in chains {
        world.close(one);
        world.close(two);
    }
    world
}

fn give_up() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, REQUESTS[0]);
    world.respond(connection, RESPONSES[0]);
    world.request(connection, REQUESTS[1]);
    world.wait(500 * MS);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    world.wait(2_500 * MS);
    world.send(server, RESPONSES[1]);
    world.gone(server, 32);
    world.call(server, Kind::Close, 0, US);
    world
}

fn half_close() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, REQUESTS[1]);
    world.call(client, Kind::Shutdown, 0, US);
    world.fin(client, server);
    world.wait(300 * MS);
    world.respond(connection, RESPONSES[1]);
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.gone(server, 0);
    world.call(client, Kind::Close, 0, US);
    world
}

fn pipelined() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    for _ in 0..2 {
        world.request(connection, &[REQUESTS[0], REQUESTS[1], REQUESTS[2]].concat());
        for response in RESPONSES {
            world.respond(connection, response);
        }
    }
    world.close(connection);
    world
}

fn until_close() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, b"GET /old HTTP/1.0\r\n\r\n");
    world.respond(connection, b"HTTP/1.0 200 OK\r\n\r\nsome");
    world.wait(5 * MS);
    world.respond(connection, b"thing");
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.receive_end(client);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    world
}

fn reset() -> World {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.request(connection, REQUESTS[0]);
    world.respond(connection, &RESPONSES[0][..40]);
    world.wait(3 * MS);
    world.call(server, Kind::Close, 0, US);
    world.gone(server, 0);
    world.gone(client, 104);
    world.call(client, Kind::Receive, 104, US);
    world.call(client, Kind::Close, 0, US);
    world
}

/// The world without some of its events, which the recorder counted as lost.
fn without(world: &World, lost: &[usize]) -> World {
    let mut world = world.clone();
    for &index in lost {
        let at = world.rows[index].boot_ns;
        world.losses.push((at - MS, at + MS));
    }
    let mut index = 0;
    world.rows.retain(|_| {
        index += 1;
        !lost.contains(&(index - 1))
    });
    world
}

/// Every span is as it was with all events, or marked; none is new, and no parent is another.
fn right_or_marked(whole: &Assembled, part: &Assembled) -> Result<(), String> {
    let truth: BTreeMap<_, &Cells> =
        whole.rows("spans").iter().map(|span| (&span["span_id"], span)).collect();
    for span in part.rows("spans") {
        let Some(right) = truth.get(&span["span_id"]) else { return Err(format!("invented: {span:#?}")) };
        if let Some(parent) = span.get("parent_span_id")
            && right.get("parent_span_id") != Some(parent)
        {
            return Err(format!("another parent: {span:#?} instead of {right:#?}"));
        }
        if span["outcome"] == "lost" {
            continue;
        }
        let duration = |span: &Cells| span["duration_ns"].parse::<i64>().unwrap_or_default();
        if line(span, WHAT) != line(right, WHAT) || (duration(span) - duration(right)).abs() > 100 * US {
            return Err(format!("wrong: {span:#?} instead of {right:#?}"));
        }
    }
    Ok(())
}

#[test]
fn without_any_one_event_spans_are_right_or_marked() {
    for (name, world) in stories() {
        let whole = world.assembled();
        let bad: Vec<_> = whole.rows("spans").iter().filter(|span| span["outcome"] == "lost").collect();
        assert!(bad.is_empty(), "{name}: nothing is lost while nothing is missing: {bad:#?}");
        for lost in 0..world.rows.len() {
            let part = without(&world, &[lost]).assembled();
            if let Err(reason) = right_or_marked(&whole, &part) {
                panic!("{name} without event {lost}, {:?}: {reason}", world.rows[lost]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_several_events_nothing_panics_or_is_invented(
        story in 0..7_usize,
        lost in prop::collection::vec(any::<prop::sample::Index>(), 2..6),
    ) {
        let (name, world) = stories().swap_remove(story);
        let lost: Vec<_> = lost.iter().map(|index| index.index(world.rows.len())).collect();
        let whole = world.assembled();
        let part = without(&world, &lost).assembled();
        let known: Vec<_> = whole.rows("spans").iter().map(|span| &span["span_id"]).collect();
        for span in part.rows("spans") {
            prop_assert!(known.contains(&&span["span_id"]), "{} without {:?}: {:#?}", name, lost, span);
        }
    }
}
