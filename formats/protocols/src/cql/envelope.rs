//! Messages ("envelopes"): header and fields.

use super::codes;
use crate::parts::Direction;

/// Bytes of a header.
pub(super) const HEADER: usize = 9;

/// Longest body (Cassandra's default of `native_transport_max_frame_size` and more).
const LONGEST: u32 = 256 << 20;

/// What of a statement is read.
pub(super) const MAX_STATEMENT_BYTES: usize = 4096;

/// Longest id of a prepared statement that is known: it is a digest of 16 bytes.
pub(super) const MAX_ID_BYTES: usize = 64;

const COMPRESSED: u8 = 0x01;
const TRACING: u8 = 0x02;
const PAYLOAD: u8 = 0x04;
const WARNING: u8 = 0x08;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    flags: u8,
    pub(super) stream: i16,
    pub(super) opcode: u8,
    /// Bytes of its body.
    pub(super) length: u32,
    answer: bool,
}

impl Header {
    /// Reads a header, if there may be such a one.
    pub(super) fn of(direction: Direction, bytes: &[u8]) -> Option<Header> {
        let [version, flags, s0, s1, opcode, l0, l1, l2, l3] = *bytes.first_chunk::<HEADER>()?;
        let answer = direction == Direction::Responses;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let stream = i16::from_be_bytes([s0, s1]);
        let known = if answer { codes::is_answer(opcode) } else { codes::request(opcode).is_some() };
        let of_stream = if answer { stream >= -1 } else { stream >= 0 };
        let header = Header { version: version & 0x7f, flags, stream, opcode, length, answer };
        let fits = (version & 0x80 != 0) == answer
            && matches!(header.version, 3..=5)
            && flags < 0x20
            && known
            && of_stream
            && length <= LONGEST
            && length >= header.least();
        fits.then_some(header)
    }

    /// The least bytes that its body has.
    fn least(self) -> u32 {
        match self.opcode {
            _ if self.is_compressed() => 1,
            codes::READY | codes::OPTIONS => 0,
            codes::STARTUP | codes::REGISTER | codes::SUPPORTED | codes::AUTHENTICATE => 2,
            codes::ERROR | codes::QUERY | codes::EVENT => 6,
            codes::BATCH => 5,
            _ => 4,
        }
    }

    pub(super) fn is_compressed(self) -> bool {
        self.flags & COMPRESSED != 0
    }

    pub(super) fn total(self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    /// How much of it is read.
    pub(super) fn head_length(self) -> usize {
        let fields = match (self.is_compressed(), self.opcode) {
            (true, _) => 0,
            (_, codes::QUERY | codes::PREPARE | codes::BATCH) => MAX_STATEMENT_BYTES,
            (_, codes::EXECUTE) => 2 * (2 + MAX_ID_BYTES) + 8,
            (_, codes::STARTUP) => 512,
            (_, codes::ERROR) => 4,
            (_, codes::RESULT) => 12 + MAX_ID_BYTES,
            _ => 0,
        };
        let in_front = if self.has_front() { 1024 } else { 0 };
        HEADER + fields + if fields > 0 { in_front } else { 0 }
    }

    fn has_front(self) -> bool {
        self.flags & (TRACING | PAYLOAD | WARNING) != 0
    }

    /// Where its own fields begin. Tells of what stands in front (trace id, warnings, payload) how many bytes
    /// may be kept and how many must not, in turns. None: it goes on behind what is there.
    pub(super) fn front(self, head: &[u8], mut tell: impl FnMut(usize, usize)) -> Option<usize> {
        let mut at = HEADER;
        let mut step = |kept: usize, length: usize| {
            at += kept + length;
            tell(kept, length);
            (at <= head.len()).then_some(at)
        };
        let mut end = HEADER;
        if self.answer && self.flags & TRACING != 0 {
            end = step(0, 16)?;
        }
        if self.answer && self.flags & WARNING != 0 {
            let count = short(head, end)?;
            end = step(2, 0)?;
            for _ in 0..count {
                end = step(2, usize::from(short(head, end)?))?;
            }
        }
        if self.flags & PAYLOAD != 0 {
            let count = short(head, end)?;
            end = step(2, 0)?;
            for _ in 0..count {
                end = step(2, usize::from(short(head, end)?))?;
                end = step(4, (int(head, end)? as i32).max(0) as usize)?;
            }
        }
        Some(end)
    }
}

pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn int(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A text with its length in two bytes, and where the next field begins.
pub(super) fn string(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + 2 + usize::from(short(bytes, at)?);
    Some((bytes.get(at + 2..end)?, end))
}

/// A text with its length in four bytes, or as much as there is of it: whether all is there, too.
pub(super) fn long_string(bytes: &[u8], at: usize) -> Option<(&[u8], bool)> {
    let length = int(bytes, at)? as usize;
    let rest = &bytes[at + 4..];
    Some((&rest[..length.min(rest.len())], length <= rest.len()))
}

/// The id of a prepared statement.
pub(super) fn id(bytes: &[u8], at: usize) -> Option<&[u8]> {
    string(bytes, at).map(|(id, _)| id).filter(|id| id.len() <= MAX_ID_BYTES)
}

/// The value of an option of STARTUP.
pub(super) fn option<'a>(bytes: &'a [u8], at: usize, wanted: &[u8]) -> Option<&'a [u8]> {
    let mut next = at + 2;
    for _ in 0..short(bytes, at)? {
        let (name, value) = string(bytes, next)?;
        let (value, end) = string(bytes, value)?;
        if name == wanted {
            return Some(value);
        }
        next = end;
    }
    None
}

/// Whether a keyspace's name may be kept.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    !name.is_empty() && name.len() <= 255 && name.iter().all(plain)
}

/// Kinds of results.
pub(super) const VOID: u32 = 1;
pub(super) const ROWS: u32 = 2;
pub(super) const KEYSPACE: u32 = 3;
pub(super) const PREPARED: u32 = 4;
pub(super) const SCHEMA: u32 = 5;
