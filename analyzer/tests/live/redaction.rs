//! Secrets that went over recorded connections are nowhere in the capture.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::lab::client::{Connection, Request};
use crate::lab::process::Program;
use crate::lab::recording::Recording;
use crate::lab::servers::Server;
use crate::lab::{self, duck, ebpf_or_skip, folder, servers, tool};

/// Any three bytes of it betray it: it is made of letters that hardly meet otherwise.
const CANARY: &str = "qzxjqzxjqzxjqzxj";
/// Finds pieces of it in any case.
const TRACES: &str = "qzx|zxj|xjq|jqz";

fn secret_requests() -> Vec<Vec<u8>> {
    let headers = [
        "Authorization: Bearer",
        "authorization: Basic",
        "Cookie: id=",
        "COOKIE: a=b; session=",
        "Proxy-Authorization:",
        "X-Api-Key:",
    ];
    let mut requests: Vec<_> = headers
        .map(|header| {
            format!("GET /size/10 HTTP/1.1\r\nHost: lab\r\n{header} {CANARY}\r\nAccept: */*\r\n\r\n")
                .into_bytes()
        })
        .into();
    let query = format!("/size/10?token={CANARY};{CANARY}&user={CANARY}&{CANARY}");
    requests.push(Request::new("GET", query).bytes());
    requests.push(Request::new("POST", "/echo").body(CANARY.repeat(50).into_bytes()).bytes());
    requests.push(Request::new("POST", "/echo").body(CANARY.as_bytes().to_vec()).bytes());
    let chunks = format!(
        "POST /echo HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\nTrailer: X-Secret\r\n\r\n10\r\n{CANARY}\r\n0\r\nX-Secret: {CANARY}\r\n\r\n"
    );
    requests.push(chunks.into_bytes());
    requests
}

/// Sends every request, whole and split at every byte.
fn tell_secrets(server: &Server) -> usize {
    let mut connection = Connection::open(server.port);
    let mut sent = 0;
    for request in secret_requests() {
        let method = if request.starts_with(b"POST") { "POST" } else { "GET" };
        let splits = request.len().min(250);
        for at in 0..splits {
            if at > 0 {
                connection.send(&request[..at]);
            }
            connection.send(&request[at..]);
            connection.response(method);
            sent += 1;
        }
    }
    sent
}

/// Secrets in what is no HTTP, or no good one: each in one call, and split at every byte of its beginning.
fn tell_a_sink(port: u16) {
    let texts = [
        format!("CONNECT {{\"user\":\"u\",\"pass\":\"{}\"}}\r\n", CANARY.repeat(60)),
        format!("PASS {CANARY}\r\n"),
        format!("GET {CANARY}\r\n"),
        format!("STOMP\npasscode:{CANARY}\n\n\0"),
        format!("CONNECT u:{CANARY}@h:443 HTTP/1.1\r\n\r\n"),
        format!("GET http://u:{CANARY}@h/#{CANARY} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{CANARY}\r\n\r\n"),
    ];
    for text in texts {
        for at in 0..text.len().min(60) {
            let mut connection = Connection::open(port);
            if at > 0 {
                connection.send(&text.as_bytes()[..at]);
            }
            for piece in text.as_bytes()[at..].chunks(512) {
                connection.send(piece);
            }
        }
    }
}

/// Takes what comes, until the test ends.
fn sink() -> u16 {
    let port = lab::free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a listener");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that is gone is no matter here.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    port
}

#[test]
fn the_canary_is_nowhere() {
    let Some(_turn) = ebpf_or_skip("the_canary_is_nowhere") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    // Another process with the canary among its arguments, there from the start.
    let mut sleeper = Command::new(tool("sleep"));
    let _sleeper = Program::start("sleeper", dir.path(), sleeper.args(["1000"]).env("SECRET", CANARY));
    let mut shell = Command::new(tool("sh"));
    let _shell = Program::start("shell", dir.path(), shell.args(["-c", "sleep 1000; :", CANARY]));
    // And ones that wrote theirs into their names, as nginx does.
    let retitled = || {
        let mut sleeper = Command::new(tool("sleep"));
        sleeper.arg0(format!("nginx: master process nginx -g env TOKEN={CANARY};")).arg("1000");
        Program::start("retitled", dir.path(), &mut sleeper)
    };
    let _before = retitled();
    let sink = sink();
    let recording = Recording::of_ports(&[go.port, sink]);
    let _meanwhile = retitled();
    tell_a_sink(sink);
    let sent = tell_secrets(&go);
    // And one that comes and goes meanwhile.
    lab::load::curl(go.port, &["/size/1"], &["-H", &format!("Authorization: {CANARY}")]);
    let log = go.wait_served(sent + 1);
    let capture = recording.finish();
    let found = duck::find(capture.dir(), TRACES);
    lab::check::none_of("traces of the canary", &found);
    // It was all recorded: nothing was lost instead of redacted.
    let spans = capture.number("SELECT count(*) AS n FROM spans WHERE kind = 'server' AND status = 200");
    assert_eq!(spans, i64::try_from(log.len()).expect("a count"));
    let heads = capture.number("SELECT count(*) AS n FROM events WHERE payload IS NOT NULL");
    assert!(heads >= spans, "only {heads} payloads were kept");
    assert!(!duck::find(capture.dir(), "accept: ").is_empty(), "harmless headers are kept");
}

#[test]
fn the_command_is_redacted_too() {
    let Some(_turn) = ebpf_or_skip("the_command_is_redacted_too") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let capture_dir = dir.path().join("command.cap");
    let url = format!("http://127.0.0.1:{}/size/3?key={CANARY}", go.port);
    let mut record = Command::new(lab::recording::recorder_binary());
    record.arg("-o").arg(&capture_dir).arg("--");
    record.arg(tool("curl")).args(["-s", "-o", "/dev/null", "-u", CANARY, &url]);
    lab::process::run_ok(&mut record);
    lab::check::none_of("traces of the canary", &duck::find(&capture_dir, TRACES));
    let served = duck::number(&capture_dir, "SELECT count(*) FROM events WHERE kind = 'send'");
    assert!(served > 0, "the command's traffic was recorded");
}
