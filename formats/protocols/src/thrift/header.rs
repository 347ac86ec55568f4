//! How a message begins: what carries it, and its own header.

use std::ops::Range;

use super::message::{Kind, Message};
use super::skip::Skipper;
use super::types::{Encoding, varint};
use crate::parts::Direction;

/// Longest name of a method that is kept.
pub(super) const MAX_NAME: usize = 128;
/// Longest name that a message may have.
const MAX_ANY_NAME: usize = 1024;
/// Longest frame. Servers refuse more than 16 MB (of old ones 256 MB) unless told otherwise.
const MAX_FRAME: u32 = 1 << 28;
/// Fields of THeader that are passed over to get at the message.
const MAX_FIELDS: usize = 4096;

/// What a message begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Bytes of the frame, length included; None without frames.
    pub(super) total: Option<u64>,
    /// THeader: the number that counts, and how many of its bytes may be kept.
    pub(super) theader: Option<(u32, usize)>,
    /// The message; None where it is compressed, or of an encoding that is not read.
    pub(super) message: Option<Message>,
}

/// How far the begin of a message is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Known(Known),
    /// So many bytes tell more.
    Need(usize),
    None,
}

impl Known {
    /// The number that pairs.
    pub(super) fn sequence(&self) -> u32 {
        self.theader
            .map(|(sequence, _)| sequence)
            .or(self.message.as_ref().map(|m| m.sequence))
            .unwrap_or_default()
    }

    /// Numbers of THeader begin at 0 or 1.
    pub(super) fn is_first(&self) -> bool {
        self.sequence() <= 1
    }
}

/// Whether a name may be kept.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_.:$/-".contains(&byte);
    let begins = name.first().is_some_and(|&byte| byte.is_ascii_alphabetic() || b"_$".contains(&byte));
    begins && name.len() <= MAX_NAME && name.iter().all(plain)
}

/// Whether a message that begins so begins with a length: of a frame, or of a name.
pub(super) fn may_have_length(bytes: &[u8]) -> bool {
    matches!(bytes, [..=0x10, ..])
}

/// Whether this may be the length of a frame, the rest of which comes in another call.
pub(super) fn is_length_alone(bytes: &[u8]) -> bool {
    let length = |bytes: [u8; 4]| u32::from_be_bytes(bytes);
    <[u8; 4]>::try_from(bytes).is_ok_and(|bytes| (8..1 << 26).contains(&length(bytes)))
}

/// How a message begins.
pub(super) fn start(bytes: &[u8]) -> Start {
    match *bytes {
        [0x80 | 0x82, ..] => unframed(bytes),
        [..=0x10, ..] | [] if bytes.len() < 8 => Start::Need(8),
        [a, b, c, d, 0x80 | 0x82 | 0, ..] => framed(u32::from_be_bytes([a, b, c, d]), bytes),
        [a, b, c, d, 0x0f, 0xff, ..] => theader(u32::from_be_bytes([a, b, c, d]), bytes),
        _ => unframed(bytes),
    }
}

fn unframed(bytes: &[u8]) -> Start {
    match message(bytes, 0) {
        Ok(message) => Start::Known(Known { total: None, theader: None, message: Some(message) }),
        Err(need) => need.map_or(Start::None, Start::Need),
    }
}

fn framed(length: u32, bytes: &[u8]) -> Start {
    let total = 4 + u64::from(length);
    match message(bytes, 4) {
        _ if length > MAX_FRAME => Start::None,
        // A struct takes a byte at least.
        Ok(message) if (message.end as u64) < total => {
            Start::Known(Known { total: Some(total), theader: None, message: Some(message) })
        }
        Err(Some(need)) if (need as u64) < total => Start::Need(need),
        _ => Start::None,
    }
}

/// The header format of fbthrift (`doc/specs/HeaderFormat.md` of Apache Thrift): length, magic, flags,
/// number, size of what follows in words; then encoding, transforms and fields, and the message.
fn theader(length: u32, bytes: &[u8]) -> Start {
    const FIXED: usize = 14;
    if length > MAX_FRAME {
        return Start::None;
    }
    let [_, _, _, _, _, _, _, _, a, b, c, d, high, low, ref fields @ ..] = *bytes else {
        return Start::Need(FIXED);
    };
    let total = 4 + u64::from(length);
    let end = FIXED + 4 * usize::from(u16::from_be_bytes([high, low]));
    if end as u64 > total || end == FIXED {
        return Start::None;
    }
    let (encoding, at) = match varint(fields) {
        Ok((encoding, at)) => (encoding, at),
        Err(need) => return need.map_or(Start::None, |need| Start::Need(FIXED + need)),
    };
    let (transforms, more) = match varint(&fields[at..]) {
        Ok(transforms) => transforms,
        Err(need) => return need.map_or(Start::None, |need| Start::Need(FIXED + at + need)),
    };
    let theader = Some((u32::from_be_bytes([a, b, c, d]), (FIXED + at + more).min(end)));
    let unread = Start::Known(Known { total: Some(total), theader, message: None });
    if transforms > 0 || !matches!(encoding, 0 | 2) || end > FIXED + MAX_FIELDS {
        return unread;
    }
    match message(bytes, end) {
        Ok(message) if (message.end as u64) < total => {
            Start::Known(Known { total: Some(total), theader, message: Some(message) })
        }
        Err(Some(need)) if (need as u64) < total => Start::Need(need),
        _ => unread,
    }
}

/// The header of the message that begins there. `Err` with how many bytes tell more: none where there is no
/// message.
fn message(bytes: &[u8], at: usize) -> Result<Message, Option<usize>> {
    match *bytes.get(at..).unwrap_or_default() {
        [0x80, 1, 0, kind, ..] => {
            let name = name(bytes, at + 8, word(bytes, at + 4)?)?;
            let (sequence, end) = (word(bytes, name.end)?, name.end + 4);
            checked(
                bytes,
                Message {
                    encoding: Encoding::Binary,
                    kind: Kind::of(kind).ok_or(None)?,
                    begin: at,
                    name,
                    sequence,
                    end,
                },
            )
        }
        [0x82, kind, ref rest @ ..] if kind & 0x1f == 1 => {
            let far = |base: usize| move |need: Option<usize>| need.map(|need| base + need);
            let (sequence, more) = varint(rest).map_err(far(at + 2))?;
            let (length, begin) = varint(&rest[more..]).map_err(far(at + 2 + more))?;
            let length = u32::try_from(length).map_err(|_| None)?;
            let name = name(bytes, at + 2 + more + begin, length)?;
            let (kind, end) = (Kind::of(kind >> 5).ok_or(None)?, name.end);
            // A number of 32 bits; some write more.
            checked(
                bytes,
                Message {
                    encoding: Encoding::Compact,
                    kind,
                    begin: at,
                    name,
                    sequence: sequence as u32,
                    end,
                },
            )
        }
        // Without a version the length of the name comes first, whose upper half is 0.
        [0, 0, ..] => {
            let name = name(bytes, at + 4, word(bytes, at)?)?;
            let &kind = bytes.get(name.end).ok_or(Some(name.end + 1))?;
            let (sequence, end) = (word(bytes, name.end + 1)?, name.end + 5);
            checked(
                bytes,
                Message {
                    encoding: Encoding::Binary,
                    kind: Kind::of(kind).ok_or(None)?,
                    begin: at,
                    name,
                    sequence,
                    end,
                },
            )
        }
        [] | [0x80] | [0x80, 1] | [0x80, 1, 0] | [0x82] | [0] => Err(Some(at + 4)),
        _ => Err(None),
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, Option<usize>> {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(Some(at + 4))?;
    Ok(u32::from_be_bytes(*word))
}

/// Where a name of this length stands. Its bytes may be missing.
fn name(bytes: &[u8], at: usize, length: u32) -> Result<Range<usize>, Option<usize>> {
    let length = length as usize;
    if length == 0 || length > MAX_ANY_NAME || bytes.get(at).is_some_and(|byte| !byte.is_ascii_graphic()) {
        return Err(None);
    }
    if bytes.len() < at + length { Err(Some(at + length)) } else { Ok(at..at + length) }
}

/// Names are of text, though not all of them may be kept; and a struct follows.
fn checked(bytes: &[u8], message: Message) -> Result<Message, Option<usize>> {
    let text = bytes[message.name.clone()].iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if text { Ok(message) } else { Err(None) }
}

/// Whether data begins a message of this direction beyond doubt: its name is that of a method, and as much of
/// its struct as is there is one. Of a frame nothing may be there of its struct: what is kept of it ends there.
pub(super) fn proves(direction: Direction, bytes: &[u8]) -> bool {
    let Start::Known(Known { total, message: Some(message), theader }) = start(bytes) else { return false };
    let mut rest = &bytes[message.end..];
    if let Some(total) = total {
        rest = &rest[..rest.len().min((total - message.end as u64) as usize)];
    }
    let has_version = bytes.first() == Some(&0x80) || bytes.get(4) == Some(&0x80) || theader.is_some();
    let name = &bytes[message.name.clone()];
    message.kind.direction() == direction
        && is_plain(name)
        && (has_version || (name.len() > 1 && (total.is_some() || !rest.is_empty())))
        && Skipper::of(&message).is_possible(rest, total.map(|total| total - message.end as u64))
}

/// Whether the first data of a connection may be the first part of a message's header: a version of a call
/// with what stands in front of it, or the length of a frame that comes alone.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let framed = match *bytes {
        [0, a, b, c, ..] => (8..1 << 20).contains(&u32::from_be_bytes([0, a, b, c])),
        _ => false,
    };
    let rest = if framed { &bytes[4..] } else { bytes };
    let begins = |begin: &[u8]| rest.starts_with(&begin[..begin.len().min(rest.len())]);
    let version = begins(&[0x80, 1, 0, 1])
        || begins(&[0x80, 1, 0, 4])
        || begins(&[0x82, 0x21])
        || begins(&[0x82, 0x81]);
    version && (framed || rest.len() > 1)
}
