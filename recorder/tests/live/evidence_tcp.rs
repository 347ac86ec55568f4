//! Table `tcp`: segments sent again, resets, round-trip times.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts, with};
use arrow::array::RecordBatch;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

fn record(place: &Place) -> Recorder {
    let own = std::process::id().to_string();
    Recorder::start(place.path("tcp.cap"), &["--pid", &own, "--evidence", "tcp"])
}

/// The id of the socket with these ports.
fn socket_id(capture: &Capture, local_port: u16, remote_port: u16) -> i64 {
    let sockets = rows(capture, &tables::SOCKETS);
    let found = with(&with(&sockets, "local_port", local_port.into()), "remote_port", remote_port.into());
    assert_eq!(found.num_rows(), 1, "one socket from {local_port} to {remote_port}");
    numbers(&found, "socket_id")[0].unwrap()
}

fn of_socket(
    capture: &Capture,
    table: &'static retrospan_formats::table::Table,
    socket_id: i64,
) -> RecordBatch {
    with(&rows(capture, table), "socket_id", socket_id)
}

/// A network namespace of its own for this thread and the programs it starts.
fn leave_network() {
    // SAFETY: only this thread is concerned.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a network namespace can be made");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Drops every fourth large packet that comes in.
fn drop_some() {
    let rules = "table ip lossy { chain arriving { type filter hook input priority 0; \
                 meta length > 500 numgen inc mod 4 == 3 counter drop; }; }";
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft takes the rules");
}

fn dropped() -> usize {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let count = text.split("counter packets ").nth(1).expect("a counter");
    count.split(' ').next().unwrap().parse().unwrap()
}

/// Sends that many messages over a link that loses some, each answered before the next. Returns the client's and the
/// server's port, and how many packets were dropped.
fn exchange_over_a_lossy_link(messages: usize) -> (u16, u16, usize) {
    let (to_client, from_server) = mpsc::channel::<i32>();
    let (to_server, from_client) = mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        leave_network();
        // SAFETY: no arguments.
        to_client.send(unsafe { libc::gettid() }).unwrap();
        from_client.recv().unwrap();
        run("ip", &["addr", "add", "10.77.0.2/24", "dev", "lossy-b"]);
        run("ip", &["link", "set", "lossy-b", "up"]);
        drop_some();
        let listener = TcpListener::bind("10.77.0.2:7777").unwrap();
        to_client.send(0).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..messages {
            stream.read_exact(&mut [0; 1000]).unwrap();
            stream.write_all(b"x").unwrap();
        }
        dropped()
    });
    let client = std::thread::spawn(move || {
        leave_network();
        let peer = from_server.recv().unwrap().to_string();
        run("ip", &["link", "add", "lossy-a", "type", "veth", "peer", "name", "lossy-b"]);
        run("ip", &["link", "set", "lossy-b", "netns", &peer]);
        run("ip", &["addr", "add", "10.77.0.1/24", "dev", "lossy-a"]);
        run("ip", &["link", "set", "lossy-a", "up"]);
        to_server.send(()).unwrap();
        from_server.recv().unwrap();
        let address: SocketAddr = "10.77.0.2:7777".parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for _ in 0..messages {
            stream.write_all(&[b'm'; 1000]).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        stream.local_addr().unwrap().port()
    });
    (client.join().unwrap(), 7777, server.join().unwrap())
}

#[test]
fn what_a_link_loses_is_sent_again_and_said() {
    let Some(_turn) = ebpf_or_skip("what_a_link_loses_is_sent_again_and_said") else { return };
    let place = Place::new();
    let recorder = record(&place);
    let (client, server, dropped) = exchange_over_a_lossy_link(12);
    let capture = recorder.finish();
    assert!(dropped >= 3, "{dropped} packets were lost");
    let socket = socket_id(&capture, client, server);
    let again = only(&of_socket(&capture, &tables::TCP, socket), "kind", "retransmit");
    let sends = only(&of_socket(&capture, &tables::EVENTS, socket), "kind", "send");
    let sent: BTreeSet<_> = numbers(&sends, "tcp_seq").into_iter().collect();
    let repeated: BTreeSet<_> = numbers(&again, "tcp_seq").into_iter().collect();
    assert!(repeated.len() >= dropped, "{} of {dropped} were sent again", repeated.len());
    assert!(repeated.is_subset(&sent), "{repeated:?} were never sent: {sent:?}");
    assert!(numbers(&again, "bytes").iter().all(|&bytes| bytes == Some(1000)));
    assert!(numbers(&again, "tcp_state").iter().all(|&state| state == Some(1)));
    assert!(numbers(&again, "process_id").iter().all(Option::is_some));
    assert!(numbers(&again, "rtt_us").iter().all(Option::is_none));
}

/// A connection over loopback: both ends, and their ports.
fn pair() -> (TcpStream, TcpStream, (u16, u16)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    (client, server, (peer.port(), listener.local_addr().unwrap().port()))
}

/// The kinds of resets on a socket.
fn resets(capture: &Capture, socket_id: i64) -> Vec<String> {
    let kinds = texts(&of_socket(capture, &tables::TCP, socket_id), "kind");
    kinds.into_iter().filter(|kind| kind.starts_with("reset")).collect()
}

#[test]
fn a_reset_has_a_row_at_each_end() {
    let Some(_turn) = ebpf_or_skip("a_reset_has_a_row_at_each_end") else { return };
    let place = Place::new();
    let recorder = record(&place);
    // Whoever closes with unread data resets.
    let (client, mut server, left) = pair();
    server.write_all(b"unread").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client);
    assert!(server.read(&mut [0]).is_err());
    let (mut client, server, right) = pair();
    client.write_all(b"unread").unwrap();
    server.peek(&mut [0]).unwrap();
    drop(server);
    assert!(client.read(&mut [0]).is_err());
    // Nobody listens.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpStream::connect(unused).is_err());
    let capture = recorder.finish();
    assert_eq!(resets(&capture, socket_id(&capture, left.0, left.1)), ["reset_sent"]);
    assert_eq!(resets(&capture, socket_id(&capture, left.1, left.0)), ["reset_received"]);
    assert_eq!(resets(&capture, socket_id(&capture, right.1, right.0)), ["reset_sent"]);
    assert_eq!(resets(&capture, socket_id(&capture, right.0, right.1)), ["reset_received"]);
    let refused = with(&rows(&capture, &tables::SOCKETS), "remote_port", unused.port().into());
    let id = numbers(&refused, "socket_id")[0].unwrap();
    assert_eq!(resets(&capture, id), ["reset_received"]);
    let states = numbers(&of_socket(&capture, &tables::TCP, id), "tcp_state");
    assert_eq!(states, [Some(2)], "in SYN_SENT");
}

#[test]
fn a_round_trip_time_is_written_again_where_it_changed() {
    let Some(_turn) = ebpf_or_skip("a_round_trip_time_is_written_again_where_it_changed") else { return };
    let place = Place::new();
    let recorder = record(&place);
    let (mut client, mut server, ports) = pair();
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2_500) {
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let capture = recorder.finish();
    for (local, remote) in [ports, (ports.1, ports.0)] {
        let samples =
            only(&of_socket(&capture, &tables::TCP, socket_id(&capture, local, remote)), "kind", "rtt");
        // Looked at after 0, 1 and 2 s. On a busy machine it may have changed.
        assert!((1..=3).contains(&samples.num_rows()), "{} samples", samples.num_rows());
        let times = numbers(&samples, "boot_ns");
        let changed = |pair: &[Option<i64>]| {
            let (before, after) = (pair[0].unwrap(), pair[1].unwrap());
            (after - before).abs() >= 500.max(before / 2)
        };
        assert!(numbers(&samples, "rtt_us").windows(2).all(changed));
        assert!(times.windows(2).all(|pair| pair[1].unwrap() - pair[0].unwrap() > 990_000_000));
        assert!(numbers(&samples, "rtt_us").iter().all(|us| us.is_some_and(|us| us > 0 && us < 1_000_000)));
        assert!(numbers(&samples, "rttvar_us").iter().all(Option::is_some));
        assert!(numbers(&samples, "tcp_seq").iter().all(Option::is_none));
    }
}

/// What the kernel tells of a socket itself.
fn tcp_info(stream: &TcpStream) -> libc::tcp_info {
    // SAFETY: all zeroes is a valid value of a struct of numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the struct is as long as `bytes` says.
    let told = unsafe {
        let place = (&raw mut info).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut bytes)
    };
    assert_eq!(told, 0, "TCP_INFO can be asked for");
    info
}

#[test]
fn the_counters_of_an_end_are_those_of_the_kernel() {
    let Some(_turn) = ebpf_or_skip("the_counters_of_an_end_are_those_of_the_kernel") else { return };
    const BYTES: usize = 12 << 20;
    let place = Place::new();
    let recorder = record(&place);
    let (mut client, mut server, ports) = pair();
    // Whoever reads lets the other one wait until his window and both buffers are full.
    let reading = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        let mut read = 0;
        while read < BYTES {
            read += server.read(&mut [0; 1 << 16]).unwrap();
        }
        server
    });
    client.write_all(&vec![b'd'; BYTES]).unwrap();
    let mut server = reading.join().unwrap();
    server.write_all(b"done").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let info = tcp_info(&client);
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop(server);
    let capture = recorder.finish();
    let end = |local, remote| {
        only(&of_socket(&capture, &tables::FLOWS, socket_id(&capture, local, remote)), "kind", "end")
    };
    let (client, server) = (end(ports.0, ports.1), end(ports.1, ports.0));
    assert_eq!((client.num_rows(), server.num_rows()), (1, 1));
    let of = |row: &RecordBatch, column: &str| numbers(row, column)[0].expect(column);
    assert_eq!(of(&client, "sent_bytes") - of(&client, "retransmitted_bytes"), BYTES as i64);
    assert_eq!(of(&server, "received_bytes"), BYTES as i64 + 1, "and a FIN");
    assert_eq!(of(&server, "sent_bytes"), 4);
    assert_eq!(of(&client, "retransmitted_segments"), i64::from(info.tcpi_total_retrans));
    // What closing adds: a FIN, acknowledgements.
    let more = of(&client, "sent_segments") - i64::from(info.tcpi_segs_out);
    assert!((0..=4).contains(&more), "{more} segments to close");
    let (limited, waited_ns) = (info.tcpi_rwnd_limited as i64 * 1000, of(&client, "receiver_limited_ns"));
    assert!((waited_ns - limited).abs() <= 20_000_000, "{waited_ns} ns, the kernel says {limited}");
    assert!(waited_ns >= 300_000_000, "the server did not read for 700 ms, {waited_ns} ns were told");
    assert!(of(&client, "busy_ns") >= waited_ns + of(&client, "buffer_limited_ns"));
    assert!(of(&client, "min_rtt_us") <= of(&client, "rtt_us").max(info.tcpi_rtt.into()));
}

/// What the kernel says that a listener dropped.
fn dropped_by(port: u16) -> i64 {
    let output = Command::new("ss")
        .args(["-H", "-l", "-t", "-m", "src", &format!("127.0.0.1:{port}")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let memory = text.split("skmem:(").nth(1).and_then(|rest| rest.split(')').next()).expect("its memory");
    memory.rsplit(",d").next().and_then(|count| count.parse().ok()).expect("its drops")
}

#[test]
fn a_listener_that_does_not_accept_drops_handshakes() {
    let Some(_turn) = ebpf_or_skip("a_listener_that_does_not_accept_drops_handshakes") else { return };
    let place = Place::new();
    let recorder = record(&place);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: a descriptor of ours.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 1) }, 0);
    let first = TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();
    let started = Instant::now();
    let connect = move || TcpStream::connect_timeout(&address, Duration::from_secs(10));
    let clients: Vec<_> = (0..6).map(|_| std::thread::spawn(connect)).collect();
    // Until one of them has sent its SYN again.
    std::thread::sleep(Duration::from_millis(1_500));
    let mut kept = vec![listener.accept().unwrap()];
    let waited_ns = started.elapsed().as_nanos() as i64;
    while clients.iter().any(|client| !client.is_finished()) {
        kept.extend(listener.accept());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Some may find the queue full once more: the last look must have seen what is counted.
    let mut dropped = 0;
    while dropped != dropped_by(address.port()) {
        dropped = dropped_by(address.port());
        kept.extend(listener.accept());
    }
    drop((first, kept));
    let capture = recorder.finish();
    let own = with(&rows(&capture, &tables::SOCKETS), "local_port", address.port().into());
    let listens = numbers(&only(&own, "role", "listener"), "socket_id")[0].unwrap();
    let found = of_socket(&capture, &tables::TCP, listens);
    assert!(texts(&found, "kind").iter().all(|kind| kind == "listen_drop") && found.num_rows() > 0);
    let column = |name| numbers(&found, name).into_iter().map(Option::unwrap).collect::<Vec<i64>>();
    assert!(dropped >= 4, "{dropped}");
    assert_eq!(column("drops").iter().sum::<i64>(), dropped);
    assert_eq!(column("total_drops").last(), Some(&dropped));
    assert!((1_400_000_000..=waited_ns + 100_000_000).contains(&column("since_ns")[0]));
    assert!(column("tcp_state").iter().all(|&state| state == 10), "LISTEN");
}
