//! One case a rule: exchanges in, rows of `spans` out.

mod assembly_support;

use assembly_support::{MS, US, World, line};

const GET: &[u8] = b"GET /a?x=* HTTP/1.1\r\nHost: h\r\nUser-Agent: curl/8\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

const BRIEF: &[&str] = &["kind", "method", "path", "status", "outcome", "request_bytes", "response_bytes"];

#[test]
fn one_request_is_one_span_a_side() {
    let mut world = World::new();
    let (curl, server) = (world.process("curl"), world.process("server"));
    let connection = world.connect(curl, server, 80);
    world.request(connection, GET);
    world.wait(10 * MS);
    world.respond(connection, OK);
    world.close(connection);
    let assembled = world.assembled();
    let spans = assembled.spans();
    assert_eq!(spans.len(), 2);
    assert_eq!(line(spans[0], BRIEF), "client GET /a 200 ok 52 43");
    assert_eq!(line(spans[1], BRIEF), "server GET /a 200 ok 52 43");
    assert_eq!(spans[1]["parent_span_id"], spans[0]["span_id"]);
    assert_eq!(spans[1]["link_evidence"], "connection");
    assert_eq!(spans[0]["trace_id"], spans[1]["trace_id"]);
    assert!(!spans[0].contains_key("parent_span_id"));
    let numbers =
        ["duration_ns", "own_ns", "request_body_bytes", "response_body_bytes", "src_port", "dst_port"];
    // Enter of the client's send to exit of its receive, 10 us a call, 4 us in the send.
    assert_eq!(line(spans[0], &numbers), "10034000 24000 0 5 40001 80");
    // Exit of the receive to exit of the send.
    assert_eq!(line(spans[1], &numbers), "10010000 10010000 0 5 40001 80");
    let trace = &assembled.rows("traces")[0];
    assert_eq!(line(trace, &["spans", "errors", "services", "root_service"]), "2 0 curl,server curl");
    let connections = assembled.rows("connections");
    assert_eq!(connections.len(), 1);
    let columns = [
        "protocol",
        "requests",
        "bytes_to_server",
        "bytes_to_client",
        "closed_by",
        "close_kind",
        "missing_bytes",
    ];
    assert_eq!(line(&connections[0], &columns), "http 1 52 43 client fin 0");
    assert_eq!(assembled.rows("messages").len(), 4);
    let _ = US;
}
