//! Whether bytes are messages of this protocol.

use super::codes;
use super::envelope::{self, HEADER, Header, int, long_string, short};
use super::segment::{self, Segment};
use crate::parts::Direction;
use crate::protocol::Verdict;
use crate::sql::{self, Dialect};

/// `fresh`: nothing was sent before.
pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    let proven = match Segment::of(bytes) {
        Some(segment) => in_segment(direction, segment, &bytes[segment::HEADER..]),
        None => in_none(direction, bytes),
    };
    match proven {
        true => Verdict::Surely,
        false if fresh && direction == Direction::Requests && may_begin(bytes) => Verdict::Maybe,
        false => Verdict::No,
    }
}

/// Whether it may be a part of the header of what sessions begin with.
fn may_begin(bytes: &[u8]) -> bool {
    let opcode = |opcode: &u8| matches!(*opcode, codes::STARTUP | codes::OPTIONS);
    bytes.len() >= 2 && matches!(bytes[0], 3..=5) && bytes[1] & 0xef == 0 && bytes.get(4).is_none_or(opcode)
}

/// The checksum of the header speaks for it, and the message that begins there.
fn in_segment(direction: Direction, segment: Segment, content: &[u8]) -> bool {
    let header = Header::of(direction, content);
    header.is_some_and(|header| {
        let fits = header.total() <= u64::from(segment.length);
        header.version == 5 && fits == segment.alone
    })
}

/// A message whose content agrees with its header, and what follows agrees as well.
fn in_none(direction: Direction, bytes: &[u8]) -> bool {
    let Some(header) = Header::of(direction, bytes) else { return false };
    let whole = header.total() <= bytes.len() as u64;
    let behind = if whole { &bytes[header.total() as usize..] } else { &[] };
    let version = |next: Header| next.version == header.version;
    if behind.len() >= HEADER && !Header::of(direction, behind).is_some_and(version) {
        return false;
    }
    let exact = whole && (behind.is_empty() || behind.len() >= HEADER);
    if header.is_compressed() {
        return exact && header.version < 5;
    }
    let message = &bytes[..bytes.len().min(header.total() as usize)];
    let Some(at) = header.front(message, |_, _| {}) else { return false };
    match header.opcode {
        codes::OPTIONS | codes::READY => exact && header.length == 0,
        codes::QUERY | codes::PREPARE => statement(header, message, at),
        codes::EXECUTE => execute(header, message, at),
        codes::BATCH => batch(header, message, at),
        codes::STARTUP => {
            let known = |name: &[u8]| envelope::option(message, at, name).is_some();
            short(message, at).is_some_and(|count| count < 64) && known(b"CQL_VERSION")
        }
        codes::ERROR => error(header, message, at),
        codes::RESULT => result(header, message, at),
        _ => false,
    }
}

/// A statement that begins with a word of CQL and ends within the message.
fn statement(header: Header, message: &[u8], at: usize) -> bool {
    let fits = int(message, at).is_some_and(|length| at as u64 + 4 + u64::from(length) <= header.total());
    let Some((statement, whole)) = long_string(message, at).filter(|_| fits) else { return false };
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    !statement.iter().any(control) && sql::first_word(statement, Dialect::Cql, whole).is_some()
}

/// An id of the usual length, a consistency level, and flags.
fn execute(header: Header, message: &[u8], at: usize) -> bool {
    let ids = if header.version >= 5 { 2 } else { 1 };
    let at = (0..ids).try_fold(at, |at, _| (short(message, at)? == 16).then_some(at + 18));
    let consistency = at.and_then(|at| short(message, at));
    consistency.is_some_and(|consistency| consistency <= 10)
}

fn batch(header: Header, message: &[u8], at: usize) -> bool {
    let (Some(kind), Some(count)) = (message.get(at), short(message, at + 1)) else { return false };
    if *kind > 2 || count == 0 {
        return false;
    }
    match message.get(at + 3) {
        Some(0) => statement(header, message, at + 4),
        Some(1) => short(message, at + 4) == Some(16) && message.len() >= at + 4 + 18,
        _ => false,
    }
}

/// A known code, and a text behind it.
fn error(header: Header, message: &[u8], at: usize) -> bool {
    let code = int(message, at).and_then(|code| u16::try_from(code).ok());
    header.length >= 6 && code.is_some_and(|code| codes::name(code).is_some())
}

fn result(header: Header, message: &[u8], at: usize) -> bool {
    let length = header.total() as usize - at;
    match int(message, at) {
        Some(envelope::VOID) => length == 4,
        Some(envelope::ROWS) => {
            let (flags, columns) = (int(message, at + 4), int(message, at + 8));
            length >= 16
                && flags.is_some_and(|flags| flags < 0x20)
                && columns.is_some_and(|count| count < 0x1000)
        }
        Some(envelope::PREPARED) => short(message, at + 4) == Some(16) && length >= 30,
        Some(envelope::KEYSPACE) => {
            short(message, at + 4).is_some_and(|name| usize::from(name) + 6 == length)
        }
        Some(envelope::SCHEMA) => length >= 12,
        _ => false,
    }
}
