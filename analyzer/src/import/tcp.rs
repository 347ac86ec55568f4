//! TCP segments in, what happened on their connections out.

pub mod connection;
pub mod connections;
pub mod stream;

use crate::import::skipped::Skipped;
use crate::import::slice::Slice;

/// Bits of [`Segment::flags`] (RFC 9293, section 3.1).
pub mod bits {
    #![expect(missing_docs, reason = "the RFC says what each is")]
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Source and destination.
    pub ports: [u16; 2],
    /// Of the first byte, or of the SYN.
    pub seq: u32,
    /// Of the next byte that the sender waits for, where there is an ACK.
    pub ack: u32,
    /// [`bits`].
    pub flags: u8,
    /// Its data.
    pub data: Slice<'a>,
}

impl<'a> Segment<'a> {
    /// Reads a header.
    pub fn read(bytes: Slice<'a>) -> Result<Segment<'a>, Skipped> {
        let fixed: &[u8; 20] = bytes.known.first_chunk().ok_or(Skipped::CutHeader)?;
        let header = usize::from(fixed[12] >> 4) * 4;
        if header < 20 {
            return Err(Skipped::BadHeader);
        }
        let number = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let port = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        Ok(Segment {
            ports: [port(0), port(2)],
            seq: number(4),
            ack: number(8),
            flags: fixed[13],
            data: bytes.skip(header).ok_or(Skipped::BadHeader)?,
        })
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}
