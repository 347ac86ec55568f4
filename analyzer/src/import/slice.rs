//! The bytes of a packet from some header on: those that were kept, and how many there were.
//!
//! Headers are read by hand here and in what follows: a snap length cuts packets anywhere, and of a cut
//! packet the true length counts. The crates that read packets take what is there for all there is, or refuse
//! it.

/// The rest of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice<'a> {
    /// The first bytes, as far as they were kept.
    pub known: &'a [u8],
    /// How many there were; at least as many.
    pub length: usize,
}

impl<'a> Slice<'a> {
    /// All of these bytes.
    pub fn whole(known: &'a [u8]) -> Slice<'a> {
        Slice { known, length: known.len() }
    }

    /// What follows the first `bytes`.
    pub fn skip(self, bytes: usize) -> Option<Slice<'a>> {
        let known = self.known.get(bytes..).unwrap_or_default();
        Some(Slice { known, length: self.length.checked_sub(bytes)? })
    }

    /// The first `bytes` alone: what follows is padding. Where the packet claims to be longer than it was, it
    /// is as long as it claims: who captured it may have had less.
    pub fn limit(self, bytes: usize) -> Slice<'a> {
        Slice { known: &self.known[..self.known.len().min(bytes)], length: bytes }
    }

    /// Big-endian number at an offset.
    pub fn u8(self, at: usize) -> Option<u8> {
        self.known.get(at).copied()
    }

    /// Big-endian number at an offset.
    pub fn u16(self, at: usize) -> Option<u16> {
        self.known.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Big-endian number at an offset.
    pub fn u32(self, at: usize) -> Option<u32> {
        self.known.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}
