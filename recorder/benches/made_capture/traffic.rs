//! Made-up traffic: clients -> a proxy -> a server, each connection with both of its ends recorded.
//!
//! In: nothing but a fixed seed. Out: one record after the other, in order of emission, as the kernel
//! programs write them. 128 clients each open a connection, send some requests on it with pauses, close it
//! and begin anew; the proxy does the same towards the server.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytemuck::bytes_of;
use retrospan_formats::event::{self, Call, Header, Kind, Record, Socket};
use retrospan_random::Random;
use retrospan_recorder::host::environment::Service;
use retrospan_recorder::host::procfs::Found;

use crate::script::{Chain, Step, What};

/// CLOCK_BOOTTIME of the first record, ns.
pub const START_NS: u64 = 5_000_000_000_000;

/// Clients at work at one time.
const CLIENTS: u32 = 128;
/// First pid of the clients, of the two proxies, of the four servers.
pub const CLIENT_PID: u32 = 2_000;
/// See [`CLIENT_PID`].
pub const PROXY_PID: u32 = 1_000;
/// See [`CLIENT_PID`].
pub const SERVER_PID: u32 = 1_500;
/// See [`CLIENT_PID`].
pub const PROXIES: u32 = 2;
/// See [`CLIENT_PID`].
pub const SERVERS: u32 = 4;

/// The processes that make the traffic.
pub fn processes() -> Vec<Found> {
    let found = |pid: u32, name: &str| Found {
        pid,
        parent_pid: 1,
        start_boot_ns: 1_000_000_000 * u64::from(pid % 100 + 1),
        comm: name.into(),
        exe: Some(format!("/usr/bin/{name}")),
        argv: format!("{name}\0").into_bytes(),
        cgroup: Some(format!("/system.slice/{name}.service")),
        service: Service::default(),
    };
    let clients = (0..CLIENTS).map(|i| found(CLIENT_PID + i, "shopper"));
    let proxies = (0..PROXIES).map(|i| found(PROXY_PID + i, "edge-proxy"));
    let servers =
        (0..SERVERS).map(|i| found(SERVER_PID + i, ["catalog", "cart", "users", "search"][i as usize]));
    clients.chain(proxies).chain(servers).collect()
}

/// Exponentially distributed with this mean.
pub fn pause(random: &mut Random, mean: u64) -> u64 {
    (random.exponential() * mean as f64) as u64
}

/// One client: what it will do next, in order.
struct Client {
    pid: u32,
    steps: VecDeque<Step>,
    chain: Option<Chain>,
}

/// All of it.
pub struct Traffic {
    random: Random,
    /// Requests carry some.
    secrets: bool,
    clients: Vec<Client>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    sockets: u64,
    requests: u64,
    seqs: [u64; 2],
}

impl Traffic {
    /// The beginning: every client starts within the first 100 ms. `secrets`: requests carry some.
    pub fn new(secrets: bool) -> Traffic {
        let mut traffic = Traffic {
            random: Random::new(1),
            secrets,
            clients: Vec::new(),
            due: BinaryHeap::new(),
            sockets: 0,
            requests: 0,
            seqs: [0; 2],
        };
        for index in 0..CLIENTS {
            let client = Client { pid: CLIENT_PID + index, steps: VecDeque::new(), chain: None };
            traffic.clients.push(client);
            let from_ns = START_NS + traffic.random.below(100_000_000) as u64;
            traffic.plan(index as usize, from_ns);
        }
        traffic
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Writes the next record over `record`; returns when it was emitted.
    pub fn next(&mut self, record: &mut Vec<u8>) -> u64 {
        let Some(Reverse((boot_ns, index))) = self.due.pop() else { return 0 };
        let client = &mut self.clients[index];
        if let Some(step) = client.steps.pop_front() {
            write(record, &step, &mut self.seqs);
        }
        match client.steps.front() {
            Some(step) => self.due.push(Reverse((step.boot_ns, index))),
            None => {
                let from_ns = boot_ns + 1_000 + pause(&mut self.random, 20_000_000);
                self.plan(index, from_ns);
            }
        }
        boot_ns
    }

    /// What client `index` does next: opens its connections, sends a request, or closes them.
    fn plan(&mut self, index: usize, from_ns: u64) {
        let client = &mut self.clients[index];
        let mut steps = Vec::new();
        match &mut client.chain {
            None => {
                client.chain =
                    Some(Chain::open(client.pid, &mut self.sockets, from_ns, &mut self.random, &mut steps));
            }
            Some(chain) if chain.requests_left > 0 => {
                chain.requests_left -= 1;
                self.requests += 1;
                chain.exchange(from_ns, self.secrets, &mut self.random, &mut steps);
            }
            Some(chain) => {
                chain.close(from_ns, &mut steps);
                client.chain = None;
            }
        }
        client.steps.extend(steps);
        if let Some(step) = client.steps.front() {
            self.due.push(Reverse((step.boot_ns, index)));
        }
    }
}

/// Puts a step into the form of a kernel record.
fn write(record: &mut Vec<u8>, step: &Step, seqs: &mut [u64; 2]) {
    let cpu = (step.pid % 2) as u16;
    let seq = &mut seqs[usize::from(cpu)];
    *seq += 1;
    let (number, kind) = match &step.what {
        What::Call { kind, .. } => (Record::Call, *kind as u8),
        What::State(_) => (Record::State, Kind::State as u8),
        What::Socket(_) => (Record::Socket, 0),
    };
    let mut header = Header {
        boot_ns: step.boot_ns,
        seq: *seq - 1,
        pid: step.pid,
        tid: step.pid,
        cpu,
        record: number as u8,
        kind,
        record_bytes: 0,
    };
    let body_bytes = match &step.what {
        What::Call { payload, .. } => size_of::<Call>() + payload.len(),
        What::State(_) => size_of::<event::State>(),
        What::Socket(_) => size_of::<Socket>(),
    };
    header.record_bytes = (size_of::<Header>() + body_bytes) as u32;
    record.clear();
    record.extend_from_slice(bytes_of(&header));
    match &step.what {
        What::Call { call, payload, .. } => {
            record.extend_from_slice(bytes_of(call));
            record.extend_from_slice(payload);
        }
        What::State(state) => record.extend_from_slice(bytes_of(state)),
        What::Socket(socket) => record.extend_from_slice(bytes_of(socket)),
    }
}
