//! Where in an answer each packet stands, which tells what it is.

use super::commands::Answer;
use super::errors;
use super::packets::{self, LONGEST, ServerStatus, number, u16_at, u32_at};
use crate::frames::Runs;
use crate::operation::Status;

/// What of an answer comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Its only packet.
    Single,
    /// A result.
    Result,
    /// So many definitions of columns, and rows.
    Columns(u64),
    /// Rows. `first`: in front of them the definitions may have an end of their own.
    Rows { first: bool },
    /// What a prepared statement is called, and how much follows.
    Prepared,
    /// So many definitions, and then so many others.
    Definitions { left: u64, then: u64 },
    /// Perhaps the end of definitions, and so many others. `sure`: there is one.
    DefinitionsEnd { then: u64, sure: bool },
    /// Definitions of columns, up to an end.
    Fields,
    /// Text.
    Text,
    /// Events.
    Stream,
    /// The client sends a file; then another packet.
    File,
    /// More of a login.
    Login,
    /// It is not read.
    Unread,
}

impl Reply {
    /// What the answer to a command begins with.
    pub(super) fn to(answer: Answer) -> Reply {
        match answer {
            Answer::Single => Reply::Single,
            Answer::Results => Reply::Result,
            Answer::Prepared => Reply::Prepared,
            Answer::Rows => Reply::Rows { first: false },
            Answer::Fields => Reply::Fields,
            Answer::Text => Reply::Text,
            Answer::Stream => Reply::Stream,
            Answer::Login => Reply::Login,
            Answer::Unknown | Answer::None | Answer::Switch => Reply::Unread,
        }
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ok,
    Eof,
    Error,
    /// How many columns follow.
    Count,
    Prepared,
    Definition,
    /// A file is wanted.
    File,
    /// Anything else: rows, events, text.
    Other,
}

/// Bytes of the longest packet of which more than the first byte is read: an OK.
const OK_BYTES: usize = 1 + 9 + 9 + 4;
/// How definitions of columns begin: the catalogue is always the same.
const DEFINITION: [u8; 4] = *b"\x03def";

impl Kind {
    /// The packet of so many bytes that begins with this one, where this is expected.
    pub(super) fn of(reply: Reply, first: u8, length: usize) -> Kind {
        match (reply, first) {
            (Reply::Unread, _) => Kind::Other,
            (_, 0xff) if length >= 3 => Kind::Error,
            (Reply::Text | Reply::Login, 0xfe | 1..) | (Reply::Text, 0) => Kind::Other,
            (Reply::Result, 0) if length == 2 => Kind::Count,
            (Reply::Prepared, 0) if (9..=13).contains(&length) => Kind::Prepared,
            (Reply::Single | Reply::Result | Reply::File | Reply::Login, 0) => Kind::Ok,
            (Reply::Result, 0xfb) => Kind::File,
            // A row whose first value has a length of eight bytes is longer.
            (Reply::Single | Reply::Result | Reply::File | Reply::Rows { .. } | Reply::Fields, 0xfe)
            | (Reply::Columns(_) | Reply::Definitions { .. } | Reply::DefinitionsEnd { .. }, 0xfe)
                if length < LONGEST =>
            {
                if length < 7 {
                    Kind::Eof
                } else {
                    Kind::Ok
                }
            }
            (Reply::Stream, 0xfe) if length == 1 || length == 5 => Kind::Eof,
            (Reply::Result, _) if (1..=10).contains(&length) => Kind::Count,
            (Reply::Columns(_) | Reply::Definitions { .. } | Reply::DefinitionsEnd { .. }, _)
            | (Reply::Fields, _) => Kind::Definition,
            _ => Kind::Other,
        }
    }

    /// How many of its bytes are read.
    pub(super) fn head_bytes(self) -> usize {
        match self {
            Kind::Ok => OK_BYTES,
            Kind::Eof => 5,
            Kind::Error => 9,
            Kind::Count => 10,
            Kind::Prepared => 13,
            Kind::Definition => DEFINITION.len(),
            Kind::File | Kind::Other => 1,
        }
    }

    /// Tells what of it, which has so many bytes when it is whole, may be kept.
    pub(super) fn keep(self, payload: &[u8], length: usize, runs: &mut Runs) {
        match self {
            Kind::Ok => packets::keep_ok(payload, runs),
            Kind::Error => packets::keep_error(payload, runs),
            Kind::Eof | Kind::Prepared => runs.keep(payload.len()),
            Kind::Count if payload.len() == length && count(payload, length).next != Next::Unknown => {
                runs.keep(length);
            }
            Kind::Definition if payload.starts_with(&DEFINITION) => runs.keep(DEFINITION.len()),
            Kind::File => runs.keep(1),
            Kind::Other | Kind::Definition | Kind::Count => {}
        }
    }
}

/// What follows a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More of the answer.
    More(Reply),
    /// Nothing.
    End,
    /// Nothing, or the end of definitions.
    MayEnd,
    /// That cannot be told.
    Unknown,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) next: Next,
    pub(super) error: Option<Status>,
    /// The id of a prepared statement.
    pub(super) statement: Option<u32>,
    /// Definitions have an end of their own on this connection, or none.
    pub(super) deprecate_eof: Option<bool>,
}

impl From<Next> for Told {
    fn from(next: Next) -> Told {
        Told { next, error: None, statement: None, deprecate_eof: None }
    }
}

/// Reads a packet of `length` bytes, as far as it is there. `deprecate_eof`: definitions have no end of their
/// own.
pub(super) fn read(reply: Reply, payload: &[u8], length: usize, deprecate_eof: Option<bool>) -> Told {
    let Some(&first) = payload.first() else { return Next::More(reply).into() };
    match Kind::of(reply, first, length) {
        Kind::Error => error(reply, payload),
        Kind::Ok if reply == Reply::Login => Next::End.into(),
        Kind::Ok => {
            let learnt = matches!(reply, Reply::Rows { first: true }).then_some(true);
            Told { deprecate_eof: learnt, ..result_end(packets::ok_status(payload, length)) }
        }
        Kind::Eof => eof(reply, payload, length),
        Kind::Count => count(payload, length),
        Kind::Prepared => prepared(payload, length, deprecate_eof),
        Kind::Definition => definition(reply, deprecate_eof),
        Kind::File => Next::More(Reply::File).into(),
        Kind::Other => other(reply),
    }
}

fn error(reply: Reply, payload: &[u8]) -> Told {
    match packets::error_code(payload) {
        Some(packets::PROGRESS) => Next::More(reply).into(),
        code => {
            let text = code.and_then(errors::name);
            Told { error: Some(Status { code, text, failed: true }), ..Next::End.into() }
        }
    }
}

fn result_end(status: Result<ServerStatus, ()>) -> Told {
    match status {
        Ok(status) if status.more_results() => Next::More(Reply::Result),
        Ok(_) => Next::End,
        Err(()) => Next::Unknown,
    }
    .into()
}

fn eof(reply: Reply, payload: &[u8], length: usize) -> Told {
    let status = packets::eof_status(payload, length);
    match reply {
        Reply::Rows { first: true } => {
            let rows = match status {
                Ok(status) if status.cursor_exists() => result_end(Ok(status)),
                Ok(_) => Next::More(Reply::Rows { first: false }).into(),
                Err(()) => Next::Unknown.into(),
            };
            Told { deprecate_eof: Some(false), ..rows }
        }
        Reply::DefinitionsEnd { then, .. } => {
            let next =
                if then > 0 { Next::More(Reply::Definitions { left: then, then: 0 }) } else { Next::End };
            Told { deprecate_eof: Some(false), ..next.into() }
        }
        Reply::Columns(_) | Reply::Definitions { .. } => Next::Unknown.into(),
        _ => result_end(status),
    }
}

/// A count of columns. One that is optional has a byte that says whether definitions follow: in front of it
/// (MySQL) or behind (MariaDB).
fn count(payload: &[u8], length: usize) -> Told {
    let Some((count, bytes)) = number(payload) else { return Next::Unknown.into() };
    let columns = match length - bytes.min(length) {
        0 if count > 0 => Some(count),
        _ => match (payload, number(payload.get(1..).unwrap_or_default())) {
            ([0, ..], Some((count, bytes))) if bytes + 1 == length && count > 0 => Some(0),
            ([1, ..], Some((count, bytes))) if bytes + 1 == length && count > 0 => Some(count),
            _ if bytes + 1 == length => match payload.get(bytes) {
                Some(0) => Some(0),
                Some(1) => Some(count),
                _ => None,
            },
            _ => None,
        },
    };
    match columns {
        Some(0) => Next::More(Reply::Rows { first: true }),
        Some(columns) if columns <= 0xffff => Next::More(Reply::Columns(columns)),
        _ => Next::Unknown,
    }
    .into()
}

fn prepared(payload: &[u8], length: usize, deprecate_eof: Option<bool>) -> Told {
    let (Some(id), Some(columns), Some(parameters)) =
        (u32_at(payload, 1), u16_at(payload, 5), u16_at(payload, 7))
    else {
        return Next::Unknown.into();
    };
    let (columns, parameters) = (u64::from(columns), u64::from(parameters));
    let without = length == 13 && payload.get(12) == Some(&0);
    let next = match (parameters, columns) {
        _ if without => match deprecate_eof {
            Some(true) => Next::End,
            _ => Next::Unknown,
        },
        (0, 0) => Next::End,
        (0, columns) => Next::More(Reply::Definitions { left: columns, then: 0 }),
        (parameters, columns) => Next::More(Reply::Definitions { left: parameters, then: columns }),
    };
    Told { statement: Some(id), ..next.into() }
}

fn definition(reply: Reply, deprecate_eof: Option<bool>) -> Told {
    let next = match reply {
        Reply::Columns(left) if left > 1 => Next::More(Reply::Columns(left - 1)),
        Reply::Columns(_) => Next::More(Reply::Rows { first: true }),
        Reply::Definitions { left, then } if left > 1 => {
            Next::More(Reply::Definitions { left: left - 1, then })
        }
        Reply::Definitions { then, .. } => match (deprecate_eof, then) {
            (Some(true), 0) => Next::End,
            (Some(true), then) => Next::More(Reply::Definitions { left: then, then: 0 }),
            (Some(false), then) => Next::More(Reply::DefinitionsEnd { then, sure: true }),
            (None, 0) => Next::MayEnd,
            (None, then) => Next::More(Reply::DefinitionsEnd { then, sure: false }),
        },
        // There is no end: this is the first of the others.
        Reply::DefinitionsEnd { then, sure: false } if then > 0 => {
            let told = definition(Reply::Definitions { left: then, then: 0 }, Some(true));
            return Told { deprecate_eof: Some(true), ..told };
        }
        Reply::Fields => Next::More(reply),
        _ => Next::Unknown,
    };
    next.into()
}

fn other(reply: Reply) -> Told {
    match reply {
        Reply::Text => Next::End.into(),
        Reply::Login | Reply::Stream | Reply::Rows { first: false } => Next::More(reply).into(),
        Reply::Rows { first: true } => {
            Told { deprecate_eof: Some(true), ..Next::More(Reply::Rows { first: false }).into() }
        }
        _ => Next::Unknown.into(),
    }
}

/// Whether the data of a call begins with the first packet of an answer, beyond doubt where the answer is
/// owed. `strict`: even where that is not known.
pub(super) fn begins(answer: Answer, bytes: &[u8], strict: bool) -> bool {
    let Some((length, sequence)) = packets::header(bytes) else { return false };
    let payload = &bytes[packets::HEADER..];
    let Some(&first) = payload.first() else { return false };
    let own = &payload[..payload.len().min(length)];
    match Kind::of(Reply::to(answer), first, length) {
        Kind::Error => {
            let code = packets::error_code(own).is_some_and(|code| code >= 1000);
            code && own.get(3..9).is_some_and(packets::is_sql_state)
        }
        Kind::Ok if !strict && first == 0 && length >= 7 => {
            packets::ok_status(own, length).is_ok_and(|status| status.is_plausible())
        }
        Kind::Eof if !strict => length == 5 && own.len() == 5,
        Kind::Prepared if !strict => {
            matches!(length, 12 | 13) && own.len() == length && own[9] == 0 && own[1..5] != [0; 4]
        }
        Kind::Count => {
            let told = count(own, length);
            let definition = |rest: &[u8]| match packets::header(rest) {
                Some((length, next)) => {
                    let follows = next == sequence.wrapping_add(1) && length > 12;
                    follows && rest[packets::HEADER..].starts_with(&DEFINITION)
                }
                None => false,
            };
            let counts = matches!(told.next, Next::More(Reply::Columns(_)));
            match payload.get(length..) {
                Some([]) if !strict => counts,
                Some(rest) => counts && definition(rest),
                None => false,
            }
        }
        Kind::Definition if !strict => own.starts_with(&DEFINITION),
        _ => false,
    }
}
