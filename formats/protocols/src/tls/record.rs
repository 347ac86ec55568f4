//! Records (RFC 8446, section 5.1), and what data must look like to be some.

use super::hello::{CLIENT_HELLO, SERVER_HELLO};
use crate::parts::Direction;

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;

/// Longest content, with what encryption and compression add.
const MAX_CONTENT: u16 = 16_384 + 2_048;

/// Fewest bytes that tell a hello: headers of record and message, and the version.
pub(super) const LEAST: usize = 11;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    Application,
    Heartbeat,
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) content: Content,
    /// Bytes that follow.
    pub(super) length: u16,
}

impl Header {
    /// The header that these bytes begin with.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let &[kind, major, minor, high, low] = bytes.first_chunk()?;
        let content = match kind {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::Application,
            24 => Content::Heartbeat,
            _ => return None,
        };
        let length = u16::from_be_bytes([high, low]);
        let fits = match content {
            Content::Application => true,
            Content::ChangeCipherSpec => length > 0 && length <= 256,
            _ => length > 0,
        };
        (major == 3 && minor <= 4 && length <= MAX_CONTENT && fits).then_some(Header { content, length })
    }

    /// Bytes of the record.
    pub(super) fn total(&self) -> usize {
        HEADER + usize::from(self.length)
    }
}

/// Whether these few bytes may be the first of a record.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let fits = |at: usize, fits: fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| fits(byte));
    fits(0, |kind| (20..=24).contains(&kind)) && fits(1, |major| major == 3) && fits(2, |minor| minor <= 4)
}

/// Whether data begins with the hello of this direction. A record may hold a part of it.
pub(super) fn is_hello(direction: Direction, bytes: &[u8]) -> bool {
    let Some(Header { content: Content::Handshake, length: record }) = Header::of(bytes) else {
        return false;
    };
    let Some(&[kind, a, b, c, major, minor]) = bytes[HEADER..].first_chunk() else { return false };
    let (expected, least) = match direction {
        Direction::Requests => (CLIENT_HELLO, 41),
        Direction::Responses => (SERVER_HELLO, 38),
    };
    let length = u32::from_be_bytes([0, a, b, c]);
    // Other messages of the server may follow its hello.
    let fits = direction == Direction::Responses || length + 4 >= record.into();
    let session = bytes.get(HEADER + 4 + 2 + 32).is_none_or(|&length| length <= 32);
    kind == expected && major == 3 && minor <= 4 && (least..1 << 16).contains(&length) && fits && session
}

/// Whether data begins with the hello of SSL 2.0 in which old clients offer later versions (RFC 5246,
/// appendix E.2).
pub(super) fn is_old_hello(bytes: &[u8]) -> bool {
    let Some(&[high, low, 1, major, minor, a, b, c, d, e, f]) = bytes.first_chunk::<LEAST>() else {
        return false;
    };
    let word = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
    let (suites, session, challenge) = (word(a, b), word(c, d), word(e, f));
    high & 0x80 != 0
        && matches!((major, minor), (3, 0..=3) | (0, 2))
        && suites % 3 == 0
        && suites > 0
        && matches!(session, 0 | 16)
        && (16..=32).contains(&challenge)
        && old_total(high, low) == LEAST + suites + session + challenge
}

/// Bytes of such a hello.
pub(super) fn old_total(high: u8, low: u8) -> usize {
    2 + usize::from(u16::from_be_bytes([high & 0x7f, low]))
}

/// Whether data within a connection begins with encrypted data.
pub(super) fn is_application(bytes: &[u8]) -> bool {
    Header::of(bytes).is_some_and(|header| header.content == Content::Application && header.length > 16)
}

/// Whether data within a connection begins with records: all of it is one, or the header of another follows.
pub(super) fn are_records(bytes: &[u8]) -> bool {
    let Some(first) = Header::of(bytes) else { return false };
    let length_fits = match first.content {
        Content::ChangeCipherSpec => first.length == 1,
        Content::Alert => first.length == 2 || first.length > 16,
        _ => first.length > 16,
    };
    let next = bytes.get(first.total()..);
    let next_fits = next.is_some_and(|next| next.is_empty() || Header::of(next).is_some());
    length_fits && next_fits && first.content != Content::Heartbeat
}
