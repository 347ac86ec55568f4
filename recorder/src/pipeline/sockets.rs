//! The watched sockets that are open, and the rows of `sockets`.
//!
//! In: socket records (the latest of an id holds), calls that tell the owner, state changes that tell the
//! end. A socket that closed is kept until the next part, because calls may still report after it.
//!
//! Two sockets that are the ends of one connection share what redaction knows of its data: the one that was there first
//! has it, as it sees it.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::config::SOCKET_PLACES;
use retrospan_formats::event::{self, Kind, role};
use retrospan_formats::rows::Writer;
use retrospan_formats::tables::SocketRow;
use retrospan_formats::tcp::state;
use retrospan_protocols::redact::Stream;

use crate::fast_map::FastMap;

/// Calls that were under way when a socket closed are reported within that time, ns of event time.
const STREAM_KEPT_NS: u64 = 2_000_000_000;
/// More sockets than the kernel programs have room for cannot be open: the closing of some was lost.
const MOST_OPEN: usize = 262_144 + SOCKET_PLACES as usize;

/// What is known of a socket, its addresses apart: they become text when it is written.
#[derive(Clone, Debug)]
pub struct KnownSocket {
    /// The row without its addresses.
    pub row: SocketRow<'static>,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// Remote address and port; `None` for a listener.
    pub remote: Option<(IpAddr, u16)>,
    /// Of a Unix socket instead of both: its path, or its other end's.
    pub path: Option<Box<str>>,
}

/// Sockets as rows of `sockets`.
pub fn batch(sockets: &[KnownSocket]) -> Result<RecordBatch, ArrowError> {
    let mut writer = Writer::<SocketRow>::new();
    for KnownSocket { row, local, remote, path } in sockets {
        if let Some(path) = path {
            let is_own = row.role != "client";
            let (local_addr, remote_addr) =
                if is_own { (&**path, None) } else { ("", Some(&**path).filter(|path| !path.is_empty())) };
            writer.push(&SocketRow { local_addr, remote_addr, ..*row });
            continue;
        }
        let (local_addr, remote_addr) = (local.0.to_string(), remote.map(|(address, _)| address.to_string()));
        writer.push(&SocketRow {
            local_addr: &local_addr,
            local_port: local.1.into(),
            remote_addr: remote_addr.as_deref(),
            remote_port: remote.map(|(_, port)| port.into()),
            ..*row
        });
    }
    writer.take()
}

/// One socket.
#[derive(Debug, Default)]
pub struct Entry {
    /// The latest record; `None` where it was lost.
    pub(super) record: Option<event::Socket>,
    owner: Option<i64>,
    /// The owner is told by a call, not guessed from who was seen with the socket.
    owner_is_sure: bool,
    pub(super) closed_boot_ns: Option<u64>,
    pub(super) changed: bool,
    /// Something happened on it since the last part.
    touched: bool,
    /// Number of the part that something happened on it in last.
    last_part: u32,
    /// What redaction knows of its data, from the first data on until a while after the socket closed.
    pub(super) stream: Option<Box<Stream>>,
    /// The connection's other end.
    pub(super) peer: Option<u64>,
    /// That is where the stream is.
    pub(super) stream_at_peer: bool,
    /// The stream is as the other end sees it.
    pub(super) mirrored: bool,
    /// It closed a while ago: nothing is known of its data any more.
    ended: bool,
    /// Of a Unix socket: its path, or its other end's.
    pub(super) path: Option<Box<str>>,
    /// Of a TLS session: the socket that it is on.
    pub(super) carrier: Option<u64>,
}

/// What redaction knows of the data of a connection, as one of its ends sees it.
pub struct StreamOf<'a> {
    /// The data.
    pub stream: &'a mut Stream,
    /// It is the other end that sees it so.
    pub mirrored: bool,
    /// Both ends' calls come to it.
    pub shared: bool,
    /// The connection existed before the recording, or may have.
    pub discovered: bool,
    /// Its ports.
    pub ports: [u16; 2],
}

/// Address and port of both ends of a connection, the own one first.
type Ends = ([u8; 16], u16, [u8; 16], u16);

/// TLS sessions by process (id and key), those whose process is gone, and how many there were.
#[derive(Debug, Default)]
pub(super) struct TlsSessions {
    pub(super) of_process: FastMap<u32, Vec<(u64, u64)>>,
    pub(super) gone: Vec<u64>,
    pub(super) gone_pids: Vec<u32>,
    pub(super) sessions: u64,
    pub(super) untied: u64,
}

/// All sockets that are open, and those that closed since the last part.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) entries: FastMap<u64, Entry>,
    /// Owners found at the start, by inode.
    owners: FastMap<u64, i64>,
    /// Sockets that closed, and when, in that order: their streams are kept a little.
    pub(super) closed: VecDeque<(u64, u64)>,
    /// Number of the current part.
    part: u32,
    /// Sockets that a record came of.
    seen: u64,
    /// The two ends of a connection share a stream.
    pub(super) pairs: bool,
    /// The last socket with these addresses.
    by_ends: HashMap<Ends, u64>,
    /// TLS sessions of processes.
    pub(super) tls: TlsSessions,
}

impl Entry {
    /// The process that owns it, as far as is known.
    pub fn owner(&self) -> Option<i64> {
        self.owner
    }

    /// [`role`].
    pub fn role(&self) -> u8 {
        self.record.map_or(role::UNKNOWN, |r| r.role)
    }

    /// Its own port; 0 where it is not known.
    pub fn local_port(&self) -> u16 {
        self.record.map_or(0, |r| r.local_port)
    }

    /// It existed before the recording, or may have.
    pub fn discovered(&self) -> bool {
        self.record.is_none_or(|r| r.discovered != 0)
    }

    /// A call of this kind was made by that process.
    pub fn called(&mut self, kind: Kind, process_id: Option<i64>) {
        let sure = matches!(kind, Kind::Connect | Kind::Accept | Kind::Listen);
        let better = self.owner.is_none() || (sure && !self.owner_is_sure);
        if better && process_id.is_some() && self.owner != process_id {
            self.owner = process_id;
            self.changed = true;
        }
        self.owner_is_sure |= sure && process_id.is_some();
    }

    /// Its ports; 0 where its record was lost.
    fn ports(&self) -> [u16; 2] {
        self.record.as_ref().map_or([0, 0], |record| [record.local_port, record.remote_port])
    }

    /// Addresses and ports, of a TCP socket that is connected.
    fn ends(&self) -> Option<Ends> {
        let record = self.record.as_ref()?;
        let connected = record.role != role::LISTENER && record.local_port != 0 && record.remote_port != 0;
        let is_tcp = i32::from(record.protocol) == libc::IPPROTO_TCP;
        let ends = (record.local_addr, record.local_port, record.remote_addr, record.remote_port);
        (connected && is_tcp).then_some(ends)
    }

    /// Whether the socket with the opposite addresses is the other end. Addresses alone may exist in two network namespaces at
    /// once: the first byte sent must be the first one received, or the namespace the same.
    fn is_end_of(&self, other: &Entry) -> bool {
        let (Some(one), Some(two)) = (&self.record, &other.record) else { return false };
        let both = |has: fn(&Entry) -> bool| has(self) && has(other);
        if !both(|end| end.peer.is_none() && end.closed_boot_ns.is_none()) || both(|end| end.stream.is_some())
        {
            return false;
        }
        if self.discovered() != other.discovered() {
            // An older socket whose end was lost may have had these addresses before.
            return false;
        }
        if self.discovered() {
            return one.netns == two.netns;
        }
        let same = |sent: u32, received: u32| sent == received && sent != 0;
        same(one.first_send_seq, two.first_receive_seq) && same(two.first_send_seq, one.first_receive_seq)
    }

    /// The TCP state changed.
    fn state(&mut self, new_state: u8, boot_ns: u64) {
        if new_state == state::CLOSE {
            self.closed_boot_ns = Some(boot_ns);
            self.changed = true;
        }
    }

    fn known(&self, socket_id: u64) -> Option<KnownSocket> {
        let record = self.record.as_ref()?;
        let is_listener = record.role == role::LISTENER;
        let is_unix = i32::from(record.family) == libc::AF_UNIX;
        let has_seqs = !is_listener && (record.first_send_seq, record.first_receive_seq) != (0, 0);
        let row = SocketRow {
            socket_id: socket_id as i64,
            process_id: self.owner,
            netns: i64::from(record.netns),
            family: family_name(record.family),
            protocol: match i32::from(record.protocol) {
                _ if is_unix => "unix",
                _ if record.protocol == event::PROTOCOL_TLS => "tls",
                libc::IPPROTO_MPTCP => "mptcp",
                _ => "tcp",
            },
            role: role_name(record.role),
            inode: (record.inode != 0).then_some(record.inode as i64),
            discovered: record.discovered != 0,
            opened_boot_ns: (record.opened_boot_ns != 0).then_some(record.opened_boot_ns as i64),
            closed_boot_ns: self.closed_boot_ns.map(|ns| ns as i64),
            first_send_seq: has_seqs.then_some(record.first_send_seq),
            first_receive_seq: has_seqs.then_some(record.first_receive_seq),
            peer_socket_id: self.peer.map(|id| id as i64),
            carrier_socket_id: self.carrier.map(|id| id as i64),
            ..SocketRow::default()
        };
        let local = (address(record.local_addr), record.local_port);
        let remote = (!is_listener).then(|| (address(record.remote_addr), record.remote_port));
        let path = is_unix.then(|| self.path.clone().unwrap_or_default());
        Some(KnownSocket { row, local, remote, path })
    }
}

impl Sockets {
    /// No socket yet. `pairs`: the two ends of a connection share a stream.
    pub fn new(pairs: bool) -> Sockets {
        Sockets { pairs, ..Sockets::default() }
    }

    /// Tells who held each socket at the start, by inode.
    pub fn set_owners(&mut self, owners: FastMap<u64, i64>) {
        self.owners = owners;
    }

    /// Takes a socket record; `process_id` is who was seen with the socket, if anyone.
    pub fn record(&mut self, record: event::Socket, process_id: Option<i64>) {
        let entry = self.entries.entry(record.socket_id).or_default();
        if entry.owner.is_none() {
            let holder = self.owners.get(&record.inode).copied();
            let known_before = if record.discovered != 0 { holder } else { None };
            entry.owner = known_before.or(process_id);
        }
        self.seen += u64::from(entry.record.is_none());
        entry.record = Some(record);
        entry.changed = true;
        if self.pairs && entry.peer.is_none() {
            self.pair(record.socket_id);
        }
    }

    /// Joins a socket with the other end of its connection, where that is known.
    fn pair(&mut self, id: u64) {
        let Some(ends) = self.entries.get(&id).and_then(Entry::ends) else { return };
        self.by_ends.insert(ends, id);
        let opposite = (ends.2, ends.3, ends.0, ends.1);
        let Some(&other) = self.by_ends.get(&opposite).filter(|&&other| other != id) else { return };
        let [Some(one), Some(two)] = self.entries.get_disjoint_mut([&id, &other]) else { return };
        if !one.is_end_of(two) {
            return;
        }
        (one.peer, two.peer) = (Some(other), Some(id));
        (one.changed, two.changed) = (true, true);
        let guest = if one.stream.is_some() { two } else { one };
        (guest.stream_at_peer, guest.mirrored) = (true, true);
    }

    /// What redaction knows of the data of a socket's connection; `None` where it ended a while ago.
    pub fn stream(&mut self, id: u64) -> Option<StreamOf<'_>> {
        let entry = self.entries.get(&id)?;
        let (at_peer, mirrored, shared) = (entry.stream_at_peer, entry.mirrored, entry.peer.is_some());
        if entry.ended {
            return None;
        }
        let home = if at_peer { entry.peer? } else { id };
        let home = self.entries.get_mut(&home)?;
        let discovered = home.discovered();
        let ports = home.ports();
        let stream = home.stream.get_or_insert_default();
        Some(StreamOf { stream, mirrored, shared, discovered, ports })
    }

    /// Whether a record of this socket came.
    pub fn is_known(&self, socket_id: u64) -> bool {
        self.entries.get(&socket_id).is_some_and(|entry| entry.record.is_some())
    }

    /// The socket of this id; an empty one where its record was lost.
    pub fn get(&mut self, socket_id: u64) -> &mut Entry {
        let entry = self.entries.entry(socket_id).or_default();
        entry.touched = true;
        entry.last_part = self.part;
        entry
    }

    /// The TCP state of a socket changed; the socket.
    pub fn state(&mut self, socket_id: u64, new_state: u8, boot_ns: u64) -> &mut Entry {
        self.end_streams(boot_ns);
        if new_state == state::CLOSE {
            self.closed.push_back((boot_ns, socket_id));
        }
        let entry = self.get(socket_id);
        entry.state(new_state, boot_ns);
        entry
    }

    /// Frees what is known of the data of sockets that closed a while ago: most of what an entry takes.
    fn end_streams(&mut self, now_ns: u64) {
        while let Some(&(closed_ns, socket_id)) = self.closed.front()
            && closed_ns.saturating_add(STREAM_KEPT_NS) < now_ns
        {
            self.closed.pop_front();
            self.end_stream(socket_id);
        }
    }

    /// Nothing comes of this socket any more; what its other end needs stays there.
    fn end_stream(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.ended = true;
        let (stream, ends, peer) = (entry.stream.take(), entry.ends(), entry.peer);
        if let Some(other) = peer.and_then(|peer| self.entries.get_mut(&peer))
            && !other.ended
            && std::mem::take(&mut other.stream_at_peer)
        {
            other.stream = stream;
        }
        if let Some(ends) = ends
            && self.by_ends.get(&ends) == Some(&id)
        {
            self.by_ends.remove(&ends);
        }
    }

    fn forget(&mut self, id: u64) {
        self.end_stream(id);
        self.entries.remove(&id);
    }

    /// Sockets recorded so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Sockets that are open.
    pub fn open(&self) -> usize {
        self.entries.values().filter(|e| e.closed_boot_ns.is_none()).count()
    }

    /// Those that are new or different since the last call, by id. Sockets that had closed by the call
    /// before, or whose record was lost, are forgotten once nothing happens on them.
    pub fn take_changed(&mut self) -> Vec<KnownSocket> {
        let mut changed = Vec::new();
        for (&socket_id, entry) in self.entries.iter_mut().filter(|(_, e)| e.changed) {
            let Some(socket) = entry.known(socket_id) else { continue };
            entry.changed = false;
            changed.push(socket);
        }
        let mut quiet = Vec::new();
        for (&id, entry) in &mut self.entries {
            let ended = entry.closed_boot_ns.is_some() || entry.record.is_none();
            if !std::mem::take(&mut entry.touched) && ended {
                quiet.push(id);
            }
        }
        quiet.into_iter().for_each(|id| self.forget(id));
        self.forget_oldest(MOST_OPEN);
        self.part += 1;
        changed.sort_by_key(|socket| socket.row.socket_id);
        changed
    }

    /// Leaves at most so many: those that something happened on last.
    fn forget_oldest(&mut self, most: usize) {
        let surplus = self.entries.len().saturating_sub(most);
        if surplus == 0 {
            return;
        }
        let mut ages: Vec<_> = self.entries.iter().map(|(&id, entry)| (entry.last_part, id)).collect();
        ages.select_nth_unstable(surplus - 1);
        ages.truncate(surplus);
        ages.into_iter().for_each(|(_, id)| self.forget(id));
    }
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

fn family_name(number: u16) -> &'static str {
    match i32::from(number) {
        libc::AF_UNIX => "unix",
        libc::AF_INET6 => "inet6",
        _ => "inet",
    }
}

fn role_name(number: u8) -> &'static str {
    match number {
        role::CLIENT => "client",
        role::SERVER => "server",
        role::LISTENER => "listener",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
