//! Column `queued_us`: how long received data lay unread.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, with};
use retrospan_formats::tables;

/// Has a server sleep before it reads a request, and then answer it at once. Returns `queued_us` of all calls with data: the kind
/// with each.
fn exchange(evidence: &str) -> Vec<(&'static str, Option<i64>)> {
    let place = Place::new();
    let own = std::process::id().to_string();
    let recorder = Recorder::start(place.path("arrivals.cap"), &["--pid", &own, "--evidence", evidence]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i64::from(listener.local_addr().unwrap().port());
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let serving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"pong").unwrap();
    });
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    serving.join().unwrap();
    let capture = recorder.finish();
    // Other tests may run in this process meanwhile.
    let sockets = rows(&capture, &tables::SOCKETS);
    let ends =
        ["local_port", "remote_port"].map(|end| numbers(&with(&sockets, end, port), "socket_id")).concat();
    let events = rows(&capture, &tables::EVENTS);
    let of = |kind: &'static str| {
        let calls = only(&events, "kind", kind);
        let sockets = numbers(&calls, "socket_id");
        let told = sockets.into_iter().zip(numbers(&calls, "queued_us"));
        told.filter(|(socket, _)| ends.contains(socket)).map(|(_, us)| (kind, us)).collect::<Vec<_>>()
    };
    [of("receive"), of("send")].concat()
}

#[test]
fn data_that_lay_unread_says_for_how_long() {
    let Some(_turn) = ebpf_or_skip("data_that_lay_unread_says_for_how_long") else { return };
    let calls = exchange("arrivals");
    let kinds: Vec<_> = calls.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["receive", "receive", "send", "send"]);
    let (late_us, waiting_us) = (calls[0].1.unwrap(), calls[1].1.unwrap());
    assert!((299_000..10_000_000).contains(&late_us), "the server slept for 300 ms, {late_us} us were told");
    assert!(waiting_us < late_us - 250_000, "the client waited for the answer, {waiting_us} us were told");
    assert!(calls[2..].iter().all(|(_, us)| us.is_none()));
}

#[test]
fn arrivals_are_not_told_where_nobody_asked() {
    let Some(_turn) = ebpf_or_skip("arrivals_are_not_told_where_nobody_asked") else { return };
    assert!(exchange("tcp,sched,usage,execs").iter().all(|(_, us)| us.is_none()));
}
