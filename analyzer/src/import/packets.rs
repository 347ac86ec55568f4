//! Bytes of a capture file in, packets out: pcap and pcapng.
//!
//! Written by hand: a file that ends within a packet is read up to there, and a packet is never copied; the
//! two formats are simpler than what the crates for them would need around them.

mod pcap;
mod pcapng;

use std::io::{self, BufRead, Read};

use crate::import::source::Source;

/// A packet as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When, ns since 1970 UTC.
    pub wall_ns: i64,
    /// LINKTYPE_ number of its first header.
    pub link: u16,
    /// Bytes that it had.
    pub length: usize,
    /// Those that were kept, the first ones.
    pub bytes: &'a [u8],
}

/// Why no more packets come.
#[derive(Debug)]
pub enum Stop {
    /// The file ends where it may.
    End,
    /// It ends within a packet, or what follows is none.
    Cut,
    /// It cannot be read.
    Io(io::Error),
}

/// No packet and no block is longer; a length beyond it is damage.
const MAX_BLOCK_BYTES: usize = 256 << 20;
const NS_PER_S: i128 = 1_000_000_000;

/// Whether a file that begins so is a packet capture.
pub fn is_capture(head: &[u8]) -> bool {
    let Some(magic) = head.first_chunk::<4>() else { return false };
    *magic == pcapng::SECTION || pcap::is_magic(*magic)
}

/// A capture file that is being read: one packet in hand.
pub struct PacketFile {
    source: Source,
    format: Format,
    /// The packet's block or record.
    block: Vec<u8>,
    found: Found,
    /// The file ends within the packet in hand.
    cut: bool,
}

enum Format {
    Pcap(pcap::Header),
    Pcapng(pcapng::Section),
}

/// Where in the block the packet is.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    wall_ns: i64,
    link: u16,
    length: usize,
    from: usize,
    to: usize,
}

impl PacketFile {
    /// Reads the beginning. None where this is no capture file.
    pub fn new(mut source: Source) -> io::Result<Option<PacketFile>> {
        let mut magic = [0; 4];
        if !fill(&mut source, &mut magic)? {
            return Ok(None);
        }
        let format = if magic == pcapng::SECTION {
            pcapng::Section::begin(&mut source)?.map(Format::Pcapng)
        } else {
            pcap::Header::read(magic, &mut source)?.map(Format::Pcap)
        };
        Ok(format.map(|format| PacketFile {
            source,
            format,
            block: Vec::new(),
            found: Found::default(),
            cut: false,
        }))
    }

    /// Goes on to the next packet. One that the file ends within has the bytes that are there, as if a snap
    /// length had cut it.
    pub fn advance(&mut self) -> Result<(), Stop> {
        if self.cut {
            return Err(Stop::Cut);
        }
        let PacketFile { source, format, block, .. } = self;
        self.found = match format {
            Format::Pcap(header) => header.next(source, block)?,
            Format::Pcapng(section) => section.next(source, block)?,
        };
        self.cut = self.found.to > self.block.len();
        Ok(())
    }

    /// The packet in hand.
    pub fn packet(&self) -> Packet<'_> {
        let Found { wall_ns, link, length, from, to } = self.found;
        let bytes = self.block.get(from..to.min(self.block.len())).unwrap_or_default();
        Packet { wall_ns, link, length: length.max(bytes.len()), bytes }
    }
}

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self == Order::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

/// Fills `into`. False where the source ends before.
fn fill(source: &mut Source, into: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if is_cut(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A compressed file that ends too early, or is damaged, is one that was cut there.
fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    ) || error.kind() == io::ErrorKind::Other
}

/// Fills `into` with the next header.
fn header(source: &mut Source, into: &mut [u8]) -> Result<(), Stop> {
    match source.fill_buf() {
        Ok([]) => return Err(Stop::End),
        Ok(_) => {}
        Err(error) if is_cut(&error) => return Err(Stop::Cut),
        Err(error) => return Err(Stop::Io(error)),
    }
    if fill(source, into).map_err(Stop::Io)? { Ok(()) } else { Err(Stop::Cut) }
}

/// Makes `block` the next `length` bytes, or as many of them as there are: says whether that is all. Memory
/// grows with what is there, not with what a length claims.
fn take(source: &mut Source, length: usize, block: &mut Vec<u8>) -> Result<bool, Stop> {
    block.clear();
    if length > MAX_BLOCK_BYTES {
        return Err(Stop::Cut);
    }
    match source.take(length as u64).read_to_end(block) {
        Ok(read) => Ok(read == length),
        Err(error) if is_cut(&error) => Ok(false),
        Err(error) => Err(Stop::Io(error)),
    }
}

/// A time of any resolution as ns, as near as they can be told.
fn wall_ns(ns: i128) -> i64 {
    ns.clamp(0, i128::from(i64::MAX / 4)) as i64
}

#[cfg(test)]
pub(crate) mod tests;
