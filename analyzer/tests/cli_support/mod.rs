//! Small captures written row by row, and the program run on them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use retrospan_formats::manifest::{Cost, Host, Loss, Manifest, State};
use retrospan_formats::table::{FORMAT_VERSION, Table};
use retrospan_formats::tables;
use retrospan_formats::writer::CaptureWriter;
use serde_json::{Map, Value, json};

/// 2026-11-20 17:00:00 UTC, at boot time 1000 s.
pub const START_WALL_NS: i64 = 1_795_194_000_000_000_000;
pub const START_BOOT_NS: i64 = 1_000_000_000_000;

pub const CURL: i64 = 1 << 22 | 100;
pub const SERVER: i64 = 2 << 22 | 200;

/// Rows of the parts of a capture to be written.
#[derive(Default)]
pub struct Rows {
    pub events: Vec<Value>,
    pub sockets: Vec<Value>,
    pub processes: Vec<Value>,
    pub clock: Vec<Value>,
    pub loss: Vec<Value>,
}

pub fn manifest() -> Manifest {
    let mut options = Map::new();
    options.insert("port".to_owned(), json!(["8000-9000"]));
    options.insert("command".to_owned(), json!("curl\u{1b}[31m"));
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id: "00112233445566778899aabbccddeeff".to_owned(),
        state: State::Recording,
        host: Host {
            name: "web1".to_owned(),
            boot_id: "b007".to_owned(),
            kernel: "6.18.0".to_owned(),
            machine: "x86_64".to_owned(),
            cpus: 2,
            utc_offset_s: 3600,
        },
        options,
        probe_set: "syscalls".to_owned(),
        probe_set_reason: None,
        recorder_version: "0.1.0".to_owned(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: START_BOOT_NS,
        started_wall_ns: START_WALL_NS,
        whole_until_boot_ns: START_BOOT_NS,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}

/// A writer of a new capture.
pub fn writer(directory: &Path) -> CaptureWriter {
    CaptureWriter::create(directory, manifest()).unwrap()
}

/// Writes one part and finishes it; it ends `after_ms` after the start.
pub fn part(writer: &mut CaptureWriter, rows: &Rows, after_ms: i64, losses: Vec<Loss>) {
    let tables: [(&'static Table, &Vec<Value>); 5] = [
        (&tables::PROCESSES, &rows.processes),
        (&tables::SOCKETS, &rows.sockets),
        (&tables::CLOCK, &rows.clock),
        (&tables::EVENTS, &rows.events),
        (&tables::LOSS, &rows.loss),
    ];
    for (table, rows) in tables {
        writer.append(table, &batch(table, rows)).unwrap();
    }
    writer.rotate(START_BOOT_NS + after_ms * 1_000_000, losses).unwrap();
}

pub fn cost() -> Cost {
    Cost {
        elapsed_s: 10.0,
        user_cpu_s: 0.04,
        system_cpu_s: 0.01,
        peak_rss_bytes: 12 << 20,
        programs_s: Some(0.001),
        events: 10,
    }
}

/// Rows as JSON objects; what is missing is null, bytes are given as text.
pub fn batch(table: &Table, rows: &[Value]) -> RecordBatch {
    let schema = table.schema();
    let plain = |ty: &DataType| match ty {
        DataType::Dictionary(_, value) => (**value).clone(),
        DataType::Binary => DataType::Utf8,
        other => other.clone(),
    };
    let fields: Vec<Field> =
        schema.fields().iter().map(|f| Field::new(f.name(), plain(f.data_type()), f.is_nullable())).collect();
    let mut decoder = ReaderBuilder::new(Arc::new(Schema::new(fields))).build_decoder().unwrap();
    decoder.serialize(rows).unwrap();
    let Some(read) = decoder.flush().unwrap() else { return RecordBatch::new_empty(schema) };
    let columns = read.columns().iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()).unwrap());
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

/// A data event; `ms` after the start.
pub struct Data {
    pub ms: i64,
    pub duration_ns: i64,
    pub process_id: i64,
    pub socket_id: i64,
    pub kind: &'static str,
    pub tcp_seq: u32,
    pub payload: String,
}

impl Data {
    pub fn row(&self, seq: usize) -> Value {
        let bytes = self.payload.len();
        let pid = self.process_id & ((1 << 22) - 1);
        json!({
            "boot_ns": START_BOOT_NS + self.ms * 1_000_000, "duration_ns": self.duration_ns, "cpu": 0, "seq": seq,
            "pid": pid, "tid": pid, "process_id": self.process_id, "socket_id": self.socket_id, "kind": self.kind,
            "asked_bytes": bytes, "done_bytes": bytes, "tcp_seq": self.tcp_seq, "errno": 0, "flags": 0,
            "payload": self.payload,
        })
    }
}

pub fn processes() -> Vec<Value> {
    let process = |id: i64, comm: &str, exe: &str, cgroup: &str| {
        json!({
            "process_id": id, "pid": id & ((1 << 22) - 1), "exe": exe, "comm": comm, "argv": exe,
            "cgroup": cgroup, "start_boot_ns": (id >> 22) * 1_000_000,
        })
    };
    vec![
        process(CURL, "curl", "/usr/bin/curl", "/user.slice"),
        process(SERVER, "server", "/usr/bin/server", "/system.slice/web.service"),
    ]
}

/// Both ends of a connection 127.0.0.1:`client_port` -> 127.0.0.1:8080.
pub fn sockets(client: i64, server: i64, client_port: i32, opened_ms: i64) -> Vec<Value> {
    let socket = |id: i64, process: i64, role: &str, local: i32, remote: i32| {
        json!({
            "socket_id": id, "process_id": process, "netns": 4026531840_i64, "family": "inet", "protocol": "tcp",
            "role": role, "local_addr": "127.0.0.1", "local_port": local, "remote_addr": "127.0.0.1",
            "remote_port": remote, "discovered": false, "opened_boot_ns": START_BOOT_NS + opened_ms * 1_000_000,
            "first_send_seq": if role == "client" { 1000 } else { 5000 },
            "first_receive_seq": if role == "client" { 5000 } else { 1000 },
        })
    };
    vec![
        socket(client, CURL, "client", client_port, 8080),
        socket(server, SERVER, "server", 8080, client_port),
    ]
}

/// A request and its answer on a connection of [`sockets`], first bytes of both directions.
/// It begins at `ms`; the server answers after `takes_ms`.
pub fn exchange(
    client: i64,
    server: i64,
    ms: i64,
    takes_ms: i64,
    request: &str,
    response: &str,
) -> Vec<Data> {
    let data = |at: i64, process_id, socket_id, kind, tcp_seq, payload: &str| Data {
        ms: at,
        duration_ns: 20_000,
        process_id,
        socket_id,
        kind,
        tcp_seq,
        payload: payload.to_owned(),
    };
    vec![
        data(ms, CURL, client, "send", 1000, request),
        data(ms + 1, SERVER, server, "receive", 1000, request),
        data(ms + 1 + takes_ms, SERVER, server, "send", 5000, response),
        data(ms + 2 + takes_ms, CURL, client, "receive", 5000, response),
    ]
}

/// A path that means harm to a terminal, and to CSV and JSON.
pub const HOSTILE_PATH: &str = "/a\u{1b}[31m\"',;\u{202e}\u{9b}2J";

/// Ten requests, each on its own connection, 100 ms apart; the fourth takes 500 ms, the last has a
/// hostile path. Two parts, complete, with a loss and a step of the clock.
pub fn capture(directory: &Path) -> PathBuf {
    let path = directory.join("a [b] %20 ü.cap");
    let mut writer = writer(&path);
    let mut parts = [Rows { processes: processes(), ..Rows::default() }, Rows::default()];
    for k in 0..10_i64 {
        let path = if k == 9 { HOSTILE_PATH.to_owned() } else { format!("/item/{k}") };
        let request = format!("GET {path} HTTP/1.1\r\nhost: web\r\n\r\n");
        let response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let takes_ms = if k == 3 { 500 } else { 5 };
        let half = &mut parts[usize::from(k >= 5)];
        half.sockets.extend(sockets(2 * k, 2 * k + 1, 40_000 + k as i32, 100 * k));
        for data in exchange(2 * k, 2 * k + 1, 100 * k + 1, takes_ms, &request, response) {
            half.events.push(data.row(0));
        }
    }
    let clock = |ms: i64, step_ns: i64| json!({"boot_ns": START_BOOT_NS + ms * 1_000_000, "wall_ns": START_WALL_NS + ms * 1_000_000 + step_ns});
    parts[0].clock = vec![clock(0, 0)];
    parts[1].clock = vec![clock(500, 1000), clock(1000, 2_000_001_000)];
    parts[1].loss = vec![json!({
        "from_boot_ns": START_BOOT_NS, "to_boot_ns": START_BOOT_NS + 1_000_000_000, "cpu": 1, "kind": "send",
        "cause": "ring_full", "count": 7,
    })];
    for rows in &mut parts {
        rows.events.sort_by_key(|row| row["boot_ns"].as_i64());
    }
    part(&mut writer, &parts[0], 500, Vec::new());
    let lost = Loss { kind: "send".to_owned(), cause: "ring_full".to_owned(), count: 7 };
    part(&mut writer, &parts[1], 1000, vec![lost]);
    writer.complete(cost()).unwrap();
    path
}

/// Runs the program with nothing on its standard input; its cache is `directory/cache`.
pub fn retrospan(directory: &Path, arguments: &[&str]) -> Output {
    command(directory).args(arguments).stdin(Stdio::null()).output().unwrap()
}

pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retrospan"));
    command.env("XDG_CACHE_HOME", directory.join("cache")).current_dir(directory);
    command
}

/// Standard output of a run that must succeed.
pub fn stdout(directory: &Path, arguments: &[&str]) -> String {
    let output = retrospan(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The only line of standard error of a run that must end with `code` and leave standard output empty.
pub fn failure(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = retrospan(directory, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// Standard error of a run that must fail over a statement: the first line says what is wrong, others where.
pub fn mistake(directory: &Path, arguments: &[&str]) -> String {
    let output = retrospan(directory, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    assert!(error.starts_with("retrospan: ") && !acts_on_a_terminal(&error), "{error}");
    error
}

/// What a terminal of so many lines and columns is given, by the program with these variables.
pub fn in_terminal(
    directory: &Path,
    arguments: &[&str],
    (lines, columns): (u16, u16),
    env: &[(&str, &str)],
) -> String {
    let (ours, theirs) = terminal(lines, columns);
    let mut command = command(directory);
    for name in ["LC_ALL", "LC_CTYPE", "LANG", "NO_COLOR", "PAGER", "LESS"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").envs(env.iter().copied()).args(arguments).stdin(Stdio::null());
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut child = command.spawn().unwrap();
    // The command holds the other end until it is gone.
    drop(command);
    let mut shown = Vec::new();
    // Once nobody holds the other end, reading fails instead of ending.
    let _ = std::io::Read::read_to_end(&mut std::fs::File::from(ours), &mut shown);
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}

/// Both ends of a new terminal.
fn terminal(lines: u16, columns: u16) -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both numbers are written where it succeeds, and the size is read.
    let opened =
        unsafe { libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(opened, 0);
    // SAFETY: both were just opened, and nobody else has them.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// Whether anything in it would act on a terminal.
pub fn acts_on_a_terminal(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
}

/// Compares with `tests/snapshots/NAME.txt`; with `ACCEPT` set, rewrites it.
pub fn snapshot(name: &str, text: &str) {
    let path = format!("{}/tests/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ACCEPT").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{name} differs (ACCEPT=1 rewrites it); now it is\n{text}\nand it was\n{expected}"
    );
}
