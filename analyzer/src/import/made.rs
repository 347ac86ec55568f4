//! Packets that tests make, and what comes of them.

use retrospan_formats::event::Kind;
use retrospan_protocols::redact::Payload;

use crate::import::events::Row;
use crate::import::packets::Packet;
use crate::import::sockets::Socket;
use crate::import::steps::Steps;
use crate::import::summary::Summary;
use crate::import::tcp::bits::{ACK, FIN, RST, SYN};

/// Flags of packets that tests name.
pub const FIN_ACK: u8 = FIN | ACK;
/// The answer to a SYN.
pub const SYN_ACK: u8 = SYN | ACK;
/// A RST as an answer to a SYN.
pub const RST_ACK: u8 = RST | ACK;

/// Of the client and of the server.
pub const PORTS: [u16; 2] = [40_000, 80];
/// Numbers of their SYNs; the first bytes have the next ones.
pub const ISNS: [u32; 2] = [u32::MAX - 9, 5_000];

/// A transport header and data, as the IPv4 packet of that end (0: the client).
fn ip(end: usize, protocol: u8, ident: u16, segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + segment.len() as u16).to_be_bytes());
    packet.extend(ident.to_be_bytes());
    packet.extend([0, 0, 64, protocol, 0, 0]);
    let hosts = [[10, 0, 0, 1], [10, 0, 0, 2]];
    packet.extend(hosts[end]);
    packet.extend(hosts[1 - end]);
    packet.extend_from_slice(segment);
    packet
}

/// A TCP packet of that end.
pub fn tcp(end: usize, ports: [u16; 2], seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut segment = [ports[end].to_be_bytes(), ports[1 - end].to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(data);
    ip(end, 6, 0, &segment)
}

/// A UDP packet of that end.
pub fn udp(end: usize, ports: [u16; 2], ident: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = [ports[end].to_be_bytes(), ports[1 - end].to_be_bytes()].concat();
    datagram.extend((8 + data.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend_from_slice(data);
    ip(end, 17, ident, &datagram)
}

/// A capture in the making.
pub struct Talk {
    steps: Steps,
    /// Time of the next packet, ns; packets are 1 us apart.
    pub now_ns: i64,
    /// Relative numbers of the next bytes of each end.
    pub next: [u32; 2],
}

impl Talk {
    /// Nothing was said yet.
    pub fn new(payload: Payload) -> Talk {
        Talk { steps: Steps::new(payload, 0), now_ns: 0, next: [0, 0] }
    }

    /// A raw IP packet is seen now.
    pub fn packet(&mut self, bytes: &[u8]) {
        self.cut_packet(bytes, bytes.len());
    }

    /// The same, of which only the first bytes were kept.
    pub fn cut_packet(&mut self, bytes: &[u8], kept: usize) {
        let wall_ns = self.now_ns;
        self.now_ns += 1_000;
        self.steps.packet(&Packet { wall_ns, link: 101, length: bytes.len(), bytes: &bytes[..kept] });
    }

    /// The packet of an end with its next bytes; all of the other end's are acknowledged.
    pub fn made(&mut self, end: usize, flags: u8, data: &[u8]) -> Vec<u8> {
        let number = |end: usize, next: u32| ISNS[end].wrapping_add(1).wrapping_add(next);
        let (mut seq, ack) = (number(end, self.next[end]), number(1 - end, self.next[1 - end]));
        if flags & SYN != 0 {
            seq = seq.wrapping_sub(1);
        }
        self.next[end] = self.next[end].wrapping_add(data.len() as u32 + u32::from(flags & FIN != 0));
        tcp(end, PORTS, seq, if flags & ACK != 0 { ack } else { 0 }, flags, data)
    }

    /// An end says something.
    pub fn say(&mut self, end: usize, flags: u8, data: &[u8]) {
        let packet = self.made(end, flags, data);
        self.packet(&packet);
    }

    /// SYN, SYN with ACK, ACK.
    pub fn connect(&mut self) {
        self.say(0, SYN, b"");
        self.say(1, SYN_ACK, b"");
        self.say(0, ACK, b"");
    }

    /// What came of it: rows in order, sockets, counts.
    pub fn over(mut self) -> (Vec<Row>, Vec<Socket>, Summary) {
        let summary = self.steps.finish();
        let rows = std::iter::from_fn(|| self.steps.rows.pop_any()).collect();
        (rows, self.steps.sockets.ended, summary)
    }
}

/// Rows in short: `> bytes` sent, `< bytes` received, `1-4` a change of state (with its error), other calls
/// by name.
pub fn told(rows: &[Row]) -> Vec<String> {
    let payload =
        |row: &Row| String::from_utf8_lossy(row.payload.as_deref().unwrap_or_default()).into_owned();
    let row = |row: &Row| match (row.kind, row.state) {
        (Kind::State, Some(state)) if state.sk_err != 0 => {
            format!("{}-{}!{}", state.old, state.new, state.sk_err)
        }
        (Kind::State, Some(state)) => format!("{}-{}", state.old, state.new),
        (Kind::Send, _) => format!("> {}", payload(row)),
        (Kind::Receive, _) => format!("< {}", payload(row)),
        (kind, _) => kind.name().to_owned(),
    };
    rows.iter().map(row).collect()
}
