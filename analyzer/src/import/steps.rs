//! The steps from a packet to rows of events and sockets, and what is between them.

use std::net::SocketAddr;

use retrospan_protocols::redact::{Payload, Redactor};

use crate::import::events::Rows;
use crate::import::feed::Shared;
use crate::import::ip::{Datagram, Ip, protocol};
use crate::import::link;
use crate::import::packets::{Packet, PacketFile};
use crate::import::skipped::Skipped;
use crate::import::slice::Slice;
use crate::import::sockets::Sockets;
use crate::import::stamp::Stamp;
use crate::import::summary::Summary;
use crate::import::tcp::Segment;
use crate::import::tcp::connections::Connections;
use crate::import::udp::Flows;

/// Boot time of the first packet, ns: no time is 0.
pub const BEGIN_NS: i64 = 1_000_000_000;

/// Whether a packet was understood.
type Understood = Result<(), Skipped>;

/// The steps, and what is between them.
pub struct Steps {
    first_ns: i64,
    payload: Payload,
    ip: Ip,
    connections: Connections,
    flows: Flows,
    redactor: Redactor,
    /// Events so far.
    pub rows: Rows,
    /// Sockets so far.
    pub sockets: Sockets,
    /// Boot time of the latest packet, ns.
    pub newest_ns: i64,
    summary: Summary,
    now: Stamp,
}

impl Steps {
    /// Nothing is read yet. `first_ns`: wall time of the first packet, ns.
    pub fn new(payload: Payload, first_ns: i64) -> Steps {
        Steps {
            first_ns,
            payload,
            ip: Ip::default(),
            connections: Connections::default(),
            flows: Flows::default(),
            redactor: Redactor::default(),
            rows: Rows::default(),
            sockets: Sockets::default(),
            summary: Summary::default(),
            newest_ns: BEGIN_NS,
            now: Stamp::default(),
        }
    }

    /// Takes in a packet.
    pub fn packet(&mut self, packet: &Packet<'_>) {
        self.summary.packets += 1;
        let ns = (packet.wall_ns - self.first_ns).saturating_add(BEGIN_NS).max(0);
        self.now = Stamp { ns, packet: self.summary.packets };
        self.newest_ns = self.newest_ns.max(ns);
        let frame = Slice { known: packet.bytes, length: packet.length };
        if let Err(why) = self.frame(packet.link, frame) {
            self.summary.skipped(why, 1);
        }
    }

    fn frame(&mut self, link: u16, frame: Slice<'_>) -> Understood {
        let Steps { ip, connections, flows, redactor, rows, sockets, now, payload, .. } = self;
        let packet = link::ip(link, frame)?;
        let mut shared = Shared { payload: *payload, redactor, rows };
        let mut read = Ok(());
        ip.read(now.ns, packet, &mut |datagram| {
            read = match datagram.protocol {
                protocol::TCP => segment(connections, *now, datagram, sockets, &mut shared),
                _ => flows.datagram(*now, datagram, sockets, &mut shared),
            };
        })?;
        read
    }

    /// Nothing more comes.
    pub fn finish(&mut self) -> Summary {
        let mut shared = Shared { payload: self.payload, redactor: &mut self.redactor, rows: &mut self.rows };
        self.connections.finish(self.now, &mut self.sockets, &mut shared);
        self.flows.finish(&mut self.sockets);
        self.count();
        std::mem::take(&mut self.summary)
    }

    fn count(&mut self) {
        let summary = &mut self.summary;
        summary.connections = self.connections.connections;
        summary.udp_sockets = self.flows.sockets;
        summary.bytes = self.rows.bytes();
        summary.repeated = self.connections.counts.repeated + self.flows.repeated;
        summary.holes = self.connections.counts.holes;
        summary.strays = self.connections.strays;
        summary.moved = self.rows.moved();
        summary.skipped(Skipped::Fragment, self.ip.lost_fragments());
    }
}

fn segment(
    connections: &mut Connections,
    now: Stamp,
    datagram: &Datagram<'_>,
    sockets: &mut Sockets,
    shared: &mut Shared<'_>,
) -> Understood {
    let segment = Segment::read(datagram.bytes)?;
    let [from, to] = datagram.addresses;
    let ends = [SocketAddr::new(from, segment.ports[0]), SocketAddr::new(to, segment.ports[1])];
    connections.segment(now, ends, &segment, sockets, shared);
    Ok(())
}

/// Reads a file to its end and checks what must hold of whatever is in it; for tests.
///
/// # Panics
/// Where it does not hold.
pub fn check(mut file: PacketFile, payload: Payload) -> Summary {
    let mut steps = Steps::new(payload, 0);
    while file.advance().is_ok() {
        steps.packet(&file.packet());
    }
    let summary = steps.finish();
    let mut last_ns = 0;
    while let Some(row) = steps.rows.pop_any() {
        assert!(row.stamp.ns >= last_ns && row.duration_ns >= 0, "rows are in the order of time");
        let kept = row.payload.as_ref().map_or(0, |payload| payload.len() as u64);
        assert!(kept <= row.done_bytes, "no byte is made up");
        last_ns = row.stamp.ns;
    }
    summary
}

#[cfg(test)]
mod tests;
