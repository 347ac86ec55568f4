//! The classic format (draft-ietf-opsawg-pcap).

use std::io;

use super::{Found, NS_PER_S, Order, Stop, fill, header, take, wall_ns};
use crate::import::source::Source;

/// What stands at the beginning of a file.
pub struct Header {
    order: Order,
    /// Of the fraction of a second, ns.
    unit_ns: i128,
    link: u16,
}

/// Bytes before a packet's own.
const RECORD_BYTES: usize = 16;

impl Header {
    /// Reads what follows `magic`. None where that is another one.
    pub fn read(magic: [u8; 4], source: &mut Source) -> io::Result<Option<Header>> {
        let Some((order, unit_ns)) = format(magic) else { return Ok(None) };
        let mut rest = [0; 20];
        if !fill(source, &mut rest)? {
            return Ok(None);
        }
        // The upper half says whether frames end with a checksum.
        let link = order.u32(&rest, 16).unwrap_or_default() as u16;
        Ok(Some(Header { order, unit_ns, link }))
    }

    /// The next packet.
    pub fn next(&self, source: &mut Source, block: &mut Vec<u8>) -> Result<Found, Stop> {
        let mut record = [0; RECORD_BYTES];
        header(source, &mut record)?;
        let field = |at| self.order.u32(&record, at).unwrap_or_default();
        let (seconds, fraction, kept, length) = (field(0), field(4), field(8), field(12));
        if !take(source, kept as usize, block)? && block.is_empty() {
            return Err(Stop::Cut);
        }
        Ok(Found {
            wall_ns: wall_ns(i128::from(seconds) * NS_PER_S + i128::from(fraction) * self.unit_ns),
            link: self.link,
            length: length as usize,
            from: 0,
            to: kept as usize,
        })
    }
}

/// Whether a file that begins so has this format.
pub fn is_magic(magic: [u8; 4]) -> bool {
    format(magic).is_some()
}

/// Byte order, and unit of the fraction of a second.
fn format(magic: [u8; 4]) -> Option<(Order, i128)> {
    match u32::from_be_bytes(magic) {
        0xa1b2_c3d4 => Some((Order::Big, 1_000)),
        0xd4c3_b2a1 => Some((Order::Little, 1_000)),
        0xa1b2_3c4d => Some((Order::Big, 1)),
        0x4d3c_b2a1 => Some((Order::Little, 1)),
        _ => None,
    }
}
