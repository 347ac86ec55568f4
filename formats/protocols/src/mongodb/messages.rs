//! Headers of messages (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>).

use super::bson::{self, Read, i32_at};
use crate::blank::BLANK;
use crate::parts::Direction;

/// Length, id, the id that is answered, opcode.
pub(super) const HEADER: usize = 16;
/// Longest message that servers take: 48 MB.
const MAX_MESSAGE: u64 = 48_000_000 + 16 * 1024;
/// Longest name of a database with a collection.
pub(super) const MAX_NAMESPACE: usize = 255 + 64;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Reply,
    Update,
    Insert,
    Query,
    GetMore,
    Delete,
    KillCursors,
    Command,
    CommandReply,
    Compressed,
    Msg,
}

impl Opcode {
    fn of(code: i32) -> Option<Opcode> {
        Some(match code {
            1 => Opcode::Reply,
            2001 => Opcode::Update,
            2002 => Opcode::Insert,
            2004 => Opcode::Query,
            2005 => Opcode::GetMore,
            2006 => Opcode::Delete,
            2007 => Opcode::KillCursors,
            2010 => Opcode::Command,
            2011 => Opcode::CommandReply,
            2012 => Opcode::Compressed,
            2013 => Opcode::Msg,
            _ => return None,
        })
    }

    /// Whether it may be sent this way.
    fn goes(self, direction: Direction) -> bool {
        match self {
            Opcode::Msg | Opcode::Compressed => true,
            Opcode::Reply | Opcode::CommandReply => direction == Direction::Responses,
            _ => direction == Direction::Requests,
        }
    }

    /// What is asked for, where the opcode says that.
    pub(super) fn operation(self) -> Option<&'static str> {
        Some(match self {
            Opcode::Update => "update",
            Opcode::Insert => "insert",
            Opcode::Delete => "delete",
            Opcode::GetMore => "getMore",
            Opcode::KillCursors => "killCursors",
            // As the server's profiler calls it.
            Opcode::Query => "query",
            _ => return None,
        })
    }

    /// Nobody answers it.
    pub(super) fn is_unanswered(self) -> bool {
        matches!(self, Opcode::Update | Opcode::Insert | Opcode::Delete | Opcode::KillCursors)
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the message, its own included.
    pub(super) total: u64,
    pub(super) id: u32,
    pub(super) answers: u32,
    pub(super) opcode: Opcode,
}

impl Header {
    /// The header of a message that may be sent this way.
    pub(super) fn of(direction: Direction, bytes: &[u8]) -> Option<Header> {
        let total = u64::try_from(i32_at(bytes, 0)?).ok()?;
        let (id, answers) = (i32_at(bytes, 4)? as u32, i32_at(bytes, 8)? as u32);
        let opcode = Opcode::of(i32_at(bytes, 12)?).filter(|opcode| opcode.goes(direction))?;
        let fits = (least(opcode)..=MAX_MESSAGE).contains(&total);
        let way = direction == Direction::Responses || answers == 0;
        (fits && way).then_some(Header { total, id, answers, opcode })
    }
}

/// Fewest bytes of a message.
fn least(opcode: Opcode) -> u64 {
    match opcode {
        Opcode::Reply => 36,
        Opcode::Msg => 20 + 1 + 5,
        Opcode::Compressed => 25,
        Opcode::Query => 16 + 4 + 2 + 8 + 5,
        _ => 20,
    }
}

/// Flags of OP_MSG.
pub(super) const CHECKSUM: u32 = 1;
pub(super) const MORE_TO_COME: u32 = 1 << 1;
const EXHAUST_ALLOWED: u32 = 1 << 16;

/// Flags of OP_REPLY that say that the server failed.
pub(super) const CURSOR_NOT_FOUND: u32 = 1;
pub(super) const QUERY_FAILURE: u32 = 1 << 1;

/// The flags behind the header, or what stands in their place.
pub(super) fn flags(bytes: &[u8]) -> u32 {
    i32_at(bytes, HEADER).unwrap_or(0) as u32
}

/// The bytes of a message in front of its sections or documents. The length of the document that follows is
/// among them where documents follow.
pub(super) fn preamble(header: &Header, bytes: &[u8]) -> Read<usize> {
    let strings = |from: usize, count: usize, behind: usize| {
        let mut at = from;
        for _ in 0..count {
            match bson::cstring(bytes, at, MAX_NAMESPACE) {
                Read::Got(text) => at += text.len() + 1,
                Read::Need(wanted) => return Read::Need(wanted),
                Read::Bad => return Read::Bad,
            }
        }
        Read::Got(at + behind)
    };
    let read = match header.opcode {
        Opcode::Msg => Read::Got(HEADER + 4),
        Opcode::Reply => Read::Got(HEADER + 20 + if header.total >= 41 { 4 } else { 0 }),
        Opcode::Query => strings(HEADER + 4, 1, 8 + 4),
        Opcode::GetMore | Opcode::Update | Opcode::Insert | Opcode::Delete => strings(HEADER + 4, 1, 0),
        Opcode::Command => strings(HEADER, 2, 0),
        Opcode::KillCursors | Opcode::CommandReply => Read::Got(HEADER),
        Opcode::Compressed => Read::Got(HEADER + 9),
    };
    match read {
        Read::Got(bytes) if bytes as u64 > header.total => Read::Bad,
        Read::Need(wanted) if wanted as u64 > header.total => Read::Bad,
        read => read,
    }
}

/// Database and collection of a full name, of plain characters: letters, digits, and a few signs.
pub(super) fn namespace(name: &[u8]) -> Option<(&str, &str)> {
    plain(name)?
        .split_once('.')
        .filter(|(database, collection)| !database.is_empty() && !collection.is_empty())
}

/// A name that may be kept.
pub(super) fn plain(name: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-$.:".contains(byte);
    let fits = (1..=255).contains(&name.len()) && name.iter().all(plain);
    fits.then(|| std::str::from_utf8(name).ok()).flatten()
}

/// Whether this is what is kept of a name.
fn was_blanked(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte == BLANK)
}

/// Whether data begins a message beyond doubt: header, flags and the begin of the first document agree.
pub(super) fn begins(direction: Direction, bytes: &[u8]) -> bool {
    let Some(header) = Header::of(direction, bytes) else { return false };
    let answer = direction == Direction::Responses;
    if answer && header.answers == 0 {
        return false;
    }
    let Read::Got(at) = preamble(&header, bytes) else { return false };
    if bytes.len() < at {
        return false;
    }
    let flags = flags(bytes);
    match header.opcode {
        Opcode::Msg => {
            let known = flags & !(CHECKSUM | MORE_TO_COME | EXHAUST_ALLOWED) == 0;
            let behind = header.total - at as u64 - 1;
            match bytes.get(at) {
                Some(0) => known && begins_document(&bytes[at + 1..], behind),
                Some(1) => {
                    let size =
                        i32_at(bytes, at + 1).is_some_and(|size| (9..=behind as i64).contains(&size.into()));
                    let name = bson::cstring(bytes, at + 5, 64);
                    known && !answer && size && matches!(name, Read::Got(name) if plain(name).is_some())
                }
                _ => false,
            }
        }
        Opcode::Query => {
            let name = &bytes[HEADER + 4..at - 13];
            flags < 256
                && namespace(name).is_some()
                && begins_document(&bytes[at - 4..], header.total - at as u64 + 4)
        }
        Opcode::Reply => {
            let documents = i32_at(bytes, HEADER + 16).is_some_and(|count| count > 0);
            let document = || begins_document(&bytes[HEADER + 20..], header.total - HEADER as u64 - 20);
            flags < 16 && documents && document()
        }
        Opcode::Compressed => {
            let original =
                i32_at(bytes, HEADER).and_then(Opcode::of).is_some_and(|opcode| opcode.goes(direction));
            let size = i32_at(bytes, HEADER + 4).is_some_and(|size| (5..=MAX_MESSAGE as i32).contains(&size));
            original && size && bytes[HEADER + 8] <= 3
        }
        Opcode::Insert | Opcode::Update | Opcode::Delete | Opcode::GetMore => {
            flags < 8 && namespace(&bytes[HEADER + 4..at - 1]).is_some()
        }
        Opcode::KillCursors | Opcode::Command | Opcode::CommandReply => false,
    }
}

/// Whether data that goes on may begin a request: as much of its header as there is.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    let length = i32_at(bytes, 0)
        .is_some_and(|length| (26..0x1_0000).contains(&length) && bytes.len() < length as usize);
    let answers = bytes.iter().take(12).skip(8).all(|&byte| byte == 0);
    let header = bytes.len() < HEADER || Header::of(Direction::Requests, bytes).is_some();
    length && answers && header
}

/// Whether these are the first bytes of a document that has at most so many, with its first element.
fn begins_document(bytes: &[u8], most: u64) -> bool {
    let fits = i32_at(bytes, 0).is_some_and(|length| (5..=most as i64).contains(&length.into()));
    let first = match bytes.get(4..) {
        Some([0, ..]) => i32_at(bytes, 0) == Some(5),
        Some([kind, rest @ ..]) => {
            let name = bson::cstring(rest, 0, 64);
            bson::is_kind(*kind)
                && matches!(name, Read::Got(name) if plain(name).is_some() || was_blanked(name))
        }
        _ => false,
    };
    fits && first
}
