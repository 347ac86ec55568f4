//! Real clients, proxies and servers: every request is one span per side and says
//! what the clients and the servers logged.

use crate::lab::chain::{Chain, Way};
use crate::lab::check;
use crate::lab::client::{Connection, Exchange, Request};
use crate::lab::recording::Recording;
use crate::lab::servers::{self, Server};
use crate::lab::{self, ebpf_or_skip, folder, load};

/// Checks both sides of all three hops of a chain against the client's notes.
fn chain_tells(spans: &[lab::capture::Span], chain: &Chain, ways: &[Way], truth: &[Exchange]) {
    for (hop, port) in chain.ports().into_iter().enumerate() {
        let here: Vec<_> = truth.iter().map(|exchange| on_hop(exchange, ways, hop)).collect();
        check::exchanges(spans, "client", port, &here);
        check::exchanges(spans, "server", port, &here);
    }
}

/// The same exchange as a later hop sees it: from another port.
fn on_hop(exchange: &Exchange, ways: &[Way], hop: usize) -> Exchange {
    let way = ways.iter().find(|way| way.ports[0] == exchange.client_port);
    let way = way.unwrap_or_else(|| panic!("Envoy logged no connection from {}", exchange.client_port));
    Exchange { client_port: way.ports[hop], ..exchange.clone() }
}

fn curl_through_a_chain(test: &str, server: impl FnOnce(&std::path::Path) -> Server, paths: &[&str]) {
    let Some(_turn) = ebpf_or_skip(test) else { return };
    let chain = Chain::before(server);
    let recording = Recording::of_ports(&chain.ports());
    let mut truth = Vec::new();
    for _ in 0..5 {
        truth.extend(load::curl(chain.port(), paths, &[]));
        truth.extend(load::curl(chain.port(), &paths[..1], &["-I"]));
    }
    let truth: Vec<_> = truth.into_iter().map(|curled| curled.exchange).collect();
    let mut ports: Vec<_> = truth.iter().map(|exchange| exchange.client_port).collect();
    ports.dedup();
    let ways = chain.ways(ports.len());
    let log = chain.server.wait_served(truth.len());
    let capture = recording.finish();
    let spans = capture.spans();
    chain_tells(&spans, &chain, &ways, &truth);
    check::served(&spans, chain.server.port, &log);
}

#[test]
fn curl_to_nginx_through_envoys() {
    let paths =
        ["/size-8192", "/size-0", "/size-1", "/size-65536", "/size-1000000", "/status/404", "/status/503"];
    curl_through_a_chain("curl_to_nginx_through_envoys", |dir| servers::nginx(dir, None), &paths);
}

#[test]
fn curl_to_go_through_envoys() {
    let paths = ["/size/8192", "/size/0", "/size/16384", "/file", "/sleep/20", "/status/204", "/status/500"];
    curl_through_a_chain("curl_to_go_through_envoys", |dir| servers::go(dir, 1_000_000), &paths);
}

#[test]
fn curl_to_python_through_envoys() {
    let paths = ["/size-8191", "/size-65536", "/none"];
    curl_through_a_chain("curl_to_python_through_envoys", |dir| servers::python(dir, "HTTP/1.0"), &paths);
}

#[test]
fn curl_to_python_that_keeps_connections() {
    let paths = ["/size-8192", "/size-0", "/none"];
    let server = |dir: &std::path::Path| servers::python(dir, "HTTP/1.1");
    curl_through_a_chain("curl_to_python_that_keeps_connections", server, &paths);
}

#[test]
fn ab_to_nginx() {
    let Some(_turn) = ebpf_or_skip("ab_to_nginx") else { return };
    let dir = folder();
    let nginx = servers::nginx(dir.path(), None);
    let recording = Recording::of_ports(&[nginx.port]);
    load::ab(nginx.port, "/size-8192", 2_000, 16, true);
    load::ab(nginx.port, "/size-1", 500, 16, false);
    let log = nginx.wait_served(2_500);
    let capture = recording.finish();
    let spans = capture.spans();
    check::served(&spans, nginx.port, &log);
    assert_eq!(spans.len(), 5_000, "client and server spans");
    assert!(spans.iter().all(|span| span.outcome == "ok"));
}

/// wrk leaves with requests in flight: those that nginx never saw are client spans only.
#[test]
fn wrk_to_nginx() {
    let Some(_turn) = ebpf_or_skip("wrk_to_nginx") else { return };
    let dir = folder();
    let nginx = servers::nginx(dir.path(), None);
    // Other tests share the CPUs with the recorder; this one is about what is recorded,
    // not about how long the rings last.
    let args = ["--port".to_owned(), nginx.port.to_string(), "--ring-size".to_owned(), "64m".to_owned()];
    let recording = Recording::start(&args);
    let answered = load::wrk(nginx.port, "/size-1", 8);
    let log = nginx.wait_served(answered);
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0, "rows of loss");
    let spans = capture.spans();
    check::served(&spans, nginx.port, &log);
    let ok = spans.iter().filter(|span| span.kind == "client" && span.outcome == "ok").count();
    let cut = spans.iter().filter(|span| span.kind == "client" && span.outcome == "client_closed").count();
    assert!((answered..=answered + 8).contains(&ok), "{ok} ok client spans, wrk counted {answered} answers");
    assert!(cut <= 8, "{cut} client spans cut off on 8 connections");
}

/// Everything that HTTP/1.1 lets one connection do, through the whole chain.
#[test]
fn odd_exchanges_on_kept_connections() {
    let Some(_turn) = ebpf_or_skip("odd_exchanges_on_kept_connections") else { return };
    let chain = Chain::start();
    let recording = Recording::of_ports(&chain.ports());
    let truth = odd_exchanges(chain.port());
    let ways = chain.ways(2);
    let log = chain.server.wait_served(truth.len());
    let capture = recording.finish();
    let spans = capture.spans();
    chain_tells(&spans, &chain, &ways, &truth);
    check::served(&spans, chain.server.port, &log);
}

fn odd_exchanges(port: u16) -> Vec<Exchange> {
    let mut truth = Vec::new();
    let mut connection = Connection::open(port);
    for path in
        ["/size/8192", "/size/16384", "/size/65536", "/chunked/10000", "/chunked/8192", "/file", "/hints"]
    {
        truth.push(connection.exchange(&Request::new("GET", path)));
    }
    for path in ["/size/8192", "/file"] {
        truth.push(connection.exchange(&Request::new("HEAD", path)));
    }
    for status in [204, 304, 404, 500] {
        truth.push(connection.exchange(&Request::new("GET", format!("/status/{status}"))));
    }
    // A head in two calls, split everywhere that could matter.
    let get = Request::new("GET", "/size/7").header("X-Filler", "some more bytes");
    let bytes = get.bytes();
    for at in [1, 3, 4, 9, 15, bytes.len() - 3, bytes.len() - 1] {
        truth.push(connection.exchange_in(&get, &[bytes[..at].to_vec(), bytes[at..].to_vec()]));
    }
    for size in [0, 1, 8_192, 16_384, 200_000] {
        let post = Request::new("POST", "/echo").body(vec![b'x'; size]);
        truth.push(connection.exchange(&post));
        truth.push(connection.exchange_in(&post, &[post.head(), post.body.clone()]));
    }
    // Answers that arrive together must fit into what is kept of one call.
    let pipelined = ["/size/10", "/size/80", "/status/204", "/size/20"].map(|path| Request::new("GET", path));
    truth.extend(connection.pipeline(&pipelined));
    let mut other = Connection::open(port);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        truth.push(other.exchange(&Request::new(method, "/size/0")));
    }
    truth.push(expecting(&mut other));
    truth
}

/// Sends a body only after the server's 100.
fn expecting(connection: &mut Connection) -> Exchange {
    let request = Request::new("POST", "/echo").header("Expect", "100-continue").body(vec![b'y'; 3_000]);
    let watch = lab::client::Watch::start();
    connection.send(&request.head());
    let interim = connection.take_head();
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    connection.send(&request.body);
    let response = connection.response("POST");
    connection.note(&request, &response, &watch)
}

#[test]
fn an_upgraded_connection_is_one_exchange() {
    let Some(_turn) = ebpf_or_skip("an_upgraded_connection_is_one_exchange") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    let mut connection = Connection::open(go.port);
    let request = Request::new("GET", "/upgrade").header("Connection", "Upgrade").header("Upgrade", "echo");
    connection.exchange(&request);
    // Looks like a request, but this is no longer HTTP.
    let payload = b"GET /not-a-request HTTP/1.1\r\n\r\n";
    connection.send(payload);
    assert_eq!(connection.take(payload.len()), payload);
    drop(connection);
    go.wait_served(1);
    let capture = recording.finish();
    let spans = capture.spans();
    let http: Vec<_> = spans.iter().filter(|span| span.method.is_some()).collect();
    let seen: Vec<_> = http.iter().map(|span| (span.path.as_deref(), span.status)).collect();
    assert_eq!(seen, [(Some("/upgrade"), Some(101)); 2], "client and server span");
}

#[test]
fn requests_on_connections_from_before_the_recording() {
    let Some(_turn) = ebpf_or_skip("requests_on_connections_from_before_the_recording") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let mut connection = Connection::open(go.port);
    connection.exchange(&Request::new("GET", "/size/100"));
    let recording = Recording::of_ports(&[go.port]);
    let truth: Vec<_> =
        [10, 8192, 100_000].map(|n| connection.exchange(&Request::new("GET", format!("/size/{n}")))).into();
    drop(connection);
    let capture = recording.finish();
    let spans = capture.spans();
    check::exchanges(&spans, "client", go.port, &truth);
    check::exchanges(&spans, "server", go.port, &truth);
}

/// More than the buffers of both sockets hold, so that the server is still writing it.
const LONG_BODY: usize = 24 << 20;

#[test]
fn requests_after_a_download_that_the_recording_began_in() {
    let Some(_turn) = ebpf_or_skip("requests_after_a_download_that_the_recording_began_in") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let mut connection = Connection::open(go.port);
    connection.send(&Request::new("GET", format!("/size/{LONG_BODY}")).bytes());
    connection.take_head();
    connection.take(1000);
    let recording = Recording::of_ports(&[go.port]);
    connection.take(LONG_BODY - 1000);
    let truth: Vec<_> =
        ["/size/10", "/sleep/50"].map(|path| connection.exchange(&Request::new("GET", path))).into();
    connection.send(&Request::new("GET", "/sleep/400").bytes());
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(connection);
    go.wait_served(4);
    let capture = recording.finish();
    let (given_up, answered): (Vec<_>, Vec<_>) =
        capture.spans().into_iter().partition(|span| span.path.as_deref() == Some("/sleep/400"));
    check::exchanges(&answered, "client", go.port, &truth);
    check::exchanges(&answered, "server", go.port, &truth);
    let outcomes: Vec<_> = given_up.iter().map(|span| span.outcome.as_str()).collect();
    assert_eq!(outcomes, ["client_closed"; 2]);
}

#[test]
fn an_ipv6_client_and_a_mapped_ipv4_client_of_one_listener() {
    let Some(_turn) = ebpf_or_skip("an_ipv6_client_and_a_mapped_ipv4_client_of_one_listener") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    for address in [([127, 0, 0, 1], go.port).into(), (std::net::Ipv6Addr::LOCALHOST, go.port).into()] {
        Connection::open_to(address).exchange(&Request::new("GET", "/size/1"));
    }
    let capture = recording.finish();
    let spans = capture.spans();
    let mut addresses: Vec<_> = spans
        .iter()
        .map(|span| (span.kind.as_str(), span.src_addr.as_str(), span.dst_addr.as_str()))
        .collect();
    addresses.sort_unstable();
    let v4 = "127.0.0.1";
    assert_eq!(
        addresses,
        [("client", v4, v4), ("client", "::1", "::1"), ("server", v4, v4), ("server", "::1", "::1")]
    );
}

/// Two namespaces can hold connections with the same addresses and ports; each
/// server span belongs to the client span of its own.
#[test]
fn the_same_five_tuple_in_two_namespaces() {
    let Some(_turn) = ebpf_or_skip("the_same_five_tuple_in_two_namespaces") else { return };
    let port = lab::free_port();
    let client_port = lab::free_port();
    let sides = ["one", "two"].map(|label| {
        let netns = lab::netns::Netns::new(label);
        let dir = folder();
        let go = servers::go_with(dir.path(), port, 1, |command| netns.place(command));
        (go, netns, dir)
    });
    let recording = Recording::of_ports(&[port]);
    let mut connections = [0, 1].map(|side| sides[side].1.run(|| Connection::open_from(client_port, port)));
    for nth in 0..3 {
        for (side, connection) in connections.iter_mut().enumerate() {
            connection.send(&Request::new("GET", format!("/size/{side}{nth}")).bytes());
        }
        for connection in &mut connections {
            connection.response("GET");
        }
    }
    let capture = recording.finish();
    let spans = capture.spans();
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == "server").collect();
    assert_eq!((spans.len(), servers.len()), (12, 6));
    for server in servers {
        let parent = spans.iter().find(|span| Some(&span.span_id) == server.parent_span_id.as_ref());
        let parent = parent.unwrap_or_else(|| panic!("no parent of {server:?}"));
        assert_eq!((parent.kind.as_str(), &parent.path), ("client", &server.path));
    }
}
