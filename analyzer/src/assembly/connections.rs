//! Sockets in, connections out: which two recorded sockets are the two ends of one connection.
//!
//! Addresses alone do not say so: the same five-tuple may exist in two network namespaces at once, or one after the
//! other. Two sockets are one connection where their addresses mirror each other *and* what one sends first is what
//! the other receives first, by sequence number. Sockets that are older than the recording have no first
//! byte: within one namespace their lifetimes and positions must fit, and nothing else may. A connect that nobody accepted
//! has no other end: who listens there is told by the listening socket, or by who answered there else.

mod datagrams;
mod tls;

use std::collections::HashMap;
use std::sync::Arc;

use retrospan_formats::error::CaptureError;
use retrospan_formats::reader::Capture;
use retrospan_formats::rows::Columns;
use retrospan_formats::tables::{EVENTS, SocketRow, TCP, TcpRow};
use retrospan_formats::tcp::state::SYN_SENT;

use crate::assembly::socket_ids::SocketIds;
use crate::hashing::IntMap;

pub use crate::assembly::socket_ids::SocketIndex;

/// `sockets.protocol` of datagrams ...
const UDP: &str = "udp";
/// ... of Unix sockets ...
const UNIX: &str = "unix";
/// ... and of sessions of TLS libraries.
const TLS: &str = "tls";

/// Which end of its connection a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not known (yet).
    Unknown,
    /// The requesting side.
    Client,
    /// The answering side.
    Server,
    /// It listens.
    Listener,
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Index into the addresses of [`Sockets`].
    pub(super) address: u32,
    /// Port.
    pub port: u16,
}

/// A watched socket.
#[derive(Clone, Debug)]
pub struct Socket {
    /// `sockets.socket_id`.
    pub id: i64,
    /// Owner, 0 where unknown.
    pub process_id: i64,
    /// Network namespace, 0 where unknown.
    pub netns: i64,
    /// Which end.
    pub role: Role,
    /// Its own end.
    pub local: Option<Endpoint>,
    /// The other end.
    pub remote: Option<Endpoint>,
    /// It moves datagrams, not a stream.
    pub datagrams: bool,
    /// It is a Unix socket: its addresses are paths, and it has no port.
    pub unix: bool,
    /// It is a session of a TLS library.
    pub session: Option<Session>,
    /// Older than the recording.
    pub discovered: bool,
    /// Boot time of its opening, ns.
    pub opened_ns: Option<i64>,
    /// Boot time of its end, ns.
    pub closed_ns: Option<i64>,
    /// Sequence number of the first byte sent.
    pub first_send_seq: Option<u32>,
    /// Sequence number of the first byte received.
    pub first_receive_seq: Option<u32>,
    /// The other end, where it was recorded too.
    pub peer: Option<SocketIndex>,
    /// The other end, where each byte of the connection was stored once.
    pub stored_with: Option<SocketIndex>,
    /// The lower `socket_id` of the connection's recorded ends.
    pub connection_id: i64,
    /// What TCP did by itself before the connection was established; None where that was not recorded.
    pub handshake: Option<Handshake>,
}

/// What is known of a session beyond what is of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// `socket_id` of the socket that it is on, where that is known.
    pub carrier_id: Option<i64>,
    /// That socket, where it was recorded.
    pub carrier: Option<SocketIndex>,
}

impl Session {
    fn of(row: &SocketRow<'_>) -> Option<Session> {
        (row.protocol == TLS).then_some(Session { carrier_id: row.carrier_socket_id, carrier: None })
    }
}

/// What TCP did by itself while a socket was connecting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// SYNs sent again.
    pub again: u32,
    /// A RST came.
    pub reset: bool,
}

/// All watched sockets.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    all: Vec<Socket>,
    by_id: SocketIds,
    addresses: Vec<Arc<str>>,
    /// TCP's own doings were recorded.
    with_tcp: bool,
    /// Sockets that were opened earlier (boot time, ns) are discovered; None where the recording saw to that.
    began_ns: Option<i64>,
    /// Listening sockets by namespace and port.
    listeners: IntMap<(i64, u16), Vec<SocketIndex>>,
    /// Who answered at an address of a namespace, and since when: processes as they follow each other.
    answering: IntMap<(i64, Endpoint), Vec<(i64, i64)>>,
    /// TLS sessions by the socket that they are on.
    sessions: IntMap<SocketIndex, Vec<SocketIndex>>,
}

/// Reads table `sockets` and joins the ends of connections; adds what `tcp` says of handshakes.
pub fn read(capture: &Capture) -> Result<Sockets, CaptureError> {
    let wanted = capture.manifest.options.get("evidence").and_then(|names| names.as_array());
    let with_tcp = wanted.is_some_and(|names| names.iter().any(|name| name == TCP.name))
        || capture.manifest.files.iter().any(|file| file.table == TCP.name);
    // What happened on a connection before what was let go of is not there, as if it had been before the recording.
    let began_ns = capture.manifest.rolled.as_ref().map(|_| capture.manifest.started_boot_ns);
    let mut sockets = Sockets { with_tcp, began_ns, ..Sockets::default() };
    let (mut known, mut stored_with) = (HashMap::new(), Vec::new());
    for rows in capture.rows::<SocketRow>() {
        sockets.add(&rows?, &mut known, &mut stored_with);
    }
    drop(known);
    let stored_with: Vec<_> =
        stored_with.into_iter().filter_map(|(index, peer)| Some((index, sockets.by_id.get(peer)?))).collect();
    let named: IntMap<SocketIndex, SocketIndex> = stored_with.iter().copied().collect();
    for (index, peer) in stored_with.into_iter().filter(|(index, peer)| index != peer) {
        // Each must name the other.
        sockets.all[index as usize].stored_with =
            named.get(&peer).filter(|&&back| back == index).map(|_| peer);
    }
    for rows in capture.rows::<TcpRow>() {
        sockets.add_handshakes(&rows?);
    }
    capture.numbers(&EVENTS, "socket_id", |ids| sockets.add_unnamed(ids))?;
    sockets.join();
    sockets.join_unspecified();
    sockets.join_named();
    sockets.join_sessions();
    sockets.find_listeners();
    Ok(sockets)
}

impl Sockets {
    /// The socket at `index`.
    pub fn get(&self, index: SocketIndex) -> &Socket {
        &self.all[index as usize]
    }

    /// Each socket.
    pub fn all(&self) -> impl Iterator<Item = &Socket> {
        self.all.iter()
    }

    /// The place of a socket: None where neither a row nor an event names it.
    pub fn find(&self, socket_id: i64) -> Option<SocketIndex> {
        self.by_id.get(socket_id)
    }

    /// The process that listens where this socket connects to, or that answered there last; None where several do.
    pub fn listening(&self, socket: &Socket, at_ns: i64) -> Option<i64> {
        let remote = socket.remote?;
        let is_local = remote_is_local(self, socket);
        let there = |listener: &&Socket| {
            let local = listener.local.is_some_and(|local| {
                local == remote || (is_local && matches!(self.address(local), "0.0.0.0" | "::"))
            });
            let (from_ns, to_ns) = (listener.opened_ns.unwrap_or(0), listener.closed_ns.unwrap_or(i64::MAX));
            local && listener.process_id != 0 && from_ns <= at_ns && at_ns <= to_ns
        };
        let listeners = self.listeners.get(&(socket.netns, remote.port)).map_or(&[][..], Vec::as_slice);
        let mut found = listeners.iter().map(|&index| self.get(index)).filter(there).map(|l| l.process_id);
        if let Some(first) = found.next() {
            return found.all(|other| other == first).then_some(first);
        }
        let processes = self.answering.get(&(socket.netns, remote))?;
        let later = processes.partition_point(|&(from_ns, _)| from_ns <= at_ns);
        processes.get(later.saturating_sub(1)).map(|&(_, process_id)| process_id)
    }

    /// The address of an endpoint as text.
    pub fn address(&self, endpoint: Endpoint) -> &str {
        &self.addresses[endpoint.address as usize]
    }

    fn add(
        &mut self,
        rows: &Columns<SocketRow<'static>>,
        known: &mut HashMap<Arc<str>, u32>,
        stored_with: &mut Vec<(SocketIndex, i64)>,
    ) {
        for row in rows.iter() {
            let is_unix = row.protocol == UNIX;
            let mut endpoint = |address: Option<&str>, port: Option<i32>| {
                let address = address.filter(|address| !address.is_empty());
                // Port 0 is an end that was never chosen, or that a failed connect took away again.
                let port = port.or(Some(0)).filter(|&port| is_unix || port != 0)? as u16;
                Some(Endpoint { address: intern(address?, &mut self.addresses, known), port })
            };
            let local = endpoint(Some(row.local_addr), Some(row.local_port));
            let remote = endpoint(row.remote_addr, row.remote_port);
            let mut socket = Socket::of(&row, local, remote, self.with_tcp.then(Handshake::default));
            if socket.opened_ns.zip(self.began_ns).is_some_and(|(opened_ns, began_ns)| opened_ns < began_ns) {
                (socket.discovered, socket.opened_ns) = (true, None);
            }
            let index = match self.by_id.get(socket.id) {
                Some(index) => {
                    self.all[index as usize] = socket;
                    index
                }
                None => {
                    let index = self.all.len() as SocketIndex;
                    self.by_id.insert(socket.id, index);
                    self.all.push(socket);
                    index
                }
            };
            stored_with.extend(row.peer_socket_id.map(|peer| (index, peer)));
        }
    }

    /// Sockets of events whose own rows were lost have no addresses.
    fn add_unnamed(&mut self, ids: &[i64]) {
        for &id in ids {
            if self.by_id.get(id).is_some() {
                continue;
            }
            self.by_id.insert(id, self.all.len() as SocketIndex);
            let handshake = self.with_tcp.then(Handshake::default);
            self.all.push(Socket::unnamed(id, handshake));
        }
    }

    /// Counts what TCP did by itself in state SYN_SENT.
    fn add_handshakes(&mut self, rows: &Columns<TcpRow<'static>>) {
        for row in rows.iter().filter(|row| row.tcp_state == Some(SYN_SENT)) {
            let Some(index) = row.socket_id.and_then(|id| self.by_id.get(id)) else { continue };
            let Some(seen) = &mut self.all[index as usize].handshake else { continue };
            match row.kind {
                "retransmit" => seen.again = seen.again.saturating_add(1),
                "reset_received" => seen.reset = true,
                _ => {}
            }
        }
    }

    /// Notes who listens, and who answered where.
    fn find_listeners(&mut self) {
        for (index, socket) in self.all.iter().enumerate() {
            if let (Role::Listener, Some(local)) = (socket.role, socket.local) {
                let of_port = self.listeners.entry((socket.netns, local.port)).or_default();
                of_port.push(index as SocketIndex);
            }
            if let (Role::Client, Some(remote), Some(peer)) = (socket.role, socket.remote, socket.peer) {
                let process_id = self.all[peer as usize].process_id;
                let from_ns = socket.opened_ns.unwrap_or(0);
                if process_id != 0 {
                    self.answering.entry((socket.netns, remote)).or_default().push((from_ns, process_id));
                }
            }
        }
        for processes in self.answering.values_mut() {
            processes.sort_unstable();
            processes.dedup_by_key(|(_, process_id)| *process_id);
            processes.shrink_to_fit();
        }
    }

    /// Joins sockets whose addresses mirror each other.
    fn join(&mut self) {
        let mut candidates: Vec<(u128, i64, SocketIndex)> = Vec::new();
        for (index, socket) in self.all.iter().enumerate() {
            if let (Some(local), Some(remote)) = (socket.local, socket.remote)
                && socket.role != Role::Listener
                && socket.session.is_none()
            {
                candidates.push((both(local, remote), socket.id, index as SocketIndex));
            }
        }
        candidates.sort_unstable();
        let (mut group, mut by_first) = (Vec::new(), IntMap::default());
        for same in candidates.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            group.clear();
            group.extend(same.iter().map(|candidate| candidate.2));
            self.join_exact(&group, &mut by_first);
            self.join_discovered(&group);
        }
    }

    /// Ends whose first bytes are the same in both directions. `by_first` is room for that, whatever is in it.
    fn join_exact(&mut self, group: &[SocketIndex], by_first: &mut IntMap<FirstBytes, SocketIndex>) {
        by_first.clear();
        for &index in group {
            let socket = self.get(index);
            let Some((send, receive)) = first_bytes(socket) else { continue };
            if let Some(&other) = by_first.get(&(receive, send, socket.remote, socket.local)) {
                self.pair(index, other);
            } else {
                by_first.insert((send, receive, socket.local, socket.remote), index);
            }
        }
    }

    /// Ends of which at least one is older than the recording: only where no other candidate is left.
    fn join_discovered(&mut self, group: &[SocketIndex]) {
        let single: Vec<_> = group.iter().copied().filter(|&i| self.get(i).peer.is_none()).collect();
        if single.len() > MAX_DISCOVERED_GROUP {
            return;
        }
        let partners = |one: SocketIndex| -> Vec<SocketIndex> {
            single.iter().copied().filter(|&two| one != two && self.may_be_one(one, two)).collect()
        };
        let found: Vec<_> = single.iter().map(|&one| (one, partners(one))).collect();
        for (one, partners) in &found {
            if let [two] = partners[..]
                && *one < two
                && found.iter().any(|(index, back)| *index == two && back[..] == [*one])
            {
                self.pair(*one, two);
            }
        }
    }

    fn may_be_one(&self, one: SocketIndex, two: SocketIndex) -> bool {
        let (a, b) = (self.get(one), self.get(two));
        if a.local != b.remote || a.remote != b.local {
            return false;
        }
        if first_bytes(a).is_some() && first_bytes(b).is_some() {
            return false;
        }
        let near = |x: Option<u32>, y: Option<u32>, limit: i32| match (x, y) {
            (Some(x), Some(y)) => (x.wrapping_sub(y) as i32).checked_abs().is_some_and(|d| d < limit),
            _ => true,
        };
        let limit = if a.netns == b.netns { NEAR_IN_NAMESPACE } else { NEAR };
        let known = a.first_send_seq.is_some() && b.first_send_seq.is_some();
        (a.netns == b.netns || known)
            && near(a.first_send_seq, b.first_receive_seq, limit)
            && near(a.first_receive_seq, b.first_send_seq, limit)
            && a.opened_ns.unwrap_or(0) <= b.closed_ns.unwrap_or(i64::MAX)
            && b.opened_ns.unwrap_or(0) <= a.closed_ns.unwrap_or(i64::MAX)
    }

    /// Joins Unix sockets, whose other ends are known.
    fn join_named(&mut self) {
        for index in 0..self.all.len() as SocketIndex {
            let socket = self.get(index);
            if let Some(other) = socket.stored_with.filter(|_| socket.unix && socket.peer.is_none()) {
                self.pair(index, other);
            }
        }
    }

    fn pair(&mut self, one: SocketIndex, two: SocketIndex) {
        let id = self.get(one).id.min(self.get(two).id);
        for (index, other) in [(one, two), (two, one)] {
            let socket = &mut self.all[index as usize];
            socket.peer = Some(other);
            socket.connection_id = id;
        }
    }
}

/// Two ends as one number, whichever is asked first; such numbers are in the order of their ends.
fn both(one: Endpoint, other: Endpoint) -> u128 {
    let number = |end: Endpoint| u128::from(end.address) << 16 | u128::from(end.port);
    number(one.min(other)) << 64 | number(one.max(other))
}

/// Sequence numbers of the first bytes sent and received, and the addresses from the same point of view.
type FirstBytes = (u32, u32, Option<Endpoint>, Option<Endpoint>);

/// Two ends were first seen at different moments; as much may have flowed in between. Within a namespace only
/// one connection can have these addresses, so that much is enough.
const NEAR_IN_NAMESPACE: i32 = 1 << 30;
/// Between namespaces (a veth pair) nothing but the numbers tells connections apart.
const NEAR: i32 = 1 << 24;
/// More ends than this with one pair of addresses are not compared with each other.
const MAX_DISCOVERED_GROUP: usize = 256;

/// Whether a socket connects to an address of its own namespace: then a listener at any address may be meant.
fn remote_is_local(sockets: &Sockets, socket: &Socket) -> bool {
    let Some(remote) = socket.remote else { return false };
    let text = sockets.address(remote);
    text.starts_with("127.")
        || text == "::1"
        || socket.local.is_some_and(|local| local.address == remote.address)
}

fn first_bytes(socket: &Socket) -> Option<(u32, u32)> {
    if socket.discovered { None } else { socket.first_send_seq.zip(socket.first_receive_seq) }
}

impl Socket {
    fn of(
        row: &SocketRow<'_>,
        local: Option<Endpoint>,
        remote: Option<Endpoint>,
        handshake: Option<Handshake>,
    ) -> Socket {
        Socket {
            id: row.socket_id,
            process_id: row.process_id.unwrap_or_default(),
            netns: row.netns,
            role: Role::of(row.role),
            local,
            remote,
            datagrams: row.protocol == UDP,
            unix: row.protocol == UNIX,
            session: Session::of(row),
            discovered: row.discovered,
            opened_ns: row.opened_boot_ns,
            closed_ns: row.closed_boot_ns,
            first_send_seq: row.first_send_seq,
            first_receive_seq: row.first_receive_seq,
            peer: None,
            stored_with: None,
            connection_id: row.socket_id,
            handshake,
        }
    }

    /// One of which nothing is known.
    fn unnamed(id: i64, handshake: Option<Handshake>) -> Socket {
        Socket {
            id,
            process_id: 0,
            netns: 0,
            role: Role::Unknown,
            local: None,
            remote: None,
            datagrams: false,
            unix: false,
            session: None,
            discovered: true,
            opened_ns: None,
            closed_ns: None,
            first_send_seq: None,
            first_receive_seq: None,
            peer: None,
            stored_with: None,
            connection_id: id,
            handshake,
        }
    }
}

impl Role {
    fn of(name: &str) -> Role {
        match name {
            "client" => Role::Client,
            "server" => Role::Server,
            "listener" => Role::Listener,
            _ => Role::Unknown,
        }
    }
}

/// The place of an address among those seen.
fn intern(text: &str, addresses: &mut Vec<Arc<str>>, known: &mut HashMap<Arc<str>, u32>) -> u32 {
    if let Some(&index) = known.get(text) {
        return index;
    }
    let (text, index): (Arc<str>, _) = (text.into(), addresses.len() as u32);
    addresses.push(text.clone());
    known.insert(text, index);
    index
}
