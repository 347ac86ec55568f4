//! Table `counters`: what the kernel counts where recorded processes live.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, only, rows, texts, with};
use retrospan_formats::tables;

/// A message from a client to a server, both this process.
fn talk(listener: &TcpListener) {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn refused_connects_are_counted_in_the_namespace_of_who_made_them() {
    let Some(_turn) = ebpf_or_skip("refused_connects_are_counted_in_the_namespace_of_who_made_them") else {
        return;
    };
    let place = Place::new();
    let own = std::process::id().to_string();
    let arguments = ["--pid", &own, "--evidence", "counters", "--counter-interval", "100ms"];
    let recorder = Recorder::start(place.path("counters.cap"), &arguments);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    talk(&listener);
    // It is known to carry traffic after the first sample, and counted from the second on.
    std::thread::sleep(Duration::from_millis(1_000));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for _ in 0..7 {
        assert!(TcpStream::connect(closed).is_err());
    }
    std::thread::sleep(Duration::from_millis(500));
    let capture = recorder.finish();
    let counters = rows(&capture, &tables::COUNTERS);
    assert!(numbers(&counters, "boot_ns").is_sorted());
    assert!(numbers(&counters, "delta").iter().all(|delta| *delta > Some(0)));
    let netns = std::fs::metadata("/proc/self/ns/net").unwrap().ino() as i64;
    let fails = only(&with(&counters, "netns", netns), "name", "Tcp.AttemptFails");
    assert!(numbers(&fails, "delta").iter().flatten().sum::<i64>() >= 7, "{fails:?}");
    assert!(texts(&fails, "source").iter().all(|source| source == "snmp"));
    for (delta, value) in numbers(&fails, "delta").iter().zip(numbers(&fails, "value")) {
        assert!(*delta <= value);
    }
    for interval in numbers(&fails, "interval_ns").into_iter().flatten() {
        assert!((50_000_000..10_000_000_000).contains(&interval), "{interval} ns");
    }
    assert_eq!(capture.manifest.options["evidence"], serde_json::json!(["counters"]));
}
