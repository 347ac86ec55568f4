//! The format of several interfaces (draft-ietf-opsawg-pcapng).

use std::io;

use super::{Found, NS_PER_S, Order, Stop, fill, header, take, wall_ns};
use crate::import::source::Source;

/// Type of a block that begins a section, the same in both byte orders.
pub const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const SECTION_TYPE: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Obsolete, and yet in files.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
/// Type and length before a block's body, and the length again behind it.
const AROUND: usize = 12;

/// The section that is being read.
pub struct Section {
    order: Order,
    interfaces: Vec<Interface>,
    /// Of the last packet: some have no time of their own.
    last_ns: i64,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    /// Bytes of a packet that are kept; 0: all.
    snap: u32,
    /// Units of time in a second.
    per_second: i128,
    /// Seconds to add to all its times.
    offset_s: i64,
}

impl Section {
    /// Reads what follows the type of the first block. None where that begins no section.
    pub fn begin(source: &mut Source) -> io::Result<Option<Section>> {
        let mut fixed = [0; 8];
        if !fill(source, &mut fixed)? {
            return Ok(None);
        }
        let mut section = Section { order: Order::Little, interfaces: Vec::new(), last_ns: 0 };
        let mut block = Vec::new();
        Ok(section.restart(fixed, source, &mut block).ok().map(|()| section))
    }

    /// `fixed`: length of the block, and the number that tells the byte order.
    fn restart(&mut self, fixed: [u8; 8], source: &mut Source, block: &mut Vec<u8>) -> Result<(), Stop> {
        self.order = match u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]) {
            0x1a2b_3c4d => Order::Big,
            0x4d3c_2b1a => Order::Little,
            _ => return Err(Stop::Cut),
        };
        self.interfaces.clear();
        let length = self.order.u32(&fixed, 0).unwrap_or_default() as usize;
        if take(source, length.checked_sub(AROUND).ok_or(Stop::Cut)?, block)? {
            Ok(())
        } else {
            Err(Stop::Cut)
        }
    }

    /// The next packet of any interface.
    pub fn next(&mut self, source: &mut Source, block: &mut Vec<u8>) -> Result<Found, Stop> {
        loop {
            let mut fixed = [0; 8];
            header(source, &mut fixed)?;
            if fixed[..4] == SECTION {
                let mut order = [0; 4];
                if !fill(source, &mut order).map_err(Stop::Io)? {
                    return Err(Stop::Cut);
                }
                let [_, _, _, _, length @ ..] = fixed;
                let [a, b, c, d] = length;
                let [e, f, g, h] = order;
                self.restart([a, b, c, d, e, f, g, h], source, block)?;
                continue;
            }
            let kind = self.order.u32(&fixed, 0).unwrap_or_default();
            let length = self.order.u32(&fixed, 4).unwrap_or_default() as usize;
            let rest = length.checked_sub(AROUND - 4).ok_or(Stop::Cut)?;
            let whole = take(source, rest, block)?;
            let body = &block[..rest.saturating_sub(4).min(block.len())];
            let found = match kind {
                INTERFACE => {
                    self.interfaces.push(self.interface(body).ok_or(Stop::Cut)?);
                    continue;
                }
                ENHANCED_PACKET => self.packet(body, self.order.u32(body, 0)),
                PACKET => self.packet(body, self.order.u16(body, 0).map(u32::from)),
                SIMPLE_PACKET => self.simple_packet(body),
                SECTION_TYPE => None,
                _ => continue,
            };
            let found = found.ok_or(Stop::Cut)?;
            if found.to > body.len() && (whole || found.from >= body.len()) {
                return Err(Stop::Cut);
            }
            self.last_ns = found.wall_ns;
            return Ok(found);
        }
    }

    fn interface(&self, body: &[u8]) -> Option<Interface> {
        let mut interface = Interface {
            link: self.order.u16(body, 0)?,
            snap: self.order.u32(body, 4)?,
            per_second: 1_000_000,
            offset_s: 0,
        };
        let mut at = 8;
        while let (Some(code), Some(length)) = (self.order.u16(body, at), self.order.u16(body, at + 2)) {
            if code == 0 {
                break;
            }
            match code {
                IF_TSRESOL => interface.per_second = resolution(*body.get(at + 4)?),
                IF_TSOFFSET => interface.offset_s = self.order.u64(body, at + 4)?.cast_signed(),
                _ => {}
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        Some(interface)
    }

    fn packet(&self, body: &[u8], interface: Option<u32>) -> Option<Found> {
        let interface = self.interfaces.get(interface? as usize)?;
        let field = |at| self.order.u32(body, at);
        let units = i128::from(field(4)?) << 32 | i128::from(field(8)?);
        let ns = units * NS_PER_S / interface.per_second + i128::from(interface.offset_s) * NS_PER_S;
        let kept = field(12)? as usize;
        let from = 20;
        let length = field(16)? as usize;
        Some(Found { wall_ns: wall_ns(ns), link: interface.link, length, from, to: from + kept })
    }

    /// It has no time: that of the packet before it is the nearest.
    fn simple_packet(&self, body: &[u8]) -> Option<Found> {
        let interface = self.interfaces.first()?;
        let length = self.order.u32(body, 0)? as usize;
        let snap = if interface.snap == 0 { usize::MAX } else { interface.snap as usize };
        let kept = length.min(snap);
        Some(Found { wall_ns: self.last_ns, link: interface.link, length, from: 4, to: 4 + kept })
    }
}

/// Units a second: a power of two where the upper bit is set, else one of ten.
fn resolution(value: u8) -> i128 {
    let power = u32::from(value & 0x7f);
    let units = if value & 0x80 != 0 { 2_i128.checked_pow(power) } else { 10_i128.checked_pow(power) };
    units.unwrap_or(i128::MAX)
}
