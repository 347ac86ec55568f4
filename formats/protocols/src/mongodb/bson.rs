//! Elements of documents (<https://bsonspec.org>), one after another, by their lengths alone.

/// Longest name of an element that is looked at.
const MAX_NAME: usize = 256;

/// The first bytes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) kind: u8,
    pub(super) name: &'a [u8],
    /// Bytes in front of its value.
    pub(super) head: usize,
    /// Bytes of it.
    pub(super) total: u64,
}

pub(super) const DOUBLE: u8 = 0x01;
pub(super) const STRING: u8 = 0x02;
pub(super) const DOCUMENT: u8 = 0x03;
pub(super) const BOOL: u8 = 0x08;
/// A regular expression: two texts that end with NUL.
pub(super) const EXPRESSION: u8 = 0x0b;
pub(super) const INT32: u8 = 0x10;
pub(super) const INT64: u8 = 0x12;

/// How the bytes go on that are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    Got(T),
    /// So many bytes must be there to tell more.
    Need(usize),
    /// They are not what they should be.
    Bad,
}

/// Little-endian number of four bytes there.
pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The text there, which ends with NUL, at most `most` bytes.
pub(super) fn cstring(bytes: &[u8], at: usize, most: usize) -> Read<&[u8]> {
    let rest = bytes.get(at..).unwrap_or_default();
    match memchr::memchr(0, &rest[..rest.len().min(most + 1)]) {
        Some(length) => Read::Got(&rest[..length]),
        None if rest.len() > most => Read::Bad,
        None => Read::Need(bytes.len().max(at) + 1),
    }
}

/// Whether an element may have this type.
pub(super) fn is_kind(kind: u8) -> bool {
    matches!(kind, 0x01..=0x13 | 0x7f | 0xff)
}

/// The element that begins so: no NUL, which ends its document.
pub(super) fn element(bytes: &[u8]) -> Read<Element<'_>> {
    let Some(&kind) = bytes.first() else { return Read::Need(1) };
    if !is_kind(kind) {
        return Read::Bad;
    }
    let name = match cstring(bytes, 1, MAX_NAME) {
        Read::Got(name) => name,
        Read::Need(wanted) => return Read::Need(wanted),
        Read::Bad => return Read::Bad,
    };
    let head = 1 + name.len() + 1;
    let prefixed = |more: u64| match i32_at(bytes, head) {
        Some(length) if length >= 0 => Read::Got(length as u64 + more),
        Some(_) => Read::Bad,
        None => Read::Need(head + 4),
    };
    let value = match kind {
        DOUBLE | 0x09 | 0x11 | INT64 => Read::Got(8),
        STRING | 0x0d | 0x0e => prefixed(4),
        DOCUMENT | 0x04 | 0x0f => prefixed(0),
        0x05 => prefixed(5),
        0x07 => Read::Got(12),
        BOOL => Read::Got(1),
        EXPRESSION => expression(bytes, head),
        0x0c => prefixed(4 + 12),
        INT32 => Read::Got(4),
        0x13 => Read::Got(16),
        _ => Read::Got(0),
    };
    match value {
        Read::Got(value) => Read::Got(Element { kind, name, head, total: head as u64 + value }),
        Read::Need(wanted) => Read::Need(wanted),
        Read::Bad => Read::Bad,
    }
}

/// Bytes of a regular expression: it and its options.
fn expression(bytes: &[u8], at: usize) -> Read<u64> {
    let mut length = 0;
    for most in [4096, 64] {
        match cstring(bytes, at + length, most) {
            Read::Got(text) => length += text.len() + 1,
            Read::Need(wanted) => return Read::Need(wanted),
            Read::Bad => return Read::Bad,
        }
    }
    Read::Got(length as u64)
}

/// The number that an element's value is, where it is a whole one or a boolean.
pub(super) fn number(kind: u8, value: &[u8]) -> Option<i64> {
    match kind {
        DOUBLE => {
            let double = f64::from_le_bytes(*value.first_chunk()?);
            (double.fract() == 0.0 && double.abs() < 1e15).then_some(double as i64)
        }
        INT32 => Some(i32::from_le_bytes(*value.first_chunk()?).into()),
        INT64 => Some(i64::from_le_bytes(*value.first_chunk()?)),
        BOOL => Some((*value.first()?).into()),
        _ => None,
    }
}

/// The text of a string whose value begins so, if all of it is there.
pub(super) fn text(value: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(i32_at(value, 0)?).ok()?;
    let (end, text) = value.get(4..4usize.checked_add(length)?)?.split_last()?;
    (*end == 0).then_some(text)
}
