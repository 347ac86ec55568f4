//! Segments, which messages of version 5 come in (section 2 of its description).

/// Bytes of a header, and of the checksum behind the content.
pub(super) const HEADER: usize = 6;
pub(super) const TRAILER: u64 = 4;

/// Header of a segment that is not compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Bytes of its content.
    pub(super) length: u32,
    /// It has whole messages; else a part of one.
    pub(super) alone: bool,
}

impl Segment {
    /// Reads a header whose checksum is right.
    pub(super) fn of(bytes: &[u8]) -> Option<Segment> {
        let [a, b, c, x, y, z] = *bytes.first_chunk::<HEADER>()?;
        let checksum = u32::from_le_bytes([x, y, z, 0]);
        let header = u32::from_le_bytes([a, b, c, 0]);
        // The rest of the header is padding.
        let fits = header >> 18 == 0 && checksum == crc24(&[a, b, c]);
        fits.then_some(Segment { length: header & 0x1_ffff, alone: header & 0x2_0000 != 0 })
    }
}

/// Checksum of a header.
pub(super) fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x87_5060, |mut crc, &byte| {
        crc ^= u32::from(byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x100_0000 != 0 {
                crc ^= 0x197_4f0b;
            }
        }
        crc
    })
}
