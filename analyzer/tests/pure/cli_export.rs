//! `export`: what a receiver gets over both protocols, and what becomes of refusals.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use crate::assembly_support::{GET, MS, US, World};
use crate::cli_support::*;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use retrospan_formats::event::Kind;

/// What a receiver got.
struct Post {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// An HTTP/1.1 receiver that gives these answers in turn, the last one for ever.
fn receiver(answers: Vec<(u16, Vec<u8>)>) -> (String, mpsc::Receiver<Post>) {
    let whole = answers.into_iter().map(|(status, body)| {
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.into_bytes(), body].concat()
    });
    raw_receiver(whole.collect())
}

/// A receiver that writes these bytes in turn; where `connection: close` is in them, it closes after them.
fn raw_receiver(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<Post>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, posts) = mpsc::channel();
    thread::spawn(move || {
        let mut turn = 0;
        // One connection after the other: the program keeps its own.
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(post) = read_post(&mut stream) {
                let answer = &answers[turn.min(answers.len() - 1)];
                turn += 1;
                // Whoever has heard enough may close.
                let _ = stream.get_mut().write_all(answer);
                if sender.send(post).is_err() {
                    return;
                }
                if String::from_utf8_lossy(answer).contains("connection: close") {
                    break;
                }
            }
        }
    });
    (url, posts)
}

fn read_post(stream: &mut BufReader<TcpStream>) -> Option<Post> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some(Post { path, headers, body })
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

fn int(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Some(Value::IntValue(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

/// 20 spans of 10 traces, as [`capture`] makes them.
fn check(request: &ExportTraceServiceRequest) {
    let all = spans(request);
    assert_eq!(all.len(), 20);
    assert_eq!(request.resource_spans.len(), 2);
    for resource in &request.resource_spans {
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let name = text(attributes, "process.executable.name");
        assert_eq!(text(attributes, "service.name"), name);
        assert_eq!(text(attributes, "host.name"), "web1");
        assert_eq!(int(attributes, "process.pid"), if name == "curl" { 100 } else { 200 });
        let mut keys: Vec<&str> = attributes.iter().map(|a| a.key.as_str()).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    }
    for server in all.iter().filter(|span| span.kind == 2) {
        let client = all.iter().find(|span| span.span_id == server.parent_span_id).unwrap();
        assert_eq!((client.kind, &client.trace_id), (3, &server.trace_id));
        assert_eq!((client.trace_id.len(), client.span_id.len(), client.parent_span_id.len()), (16, 8, 0));
        assert!(client.start_time_unix_nano <= server.start_time_unix_nano);
        assert!(client.end_time_unix_nano >= server.end_time_unix_nano);
        assert!(server.end_time_unix_nano > START_WALL_NS as u64);
        assert_eq!(text(&server.attributes, "http.request.method"), "GET");
        assert_eq!(int(&server.attributes, "http.response.status_code"), 200);
        assert_eq!(int(&server.attributes, "server.port"), 8080);
        assert_eq!(text(&server.attributes, "client.address"), "127.0.0.1");
        assert_eq!(int(&server.attributes, "http.response.body.size"), 2);
        assert_eq!(text(&server.attributes, "retrospan.outcome"), "ok");
        assert_eq!(text(&server.attributes, "retrospan.link.evidence"), "connection");
        assert_eq!(server.status.as_ref().unwrap().code, 0);
        let mut keys: Vec<&str> = server.attributes.iter().map(|a| a.key.as_str()).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    }
    let slow = all.iter().filter(|s| s.end_time_unix_nano - s.start_time_unix_nano > 400_000_000);
    assert_eq!(slow.filter(|s| text(&s.attributes, "url.path") == "/item/3").count(), 2);
}

#[test]
fn http_protobuf() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (url, posts) = receiver(vec![(200, Vec::new())]);
    let url = format!("{url}/v1/traces");
    let output = retrospan(
        directory.path(),
        &["export", path.to_str().unwrap(), "--otlp", &url, "--header", "x-key=a=b", "--header", "X-B=c"],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("exported 20 spans to {url}\n"));
    assert!(output.stdout.is_empty());
    let post = posts.recv().unwrap();
    assert_eq!(post.path, "/v1/traces");
    assert_eq!(post.headers["content-type"], "application/x-protobuf");
    assert_eq!((post.headers["x-key"].as_str(), post.headers["x-b"].as_str()), ("a=b", "c"));
    check(&ExportTraceServiceRequest::decode(post.body.as_slice()).unwrap());
    assert!(posts.try_recv().is_err());
}

/// A proxy whose connect is refused closes the connection of the request that waits for it.
#[test]
fn a_wait_for_a_connection_is_a_span_below_the_one_that_waited() {
    const ECONNREFUSED: u32 = 111;
    let mut world = World::new();
    let (client, proxy) = (world.process("client"), world.process("envoy"));
    let front = world.connect(client, proxy, 8000);
    world.send(front.client, GET);
    let opened = world.connecting(proxy, 8080);
    world.wait(20 * MS);
    world.tcp.push((world.now_ns, "retransmit", opened, 2));
    world.gone(opened, ECONNREFUSED);
    world.call(opened, Kind::Close, 0, US);
    world.call(front.server, Kind::Close, 0, US);
    world.fin(front.server, front.client);
    let recorded = world.capture();
    let (url, posts) = receiver(vec![(200, Vec::new())]);
    let url = format!("{url}/v1/traces");
    let output = retrospan(recorded.folder.path(), &["export", "test.cap", "--otlp", &url]);
    assert!(output.status.success(), "{output:?}");
    let request = ExportTraceServiceRequest::decode(posts.recv().unwrap().body.as_slice()).unwrap();
    let all = spans(&request);
    let wait = all.iter().find(|span| span.kind == 1).expect("an internal span");
    let parent = all.iter().find(|span| span.span_id == wait.parent_span_id).expect("its parent");
    assert_eq!((parent.kind, &parent.trace_id), (3, &wait.trace_id));
    assert_eq!(int(&parent.attributes, "server.port"), 8000);
    assert_eq!(wait.name, "connect 127.0.0.1:8080");
    assert_eq!(wait.end_time_unix_nano - wait.start_time_unix_nano, 20_020_000);
    assert_eq!(text(&wait.attributes, "server.address"), "127.0.0.1");
    assert_eq!(int(&wait.attributes, "server.port"), 8080);
    assert_eq!(text(&wait.attributes, "network.transport"), "tcp");
    assert_eq!(text(&wait.attributes, "error.type"), "refused");
    assert_eq!(int(&wait.attributes, "retrospan.connect.syn_retransmits"), 1);
    assert_eq!(wait.status.as_ref().unwrap().code, 2);
    assert!(value(&wait.attributes, "network.protocol.name").is_none(), "nothing was spoken");
    let mut keys: Vec<&str> = wait.attributes.iter().map(|a| a.key.as_str()).collect();
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

#[test]
fn only_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (url, posts) = receiver(vec![(200, Vec::new())]);
    let condition = "path = '/item/3' AND kind = 'server'";
    let arguments = [
        "export",
        path.to_str().unwrap(),
        "--otlp",
        &url,
        "--protocol",
        "http/protobuf",
        "--where",
        condition,
    ];
    let output = retrospan(directory.path(), &arguments);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("exported 1 spans") && said.contains("1 of them have a parent that --where"),
        "{said}"
    );
    let post = posts.recv().unwrap();
    assert_eq!(post.path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(post.body.as_slice()).unwrap();
    let sent = spans(&request);
    assert_eq!((sent.len(), sent[0].parent_span_id.len()), (1, 8));
    let arguments =
        ["export", path.to_str().unwrap(), "--otlp", &url, "--protocol", "http/protobuf", "--where", "true"];
    let said = String::from_utf8(retrospan(directory.path(), &arguments).stderr).unwrap();
    assert!(!said.contains("parent"), "{said}");
    mistake(
        directory.path(),
        &["export", path.to_str().unwrap(), "--otlp", &url, "--where", "true) OR (false"],
    );
}

#[test]
fn what_is_no_answer_of_otlp_is_no_success() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html>log in\n";
    let moved = "HTTP/1.1 307 Moved\r\nlocation: http://elsewhere/v1\r\ncontent-length: 0\r\n\r\n";
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 5 << 20, "x".repeat(5 << 20));
    let foreign = "SSH-2.0-x\r\n\r\n";
    for (answer, words) in [
        (page, "text/html"),
        (moved, "http://elsewhere/v1"),
        (&long, "more than 4 MiB"),
        (foreign, "--protocol grpc"),
    ] {
        let (url, posts) = raw_receiver(vec![answer.as_bytes().to_vec()]);
        let url = format!("{url}/v1/traces");
        let error = failure(directory.path(), &["export", path.to_str().unwrap(), "--otlp", &url], 2);
        assert!(error.contains(words), "{error}");
        // Once is enough.
        assert!(posts.recv().is_ok() && posts.try_recv().is_err(), "{error}");
    }
}

#[test]
fn answers_come_in_many_ways() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n";
    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    let warning = ExportTracePartialSuccess { rejected_spans: 0, error_message: "slow down".to_owned() };
    let warning = ExportTraceServiceResponse { partial_success: Some(warning) }.encode_to_vec();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", warning.len());
    let warning = [head.into_bytes(), warning].concat();
    // Whether the spans were taken nobody knows: they are sent again.
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{";
    let bytes = |text: &str| text.as_bytes().to_vec();
    for (answers, words) in [
        (vec![bytes(chunked)], "exported 20 spans"),
        (vec![bytes(old)], "exported 20 spans"),
        (vec![bytes(nothing)], "exported 20 spans"),
        (vec![warning], "the receiver says: slow down"),
        (vec![bytes(half), bytes(nothing)], "exported 20 spans"),
    ] {
        let tries = answers.len();
        let (url, posts) = raw_receiver(answers);
        let url = format!("{url}/v1/traces");
        let output = retrospan(directory.path(), &["export", path.to_str().unwrap(), "--otlp", &url]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains(words), "{said}");
        assert_eq!(posts.iter().take(tries).count(), tries);
        assert!(posts.try_recv().is_err(), "{said}");
    }
}

#[test]
fn a_busy_receiver_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (url, posts) = receiver(vec![(503, b"busy".to_vec()), (200, Vec::new())]);
    let arguments = ["export", path.to_str().unwrap(), "--otlp", &url, "--protocol", "http/protobuf"];
    assert!(retrospan(directory.path(), &arguments).status.success());
    let bodies = [posts.recv().unwrap().body, posts.recv().unwrap().body];
    assert_eq!(bodies[0], bodies[1]);
    check(&ExportTraceServiceRequest::decode(bodies[0].as_slice()).unwrap());
}

#[test]
fn rejected_spans_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let partial =
        ExportTracePartialSuccess { rejected_spans: 3, error_message: "too\u{1b}[31m old".to_owned() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let (url, _posts) = receiver(vec![(200, answer)]);
    let arguments = ["export", path.to_str().unwrap(), "--otlp", &url, "--protocol", "http/protobuf"];
    let output = retrospan(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("exported 17 spans") && error.contains("3 spans were rejected: too"), "{error}");
    assert!(!acts_on_a_terminal(&error), "{error:?}");
}

#[test]
fn what_cannot_be_delivered_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let path = path.to_str().unwrap();
    let (url, _posts) = receiver(vec![(400, b"what is this".to_vec())]);
    let refused = failure(directory.path(), &["export", path, "--otlp", &format!("{url}/v1/traces")], 2);
    assert!(refused.contains("400") && refused.contains("what is this"), "{refused}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let nobody = format!("http://{free}");
        let error =
            failure(directory.path(), &["export", path, "--otlp", &nobody, "--protocol", protocol], 2);
        assert!(error.contains(&nobody) && error.contains("refused"), "{error}");
    }
    for bad in ["localhost:4317", "ftp://x", ""] {
        failure(directory.path(), &["export", path, "--otlp", bad], 2);
    }
}

#[test]
fn grpc() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve_grpc(listener, sender));
    });
    let output = retrospan(
        directory.path(),
        &["export", path.to_str().unwrap(), "--otlp", &url, "--header", "X-Key=v"],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), format!("exported 20 spans to {url}\n"));
    let (method, key, message) = messages.recv().unwrap();
    assert_eq!(method, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(key.as_deref(), Some("v"));
    check(&ExportTraceServiceRequest::decode(&message[5..]).unwrap());
}

type Call = (String, Option<String>, Vec<u8>);

/// The least of a gRPC server: every call succeeds with an empty message.
async fn serve_grpc(listener: TcpListener, sender: mpsc::Sender<Call>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let sender = sender.clone();
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            let key = request.headers().get("x-key").map(|value| value.to_str().unwrap().to_owned());
            let mut body = request.into_body();
            let mut message = Vec::new();
            while let Some(Ok(chunk)) = body.data().await {
                body.flow_control().release_capacity(chunk.len()).unwrap();
                message.extend_from_slice(&chunk);
            }
            let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut answer = respond.send_response(head, false).unwrap();
            answer.send_data(vec![0; 5].into(), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            answer.send_trailers(trailers).unwrap();
            sender.send((path, key, message)).unwrap();
        });
    }
}
