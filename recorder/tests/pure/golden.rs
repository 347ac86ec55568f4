//! The golden capture: one HTTP request over loopback, from both ends, and a client that gave up.
//!
//! `testdata/golden-v1.cap` and `golden-v2.cap` were written once by this test and must stay readable as they are. What the
//! recorder makes of the same records today must hold the rows of the second one. The first one has each byte twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::{CLIENT, Maker, SERVER, complete, socket, write};
use arrow::array::{AsArray, Int32Array, RecordBatch};
use arrow::datatypes::Int32Type;
use arrow::util::pretty::pretty_format_batches;
use bytemuck::Zeroable;
use retrospan_formats::event::{Call, Kind, State, flags, role};
use retrospan_formats::marks;
use retrospan_formats::reader::Capture;
use retrospan_formats::table::Table;
use retrospan_formats::tables;
use retrospan_recorder::rows::compact;

const S: u64 = 1_000_000_000;
const US: u64 = 1_000;
const REQUEST: &[u8] =
    b"GET /items?token=secret HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer secret\r\ntraceparent: \
      00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: id=secret\r\n\r\nsecret";

/// Both ends of two connections on two CPUs, over three parts.
fn parts() -> Vec<(u64, Vec<Vec<u8>>)> {
    let mut a = Maker { cpu: 0, seq: 0 };
    let mut b = Maker { cpu: 1, seq: 0 };
    let call = |socket_id, duration_us: u64, tcp_seq| Call {
        socket_id,
        duration_ns: duration_us * US,
        asked_bytes: 4096,
        tcp_seq,
        ..Call::zeroed()
    };
    let none = |socket_id| Call { flags: flags::NO_SEQ, ..call(socket_id, 20, 0) };
    let state = |socket_id, old_state, new_state| State {
        socket_id,
        old_state,
        new_state,
        write_seq: 1000,
        snd_una: 900,
        sk_err: if new_state == 7 { 32 } else { 0 },
        ..State::zeroed()
    };
    let (client, server) = (CLIENT.0, SERVER.0);
    // The sequence numbers wrap within the request.
    let (up, down) = (u32::MAX - 30, 5_000);
    let after = |seq: u32, data: &[u8]| seq.wrapping_add(data.len() as u32);
    let first = vec![
        a.exec(S, SERVER, "/usr/bin/server", "server\0--key\0secret\0"),
        a.exec(S + US, CLIENT, "/usr/bin/curl", "curl\0-H\0Authorization: secret\0"),
        a.socket(S + 2 * US, client, socket(1, role::CLIENT, 40_000, 8080, (up, down))),
        a.call(S + 3 * US, client, Kind::Connect, none(1), b""),
        b.socket(S + 3 * US, 0, socket(2, role::SERVER, 8080, 40_000, (down, up))),
        b.state(S + 3 * US, state(2, 3, 1)),
        b.call(S + 5 * US, server, Kind::Accept, none(2), b""),
        // A header split over two calls.
        a.call(
            S + 10 * US,
            client,
            Kind::Send,
            Call { flags: flags::TURN, ..call(1, 4, up) },
            &REQUEST[..60],
        ),
        a.call(S + 14 * US, client, Kind::Send, call(1, 3, after(up, &REQUEST[..60])), &REQUEST[60..]),
        b.call(S + 20 * US, server, Kind::Receive, Call { flags: flags::TURN, ..call(2, 15, up) }, REQUEST),
        b.call(S + 900 * US, server, Kind::Send, Call { flags: flags::TURN, ..call(2, 5, down) }, RESPONSE),
        a.call(
            S + 905 * US,
            client,
            Kind::Receive,
            Call { flags: flags::TURN, ..call(1, 890, down) },
            RESPONSE,
        ),
    ];
    let second = vec![
        // Late: it stands in the part after its own.
        b.call(S + 15 * US, server, Kind::Shutdown, Call { flags: flags::SHUT_WRITE, ..none(2) }, b""),
        b.call(2 * S, server, Kind::Send, call(2, 5, after(down, RESPONSE)), b"HTTP/1.1 408 Late\r\n\r\n"),
        a.call(2 * S + 5 * US, client, Kind::Close, none(1), b""),
        a.state(2 * S + 6 * US, state(1, 1, 7)),
        a.exit(2 * S + 7 * US, CLIENT, 28 << 8),
    ];
    let third = vec![b.state(3 * S, state(2, 8, 7))];
    vec![(S + S / 2, first), (2 * S + S / 2, second), (3 * S + S / 2, third)]
}

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../testdata/golden-v{version}.cap"))
}

/// Columns in which the versions differ.
const DIFFERENT: [&str; 3] = ["payload", "flags", "peer_socket_id"];

/// The tables that there were when the golden capture was written.
const OLD: [&Table; 5] =
    [&tables::PROCESSES, &tables::SOCKETS, &tables::CLOCK, &tables::EVENTS, &tables::LOSS];

/// The rows of a table.
fn rows(capture: &Capture, table: &'static Table) -> Vec<RecordBatch> {
    if table.name == tables::EVENTS.name {
        return capture.events().collect::<Result<_, _>>().unwrap();
    }
    capture.read(table).collect::<Result<_, _>>().unwrap()
}

/// The old captures have no bits that tell what redaction saw of the protocol.
fn without_marks(batch: RecordBatch) -> RecordBatch {
    let Ok(at) = batch.schema().index_of("flags") else { return batch };
    let flags: Int32Array =
        batch.column(at).as_primitive::<Int32Type>().unary(|bits| bits & !(marks::MARKS as i32));
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(flags);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Every row of every old table as text, with or without the columns that differ.
fn dump(capture: &Capture, all: bool) -> String {
    let mut text = String::new();
    for table in OLD {
        let columns = table.columns.iter().enumerate();
        let kept = columns.filter(|(_, column)| all || !DIFFERENT.contains(&column.name));
        let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
        let rows = rows(capture, table).into_iter().map(without_marks);
        let batches: Vec<_> = rows.map(|b| b.project(&kept).unwrap()).collect();
        text += &format!("{}\n{}\n", table.name, pretty_format_batches(&batches).unwrap());
    }
    text
}

/// `events.payload`, row by row.
fn payloads(capture: &Capture) -> Vec<Option<Vec<u8>>> {
    let of = |batch: RecordBatch| -> Vec<_> {
        let payload = batch.column_by_name("payload").unwrap().as_binary::<i32>();
        payload.iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect()
    };
    rows(capture, &tables::EVENTS).into_iter().flat_map(of).collect()
}

#[test]
fn the_golden_capture_is_read_and_still_made() {
    // Old captures must stay readable: one that is there is never written anew.
    if std::env::var_os("ACCEPT").is_some() && !golden(2).exists() {
        complete(write(&golden(2), &parts(), true), 12);
    }
    let old = Capture::open(&golden(2)).unwrap();
    assert_eq!((old.state.name(), old.manifest.format_version), ("complete", 2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.cap");
    complete(write(&path, &parts(), true), 12);
    assert_eq!(dump(&old, true), dump(&Capture::open(&path).unwrap(), true));
}

#[test]
fn in_version_1_both_ends_have_each_byte() {
    let [one, two] = [1, 2].map(|version| Capture::open(&golden(version)).unwrap());
    assert_eq!((one.state.name(), one.manifest.format_version), ("complete", 1));
    assert_eq!(dump(&one, false), dump(&two, false));
    let then = payloads(&one);
    let stored_once: Vec<_> = then.iter().zip(payloads(&two)).collect();
    let count = stored_once.iter().filter(|(then, now)| then.is_some() && now.is_none()).count();
    assert_eq!(count, 2, "what the server received, and the client");
    for (then, now) in stored_once {
        // Then the space within a reason was kept.
        let then = then
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes).replace(" ****** ******", " *************"));
        assert!(now.is_none_or(|now| then.is_some_and(|then| then.as_bytes() == now)));
    }
}

#[test]
fn a_table_that_an_old_capture_does_not_have_is_empty() {
    let old = Capture::open(&golden(1)).unwrap();
    let newer: Vec<_> =
        tables::ALL.into_iter().filter(|t| OLD.iter().all(|old| old.name != t.name)).collect();
    assert_eq!(newer.len(), tables::ALL.len() - OLD.len());
    for table in newer {
        assert_eq!(old.read(table).count(), 0, "{}", table.name);
    }
}

#[test]
fn an_exec_is_a_row_with_what_may_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.cap");
    complete(write(&path, &parts(), true), 12);
    let new = Capture::open(&path).unwrap();
    let batches: Vec<RecordBatch> = new.read(&tables::EXECS).collect::<Result<_, _>>().unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    assert!(text.contains("| 1000000000 | 0   | 0   | 4300100 | 423730500 "), "{text}");
    assert!(text.contains("| /usr/bin/curl   | curl   | curl   |") && !text.contains("secret"), "{text}");
}

#[test]
fn it_holds_what_its_page_says() {
    let text = dump(&Capture::open(&golden(1)).unwrap(), true).replace("secret_hashes", "");
    assert!(!text.contains(&hex("secret")) && !text.contains("secret"), "{text}");
    // Two rows a connection, each closed; two processes, one ended.
    assert_eq!(text.matches("| client |").count(), 1);
    assert_eq!(text.matches("| server |").count(), 2, "a role and a comm");
    assert!(text.contains(&hex("GET /items?token=******")));
    assert!(text.contains("7168"), "the wait status of exit 28");
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_kill_leaves_what_was_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.cap");
    let parts = parts();
    // Dropped without a clean end: as a kill leaves it, but for the lock.
    drop(write(&path, &parts[..2], false));
    let capture = Capture::open(&path).unwrap();
    assert_eq!(capture.state.name(), "interrupted");
    assert_eq!(capture.manifest.whole_until_boot_ns, parts[1].0 as i64);
    let events: usize = capture.events().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(events, 12);
}

#[test]
fn every_part_of_the_events_is_sorted_and_the_whole_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parts.cap");
    let mut writer = write(&path, &parts(), false);
    let times = |batches: Vec<RecordBatch>| -> Vec<i64> {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    };
    let in_files =
        |capture: &Capture| times(capture.read(&tables::EVENTS).collect::<Result<_, _>>().unwrap());
    let capture = writer.view().unwrap();
    let whole = times(capture.events().collect::<Result<_, _>>().unwrap());
    assert!(whole.is_sorted());
    let mut apart = in_files(&capture);
    assert!(!apart.is_sorted(), "a late row stands in the part after its own");
    apart.sort_unstable();
    assert_eq!(apart, whole);
    compact::finish(&mut writer).unwrap();
    complete(writer, 12);
    let capture = Capture::open(&path).unwrap();
    assert_eq!(in_files(&capture), whole, "put together it stands in its place");
    assert_eq!(capture.files("events").len(), 1);
    assert_eq!(capture.files("sockets").len(), 1);
    assert_eq!(capture.files("clock").len(), 1);
}
