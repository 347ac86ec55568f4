//! Connections that take long to come about, or never do: what their rows say, and which requests waited for them.

use crate::assembly_support::{Assembled, Cells, Connection, GET, MS, OK, US, World, line, socket_id};
use retrospan_formats::event::Kind;

const ECONNREFUSED: u32 = 111;
const ETIMEDOUT: u32 = 110;
const EHOSTUNREACH: u32 = 113;

/// The row of a connection that only its requesting side knows.
fn connection(assembled: &Assembled, client: usize) -> &Cells {
    let id = socket_id(client).to_string();
    let mut rows = assembled.rows("connections").iter();
    rows.find(|row| row.get("client_socket_id") == Some(&id)).expect("a row of that socket")
}

/// client -> proxy:8000 -> server:8080.
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

    /// A request on connections of its own, without any delay.
    fn quick(&self, world: &mut World) {
        let one = world.connect(self.client, self.proxy, 8000);
        let two = world.connect(self.proxy, self.server, 8080);
        exchange(world, one, two);
    }
}

fn exchange(world: &mut World, one: Connection, two: Connection) {
    world.request(one, GET);
    world.request(two, GET);
    world.respond(two, OK);
    world.respond(one, OK);
    world.close(one);
    world.close(two);
}

fn waited(span: &Cells) -> String {
    line(span, &["connect_ns", "connect_to", "connect_connection_id"])
}

/// The children that tell what the span waited for.
fn children(assembled: &Assembled, span: &Cells) -> Vec<String> {
    let columns = ["name", "process", "duration_ns", "outcome", "status_text", "link_evidence"];
    assembled.waits(span).into_iter().map(|wait| line(wait, &columns)).collect()
}

/// In a chain in which nothing overlaps own times add up to the root's duration.
fn assert_adds_up(assembled: &Assembled, root: &Cells) {
    let spans = assembled.spans();
    let of_trace = spans.iter().filter(|span| span["trace_id"] == root["trace_id"]);
    let own: i64 = of_trace.map(|span| number(span, "own_ns")).sum();
    assert_eq!(own, number(root, "duration_ns"), "{spans:#?}");
}

fn number(span: &Cells, column: &str) -> i64 {
    span[column].parse().expect("a number")
}

#[test]
fn a_connect_that_came_to_nothing_says_what_ended_it() {
    let columns = ["connect_outcome", "connect_ns", "syn_retransmits", "closed_by", "close_kind", "hop"];
    let end = |sk_err: u32, with_reset: bool| {
        let mut world = World::new();
        let client = world.process("curl");
        let socket = world.connecting(client, 80);
        world.wait(100 * MS);
        world.tcp.push((world.now_ns, "retransmit", socket, 2));
        if with_reset {
            world.tcp.push((world.now_ns, "reset_received", socket, 2));
        }
        if sk_err == 0 {
            world.call(socket, Kind::Close, 0, US);
        }
        world.gone(socket, sk_err);
        line(connection(&world.assembled(), socket), &columns)
    };
    let hop = "curl -> 127.0.0.1:80";
    assert_eq!(end(ECONNREFUSED, true), format!("refused 100020000 1 server rst {hop}"));
    assert_eq!(end(ECONNREFUSED, false), format!("refused 100020000 1 - - {hop}"), "ICMP says so too");
    assert_eq!(end(ETIMEDOUT, false), format!("timed_out 100020000 1 - timeout {hop}"));
    assert_eq!(end(EHOSTUNREACH, false), format!("unreachable 100020000 1 - - {hop}"));
    assert_eq!(end(0, false), format!("abandoned 100030000 1 - - {hop}"));
}

#[test]
fn an_established_connection_says_how_long_that_took() {
    let mut world = World::new();
    let (client, server) = (world.process("curl"), world.process("server"));
    let socket = world.connecting(client, 80);
    world.wait(1_000 * MS);
    let made = world.established(socket, server);
    world.request(made, GET);
    world.respond(made, OK);
    world.close(made);
    let columns = ["connect_outcome", "connect_ns", "syn_retransmits", "accept_wait_ns", "closed_by", "hop"];
    let assembled = world.assembled();
    // Without table `tcp` nobody knows how many SYNs were sent.
    let row = "ok 1000030000 - 20000 client curl -> server:80";
    assert_eq!(line(connection(&assembled, socket), &columns), row);
    assert_eq!(waited(assembled.only(made.client)), "- - -", "the request was sent afterwards");
    world.tcp.push((world.now_ns, "retransmit", socket, 2));
    let row = "ok 1000030000 1 20000 client curl -> server:80";
    assert_eq!(line(connection(&world.assembled(), socket), &columns), row);
}

#[test]
fn a_connection_that_nobody_accepted_is_of_the_hop_to_who_listens_there() {
    let mut world = World::new();
    let (client, server) = (world.process("curl"), world.process("server"));
    world.listener(server, 80);
    let queued = world.connecting(client, 80);
    let elsewhere = world.connecting(client, 81);
    let assembled = world.assembled();
    assert_eq!(line(connection(&assembled, queued), &["hop", "connect_outcome"]), "curl -> server:80 -");
    assert_eq!(connection(&assembled, elsewhere)["hop"], "curl -> 127.0.0.1:81");
}

#[test]
fn requests_wait_for_the_connection_that_their_proxy_opens() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let one = world.connect(chain.client, chain.proxy, 8000);
    world.send(one.client, GET);
    let opened = world.connecting(chain.proxy, 8080);
    world.wait(1_000 * MS);
    let two = world.established(opened, chain.server);
    // The proxy reads only now.
    world.receive(one.server, GET);
    world.request(two, GET);
    world.respond(two, OK);
    world.respond(one, OK);
    let assembled = world.assembled();
    let client = assembled.only(one.client);
    let id = socket_id(opened);
    assert_eq!(waited(client), format!("1000030000 127.0.0.1:8080 {id}"));
    assert!(number(client, "own_ns") < MS, "{client:?}");
    assert_eq!(waited(assembled.only(one.server)), "- - -");
    assert_adds_up(&assembled, client);
    assert_eq!(children(&assembled, client), ["connect 127.0.0.1:8080 envoy 1000030000 ok - proxy_bytes"]);
    let [wait] = assembled.waits(client)[..] else { panic!("one wait") };
    let columns =
        ["kind", "connection_id", "dst_port", "own_ns", "attributes", "connect_ns", "operation", "protocol"];
    assert_eq!(line(wait, &columns), format!("internal {id} 8080 1000030000 {{}} - - tcp"));
    assert_eq!(wait["trace_id"], client["trace_id"]);
    assert!(number(wait, "start_time") >= number(client, "start_time"));
    // Requests are counted as before, and the same capture gives the same ids.
    assert_eq!(assembled.rows("traces")[0]["spans"], "4");
    assert_eq!(assembled, world.assembled());
    world.tcp.push((world.now_ns, "retransmit", opened, 2));
    let again = world.assembled();
    let wait = again.waits(again.only(one.client))[0]["attributes"].clone();
    assert_eq!(wait, "{\"retrospan.connect.syn_retransmits\":1}");
}

#[test]
fn whoever_tries_again_has_a_wait_each_time() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let one = world.connect(chain.client, chain.proxy, 8000);
    world.request(one, b"GET / HTTP/1.1\r\nX-Request-Id: r1\r\n\r\n");
    let refused = world.connecting(chain.proxy, 8080);
    world.wait(20 * MS);
    world.gone(refused, ECONNREFUSED);
    world.call(refused, Kind::Close, 0, US);
    let opened = world.connecting(chain.proxy, 8080);
    world.wait(300 * MS);
    let two = world.established(opened, chain.server);
    world.request(two, b"GET / HTTP/1.1\r\nX-Request-Id: r1\r\nX-Forwarded-For: 1\r\n\r\n");
    world.respond(two, OK);
    world.respond(one, OK);
    let assembled = world.assembled();
    let waits = children(&assembled, assembled.only(one.server));
    let refused = "connect 127.0.0.1:8080 envoy 20020000 error refused thread";
    assert_eq!(waits, [refused, "connect 127.0.0.1:8080 envoy 300030000 ok - context"]);
    assert_adds_up(&assembled, assembled.only(one.client));
}

#[test]
fn a_request_waits_for_its_own_connection_to_be_accepted() {
    let accepted_after = |wait_ns: i64| {
        let mut world = World::new();
        let (client, server) = (world.process("curl"), world.process("server"));
        let socket = world.connecting(client, 80);
        let made = world.queued(socket, server);
        world.send(made.client, GET);
        world.wait(wait_ns);
        world.call(made.server, Kind::Accept, 0, 5 * US);
        world.receive(made.server, GET);
        world.respond(made, OK);
        let assembled = world.assembled();
        let span = assembled.only(made.client);
        assert_eq!(children(&assembled, span), Vec::<String>::new(), "it is established");
        assert_adds_up(&assembled, span);
        assert!(number(span, "own_ns") >= number(span, "accept_wait_ns"));
        assert_eq!(span["connect_to"], "127.0.0.1:80");
        line(span, &["connect_ns", "accept_wait_ns"])
    };
    assert_eq!(accepted_after(300 * MS), "300014000 300014000");
    assert_eq!(accepted_after(MS), "1014000 1014000");
}

#[test]
fn a_proxy_that_reads_first_waits_in_its_own_span() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let one = world.connect(chain.client, chain.proxy, 8000);
    world.request(one, b"GET / HTTP/1.1\r\nX-Request-Id: r1\r\n\r\n");
    let opened = world.connecting(chain.proxy, 8080);
    world.wait(300 * MS);
    let two = world.established(opened, chain.server);
    world.request(two, b"GET / HTTP/1.1\r\nX-Request-Id: r1\r\nX-Forwarded-For: 1\r\n\r\n");
    world.respond(two, OK);
    world.respond(one, OK);
    let assembled = world.assembled();
    assert_eq!(assembled.only(two.client)["link_evidence"], "context");
    assert_eq!(waited(assembled.only(one.server)), format!("300030000 127.0.0.1:8080 {}", socket_id(opened)));
    assert_eq!(waited(assembled.only(one.client)), "- - -");
    let wait = children(&assembled, assembled.only(one.server));
    assert_eq!(wait, ["connect 127.0.0.1:8080 envoy 300030000 ok - context"]);
    assert_adds_up(&assembled, assembled.only(one.client));
}

#[test]
fn who_gives_up_waited_where_the_proxy_is_shown_to_work_so() {
    // `before`: requests that show it; `accepts`: connections accepted in a row.
    let given_up = |before: usize, accepts: usize| {
        let mut world = World::new();
        let chain = Chain::new(&mut world);
        (0..before).for_each(|_| chain.quick(&mut world));
        let fronts: Vec<_> = (0..accepts).map(|_| world.connect(chain.client, chain.proxy, 8000)).collect();
        world.send(fronts[accepts - 1].client, GET);
        let opened = world.connecting(chain.proxy, 8080);
        world.wait(500 * MS);
        let Connection { client, server } = fronts[accepts - 1];
        world.call(client, Kind::Close, 0, US);
        world.fin(client, server);
        world.gone(client, 0);
        world.wait(5_000 * MS);
        world.gone(opened, ETIMEDOUT);
        let assembled = world.assembled();
        let span = assembled.only(client);
        let waits = children(&assembled, span);
        assert_eq!(waits.len(), usize::from(span.contains_key("connect_ns")), "{waits:?}");
        // The connect timed out when nobody waited for it any more.
        let given_up = "connect 127.0.0.1:8080 envoy 500030000 client_closed - thread";
        assert!(waits.iter().all(|wait| wait == given_up), "{waits:?}");
        (span["outcome"].clone(), span.get("connect_ns").cloned())
    };
    let waited = |ns: &str| ("client_closed".to_owned(), Some(ns.to_owned()));
    let unknown = ("client_closed".to_owned(), None);
    assert_eq!(given_up(1, 1), waited("500030000"));
    assert_eq!(given_up(0, 1), unknown, "the order alone is no evidence");
    assert_eq!(given_up(1, 2), unknown, "either may be meant");
}

#[test]
fn a_request_that_comes_when_the_connect_has_failed_fails_with_it() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    let one = world.connect(chain.client, chain.proxy, 8000);
    let opened = world.connecting(chain.proxy, 8080);
    world.gone(opened, ECONNREFUSED);
    world.call(opened, Kind::Close, 0, US);
    world.call(one.server, Kind::Close, 0, US);
    world.send(one.client, GET);
    world.fin(one.server, one.client);
    let assembled = world.assembled();
    let span = assembled.only(one.client);
    assert_eq!((span["outcome"].as_str(), span["connect_ns"].as_str()), ("server_closed", "0"));
    assert_eq!(span["connect_to"], "127.0.0.1:8080");
    assert_eq!(children(&assembled, span), ["connect 127.0.0.1:8080 envoy 0 error refused thread"]);
    assert_adds_up(&assembled, span);
}

#[test]
fn a_proxy_closes_both_where_its_connect_was_refused() {
    let refused = |together: bool| {
        let mut world = World::new();
        let chain = Chain::new(&mut world);
        let one = world.connect(chain.client, chain.proxy, 8000);
        world.send(one.client, GET);
        let opened = world.connecting(chain.proxy, 8080);
        world.wait(20 * MS);
        world.gone(opened, ECONNREFUSED);
        world.call(opened, Kind::Close, 0, US);
        if !together {
            world.receive(one.server, GET);
        }
        world.call(one.server, Kind::Close, 0, US);
        world.fin(one.server, one.client);
        let assembled = world.assembled();
        let span = assembled.only(one.client);
        let waits = children(&assembled, span);
        let failed = "connect 127.0.0.1:8080 envoy 20020000 error refused thread";
        assert!(waits.iter().all(|wait| wait == failed), "{waits:?}");
        assert_eq!(waits.len(), usize::from(together));
        (span["outcome"].clone(), span.get("connect_ns").cloned())
    };
    assert_eq!(refused(true), ("server_closed".to_owned(), Some("20020000".to_owned())));
    assert_eq!(refused(false), ("server_closed".to_owned(), None));
}

#[test]
fn a_proxy_may_give_the_connection_to_another_request_that_waits() {
    let mut world = World::new();
    let chain = Chain::new(&mut world);
    chain.quick(&mut world);
    let requests = ["/1", "/2"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    let waiting = requests.each_ref().map(|request| {
        let front = world.connect(chain.client, chain.proxy, 8000);
        world.send(front.client, request.as_bytes());
        (front, world.connecting(chain.proxy, 8080))
    });
    world.wait(500 * MS);
    let backs = waiting.map(|(_, opened)| world.established(opened, chain.server));
    for ((front, _), request) in waiting.iter().zip(&requests) {
        world.receive(front.server, request.as_bytes());
    }
    for (index, (front, _)) in waiting.iter().enumerate() {
        // The first request goes by what was opened for the second.
        world.request(backs[1 - index], requests[index].as_bytes());
        world.respond(backs[1 - index], OK);
        world.respond(*front, OK);
    }
    let assembled = world.assembled();
    for (front, _) in waiting {
        let span = assembled.only(front.client);
        assert!(number(span, "connect_ns") > 500 * MS);
        // The one that it opened and the one that it got are one wait.
        assert_eq!(assembled.waits(span).len(), 1);
        assert_adds_up(&assembled, span);
    }
}

#[test]
fn an_address_that_a_failed_connect_took_away_is_not_known() {
    let mut world = World::new();
    let client = world.process("curl");
    let socket = world.connecting(client, 80);
    world.sockets[socket].remote = ("0.0.0.0", 0);
    world.gone(socket, EHOSTUNREACH);
    let row =
        line(connection(&world.assembled(), socket), &["dst_addr", "dst_port", "hop", "connect_outcome"]);
    assert_eq!(row, "- - curl -> ?:? unreachable");
}
