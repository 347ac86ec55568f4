//! What `fuzz` found about framing, replayed, and some hundred connections made of pieces of messages.

use std::fs;
use std::path::Path;

use retrospan_protocols::PROTOCOLS;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::support;

const PIECES: [&str; 36] = [
    "GET / HTTP/1.1\r\n",
    "HEAD /a?b=c HTTP/1.0\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    " folded\r\n",
    "\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "\r",
    "\0\u{7f}",
    "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    "*1\r\n$4\r\nPI",
    "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n",
    "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n",
    "*1\r\n$7\r\nMONITOR\r\n",
    "*1\r\n$5\r\nPSYNC\r\n",
    "PING\r\n",
    "+OK\r\n",
    "-ERR no\r\n",
    "$99999999999999999999\r\n",
    "$5\r\nhello\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ">2\r\n$7\r\nmessage\r\n",
    "|1\r\n%?\r\n",
    "*9\r\n",
    ".\r\n",
    "\0\u{18}ab\u{1}\0\0\u{1}\0\0\0\0\0\0\u{1}a\u{4}test\0\0\u{1}\0\u{1}",
    "\0\u{13}ab\0\0\0\u{1}\0\0\0\0\0\0\u{1}a\0\0\u{fc}\0\u{1}",
    "\0\u{c}ab\0\0\0\0\0\0\0\0\0\0",
    "\0\u{18}",
];

fn check(data: &[u8]) {
    for protocol in PROTOCOLS {
        support::check(protocol, data);
    }
}

#[test]
fn connections_made_of_pieces_are_covered() {
    for seed in 0..2_000u64 {
        let mut data = Vec::new();
        for call in 0..8u64 {
            let random = xxh3_64_with_seed(&call.to_le_bytes(), seed).to_le_bytes();
            let text: Vec<u8> = random[..4]
                .iter()
                .flat_map(|&byte| PIECES[usize::from(byte) % PIECES.len()].bytes())
                .collect();
            data.extend([random[5], text.len().min(255) as u8, random[6]]);
            data.extend(&text[..text.len() - usize::from(random[7] % 3).min(text.len())]);
        }
        check(&data);
    }
}

#[test]
fn what_the_fuzzer_found_stays_found() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0);
}

#[test]
fn each_parser_has_a_fuzz_target() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let names: Vec<_> = PROTOCOLS.iter().map(|protocol| format!("name = \"{}\"", protocol.name())).collect();
    let missing: Vec<_> = names.iter().filter(|name| !manifest.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
