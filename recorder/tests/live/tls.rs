//! `--tls`: which socket a session is on is what its calls did, and said so where they did not tell.

use std::fs;
use std::process::Command;

use retrospan_formats::reader::Capture;
use retrospan_formats::tables;

use crate::recorder_support::{Place, ebpf_or_skip, numbers, record, rows, texts};

/// Both ends of a session in one process: over a socket, over memory, and over a socket with another one in between.
const SCRIPT: &str = r#"
import socket, ssl, sys, threading
kind, home = sys.argv[1], sys.argv[2]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(f"{home}/certificate", f"{home}/key")
client = ssl.create_default_context(cafile=f"{home}/certificate")

def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    return one, listener.accept()[0]

if kind == "memory":
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(back, there, server_hostname="localhost")
    other = server.wrap_bio(there, back, server_side=True)
    done = set()
    while len(done) < 2:
        for end in (one, other):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    for number in range(3):
        one.write(b"question%d" % number)
        other.read(100)
        other.write(b"answer")
        one.read(100)
    sys.exit()

if kind == "between":
    elsewhere, _ = pair()
    server.sni_callback = lambda *_: elsewhere.sendall(b"is this name known?") and None
one, other = pair()
ends = []
accept = threading.Thread(target=lambda: ends.append(server.wrap_socket(other, server_side=True)))
accept.start()
ends.insert(0, client.wrap_socket(one, server_hostname="localhost"))
accept.join()
for number in range(3):
    # What a thread does between its calls is no part of them.
    plain, peer = pair()
    plain.sendall(b"plain")
    ends[0].sendall(b"question%d" % number)
    ends[1].recv(100)
    peer.recv(100)
    ends[1].sendall(b"answer")
    ends[0].recv(100)
for end in ends:
    end.close()
"#;

fn recorded(place: &Place, kind: &str) -> Capture {
    let home = place.path("home");
    if !home.exists() {
        fs::create_dir(&home).expect("a folder");
        fs::write(home.join("script.py"), SCRIPT).expect("a file");
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost", "-keyout"]).arg(home.join("key"));
        assert!(
            openssl.arg("-out").arg(home.join("certificate")).output().expect("openssl").status.success()
        );
    }
    let (out, script) = (place.path(&format!("{kind}.cap")), home.join("script.py"));
    let words = ["--tls", "--payload", "full", "--", "python3"];
    let at = [script.to_str().expect("a path"), kind, home.to_str().expect("a path")];
    let output = record(&out, &[&words[..], &at[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Capture::open(&out).expect("a capture")
}

/// Rows of sessions: id, role and carrier.
fn sessions(capture: &Capture) -> Vec<(i64, String, Option<i64>)> {
    let sockets = rows(capture, &tables::SOCKETS);
    let (ids, carriers) = (numbers(&sockets, "socket_id"), numbers(&sockets, "carrier_socket_id"));
    let (protocols, roles) = (texts(&sockets, "protocol"), texts(&sockets, "role"));
    let all = ids.into_iter().zip(roles).zip(carriers).zip(protocols);
    all.filter(|(_, protocol)| protocol == "tls")
        .map(|(((id, role), carrier), _)| (id.expect("an id"), role, carrier))
        .collect()
}

/// Sends of a session: where they begin, and their bytes.
fn sent(capture: &Capture, session: i64) -> Vec<(i64, String)> {
    let events = rows(capture, &tables::EVENTS);
    let (ids, seqs) = (numbers(&events, "socket_id"), numbers(&events, "tcp_seq"));
    let (kinds, payloads) = (texts(&events, "kind"), texts(&events, "payload"));
    let all = ids.into_iter().zip(kinds).zip(seqs).zip(payloads);
    let own = all.filter(|(((id, kind), _), _)| *id == Some(session) && kind == "send");
    own.map(|((_, seq), payload)| (seq.expect("a position"), payload)).collect()
}

#[test]
fn a_session_is_on_the_socket_that_its_calls_use() {
    let Some(_turn) = ebpf_or_skip("a_session_is_on_the_socket_that_its_calls_use") else { return };
    let place = Place::new();
    let capture = recorded(&place, "socket");
    let found = sessions(&capture);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(_, _, carrier)| carrier.is_some()), "{found:?}");
    assert_ne!(found[0].2, found[1].2);
    let client = found.iter().find(|(_, role, _)| role == "client").expect("a client");
    let expected = [(1, "question0"), (10, "question1"), (19, "question2")];
    assert_eq!(sent(&capture, client.0), expected.map(|(seq, text)| (seq, text.to_owned())));
    assert!(capture.manifest.losses.is_empty(), "{:?}", capture.manifest.losses);
    let tls = capture.manifest.tls.as_ref().expect("what was found");
    assert_eq!((tls.sessions, tls.untied), (2, 0));
}

#[test]
fn a_session_over_memory_is_on_no_socket() {
    let Some(_turn) = ebpf_or_skip("a_session_over_memory_is_on_no_socket") else { return };
    let place = Place::new();
    let capture = recorded(&place, "memory");
    let found = sessions(&capture);
    assert_eq!(found.iter().map(|(_, _, carrier)| *carrier).collect::<Vec<_>>(), [None, None]);
    let both: Vec<String> =
        found.iter().flat_map(|(id, ..)| sent(&capture, *id)).map(|(_, text)| text).collect();
    assert_eq!(both.iter().filter(|text| text.starts_with("question")).count(), 3, "{both:?}");
    let tls = capture.manifest.tls.as_ref().expect("what was found");
    assert_eq!((tls.sessions, tls.untied), (2, 2));
}

#[test]
fn a_session_whose_call_uses_another_socket_is_tied_to_none() {
    let Some(_turn) = ebpf_or_skip("a_session_whose_call_uses_another_socket_is_tied_to_none") else {
        return;
    };
    let place = Place::new();
    let capture = recorded(&place, "between");
    let carrier_of = |wanted: &str| {
        let found = sessions(&capture);
        found.into_iter().find(|(_, role, _)| role == wanted).expect("a session").2
    };
    assert!(carrier_of("client").is_some());
    assert_eq!(carrier_of("server"), None);
    let losses: Vec<_> =
        capture.manifest.losses.iter().map(|loss| (loss.kind.as_str(), loss.count)).collect();
    assert_eq!(losses, [("tls session", 1)]);
}
