//! A recording for tests: attached programs, and what their rings held, decoded and in order.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use aya::maps::{MapData, RingBuf};
use retrospan_formats::event::{
    Call, Ends as DatagramEnds, Header, Kind, More, Process, Record, Sched, Socket, State, Tcp, Wake,
};
use retrospan_recorder::kernel::{self, LossCounters, Options, Probes};
use retrospan_testkit::skip;
pub use retrospan_testkit::turn;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A record in its place in time.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub header: Header,
    pub body: Body,
}

/// What kind of record it is, with the bytes behind it.
#[derive(Clone, Debug)]
pub enum Body {
    Call { call: Call, head: Vec<u8>, tail: Vec<u8> },
    Datagram { call: Call, ends: DatagramEnds, head: Vec<u8> },
    State(State),
    Socket(Socket),
    Process { process: Process, exe: Vec<u8>, argv: Vec<u8> },
    Tcp(Tcp),
    Sched(Sched),
    Wake(Wake),
    More { more: More, bytes: Vec<u8> },
}

impl Recorded {
    fn read(bytes: &[u8]) -> Recorded {
        let (header, rest) = take::<Header>(bytes);
        assert!(header.record_bytes as usize <= bytes.len(), "a record claims more than it has");
        let rest = &rest[..header.record_bytes as usize - size_of::<Header>()];
        let body = if header.record == Record::Call as u8 {
            let (call, data) = take::<Call>(rest);
            let (head, tail) = data.split_at(call.head_bytes.into());
            assert_eq!(tail.len(), usize::from(call.tail_bytes));
            Body::Call { call, head: head.to_vec(), tail: tail.to_vec() }
        } else if header.record == Record::Datagram as u8 {
            let (call, data) = take::<Call>(rest);
            let (ends, head) = take::<DatagramEnds>(data);
            assert_eq!(head.len(), usize::from(call.head_bytes));
            Body::Datagram { call, ends, head: head.to_vec() }
        } else if header.record == Record::State as u8 {
            Body::State(take::<State>(rest).0)
        } else if header.record == Record::Socket as u8 {
            Body::Socket(take::<Socket>(rest).0)
        } else if header.record == Record::Process as u8 {
            let (process, text) = take::<Process>(rest);
            let (exe, argv) = text.split_at(process.exe_bytes.into());
            assert_eq!(argv.len(), usize::from(process.argv_bytes));
            Body::Process { process, exe: exe.to_vec(), argv: argv.to_vec() }
        } else if header.record == Record::Tcp as u8 {
            Body::Tcp(take::<Tcp>(rest).0)
        } else if header.record == Record::Sched as u8 {
            Body::Sched(take::<Sched>(rest).0)
        } else if header.record == Record::Wake as u8 {
            Body::Wake(take::<Wake>(rest).0)
        } else if header.record == Record::More as u8 {
            let (more, bytes) = take::<More>(rest);
            assert_eq!(bytes.len(), more.bytes as usize);
            Body::More { more, bytes: bytes.to_vec() }
        } else {
            panic!("unknown record {}", header.record);
        };
        Recorded { header, body }
    }

    pub fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.header.kind)
    }

    pub fn socket_id(&self) -> u64 {
        match &self.body {
            Body::Call { call, .. } | Body::Datagram { call, .. } => call.socket_id,
            Body::State(state) => state.socket_id,
            Body::Socket(socket) => socket.socket_id,
            Body::Tcp(tcp) => tcp.socket_id,
            Body::More { more, .. } => more.socket_id,
            Body::Process { .. } | Body::Sched(_) | Body::Wake(_) => 0,
        }
    }
}

fn take<T: bytemuck::Pod>(bytes: &[u8]) -> (T, &[u8]) {
    let (front, rest) = bytes.split_at(size_of::<T>());
    (bytemuck::pod_read_unaligned(front), rest)
}

/// Attached programs and their rings.
pub struct Recording {
    pub probes: Probes,
    rings: Vec<RingBuf<MapData>>,
    pub records: Vec<Recorded>,
}

/// The name of the running test.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Says that the running test needs what this kernel does not have.
pub fn skipped(reason: &str) {
    skip::say(&test_name(), reason);
}

/// What most tests record: this process and its children, all of it.
pub fn own_sockets() -> Options {
    Options {
        snap_bytes: 1024,
        pids: Some(vec![std::process::id()]),
        ring_bytes: 4 << 20,
        most_sockets: 16_384,
        ..Options::default()
    }
}

impl Recording {
    /// Starts recording; `None` where there is no eBPF and that is allowed.
    pub fn start(options: &Options) -> Option<Recording> {
        match kernel::start(options) {
            Ok(mut probes) => {
                let rings = probes.take_rings();
                Some(Recording { probes, rings, records: Vec::new() })
            }
            Err(error) => {
                skip::lacks(&test_name(), &format!("eBPF cannot be loaded here ({error})"));
                None
            }
        }
    }

    /// Takes what the rings hold now.
    pub fn drain(&mut self) {
        for (cpu, ring) in self.rings.iter_mut().enumerate() {
            while let Some(item) = ring.next() {
                let record = Recorded::read(&item);
                assert_eq!(usize::from(record.header.cpu), cpu, "a record is in another CPU's ring");
                self.records.push(record);
            }
        }
        self.records.sort_by_key(|record| record.header.boot_ns);
    }

    /// Drains until the records satisfy `enough`, or fails after ten seconds.
    pub fn wait_for(&mut self, what: &str, enough: impl Fn(&[Recorded]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.drain();
            if enough(&self.records) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} did not come; got {:#?}", self.records);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops recording and takes the rest.
    pub fn finish(mut self) -> (Vec<Recorded>, Vec<LossCounters>, Vec<u64>) {
        self.probes.detach();
        self.drain();
        let losses = self.probes.losses().expect("counters can be read");
        let seqs = self.probes.next_seqs().expect("counters can be read");
        (self.records, losses, seqs)
    }
}

/// Both ends of a connection over loopback.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
    pub listener: TcpListener,
}

impl Pair {
    pub fn open() -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        Pair { client, server, listener }
    }

    /// The two sockets as recorded: client, then server.
    pub fn sockets(&self) -> Ends {
        Ends {
            client: self.client.local_addr().expect("address").port(),
            server: self.listener.local_addr().expect("address").port(),
        }
    }
}

/// The two ports of a connection, to find its sockets by after it is gone.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub client: u16,
    pub server: u16,
}

impl Ends {
    pub fn client_in(self, records: &[Recorded]) -> Option<Socket> {
        last_socket(records, self.client, self.server)
    }

    pub fn server_in(self, records: &[Recorded]) -> Option<Socket> {
        last_socket(records, self.server, self.client)
    }

    pub fn client_calls(self, records: &[Recorded]) -> Vec<Event> {
        self.client_in(records).map(|socket| calls_of(records, socket.socket_id)).unwrap_or_default()
    }

    pub fn server_calls(self, records: &[Recorded]) -> Vec<Event> {
        self.server_in(records).map(|socket| calls_of(records, socket.socket_id)).unwrap_or_default()
    }
}

fn last_socket(records: &[Recorded], local: u16, remote: u16) -> Option<Socket> {
    records.iter().rev().find_map(|record| match record.body {
        Body::Socket(socket) if socket.local_port == local && socket.remote_port == remote => Some(socket),
        _ => None,
    })
}

/// A call with its payload.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: Kind,
    pub call: Call,
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
    /// What follows `head` of a long message head.
    pub more: Vec<u8>,
    pub tid: u32,
    pub pid: u32,
}

impl Event {
    pub fn has(&self, flag: u32) -> bool {
        self.call.flags & flag != 0
    }
}

/// The calls on one socket, in the order of their ends.
pub fn calls_of(records: &[Recorded], socket_id: u64) -> Vec<Event> {
    records
        .iter()
        .filter(|record| record.socket_id() == socket_id)
        .filter_map(|record| match &record.body {
            Body::Call { call, head, tail } => Some(Event {
                kind: record.kind().expect("a known kind"),
                call: *call,
                head: head.clone(),
                tail: tail.clone(),
                more: more_of(records, record),
                tid: record.header.tid,
                pid: record.header.pid,
            }),
            _ => None,
        })
        .collect()
}

/// The bytes that further records of a call hold.
fn more_of(records: &[Recorded], call: &Recorded) -> Vec<u8> {
    let Body::Call { call: body, .. } = &call.body else { return Vec::new() };
    let mut found = 0;
    let mut all = Vec::new();
    for record in records {
        if let Body::More { more, bytes } = &record.body
            && (record.header.cpu, more.call_seq) == (call.header.cpu, call.header.seq)
        {
            assert_eq!((record.header.boot_ns, record.header.tid), (call.header.boot_ns, call.header.tid));
            found += 1;
            all.extend_from_slice(bytes);
        }
    }
    assert_eq!(found, body.more_records, "each record that a call tells of is there");
    all
}

/// The state changes of one socket as (old, new).
pub fn states_of(records: &[Recorded], socket_id: u64) -> Vec<(u8, u8)> {
    records
        .iter()
        .filter(|record| record.socket_id() == socket_id)
        .filter_map(|record| match record.body {
            Body::State(state) => Some((state.old_state, state.new_state)),
            _ => None,
        })
        .collect()
}

/// Only the sends, or the receives, of a list of calls.
pub fn only(events: &[Event], kind: Kind) -> Vec<Event> {
    events.iter().filter(|event| event.kind == kind).cloned().collect()
}
