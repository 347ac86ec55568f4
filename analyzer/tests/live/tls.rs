//! `--tls`: the plaintext of TLS libraries is told as what goes over sockets, on the socket that it travels on.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::capture::Capture;
use crate::lab::clients::{CANARY, Counts, holds_hardly_any_canary, spans_by};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for, workspace};

/// What requests carry that nobody may find in a capture.
fn secrets() -> [String; 3] {
    [
        format!("Authorization: Bearer {CANARY}"),
        format!("Cookie: session={CANARY}"),
        format!("X-Key: {CANARY}"),
    ]
}

/// A key and a certificate that is its own authority.
fn certificate(home: &Path) {
    let at = home.display();
    let (key, certificate) = (format!("{at}/key"), format!("{at}/certificate"));
    let name =
        ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"];
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &certificate];
    run_ok(Command::new(tool("openssl")).args(request).args(name));
}

/// An nginx that answers at `port`, and passes on at `front` what it is asked there, over TLS on both sides.
fn nginx(home: &Path, port: u16, front: u16) -> Program {
    let at = home.display();
    let certificates = format!("ssl_certificate {at}/certificate; ssl_certificate_key {at}/key;");
    let settings = format!(
        "daemon off; user root; worker_processes 2; pid {at}/pid; error_log {at}/nginx.err;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n\
         log_format truth '$server_port $request_method $uri $status $body_bytes_sent $connection'; access_log {at}/nginx.log truth;\n\
         client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4;\n\
         scgi_temp_path {at}/t5; keepalive_requests 100000;\n\
         upstream back {{ server 127.0.0.1:{port}; keepalive 8; }}\n\
         server {{ listen 127.0.0.1:{port} ssl; {certificates}\n\
         location / {{ return 200 '{CANARY} end'; }} location /none {{ return 404; }} location /large {{ root {at}; }} }}\n\
         server {{ listen 127.0.0.1:{front} ssl; {certificates}\n\
         location / {{ proxy_pass https://back; proxy_http_version 1.1; proxy_set_header Connection ''; }} }} }}\n"
    );
    fs::write(home.join("nginx.conf"), settings).expect("settings");
    fs::write(home.join("large"), vec![b'x'; 700_000]).expect("a file");
    let mut command = Command::new(tool("nginx"));
    command.arg("-c").arg(home.join("nginx.conf")).arg("-p").arg(home).arg("-e").arg(home.join("nginx.err"));
    let mut nginx = Program::start("nginx", home, &mut command);
    nginx.wait_listening(port);
    nginx
}

/// What nginx has logged, by server, method, path and status.
fn logged(home: &Path, port: u16) -> Counts {
    let mut counts = Counts::new();
    for line in fs::read_to_string(home.join("nginx.log")).unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == port.to_string() {
            *counts.entry(words[1..4].join(" ")).or_default() += 1;
        }
    }
    counts
}

fn total(counts: &Counts) -> i64 {
    counts.values().sum()
}

fn requests(capture: &Capture, kind: &str, port: u16) -> Counts {
    let condition = format!("protocol = 'http' AND dst_port = {port} AND outcome = 'ok'");
    spans_by(capture, kind, "concat(method, ' ', path, ' ', status)", &condition)
}

/// Fails if a session is not tied, or a span is none of a request or handshake.
fn all_is_told(capture: &Capture) {
    assert_eq!(capture.sql("SELECT kind, cause, count FROM loss"), [] as [serde_json::Value; 0]);
    let odd = capture.sql(
        "SELECT kind, protocol, outcome, name, count(*) AS n FROM spans
         WHERE kind <> 'internal' AND protocol <> 'tls' AND (outcome <> 'ok' OR protocol NOT IN ('http', 'http2'))
         GROUP BY 1, 2, 3, 4",
    );
    assert!(odd.is_empty(), "{odd:?}");
    let untied = capture.number(
        "SELECT count(*) AS n FROM sockets s LEFT JOIN sockets c ON c.socket_id = s.carrier_socket_id
         WHERE s.protocol = 'tls' AND (c.protocol IS NULL OR c.protocol <> 'tcp' OR c.process_id <> s.process_id)",
    );
    assert_eq!(untied, 0, "sessions on no socket");
}

#[test]
fn curl_and_nginx_are_told_as_they_log() {
    let Some(_turn) = ebpf_or_skip("curl_and_nginx_are_told_as_they_log") else { return };
    let (home, port, front) = (folder(), free_port(), free_port());
    certificate(home.path());
    let _nginx = nginx(home.path(), port, front);
    let recording = Recording::start(&["--tls", "--port", &port.to_string(), "--port", &front.to_string()]);
    for round in 0..12 {
        let mut curl = Command::new(tool("curl"));
        curl.args(["-sS", "--http1.1", "--cacert"]).arg(home.path().join("certificate"));
        for line in &secrets() {
            curl.args(["-H", line]);
        }
        // Each process makes one connection for all of its requests, to the server or through the other one.
        for path in ["a", "none", "large", "b"] {
            let at = if round % 3 == 0 { front } else { port };
            curl.args(["-o", "/dev/null"]).arg(format!("https://localhost:{at}/{path}?key={CANARY}"));
        }
        if round % 4 == 1 {
            curl.args(["-d", CANARY]);
        }
        run_ok(&mut curl);
    }
    wait_for("nginx's log", || {
        total(&logged(home.path(), port)) == 48 && total(&logged(home.path(), front)) == 16
    });
    let capture = recording.finish();
    holds_hardly_any_canary(&capture);
    all_is_told(&capture);
    for at in [port, front] {
        for kind in ["client", "server"] {
            assert_eq!(requests(&capture, kind, at), logged(home.path(), at), "{kind} at {at}");
        }
    }
    // Each server span at the end of a session that both ends have hangs below the client's.
    let pairs = capture.number(
        "SELECT count(*) AS n FROM spans s JOIN spans c ON s.parent_span_id = c.span_id AND s.path = c.path
         WHERE s.kind = 'server' AND c.kind = 'client' AND s.protocol = 'http' AND s.link_evidence = 'connection'
           AND s.dst_port = c.dst_port AND s.src_port = c.src_port",
    );
    assert_eq!(pairs, 48 + 16);
    let bytes = capture.number(&format!(
        "SELECT count(*) AS n FROM spans WHERE protocol = 'http' AND path LIKE '/large%' AND response_body_bytes = 700000
           AND dst_port = {port}"
    ));
    // What was posted has no such answer.
    assert_eq!(bytes, 2 * (12 - 3));
}

/// A server in Python at `port`, over TLS or not.
fn python_server(home: &Path, name: &str, port: u16, over_tls: bool) -> Program {
    let script = workspace().join("analyzer/tests/lab/clients/tls_server.py");
    let certificate = if over_tls { home.join("certificate") } else { "none".into() };
    let mut command = Command::new(tool("python3"));
    command.arg(script).arg(port.to_string()).arg(certificate).arg(home.join("key")).arg(home.join(name));
    let mut server = Program::start(name, home, &mut command);
    server.wait_listening(port);
    server
}

fn lines(file: &Path) -> Counts {
    let mut counts = Counts::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn a_thread_with_several_connections_is_not_confused() {
    const ROUNDS: i64 = 25;
    let Some(_turn) = ebpf_or_skip("a_thread_with_several_connections_is_not_confused") else { return };
    let (home, port, plain) = (folder(), free_port(), free_port());
    certificate(home.path());
    let _server = python_server(home.path(), "tls.log", port, true);
    let _plain = python_server(home.path(), "plain.log", plain, false);
    let recording = Recording::start(&["--tls", "--port", &port.to_string(), "--port", &plain.to_string()]);
    let script = workspace().join("analyzer/tests/lab/clients/trap_client.py");
    let mut client = Command::new(tool("python3"));
    client.arg(script).arg(port.to_string()).arg(CANARY).arg(plain.to_string());
    run_ok(client.arg(home.path().join("certificate")).arg(ROUNDS.to_string()));
    wait_for("the logs", || total(&lines(&home.path().join("tls.log"))) == 2 * ROUNDS);
    let capture = recording.finish();
    holds_hardly_any_canary(&capture);
    all_is_told(&capture);
    let sessions = capture.number(
        "SELECT count(DISTINCT carrier_socket_id) AS n FROM sockets WHERE protocol = 'tls' AND carrier_socket_id IS NOT NULL",
    );
    assert_eq!(sessions, 4, "two connections with two ends");
    for kind in ["client", "server"] {
        for at in [port, plain] {
            let condition = format!("protocol = 'http' AND dst_port = {at} AND outcome = 'ok'");
            let paths = spans_by(&capture, kind, "path", &condition);
            let log = if at == port { "tls.log" } else { "plain.log" };
            assert_eq!(paths, lines(&home.path().join(log)), "{kind} at {at}");
        }
        // Each connection asks for a path of its own.
        let ways = spans_by(&capture, kind, "concat(path, ' ', src_port)", "protocol = 'http'");
        assert_eq!(ways.into_values().collect::<Vec<_>>(), [ROUNDS; 4], "{kind}");
    }
}

#[test]
fn a_client_of_gnutls_is_told() {
    let Some(_turn) = ebpf_or_skip("a_client_of_gnutls_is_told") else { return };
    let (home, port) = (folder(), free_port());
    certificate(home.path());
    let _nginx = nginx(home.path(), port, free_port());
    let recording = Recording::start(&["--tls", "--port", &port.to_string()]);
    for _ in 0..5 {
        let mut wget = Command::new(tool("wget"));
        wget.args(["-q", "-O", "/dev/null", "--header"]).arg(format!("Cookie: {CANARY}"));
        wget.arg("--ca-certificate").arg(home.path().join("certificate"));
        run_ok(wget.args(["a", "large", "b"].map(|path| format!("https://localhost:{port}/{path}"))));
    }
    wait_for("nginx's log", || total(&logged(home.path(), port)) == 15);
    let capture = recording.finish();
    holds_hardly_any_canary(&capture);
    all_is_told(&capture);
    for kind in ["client", "server"] {
        assert_eq!(requests(&capture, kind, port), logged(home.path(), port), "{kind}");
    }
    let manifest = fs::read_to_string(capture.dir().join("manifest.json")).expect("the manifest");
    assert!(manifest.contains("\"gnutls\"") && manifest.contains("\"openssl\""), "{manifest}");
}

/// The server and client in Go, without its symbols if so wished.
fn go_program(home: &Path, stripped: bool) -> std::path::PathBuf {
    let source = workspace().join("analyzer/tests/lab/tls");
    let program = home.join(if stripped { "shop-stripped" } else { "shop" });
    let mut build = Command::new(tool("go"));
    build.args(["build", "-o"]).arg(&program);
    if stripped {
        build.arg("-ldflags=-s -w");
    }
    run_ok(build.arg(".").current_dir(source).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0"));
    program
}

#[test]
fn programs_in_go_are_told_with_and_without_their_symbols() {
    const COUNT: usize = 120;
    let Some(_turn) = ebpf_or_skip("programs_in_go_are_told_with_and_without_their_symbols") else { return };
    for stripped in [false, true] {
        let (home, port) = (folder(), free_port());
        certificate(home.path());
        let program = go_program(home.path(), stripped);
        let (log, at) = (home.path().join("log"), port.to_string());
        let files = [home.path().join("certificate"), home.path().join("key")];
        let mut server = Command::new(&program);
        let server = server.args(["serve", &at]).args(&files).arg(&log);
        let mut server = Program::start("server", home.path(), server);
        server.wait_listening(port);
        let recording = Recording::start(&["--tls", "--port", &at]);
        run_ok(Command::new(&program).args(["ask", &at]).args(&files).arg(COUNT.to_string()));
        wait_for("the log", || total(&lines(&log)) == 2 * COUNT as i64);
        let capture = recording.finish();
        all_is_told(&capture);
        for kind in ["client", "server"] {
            let condition =
                |protocol: &str| format!("protocol = '{protocol}' AND dst_port = {port} AND outcome = 'ok'");
            let found = spans_by(&capture, kind, "concat('1 ', method, ' ', path)", &condition("http"));
            let mut log = lines(&log);
            log.retain(|line, _| line.starts_with('1'));
            assert_eq!(found, log, "{kind}, stripped: {stripped}");
            // Of a head behind other frames in one call not all is kept, so its path may be missing.
            let found = total(&spans_by(&capture, kind, "protocol", &condition("http2")));
            let all = COUNT as i64;
            // Another goroutine may have read an answer before the write of its request has returned (docs/tls.md).
            let is_told = if kind == "server" { found == all } else { found > all / 4 && found <= all };
            assert!(is_told, "{found} of {all} of the {kind}, stripped: {stripped}");
        }
    }
}

#[test]
fn sessions_that_began_before_are_told_and_not_paired() {
    let Some(_turn) = ebpf_or_skip("sessions_that_began_before_are_told_and_not_paired") else { return };
    let (home, port, plain) = (folder(), free_port(), free_port());
    certificate(home.path());
    let _server = python_server(home.path(), "tls.log", port, true);
    let _plain = python_server(home.path(), "plain.log", plain, false);
    let script = workspace().join("analyzer/tests/lab/clients/late_client.py");
    let mut client = Command::new(tool("python3"));
    client.arg(script).arg(port.to_string()).arg(CANARY).arg(home.path().join("certificate"));
    let client = crate::lab::clients::Waiting::of(&mut client);
    let recording = Recording::start(&["--tls", "--port", &port.to_string()]);
    client.work();
    wait_for("the log", || total(&lines(&home.path().join("tls.log"))) == 21);
    let capture = recording.finish();
    holds_hardly_any_canary(&capture);
    let discovered =
        capture.number("SELECT count(*) AS n FROM sockets WHERE protocol = 'tls' AND discovered");
    assert_eq!(discovered, 2);
    // The server waited in a call that had begun before.
    for (kind, count) in [("client", 20), ("server", 19)] {
        let found = spans_by(&capture, kind, "outcome", "protocol = 'http' AND path = '/late'");
        assert_eq!(found, Counts::from([("ok".to_owned(), count)]), "{kind}");
    }
    assert_eq!(capture.number("SELECT count(*) AS n FROM spans WHERE link_evidence = 'connection'"), 0);
}
