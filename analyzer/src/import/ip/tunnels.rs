//! Packets that carry packets: what is within.

use crate::import::link::{self, ether};
use crate::import::skipped::Skipped;
use crate::import::slice::Slice;

const VXLAN: u16 = 4789;
/// Where Linux sent VXLAN before it had a number of its own.
const OLD_VXLAN: u16 = 8472;
const GENEVE: u16 = 6081;

/// The IP packet within a UDP datagram that is one of a tunnel.
pub fn in_udp(datagram: Slice<'_>) -> Option<Slice<'_>> {
    let port = datagram.u16(2)?;
    let rest = datagram.skip(8)?;
    match port {
        // RFC 7348: a flag says that there is an identifier.
        VXLAN | OLD_VXLAN if rest.u8(0)? & 0x08 != 0 => link::ethernet(rest.skip(8)?).ok(),
        // RFC 8926.
        GENEVE if rest.u8(0)? >> 6 == 0 => {
            let options = usize::from(rest.u8(0)? & 0x3f) * 4;
            link::by_type(rest.u16(2), rest.skip(8 + options)).ok()
        }
        _ => None,
    }
}

/// RFC 2784, 2890 and (version 1) 2637.
pub fn gre(packet: Slice<'_>) -> Result<Slice<'_>, Skipped> {
    let flags = packet.u16(0).ok_or(Skipped::CutHeader)?;
    let kind = packet.u16(2).ok_or(Skipped::CutHeader)?;
    let has = |bit: u16| usize::from(flags & bit != 0) * 4;
    let (sequence, key) = (has(0x1000), has(0x2000));
    if flags & 7 == 1 {
        return link::ppp(packet.skip(4 + key + sequence + has(0x0080)).ok_or(Skipped::CutHeader)?);
    }
    let checksum = if flags & 0xc000 != 0 { 4 } else { 0 };
    let rest = packet.skip(4 + checksum + key + sequence).ok_or(Skipped::CutHeader)?;
    match kind {
        // A mirrored frame; its own header is there where frames are numbered.
        ether::ERSPAN => {
            link::ethernet(rest.skip(if sequence > 0 { 8 } else { 0 }).ok_or(Skipped::CutHeader)?)
        }
        _ => link::by_type(Some(kind), Some(rest)),
    }
}
