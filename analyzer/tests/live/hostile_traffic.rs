//! Traffic that means harm to whoever looks at it.

use crate::lab::client::Connection;
use crate::lab::recording::Recording;
use crate::lab::{ebpf_or_skip, folder, servers};

/// Requests whose lines a terminal, a spreadsheet or a browser would obey.
const HOSTILE: [&[u8]; 5] = [
    b"GET /\x1b[31mred\x1b[2J\x07\x08 HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /\"quoted\",'single',;=cmd|calc HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /<script>alert(1)</script>&amp; HTTP/1.1\r\nHost: lab\r\nUser-Agent: \x1b]0;title\x07\r\n\r\n",
    b"GET /\xff\xfe\xc3\x28\xe2\x80\xae HTTP/1.1\r\nHost: lab\r\n\r\n",
    b"GET /a\nb\rc\x00d HTTP/1.1\r\nHost: lab\r\nX: \xc2\x9b31m\r\n\r\n",
];

#[test]
fn hostile_bytes_stay_harmless() {
    let Some(_turn) = ebpf_or_skip("hostile_bytes_stay_harmless") else { return };
    let dir = folder();
    let go = servers::go(dir.path(), 1);
    let recording = Recording::of_ports(&[go.port]);
    for request in HOSTILE {
        let mut connection = Connection::open(go.port);
        connection.send(request);
        connection.finish_sending();
        connection.wait_closed();
    }
    let capture = recording.finish();
    let query = "SELECT kind, method, path, status, outcome, name FROM spans ORDER BY start_time, span_id";
    let json = capture.sql(query);
    let paths: Vec<_> = json.iter().filter_map(|row| row["path"].as_str()).collect();
    for part in ["red", "quoted", "script"] {
        let found = paths.iter().filter(|path| path.contains(part)).count();
        assert_eq!(found, 2, "client and server span of {part} in {paths:?}");
    }
    let trace = capture.spans().first().map(|span| span.trace_id.clone()).expect("a span");
    let shown = [
        capture.retrospan("sql", &[query, "--format", "table"]),
        capture.retrospan("sql", &[query, "--format", "csv"]),
        capture.retrospan("sql", &["SELECT payload FROM events", "--format", "csv"]),
        capture.retrospan("spans", &[]),
        capture.retrospan("trace", &[&trace]),
        capture.retrospan("info", &[]),
    ];
    for text in &shown {
        let bad = text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\r')) || is_bidi(*c));
        assert!(bad.is_none(), "{bad:?} in {text:?}");
    }
    let table_rows = shown[0].lines().filter(|line| line.contains("GET")).count();
    assert!(table_rows >= 6, "{}", shown[0]);
    assert_eq!(csv_records(&shown[1]), json.len() + 1, "{}", shown[1]);
    assert_eq!(shown[3].lines().count(), json.len(), "one line a span:\n{}", shown[3]);
}

/// Characters that turn the reading direction around.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Counts the records of a CSV text: line ends within quotes do not count.
fn csv_records(text: &str) -> usize {
    let mut quoted = false;
    let ends = text.chars().filter(|c| {
        quoted ^= *c == '"';
        *c == '\n' && !quoted
    });
    ends.count()
}
