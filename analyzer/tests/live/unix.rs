//! Servers behind Unix sockets: what went over one is told as what goes over TCP, and so are its ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::lab::capture::Capture;
use crate::lab::client::{Connection, Request};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for};

/// A server of files at a socket, which logs what it was asked.
fn back(home: &Path) -> Program {
    let dir = home.display();
    let configuration = format!(
        "daemon off; worker_processes 2; pid {dir}/back.pid; error_log {dir}/back.err;
         events {{ worker_connections 64; }}
         http {{ log_format asked '$request_method $uri $status'; access_log {dir}/back.log asked;
           client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
           uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
           server {{ listen unix:{dir}/back.sock; root {dir}/files; }} }}"
    );
    start(home, "back", &configuration)
}

/// What passes requests on to it.
fn front(home: &Path, port: u16) -> Program {
    let dir = home.display();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {dir}/front.pid; error_log {dir}/front.err;
         events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path {dir}/fb; proxy_temp_path {dir}/fp;
           fastcgi_temp_path {dir}/ff; uwsgi_temp_path {dir}/fu; scgi_temp_path {dir}/fs;
           upstream back {{ server unix:{dir}/back.sock; keepalive 8; }}
           server {{ listen 127.0.0.1:{port}; keepalive_requests 1000;
             location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}"
    );
    start(home, "front", &configuration)
}

fn start(home: &Path, name: &str, configuration: &str) -> Program {
    let file = home.join(format!("{name}.conf"));
    fs::write(&file, configuration).expect("a configuration");
    let mut command = Command::new(tool("nginx"));
    Program::start(name, home, command.arg("-p").arg(home).arg("-c").arg(file))
}

fn counts(capture: &Capture, query: &str) -> BTreeMap<String, i64> {
    let rows = capture.sql(query);
    rows.iter()
        .map(|row| (row["name"].as_str().unwrap_or("none").to_owned(), row["n"].as_i64().expect("a count")))
        .collect()
}

#[test]
fn requests_through_a_unix_socket_are_one_trace_and_counted_as_the_server_does() {
    let Some(_turn) =
        ebpf_or_skip("requests_through_a_unix_socket_are_one_trace_and_counted_as_the_server_does")
    else {
        return;
    };
    const ROUNDS: usize = 120;
    let (home, port) = (folder(), free_port());
    fs::create_dir(home.path().join("files")).expect("a folder");
    fs::write(home.path().join("files/small"), "small").expect("a file");
    fs::write(home.path().join("files/large"), vec![b'x'; 700_000]).expect("a file");
    let mut back = back(home.path());
    let socket = home.path().join("back.sock");
    back.wait("its socket", || socket.exists());
    let mut front = front(home.path(), port);
    front.wait_listening(port);
    let recording = Recording::of_pids(&[back.pid(), front.pid()]);
    let mut client = Connection::open(port);
    for round in 0..ROUNDS {
        client.exchange(&Request::new("GET", ["/small", "/large", "/nothing"][round % 3]));
    }
    let log = home.path().join("back.log");
    wait_for("the log", || fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == ROUNDS));
    let mut logged = BTreeMap::new();
    for line in fs::read_to_string(&log).expect("the log").lines() {
        *logged.entry(line.to_owned()).or_insert(0) += 1;
    }
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    let path = socket.display();
    for kind in ["client", "server"] {
        let found = counts(
            &capture,
            &format!(
                "SELECT concat(method, ' ', path, ' ', status) AS name, count(*) AS n FROM spans
                 WHERE kind = '{kind}' AND dst_addr = '{path}' AND outcome = 'ok' GROUP BY 1"
            ),
        );
        assert_eq!(found, logged, "{kind}");
    }
    let odd =
        counts(&capture, "SELECT outcome AS name, count(*) AS n FROM spans WHERE outcome <> 'ok' GROUP BY 1");
    assert_eq!(odd, BTreeMap::new());
    // From the front's server span by its client span to the back's server span.
    let chains = capture.number(&format!(
        "SELECT count(*) AS n FROM spans b JOIN spans c ON b.parent_span_id = c.span_id AND b.trace_id = c.trace_id
         JOIN spans f ON c.parent_span_id = f.span_id AND f.trace_id = c.trace_id
         WHERE b.kind = 'server' AND b.link_evidence = 'connection' AND c.dst_addr = '{path}' AND b.path = c.path
           AND c.dst_port IS NULL AND f.kind = 'server' AND f.dst_port = {port}"
    ));
    assert_eq!(chains, ROUNDS as i64);
    let hops = counts(
        &capture,
        &format!("SELECT hop AS name, count(*) AS n FROM connections WHERE dst_addr = '{path}' GROUP BY 1"),
    );
    assert_eq!(hops.keys().collect::<Vec<_>>(), [&format!("nginx -> nginx:{path}")]);
    let transports = counts(
        &capture,
        r#"SELECT concat(dst_port IS NULL, ' ', attributes LIKE '%"network.transport":"unix"%') AS name,
           count(*) AS n FROM spans WHERE kind <> 'internal' GROUP BY 1"#,
    );
    assert_eq!(transports.keys().collect::<Vec<_>>(), ["false false", "true true"]);
}

#[test]
fn commands_to_redis_over_a_unix_socket_are_those_that_it_counts() {
    let Some(_turn) = ebpf_or_skip("commands_to_redis_over_a_unix_socket_are_those_that_it_counts") else {
        return;
    };
    let home = folder();
    let socket = home.path().join("redis.sock");
    let mut command = Command::new(tool("redis-server"));
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).arg("--dir").arg(home.path());
    let mut redis = Program::start("redis-server", home.path(), &mut command);
    redis.wait("its socket", || socket.exists());
    let cli = |words: &[&str]| run_ok(Command::new(tool("redis-cli")).arg("-s").arg(&socket).args(words));
    let recording = Recording::of_pids(&[redis.pid()]);
    for number in 0..20 {
        cli(&["SET", &format!("key{number}"), "value"]);
        cli(&["GET", "key0"]);
    }
    cli(&["-r", "300", "INCR", "counter"]);
    let info = cli(&["INFO", "commandstats"]);
    let capture = recording.finish();
    let calls = |name: &str| -> i64 {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or_default()
    };
    let expected = ["get", "incr", "set"].map(|name| (name.to_uppercase(), calls(name)));
    assert_eq!(expected[1].1, 300);
    let found = counts(
        &capture,
        "SELECT operation AS name, count(*) AS n FROM spans
         WHERE kind = 'server' AND protocol = 'redis' AND operation IN ('GET', 'SET', 'INCR') GROUP BY 1",
    );
    assert_eq!(found, BTreeMap::from(expected));
    assert_eq!(capture.number("SELECT count(*) AS n FROM spans WHERE outcome <> 'ok'"), 0);
}

/// Answers each connection's first request a while after it came, if anybody is still there.
fn slow(path: &Path) {
    let listener = UnixListener::bind(path).expect("bind");
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.expect("a connection");
                let count = stream.read(&mut [0; 1000]).expect("a request");
                thread::sleep(std::time::Duration::from_millis(400));
                if count > 0 {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
                }
            });
        }
    });
}

#[test]
fn clients_that_leave_a_unix_socket_are_told_from_those_that_wait() {
    let Some(_turn) = ebpf_or_skip("clients_that_leave_a_unix_socket_are_told_from_those_that_wait") else {
        return;
    };
    let home = folder();
    let path = home.path().join("slow.sock");
    slow(&path);
    let recording = Recording::of_pids(&[std::process::id()]);
    let ask = |name: &str| {
        let mut stream = UnixStream::connect(&path).expect("a connection");
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
        stream
    };
    let mut answer = Vec::new();
    let leaves = ask("leaves");
    let mut waits = ask("waits");
    let mut shuts = ask("shuts");
    shuts.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let killed =
        Command::new(tool("curl")).args(["-s", "--unix-socket"]).arg(&path).arg("http://x/killed").spawn();
    let mut killed = killed.expect("curl");
    thread::sleep(std::time::Duration::from_millis(150));
    drop(leaves);
    killed.kill().expect("it runs");
    killed.wait().expect("its end");
    waits.read_to_end(&mut answer).expect("an answer");
    shuts.read_to_end(&mut answer).expect("an answer");
    drop((waits, shuts));
    thread::sleep(std::time::Duration::from_millis(600));
    let capture = recording.finish();
    let found = counts(
        &capture,
        "SELECT concat(path, ' ', kind, ' ', outcome) AS name, count(*) AS n FROM spans WHERE path <> '/' GROUP BY 1",
    );
    let expected =
        [("leaves", "client_closed"), ("killed", "client_closed"), ("shuts", "ok"), ("waits", "ok")];
    let names = expected.iter().flat_map(|(path, outcome)| {
        ["client", "server"].map(|kind| (format!("/{path} {kind} {outcome}"), 1))
    });
    assert_eq!(found, names.collect());
}
