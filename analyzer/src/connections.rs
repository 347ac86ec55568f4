//! Sockets in, connections out: which two recorded sockets are the two ends of one connection.
//!
//! Addresses alone do not say so: the same five-tuple may exist in two network namespaces at once, or one after the
//! other. Two sockets are one connection where their addresses mirror each other *and* what one sends first is what
//! the other receives first, by sequence number. Sockets that are older than the recording have no first
//! byte: within one namespace their lifetimes and positions must fit, and nothing else may.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, UInt32Type};
use retrospan_formats::error::CaptureError;
use retrospan_formats::reader::Capture;
use retrospan_formats::tables::SOCKETS;

use crate::hashing::IntMap;

/// Position of a socket in [`Sockets`].
pub type SocketIndex = u32;

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
    address: u32,
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
    /// The lower `socket_id` of the connection's recorded ends.
    pub connection_id: i64,
}

/// All watched sockets.
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    all: Vec<Socket>,
    by_id: IntMap<i64, SocketIndex>,
    addresses: Vec<Arc<str>>,
}

/// Reads table `sockets` and joins the ends of connections.
pub fn read(capture: &Capture) -> Result<Sockets, CaptureError> {
    let mut sockets = Sockets::default();
    let mut known = HashMap::new();
    for batch in capture.read(&SOCKETS) {
        sockets.add(&batch?, &mut known);
    }
    drop(known);
    sockets.join();
    Ok(sockets)
}

impl Sockets {
    /// The socket at `index`.
    pub fn get(&self, index: SocketIndex) -> &Socket {
        &self.all[index as usize]
    }

    /// The place of a socket that has a row.
    pub fn find(&self, socket_id: i64) -> Option<SocketIndex> {
        self.by_id.get(&socket_id).copied()
    }

    /// The place of a socket; one whose row was lost gets a row without addresses.
    pub fn index(&mut self, socket_id: i64) -> SocketIndex {
        if let Some(&index) = self.by_id.get(&socket_id) {
            return index;
        }
        let index = self.all.len() as SocketIndex;
        self.by_id.insert(socket_id, index);
        self.all.push(Socket {
            id: socket_id,
            process_id: 0,
            netns: 0,
            role: Role::Unknown,
            local: None,
            remote: None,
            discovered: true,
            opened_ns: None,
            closed_ns: None,
            first_send_seq: None,
            first_receive_seq: None,
            peer: None,
            connection_id: socket_id,
        });
        index
    }

    /// The address of an endpoint as text.
    pub fn address(&self, endpoint: Endpoint) -> &str {
        &self.addresses[endpoint.address as usize]
    }

    fn add(&mut self, batch: &RecordBatch, known: &mut HashMap<Arc<str>, u32>) {
        let columns = Columns::of(batch);
        for row in 0..batch.num_rows() {
            let socket = columns.socket(row, &mut self.addresses, known);
            match self.by_id.get(&socket.id) {
                Some(&index) => self.all[index as usize] = socket,
                None => {
                    self.by_id.insert(socket.id, self.all.len() as SocketIndex);
                    self.all.push(socket);
                }
            }
        }
    }

    /// Joins sockets whose addresses mirror each other.
    fn join(&mut self) {
        let mut candidates: Vec<((Endpoint, Endpoint), SocketIndex)> = Vec::new();
        for (index, socket) in self.all.iter().enumerate() {
            if let (Some(local), Some(remote)) = (socket.local, socket.remote)
                && socket.role != Role::Listener
            {
                candidates.push(((local.min(remote), local.max(remote)), index as SocketIndex));
            }
        }
        candidates.sort_unstable_by_key(|&(key, index)| (key, self.all[index as usize].id));
        for group in candidates.chunk_by(|a, b| a.0 == b.0) {
            let group: Vec<SocketIndex> = group.iter().map(|c| c.1).collect();
            if group.len() > 1 {
                self.join_exact(&group);
                self.join_discovered(&group);
            }
        }
    }

    /// Ends whose first bytes are the same in both directions.
    fn join_exact(&mut self, group: &[SocketIndex]) {
        let mut by_first = HashMap::new();
        for &index in group {
            let socket = self.get(index);
            let Some((send, receive)) = first_bytes(socket) else { continue };
            if let Some(&other) = by_first.get(&(receive, send, socket.remote, socket.local)) {
                self.marry(index, other);
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
                self.marry(*one, two);
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

    fn marry(&mut self, one: SocketIndex, two: SocketIndex) {
        let id = self.get(one).id.min(self.get(two).id);
        for (index, other) in [(one, two), (two, one)] {
            let socket = &mut self.all[index as usize];
            socket.peer = Some(other);
            socket.connection_id = id;
        }
    }
}

/// Two ends were first seen at different moments; as much may have flowed in between. Within a namespace only
/// one connection can have these addresses, so that much is enough.
const NEAR_IN_NAMESPACE: i32 = 1 << 30;
/// Between namespaces (a veth pair) nothing but the numbers tells connections apart.
const NEAR: i32 = 1 << 24;
/// More ends than this with one pair of addresses are not compared with each other.
const MAX_DISCOVERED_GROUP: usize = 256;

fn first_bytes(socket: &Socket) -> Option<(u32, u32)> {
    if socket.discovered { None } else { socket.first_send_seq.zip(socket.first_receive_seq) }
}

/// The columns of a batch of sockets.
struct Columns<'a> {
    socket_id: &'a PrimitiveArray<Int64Type>,
    process_id: &'a PrimitiveArray<Int64Type>,
    netns: &'a PrimitiveArray<Int64Type>,
    roles: Vec<Role>,
    local: (&'a StringArray, &'a PrimitiveArray<Int32Type>),
    remote: (&'a StringArray, &'a PrimitiveArray<Int32Type>),
    discovered: &'a BooleanArray,
    opened_ns: &'a PrimitiveArray<Int64Type>,
    closed_ns: &'a PrimitiveArray<Int64Type>,
    first_send_seq: &'a PrimitiveArray<UInt32Type>,
    first_receive_seq: &'a PrimitiveArray<UInt32Type>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Columns<'a> {
        let array = |name: &str| -> &'a dyn Array {
            batch.column(SOCKETS.index_of(name).expect("a column of table sockets")).as_ref()
        };
        let integers = |name: &str| array(name).as_primitive::<Int64Type>();
        let sequence = |name: &str| array(name).as_primitive::<UInt32Type>();
        let endpoint = |address: &str, port: &str| (array(address).as_string(), array(port).as_primitive());
        Columns {
            socket_id: integers("socket_id"),
            process_id: integers("process_id"),
            netns: integers("netns"),
            roles: roles(array("role")),
            local: endpoint("local_addr", "local_port"),
            remote: endpoint("remote_addr", "remote_port"),
            discovered: array("discovered").as_boolean(),
            opened_ns: integers("opened_boot_ns"),
            closed_ns: integers("closed_boot_ns"),
            first_send_seq: sequence("first_send_seq"),
            first_receive_seq: sequence("first_receive_seq"),
        }
    }

    fn socket(
        &self,
        row: usize,
        addresses: &mut Vec<Arc<str>>,
        known: &mut HashMap<Arc<str>, u32>,
    ) -> Socket {
        let mut endpoint = |(texts, ports): (&StringArray, &PrimitiveArray<Int32Type>)| {
            let port = value(ports, row)? as u16;
            texts
                .is_valid(row)
                .then(|| Endpoint { address: intern(texts.value(row), addresses, known), port })
        };
        let id = self.socket_id.value(row);
        Socket {
            id,
            process_id: value(self.process_id, row).unwrap_or_default(),
            netns: value(self.netns, row).unwrap_or_default(),
            role: self.roles[row],
            local: endpoint(self.local),
            remote: endpoint(self.remote),
            discovered: self.discovered.value(row),
            opened_ns: value(self.opened_ns, row),
            closed_ns: value(self.closed_ns, row),
            first_send_seq: value(self.first_send_seq, row),
            first_receive_seq: value(self.first_receive_seq, row),
            peer: None,
            connection_id: id,
        }
    }
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    column.is_valid(row).then(|| column.value(row))
}

fn roles(column: &dyn Array) -> Vec<Role> {
    let column = column.as_dictionary::<Int32Type>();
    let role = |name: Option<&str>| match name {
        Some("client") => Role::Client,
        Some("server") => Role::Server,
        Some("listener") => Role::Listener,
        _ => Role::Unknown,
    };
    let known: Vec<_> = column.values().as_string::<i32>().iter().map(role).collect();
    let of_key = |key: Option<i32>| key.and_then(|key| known.get(key as usize)).copied();
    column.keys().iter().map(|key| of_key(key).unwrap_or(Role::Unknown)).collect()
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
