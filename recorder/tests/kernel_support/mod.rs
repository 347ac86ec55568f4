//! A recording for tests: attached programs, and what their rings held, decoded and in order.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use aya::maps::{MapData, RingBuf};
use retrospan_formats::event::{Call, Header, Kind, Process, Record, Socket, State};
use retrospan_recorder::probes::{self, LossCounters, Options, Probes};
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
    State(State),
    Socket(Socket),
    Process { process: Process, exe: Vec<u8>, argv: Vec<u8> },
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
        } else if header.record == Record::State as u8 {
            Body::State(take::<State>(rest).0)
        } else if header.record == Record::Socket as u8 {
            Body::Socket(take::<Socket>(rest).0)
        } else if header.record == Record::Process as u8 {
            let (process, text) = take::<Process>(rest);
            let (exe, argv) = text.split_at(process.exe_bytes.into());
            assert_eq!(argv.len(), usize::from(process.argv_bytes));
            Body::Process { process, exe: exe.to_vec(), argv: argv.to_vec() }
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
            Body::Call { call, .. } => call.socket_id,
            Body::State(state) => state.socket_id,
            Body::Socket(socket) => socket.socket_id,
            Body::Process { .. } => 0,
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

/// Says that the test cannot run here, or fails where it must.
pub fn may_skip(reason: &str) -> bool {
    assert!(std::env::var_os("RETROSPAN_REQUIRE_EBPF").is_none(), "eBPF is required: {reason}");
    eprintln!("skipped, no eBPF here: {reason}");
    true
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
        match probes::start(options) {
            Ok(mut probes) => {
                let rings = probes.take_rings();
                Some(Recording { probes, rings, records: Vec::new() })
            }
            Err(error) => may_skip(&error.to_string()).then_some(None)?,
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
