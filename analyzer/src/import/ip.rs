//! An IP packet in, the innermost transport segment in it out: extension headers, fragments and tunnels are
//! taken off.

pub mod fragments;
mod tunnels;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::fragments::{Fragment, Fragments};
use crate::import::skipped::Skipped;
use crate::import::slice::Slice;

/// Numbers of what follows an IP header.
pub mod protocol {
    #![expect(missing_docs, reason = "the registry of IANA says what each is")]
    pub const HOP_BY_HOP: u8 = 0;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AUTHENTICATION: u8 = 51;
    pub const OPTIONS: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const MPLS: u8 = 137;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source and destination; v4-mapped ones as IPv4.
    pub addresses: [IpAddr; 2],
    /// Number that tells copies of a packet from packets sent again; 0 where there is none.
    pub ident: u32,
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// From the transport header on.
    pub bytes: Slice<'a>,
}

/// Packets within packets that are read at most.
const MAX_DEPTH: usize = 8;

/// Takes IP off, with the fragments that wait for others.
#[derive(Debug, Default)]
pub struct Ip {
    fragments: Fragments,
}

/// A header, and what follows it.
struct Headed<'a> {
    addresses: [IpAddr; 2],
    ident: u32,
    protocol: u8,
    bytes: Slice<'a>,
    /// Offset of a fragment, and whether others follow.
    fragment: Option<(usize, bool)>,
}

impl Ip {
    /// Hands the segment within `packet` to `out`; of a fragment that of its packet, if this was the last one
    /// missing. False where others are.
    pub fn read(
        &mut self,
        now_ns: i64,
        packet: Slice<'_>,
        out: &mut dyn FnMut(&Datagram<'_>),
    ) -> Result<bool, Skipped> {
        self.read_within(now_ns, packet, MAX_DEPTH, out)
    }

    /// Fragments whose packets never became whole, so far.
    pub fn lost_fragments(&self) -> u64 {
        self.fragments.lost()
    }

    fn read_within(
        &mut self,
        now_ns: i64,
        packet: Slice<'_>,
        depth: usize,
        out: &mut dyn FnMut(&Datagram<'_>),
    ) -> Result<bool, Skipped> {
        let depth = depth.checked_sub(1).ok_or(Skipped::TooDeep)?;
        let headed = header(packet)?;
        let Some((offset, more)) = headed.fragment else {
            return self.carried(now_ns, &headed, headed.bytes, depth, out);
        };
        let fragment = Fragment { offset, more, bytes: headed.bytes };
        let key = (headed.addresses, headed.ident, headed.protocol);
        let Some(whole) = self.fragments.add(now_ns, key, &fragment)? else { return Ok(false) };
        let bytes = Slice { known: &whole.known, length: whole.length };
        self.carried(now_ns, &headed, bytes, depth, out)
    }

    fn carried(
        &mut self,
        now_ns: i64,
        headed: &Headed<'_>,
        bytes: Slice<'_>,
        depth: usize,
        out: &mut dyn FnMut(&Datagram<'_>),
    ) -> Result<bool, Skipped> {
        let inner = match headed.protocol {
            protocol::TCP => None,
            // What only looks like a tunnel is a datagram as others are.
            protocol::UDP => tunnels::in_udp(bytes).filter(|inner| header(*inner).is_ok()),
            protocol::IPV4 | protocol::IPV6 => Some(bytes),
            protocol::GRE => Some(tunnels::gre(bytes)?),
            protocol::MPLS => Some(crate::import::link::mpls(bytes)?),
            _ => return Err(Skipped::Transport),
        };
        match inner {
            Some(inner) => self.read_within(now_ns, inner, depth, out),
            None => {
                let Headed { addresses, ident, protocol, .. } = *headed;
                out(&Datagram { addresses, ident, protocol, bytes });
                Ok(true)
            }
        }
    }
}

fn header(packet: Slice<'_>) -> Result<Headed<'_>, Skipped> {
    match packet.u8(0).ok_or(Skipped::CutHeader)? >> 4 {
        4 => v4(packet),
        6 => v6(packet),
        _ => Err(Skipped::BadHeader),
    }
}

/// RFC 791.
fn v4(packet: Slice<'_>) -> Result<Headed<'_>, Skipped> {
    let fixed: &[u8; 20] = packet.known.first_chunk().ok_or(Skipped::CutHeader)?;
    let header = usize::from(fixed[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if header < 20 || (total != 0 && total < header) {
        return Err(Skipped::BadHeader);
    }
    // Where the network card cuts a packet into segments its length is 0 here.
    let packet = if total == 0 { packet } else { packet.limit(total) };
    let address =
        |at: usize| IpAddr::V4(Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]));
    let place = u16::from_be_bytes([fixed[6], fixed[7]]);
    let (offset, more) = (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0);
    Ok(Headed {
        addresses: [address(12), address(16)],
        ident: u32::from(u16::from_be_bytes([fixed[4], fixed[5]])),
        protocol: fixed[9],
        bytes: packet.skip(header).ok_or(Skipped::BadHeader)?,
        fragment: (offset > 0 || more).then_some((offset, more)),
    })
}

/// RFC 8200, with its extension headers.
fn v6(packet: Slice<'_>) -> Result<Headed<'_>, Skipped> {
    let fixed: &[u8; 40] = packet.known.first_chunk().ok_or(Skipped::CutHeader)?;
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let packet = if length == 0 { packet } else { packet.limit(40 + length) };
    let address = |at: usize| {
        let bytes: [u8; 16] = *fixed[at..].first_chunk().unwrap_or(&[0; 16]);
        Ipv6Addr::from(bytes).to_canonical()
    };
    let mut headed = Headed {
        addresses: [address(8), address(24)],
        ident: 0,
        protocol: fixed[6],
        bytes: packet.skip(40).ok_or(Skipped::BadHeader)?,
        fragment: None,
    };
    use protocol::{AUTHENTICATION, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, OPTIONS, ROUTING, SHIM6};
    for _ in 0..MAX_DEPTH {
        let bytes = headed.bytes;
        let units = |extra: usize, unit: usize| bytes.u8(1).map(|units| (usize::from(units) + extra) * unit);
        let length = match headed.protocol {
            HOP_BY_HOP | ROUTING | OPTIONS | MOBILITY | HIP | SHIM6 => units(1, 8),
            AUTHENTICATION => units(2, 4),
            FRAGMENT => Some(8),
            _ => return Ok(headed),
        };
        if headed.protocol == FRAGMENT {
            let place = usize::from(bytes.u16(2).ok_or(Skipped::CutHeader)?);
            headed.ident = bytes.u32(4).ok_or(Skipped::CutHeader)?;
            let (offset, more) = (place & !7, place & 1 != 0);
            headed.fragment = (offset > 0 || more).then_some((offset, more));
        }
        headed.protocol = bytes.u8(0).ok_or(Skipped::CutHeader)?;
        headed.bytes = bytes.skip(length.ok_or(Skipped::CutHeader)?).ok_or(Skipped::BadHeader)?;
        if headed.fragment.is_some() {
            return Ok(headed);
        }
    }
    Err(Skipped::TooDeep)
}

#[cfg(test)]
pub(crate) mod tests;
