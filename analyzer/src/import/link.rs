//! A packet as it was captured in, the IP packet in it out.

use crate::import::skipped::Skipped;
use crate::import::slice::Slice;

/// EtherTypes (IEEE 802 numbers).
pub mod ether {
    #![expect(missing_docs, reason = "the registry says what each is")]
    pub const IPV4: u16 = 0x0800;
    pub const TRANSPARENT: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE: u16 = 0x8864;
    pub const QINQ: u16 = 0x88a8;
    pub const OLD_QINQ: u16 = 0x9100;
    pub const ERSPAN: u16 = 0x88be;
}

/// Headers within headers that are read at most.
const MAX_DEPTH: usize = 16;

/// The IP packet of a frame of this LINKTYPE_.
pub fn ip(link: u16, frame: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    match link {
        0 | 108 => loopback(frame),
        1 => ethernet(frame),
        9 | 50 => ppp(frame),
        12 | 14 | 101 | 228 | 229 => Ok(frame),
        51 => pppoe(frame),
        113 => by_type(frame.u16(14), frame.skip(16)),
        239 => nflog(frame),
        276 => by_type(frame.u16(0), frame.skip(20)),
        _ => Err(Skipped::LinkType),
    }
}

/// What follows an Ethernet header, VLAN tags and the like.
pub fn ethernet(frame: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    by_type(frame.u16(12), frame.skip(14))
}

/// What an EtherType names.
pub fn by_type<'a>(mut kind: Option<u16>, mut rest: Option<Slice<'a>>) -> Result<Slice<'a>, Skipped> {
    for _ in 0..MAX_DEPTH {
        let (Some(named), Some(slice)) = (kind, rest) else { return Err(Skipped::CutHeader) };
        match named {
            ether::IPV4 | ether::IPV6 => return Ok(slice),
            ether::VLAN | ether::QINQ | ether::OLD_QINQ => (kind, rest) = (slice.u16(2), slice.skip(4)),
            ether::MPLS | ether::MPLS_MULTICAST => return mpls(slice),
            ether::PPPOE => return pppoe(slice),
            ether::TRANSPARENT => (kind, rest) = (slice.u16(12), slice.skip(14)),
            // A length of IEEE 802.3: LLC with SNAP names a type, too.
            0..=1500 if slice.known.starts_with(&[0xaa, 0xaa, 3]) => {
                (kind, rest) = (slice.u16(6), slice.skip(8))
            }
            _ => return Err(Skipped::NotIp),
        }
    }
    Err(Skipped::TooDeep)
}

/// The family stands first, in the byte order of the host that captured (null) or of the network (loop).
fn loopback(frame: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    let family = frame.u32(0).ok_or(Skipped::CutHeader)?;
    let rest = frame.skip(4).ok_or(Skipped::CutHeader)?;
    // AF_INET, and AF_INET6 of the BSDs, of Darwin and of Linux.
    match family.min(family.swap_bytes()) {
        2 | 10 | 24 | 28 | 30 => Ok(rest),
        _ => Err(Skipped::NotIp),
    }
}

/// RFC 3032: labels up to the last one; what follows shows itself.
pub fn mpls(slice: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    let mut slice = slice;
    for _ in 0..MAX_DEPTH {
        let label = slice.u32(0).ok_or(Skipped::CutHeader)?;
        slice = slice.skip(4).ok_or(Skipped::CutHeader)?;
        if label & 0x100 == 0 {
            continue;
        }
        return match slice.u8(0).map(|first| first >> 4) {
            Some(4 | 6) => Ok(slice),
            // A control word (RFC 4385), then a frame.
            Some(0) => {
                let frame = slice.skip(4).ok_or(Skipped::CutHeader)?;
                by_type(frame.u16(12).filter(|kind| *kind != ether::TRANSPARENT), frame.skip(14))
            }
            Some(_) => Err(Skipped::NotIp),
            None => Err(Skipped::CutHeader),
        };
    }
    Err(Skipped::TooDeep)
}

/// RFC 2516: a session's header, then PPP.
fn pppoe(slice: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    ppp(slice.skip(6).ok_or(Skipped::CutHeader)?)
}

/// RFC 1661, with or without an HDLC header and with protocols in one or two bytes.
pub fn ppp(slice: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    let framed = slice.known.starts_with(&[0xff, 3]);
    let slice = if framed { slice.skip(2) } else { Some(slice) }.ok_or(Skipped::CutHeader)?;
    let first = slice.u8(0).ok_or(Skipped::CutHeader)?;
    let (protocol, header) = match first & 1 {
        1 => (u16::from(first), 1),
        _ => (slice.u16(0).ok_or(Skipped::CutHeader)?, 2),
    };
    let rest = slice.skip(header).ok_or(Skipped::CutHeader)?;
    match protocol {
        0x0021 | 0x0057 => Ok(rest),
        0x0281 => mpls(rest),
        _ => Err(Skipped::NotIp),
    }
}

/// NFLOG: attributes in the host's byte order, of which one is the packet.
fn nflog(frame: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    const PAYLOAD: u16 = 9;
    let mut slice = frame.skip(4).ok_or(Skipped::CutHeader)?;
    loop {
        let (Some(length), Some(kind)) = (slice.u16(0), slice.u16(2)) else { return Err(Skipped::CutHeader) };
        let (length, kind) = (usize::from(length.swap_bytes()), kind.swap_bytes());
        if length < 4 {
            return Err(Skipped::NotIp);
        }
        if kind == PAYLOAD {
            let payload = slice.skip(4).ok_or(Skipped::CutHeader)?;
            return Ok(payload.limit(length - 4));
        }
        slice = slice.skip(length.next_multiple_of(4)).ok_or(Skipped::CutHeader)?;
    }
}
