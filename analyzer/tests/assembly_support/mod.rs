//! Synthetic captures that read like a story: processes, connections, calls, at times that the test chooses.
//!
//! A [`World`] keeps what a kernel would keep (sequence numbers, TCP states) and writes it down as the recorder does.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod assembled;
mod stored_once;
mod story;

use std::path::Path;

use arrow::array::RecordBatch;
use retrospan_formats::event::{Kind, flags};
use retrospan_formats::manifest::{Cost, Host, Manifest, State};
use retrospan_formats::reader::Capture;
use retrospan_formats::rows::{self, Writer};
use retrospan_formats::table::FORMAT_VERSION;
use retrospan_formats::tables::{self, ClockRow, EventRow, LossRow, ProcessRow, SocketRow, TcpRow};
use retrospan_formats::writer::CaptureWriter;

pub use assembled::{Assembled, Cells, Recorded, line};
pub use story::{GET, OK, alone, outcome, pair};

/// Microseconds.
pub const US: i64 = 1_000;
/// Milliseconds.
pub const MS: i64 = 1_000_000;

/// Bytes of a payload kept.
const SNAP_BYTES: usize = 1024;

/// A row of `events`.
#[derive(Clone, Debug)]
pub struct Row {
    pub boot_ns: i64,
    pub duration_ns: i64,
    pub tid: u32,
    pub process: usize,
    pub socket: usize,
    pub kind: Kind,
    pub asked: u64,
    pub done: u64,
    pub seq: Option<u32>,
    pub errno: i32,
    pub flags: u32,
    pub state: Option<[u32; 7]>,
    pub payload: Option<Vec<u8>>,
    pub queued_us: Option<i32>,
}

#[derive(Clone, Debug)]
pub struct Socket {
    pub process: usize,
    pub netns: i64,
    pub role: &'static str,
    pub local: (&'static str, u16),
    pub remote: (&'static str, u16),
    pub discovered: bool,
    pub opened_ns: Option<i64>,
    pub closed_ns: Option<i64>,
    pub first_send: u32,
    pub first_receive: u32,
    pub send_seq: u32,
    pub receive_seq: u32,
    /// Sequence number up to which bytes arrived.
    pub arrived: u32,
    /// Sequence number up to which the other end acknowledged.
    pub acknowledged: u32,
    pub state: u32,
    pub recorded: bool,
    /// The other end, with which each byte is stored once.
    pub peer: Option<usize>,
    /// It is a TLS session.
    pub is_session: bool,
    /// The socket that it is on.
    pub carrier: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub name: &'static str,
    pub recorded: bool,
}

/// Both sockets of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub client: usize,
    pub server: usize,
}

/// A host with a recorder.
#[derive(Clone, Debug)]
pub struct World {
    pub now_ns: i64,
    pub step_ns: i64,
    pub rows: Vec<Row>,
    pub sockets: Vec<Socket>,
    pub processes: Vec<Process>,
    pub losses: Vec<(i64, i64)>,
    /// Rows of `tcp`: when, what, of which socket, in which state.
    pub tcp: Vec<(i64, &'static str, usize, u8)>,
    pub next_port: u16,
    pub next_isn: u32,
    /// Of so many connections one is recorded; 0: each is.
    pub sampled_one_in: u64,
}

pub const FIN: u32 = 1;

impl World {
    pub fn new() -> World {
        World {
            now_ns: 1_000 * MS,
            step_ns: 10 * US,
            rows: Vec::new(),
            sockets: Vec::new(),
            processes: Vec::new(),
            losses: Vec::new(),
            tcp: Vec::new(),
            next_port: 40_000,
            next_isn: 1_000_000,
            sampled_one_in: 0,
        }
    }

    pub fn process(&mut self, name: &'static str) -> usize {
        self.processes.push(Process { name, recorded: true });
        self.processes.len() - 1
    }

    /// A process that `--pid` left out.
    pub fn stranger(&mut self, name: &'static str) -> usize {
        let process = self.process(name);
        self.processes[process].recorded = false;
        process
    }

    pub fn wait(&mut self, ns: i64) {
        self.now_ns += ns;
    }

    fn tick(&mut self) -> i64 {
        self.now_ns += self.step_ns;
        self.now_ns
    }

    /// A connection within one host: connect, both handshakes, accept.
    pub fn connect(&mut self, client: usize, server: usize, port: u16) -> Connection {
        let connection = self.open(client, server, port, false);
        let (c, s) = (connection.client, connection.server);
        self.state(c, 7, 2);
        self.state(s, 3, 1);
        self.state(c, 2, 1);
        self.call(c, Kind::Connect, 0, 5 * US);
        self.call(s, Kind::Accept, 0, 5 * US);
        connection
    }

    /// A SYN leaves, and the call returns at once: nobody has answered yet.
    pub fn connecting(&mut self, client: usize, port: u16) -> usize {
        let Connection { client, server } = self.open(client, client, port, false);
        self.sockets.truncate(server);
        self.state(client, 7, 2);
        self.call(client, Kind::Connect, 115, 5 * US);
        client
    }

    /// The connection of a socket that is connecting is established now, and accepted.
    pub fn established(&mut self, client: usize, server: usize) -> Connection {
        let connection = self.queued(client, server);
        self.call(connection.server, Kind::Accept, 0, 5 * US);
        connection
    }

    /// The connection of a socket that is connecting is established now, and waits to be accepted.
    pub fn queued(&mut self, client: usize, server: usize) -> Connection {
        let c = self.sockets[client].clone();
        let (first_send, first_receive) = (c.first_receive, c.first_send);
        self.sockets.push(Socket {
            process: server,
            role: "server",
            local: c.remote,
            remote: c.local,
            opened_ns: Some(self.now_ns),
            first_send,
            first_receive,
            send_seq: first_send,
            receive_seq: first_receive,
            arrived: first_receive,
            acknowledged: first_send,
            recorded: self.processes[server].recorded,
            ..c
        });
        let server = self.sockets.len() - 1;
        self.state(server, 3, 1);
        self.state(client, 2, 1);
        Connection { client, server }
    }

    /// A socket that listens since before the recording.
    pub fn listener(&mut self, process: usize, port: u16) -> usize {
        let server = self.open(process, process, port, true).server;
        self.sockets.remove(server - 1);
        let socket = &mut self.sockets[server - 1];
        (socket.role, socket.local) = ("listener", ("0.0.0.0", port));
        server - 1
    }

    /// A connection from before the recording: no event of its opening.
    pub fn old_connection(&mut self, client: usize, server: usize, port: u16) -> Connection {
        self.open(client, server, port, true)
    }

    /// A TLS session over a connection; its positions begin with it.
    pub fn session(&mut self, over: Connection) -> Connection {
        let mut end = |carrier: usize| {
            let socket = self.sockets[carrier].clone();
            self.sockets.push(Socket {
                is_session: true,
                carrier: Some(carrier),
                opened_ns: socket.opened_ns.map(|_| self.now_ns),
                first_send: 1,
                first_receive: 1,
                send_seq: 1,
                receive_seq: 1,
                arrived: 1,
                acknowledged: 1,
                ..socket
            });
            self.sockets.len() - 1
        };
        Connection { client: end(over.client), server: end(over.server) }
    }

    fn open(&mut self, client: usize, server: usize, port: u16, discovered: bool) -> Connection {
        self.next_port = if self.next_port >= 60_000 { 40_001 } else { self.next_port + 1 };
        self.next_isn = self.next_isn.wrapping_add(77_777_777);
        let (a, b) = (self.next_isn, self.next_isn.wrapping_mul(3));
        let (local, remote) = (("127.0.0.1", self.next_port), ("127.0.0.1", port));
        let opened_ns = (!discovered).then_some(self.now_ns);
        let socket = |process: usize, role, local, remote, send, receive| Socket {
            process,
            netns: 4_026_531_840,
            role: if discovered { "unknown" } else { role },
            local,
            remote,
            discovered,
            opened_ns,
            closed_ns: None,
            first_send: send,
            first_receive: receive,
            send_seq: send,
            receive_seq: receive,
            arrived: receive,
            acknowledged: send,
            state: 1,
            recorded: self.processes[process].recorded,
            peer: None,
            is_session: false,
            carrier: None,
        };
        let (c, s) =
            (socket(client, "client", local, remote, a, b), socket(server, "server", remote, local, b, a));
        self.sockets.extend([c, s]);
        Connection { client: self.sockets.len() - 2, server: self.sockets.len() - 1 }
    }

    /// A state row as the kernel would show it now.
    pub fn state(&mut self, socket: usize, old: u32, new: u32) {
        self.state_error(socket, old, new, 0);
    }

    pub fn state_error(&mut self, socket: usize, old: u32, new: u32, sk_err: u32) {
        let boot_ns = self.tick();
        let s = &mut self.sockets[socket];
        s.state = new;
        if new == 7 {
            s.closed_ns = Some(boot_ns);
        }
        let state = Some([sk_err, s.send_seq, s.acknowledged, s.receive_seq, s.arrived, old, new]);
        let process = s.process;
        self.rows.push(Row {
            boot_ns,
            duration_ns: 0,
            tid: 0,
            process,
            socket,
            kind: Kind::State,
            asked: 0,
            done: 0,
            seq: None,
            errno: 0,
            flags: 0,
            state,
            payload: None,
            queued_us: None,
        });
    }

    pub fn call(&mut self, socket: usize, kind: Kind, errno: i32, duration_ns: i64) -> &mut Row {
        let boot_ns = self.tick();
        let process = self.sockets[socket].process;
        self.rows.push(Row {
            boot_ns,
            duration_ns,
            tid: 100 + process as u32,
            process,
            socket,
            kind,
            asked: 0,
            done: 0,
            seq: None,
            errno,
            flags: 0,
            state: None,
            payload: None,
            queued_us: None,
        });
        self.rows.last_mut().unwrap()
    }

    /// The process hands these bytes to the kernel, which delivers them if `other` is there.
    pub fn send(&mut self, socket: usize, bytes: &[u8]) -> &mut Row {
        let seq = self.sockets[socket].send_seq;
        self.sockets[socket].send_seq = seq.wrapping_add(bytes.len() as u32);
        let row = self.call(socket, Kind::Send, 0, 4 * US);
        row.asked = bytes.len() as u64;
        fill(row, seq, bytes);
        row
    }

    /// The process takes these bytes from the kernel.
    pub fn receive(&mut self, socket: usize, bytes: &[u8]) -> &mut Row {
        let s = &mut self.sockets[socket];
        let seq = s.receive_seq;
        s.receive_seq = seq.wrapping_add(bytes.len() as u32);
        if (s.receive_seq.wrapping_sub(s.arrived) as i32) > 0 {
            s.arrived = s.receive_seq;
        }
        let row = self.call(socket, Kind::Receive, 0, 3 * US);
        row.asked = 65_536;
        fill(row, seq, bytes);
        row
    }

    /// The process finds the end of the stream.
    pub fn receive_end(&mut self, socket: usize) {
        self.call(socket, Kind::Receive, 0, 2 * US).asked = 65_536;
    }

    /// Bytes go all the way from the client to the server.
    pub fn request(&mut self, connection: Connection, bytes: &[u8]) {
        self.send(connection.client, bytes);
        self.receive(connection.server, bytes);
        self.sockets[connection.client].acknowledged = self.sockets[connection.client].send_seq;
    }

    /// Bytes go all the way back.
    pub fn respond(&mut self, connection: Connection, bytes: &[u8]) {
        self.send(connection.server, bytes);
        self.receive(connection.client, bytes);
        self.sockets[connection.server].acknowledged = self.sockets[connection.server].send_seq;
    }

    /// A FIN goes from one socket to the other, by close or shutdown.
    pub fn fin(&mut self, from: usize, to: usize) {
        let (old, new) = if self.sockets[from].state == 8 { (8, 9) } else { (1, 4) };
        self.state(from, old, new);
        self.sockets[from].send_seq = self.sockets[from].send_seq.wrapping_add(FIN);
        let s = &mut self.sockets[to];
        s.arrived = s.arrived.wrapping_add(FIN);
        match s.state {
            1 => self.state(to, 1, 8),
            _ => self.gone(to, 0),
        }
        if self.sockets[from].state == 4 {
            self.state(from, 4, 5);
        }
        self.sockets[from].acknowledged = self.sockets[from].send_seq;
    }

    /// The socket's end.
    pub fn gone(&mut self, socket: usize, sk_err: u32) {
        let old = self.sockets[socket].state;
        self.state_error(socket, old, 7, sk_err);
    }

    /// Both sides close, the client first.
    pub fn close(&mut self, connection: Connection) {
        let Connection { client, server } = connection;
        self.call(client, Kind::Close, 0, US);
        self.fin(client, server);
        self.call(server, Kind::Close, 0, US);
        self.fin(server, client);
        self.gone(server, 0);
    }

    /// Writes the capture, as recorded: rows of strangers are left out.
    pub fn capture(&self) -> Recorded {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let directory = folder.path().join("test.cap");
        self.write(&directory);
        let capture = Capture::open(&directory).expect("the capture opens");
        Recorded { capture, folder }
    }

    fn write(&self, directory: &Path) {
        let mut manifest = new_manifest();
        if self.sampled_one_in > 0 {
            manifest.options.insert("sample".to_owned(), self.sampled_one_in.into());
        }
        let mut writer = CaptureWriter::create(directory, manifest).expect("a new capture");
        let mut events: Vec<&Row> =
            self.rows.iter().filter(|row| self.sockets[row.socket].recorded).collect();
        events.sort_by_key(|row| row.boot_ns);
        for rows in events.chunks(8192) {
            self.append_events(&mut writer, rows.iter().copied());
        }
        self.complete(writer);
    }

    /// Writes events down and forgets them, so that a world may be larger than memory. They must be in order.
    pub fn drain_events(&mut self, writer: &mut CaptureWriter) {
        let rows = std::mem::take(&mut self.rows);
        self.append_events(writer, rows.iter());
    }

    fn append_events<'a>(&self, writer: &mut CaptureWriter, rows: impl Iterator<Item = &'a Row>) {
        let rows = rows.enumerate().map(|(seq, row)| self.event_row(seq, row));
        append::<EventRow>(writer, rows);
    }

    /// Writes everything but the events and completes the capture.
    pub fn complete(&self, mut writer: CaptureWriter) {
        let end_ns = self.now_ns + 5_000 * MS;
        writer.append(&tables::PROCESSES, &self.process_rows()).expect("rows that fit");
        append::<SocketRow>(&mut writer, self.socket_rows());
        append::<ClockRow>(&mut writer, [0, end_ns].map(|ns| ClockRow { boot_ns: ns, wall_ns: ns }));
        append::<LossRow>(&mut writer, self.loss_rows());
        append::<TcpRow>(&mut writer, self.tcp_rows());
        writer.rotate(end_ns, Vec::new()).expect("a part");
        writer.complete(Cost::default()).expect("a capture");
    }

    fn process_rows(&self) -> RecordBatch {
        let recorded = self.processes.iter().enumerate().filter(|(_, process)| process.recorded);
        let mut rows = Writer::<ProcessRow>::new();
        for (index, process) in recorded {
            rows.push(&ProcessRow {
                process_id: process_id(index),
                pid: pid(index),
                exe: Some(&format!("/usr/bin/{}", process.name)),
                comm: process.name,
                argv: Some(process.name),
                start_boot_ns: 1,
                ..ProcessRow::default()
            });
        }
        rows.take().expect("rows that fit")
    }

    fn socket_rows(&self) -> impl Iterator<Item = SocketRow<'_>> {
        let recorded = self.sockets.iter().enumerate().filter(|(_, socket)| socket.recorded);
        recorded.map(|(index, socket)| SocketRow {
            socket_id: socket_id(index),
            process_id: Some(process_id(socket.process)),
            netns: socket.netns,
            family: "inet",
            protocol: if socket.is_session { "tls" } else { "tcp" },
            role: socket.role,
            local_addr: socket.local.0,
            local_port: socket.local.1.into(),
            remote_addr: Some(socket.remote.0),
            remote_port: Some(socket.remote.1.into()),
            inode: None,
            discovered: socket.discovered,
            opened_boot_ns: socket.opened_ns,
            closed_boot_ns: socket.closed_ns,
            first_send_seq: Some(socket.first_send),
            first_receive_seq: Some(socket.first_receive),
            peer_socket_id: socket.peer.map(socket_id),
            carrier_socket_id: socket.carrier.map(socket_id),
        })
    }

    fn loss_rows(&self) -> impl Iterator<Item = LossRow<'_>> {
        self.losses.iter().map(|&(from_boot_ns, to_boot_ns)| LossRow {
            from_boot_ns,
            to_boot_ns,
            cpu: 0,
            kind: "state",
            cause: "ring_full",
            count: 1,
        })
    }

    fn tcp_rows(&self) -> impl Iterator<Item = TcpRow<'_>> {
        self.tcp.iter().enumerate().map(|(seq, &(boot_ns, kind, socket, state))| TcpRow {
            boot_ns,
            seq: seq as i64,
            kind,
            socket_id: Some(socket_id(socket)),
            process_id: Some(process_id(self.sockets[socket].process)),
            tcp_state: Some(state),
            ..TcpRow::default()
        })
    }

    fn event_row<'a>(&self, seq: usize, row: &'a Row) -> EventRow<'a> {
        let called = row.tid != 0;
        let state = |index: usize| row.state.map(|state| state[index]);
        EventRow {
            boot_ns: row.boot_ns,
            duration_ns: row.duration_ns,
            cpu: 0,
            seq: seq as i64,
            pid: called.then_some(pid(row.process)),
            tid: called.then_some(row.tid as i32),
            process_id: Some(process_id(row.process)),
            socket_id: socket_id(row.socket),
            kind: row.kind.name(),
            asked_bytes: row.asked as i64,
            done_bytes: row.done as i64,
            tcp_seq: row.seq,
            errno: row.errno,
            flags: row.flags as i32,
            sk_err: state(0).map(|error| error as i32),
            write_seq: state(1),
            snd_una: state(2),
            copied_seq: state(3),
            rcv_nxt: state(4),
            old_state: state(5).map(|state| state as u8),
            new_state: state(6).map(|state| state as u8),
            payload: row.payload.as_deref(),
            framing: None,
            queued_us: row.queued_us,
            secret_hashes: None,
        }
    }

    /// Assembles the capture of this world.
    pub fn assembled(&self) -> Assembled {
        self.capture().assembled()
    }
}

/// A capture that is being recorded.
pub fn new_capture(directory: &Path) -> CaptureWriter {
    CaptureWriter::create(directory, new_manifest()).expect("a new capture")
}

fn new_manifest() -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        capture_id: "0123456789abcdef0123456789abcdef".to_owned(),
        state: State::Recording,
        host: Host::default(),
        options: serde_json::Map::new(),
        probe_set: "syscalls".to_owned(),
        probe_set_reason: None,
        recorder_version: "0".to_owned(),
        imported: None,
        rolled: None,
        frozen: None,
        ended_by: None,
        tls: None,
        started_boot_ns: 0,
        started_wall_ns: 0,
        whole_until_boot_ns: 0,
        files: Vec::new(),
        losses: Vec::new(),
        cost: None,
    }
}

fn append<'a, R: rows::Row>(writer: &mut CaptureWriter, rows: impl IntoIterator<Item = R::Of<'a>>) {
    let batch = rows::batch::<R>(rows).expect("rows that fit");
    writer.append(R::TABLE, &batch).expect("rows that fit");
}

/// Keeps of the payload what a recorder keeps: the first bytes, and the last 8 beyond them.
fn fill(row: &mut Row, seq: u32, bytes: &[u8]) {
    row.done = bytes.len() as u64;
    row.seq = Some(seq);
    let mut payload = bytes[..bytes.len().min(SNAP_BYTES)].to_vec();
    if payload.len() < bytes.len() {
        row.flags |= flags::PAYLOAD_CUT;
        if bytes.len() - payload.len() >= 8 {
            payload.extend(&bytes[bytes.len() - 8..]);
            row.flags |= flags::PAYLOAD_TAIL;
        }
    }
    row.payload = Some(payload);
}

pub fn socket_id(index: usize) -> i64 {
    index as i64 + 1
}

fn process_id(index: usize) -> i64 {
    (index as i64 + 1) << 22
}

fn pid(index: usize) -> i32 {
    500 + index as i32
}
