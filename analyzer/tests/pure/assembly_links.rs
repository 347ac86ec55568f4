//! One case a kind of evidence: who called whom, and when nobody may be named.

use crate::assembly_support::{Assembled, Cells, Connection, MS, US, World, line, socket_id};
use retrospan_formats::event::Kind;

const GET: &[u8] = b"GET /same HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// client -> proxy -> server, with one connection of each hop per request.
struct Chain {
    client: usize,
    proxy: usize,
    server: usize,
}

impl Chain {
    fn new(world: &mut World) -> Chain {
        let (client, proxy) = (world.process("client"), world.process("envoy"));
        Chain { client, proxy, server: world.process("server") }
    }

    /// The proxy accepts and connects at once.
    fn connect(&self, world: &mut World) -> [Connection; 2] {
        [world.connect(self.client, self.proxy, 8000), world.connect(self.proxy, self.server, 8080)]
    }
}

fn evidence(span: &Cells) -> &str {
    span.get("link_evidence").map_or("-", String::as_str)
}

/// The client span of hop two that belongs to each server span of hop one.
fn all_paired(assembled: &Assembled, chains: &[[Connection; 2]], requests: usize) {
    for [one, two] in chains {
        let (servers, clients) = (assembled.of(one.server), assembled.of(two.client));
        assert_eq!((servers.len(), clients.len()), (requests, requests));
        for (server, client) in servers.iter().zip(&clients) {
            assert_eq!(client.get("parent_span_id"), Some(&server["span_id"]));
            assert_eq!(evidence(client), "proxy_bytes");
            assert_eq!(client["trace_id"], server["trace_id"]);
        }
    }
}

#[test]
fn a_proxy_chain_is_one_trace_with_own_times_that_add_up() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let [one, two] = chain.connect(&mut world);
    world.request(one, GET);
    world.request(two, GET);
    world.wait(30 * MS);
    world.respond(two, OK);
    world.respond(one, OK);
    world.close(one);
    world.close(two);
    let assembled = world.assembled();
    all_paired(&assembled, &[[one, two]], 1);
    let spans = assembled.spans();
    let own: i64 = spans.iter().map(|span| span["own_ns"].parse::<i64>().unwrap()).sum();
    assert_eq!(own.to_string(), assembled.only(one.client)["duration_ns"]);
    let traces = assembled.rows("traces");
    assert_eq!(traces.len(), 1);
    assert_eq!(line(&traces[0], &["spans", "services"]), "4 client,envoy,server");
}

#[test]
fn equal_requests_at_once_are_told_apart_by_whole_connections() {
    for fifo in [false, true] {
        let mut world = World::new();
        let chain = Chain::new(&mut world);
        let chains: Vec<_> = (0..64).map(|_| chain.connect(&mut world)).collect();
        for _ in 0..3 {
            for [one, _] in &chains {
                world.send(one.client, GET);
            }
            if fifo {
                // One turn of an event loop: all that is readable, then all that is writable.
                for [one, _] in &chains {
                    world.receive(one.server, GET);
                }
                for [_, two] in &chains {
                    world.request(*two, GET);
                }
            } else {
                for [one, two] in &chains {
                    world.receive(one.server, GET);
                    world.request(*two, GET);
                }
            }
            for [one, two] in chains.iter().rev() {
                world.respond(*two, OK);
                world.respond(*one, OK);
            }
        }
        let assembled = world.assembled();
        all_paired(&assembled, &chains, 3);
        assert_eq!(assembled.summary.broken_pairs, 0);
    }
}

/// A proxy that takes the first bytes before it connects. `at_once`: it connects right after that.
fn read_first(at_once: bool, path: impl Fn(usize) -> String) -> (Assembled, Vec<[Connection; 2]>) {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let get = |number| with(&path(number), "");
    let fronts: Vec<_> = (0..12).map(|_| world.connect(chain.client, chain.proxy, 8000)).collect();
    let mut chains = Vec::new();
    for (number, front) in fronts.iter().enumerate() {
        world.request(*front, &get(number));
        if at_once {
            chains.push([*front, world.connect(chain.proxy, chain.server, 8080)]);
        }
    }
    for front in &fronts[chains.len()..] {
        chains.push([*front, world.connect(chain.proxy, chain.server, 8080)]);
    }
    for (number, [_, back]) in chains.iter().enumerate().rev() {
        world.request(*back, &get(number));
    }
    for [front, back] in &chains {
        world.respond(*back, OK);
        world.respond(*front, OK);
    }
    for (number, [front, back]) in chains.iter().enumerate() {
        world.request(*front, &get(number + 100));
        world.request(*back, &get(number + 100));
        world.respond(*back, OK);
        world.respond(*front, OK);
    }
    (world.assembled(), chains)
}

#[test]
fn a_proxy_may_read_before_it_connects() {
    // Equal requests are told apart by the thread, others by their bytes.
    let (assembled, chains) = read_first(true, |_| "/same".to_owned());
    all_paired(&assembled, &chains, 2);
    let (assembled, chains) = read_first(false, |number| format!("/request/{number}"));
    all_paired(&assembled, &chains, 2);
    let (assembled, chains) = read_first(false, |_| "/same".to_owned());
    for [_, back] in chains {
        assert!(assembled.of(back.client).into_iter().all(|span| evidence(span) != "proxy_bytes"));
    }
}

#[test]
fn one_thread_may_accept_and_another_connect() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let mut chains = Vec::new();
    for number in 0..8 {
        let first = world.rows.len();
        let [one, two] = chain.connect(&mut world);
        chains.push([one, two]);
        world.request(one, &with(&format!("/{number}"), ""));
        world.request(two, &with(&format!("/{number}"), ""));
        for row in &mut world.rows[first..] {
            row.tid += u32::from(row.socket == two.client && row.tid != 0) * 50;
        }
    }
    for [one, two] in &chains {
        world.respond(*two, OK);
        world.respond(*one, OK);
    }
    all_paired(&world.assembled(), &chains, 1);
}

#[test]
fn a_proxy_protocol_header_shifts_positions_and_breaks_no_pair() {
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[127; 12]].concat();
    let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 33333 80\r\n".to_vec();
    for header in [v1, v2] {
        for (incoming, outgoing, own_call) in [(false, true, true), (false, true, false), (true, false, true)]
        {
            let mut world = World::new();
            let chain = Chain::new(&mut world);
            let [one, two] = chain.connect(&mut world);
            for (hop, has_header) in [(one, incoming), (two, outgoing)] {
                if has_header && own_call {
                    world.request(hop, &header);
                }
                let together = has_header && !own_call;
                let first = [if together { header.as_slice() } else { b"" }, GET].concat();
                world.request(hop, &first);
            }
            for round in 0..3 {
                if round > 0 {
                    world.request(one, GET);
                    world.request(two, GET);
                }
                world.respond(two, OK);
                world.respond(one, OK);
            }
            let assembled = world.assembled();
            assert_eq!(assembled.summary.broken_pairs, 0);
            let (servers, clients) = (assembled.of(one.server), assembled.of(two.client));
            // The request right after the header may be unknown; those that follow are not.
            for (server, client) in servers.iter().rev().zip(clients.iter().rev()).take(2) {
                assert_eq!(client.get("parent_span_id"), Some(&server["span_id"]), "{header:?}");
                assert_eq!(evidence(client), "proxy_bytes");
            }
        }
    }
}

#[test]
fn accepts_in_a_row_leave_two_pairings_possible() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let fronts = [(); 2].map(|()| world.connect(chain.client, chain.proxy, 8000));
    // Only accepts of the proxy's thread count; here they follow each other.
    let backs = [(); 2].map(|()| world.connect(chain.proxy, chain.server, 8080));
    for front in fronts {
        world.request(front, GET);
    }
    for back in backs {
        world.request(back, GET);
    }
    let assembled = world.assembled();
    for back in backs {
        assert_eq!(evidence(assembled.only(back.client)), "-");
    }
}

#[test]
fn other_bytes_are_no_proxy() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let other = world.connect(chain.client, chain.proxy, 8000);
    world.request(other, GET);
    let [one, two] = chain.connect(&mut world);
    world.request(one, GET);
    world.request(two, b"GET /diff HTTP/1.1\r\nHost: h\r\n\r\n");
    let assembled = world.assembled();
    assert_eq!(evidence(assembled.only(two.client)), "-");
}

#[test]
fn a_pair_that_stops_to_be_equal_links_no_more() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let [one, two] = chain.connect(&mut world);
    world.request(one, GET);
    world.request(two, GET);
    world.respond(two, OK);
    world.respond(one, OK);
    let busy = world.connect(chain.client, chain.proxy, 8000);
    world.request(busy, GET);
    // More leaves than came.
    world.request(two, GET);
    let assembled = world.assembled();
    let links: Vec<_> = assembled.of(two.client).into_iter().map(evidence).collect();
    assert_eq!(links, ["proxy_bytes", "-"]);
    assert_eq!(assembled.summary.broken_pairs, 1);
}

#[test]
fn connections_from_before_the_recording_are_not_paired() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let chains = [(); 4].map(|()| {
        [
            world.old_connection(chain.client, chain.proxy, 8000),
            world.old_connection(chain.proxy, chain.server, 8080),
        ]
    });
    for [one, _] in chains {
        world.request(one, GET);
    }
    for [_, two] in chains {
        world.request(two, GET);
    }
    for [one, two] in chains {
        world.respond(two, OK);
        world.respond(one, OK);
    }
    let assembled = world.assembled();
    for [one, two] in chains {
        assert_eq!(evidence(assembled.only(two.client)), "-");
        // Both ends of one connection are known all the same.
        for connection in [one, two] {
            let (client, server) = (assembled.only(connection.client), assembled.only(connection.server));
            assert_eq!(server.get("parent_span_id"), Some(&client["span_id"]));
            assert_eq!(line(server, &["src_port", "dst_port"]), line(client, &["src_port", "dst_port"]));
        }
    }
}

#[test]
fn a_client_that_gave_up_leaves_its_upstream_request_a_child() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let [one, two] = chain.connect(&mut world);
    world.request(one, GET);
    world.request(two, GET);
    world.wait(500 * MS);
    world.call(one.client, Kind::Close, 0, US);
    world.fin(one.client, one.server);
    world.gone(one.client, 0);
    // The proxy shuts down its sending half and waits for the answer.
    world.call(two.client, Kind::Shutdown, 0, US);
    world.fin(two.client, two.server);
    world.wait(2_500 * MS);
    world.respond(two, OK);
    world.send(one.server, OK);
    world.gone(one.server, 32);
    world.call(two.server, Kind::Close, 0, US);
    world.fin(two.server, two.client);
    world.gone(two.server, 0);
    let assembled = world.assembled();
    all_paired(&assembled, &[[one, two]], 1);
    let outcome = |socket| line(assembled.only(socket), &["outcome", "status", "late_status"]);
    assert_eq!(outcome(one.client), "client_closed - -");
    assert_eq!(outcome(one.server), "client_closed - 200");
    assert_eq!(outcome(two.client), "ok 200 -");
    assert_eq!(outcome(two.server), "ok 200 -");
    let traces = assembled.rows("traces");
    assert_eq!(traces.len(), 1);
    assert_eq!(line(&traces[0], &["spans", "errors", "root_outcome"]), "4 2 client_closed");
}

#[test]
fn the_same_addresses_in_two_namespaces_are_two_connections() {
    let mut world = World::new();
    let (client, server) = (world.process("client"), world.process("server"));
    let one = world.connect(client, server, 80);
    world.next_port -= 1;
    let two = world.connect(client, server, 80);
    for socket in [two.client, two.server] {
        world.sockets[socket].netns += 1;
    }
    for connection in [one, two] {
        world.send(connection.client, GET);
    }
    for connection in [two, one] {
        world.receive(connection.server, GET);
        world.respond(connection, OK);
    }
    let assembled = world.assembled();
    for connection in [one, two] {
        let (client, server) = (assembled.only(connection.client), assembled.only(connection.server));
        assert_eq!(server.get("parent_span_id"), Some(&client["span_id"]));
        assert_eq!(client["connection_id"], socket_id(connection.client).to_string());
    }
    assert_eq!(assembled.rows("connections").len(), 2);
}

const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
const CHILD: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-01\r\n";

fn with(path: &str, header: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{header}\r\n").into_bytes()
}

#[test]
fn an_equal_trace_id_says_which_trace_and_the_process_says_who() {
    let mut world = World::new();
    let (stranger, app, store) = (world.stranger("far"), world.process("app"), world.process("store"));
    let one = world.connect(stranger, app, 80);
    let other = world.connect(stranger, app, 80);
    let back = world.connect(app, store, 90);
    world.request(other, &with("/other", ""));
    world.request(one, &with("/front", PARENT));
    world.request(back, &with("/back", CHILD));
    world.respond(back, OK);
    world.respond(one, OK);
    let assembled = world.assembled();
    let (front, call) = (assembled.only(one.server), assembled.only(back.client));
    assert_eq!(front["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(front["remote_parent_span_id"], "00f067aa0ba902b7");
    assert!(!front.contains_key("parent_span_id"));
    assert_eq!(call.get("parent_span_id"), Some(&front["span_id"]));
    assert_eq!(evidence(call), "context");
    assert!(!call.contains_key("remote_parent_span_id"));
    assert_eq!(assembled.only(back.server)["trace_id"], front["trace_id"]);
}

/// A connection to an application, and one from it to a store.
struct Service {
    world: World,
    front: Connection,
    back: Connection,
}

impl Service {
    fn new() -> Service {
        let mut world = World::new();
        let (client, app, store) = (world.process("client"), world.process("app"), world.process("store"));
        let front = world.connect(client, app, 80);
        let back = world.connect(app, store, 90);
        Service { world, front, back }
    }

    /// A call to the store; a thread that blocks waits for the answer within its receive.
    fn call(&mut self, path: &str, blocks: bool) {
        let sent_ns = self.world.now_ns;
        self.world.request(self.back, &with(path, ""));
        self.world.wait(3 * MS);
        self.world.send(self.back.server, OK);
        let row = self.world.receive(self.back.client, OK);
        if blocks {
            row.duration_ns = row.boot_ns - sent_ns - 20 * US;
        }
    }

    fn answer(&mut self) {
        self.world.respond(self.front, OK);
    }

    /// Evidence of the calls by the end of their path, and whether each hangs below the request of the same number.
    fn calls(&self) -> Vec<(String, String, bool)> {
        let assembled = self.world.assembled();
        let requests = assembled.of(self.front.server);
        let number = |path: &str| path.rsplit('-').next().unwrap_or_default().to_owned();
        let call = |call: &&Cells| {
            let parent = call.get("parent_span_id");
            let parent = requests.iter().find(|request| Some(&request["span_id"]) == parent);
            let right = parent.is_some_and(|parent| number(&parent["path"]) == number(&call["path"]));
            (call["path"].clone(), evidence(call).to_owned(), right)
        };
        assembled.of(self.back.client).iter().map(call).collect()
    }
}

#[test]
fn a_blocking_thread_with_one_request_in_hand_calls_for_it() {
    let mut service = Service::new();
    service.world.request(service.front, &with("/front-1", ""));
    service.call("/back-1", true);
    service.answer();
    // After the answer the thread works for nobody.
    service.call("/later-1", true);
    let none = |path: &str| (path.to_owned(), "-".to_owned(), false);
    let thread = |path: &str| (path.to_owned(), "thread".to_owned(), true);
    assert_eq!(service.calls(), [thread("/back-1"), none("/later-1")]);
}

#[test]
fn that_one_request_waits_is_no_evidence_in_an_event_loop() {
    let mut service = Service::new();
    for number in 0..40 {
        service.world.request(service.front, &with(&format!("/front-{number}"), ""));
        // A timer fires while the request waits; only every other request makes a call of its own.
        service.world.wait(7 * MS);
        service.call("/timer", false);
        if number % 2 == 0 {
            service.call(&format!("/back-{number}"), false);
        } else {
            service.world.wait(7 * MS);
        }
        service.answer();
    }
    assert!(service.calls().iter().all(|(_, evidence, _)| evidence == "-"));
}

#[test]
fn an_event_loop_that_makes_the_same_calls_for_every_request_is_believed() {
    for timer in [false, true] {
        let mut service = Service::new();
        for number in 0..80 {
            service.world.request(service.front, &with(&format!("/front-{number}"), ""));
            service.call(&format!("/one-{number}"), false);
            service.call(&format!("/two-{number}"), false);
            if timer && number == 50 {
                service.call("/timer", false);
            }
            service.answer();
            service.world.wait(MS);
        }
        let calls = service.calls();
        assert_eq!(calls.len(), 160 + usize::from(timer));
        for (path, evidence, right) in calls {
            let expected = if path == "/timer" { ("-", false) } else { ("thread", true) };
            assert_eq!((evidence.as_str(), right), expected, "{path}");
        }
    }
}

#[test]
fn calls_are_told_by_what_comes_before_answers_and_calls_beside_requests_are_nobodys() {
    for beside in [false, true] {
        let mut service = Service::new();
        for number in 0..40 {
            service.world.request(service.front, &with(&format!("/front-{number}"), ""));
            // As regular, but where it waits not at once.
            service.world.wait(if beside { 0 } else { 20 * MS });
            service.call(&format!("/back-{number}"), false);
            service.answer();
            if beside && number % 10 == 0 {
                service.call("/timer", false);
            }
        }
        for (path, evidence, right) in service.calls() {
            // At once the thread is seen to have one request in hand; else only what came before the answers tells.
            let by = if beside { "thread" } else { "turn" };
            let expected = if path != "/timer" { (by, true) } else { ("-", false) };
            assert_eq!((evidence.as_str(), right), expected, "{path}");
        }
    }
}

#[test]
fn a_thread_with_two_requests_in_hand_calls_for_neither() {
    let mut service = Service::new();
    let [client, app] =
        [service.front.client, service.front.server].map(|s| service.world.sockets[s].process);
    let other = service.world.connect(client, app, 80);
    for front in [service.front, other] {
        service.world.request(front, &with("/front-1", ""));
    }
    service.call("/back-1", true);
    service.answer();
    service.world.respond(other, OK);
    assert!(service.calls().iter().all(|(_, evidence, _)| evidence == "-"));
}

#[test]
fn another_thread_or_another_trace_is_no_evidence() {
    for (tid, header) in [(999, ""), (0, CHILD)] {
        let mut world = World::new();
        let (client, app, store) = (world.process("client"), world.process("app"), world.process("store"));
        let front = world.connect(client, app, 80);
        let back = world.connect(app, store, 90);
        let context = "traceparent: 00-00000000000000000000000000000001-00f067aa0ba902b7-01\r\n";
        world.request(front, &with("/front", context));
        let row = world.send(back.client, &with("/back", header));
        if tid != 0 {
            row.tid = tid;
        }
        let assembled = world.assembled();
        assert_eq!(evidence(assembled.only(back.client)), "-");
    }
}

#[test]
fn the_same_capture_gives_the_same_rows() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    for _ in 0..20 {
        let [one, two] = chain.connect(&mut world);
        world.request(one, GET);
        world.request(two, GET);
        world.respond(two, OK);
        world.respond(one, OK);
        world.close(one);
        world.close(two);
        world.wait(100 * MS);
    }
    let recorded = world.capture();
    assert_eq!(recorded.assembled(), recorded.assembled());
}
