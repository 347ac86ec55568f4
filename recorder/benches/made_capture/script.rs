//! What happens on the two connections of one client: opened, requests answered, closed.
//!
//! In: when it begins. Out: steps in order of emission, with sequence numbers that add up.

use std::fmt::Write;

use retrospan_formats::event::{Call, Kind, Socket, State, TAIL_BYTES, flags, role};
use retrospan_random::Random;

use crate::traffic::{PROXIES, PROXY_PID, SERVER_PID, SERVERS, pause};

/// Most payload of one event, bytes; heads are whole.
const SNAP_BYTES: usize = 256;

const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;

/// One record to be.
pub struct Step {
    pub boot_ns: u64,
    pub pid: u32,
    pub what: What,
}

/// Its body.
pub enum What {
    Call { kind: Kind, call: Call, payload: Vec<u8> },
    State(State),
    Socket(Socket),
}

/// One end of a connection.
#[derive(Clone, Copy)]
struct End {
    socket_id: u64,
    pid: u32,
    role: u8,
    address: [u8; 4],
    port: u16,
    write_seq: u32,
    copied_seq: u32,
}

/// A client's connection to a proxy, and the proxy's to a server.
pub struct Chain {
    /// Client, proxy (server side), proxy (client side), server.
    ends: [End; 4],
    /// Requests until it is closed.
    pub requests_left: u64,
    service: u32,
}

impl Chain {
    /// Opens both connections.
    pub fn open(
        client_pid: u32,
        sockets: &mut u64,
        from_ns: u64,
        random: &mut Random,
        steps: &mut Vec<Step>,
    ) -> Chain {
        let proxy_pid = PROXY_PID + client_pid % PROXIES;
        let service = random.below(SERVERS as usize) as u32;
        let pids = [client_pid, proxy_pid, proxy_pid, SERVER_PID + service];
        let first = *sockets;
        *sockets += 4;
        let ephemeral = |n: u64| 32_768 + (n % 28_000) as u16;
        let ports = [ephemeral(first), 8_000, ephemeral(first + 1), 8_080 + service as u16];
        let roles = [role::CLIENT, role::SERVER, role::CLIENT, role::SERVER];
        let starts = [0; 4].map(|_: u32| random.below(1 << 31) as u32);
        let ends = std::array::from_fn(|i| End {
            socket_id: first + i as u64 + 1,
            pid: pids[i],
            role: roles[i],
            address: [127, 0, (i / 2) as u8, 1],
            port: ports[i],
            write_seq: starts[i],
            copied_seq: starts[i ^ 1],
        });
        let chain = Chain { ends, requests_left: 1 + random.below(40) as u64, service };
        let ready_ns = chain.connect(0, from_ns, steps);
        chain.connect(2, ready_ns + 20_000, steps);
        chain
    }

    /// Opens the connection from `ends[client]` to the next end.
    fn connect(&self, client: usize, from_ns: u64, steps: &mut Vec<Step>) -> u64 {
        let server = client + 1;
        self.socket(client, from_ns, from_ns, steps);
        self.state(client, from_ns + 100, CLOSE, SYN_SENT, steps);
        self.socket(server, from_ns + 9_000, from_ns + 9_000, steps);
        self.state(server, from_ns + 9_100, LISTEN, SYN_RECV, steps);
        self.state(client, from_ns + 12_000, SYN_SENT, ESTABLISHED, steps);
        self.state(server, from_ns + 14_000, SYN_RECV, ESTABLISHED, steps);
        self.plain(client, Kind::Connect, from_ns + 20_000, 20_000, steps);
        self.plain(server, Kind::Accept, from_ns + 30_000, 2_000, steps);
        from_ns + 30_000
    }

    /// One request to the server and its answer back.
    pub fn exchange(&mut self, from_ns: u64, secrets: bool, random: &mut Random, steps: &mut Vec<Step>) {
        let request =
            if secrets { secret_request(self.service, random) } else { request(self.service, random) };
        let (response, response_bytes) = response(random);
        let slow = if random.below(100) == 0 { 30 } else { 1 };
        let work_ns = 100_000 + pause(random, 1_500_000 * slow);
        let hop = |random: &mut Random| 8_000 + random.below(12_000) as u64;
        let request_bytes = request.len() as u64;
        let mut at = from_ns;
        for (end, kind) in [(0, Kind::Send), (1, Kind::Receive), (2, Kind::Send), (3, Kind::Receive)] {
            self.data(end, kind, at, &request, request_bytes, steps);
            at += hop(random);
        }
        at += work_ns;
        for (end, kind) in [(3, Kind::Send), (2, Kind::Receive), (1, Kind::Send), (0, Kind::Receive)] {
            self.data(end, kind, at, &response, response_bytes, steps);
            at += hop(random);
        }
    }

    /// The client closes, then everybody else does.
    pub fn close(&self, from_ns: u64, steps: &mut Vec<Step>) {
        self.close_one(0, from_ns, steps);
        self.close_one(2, from_ns + 60_000, steps);
    }

    fn close_one(&self, client: usize, from_ns: u64, steps: &mut Vec<Step>) {
        let server = client + 1;
        self.state(client, from_ns, ESTABLISHED, FIN_WAIT1, steps);
        self.state(server, from_ns + 3_000, ESTABLISHED, CLOSE_WAIT, steps);
        self.state(client, from_ns + 4_000, FIN_WAIT1, FIN_WAIT2, steps);
        self.plain(client, Kind::Close, from_ns + 9_000, 9_000, steps);
        self.state(server, from_ns + 20_000, CLOSE_WAIT, LAST_ACK, steps);
        self.state(client, from_ns + 22_000, FIN_WAIT2, CLOSE, steps);
        self.state(server, from_ns + 24_000, LAST_ACK, CLOSE, steps);
        self.plain(server, Kind::Close, from_ns + 29_000, 9_500, steps);
    }

    fn data(
        &mut self,
        end: usize,
        kind: Kind,
        boot_ns: u64,
        head: &[u8],
        done_bytes: u64,
        steps: &mut Vec<Step>,
    ) {
        let end = &mut self.ends[end];
        let position = if kind == Kind::Send { &mut end.write_seq } else { &mut end.copied_seq };
        let tcp_seq = *position;
        *position = position.wrapping_add(done_bytes as u32);
        let mut payload = head.to_vec();
        payload.resize((done_bytes as usize).min(SNAP_BYTES).max(head.len()), b'b');
        let head_bytes = payload.len() as u16;
        let mut bits = flags::TURN;
        let mut tail_bytes = 0;
        if done_bytes > u64::from(head_bytes) {
            bits |= flags::PAYLOAD_CUT;
            if done_bytes >= u64::from(head_bytes) + TAIL_BYTES as u64 {
                bits |= flags::PAYLOAD_TAIL;
                tail_bytes = TAIL_BYTES as u16;
                payload.extend_from_slice(&[b'b'; TAIL_BYTES]);
            }
        }
        let call = Call {
            socket_id: end.socket_id,
            duration_ns: 2_000 + boot_ns % 3_000,
            asked_bytes: if kind == Kind::Send { done_bytes } else { 16_384.max(done_bytes) },
            done_bytes,
            arrived_wall_ns: 0,
            tcp_seq,
            flags: bits,
            errno: 0,
            more_records: 0,
            head_bytes,
            tail_bytes,
        };
        steps.push(Step { boot_ns, pid: end.pid, what: What::Call { kind, call, payload } });
    }

    fn plain(&self, end: usize, kind: Kind, boot_ns: u64, duration_ns: u64, steps: &mut Vec<Step>) {
        let end = &self.ends[end];
        let call = Call {
            socket_id: end.socket_id,
            duration_ns,
            asked_bytes: 0,
            done_bytes: 0,
            arrived_wall_ns: 0,
            tcp_seq: 0,
            flags: flags::NO_SEQ,
            errno: 0,
            more_records: 0,
            head_bytes: 0,
            tail_bytes: 0,
        };
        steps.push(Step { boot_ns, pid: end.pid, what: What::Call { kind, call, payload: Vec::new() } });
    }

    fn state(&self, end: usize, boot_ns: u64, old_state: u8, new_state: u8, steps: &mut Vec<Step>) {
        let end = &self.ends[end];
        let state = State {
            socket_id: end.socket_id,
            sk_err: 0,
            write_seq: end.write_seq,
            snd_una: end.write_seq,
            copied_seq: end.copied_seq,
            rcv_nxt: end.copied_seq,
            old_state,
            new_state,
            reserved: 0,
        };
        steps.push(Step { boot_ns, pid: end.pid, what: What::State(state) });
    }

    fn socket(&self, end: usize, boot_ns: u64, opened_boot_ns: u64, steps: &mut Vec<Step>) {
        let (end, peer) = (&self.ends[end], &self.ends[end ^ 1]);
        let socket = Socket {
            socket_id: end.socket_id,
            opened_boot_ns,
            inode: 1_000_000 + end.socket_id,
            netns: 4_026_531_840,
            family: 2,
            protocol: 6,
            local_addr: mapped(end.address),
            remote_addr: mapped(peer.address),
            local_port: end.port,
            remote_port: peer.port,
            role: end.role,
            discovered: 0,
            seq_from_start: 1,
            perhaps: 0,
            first_send_seq: end.write_seq,
            first_receive_seq: end.copied_seq,
        };
        steps.push(Step { boot_ns, pid: end.pid, what: What::Socket(socket) });
    }
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets()
}

/// A request, which is nothing but its head.
fn request(service: u32, random: &mut Random) -> Vec<u8> {
    let id = random.below(20_000);
    let path = match service {
        0 => format!("/things/{id}"),
        1 => format!("/carts/{id}/items"),
        2 => format!("/users/{}/profile", id % 500),
        _ => format!("/search?q=w{}&page={}", id % 300, id % 7),
    };
    let mut head =
        format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: shopper/1.0\r\nAccept: */*\r\n");
    // A String takes whatever is written to it.
    let _ =
        write!(head, "X-Request-Id: {:016x}{:016x}\r\n\r\n", random.below(1 << 31), random.below(1 << 31));
    head.into_bytes()
}

/// The same with four secrets: one that is the user's and three of its own.
fn secret_request(service: u32, random: &mut Random) -> Vec<u8> {
    let user = random.below(2_000);
    let mut word = || format!("{:08x}{:08x}", random.below(1 << 31), random.below(1 << 31));
    let (id, token, session, query) = (word(), word(), word(), word());
    format!(
        "GET /things/{service}?q={query}&page={id} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: shopper/1.0\r\nAccept: */*\r\n\
         Authorization: Bearer {user:040}\r\nCookie: session={session}{token}\r\n\r\n"
    )
    .into_bytes()
}

/// The head of an answer, and the bytes of all of it.
fn response(random: &mut Random) -> (Vec<u8>, u64) {
    let (status, reason) = match random.below(200) {
        0 => (500, "Internal Server Error"),
        1..=3 => (404, "Not Found"),
        _ => (200, "OK"),
    };
    let body_bytes = 100 + pause(random, 3_000);
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nServer: shop/2.4\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    );
    let bytes = head.len() as u64 + body_bytes;
    (head.into_bytes(), bytes)
}
