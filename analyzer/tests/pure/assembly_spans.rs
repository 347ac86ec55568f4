//! One case a rule: exchanges in, rows of `spans` out.

use std::collections::BTreeSet;

use crate::assembly_support::{Connection, GET, MS, OK, US, World, line, outcome, pair};
use retrospan_formats::event::Kind;

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
}

#[test]
fn what_lay_unread_is_told_of_the_request_and_not_of_the_answer() {
    let mut world = World::new();
    let Connection { client, server } = pair(&mut world);
    let (begin, rest) = GET.split_at(10);
    world.send(client, GET);
    world.receive(server, begin).queued_us = Some(1_500);
    world.receive(server, rest).queued_us = Some(1_900);
    world.send(server, OK);
    world.receive(client, OK).queued_us = Some(700);
    world.send(client, GET);
    world.receive(server, GET);
    let assembled = world.assembled();
    let queued: Vec<_> = assembled.spans().iter().map(|span| line(span, &["kind", "queued_ns"])).collect();
    assert_eq!(queued, ["client -", "server 1500000", "client -", "server -"]);
}

#[test]
fn requests_on_a_kept_connection_are_told_apart() {
    let mut world = World::new();
    let connection = pair(&mut world);
    for path in ["/1", "/2", "/3"] {
        world.request(connection, format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
        world.respond(connection, OK);
        world.wait(MS);
    }
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let paths: Vec<_> =
            assembled.of(socket).iter().map(|s| line(s, &["path", "request_number"])).collect();
        assert_eq!(paths, ["/1 0", "/2 1", "/3 2"]);
    }
    assert_eq!(assembled.rows("traces").len(), 3);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
    world.wait(MS);
    world.respond(
        connection,
        b"HTTP/1.1 201 A\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 202 B\r\nContent-Length: 1\r\n\r\n2",
    );
    world.wait(MS);
    world.respond(connection, b"HTTP/1.1 203 C\r\nContent-Length: 1\r\n\r\n3");
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let spans: Vec<_> = assembled.of(socket).into_iter().map(outcome).collect();
        assert_eq!(spans, ["GET /1 201 ok - 19 38", "GET /2 202 ok - 19 38", "GET /3 203 ok - 19 38"]);
    }
}

#[test]
fn bodies_are_measured_without_their_framing() {
    let cases: [(&[u8], &[u8], &str); 6] = [
        (
            b"POST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "200 ok 3 5",
        ),
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", "200 ok 0 0"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", "204 ok 0 0"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 ok 0 0"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", "503 error 0 2"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "404 ok 0 2"),
    ];
    for (request, response, expected) in cases {
        let mut world = World::new();
        let connection = pair(&mut world);
        // Twice, so that a wrong end would move the second.
        for _ in 0..2 {
            world.request(connection, request);
            world.respond(connection, response);
        }
        world.close(connection);
        let assembled = world.assembled();
        assert_eq!(assembled.rows("spans").len(), 4);
        for span in assembled.spans() {
            let columns = ["status", "outcome", "request_body_bytes", "response_body_bytes"];
            assert_eq!(line(span, &columns), expected);
            assert_eq!(span["response_bytes"], response.len().to_string());
        }
    }
}

#[test]
fn interim_answers_are_no_answers() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"PUT /f HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    world.respond(connection, b"HTTP/1.1 100 Continue\r\n\r\n");
    world.request(connection, b"data");
    world.respond(connection, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    world.respond(connection, OK);
    world.close(connection);
    for span in world.assembled().spans() {
        assert_eq!(outcome(span), "PUT /f 200 ok - 64 43");
    }
}

#[test]
fn a_switch_of_protocols_ends_the_span() {
    for (request, response, status) in [
        (
            &b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"[..],
            &b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"[..],
            "101",
        ),
        (b"CONNECT h:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", "200"),
    ] {
        let mut world = World::new();
        let connection = pair(&mut world);
        world.request(connection, request);
        world.respond(connection, response);
        world.wait(50 * MS);
        world.request(connection, b"\x81\x05hello GET / HTTP/1.1\r\n\r\n");
        world.request(connection, GET);
        world.respond(connection, b"\x81\x05HTTP/1.1 200");
        world.close(connection);
        let assembled = world.assembled();
        assert_eq!(assembled.rows("spans").len(), 2);
        for span in assembled.spans() {
            assert_eq!(line(span, &["status", "outcome"]), format!("{status} ok"));
            assert!(span["duration_ns"].parse::<i64>().unwrap() < MS);
        }
    }
}

#[test]
fn a_request_that_asks_for_another_protocol_has_its_answer_there() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    world.request(connection, b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    world.respond(connection, b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    world.request(connection, preface);
    world.wait(50 * MS);
    // HEADERS with `:status: 503`, and DATA.
    world.respond(connection, b"\0\0\x05\x01\x04\0\0\0\x01\x48\x03503\0\0\x02\0\x01\0\0\0\x01hi");
    // GET / of stream 3, and its answer with 204.
    world.request(connection, b"\0\0\x03\x01\x05\0\0\0\x03\x82\x86\x84");
    world.respond(connection, b"\0\0\x01\x01\x05\0\0\0\x03\x89");
    world.close(connection);
    let assembled = world.assembled();
    let spans = assembled.spans();
    let of = |path: &str| spans.iter().filter(|span| span["path"] == path).collect::<Vec<_>>();
    assert_eq!((spans.len(), of("/a").len(), of("/").len()), (4, 2, 2));
    for span in of("/a") {
        assert_eq!(line(span, &["method", "status", "outcome"]), "GET 503 error");
        assert!(span["duration_ns"].parse::<i64>().unwrap() > 50 * MS);
    }
    for span in of("/") {
        assert_eq!(line(span, &["method", "status", "outcome"]), "GET 204 ok");
    }
}

#[test]
fn a_request_that_gets_no_answer_there_is_answered_by_the_switch() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    world.respond(connection, b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n");
    world.wait(50 * MS);
    world.request(connection, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    world.respond(connection, b"\0\0\0\x04\0\0\0\0\0");
    world.close(connection);
    let assembled = world.assembled();
    assert_eq!(assembled.rows("spans").len(), 2);
    for span in assembled.spans() {
        assert_eq!(line(span, &["status", "outcome"]), "101 ok");
        assert!(span["duration_ns"].parse::<i64>().unwrap() < MS);
    }
}

/// Messages that both sides send as they like are rows of `messages` where it is known which request let them begin, and
/// never spans.
#[test]
fn messages_behind_a_switch_are_no_spans_whoever_asked_for_it() {
    for (asked, rows) in [(true, 2 * (2 + 2)), (false, 0)] {
        let mut world = World::new();
        let (client, server) = (world.process("client"), world.process("server"));
        let connection = world.old_connection(client, server, 80);
        if asked {
            world.request(
                connection,
                b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
        }
        world.respond(connection, b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n");
        world.wait(50 * MS);
        world.request(connection, b"\x81\x82****hi");
        world.respond(connection, b"\x81\x02ho");
        world.close(connection);
        let assembled = world.assembled();
        assert_eq!(assembled.rows("spans").len(), if asked { 2 } else { 0 });
        assert_eq!(assembled.rows("messages").len(), rows);
    }
}

#[test]
fn a_head_may_come_in_two_calls() {
    for cut in 1..GET.len() {
        let mut world = World::new();
        let connection = pair(&mut world);
        world.request(connection, &GET[..cut]);
        world.wait(MS);
        world.request(connection, &GET[cut..]);
        world.respond(connection, OK);
        world.close(connection);
        let assembled = world.assembled();
        for span in assembled.spans() {
            assert_eq!(outcome(span), "GET /a 200 ok - 52 43", "cut at {cut}");
            assert_eq!(span["user_agent"], "curl/8");
            assert!(span["duration_ns"].parse::<i64>().unwrap() > MS);
        }
    }
}

#[test]
fn an_answer_may_last_until_the_connection_is_closed() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"GET / HTTP/1.0\r\n\r\n");
    world.respond(connection, b"HTTP/1.0 200 OK\r\n\r\nsome");
    world.wait(5 * MS);
    world.respond(connection, b"thing");
    world.wait(20 * MS);
    let Connection { client, server } = connection;
    world.call(server, Kind::Close, 0, US);
    world.fin(server, client);
    world.receive_end(client);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    let assembled = world.assembled();
    for span in assembled.spans() {
        assert_eq!(outcome(span), "GET / 200 ok - 18 28");
        assert_eq!(span["response_body_bytes"], "9");
        let duration = span["duration_ns"].parse::<i64>().unwrap();
        assert!((5 * MS..6 * MS).contains(&duration), "ends with the last byte, not with the FIN");
    }
    assert_eq!(assembled.rows("connections")[0]["closed_by"], "server");
}

#[test]
fn an_answer_may_come_before_the_request_is_complete() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
    world.respond(connection, b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    world.request(connection, b"def");
    world.request(connection, GET);
    world.respond(connection, OK);
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let spans: Vec<_> = assembled.of(socket).into_iter().map(outcome).collect();
        assert_eq!(spans, ["POST / 413 ok - 44 45", "GET /a 200 ok - 52 43"]);
    }
}

#[test]
fn a_server_may_answer_before_it_reads() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let early = b"HTTP/1.1 431 Too Large\r\nContent-Length: 2\r\n\r\nno";
    world.send(connection.client, b"GET /early HTTP/1.1\r\nHost: h\r\n\r\n");
    world.send(connection.server, early);
    world.receive(connection.server, b"GET /early HTTP/1.1\r\nHost: h\r\n\r\n");
    world.receive(connection.client, early);
    world.wait(MS);
    world.request(connection, b"HEAD /next HTTP/1.1\r\n\r\n");
    world.respond(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    world.request(connection, GET);
    world.respond(connection, OK);
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let columns = ["method", "path", "status", "outcome"];
        let spans: Vec<_> = assembled.of(socket).iter().map(|span| line(span, &columns)).collect();
        assert_eq!(spans, ["GET /early 431 ok", "HEAD /next 200 ok", "GET /a 200 ok"]);
    }
}

#[test]
fn who_accepts_may_ask() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client: connected, server: accepted } = connection;
    for _ in 0..2 {
        world.send(accepted, GET);
        world.receive(connected, GET);
        world.wait(5 * MS);
        world.send(connected, OK);
        world.receive(accepted, OK);
    }
    world.close(connection);
    let assembled = world.assembled();
    for (socket, kind) in [(accepted, "client"), (connected, "server")] {
        let columns = ["kind", "path", "status", "outcome", "src_port", "dst_port"];
        for span in assembled.of(socket) {
            assert_eq!(line(span, &columns), format!("{kind} /a 200 ok 80 40001"));
        }
        assert_eq!(assembled.of(socket).len(), 2);
    }
    let [asked, answered] = [accepted, connected].map(|socket| assembled.of(socket)[1]);
    assert_eq!(answered.get("parent_span_id"), Some(&asked["span_id"]));
}

/// What is no request may be one all the same: its answer is nobody else's.
#[test]
fn an_answer_without_a_request_shifts_no_other() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"\x01\x02 something else \x03");
    world.respond(connection, OK);
    world.wait(MS);
    world.request(connection, b"HEAD /h HTTP/1.1\r\n\r\n");
    world.respond(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    world.request(connection, GET);
    world.respond(connection, b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno");
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let columns = ["method", "path", "status", "outcome"];
        let spans: Vec<_> = assembled.of(socket).iter().map(|span| line(span, &columns)).collect();
        assert_eq!(spans, ["- - - ok", "HEAD /h 200 ok", "GET /a 404 ok"]);
        assert_eq!(assembled.of(socket)[0]["protocol"], "tcp");
    }
}

/// curl --max-time: the client closes, the server answers later and is told that nobody is there.
#[test]
fn connections_met_in_the_middle_of_a_message_are_timed_right() {
    let body = vec![b'x'; 4000];
    let mut world = World::new();
    let (client, server) = (world.process("client"), world.process("server"));
    // An answer was being sent.
    let download = world.old_connection(client, server, 80);
    world.respond(download, &body);
    world.request(download, GET);
    world.wait(10 * MS);
    world.respond(download, OK);
    world.request(download, GET);
    world.wait(100 * MS);
    world.call(download.client, Kind::Close, 0, US);
    world.fin(download.client, download.server);
    world.gone(download.client, 0);
    world.wait(200 * MS);
    world.send(download.server, OK);
    world.gone(download.server, 32);
    // A request was.
    let upload = world.old_connection(client, server, 80);
    world.request(upload, &body);
    world.wait(20 * MS);
    world.respond(upload, OK);
    world.request(upload, GET);
    world.wait(10 * MS);
    world.respond(upload, OK);
    let assembled = world.assembled();
    for socket in [download.client, download.server] {
        let spans = assembled.of(socket);
        assert_eq!(outcome(spans[0]), "GET /a 200 ok - 52 43");
        assert!((10 * MS..11 * MS).contains(&spans[0]["duration_ns"].parse().unwrap()));
        assert!(outcome(spans[1]).starts_with("GET /a - client_closed"));
        assert!((100 * MS..101 * MS).contains(&spans[1]["duration_ns"].parse().unwrap()));
    }
    assert_eq!(assembled.of(download.server)[1]["late_status"], "200");
    for socket in [upload.client, upload.server] {
        let span = *assembled.of(socket).last().unwrap();
        assert_eq!(outcome(span), "GET /a 200 ok - 52 43");
        assert!((10 * MS..11 * MS).contains(&span["duration_ns"].parse().unwrap()));
    }
}

#[test]
fn a_request_is_a_span_even_if_its_head_never_ends() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, b"GET /slow HTTP/1.1\r\nHost: h\r\nX-");
    world.wait(MS);
    let Connection { client, server } = connection;
    world.fin(client, server);
    world.gone(client, 0);
    for span in world.assembled().spans() {
        assert_eq!(outcome(span), "GET /slow - client_closed - 31 -");
    }
}

#[test]
fn a_sender_reported_after_its_receiver_does_not_outlast_it() {
    let mut world = World::new();
    let connection = pair(&mut world);
    world.request(connection, GET);
    world.send(connection.server, OK);
    world.receive(connection.client, OK);
    let last = world.rows.len();
    world.rows[last - 2].boot_ns += 26 * US;
    world.rows[last - 2].duration_ns += 26 * US;
    // The client leaves before the call of the server returns.
    world.now_ns -= 5 * US;
    world.step_ns = 2 * US;
    world.close(connection);
    let assembled = world.assembled();
    let (client, server) = (assembled.only(connection.client), assembled.only(connection.server));
    assert_eq!(outcome(server), "GET /a 200 ok - 52 43");
    assert_eq!(client["end_time"], server["end_time"]);
    let own = [client, server].map(|s| s["own_ns"].parse::<i64>().unwrap());
    assert_eq!(own.iter().sum::<i64>().to_string(), client["duration_ns"]);
}

#[test]
fn a_request_that_waits_to_be_accepted_is_still_linked() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let Connection { client, server } = connection;
    world.send(client, GET);
    world.wait(200 * MS);
    world.call(client, Kind::Close, 0, US);
    world.fin(client, server);
    world.gone(client, 0);
    world.wait(4_000 * MS);
    world.receive(server, GET);
    world.send(server, OK);
    world.gone(server, 32);
    let assembled = world.assembled();
    let (gone, late) = (assembled.only(client), assembled.only(server));
    assert_eq!(outcome(late), "GET /a - client_closed 200 52 43");
    assert_eq!(late["parent_span_id"], gone["span_id"]);
    assert_eq!(late["trace_id"], gone["trace_id"]);
    assert_eq!(late["duration_ns"], "0");
    assert_eq!(assembled.rows("traces").len(), 1);
}

#[test]
fn sequence_numbers_wrap() {
    let mut world = World::new();
    world.next_isn = u32::MAX - 77_777_777 - 30;
    let connection = pair(&mut world);
    let body = vec![b'x'; 3000];
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n".to_vec();
    let response = [head, body].concat();
    for _ in 0..3 {
        world.request(connection, GET);
        world.respond(connection, &response);
    }
    world.close(connection);
    let assembled = world.assembled();
    assert_eq!(assembled.rows("spans").len(), 6);
    for span in assembled.spans() {
        assert_eq!(outcome(span), format!("GET /a 200 ok - 52 {}", response.len()));
        assert_eq!(span["response_body_bytes"], "3000");
    }
}

#[test]
fn a_stream_longer_than_sequence_numbers_are() {
    let mut world = World::new();
    let connection = pair(&mut world);
    let length = 9_u64 << 30;
    world.request(connection, GET);
    world.respond(connection, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    let mut left = length;
    while left > 0 {
        let bytes = left.min(1 << 30);
        for (socket, kind) in [(connection.server, Kind::Send), (connection.client, Kind::Receive)] {
            let s = &mut world.sockets[socket];
            let counter = if kind == Kind::Send { &mut s.send_seq } else { &mut s.receive_seq };
            let seq = *counter;
            *counter = seq.wrapping_add(bytes as u32);
            s.arrived = s.receive_seq;
            s.acknowledged = s.send_seq;
            let row = world.call(socket, kind, 0, US);
            (row.seq, row.done, row.asked) = (Some(seq), bytes, bytes);
        }
        left -= bytes;
    }
    world.request(connection, GET);
    world.respond(connection, OK);
    world.close(connection);
    let assembled = world.assembled();
    for socket in [connection.client, connection.server] {
        let spans = assembled.of(socket);
        assert_eq!(spans[0]["response_body_bytes"], length.to_string());
        assert_eq!(outcome(spans[1]), "GET /a 200 ok - 52 43");
    }
    let ids: BTreeSet<_> = assembled.spans().iter().map(|s| s["span_id"].clone()).collect();
    assert_eq!(ids.len(), 4);
}

/// The end of a socket went unseen, and the kernel gave its address (so its id) to the next one.
#[test]
fn a_reused_id_does_not_mix_two_connections() {
    let mut world = World::new();
    let (client, server) = (world.process("client"), world.process("server"));
    let connection = world.connect(client, server, 80);
    let socket = connection.client;
    // The row of `sockets` is that of the second life.
    world.state(socket, 1, 4);
    world.call(socket, Kind::Close, 0, US);
    world.sockets[socket].role = "server";
    world.state(socket, 7, 2);
    world.state(socket, 2, 1);
    world.request(connection, GET);
    world.respond(connection, OK);
    world.close(connection);
    let assembled = world.assembled();
    assert_eq!(line(assembled.only(socket), BRIEF), "client GET /a 200 ok 52 43");
    assert_eq!(assembled.only(connection.server)["link_evidence"], "connection");
}
