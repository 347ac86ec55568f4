//! What a capture says of heads, names and times, where that is easily got wrong.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::recorder_support::{BINARY, Place, Recorder, ebpf_or_skip, numbers, only, rows, texts};
use arrow::array::{Array, AsArray};
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;
use retrospan_testkit::skip;

/// Both ends of a connection, and the port that tells it.
fn pair() -> (TcpStream, TcpStream, TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let server = listener.accept().unwrap().0;
    (client, server, listener, address.port().to_string())
}

fn head(length_line: usize, secret: &str) -> String {
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for line in 0..100 {
        if line == length_line {
            head.push_str("Content-Length: 2\r\n");
        }
        head.push_str(&format!("X-{line}: {secret}-{}\r\n", "x".repeat(60)));
    }
    head + "\r\n"
}

#[test]
fn a_long_head_keeps_what_framing_needs_and_no_secret() {
    let Some(_turn) = ebpf_or_skip("a_long_head_keeps_what_framing_needs_and_no_secret") else { return };
    for (mode, snap) in [("heads", "1024"), ("heads", "100"), ("full", "1024")] {
        let place = Place::new();
        let (mut client, mut server, _listener, port) = pair();
        let recorder =
            Recorder::start(place.path("a.cap"), &["--port", &port, "--payload", mode, "--snaplen", snap]);
        for line in [0, 50, 99] {
            let data = head(line, "canary") + "hi";
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            server.read_exact(&mut [0; 18]).unwrap();
            server.write_all(data.as_bytes()).unwrap();
            client.read_exact(&mut vec![0; data.len()]).unwrap();
        }
        let capture = recorder.finish();
        let sends = only(&rows(&capture, &tables::EVENTS), "kind", "send");
        let snap: usize = snap.parse().unwrap();
        let [payload, framing] =
            ["payload", "framing"].map(|name| sends.column_by_name(name).unwrap().as_binary::<i32>());
        let mut answers = 0;
        for row in (0..sends.num_rows()).filter(|&row| framing.is_valid(row)) {
            let (stored, rest) = (payload.value(row), String::from_utf8_lossy(framing.value(row)));
            assert_eq!(stored.len(), snap + 8);
            assert!(!rest.contains("canary") && rest.ends_with("*\r\n\r\n"), "{rest}");
            assert_eq!(snap + rest.len(), head(0, "canary").len());
            let whole = [String::from_utf8_lossy(&stored[..snap]), rest].concat();
            assert_eq!(whole.matches("Content-Length: 2\r\n").count(), 1, "{whole}");
            answers += 1;
        }
        assert_eq!(answers, 3);
        assert_eq!(capture.manifest.losses, []);
    }
}

#[test]
fn nothing_is_kept_of_a_long_head_where_nothing_is_wanted() {
    let Some(_turn) = ebpf_or_skip("nothing_is_kept_of_a_long_head_where_nothing_is_wanted") else { return };
    for option in [["--payload", "none"], ["--snaplen", "0"]] {
        let place = Place::new();
        let (mut client, mut server, _listener, port) = pair();
        let recorder = Recorder::start(place.path("a.cap"), &[&["--port", &port][..], &option].concat());
        let data = head(50, "x");
        server.write_all(data.as_bytes()).unwrap();
        client.read_exact(&mut vec![0; data.len()]).unwrap();
        let events = rows(&recorder.finish(), &tables::EVENTS);
        for name in ["payload", "framing"] {
            let column = events.column_by_name(name).unwrap();
            assert_eq!(column.null_count(), events.num_rows(), "{name}");
        }
    }
}

#[test]
fn processes_have_the_names_that_they_gave_themselves() {
    let Some(_turn) = ebpf_or_skip("processes_have_the_names_that_they_gave_themselves") else { return };
    let place = Place::new();
    let (mut client, mut server, _listener, port) = pair();
    let script = "read line; printf renamed > /proc/$$/comm; echo done; read line";
    let mut shell =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let recorder = Recorder::start(place.path("a.cap"), &["--port", &port]);
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    shell.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let processes = rows(&recorder.finish(), &tables::PROCESSES);
    let pid = Some(i64::from(shell.id()));
    drop(input);
    shell.wait().unwrap();
    let row = numbers(&processes, "pid").into_iter().position(|number| number == pid).unwrap();
    assert_eq!(texts(&processes, "comm")[row], "renamed");
}

#[test]
fn a_time_namespace_does_not_shift_the_times() {
    let Some(_turn) = ebpf_or_skip("a_time_namespace_does_not_shift_the_times") else { return };
    let place = Place::new();
    let path = place.path("a.cap");
    let (mut client, mut server, _listener, port) = pair();
    let mut command = Command::new("unshare");
    command.args(["--time", "--boottime", "86400", "--fork", BINARY, "-o"]).arg(&path);
    command.args(["--port", &port, "--duration", "1s"]).stderr(Stdio::piped());
    let mut recorder = command.spawn().unwrap();
    let mut said = String::new();
    let recorded = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&recorded);
    let sending = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    });
    recorder.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = recorder.wait().unwrap();
    recorded.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    if said.contains("unshare") {
        return skip::say("a_time_namespace_does_not_shift_the_times", &said);
    }
    assert!(status.success(), "{said}");
    let capture = Capture::open(&path).unwrap();
    let (from, now) = (capture.manifest.started_boot_ns, retrospan_recorder::host::boot_ns() as i64);
    let hour_ago = now - 3_600_000_000_000;
    assert!((hour_ago..now).contains(&from), "{from} and {now}");
    let times = numbers(&rows(&capture, &tables::EVENTS), "boot_ns");
    assert!(!times.is_empty());
    assert!(times.into_iter().flatten().all(|time| (hour_ago..now).contains(&time)));
    let starts = numbers(&rows(&capture, &tables::PROCESSES), "start_boot_ns");
    assert!(starts.into_iter().flatten().all(|time| (0..now).contains(&time)));
}

#[test]
fn a_low_limit_of_open_files_is_named() {
    let Some(_turn) = ebpf_or_skip("a_low_limit_of_open_files_is_named") else { return };
    let place = Place::new();
    let script = "ulimit -n 16; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", BINARY, "--duration", "1s", "-o"]).arg(place.path("a.cap"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ulimit -n") && said.contains("16"), "{said}");
}
