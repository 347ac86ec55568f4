//! What is recorded and what is not.

use crate::kernel_support::{Body, Ends, Pair, Recorded, Recording, only, own_sockets, states_of, turn};
use retrospan_formats::config;
use retrospan_formats::event::Kind;
use retrospan_recorder::filters::Filters;
use retrospan_recorder::filters::selection::Selection;
use retrospan_recorder::kernel::Options;
use retrospan_testkit::skip;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Filters of the kernel programs that let through what `selected` says, each as `--exclude` has it.
fn included(selected: &[String]) -> config::Filters {
    let mut include = Selection::default();
    selected.iter().for_each(|text| include.extend(Selection::parse(text).expect("a filter")));
    Filters { include, ..Filters::default() }.rules()
}

/// One request and answer; the ports of its ends.
fn exchange() -> Ends {
    let mut pair = Pair::open();
    pair.client.write_all(b"ping").expect("send");
    pair.server.read_exact(&mut [0; 4]).expect("receive");
    pair.sockets()
}

fn is_whole(ends: Ends, records: &[Recorded]) -> bool {
    ends.client_in(records).is_some()
        && ends.server_in(records).is_some()
        && only(&ends.client_calls(records), Kind::Send).len() == 1
        && only(&ends.server_calls(records), Kind::Receive)
            .iter()
            .filter(|receive| receive.call.done_bytes > 0)
            .count()
            == 1
}

fn is_absent(ends: Ends, records: &[Recorded]) -> bool {
    ends.client_in(records).is_none() && ends.server_in(records).is_none()
}

#[test]
fn a_port_at_either_end_is_enough() {
    let _turn = turn();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let options = Options {
        pids: None,
        filters: included(&["port=1".into(), format!("port={port}")]),
        ..own_sockets()
    };
    let Some(recording) = Recording::start(&options) else { return };
    let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    let ends = Ends { client: client.local_addr().expect("address").port(), server: port };
    client.write_all(b"ping").expect("send");
    server.read_exact(&mut [0; 4]).expect("receive");
    // Else the server may close before it has heard of the client's end, and be the first of the two.
    drop(client);
    assert_eq!(server.read(&mut [0; 4]).expect("the end"), 0);
    drop(server);
    let others = exchange();
    let (records, ..) = recording.finish();
    assert!(is_whole(ends, &records));
    assert!(is_absent(others, &records));
    // Decided in the soft interrupt that made it, and followed in those to its end.
    let server = ends.server_in(&records).expect("server");
    assert_eq!(states_of(&records, server.socket_id), [(3, 1), (1, 8), (8, 9), (9, 7)]);
    let client = ends.client_in(&records).expect("client");
    assert_eq!(states_of(&records, client.socket_id).first(), Some(&(7, 2)));
    assert_eq!(states_of(&records, client.socket_id).last(), Some(&(5, 7)));
    for record in &records {
        if let Body::Socket(socket) = record.body {
            assert!(socket.local_port == port || socket.remote_port == port, "{socket:?}");
        }
    }
}

#[test]
fn a_local_port_that_only_the_kernel_chooses_is_waited_for() {
    let _turn = turn();
    // The ephemeral range as a filter: only the client's own port is in it.
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").expect("range");
    let mut ends = range.split_whitespace().map(|number| number.parse::<u16>().expect("a port"));
    let (first, last) = (ends.next().expect("first"), ends.next().expect("last"));
    let low = first - 1;
    let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", low)) else {
        panic!("port {low} is taken: the test needs one outside of the ephemeral range");
    };
    let options = Options { filters: included(&[format!("port={first}-{last}")]), ..own_sockets() };
    let Some(recording) = Recording::start(&options) else { return };
    let mut client = std::net::TcpStream::connect(("127.0.0.1", low)).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    let ends = Ends { client: client.local_addr().expect("address").port(), server: low };
    client.write_all(b"ping").expect("send");
    server.read_exact(&mut [0; 4]).expect("receive");
    drop((client, server));
    let (records, ..) = recording.finish();
    assert!(is_whole(ends, &records));
    let client = ends.client_in(&records).expect("client");
    assert_eq!(client.seq_from_start, 1);
    assert_eq!(only(&ends.client_calls(&records), Kind::Connect).len(), 1);
}

const PYTHON3: &str = "/usr/bin/python3";

/// A Python that makes one exchange with itself once it is told to, then prints both ports.
const PYTHON: &str = "
import socket, sys, os
sys.stdin.readline()
if 'fork' in sys.argv and os.fork():
    os.wait(); sys.exit()
l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); s, a = l.accept()
c.sendall(b'ping'); s.recv(4); print(a[1], l.getsockname()[1], flush=True)
";

/// A process that is ended with the test, whatever becomes of that.
struct Talker(Child);

impl Drop for Talker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(argument: &str) -> Talker {
    let mut command = Command::new(PYTHON3);
    command.args(["-c", PYTHON, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
    Talker(command.spawn().expect("python3"))
}

fn told(mut talker: Talker) -> Ends {
    talker.0.stdin.take().expect("stdin").write_all(b"\n").expect("tell");
    let mut text = String::new();
    talker.0.stdout.take().expect("stdout").read_to_string(&mut text).expect("answer");
    assert!(talker.0.wait().expect("wait").success());
    let mut ports = text.split_whitespace().map(|number| number.parse().expect("a port"));
    Ends { client: ports.next().expect("client"), server: ports.next().expect("server") }
}

#[test]
fn a_process_stands_for_its_present_and_future_descendants() {
    let _turn = turn();
    if !Path::new(PYTHON3).is_file() {
        return skip::lacks("a_process_stands_for_its_present_and_future_descendants", "there is no Python");
    }
    // Present: it is running when the recording starts, and forks afterwards.
    let present = python("fork");
    let stranger = python("");
    let options = Options { pids: Some(vec![present.0.id()]), ..own_sockets() };
    let Some(mut recording) = Recording::start(&options) else { return };
    // Future: a process that is added later, and what it starts.
    let late = python("fork");
    recording.probes.watch_pid(late.0.id()).expect("watch");
    let (present, stranger, late) = (told(present), told(stranger), told(late));
    let own = exchange();
    let (records, ..) = recording.finish();
    assert!(is_whole(present, &records) && is_whole(late, &records));
    assert!(is_absent(stranger, &records) && is_absent(own, &records));
}

#[test]
fn the_name_is_that_of_the_group_leader() {
    let _turn = turn();
    // The test's threads have names of their own; the leader has the program's, cut to 15 bytes.
    let program = std::fs::read_to_string("/proc/self/comm").expect("comm");
    for (name, expected) in [(program.trim(), true), ("nobody-s-name", false)] {
        let options = Options { pids: None, comms: vec!["x".into(), name.into()], ..own_sockets() };
        let Some(recording) = Recording::start(&options) else { return };
        let thread = std::thread::Builder::new().name("wrk:worker_0".into());
        let ends = thread.spawn(exchange).expect("thread").join().expect("exchange");
        let (records, ..) = recording.finish();
        assert_eq!(is_whole(ends, &records), expected, "{name}");
        assert_eq!(is_absent(ends, &records), !expected, "{name}");
    }
}

#[test]
fn different_filters_must_all_match() {
    let _turn = turn();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let options = Options { filters: included(&[format!("port={port}")]), ..own_sockets() };
    let Some(recording) = Recording::start(&options) else { return };
    let ends = exchange();
    assert_ne!(ends.server, port);
    let (records, ..) = recording.finish();
    assert!(is_absent(ends, &records));
}

#[test]
fn the_recorder_itself_is_not_recorded() {
    let _turn = turn();
    let options = Options { pids: None, own_pid: std::process::id(), ..own_sockets() };
    let Some(recording) = Recording::start(&options) else { return };
    let ends = exchange();
    let (records, ..) = recording.finish();
    assert!(ends.client_calls(&records).is_empty());
    assert!(ends.client_in(&records).is_none());
}
