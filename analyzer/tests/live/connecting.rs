//! A proxy whose connect finds the listen queue of its server full: the request that waits for it says so everywhere.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use crate::lab::capture::retrospan;
use crate::lab::ebpf_or_skip;
use crate::lab::process::run_ok;
use crate::lab::recording::Recording;

const REQUEST: &[u8] = b"GET /waits HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// A SYN that was dropped is sent again after a second.
const LEAST_NS: i64 = 500_000_000;

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    (listener, port)
}

fn take(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).expect("the bytes");
    bytes
}

/// Takes one request of a client and passes it on by a connection that it opens for it.
fn pass_on(proxy: &TcpListener, port: u16) {
    let (mut front, _) = proxy.accept().expect("a client");
    let mut back = TcpStream::connect(("127.0.0.1", port)).expect("the server's queue is empty in time");
    let request = take(&mut front, REQUEST.len());
    back.write_all(&request).expect("a server that reads");
    let answer = take(&mut back, ANSWER.len());
    front.write_all(&answer).expect("a client that reads");
}

#[test]
fn a_request_waits_while_the_listen_queue_is_full() {
    let Some(_turn) = ebpf_or_skip("a_request_waits_while_the_listen_queue_is_full") else { return };
    let ((proxy, front_port), (server, port)) = (listener(), listener());
    // SAFETY: a descriptor of ours; the queue has room for one connection.
    assert_eq!(unsafe { libc::listen(server.as_raw_fd(), 0) }, 0);
    let ports = [front_port, port].map(|port| port.to_string());
    let args = ["--port", &ports[0], "--port", &ports[1], "--evidence", "tcp"];
    let recording = Recording::start(&args);
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("room for one");
    // Drops are counted from an accept to the next.
    let taken = (connect(), server.accept().expect("the first"));
    let first = connect();
    thread::scope(|scope| {
        scope.spawn(|| pass_on(&proxy, port));
        let client = scope.spawn(|| {
            let mut client = TcpStream::connect(("127.0.0.1", front_port)).expect("a proxy");
            client.write_all(REQUEST).expect("a proxy that reads");
            take(&mut client, ANSWER.len())
        });
        // Long enough for the proxy's SYN to be dropped, too short for it to be sent again.
        thread::sleep(Duration::from_millis(700));
        let kept = server.accept().expect("the second");
        let (mut back, _) = server.accept().expect("the proxy, at its second SYN");
        take(&mut back, REQUEST.len());
        back.write_all(ANSWER).expect("a proxy that reads");
        assert_eq!(client.join().expect("a client"), ANSWER);
        drop(kept);
    });
    drop((first, taken));
    let capture = recording.finish();

    let spans = capture.spans();
    let waits: Vec<_> = spans.iter().filter(|span| span.kind == "internal").collect();
    let [wait] = waits[..] else { panic!("one wait: {waits:?}") };
    let parent =
        spans.iter().find(|span| Some(&span.span_id) == wait.parent_span_id.as_ref()).expect("a parent");
    assert_eq!((parent.kind.as_str(), parent.dst_port), ("client", front_port), "{parent:?}");
    assert_eq!((wait.name.as_str(), wait.outcome.as_str()), (&*format!("connect 127.0.0.1:{port}"), "ok"));
    assert!(wait.duration_ns > LEAST_NS && parent.own_ns < LEAST_NS, "{wait:?} of {parent:?}");
    let own: i64 = spans.iter().map(|span| span.own_ns).sum();
    assert_eq!(own, parent.duration_ns, "{spans:?}");
    let requests = capture.number("SELECT sum(spans) AS n FROM traces");
    assert_eq!(requests, 4, "both sides of both hops");

    // Which listener dropped it is told by a query; the wait's own row says how often the SYN was sent.
    let rows = ["run", "connect_waits", capture.dir().to_str().expect("UTF-8"), "--format", "json"];
    let dropped = run_ok(retrospan().arg("query").args(rows));
    let dropped: serde_json::Value = serde_json::from_str(dropped.trim()).expect("one row");
    assert!(dropped["syn_again"].as_i64() >= Some(1) && dropped["drops"].as_i64() >= Some(1), "{dropped}");
    assert_eq!(dropped["path"], "/waits");
    let shown = capture.retrospan("trace", &["--why"]);
    let line = format!("connect 127.0.0.1:{port}, SYN sent again");
    assert!(shown.contains(&line), "{shown}");
}
