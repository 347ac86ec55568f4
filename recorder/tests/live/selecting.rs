//! Filters that the kernel programs decide by themselves: each kind, as the one way in and as an exclusion.

use crate::kernel_support::{Body, Ends, Pair, Recorded, Recording, own_sockets, turn};
use retrospan_formats::config;
use retrospan_recorder::filters::Filters;
use retrospan_recorder::filters::selection::Selection;
use retrospan_recorder::filters::values::Side;
use retrospan_recorder::kernel::Options;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// Which ends of a connection were recorded: client, server.
fn ends_in(ends: Ends, records: &[Recorded]) -> (bool, bool) {
    let has = |calls: Vec<_>, socket: bool| {
        assert!(socket || calls.is_empty(), "calls without a socket");
        !calls.is_empty()
    };
    (
        has(ends.client_calls(records), ends.client_in(records).is_some()),
        has(ends.server_calls(records), ends.server_in(records).is_some()),
    )
}

fn selection(texts: &[&str]) -> Selection {
    let mut selection = Selection::default();
    texts.iter().for_each(|text| selection.extend(Selection::parse(text).expect("a filter")));
    selection
}

fn including(texts: &[&str]) -> config::Filters {
    Filters { include: selection(texts), ..Filters::default() }.rules()
}

fn excluding(texts: &[&str]) -> config::Filters {
    Filters { exclude: selection(texts), ..Filters::default() }.rules()
}

fn on(side: Side) -> config::Filters {
    Filters { side: Some(side), ..Filters::default() }.rules()
}

/// One request and answer between these addresses; the ports of the ends.
fn exchange_at(listener: &TcpListener) -> Ends {
    let address = listener.local_addr().expect("address");
    let mut client = TcpStream::connect(address).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"ping").expect("send");
    server.read_exact(&mut [0; 4]).expect("receive");
    Ends { client: client.local_addr().expect("address").port(), server: address.port() }
}

/// What is recorded of an exchange at `listener` by each of these filters.
fn recorded_by(listener: &TcpListener, filters: config::Filters) -> Option<(bool, bool)> {
    let recording = Recording::start(&Options { filters, ..own_sockets() })?;
    let ends = exchange_at(listener);
    let (records, ..) = recording.finish();
    Some(ends_in(ends, &records))
}

/// Checks what is recorded by a filter as the one way in, and what by its exclusion.
fn check(listener: &TcpListener, filter: &str, included: (bool, bool), excluded: (bool, bool)) {
    let Some(found) = recorded_by(listener, including(&[filter])) else { return };
    assert_eq!(found, included, "only {filter}");
    assert_eq!(recorded_by(listener, excluding(&[filter])), Some(excluded), "all but {filter}");
}

#[test]
fn a_port_of_one_end_is_not_one_of_the_other() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    check(&listener, &format!("local-port={port}"), (false, true), (true, false));
    check(&listener, &format!("remote-port={port}"), (true, false), (false, true));
    check(&listener, &format!("port={port}"), (true, true), (false, false));
    check(&listener, "local-port=1-2", (false, false), (true, true));
}

#[test]
fn a_network_is_one_of_either_end() {
    let _turn = turn();
    let here = TcpListener::bind("127.0.0.1:0").expect("bind");
    let there = TcpListener::bind("127.9.8.7:0").expect("bind");
    check(&there, "cidr=127.9.8.0/24", (true, true), (false, false));
    check(&here, "cidr=127.9.8.0/24", (false, false), (true, true));
    check(&here, "cidr=::1", (false, false), (true, true));
    // What listens at any address may get connections of any, and they are looked at for themselves.
    let anywhere = TcpListener::bind("0.0.0.0:0").expect("bind");
    check(&anywhere, "cidr=127.0.0.0/8", (true, true), (false, false));
    check(&anywhere, "cidr=10.0.0.0/8", (false, false), (true, true));
    if let Ok(six) = TcpListener::bind("[::1]:0") {
        check(&six, "cidr=::1", (true, true), (false, false));
        check(&six, "cidr=0.0.0.0/0", (false, false), (true, true));
    }
}

#[test]
fn either_side_alone_can_be_recorded() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    for (side, expected) in [(Side::Client, (true, false)), (Side::Server, (false, true))] {
        let Some(found) = recorded_by(&listener, on(side)) else { return };
        assert_eq!(found, expected, "{side:?}");
    }
}

#[test]
fn sides_of_connections_that_were_open_before_are_told_by_who_listens() {
    let _turn = turn();
    for (side, expected) in [(Side::Client, (true, false)), (Side::Server, (false, true))] {
        let mut pair = Pair::open();
        let ends = pair.sockets();
        let options = Options { filters: on(side), ..own_sockets() };
        let Some(mut recording) = Recording::start(&options) else { return };
        let listening = retrospan_recorder::host::listeners::ports();
        recording.probes.note_listening(&listening).expect("a map");
        recording.probes.snapshot_sockets().expect("the walk");
        pair.client.write_all(b"ping").expect("send");
        pair.server.read_exact(&mut [0; 4]).expect("receive");
        let (records, ..) = recording.finish();
        assert_eq!(ends_in(ends, &records), expected, "{side:?}");
        let listens = records.iter().any(|record| match record.body {
            Body::Socket(socket) => socket.local_port == ends.server && socket.remote_port == 0,
            _ => false,
        });
        assert_eq!(listens, side == Side::Server, "{side:?}");
    }
}

#[test]
fn a_network_namespace_is_told_from_others() {
    let _turn = turn();
    let here = TcpListener::bind("127.0.0.1:0").expect("bind");
    // A thread in a namespace of its own makes the same exchange whenever it is asked to.
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<Result<(String, Ends), String>>();
    let inside = std::thread::spawn(move || {
        // SAFETY: takes no memory.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let _ = tell.send(Err("no network namespace can be made here".to_owned()));
            return;
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "ip");
        // SAFETY: takes no memory.
        let path = format!("/proc/self/task/{}/ns/net", unsafe { libc::syscall(libc::SYS_gettid) });
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        while asked.recv().is_ok() {
            tell.send(Ok((path.clone(), exchange_at(&listener)))).expect("the test waits");
        }
    });
    let exchange = || {
        ask.send(()).map_err(|_| "the thread has ended".to_owned()).and_then(|()| told.recv().expect("told"))
    };
    let path = match exchange() {
        Ok((path, _)) => path,
        Err(reason) => return crate::kernel_support::skipped(&reason),
    };
    let filter = format!("netns={path}");
    for (filters, wanted) in [(including(&[&filter]), true), (excluding(&[&filter]), false)] {
        let Some(recording) = Recording::start(&Options { filters, ..own_sockets() }) else { return };
        let (_, there) = exchange().expect("an exchange");
        let outside = exchange_at(&here);
        let (records, ..) = recording.finish();
        assert_eq!(ends_in(there, &records), (wanted, wanted));
        assert_eq!(ends_in(outside, &records), (!wanted, !wanted));
    }
    drop(ask);
    inside.join().expect("the thread");
}

#[test]
fn names_and_processes_can_be_left_out() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let name = std::fs::read_to_string("/proc/self/comm").expect("comm").trim().to_owned();
    let all = || Options { pids: None, ..own_sockets() };
    let by_name = Options { excluded_comms: vec!["nobody".into(), name], ..all() };
    let by_number = Options { excluded_pids: vec![std::process::id()], ..all() };
    let another = Options { excluded_comms: vec!["nobody".into()], excluded_pids: vec![1 << 22], ..all() };
    for (options, expected) in [(by_name, false), (by_number, false), (another, true)] {
        let Some(recording) = Recording::start(&options) else { return };
        let ends = exchange_at(&listener);
        let (records, ..) = recording.finish();
        assert_eq!(ends_in(ends, &records), (expected, expected), "{options:?}");
    }
}

/// Makes an exchange with itself, in a child where it is told to `fork`, and prints both ports.
const PYTHON: &str = "
import socket, sys, os
sys.stdin.readline()
if 'fork' in sys.argv and os.fork():
    os.wait(); sys.exit()
l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); s, a = l.accept()
c.sendall(b'ping'); s.recv(4); print(a[1], l.getsockname()[1], flush=True)
";

#[test]
fn a_process_alone_is_without_its_children() {
    let _turn = turn();
    if !Path::new("/usr/bin/python3").is_file() {
        return crate::kernel_support::skipped("there is no Python");
    }
    for (argument, expected) in [("", true), ("fork", false)] {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", PYTHON, argument]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3");
        let options = Options { pids: None, only_pids: Some(vec![child.id()]), ..own_sockets() };
        let recording = Recording::start(&options);
        child.stdin.take().expect("stdin").write_all(b"\n").expect("tell");
        let mut text = String::new();
        child.stdout.take().expect("stdout").read_to_string(&mut text).expect("answer");
        child.wait().expect("wait");
        let Some(recording) = recording else { return };
        let mut ports = text.split_whitespace().map(|number| number.parse().expect("a port"));
        let ends = Ends { client: ports.next().expect("client"), server: ports.next().expect("server") };
        let (records, ..) = recording.finish();
        assert_eq!(ends_in(ends, &records), (expected, expected), "{argument}");
    }
}

#[test]
fn kinds_are_joined_and_an_exclusion_wins() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let include = selection(&["cidr=127.0.0.0/8", "cidr=10.0.0.0/8", &format!("port={port}")]);
    let joined = Filters { include, side: Some(Side::Client), ..Filters::default() };
    let Some(found) = recorded_by(&listener, joined.rules()) else { return };
    assert_eq!(found, (true, false));
    let but = Filters { exclude: selection(&[&format!("remote-port={port}")]), ..joined };
    assert_eq!(recorded_by(&listener, but.rules()), Some((false, false)));
}
