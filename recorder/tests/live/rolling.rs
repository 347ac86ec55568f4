//! Recordings that keep the latest only, and copies of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use retrospan_formats::manifest::State;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, rows};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Both ends of a connection, its client first.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn ask(client: &mut TcpStream, server: &mut TcpStream, takes: Duration) {
    client.write_all(REQUEST).unwrap();
    server.read_exact(&mut [0; REQUEST.len()]).unwrap();
    thread::sleep(takes);
    server.write_all(ANSWER).unwrap();
    client.read_exact(&mut [0; ANSWER.len()]).unwrap();
}

/// Requests on one connection that is kept, about 50 a second until dropped.
struct Traffic {
    port: u16,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start() -> Traffic {
        let (listener, port) = listener();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let thread = thread::spawn(move || {
            let (mut client, mut server) = connection(&listener);
            while !ended.load(Ordering::Relaxed) {
                ask(&mut client, &mut server, Duration::from_millis(20));
            }
        });
        Traffic { port, ends, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn recorder(place: &Place, port: u16, more: &[&str]) -> Recorder {
    let port = port.to_string();
    let arguments = [&["--port", &port, "--rotate", "200ms"][..], more].concat();
    Recorder::start(place.path("rolling.cap"), &arguments)
}

/// Copies beside the capture, oldest first.
fn copies(place: &Place) -> Vec<PathBuf> {
    let folder = place.path("rolling.cap").parent().unwrap().to_owned();
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_copy = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("rolling-");
    let mut copies: Vec<_> = all.filter(is_copy).filter(|path| path.join("manifest.json").exists()).collect();
    copies.sort();
    copies
}

fn first_copy(place: &Place) -> Capture {
    let since = Instant::now();
    while copies(place).is_empty() {
        assert!(since.elapsed() < Duration::from_secs(60), "no copy");
        thread::sleep(Duration::from_millis(50));
    }
    Capture::open(&copies(place)[0]).unwrap()
}

/// Every event is of a socket and a process that have a row, and none is much older than the begin. How many there are.
fn whole_events(capture: &Capture) -> usize {
    let (events, sockets) = (rows(capture, &tables::EVENTS), rows(capture, &tables::SOCKETS));
    let (known, processes) = (numbers(&sockets, "socket_id"), rows(capture, &tables::PROCESSES));
    let owners = numbers(&processes, "process_id");
    for (socket, process) in numbers(&events, "socket_id").iter().zip(numbers(&events, "process_id")) {
        assert!(known.contains(socket), "socket {socket:?}");
        assert!(process.is_none() || owners.contains(&process), "process {process:?}");
    }
    let first = numbers(&events, "boot_ns").into_iter().flatten().min().unwrap();
    assert!(first > capture.manifest.started_boot_ns - 1_000_000_000);
    events.num_rows()
}

#[test]
fn the_latest_is_kept_and_a_signal_makes_a_copy_of_it() {
    let Some(_turn) = ebpf_or_skip("the_latest_is_kept_and_a_signal_makes_a_copy_of_it") else { return };
    let (place, traffic) = (Place::new(), Traffic::start());
    let recorder = recorder(&place, traffic.port, &["--keep", "2s", "--dump-on", "SIGUSR1"]);
    // Processes that end, whose rows go with their parts.
    for _ in 0..50 {
        Command::new("true").status().unwrap();
        thread::sleep(Duration::from_millis(80));
    }
    recorder.signal(libc::SIGUSR1);
    let copy = first_copy(&place);
    assert_eq!((copy.state, copy.manifest.frozen.as_deref()), (State::Complete, Some("SIGUSR1")));
    let events = whole_events(&copy);
    thread::sleep(Duration::from_secs(3));
    let (code, told) = recorder.end(libc::SIGINT);
    assert!(
        code == Some(0) && told.contains("SIGUSR1: the last ") && told.contains("\nkept the last "),
        "{told}"
    );
    let capture = Capture::open(&place.path("rolling.cap")).unwrap();
    assert_eq!((capture.state, copies(&place).len()), (State::Complete, 1));
    whole_events(&capture);
    for capture in [&capture, &copy] {
        let manifest = &capture.manifest;
        assert!(manifest.whole_until_boot_ns - manifest.started_boot_ns > 1_500_000_000);
        let rolled = manifest.rolled.as_ref().unwrap();
        assert!(rolled.events > 50 && rolled.recording_started_wall_ns < manifest.started_wall_ns);
        assert!(manifest.losses.is_empty(), "{:?}", manifest.losses);
    }
    assert!(capture.manifest.started_boot_ns > copy.manifest.started_boot_ns);
    // The copy is as it was, whatever has gone since.
    assert_eq!(whole_events(&first_copy(&place)), events);
}

#[test]
fn a_recorder_that_is_killed_leaves_what_it_kept() {
    let Some(_turn) = ebpf_or_skip("a_recorder_that_is_killed_leaves_what_it_kept") else { return };
    let (place, traffic) = (Place::new(), Traffic::start());
    let recorder = recorder(&place, traffic.port, &["--keep", "1s"]);
    thread::sleep(Duration::from_secs(4));
    recorder.end(libc::SIGKILL);
    let capture = Capture::open(&place.path("rolling.cap")).unwrap();
    assert_eq!(capture.state, State::Interrupted);
    assert!(capture.manifest.rolled.is_some() && whole_events(&capture) > 20);
}

#[test]
fn clients_that_leave_make_one_copy_as_long_as_they_do() {
    let Some(_turn) = ebpf_or_skip("clients_that_leave_make_one_copy_as_long_as_they_do") else { return };
    let (place, (listener, port)) = (Place::new(), listener());
    let recorder = recorder(&place, port, &["--dump-on", "client-closed>2/s"]);
    // For longer than a copy takes to be made.
    for _ in 0..80 {
        let (mut client, mut server) = connection(&listener);
        client.write_all(REQUEST).unwrap();
        server.read_exact(&mut [0; REQUEST.len()]).unwrap();
        drop(client);
        thread::sleep(Duration::from_millis(50));
    }
    let copy = first_copy(&place);
    assert_eq!(copy.manifest.frozen.as_deref(), Some("client-closed>2/s"));
    assert!(whole_events(&copy) > 10);
    let capture = recorder.finish();
    assert_eq!(copies(&place).len(), 1);
    assert!(capture.manifest.rolled.is_none() && whole_events(&capture) > whole_events(&copy));
}

#[test]
fn the_end_of_a_process_makes_a_copy() {
    let Some(_turn) = ebpf_or_skip("the_end_of_a_process_makes_a_copy") else { return };
    let (place, traffic) = (Place::new(), Traffic::start());
    let program = place.path("ends-soon");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let recorder = recorder(&place, traffic.port, &["--dump-on", "exit:ends-soon"]);
    Command::new(&program).arg("0.5").status().unwrap();
    let copy = first_copy(&place);
    assert_eq!(copy.manifest.frozen.as_deref(), Some("exit:ends-soon"));
    assert!(whole_events(&copy) > 10);
    recorder.finish();
}

#[test]
fn late_answers_of_a_port_make_a_copy() {
    let Some(_turn) = ebpf_or_skip("late_answers_of_a_port_make_a_copy") else { return };
    let (place, (listener, port)) = (Place::new(), listener());
    let limit = format!("p99:{port}>15ms");
    let recorder = recorder(&place, port, &["--dump-on", &limit]);
    let (mut client, mut server) = connection(&listener);
    for number in 0..200 {
        let takes = Duration::from_millis(if number % 20 == 0 { 20 } else { 5 });
        ask(&mut client, &mut server, takes);
    }
    assert_eq!(first_copy(&place).manifest.frozen, Some(limit));
    recorder.finish();
}

#[test]
fn a_recording_ends_before_the_disk_is_full() {
    let Some(_turn) = ebpf_or_skip("a_recording_ends_before_the_disk_is_full") else { return };
    let (place, traffic) = (Place::new(), Traffic::start());
    // More than any disk has.
    let limit = ["--min-free-disk", "1000000g"];
    let (code, told) = recorder(&place, traffic.port, &limit).wait();
    let limit = limit.join(" ");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains(&format!("{limit} is reached: the recording ends")), "{told}");
    let capture = Capture::open(&place.path("rolling.cap")).unwrap();
    assert_eq!((capture.state, capture.manifest.ended_by), (State::Complete, Some(limit)));
}
