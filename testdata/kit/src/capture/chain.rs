//! The chain's sockets and connections as a kernel would keep them: sequence numbers, states, who has which.

use std::rc::Rc;

use retrospan_formats::event::{Kind, flags};
use retrospan_formats::tcp::errno;
use retrospan_formats::tcp::state::{
    CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV, SYN_SENT,
};

use super::timeline::Timeline;
use super::{PORTS, Plan};
use retrospan_random::Random;

/// A row of `events`; times are ns from the begin of the recording.
#[derive(Clone, Debug)]
pub struct Event {
    pub at_ns: i64,
    pub duration_ns: i64,
    pub socket: usize,
    /// 0 where nobody called: a soft interrupt.
    pub tid: i32,
    pub kind: Kind,
    pub asked: usize,
    pub errno: i32,
    pub tcp_seq: Option<u32>,
    pub flags: u32,
    pub state: Option<Change>,
    pub payload: Option<Rc<[u8]>>,
    pub queued_us: Option<i32>,
}

/// What a `state` row shows.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub sk_err: i32,
    pub sent: u32,
    pub acknowledged: u32,
    pub copied: u32,
    pub arrived: u32,
    pub old: u8,
    pub new: u8,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Socket {
    /// Index of its process.
    pub process: usize,
    pub tid: i32,
    pub client: bool,
    pub local_port: u16,
    pub remote_port: u16,
    pub opened_ns: i64,
    pub closed_ns: Option<i64>,
    pub first_send: u32,
    pub first_receive: u32,
    /// Bytes sent and taken.
    pub sent: u32,
    pub taken: u32,
    /// It is the end that a connect did not find.
    pub missing: bool,
    state: u8,
}

/// Three connections in a row, from the client to the server: ends in order, so that 2h and 2h+1 are hop h's.
#[derive(Clone, Debug)]
pub struct Lane {
    pub sockets: [usize; 6],
    pub free_ns: i64,
}

/// A request that trouble delayed or failed.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub window: usize,
    /// The requesting end at the place.
    pub socket: usize,
    pub from_ns: i64,
    pub to_ns: i64,
}

/// Everything that happens.
#[derive(Debug)]
pub struct Chain<'a> {
    pub plan: &'a Plan,
    pub timeline: &'a Timeline,
    pub random: Random,
    pub sockets: Vec<Socket>,
    pub lanes: Vec<Lane>,
    /// Not written yet, in no order.
    pub events: Vec<Event>,
    pub held: Vec<Held>,
    /// SYNs sent again: when, and by which socket.
    pub syns: Vec<(i64, usize)>,
    pub requests: u64,
}

pub const US: i64 = 1000;
/// Threads of a process.
pub const WORKERS: usize = 8;
/// First pid of the chain; thread ids follow in steps.
pub const PID: i32 = 1000;

const EPIPE: i32 = errno::EPIPE as i32;
const EINPROGRESS: i32 = errno::EINPROGRESS as i32;

/// The pid of a process of the chain.
pub fn pid(process: usize) -> i32 {
    PID + 100 * process as i32
}

impl<'a> Chain<'a> {
    pub fn new(plan: &'a Plan, timeline: &'a Timeline) -> Chain<'a> {
        Chain {
            plan,
            timeline,
            random: Random::new(plan.seed),
            sockets: Vec::new(),
            lanes: Vec::new(),
            events: Vec::new(),
            held: Vec::new(),
            syns: Vec::new(),
            requests: 0,
        }
    }

    /// The client opens a connection, and each proxy one of its own for it. Free once all are there.
    pub fn open_lane(&mut self, number: usize, at_ns: i64) -> Lane {
        let first = self.sockets.len();
        let mut at_ns = at_ns;
        for hop in 0..3 {
            at_ns = self.connect(hop, number % WORKERS, at_ns, 0) + 20 * US;
        }
        Lane { sockets: std::array::from_fn(|end| first + end), free_ns: at_ns + 1000 * US }
    }

    /// Opens a connection whose SYN is taken after `wait_ns`; tells when it is accepted.
    pub fn connect(&mut self, hop: usize, worker: usize, at_ns: i64, wait_ns: i64) -> i64 {
        let client = self.syn(hop, worker, at_ns, wait_ns > 0);
        let server = client + 1;
        let taken_ns = at_ns + wait_ns;
        self.sockets[server].missing = false;
        self.sockets[server].opened_ns = taken_ns;
        self.change(server, SYN_RECV, taken_ns + 5 * US, 0);
        self.change(client, ESTABLISHED, taken_ns + 10 * US, 0);
        self.change(server, ESTABLISHED, taken_ns + 14 * US, 0);
        self.call(server, Kind::Accept, taken_ns + 30 * US, 5 * US);
        taken_ns + 30 * US
    }

    /// Both ends of a connection of which only the first SYN has left. Where it is not taken at once the call does not wait.
    pub fn syn(&mut self, hop: usize, worker: usize, at_ns: i64, waits: bool) -> usize {
        let starts = [self.random.bits() as u32, self.random.bits() as u32];
        let ports = [32_768 + (self.sockets.len() % 28_000) as u16, PORTS[hop]];
        let client = self.sockets.len();
        for end in 0..2 {
            self.sockets.push(Socket {
                process: hop + end,
                tid: pid(hop + end) + worker as i32,
                client: end == 0,
                local_port: ports[end],
                remote_port: ports[1 - end],
                opened_ns: at_ns,
                closed_ns: None,
                first_send: starts[end],
                first_receive: starts[1 - end],
                sent: 0,
                taken: 0,
                missing: end == 1,
                state: if end == 0 { CLOSE } else { LISTEN },
            });
        }
        self.change(client, SYN_SENT, at_ns, 0);
        let errno = if waits { EINPROGRESS } else { 0 };
        self.call_failed(client, Kind::Connect, at_ns + 15 * US, 15 * US, errno);
        client
    }

    /// The process closes what was never established.
    pub fn abandon(&mut self, client: usize, at_ns: i64) {
        self.change(client, CLOSE, at_ns, 0);
        self.call(client, Kind::Close, at_ns + US, US);
    }

    /// The process closes after the other side has; what it had not taken by then nobody will.
    pub fn close_after(&mut self, server: usize, at_ns: i64) {
        if self.sockets[server].taken == 0 {
            self.change(server, CLOSE, at_ns, 0);
        } else {
            self.change(server, LAST_ACK, at_ns, 0);
            self.change(server, CLOSE, at_ns + 5 * US, 0);
        }
        self.call(server, Kind::Close, at_ns + 6 * US, 7 * US);
    }

    /// Bytes leave; the call begins at `at_ns`.
    pub fn send(&mut self, socket: usize, at_ns: i64, bytes: &Rc<[u8]>) {
        let s = &mut self.sockets[socket];
        let tcp_seq = s.first_send.wrapping_add(s.sent);
        s.sent = s.sent.wrapping_add(bytes.len() as u32);
        let duration_ns = 4 * US;
        self.data(socket, Kind::Send, at_ns + duration_ns, duration_ns, tcp_seq, bytes, bytes.len());
    }

    /// Bytes are taken; the call ends at `at_ns`.
    pub fn receive(&mut self, socket: usize, at_ns: i64, bytes: &Rc<[u8]>) {
        let s = &mut self.sockets[socket];
        let tcp_seq = s.first_receive.wrapping_add(s.taken);
        s.taken = s.taken.wrapping_add(bytes.len() as u32);
        self.data(socket, Kind::Receive, at_ns, 3 * US, tcp_seq, bytes, 16_384);
    }

    /// The same of bytes that arrived at `arrived_ns`.
    pub fn receive_late(&mut self, socket: usize, arrived_ns: i64, at_ns: i64, bytes: &Rc<[u8]>) {
        self.receive(socket, at_ns, bytes);
        if let Some(event) = self.events.last_mut() {
            event.queued_us = i32::try_from((at_ns - arrived_ns) / 1_000).ok();
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of one row")]
    fn data(
        &mut self,
        socket: usize,
        kind: Kind,
        at_ns: i64,
        duration_ns: i64,
        tcp_seq: u32,
        bytes: &Rc<[u8]>,
        asked: usize,
    ) {
        self.events.push(Event {
            at_ns,
            duration_ns,
            socket,
            tid: self.sockets[socket].tid,
            kind,
            asked,
            errno: 0,
            tcp_seq: Some(tcp_seq),
            flags: flags::TURN | flags::REDACTED,
            state: None,
            payload: Some(Rc::clone(bytes)),
            queued_us: None,
        });
    }

    fn call(&mut self, socket: usize, kind: Kind, at_ns: i64, duration_ns: i64) {
        self.call_failed(socket, kind, at_ns, duration_ns, 0);
    }

    fn call_failed(&mut self, socket: usize, kind: Kind, at_ns: i64, duration_ns: i64, errno: i32) {
        let tid = self.sockets[socket].tid;
        let (asked, tcp_seq, state, payload) = (0, None, None, None);
        let flags = flags::NO_SEQ;
        self.events.push(Event {
            at_ns,
            duration_ns,
            socket,
            tid,
            kind,
            asked,
            errno,
            tcp_seq,
            flags,
            state,
            payload,
            queued_us: None,
        });
    }

    /// The kernel changes a socket's state; all that was sent until then was acknowledged, unless it ends in error.
    fn change(&mut self, socket: usize, new: u8, at_ns: i64, sk_err: i32) {
        let taken = self.sockets[socket].taken;
        self.change_taken(socket, new, at_ns, sk_err, taken);
    }

    /// The same where the process had taken `taken` bytes by then.
    fn change_taken(&mut self, socket: usize, new: u8, at_ns: i64, sk_err: i32, taken: u32) {
        let peer = if self.sockets[socket].client { socket + 1 } else { socket - 1 };
        let of_peer = self.sockets[peer].sent;
        let s = &mut self.sockets[socket];
        let old = std::mem::replace(&mut s.state, new);
        if new == CLOSE {
            s.closed_ns = Some(at_ns);
        }
        let (fin_out, fin_in) = (matches!(old, 4 | 5 | 9), matches!(old, 8 | 9) || new == CLOSE_WAIT);
        let sent = s.first_send.wrapping_add(s.sent).wrapping_add(u32::from(fin_out));
        let acknowledged =
            if sk_err == 0 { sent } else { s.first_send.wrapping_add(s.sent.saturating_sub(1)) };
        let arrived = s.first_receive.wrapping_add(of_peer).wrapping_add(u32::from(fin_in));
        let copied = s.first_receive.wrapping_add(taken);
        // Only a SYN leaves in the call that wants it.
        let tid = if new == SYN_SENT { self.sockets[socket].tid } else { 0 };
        self.events.push(Event {
            at_ns,
            duration_ns: 0,
            socket,
            tid,
            kind: Kind::State,
            asked: 0,
            errno: 0,
            tcp_seq: None,
            flags: 0,
            state: Some(Change { sk_err, sent, acknowledged, copied, arrived, old, new }),
            payload: None,
            queued_us: None,
        });
    }

    /// One end closes, then the other.
    pub fn close(&mut self, first: usize, at_ns: i64) -> i64 {
        let second = if self.sockets[first].client { first + 1 } else { first - 1 };
        self.call(first, Kind::Close, at_ns, US);
        self.change(first, FIN_WAIT1, at_ns + US, 0);
        self.change(second, CLOSE_WAIT, at_ns + 5 * US, 0);
        self.change(first, FIN_WAIT2, at_ns + 8 * US, 0);
        self.call(second, Kind::Close, at_ns + 40 * US, US);
        self.change(second, LAST_ACK, at_ns + 41 * US, 0);
        self.change(first, CLOSE, at_ns + 44 * US, 0);
        self.change(second, CLOSE, at_ns + 46 * US, 0);
        at_ns + 50 * US
    }

    /// The client closes while it waits; the proxy had taken `taken` bytes by then.
    pub fn leave(&mut self, client: usize, at_ns: i64, taken: u32) {
        self.call(client, Kind::Close, at_ns, US);
        self.change(client, FIN_WAIT1, at_ns + US, 0);
        self.change_taken(client + 1, CLOSE_WAIT, at_ns + 5 * US, 0, taken);
        self.change(client, FIN_WAIT2, at_ns + 8 * US, 0);
        self.change(client, CLOSE, at_ns + 12 * US, 0);
    }

    /// The answer that was just sent meets nobody.
    pub fn refused(&mut self, server: usize, at_ns: i64) {
        self.change(server, CLOSE, at_ns, EPIPE);
    }
}
