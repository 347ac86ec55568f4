//! What the user wants blanked or kept beside the default, and what looks like a secret where everything is kept: no file of the
//! capture holds it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, only, rows, texts};

const CANARY: &str = "qzxjqzxjqzxj";

/// Sends this from one end of a connection to the other, and records it so; the payloads of the sends.
fn recorded(place: &Place, pieces: &[String], options: &[&str]) -> (Capture, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut client, mut server) = (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
    let port = address.port().to_string();
    let options: Vec<String> = options.iter().map(|option| option.replace("PORT", &port)).collect();
    let mut all = vec!["--port", &port];
    all.extend(options.iter().map(String::as_str));
    let recorder = Recorder::start(place.path("a.cap"), &all);
    for piece in pieces {
        client.write_all(piece.as_bytes()).unwrap();
        server.read_exact(&mut vec![0; piece.len()]).unwrap();
    }
    let capture = recorder.finish();
    let payloads = texts(&only(&rows(&capture, &tables::EVENTS), "kind", "send"), "payload");
    (capture, payloads)
}

/// The files in which some bytes of the canary stand.
fn leaks(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(leaks(&entry));
        } else if fs::read(&entry).unwrap().windows(6).any(|window| window == &CANARY.as_bytes()[..6]) {
            found.push(entry.display().to_string());
        }
    }
    found
}

fn request(secret: &str) -> Vec<String> {
    vec![format!(
        "GET /list?page=12&user={secret} HTTP/1.1\r\nHost: a\r\nUser-Agent: {secret}\r\nX-Tenant: blue\r\n\r\n"
    )]
}

#[test]
fn of_heads_more_and_less_is_kept_as_the_user_says() {
    let Some(_turn) = ebpf_or_skip("of_heads_more_and_less_is_kept_as_the_user_says") else { return };
    let place = Place::new();
    let rules =
        ["--redact", "header=user-agent", "--reveal", "query=page", "--reveal", "header=x-tenant@PORT"];
    let (capture, payloads) = recorded(&place, &request(CANARY), &rules);
    let blank = "*".repeat(CANARY.len());
    assert_eq!(payloads, [request(&blank)[0].clone()]);
    assert_eq!(leaks(&place.path("a.cap")), Vec::<String>::new());
    assert_eq!(capture.manifest.options["redact"][0], "header=user-agent");
}

#[test]
fn where_everything_is_kept_no_secret_is_that_can_be_told() {
    let Some(_turn) = ebpf_or_skip("where_everything_is_kept_no_secret_is_that_can_be_told") else { return };
    let place = Place::new();
    let pieces = |secret: &str| {
        [
            format!(
                "POST /login?token={secret} HTTP/1.1\r\nHost: a\r\nCookie: {secret}\r\nContent-Length: 500\r\n\r\n"
            ),
            format!("{{\"user\":\"someone\",\"password\":\"{}", &secret[..5]),
            format!("{}\",\"url\":\"redis://me:{secret}@db\",\"note\":\"Bearer {secret}\"}}", &secret[5..]),
        ]
    };
    let (_, payloads) = recorded(&place, &pieces(CANARY), &["--payload", "full"]);
    let blank = "*".repeat(CANARY.len());
    assert_eq!(payloads, pieces(&blank));
    assert_eq!(leaks(&place.path("a.cap")), Vec::<String>::new());
}
