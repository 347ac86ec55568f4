//! UDP datagrams in, the events of one socket for each pair of ends out.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use retrospan_formats::event::{Kind, flags};
use retrospan_protocols::redact::{Datagrams, Payload};
use rustc_hash::{FxHashMap, FxHasher};

use crate::import::events::Row;
use crate::import::feed::Shared;
use crate::import::ip::Datagram;
use crate::import::skipped::Skipped;
use crate::import::sockets::{Socket, Sockets};
use crate::import::stamp::Stamp;

/// The sockets of a capture.
#[derive(Debug, Default)]
pub struct Flows {
    open: FxHashMap<(SocketAddr, SocketAddr), Flow>,
    /// In the order in which they may be idle: when, and which.
    ages: VecDeque<(i64, (SocketAddr, SocketAddr))>,
    /// Sockets so far.
    pub sockets: u64,
    /// Datagrams that were captured twice.
    pub repeated: u64,
}

#[derive(Debug)]
struct Flow {
    socket: Socket,
    redacted: Datagrams,
    last_ns: i64,
    /// What the last datagrams were, and when.
    recent: [(u64, i64); RECENT],
    next: usize,
}

/// A socket that is idle for so long has ended, ns.
const IDLE_NS: i64 = 60_000_000_000;
/// A copy of a datagram comes within this, ns.
const COPY_NS: i64 = 1_000_000;
/// Datagrams that a copy is looked for among.
const RECENT: usize = 4;
/// Who is asked has a port below.
const KNOWN_PORTS: u16 = 1024;
const HEADER_BYTES: usize = 8;

impl Flows {
    /// Takes in a datagram.
    pub fn datagram(
        &mut self,
        stamp: Stamp,
        datagram: &Datagram<'_>,
        sockets: &mut Sockets,
        shared: &mut Shared<'_>,
    ) -> Result<(), Skipped> {
        let bytes = datagram.bytes;
        let port = |at| bytes.u16(at).ok_or(Skipped::CutHeader);
        let [source, target] = datagram.addresses;
        let (from, to) = (SocketAddr::new(source, port(0)?), SocketAddr::new(target, port(2)?));
        // A length of 0 is that of a packet that the network card is to cut.
        let length = usize::from(port(4)?);
        let bytes = if length == 0 { bytes } else { bytes.limit(length) };
        let data = bytes.skip(HEADER_BYTES).ok_or(Skipped::BadHeader)?;
        self.forget(stamp.ns, sockets);
        let key = if from <= to { (from, to) } else { (to, from) };
        let flow = self.open.entry(key).or_insert_with(|| {
            self.ages.push_back((stamp.ns, key));
            self.sockets += 1;
            Flow::new(stamp.ns, from, to, sockets)
        });
        flow.last_ns = flow.last_ns.max(stamp.ns);
        if flow.is_copy(stamp.ns, from, datagram.ident, bytes.known) {
            self.repeated += 1;
            return Ok(());
        }
        let sent = flow.socket.local == from;
        let mut kept = Vec::new();
        match shared.payload {
            Payload::Full => _ = shared.redactor.keep_datagram(data.known, [0, 0], &mut kept),
            Payload::Heads => _ = flow.redacted.keep(sent, data.length as u64, data.known, &mut kept),
            Payload::None => {}
        }
        let cut = if kept.len() < data.length { flags::PAYLOAD_CUT } else { 0 };
        shared.rows.push(Row {
            stamp,
            socket_id: flow.socket.id,
            kind: if sent { Kind::Send } else { Kind::Receive },
            done_bytes: data.length as u64,
            flags: flags::NO_SEQ | cut,
            payload: (!kept.is_empty()).then(|| kept.into()),
            ..Row::default()
        });
        Ok(())
    }

    /// Nothing more comes.
    pub fn finish(&mut self, sockets: &mut Sockets) {
        let first = sockets.ended.len();
        sockets.ended.extend(self.open.drain().map(|(_, flow)| flow.socket));
        sockets.ended[first..].sort_unstable_by_key(|socket| socket.id);
    }

    fn forget(&mut self, now_ns: i64, sockets: &mut Sockets) {
        while let Some(&(since_ns, key)) = self.ages.front() {
            if now_ns.saturating_sub(since_ns) < IDLE_NS {
                return;
            }
            self.ages.pop_front();
            let Some(flow) = self.open.get(&key) else { continue };
            if now_ns.saturating_sub(flow.last_ns) < IDLE_NS {
                self.ages.push_back((flow.last_ns.max(since_ns + 1), key));
            } else if let Some(flow) = self.open.remove(&key) {
                sockets.ended.push(Socket { closed_ns: Some(flow.last_ns), ..flow.socket });
            }
        }
    }
}

impl Flow {
    /// Who sends first asks, unless that is whom a well-known port belongs to.
    fn new(now_ns: i64, from: SocketAddr, to: SocketAddr, sockets: &mut Sockets) -> Flow {
        let answers = from.port() < KNOWN_PORTS && to.port() >= KNOWN_PORTS;
        let (local, remote) = if answers { (to, from) } else { (from, to) };
        let socket = Socket {
            id: sockets.new_id(),
            protocol: "udp",
            local,
            remote,
            role_known: true,
            discovered: answers,
            opened_ns: Some(now_ns),
            closed_ns: None,
            firsts: [None; 2],
        };
        Flow {
            socket,
            redacted: Datagrams::default(),
            last_ns: now_ns,
            recent: [(0, i64::MIN / 2); RECENT],
            next: 0,
        }
    }

    /// Whether the same packet came a moment ago. One that is sent again has another number, or comes later.
    fn is_copy(&mut self, now_ns: i64, from: SocketAddr, ident: u32, bytes: &[u8]) -> bool {
        let mut hasher = FxHasher::default();
        (from, ident, bytes).hash(&mut hasher);
        let hash = hasher.finish();
        let is_copy = |&(other, at_ns): &(u64, i64)| {
            other == hash && now_ns.saturating_sub(at_ns).saturating_abs() < COPY_NS
        };
        if self.recent.iter().any(is_copy) {
            return true;
        }
        self.recent[self.next % RECENT] = (hash, now_ns);
        self.next += 1;
        false
    }
}

#[cfg(test)]
mod tests;
