//! Hashes of secrets in a capture, and what is not there.

use std::fs;
use std::path::{Path, PathBuf};

use bytemuck::Zeroable;
use retrospan_formats::event::{Call, Kind, role};
use retrospan_formats::reader::Capture;
use retrospan_formats::rows::Columns;
use retrospan_formats::secrets::entries;
use retrospan_formats::tables::{self, EventRow};
use retrospan_protocols::redact::Hashes;

use crate::recorder_support::rows;
use crate::support::{CLIENT, Maker, complete, socket, write_with};

const S: u64 = 1_000_000_000;
/// Its words differ from their neighbours, and are found in either order.
const KEY: [u8; 16] = *b"\xf1\xe2\xd3\xc4\xb5\xa6\x97\x88kjihgfed";

fn request(secret: &str, line_end: &str) -> Vec<u8> {
    format!("GET /a?token={secret} HTTP/1.1\r\nCookie: {secret}{line_end}\r\n\r\n").into_bytes()
}

/// Makes a capture of two requests, the second with a value that is not whole.
fn record(path: &Path, key: Option<[u8; 16]>) -> Capture {
    let mut maker = Maker { cpu: 0, seq: 0 };
    let [first, second] = [request("s3cret", ""), request("other", "\r\n folded")];
    let call = |tcp_seq| Call { socket_id: 1, asked_bytes: 100, tcp_seq, ..Call::zeroed() };
    let records = vec![
        maker.socket(S, CLIENT.0, socket(1, role::CLIENT, 40_000, 80, (1, 1))),
        maker.call(2 * S, CLIENT.0, Kind::Send, call(1), &first),
        maker.call(3 * S, CLIENT.0, Kind::Receive, call(1), b"HTTP/1.1 204 No\r\nSet-Cookie: s3cret\r\n\r\n"),
        maker.call(4 * S, CLIENT.0, Kind::Send, call(1 + first.len() as u32), &second),
    ];
    let writer = write_with(path, &[(5 * S, records)], true, |pipeline| {
        if let Some(key) = key {
            pipeline.hash_secrets(Hashes::with_key(key));
        }
    });
    complete(writer, 3);
    Capture::open(path).unwrap()
}

fn hashes(capture: &Capture) -> Vec<Vec<(u16, u32)>> {
    let events = Columns::<EventRow<'static>>::of(&rows(capture, &tables::EVENTS)).unwrap();
    let entries_of = |row: EventRow<'_>| {
        entries(row.secret_hashes.unwrap_or_default()).map(|secret| (secret.offset, secret.hash)).collect()
    };
    events.iter().map(entries_of).collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn hashes_stand_beside_the_blanks_and_the_key_nowhere() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.cap");
    let found = hashes(&record(&path, Some(KEY)));
    let (query, cookie) =
        ("GET /a?token=".len() as u16, "GET /a?token=s3cret HTTP/1.1\r\nCookie: ".len() as u16);
    let [sent, answer, folded] = &found[..] else { panic!("{found:?}") };
    assert_eq!(sent.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [query, cookie]);
    assert_ne!(sent[0].1, sent[1].1, "of another name");
    assert!(answer.is_empty() && folded.len() == 1 && folded[0].0 == query && folded[0].1 != sent[0].1);
    let (mut reversed, halves) = (KEY, [&KEY[..8], &KEY[8..]]);
    reversed.reverse();
    for file in files(&path) {
        let bytes = fs::read(&file).unwrap();
        let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        let traces =
            halves.iter().copied().chain([&reversed[..8], &reversed[8..], b"s3cret", b"f1e2d3", b"folded"]);
        traces.for_each(|trace| assert!(!holds(trace), "{trace:?} in {}", file.display()));
    }
    let other = hashes(&record(&place.path().join("b.cap"), Some([1; 16])));
    assert!(other[0].len() == 2 && other[0][0].0 == query && other[0][0].1 != sent[0].1);
    let without = hashes(&record(&place.path().join("c.cap"), None));
    assert!(without.iter().all(Vec::is_empty));
}
