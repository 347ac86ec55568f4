//! Requests behind a proxy that understands HTTP are known again by their secrets, which nobody can read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use retrospan_formats::reader::Capture;
use retrospan_formats::rows::Columns;
use retrospan_formats::secrets::entries;
use retrospan_formats::tables::{self, EventRow};
use retrospan_testkit::skip;

use crate::recorder_support::{Place, Recorder, ebpf_or_skip, numbers, rows};

/// Any five bytes of it betray it.
const CANARY: &str = "qzxjqzxjqzxjqzxj";
const CLIENTS: usize = 8;
const ROUNDS: usize = 4;

/// A proxy that sends requests on as nginx does by default: with other headers, over connections of its own.
struct Proxy {
    child: Child,
    port: u16,
}

impl Proxy {
    fn start(folder: &Path, back: u16) -> Proxy {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
             scgi_temp_path t5; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{back}; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), conf).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]).stderr(Stdio::null());
        let proxy = Proxy { child: command.spawn().unwrap(), port };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return proxy;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nginx does not listen");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a head; what was its first line.
fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|&bytes| bytes > 0)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok().filter(|&bytes| bytes > 0)?;
    }
    Some(first)
}

/// Answers whatever comes, one request a connection, for ever.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                if read_head(&mut reader).is_some() {
                    // As long as others are under way.
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = (&stream).write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi");
                }
            });
        }
    });
    port
}

/// Several requests at once, each with secrets of its own, and one that all share.
fn ask(port: u16) {
    let clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for round in 0..ROUNDS {
        for (index, mut client) in clients.iter().enumerate() {
            let number = 100 + round * CLIENTS + index;
            let request = format!(
                "GET /r/{number}?token={CANARY}{number} HTTP/1.1\r\nHost: shop\r\nX-Api-Key: {CANARY}\r\n\
                 Authorization:   Bearer {CANARY}{number}  \r\nCookie: id={CANARY}{number}\r\n\r\n"
            );
            client.write_all(request.as_bytes()).unwrap();
        }
        for mut client in &clients {
            let mut reader = BufReader::with_capacity(1, &mut client);
            read_head(&mut reader).unwrap();
            reader.read_exact(&mut [0; 2]).unwrap();
        }
    }
}

/// The hashes of each request by its number, and by the name before each; of the connections to that port.
fn hashes(capture: &Capture, port: u16) -> BTreeMap<u32, BTreeMap<String, u32>> {
    let sockets = rows(capture, &tables::SOCKETS);
    let of_port = |row: usize| {
        ["local_port", "remote_port"].iter().any(|name| numbers(&sockets, name)[row] == Some(port.into()))
    };
    let ids = numbers(&sockets, "socket_id");
    let wanted: BTreeSet<_> = (0..ids.len()).filter(|&row| of_port(row)).filter_map(|row| ids[row]).collect();
    let events = Columns::<EventRow<'static>>::of(&rows(capture, &tables::EVENTS)).unwrap();
    let mut found = BTreeMap::new();
    for event in events.iter().filter(|event| wanted.contains(&event.socket_id)) {
        let (Some(payload), Some(column)) = (event.payload, event.secret_hashes) else { continue };
        let text = String::from_utf8_lossy(payload).into_owned();
        let number = text["GET /r/".len()..][..3].parse().unwrap();
        let name = |offset: usize| {
            assert_eq!(payload[offset], b'*', "{text}");
            let before = text[..offset].trim_end_matches([' ', ':', '=']);
            before[before.rfind(['\n', '?']).unwrap() + 1..].to_owned()
        };
        let named = entries(column).map(|secret| (name(secret.offset.into()), secret.hash)).collect();
        assert!(found.insert(number, named).is_none(), "each byte is stored once: {text}");
    }
    found
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn a_request_is_known_again_behind_a_proxy() {
    let test = "a_request_is_known_again_behind_a_proxy";
    let Some(_turn) = ebpf_or_skip(test) else { return };
    if skip::missing(&["nginx"]).is_some() {
        return skip::lacks(test, "`nginx` is not installed: run .ci/setup");
    }
    let place = Place::new();
    let back = backend();
    let proxy = Proxy::start(place.0.path(), back);
    let ports = [proxy.port.to_string(), back.to_string()];
    let mut hashes_before = BTreeSet::new();
    for name in ["a.cap", "b.cap"] {
        let filter = ["--port", &ports[0], "--port", &ports[1], "--hash-secrets"];
        let recorder = Recorder::start(place.path(name), &filter);
        ask(proxy.port);
        let capture = recorder.finish();
        assert_eq!(capture.manifest.losses, []);
        assert_eq!(capture.manifest.options["hash_secrets"], true);
        let (inbound, outbound) = (hashes(&capture, proxy.port), hashes(&capture, back));
        assert_eq!(inbound.len(), CLIENTS * ROUNDS);
        assert_eq!(inbound, outbound);
        let mut own = BTreeSet::new();
        for (number, values) in &inbound {
            let names: Vec<_> = values.keys().map(String::as_str).collect();
            assert_eq!(names, ["Authorization", "Cookie", "X-Api-Key", "token"]);
            assert_eq!(values["X-Api-Key"], inbound[&100]["X-Api-Key"]);
            for name in ["Authorization", "Cookie", "token"] {
                assert!(own.insert(values[name]), "{name} of {number} is that of another request");
            }
        }
        assert!(own.is_disjoint(&hashes_before), "a key for each recording");
        hashes_before = own;
        for file in files(&place.path(name)) {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).to_lowercase();
            for trace in ["qzxjq", "zxjqz", "xjqzx", "jqzxj"] {
                assert!(!text.contains(trace), "{trace} in {}", file.display());
            }
        }
    }
}

#[test]
fn without_being_asked_there_are_no_hashes() {
    let Some(_turn) = ebpf_or_skip("without_being_asked_there_are_no_hashes") else { return };
    let place = Place::new();
    let back = backend();
    let recorder = Recorder::start(place.path("a.cap"), &["--port", &back.to_string()]);
    let mut client = TcpStream::connect(("127.0.0.1", back)).unwrap();
    client.write_all(b"GET /r/100?token=a HTTP/1.0\r\nCookie: b\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    let capture = recorder.finish();
    assert_eq!(capture.manifest.options["hash_secrets"], false);
    let events = rows(&capture, &tables::EVENTS);
    let column = events.column_by_name("secret_hashes").unwrap();
    assert_eq!(arrow::array::Array::null_count(column), events.num_rows());
}
