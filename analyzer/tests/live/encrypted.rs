//! What can be told of what nobody can read: handshakes of TLS, and exchanges in turns.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use crate::lab::clients::{CANARY, Counts, KINDS, holds_no_canary, run_client, spans_by};
use crate::lab::process::{Program, run_ok};
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, free_port, tool, wait_for};

#[test]
fn tls_handshakes_end_as_nginx_logs_them() {
    let Some(_turn) = ebpf_or_skip("tls_handshakes_end_as_nginx_logs_them") else { return };
    let (home, port) = (folder(), free_port());
    let at = home.path().display();
    let (key, certificate) = (format!("{at}/key"), format!("{at}/certificate"));
    let name = ["-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-days", "2"];
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &certificate];
    run_ok(Command::new(tool("openssl")).args(request).args(name));
    let settings = format!(
        "daemon off; user root; worker_processes 2; pid {at}/pid; error_log {at}/nginx.err info;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n\
         log_format truth '$connection $ssl_protocol $ssl_cipher'; access_log {at}/nginx.log truth;\n\
         client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4;\n\
         scgi_temp_path {at}/t5;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         ssl_protocols TLSv1.2 TLSv1.3; location / {{ return 200 '{CANARY} end'; }} }} }}\n"
    );
    fs::write(home.path().join("nginx.conf"), settings).expect("settings");
    let mut command = Command::new(tool("nginx"));
    command.arg("-c").arg(home.path().join("nginx.conf")).arg("-p").arg(home.path());
    let mut nginx =
        Program::start("nginx", home.path(), command.arg("-e").arg(home.path().join("nginx.err")));
    nginx.wait_listening(port);
    let recording = Recording::of_ports(&[port]);
    let told = run_client("tls", port, &[&certificate]);
    let n = |what: &str| told[what].as_i64().expect("a count");
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap_or_default();
    let rows = |log: &str, word: &str| log.lines().filter(|line| line.contains(word)).count() as i64;
    wait_for("all requests in nginx.log", || rows(&read("nginx.log"), "TLS") == n("requests"));
    wait_for("refusals in nginx.err", || {
        rows(&read("nginx.err"), "SSL_do_handshake() failed") == n("refused")
    });
    let errors = read("nginx.err");
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    holds_no_canary(&capture);
    for kind in KINDS {
        let statuses = spans_by(&capture, kind, "status_text", "protocol = 'tls'");
        let expected = [
            ("handshake_failure", rows(&errors, "no shared cipher")),
            ("protocol_version", rows(&errors, "unsupported protocol")),
        ];
        for (name, n) in expected {
            assert_eq!(statuses.get(name).copied(), Some(n), "{kind} {name}");
        }
        let whole = spans_by(&capture, kind, "target", "protocol = 'tls' AND outcome = 'ok'");
        let ends = spans_by(&capture, kind, "COALESCE(status_text, outcome)", "protocol = 'tls'");
        let of = |name: &str| ends.get(name).copied().unwrap_or_default();
        // A client that does not trust the server says so, where that is not encrypted, and leaves.
        let untrusted = rows(&errors, "alert unknown ca");
        let left = of("unknown_ca") + of("client_closed");
        let turns = spans_by(&capture, kind, "outcome", "protocol = 'tcp'");
        let turns = turns.get("ok").copied().unwrap_or_default();
        // What follows a handshake is read by turns: a request and its answer.
        if kind == "server" {
            assert_eq!(whole, Counts::from([("shop.test".to_owned(), n("handshakes"))]));
            assert_eq!(left + of("lost"), untrusted, "{ends:?}");
            assert_eq!(turns, n("requests"));
        } else {
            // What ends the server's flight a client may never take.
            assert_eq!(of("ok") + of("lost"), n("handshakes"), "{ends:?}");
            assert_eq!(left, untrusted, "{ends:?}");
            assert!(turns <= n("requests") && turns >= n("requests") - n("handshakes"), "{turns}");
        }
    }
    // Of connections with a request nginx has logged what was agreed on.
    let log = read("nginx.log");
    let mut connections: Vec<_> = log.lines().collect();
    connections.sort_unstable();
    connections.dedup();
    for version in ["1.2", "1.3"] {
        let logged = rows(&connections.join("\n"), &format!("TLSv{version}"));
        let found = format!(
            "SELECT count(*) AS n FROM spans WHERE kind = 'client' AND protocol = 'tls'
             AND attributes LIKE '%\"tls.protocol.version\":\"{version}\"%' AND attributes LIKE '%tls.cipher%'"
        );
        assert!(capture.number(&found) >= logged, "{version}");
    }
}

#[test]
fn exchanges_that_nobody_can_read_are_turns_as_their_client_took_them() {
    let Some(_turn) = ebpf_or_skip("exchanges_that_nobody_can_read_are_turns_as_their_client_took_them")
    else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    // A length in three bytes, and as many that mean nothing to anybody.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let mut length = [0; 3];
                while stream.read_exact(&mut length).is_ok() {
                    let mut body = vec![0; usize::from(length[0]) + 256 * usize::from(length[1])];
                    if stream.read_exact(&mut body).is_err() {
                        return;
                    }
                    body.reverse();
                    stream.write_all(&[&length, &body[..]].concat()).expect("an answer");
                }
            });
        }
    });
    let recording = Recording::of_ports(&[port]);
    let (mut asked, mut bytes) = (0, 0);
    for connection in 0..4 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        for length in [4_usize, 30, 900, 20_000, 1, 64] {
            let body: Vec<u8> = CANARY.bytes().cycle().take(length).collect();
            let message = [&[(length % 256) as u8, (length / 256) as u8, 0xfe], &body[..]].concat();
            stream.write_all(&message).expect("a message");
            let mut answer = vec![0; message.len()];
            stream.read_exact(&mut answer).expect("an answer");
            asked += 1;
            bytes += message.len() as i64;
        }
        // One that gets no answer.
        if connection == 3 {
            stream.write_all(&[9, 0, 0xfe, 1]).expect("a begin");
            asked += 1;
            stream.shutdown(Shutdown::Write).expect("a shutdown");
            // The server has taken it when it closes.
            assert_eq!(stream.read(&mut [0; 9]).unwrap_or_default(), 0);
        }
    }
    let capture = recording.finish();
    assert_eq!(capture.number("SELECT count(*) AS n FROM loss"), 0);
    holds_no_canary(&capture);
    for kind in KINDS {
        let turns = spans_by(&capture, kind, "outcome", "protocol = 'tcp'");
        assert_eq!(turns.values().sum::<i64>(), asked, "{kind}: {turns:?}");
        assert_eq!(turns.get("ok").copied(), Some(asked - 1), "{kind}: {turns:?}");
        for what in ["request_bytes", "response_bytes"] {
            let sum = format!("SELECT sum({what}) AS n FROM spans WHERE kind = '{kind}' AND outcome = 'ok'");
            assert_eq!(capture.number(&sum), bytes, "{kind} {what}");
        }
    }
}
