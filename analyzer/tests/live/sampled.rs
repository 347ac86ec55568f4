//! A sample of the connections through a proxy that copies bytes: about the true numbers when scaled, and no wrong link.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::lab::capture::retrospan;
use crate::lab::ebpf_or_skip;
use crate::lab::process::run_ok;
use crate::lab::recording::Recording;

const REQUESTS: usize = 4_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    (listener, port)
}

/// Takes each connection's request and gives it to `answer`.
fn serve(listener: TcpListener, answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 512];
            let Ok(length) = stream.read(&mut request) else { continue };
            let _ = stream.write_all(&answer(&request[..length]));
        }
    });
}

fn ask(port: u16, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
    stream.write_all(request).expect("a server that reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

/// The first row of what a statement says.
fn first(capture: &std::path::Path, statement: &str) -> Vec<i64> {
    let text = run_ok(retrospan().arg("sql").arg(capture).arg(statement).args(["--format", "csv"]));
    let row = text.lines().nth(1).expect("a row");
    row.split(',').map(|cell| cell.parse().unwrap_or_else(|_| panic!("{text}"))).collect()
}

#[test]
fn a_sample_tells_the_true_numbers_and_no_wrong_parent() {
    let Some(_turn) = ebpf_or_skip("a_sample_tells_the_true_numbers_and_no_wrong_parent") else { return };
    let ((front, front_port), (back, back_port)) = (listener(), listener());
    serve(back, |_| ANSWER.to_vec());
    serve(front, move |request| ask(back_port, request));
    let ports = [front_port, back_port].map(|port| port.to_string());
    let recording = Recording::start(&["--port", &ports[0], "--port", &ports[1], "--sample", "1/4"]);
    for number in 0..REQUESTS {
        // Every request is of another length and content, so that a wrong parent can be told.
        let request = format!("GET /{number}/{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(number % 50));
        assert!(!ask(front_port, request.as_bytes()).is_empty());
    }
    let capture = recording.finish();
    let statement = format!(
        "SELECT sum(sampled_one_in) FILTER (WHERE kind = 'client' AND dst_port = {front_port}),
                sum(sampled_one_in) FILTER (WHERE kind = 'server' AND dst_port = {back_port}),
                count(*) FILTER (WHERE kind = 'client'), count(*) FILTER (WHERE kind = 'server'),
                count(*) FILTER (WHERE kind = 'server' AND parent_span_id IS NULL)
         FROM spans WHERE kind <> 'internal'"
    );
    let [asked, answered, clients, servers, lost] = first(capture.dir(), &statement)[..] else {
        panic!("five numbers")
    };
    // Five standard deviations of what chance leaves of a quarter of them, times four.
    let far = 5.0 * (REQUESTS as f64 * 3.0).sqrt();
    for told in [asked, answered] {
        assert!((told as f64 - REQUESTS as f64).abs() < far, "{told} of {REQUESTS}");
    }
    assert_eq!((clients, lost), (servers, 0), "both ends or neither");
    let wrong = "SELECT count(*) FILTER (WHERE c.path <> p.path), count(*)
                 FROM spans c JOIN spans p ON p.span_id = c.parent_span_id AND p.trace_id = c.trace_id";
    let [wrong, linked] = first(capture.dir(), wrong)[..] else { panic!("two numbers") };
    assert!(wrong == 0 && linked >= servers, "{wrong} of {linked}");
    let connections = first(
        capture.dir(),
        "SELECT sum(connections) FROM (SELECT sum(sampled_one_in) AS connections FROM connections)",
    );
    assert!((connections[0] as f64 - 2.0 * REQUESTS as f64).abs() < 2.0 * far, "{connections:?}");
}
