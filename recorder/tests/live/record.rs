//! The recorder itself, on a real kernel.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, only, record, rows, text};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use retrospan_formats::manifest::State;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

/// Answers HTTP requests, one a connection, with a body that says nothing of interest.
struct Server {
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(connections: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while reader.by_ref().lines().next().is_some_and(|line| !line.unwrap().is_empty()) {}
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                    .unwrap();
            }
        });
        Server { port, thread: Some(thread) }
    }

    /// Waits for the last connection.
    fn finish(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    fn ask(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /asked HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"hello"));
    }
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
    column.unwrap().as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
}

fn integers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column =
        arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Int64);
    column.unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The payloads of all events as one text.
fn payloads(capture: &Capture) -> String {
    let events = rows(capture, &tables::EVENTS);
    let payloads = events.column_by_name("payload").unwrap().as_binary::<i32>();
    payloads.iter().flatten().map(text).collect::<Vec<_>>().join("\n--\n")
}

#[test]
fn a_command_is_recorded_from_its_first_call_to_its_end() {
    let Some(_turn) = ebpf_or_skip("a_command_is_recorded_from_its_first_call_to_its_end") else { return };
    let place = Place::new();
    let path = place.path("curl.cap");
    let server = Server::start(1);
    let url = format!("http://127.0.0.1:{}/page?token=canary", server.port);
    let output = record(&path, &["--", "curl", "-s", "-H", "Authorization: canary", &url]);
    server.finish();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(text(&output.stdout), "hello", "stdout is the command's");
    assert!(said.starts_with(&format!("recording to {}\n", path.display())), "{said}");
    assert!(said.contains("the command ended with exit status: 0"), "{said}");

    let capture = Capture::open(&path).unwrap();
    assert_eq!(capture.state, State::Complete);
    assert_eq!(capture.manifest.losses, []);
    let kept = payloads(&capture);
    assert!(kept.contains("GET /page?token=****** HTTP/1.1\r\nHost: 127.0.0.1"), "{kept}");
    assert!(kept.contains("HTTP/1.1 200 **\r\nContent-Length: 5\r\n"), "{kept}");
    assert!(!kept.contains("canary") && !kept.contains("hello"), "{kept}");

    let events = rows(&capture, &tables::EVENTS);
    let kinds: Vec<_> = texts(&events, "kind").into_iter().flatten().collect();
    for kind in ["connect", "send", "receive", "state", "close"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} in {kinds:?}");
    }
    let sockets = rows(&capture, &tables::SOCKETS);
    assert_eq!(texts(&sockets, "role"), [Some("client".to_owned())]);
    assert_eq!(texts(&sockets, "remote_addr"), [Some("127.0.0.1".to_owned())]);
    assert_eq!(integers(&sockets, "remote_port"), [i64::from(server_port(&url))]);
    assert_eq!(sockets.column_by_name("closed_boot_ns").unwrap().null_count(), 0);

    // The owner is the command, with its own name, and the test is its parent's parent.
    let processes = rows(&capture, &tables::PROCESSES);
    let ids = integers(&processes, "process_id");
    let owner = integers(&sockets, "process_id")[0];
    let row = ids.iter().position(|&id| id == owner).unwrap();
    assert_eq!(texts(&processes, "comm")[row].as_deref(), Some("curl"));
    assert_eq!(texts(&processes, "argv")[row].as_deref(), Some("curl"));
    assert_eq!(processes.column_by_name("exit_code").unwrap().as_primitive::<Int32Type>().value(row), 0);
    assert!(processes.column_by_name("end_boot_ns").unwrap().is_valid(row));
    let mut unique = ids.clone();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "one row a process");
    assert!(
        events
            .column_by_name("process_id")
            .unwrap()
            .as_primitive::<Int64Type>()
            .iter()
            .all(|id| id == Some(owner))
    );
}

fn server_port(url: &str) -> u16 {
    url.split(&[':', '/']).find_map(|part| part.parse().ok()).unwrap()
}

#[test]
fn both_ends_and_the_connections_from_before_are_there() {
    let Some(_turn) = ebpf_or_skip("both_ends_and_the_connections_from_before_are_there") else { return };
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let recorder = Recorder::start(place.path("old.cap"), &["--port", &port.to_string()]);
    client.write_all(b"GET /old HTTP/1.1\r\n\r\n").unwrap();
    let mut buffer = [0; 64];
    let got = server.read(&mut buffer).unwrap();
    assert!(buffer[..got].starts_with(b"GET /old"));
    drop((client, server));
    let capture = recorder.finish();

    let sockets = rows(&capture, &tables::SOCKETS);
    let me = i64::from(std::process::id());
    assert_eq!(sockets.num_rows(), 3, "two ends and the listener: {sockets:?}");
    for id in integers(&sockets, "process_id") {
        assert_eq!(id & 0x3f_ffff, me);
    }
    assert!(sockets.column_by_name("discovered").unwrap().as_boolean().iter().all(|d| d == Some(true)));
    assert_eq!(payloads(&capture).matches("GET /old HTTP/1.1").count(), 1, "each byte once");
    let ends = only(&sockets, "role", "unknown");
    let (own, other) = (integers(&ends, "socket_id"), integers(&ends, "peer_socket_id"));
    assert!(own.len() == 2 && own[0] == other[1] && own[1] == other[0], "{sockets:?}");
}

#[test]
fn sigterm_finishes_the_files_and_says_what_it_cost() {
    let Some(_turn) = ebpf_or_skip("sigterm_finishes_the_files_and_says_what_it_cost") else { return };
    let place = Place::new();
    let server = Server::start(3);
    let port = server.port.to_string();
    let recorder = Recorder::start(place.path("a.cap"), &["--port", &port, "--payload", "none"]);
    (0..3).for_each(|_| server.ask());
    let path = recorder.path.clone();
    let (code, said) = recorder.end(libc::SIGTERM);
    server.finish();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("lost nothing") && said.contains("cost "), "{said}");
    let capture = Capture::open(&path).unwrap();
    assert_eq!(capture.state, State::Complete);
    assert_eq!(payloads(&capture), "");
    let events = rows(&capture, &tables::EVENTS);
    assert_eq!(events.num_rows() as u64, capture.manifest.cost.as_ref().unwrap().events);
    assert!(integers(&events, "boot_ns").is_sorted());
    assert_eq!(rows(&capture, &tables::CLOCK).num_rows(), 2, "at the start and at the end");
}

#[test]
fn a_kill_loses_only_the_last_part() {
    let Some(_turn) = ebpf_or_skip("a_kill_loses_only_the_last_part") else { return };
    let place = Place::new();
    let server = Server::start(50);
    let port = server.port.to_string();
    let recorder = Recorder::start(place.path("a.cap"), &["--port", &port, "--rotate", "200ms"]);
    let path = recorder.path.clone();
    let mut asked = 0;
    // Until three parts are finished; each ends within 200 ms.
    while asked < 50 && (asked < 5 || Capture::open(&path).unwrap().files("events").len() < 3) {
        server.ask();
        asked += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(recorder.end(libc::SIGKILL).0, None);
    let capture = Capture::open(&path).unwrap();
    assert_eq!(capture.state, State::Interrupted);
    assert!(capture.files("events").len() >= 3);
    let whole = capture.manifest.whole_until_boot_ns;
    assert!(capture.manifest.started_boot_ns < whole);
    assert!(integers(&rows(&capture, &tables::EVENTS), "boot_ns").into_iter().all(|t| t <= whole));
    (asked..50).for_each(|_| server.ask());
    server.finish();
}

#[test]
fn what_a_full_ring_loses_is_counted_exactly() {
    let Some(_turn) = ebpf_or_skip("what_a_full_ring_loses_is_counted_exactly") else { return };
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let arguments = ["--port", &port.to_string(), "--ring-size", "4k"];
    let recorder = Recorder::start(place.path("a.cap"), &arguments);
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let calls: u64 = 20_000;
    let mut byte = [0];
    for _ in 0..calls {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut byte).unwrap();
    }
    drop((client, server));
    let capture = recorder.finish();
    let kinds = texts(&rows(&capture, &tables::EVENTS), "kind");
    let losses = rows(&capture, &tables::LOSS);
    let lost: Vec<_> = texts(&losses, "kind").into_iter().zip(integers(&losses, "count")).collect();
    for kind in ["send", "receive"] {
        let stored = kinds.iter().filter(|k| k.as_deref() == Some(kind)).count() as u64;
        let lost: i64 = lost.iter().filter(|(k, _)| k.as_deref() == Some(kind)).map(|(_, n)| n).sum();
        assert_eq!(stored + lost as u64, calls, "{kind}: {stored} stored, {lost} lost");
        assert!(lost > 0, "a ring of 4 KiB holds 20,000 calls?");
    }
    let causes = texts(&losses, "cause");
    assert!(causes.iter().all(|c| c.as_deref() == Some("ring_full")), "{causes:?}");
    let in_manifest: u64 = capture.manifest.losses.iter().map(|l| l.count).sum();
    assert_eq!(in_manifest, integers(&losses, "count").iter().sum::<i64>() as u64);
}

#[test]
fn the_commands_status_is_its_own() {
    let Some(_turn) = ebpf_or_skip("the_commands_status_is_its_own") else { return };
    let place = Place::new();
    let output = record(&place.path("a.cap"), &["--", "sh", "-c", "echo out; exit 3", "canary"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(text(&output.stdout), "out\n");
    assert!(said.contains("exit status: 3"), "{said}");
    let manifest = fs::read_to_string(place.path("a.cap").join("manifest.json")).unwrap();
    assert!(manifest.contains("\"sh\"") && !manifest.contains("canary"), "{manifest}");
    let output = record(&place.path("b.cap"), &["--args", "--", "sh", "-c", "exit 0", "canary"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(fs::read_to_string(place.path("b.cap").join("manifest.json")).unwrap().contains("canary"));
}

#[test]
fn the_duration_ends_it() {
    let Some(_turn) = ebpf_or_skip("the_duration_ends_it") else { return };
    let place = Place::new();
    let output = record(&place.path("a.cap"), &["--duration", "300ms", "--", "sleep", "1"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("the command still runs (pid "), "{}", text(&output.stderr));
    assert!(Capture::open(&place.path("a.cap")).unwrap().manifest.cost.unwrap().elapsed_s >= 0.3);
}

#[test]
fn where_no_socket_matches_it_says_who_listens() {
    let Some(_turn) = ebpf_or_skip("where_no_socket_matches_it_says_who_listens") else { return };
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = record(&place.path("a.cap"), &["--port", "1", "--duration", "300ms"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let port = listener.local_addr().unwrap().port();
    assert!(said.contains("retrospan-record: nothing matched --port 1; listening here: "), "{said}");
    assert!(said.contains(&format!("{port} ")) || said.contains(" more"), "{said}");
    assert!(Capture::open(&place.path("a.cap")).is_ok());
}

#[test]
fn a_wrong_filter_is_told_while_it_can_be_mended() {
    let Some(_turn) = ebpf_or_skip("a_wrong_filter_is_told_while_it_can_be_mended") else { return };
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let right = listener.local_addr().unwrap().port();
    let wrong = (right - 1).to_string();
    let mut recorder = Recorder::start(place.path("a.cap"), &["--port", &wrong]);
    let mut line = String::new();
    recorder.stderr.read_line(&mut line).unwrap();
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    let listens = format!("{right} {}", own.trim());
    assert!(line.starts_with(&format!("nothing matches --port {wrong} yet; listening here: ")), "{line}");
    assert!(line.contains(&listens), "{line}");
    let path = recorder.path.clone();
    let (code, said) = recorder.end(libc::SIGINT);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("recorded 0 events"), "{said}");
    let closing = said.lines().last().unwrap();
    assert!(closing.contains(&format!("nothing matched --port {wrong}; listening here: ")), "{said}");
    assert!(closing.contains(&listens), "{said}");
    assert_eq!(Capture::open(&path).unwrap().state, State::Complete);
}

#[test]
fn a_filter_that_matches_is_right_where_nothing_happens() {
    let Some(_turn) = ebpf_or_skip("a_filter_that_matches_is_right_where_nothing_happens") else { return };
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = record(&place.path("a.cap"), &["--port", &port, "--duration", "300ms"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("nothing happened on 1 open socket matching --port {port}: ")), "{said}");
}

/// The writer ends before the recording does, as on a full disk: its reason is told, not that it is gone.
#[test]
fn what_the_writer_died_of_is_told_at_the_end_too() {
    let Some(_turn) = ebpf_or_skip("what_the_writer_died_of_is_told_at_the_end_too") else { return };
    let place = Place::new();
    let recorder = Recorder::start(place.path("a.cap"), &["--rotate", "1h"]);
    // The first rows of this table come at the end, and cannot be written.
    fs::write(recorder.path.join("recorder"), "in the way").unwrap();
    let (code, said) = recorder.end(libc::SIGINT);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("a.cap/recorder") && !said.contains("the writer has ended"), "{said}");
}

/// As on a full disk: parts before the one that cannot be written stay.
#[test]
fn a_recording_that_is_cut_short_says_how_much_is_whole() {
    let Some(_turn) = ebpf_or_skip("a_recording_that_is_cut_short_says_how_much_is_whole") else { return };
    let place = Place::new();
    let server = Server::start(50);
    let port = server.port.to_string();
    let recorder = Recorder::start(place.path("a.cap"), &["--port", &port, "--rotate", "200ms"]);
    let (path, mut asked) = (recorder.path.clone(), 0);
    while asked < 40 && Capture::open(&path).unwrap().files("clock").len() < 2 {
        server.ask();
        asked += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // A later part cannot have its name.
    let next = Capture::open(&path).unwrap().files("clock").len() + 3;
    fs::create_dir_all(path.join(format!("clock/{next:06}.parquet/in the way"))).unwrap();
    let output = recorder.child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let mut said = String::new();
    BufReader::new(recorder.stderr).read_to_string(&mut said).unwrap();
    let capture = Capture::open(&path).unwrap();
    assert_eq!((capture.state, capture.files("clock").len()), (State::Interrupted, next));
    assert!(said.contains("clock/") && said.contains("a.cap is whole until "), "{said}");
    let manifest = &capture.manifest;
    let after_s = (manifest.whole_until_boot_ns - manifest.started_boot_ns) as f64 / 1e9;
    let told = said.split(", ").find_map(|part| part.strip_suffix(" s after its begin"));
    let told: f64 = told.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!((told - after_s).abs() < 0.06, "{told} s, not {after_s} s: {said}");
    (asked..50).for_each(|_| server.ask());
    server.finish();
}

#[test]
fn the_probe_set_and_why_it_is_not_the_other_are_recorded() {
    let Some(_turn) = ebpf_or_skip("the_probe_set_and_why_it_is_not_the_other_are_recorded") else { return };
    let place = Place::new();
    let manifest = |name: &str, more: &[&str]| {
        let path = place.path(name);
        let output = record(&path, &[more, &["--duration", "1ms"]].concat());
        (output, Capture::open(&path).map(|capture| capture.manifest))
    };
    let (_, chosen) = manifest("a.cap", &[]);
    let chosen = chosen.unwrap();
    let (asked, _) = manifest("b.cap", &["--probes", "sockets"]);
    match &*chosen.probe_set {
        "sockets" => assert!(chosen.probe_set_reason.is_none() && asked.status.code() < Some(2)),
        "syscalls" => {
            let reason = chosen.probe_set_reason.unwrap();
            assert!(!reason.is_empty() && reason.lines().count() == 1, "{reason}");
            // A kernel that could is not asked where it may put programs off.
            if !reason.contains("preemption") {
                assert_eq!(asked.status.code(), Some(2));
                assert!(text(&asked.stderr).contains(&reason), "{reason}: {}", text(&asked.stderr));
            }
        }
        other => panic!("{other}"),
    }
    let (_, syscalls) = manifest("c.cap", &["--probes", "syscalls"]);
    let syscalls = syscalls.unwrap();
    assert_eq!((&*syscalls.probe_set, syscalls.probe_set_reason), ("syscalls", None), "as was asked");
}
