//! What is left out where a recording reaches a limit: in order, counted, and recorded again.

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n";
const BODY: [u8; 3000] = [b'b'; 3000];
const CONNECTIONS: usize = 64;

/// Connections within this process, and how many sends and receives moved something on them.
struct Crowd {
    pairs: Vec<(TcpStream, TcpStream)>,
    calls: u64,
}

impl Crowd {
    fn new() -> (Crowd, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pair = |_| (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
        (Crowd { pairs: (0..CONNECTIONS).map(pair).collect(), calls: 0 }, address.port())
    }

    /// A request on every connection, its body sent by itself.
    fn ask(&mut self) {
        for (client, server) in &mut self.pairs {
            client.write_all(REQUEST).unwrap();
            self.calls += 1 + reads(server, REQUEST.len());
            server.write_all(HEAD).unwrap();
            self.calls += 1 + reads(client, HEAD.len());
            server.write_all(&BODY).unwrap();
            self.calls += 1 + reads(client, BODY.len());
        }
    }
}

/// Reads that many bytes; in how many calls.
fn reads(stream: &mut TcpStream, mut bytes: usize) -> u64 {
    let (mut buffer, mut calls) = ([0; 3000], 0);
    while bytes > 0 {
        bytes -= stream.read(&mut buffer[..bytes]).unwrap();
        calls += 1;
    }
    calls
}

/// What a recorder says, as it says it.
fn listen(recorder: &mut Recorder) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let (empty, _) = std::io::pipe().unwrap();
    let nothing = std::process::ChildStderr::from(std::os::fd::OwnedFd::from(empty));
    let stderr = std::mem::replace(&mut recorder.stderr, std::io::BufReader::new(nothing));
    let heard = said.clone();
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line))
    });
    said
}

/// Asks until the recorder has said so.
fn ask_until(crowd: &mut Crowd, pause: Duration, said: &Mutex<Vec<String>>, word: &str) {
    let since = Instant::now();
    while !said.lock().unwrap().iter().any(|line| line.contains(word)) {
        assert!(
            since.elapsed() < Duration::from_secs(240),
            "never said {word:?}: {:?}",
            said.lock().unwrap()
        );
        crowd.ask();
        thread::sleep(pause);
    }
}

#[test]
fn beyond_a_rate_more_and_more_is_left_out_and_recorded_again() {
    let Some(_turn) = ebpf_or_skip("beyond_a_rate_more_and_more_is_left_out_and_recorded_again") else {
        return;
    };
    let place = Place::new();
    let (mut crowd, port) = Crowd::new();
    let arguments = ["--port", &port.to_string(), "--max-rate", "2000", "--evidence", "none"];
    let mut recorder = Recorder::start(place.path("a.cap"), &arguments);
    let said = listen(&mut recorder);
    ask_until(&mut crowd, Duration::from_millis(60), &said, "connections is recorded");
    ask_until(&mut crowd, Duration::from_millis(1000), &said, "everything is recorded");
    let calm_ns = boot_ns();
    crowd.ask();
    recorder.signal(libc::SIGINT);
    assert_eq!(recorder.child.wait().unwrap().code(), Some(0));
    let capture = Capture::open(&place.path("a.cap")).unwrap();
    let steps: Vec<String> =
        said.lock().unwrap().iter().filter(|line| line.contains("from now on")).cloned().collect();
    let order = ["only heads", "as lengths, without bytes", "one in 2 connections"];
    assert!(order.iter().zip(&steps).all(|(word, step)| step.contains(word)), "{steps:?}");
    assert!(steps[0].contains("of --max-rate 2,000"), "{steps:?}");

    let losses = rows(&capture, &tables::LOSS);
    assert!(texts(&losses, "cause").iter().all(|cause| cause == "max_rate"), "{losses:?}");
    let left_out = |kind| numbers(&only(&losses, "kind", kind), "count").into_iter().flatten().sum::<i64>();
    assert!(["continuation", "bytes", "data"].into_iter().all(|kind| left_out(kind) > 0), "{losses:?}");
    let summed: u64 = capture.manifest.losses.iter().map(|loss| loss.count).sum();
    assert_eq!(summed as i64, numbers(&losses, "count").into_iter().flatten().sum::<i64>());
    // Nothing is gone without being counted.
    let events = rows(&capture, &tables::EVENTS);
    let moved = ["send", "receive"].map(|kind| only(&events, "kind", kind));
    let stored: usize = moved.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(stored as u64 + left_out("data") as u64, crowd.calls);
    // And at the end all is as at the begin.
    let late = moved.iter().map(|of_kind| {
        let times = numbers(of_kind, "boot_ns").into_iter().flatten();
        times.filter(|&ns| ns > calm_ns).count()
    });
    let late: usize = late.sum();
    assert!(late >= 6 * CONNECTIONS, "{late}");
    let payloads = texts(&moved[0], "payload");
    let heads =
        payloads.iter().rev().take(late / 2).filter(|bytes| bytes.starts_with("HTTP/1.1 200")).count();
    assert_eq!(heads, CONNECTIONS);
}

fn boot_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

#[test]
fn beyond_a_share_of_a_cpu_it_takes_less() {
    let Some(_turn) = ebpf_or_skip("beyond_a_share_of_a_cpu_it_takes_less") else { return };
    let place = Place::new();
    let (mut crowd, port) = Crowd::new();
    let arguments = ["--port", &port.to_string(), "--max-cpu", "0.1%"];
    let mut recorder = Recorder::start(place.path("a.cap"), &arguments);
    let said = listen(&mut recorder);
    ask_until(&mut crowd, Duration::ZERO, &said, "of --max-cpu");
    recorder.signal(libc::SIGINT);
    assert_eq!(recorder.child.wait().unwrap().code(), Some(0));
    assert!(said.lock().unwrap()[0].contains("only heads"), "{said:?}");
}

#[test]
fn less_is_recorded_as_the_room_runs_out() {
    let Some(_turn) = ebpf_or_skip("less_is_recorded_as_the_room_runs_out") else { return };
    let place = Place::new();
    let (mut crowd, port) = Crowd::new();
    let arguments = ["--port", &port.to_string(), "--max-disk", "3m", "--rotate", "200ms"];
    let mut recorder = Recorder::start(place.path("a.cap"), &arguments);
    let said = listen(&mut recorder);
    ask_until(&mut crowd, Duration::ZERO, &said, "is reached: the recording ends");
    assert_eq!(recorder.child.wait().unwrap().code(), Some(0));
    let capture = Capture::open(&place.path("a.cap")).unwrap();
    let bytes: u64 = capture.manifest.files.iter().map(|file| file.bytes).sum();
    assert!(bytes <= 3 << 20, "{bytes} bytes");
    let causes = texts(&rows(&capture, &tables::LOSS), "cause");
    assert!(causes.iter().any(|cause| cause == "max_disk"), "{causes:?}: {said:?}");
}
