//! Messages: how long they are, their fields, and what of them may be kept.

use crate::frames::{Measure, Runs};
use crate::parts::Direction;
use crate::sql::{self, Dialect};

/// Type and length of a message; of one without type length and code.
pub(super) const HEADER: usize = 5;

/// What of a statement is read.
const MAX_STATEMENT_BYTES: usize = 4096;

/// Longest name of a prepared statement or a portal that is known.
const MAX_NAME_BYTES: usize = 255;

/// What of an error is read: severity, twice, and code stand in front.
const MAX_ERROR_BYTES: usize = 160;

/// What of a start of a session is read.
const MAX_STARTUP_BYTES: usize = 1024;

/// Longest message without type (PostgreSQL: `MAX_STARTUP_PACKET_LENGTH`).
const LONGEST_STARTUP: u32 = 10_000;

/// Longest message (1 GiB, as PostgreSQL allows).
const LONGEST: u32 = 1 << 30;

/// What a message without type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untyped {
    Startup,
    /// TLS or GSSAPI is asked for: the answer is one byte.
    Encryption,
    Cancel,
}

impl Untyped {
    /// By its length and code.
    pub(super) fn of(head: &[u8]) -> Option<Untyped> {
        let (length, code) = (number(head, 0)?, number(head, 4)?);
        match (code, length) {
            (0x0003_0000..=0x0003_ffff, 9..=LONGEST_STARTUP) => Some(Untyped::Startup),
            (80_877_103 | 80_877_104, 8) => Some(Untyped::Encryption),
            (80_877_102, 16..=300) => Some(Untyped::Cancel),
            _ => None,
        }
    }
}

pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A text up to its NUL, and where the next field begins.
pub(super) fn text(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let length = memchr::memchr(0, rest)?;
    Some((&rest[..length], at + length + 1))
}

/// A text, or as much as there is of it: whether all is there, too.
pub(super) fn statement(bytes: &[u8], at: usize) -> (&[u8], bool) {
    match text(bytes, at) {
        Some((statement, _)) => (statement, true),
        None => (bytes.get(at..).unwrap_or_default(), false),
    }
}

/// Whether a name of a statement or a portal may be kept. Others are none to go by.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:/$#@-".contains(byte);
    name.len() <= MAX_NAME_BYTES && name.iter().all(plain)
}

/// Length of a message, its type included, if one of this type may be as long.
pub(super) fn total(direction: Direction, kind: u8, length: u32) -> Option<u64> {
    let fits = match (direction, kind) {
        (Direction::Requests, b'S' | b'H' | b'X' | b'c') => length == 4,
        (Direction::Requests, b'E') => length >= 9,
        (Direction::Requests, b'D' | b'C') => length >= 6,
        (Direction::Requests, b'B') => length >= 12,
        (Direction::Requests, b'P') => length >= 8,
        (Direction::Requests, b'Q' | b'f') => length >= 5,
        (Direction::Requests, b'F') => length >= 14,
        (Direction::Requests, b'd' | b'p') => length >= 4,
        (Direction::Responses, b'1' | b'2' | b'3' | b'n' | b'I' | b's' | b'c') => length == 4,
        (Direction::Responses, b'Z') => length == 5,
        (Direction::Responses, b'T' | b't' | b'D' | b'S') => length >= 6,
        (Direction::Responses, b'K' | b'v') => length >= 12,
        (Direction::Responses, b'R' | b'V') => length >= 8,
        (Direction::Responses, b'G' | b'H' | b'W') => length >= 7,
        (Direction::Responses, b'C' | b'E' | b'N') => length >= 5,
        (Direction::Responses, b'A') => length >= 10,
        (Direction::Responses, b'd') => length >= 4,
        _ => false,
    };
    (fits && length <= LONGEST).then_some(1 + u64::from(length))
}

/// How long the message is that begins so. `one_byte`: a byte without more is due.
pub(super) fn measure(direction: Direction, bytes: &[u8], one_byte: bool) -> Measure {
    let Some(&kind) = bytes.first() else { return Measure::Need(1) };
    if one_byte && matches!(kind, b'N' | b'S' | b'G') {
        return Measure::Frame { total: 1, head: 1 };
    }
    if direction == Direction::Requests && kind == 0 {
        return match (bytes.len() >= 8, Untyped::of(bytes)) {
            (false, _) => Measure::Need(8),
            (true, Some(_)) => {
                let total = number(bytes, 0).map_or(8, u64::from);
                Measure::Frame { total, head: MAX_STARTUP_BYTES }
            }
            (true, None) => Measure::None,
        };
    }
    let Some(length) = number(bytes, 1) else { return Measure::Need(HEADER) };
    match total(direction, kind, length) {
        Some(total) => Measure::Frame { total, head: head_length(direction, kind) },
        None => Measure::None,
    }
}

/// How much of a message is read.
fn head_length(direction: Direction, kind: u8) -> usize {
    match (direction, kind) {
        (Direction::Requests, b'Q' | b'P') => MAX_STATEMENT_BYTES,
        (Direction::Requests, b'B') => 2 * MAX_NAME_BYTES,
        (Direction::Requests, b'D' | b'C' | b'E') => HEADER + MAX_NAME_BYTES + 6,
        (Direction::Responses, b'E') => MAX_ERROR_BYTES,
        (Direction::Responses, b'C') => HEADER + 64,
        (Direction::Responses, b'T' | b'D') => HEADER + 2,
        (Direction::Responses, b'R') => HEADER + 4,
        (Direction::Responses, b'Z') => HEADER + 1,
        _ => HEADER,
    }
}

/// Tells what of a message may be kept.
pub(super) fn keep(direction: Direction, head: &[u8], runs: &mut Runs) {
    let Some(&kind) = head.first() else { return };
    if direction == Direction::Requests && kind == 0 {
        return keep_untyped(head, runs);
    }
    runs.keep(head.len().min(HEADER));
    match (direction, kind) {
        (Direction::Requests, b'Q') => keep_statement(head, runs),
        (Direction::Requests, b'P') => {
            keep_name(head, runs);
            keep_statement(head, runs);
            let types = short(head, runs.at()).unwrap_or(0);
            keep_rest(head, 2 + 4 * usize::from(types), runs);
        }
        (Direction::Requests, b'B') => {
            keep_name(head, runs);
            keep_name(head, runs);
            keep_formats(head, runs);
            keep_parameters(head, runs);
            keep_formats(head, runs);
        }
        (Direction::Requests, b'D' | b'C') => {
            keep_rest(head, 1, runs);
            keep_name(head, runs);
        }
        (Direction::Requests, b'E') => {
            keep_name(head, runs);
            keep_rest(head, 4, runs);
        }
        (Direction::Responses, b'C') => keep_tag(head, runs),
        (Direction::Responses, b'E') => keep_error(head, runs),
        (Direction::Responses, b'T' | b'D' | b'R' | b'Z') => keep_rest(head, 4, runs),
        _ => {}
    }
}

/// So many bytes more, or as many as there are.
fn keep_rest(head: &[u8], length: usize, runs: &mut Runs) {
    runs.keep(head.len().saturating_sub(runs.at()).min(length));
}

fn keep_statement(head: &[u8], runs: &mut Runs) {
    let (statement, whole) = statement(head, runs.at());
    sql::keep(statement, Dialect::PostgreSql, whole, runs);
    runs.keep(usize::from(whole));
}

/// A name if it may be, else what ends it alone.
fn keep_name(head: &[u8], runs: &mut Runs) -> bool {
    let Some((name, _)) = text(head, runs.at()) else {
        runs.blank(head.len().saturating_sub(runs.at()));
        return false;
    };
    if is_plain(name) {
        runs.keep(name.len());
    } else {
        runs.blank(name.len());
    }
    runs.keep(1);
    true
}

fn keep_formats(head: &[u8], runs: &mut Runs) {
    let count = short(head, runs.at()).unwrap_or(0);
    keep_rest(head, 2 + 2 * usize::from(count), runs);
}

/// How many parameters there are, and their lengths.
fn keep_parameters(head: &[u8], runs: &mut Runs) {
    let count = short(head, runs.at()).unwrap_or(0);
    keep_rest(head, 2, runs);
    for _ in 0..count {
        let left = head.len().saturating_sub(runs.at());
        let length = number(head, runs.at()).map_or(0, |length| length as i32);
        if left < 4 {
            return runs.blank(left);
        }
        runs.keep(4);
        runs.blank((length.max(0) as usize).min(left - 4));
    }
}

/// The command tag: words of capitals, and numbers.
fn keep_tag(head: &[u8], runs: &mut Runs) {
    let tag = text(head, runs.at()).map(|(tag, _)| tag).filter(|tag| is_tag(tag));
    if let Some(tag) = tag {
        runs.keep(tag.len() + 1);
    }
}

pub(super) fn is_tag(tag: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    tag.first().is_some_and(u8::is_ascii_uppercase) && tag.iter().all(plain)
}

/// Of a start of a session the names of its parameters, and which database it is for.
fn keep_untyped(head: &[u8], runs: &mut Runs) {
    runs.keep(head.len().min(8));
    if Untyped::of(head) != Some(Untyped::Startup) {
        return;
    }
    while let Some((name, value)) = text(head, runs.at()) {
        keep_name(head, runs);
        if matches!(name, b"database" | b"replication" | b"client_encoding") {
            keep_name(head, runs);
        } else if let Some((_, end)) = text(head, value) {
            runs.blank(end - 1 - value);
            runs.keep(1);
        } else {
            return;
        }
    }
}

/// The value of a parameter of a start of a session.
pub(super) fn parameter<'a>(head: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut at = 8;
    loop {
        let (name, value) = text(head, at)?;
        let (value, next) = text(head, value)?;
        if name == wanted {
            return Some(value);
        }
        at = next;
    }
}

/// Severity and code, which stand in front of all else.
fn keep_error(head: &[u8], runs: &mut Runs) {
    while let Some(kind) = head.get(runs.at()) {
        let value = text(head, runs.at() + 1).map(|(value, _)| value);
        let harmless = |value: &&[u8]| value.len() <= 16 && value.iter().all(|&byte| is_code(byte));
        match (kind, value) {
            (b'S' | b'V' | b'C', Some(value)) => {
                runs.keep(1);
                match Some(value).filter(harmless) {
                    Some(value) => runs.keep(value.len()),
                    None => runs.blank(value.len()),
                }
                runs.keep(1);
            }
            _ => return,
        }
    }
}

fn is_code(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// Code of an error, and whether it ends the session.
pub(super) fn error(head: &[u8]) -> (Option<&[u8]>, bool) {
    let (mut at, mut code, mut fatal) = (HEADER, None, false);
    while let (Some(kind), Some((value, next))) = (head.get(at), text(head, at + 1)) {
        match kind {
            b'S' | b'V' => fatal |= matches!(value, b"FATAL" | b"PANIC"),
            b'C' => code = Some(value).filter(|code| code.len() == 5),
            _ => break,
        }
        at = next;
    }
    (code, fatal)
}
