//! Whether bytes are messages of this protocol.

use super::messages::{self, HEADER, Untyped, number, short, text};
use crate::blank::BLANK;
use crate::parts::Direction;
use crate::protocol::Verdict;
use crate::sql::{self, Dialect};

/// ReadyForQuery, without the state of the transaction.
pub(super) const READY: &[u8] = &[b'Z', 0, 0, 0, 5];

/// Whether they end with ReadyForQuery.
pub(super) fn ends_ready(bytes: &[u8]) -> bool {
    let ready = bytes.strip_suffix(b"I").or(bytes.strip_suffix(b"T")).or(bytes.strip_suffix(b"E"));
    ready.is_some_and(|ready| ready.ends_with(READY))
}

/// Sync.
pub(super) const SYNC: &[u8] = &[b'S', 0, 0, 0, 4];

/// Whether they end with an Execute of all rows and Sync. Of the former nothing is kept; of the latter, only behind it.
pub(super) fn ends_executed(bytes: &[u8]) -> bool {
    let before = bytes.strip_suffix(SYNC);
    before.is_some_and(|before| before.ends_with(&[0, 0, 0]) || before.ends_with(&[BLANK; 3]))
}

pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    if direction == Direction::Requests && bytes.first() == Some(&0) {
        return untyped(bytes, fresh);
    }
    let points = match points(direction, bytes) {
        Some(points) => points,
        None => return Verdict::No,
    };
    if points >= PROOF { Verdict::Surely } else { Verdict::No }
}

/// What it takes: one message whose content agrees with its length in several places, or some that follow
/// each other.
const PROOF: u32 = 3;

fn untyped(bytes: &[u8], fresh: bool) -> Verdict {
    let length = number(bytes, 0).map_or(0, |length| length as usize);
    match Untyped::of(bytes) {
        Some(Untyped::Encryption) if bytes.len() == 8 => Verdict::Surely,
        Some(Untyped::Cancel) if bytes.len() <= length => Verdict::Surely,
        Some(Untyped::Startup) if bytes.len() <= length => startup(bytes, length, fresh),
        None if fresh && bytes.len() < 8 && bytes.get(4..6) == Some(&[0, 3]) => Verdict::Maybe,
        _ => Verdict::No,
    }
}

/// Names and values in turns, with nothing behind them.
fn startup(bytes: &[u8], length: usize, fresh: bool) -> Verdict {
    let mut at = 8;
    let mut known = false;
    while let Some((name, value)) = text(bytes, at) {
        if name.is_empty() {
            return if known && value == length { Verdict::Surely } else { Verdict::No };
        }
        if !messages::is_plain(name) {
            return Verdict::No;
        }
        known |= matches!(name, b"user" | b"database" | b"client_encoding" | b"application_name");
        let Some((_, next)) = text(bytes, value) else { break };
        at = next;
    }
    match (bytes.len() < length, known, fresh) {
        (true, true, _) => Verdict::Surely,
        (true, false, true) => Verdict::Maybe,
        _ => Verdict::No,
    }
}

/// How much speaks for it; None: something speaks against it.
fn points(direction: Direction, bytes: &[u8]) -> Option<u32> {
    let (mut at, mut points) = (0, 0);
    while points < PROOF && bytes.len() - at >= HEADER {
        let rest = &bytes[at..];
        let total = messages::total(direction, rest[0], number(rest, 1)?)? as usize;
        let message = &rest[..total.min(rest.len())];
        let whole = total <= rest.len();
        points += match direction {
            Direction::Requests => of_request(message, whole)?,
            Direction::Responses => of_answer(message, whole)?,
        };
        at += message.len();
    }
    Some(points)
}

/// What a request says for itself.
fn of_request(message: &[u8], whole: bool) -> Option<u32> {
    match message[0] {
        b'Q' => statement(message, HEADER, whole, 0),
        b'P' => {
            let Some(at) = name(message, HEADER, whole)? else { return Some(0) };
            let types = text(message, at).map(|(_, end)| end);
            let count = types.and_then(|at| short(message, at));
            match (types, count) {
                (Some(at), Some(count)) if whole => {
                    (at + 2 + 4 * usize::from(count) == message.len()).then_some(())?;
                }
                _ if whole => return None,
                _ => {}
            }
            let behind = types.map_or(0, |at| message.len() - at);
            statement(message, at, whole, behind)
        }
        b'B' => bind(message, whole),
        b'D' | b'C' => {
            let kind = message.get(HEADER).is_none_or(|kind| matches!(kind, b'S' | b'P'));
            let end = name(message, HEADER + 1, whole)?.filter(|_| kind);
            // Tags of answers look the same where they begin with such a letter.
            let tag = message[0] == b'C'
                && sql::first_word(&message[HEADER..], Dialect::PostgreSql, false).is_some();
            (end == Some(message.len()) || !whole && kind).then_some(u32::from(whole && !tag))
        }
        b'E' => {
            let end = name(message, HEADER, whole)?;
            (!whole || end.map(|at| at + 4) == Some(message.len())).then_some(u32::from(whole) * PROOF)
        }
        b'S' | b'H' | b'X' => Some(1),
        b'f' | b'F' | b'p' => Some(u32::from(whole)),
        // Both sides send them.
        b'd' | b'c' => Some(0),
        _ => None,
    }
}

/// The end of a name that may be one; None within: it goes on behind what is there.
fn name(message: &[u8], at: usize, whole: bool) -> Option<Option<usize>> {
    match text(message, at) {
        // What is not plain is blank where it was not kept.
        Some((name, end)) => {
            (name.len() <= 255 && !name.iter().any(u8::is_ascii_control)).then_some(Some(end))
        }
        None => (!whole).then_some(None),
    }
}

/// A statement that begins there: with nothing but `behind` bytes after its NUL, if all of it is there.
fn statement(message: &[u8], at: usize, whole: bool, behind: usize) -> Option<u32> {
    let (statement, ended) = messages::statement(message, at);
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && *byte != 0x0b;
    if statement.iter().any(control) || whole && !ended {
        return None;
    }
    if ended && at + statement.len() + 1 + behind != message.len() {
        return None;
    }
    let known = sql::first_word(statement, Dialect::PostgreSql, ended).is_some();
    Some(if known { PROOF } else { u32::from(whole) })
}

/// Names, formats, lengths of parameters, formats: they end where the message does.
fn bind(message: &[u8], whole: bool) -> Option<u32> {
    let mut at = HEADER;
    for _ in 0..2 {
        let Some(end) = name(message, at, whole)? else { return Some(0) };
        at = end;
    }
    let formats = |at: usize| {
        let count = usize::from(short(message, at)?);
        let formats = message.get(at + 2..)?.chunks_exact(2).take(count);
        let plain = formats.into_iter().all(|format| matches!(format, [0, 0 | 1]));
        plain.then_some(at + 2 + 2 * count)
    };
    let end = (|| {
        at = formats(at)?;
        let count = short(message, at)?;
        at += 2;
        for _ in 0..count {
            let length = number(message, at)? as i32;
            at += 4 + usize::try_from(length.max(0)).ok()?;
        }
        formats(at)
    })();
    match end {
        Some(end) if whole => (end == message.len()).then_some(PROOF),
        None if whole => None,
        _ => Some(0),
    }
}

/// What an answer says for itself.
fn of_answer(message: &[u8], whole: bool) -> Option<u32> {
    let columns = |least: usize, each: usize| {
        let Some(count) = short(message, HEADER) else { return Some(0) };
        let length = number(message, 1)? as usize;
        let fits = count <= 1664 && length >= least + each * usize::from(count);
        (fits && (count > 0 || length == least)).then_some(1)
    };
    match message[0] {
        b'Z' if whole => matches!(message[HEADER], b'I' | b'T' | b'E').then_some(PROOF),
        b'T' => columns(6, 19),
        b'D' => columns(6, 4),
        b't' => columns(6, 4),
        b'C' => match text(message, HEADER) {
            Some((tag, end)) => {
                let known = sql::first_word(tag, Dialect::PostgreSql, true).is_some();
                (messages::is_tag(tag) && end == message.len()).then_some(if known { PROOF } else { 1 })
            }
            None if whole => None,
            None => Some(0),
        },
        b'E' | b'N' => match text(message, HEADER) {
            Some((severity, _)) => {
                let known: [&[u8]; 8] =
                    [b"SERROR", b"SFATAL", b"SPANIC", b"SWARNING", b"SNOTICE", b"SDEBUG", b"SINFO", b"SLOG"];
                (severity.first() == Some(&b'S')).then_some(if known.contains(&severity) { PROOF } else { 0 })
            }
            None if whole => None,
            None => Some(0),
        },
        b'R' => match number(message, HEADER) {
            Some(0) => (message.len() == 9).then_some(2),
            Some(code) => (code <= 12).then_some(1),
            None => Some(0),
        },
        b'1' | b'2' | b'3' | b'n' | b'I' | b's' => Some(1),
        b'A' | b'S' | b'K' | b'v' | b'G' | b'H' | b'W' | b'V' => Some(u32::from(whole)),
        _ => Some(0),
    }
}
