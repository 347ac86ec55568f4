//! Records: eight bytes that say whose they are and how long, content, padding.

use crate::parts::Direction;
use crate::protocol::Verdict;

/// Bytes of a record's header.
pub(super) const HEADER: usize = 8;
/// Bytes of content where a request begins or ends.
pub(super) const BODY: usize = 8;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Begin,
    Abort,
    End,
    Params,
    Stdin,
    Stdout,
    Stderr,
    Data,
    /// About the server, and no request.
    Management,
}

/// A record, as its header tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) id: u16,
    /// Bytes of content.
    pub(super) length: u16,
    padding: u8,
    reserved: u8,
}

impl Record {
    /// Reads a header. None where the bytes are too few, or none of this direction.
    pub(super) fn of(direction: Direction, bytes: &[u8]) -> Option<Record> {
        let &[version, kind, id_high, id_low, high, low, padding, reserved] = bytes.first_chunk()?;
        let id = u16::from_be_bytes([id_high, id_low]);
        let length = u16::from_be_bytes([high, low]);
        let kind = match (direction, kind) {
            _ if version != 1 => return None,
            (Direction::Requests, 1) => Kind::Begin,
            (Direction::Requests, 2) => Kind::Abort,
            (Direction::Requests, 4) => Kind::Params,
            (Direction::Requests, 5) => Kind::Stdin,
            (Direction::Requests, 8) => Kind::Data,
            (Direction::Responses, 3) => Kind::End,
            (Direction::Responses, 6) => Kind::Stdout,
            (Direction::Responses, 7) => Kind::Stderr,
            (Direction::Requests, 9) | (Direction::Responses, 10 | 11) => Kind::Management,
            _ => return None,
        };
        let length_fits = match kind {
            Kind::Begin | Kind::End => usize::from(length) == BODY,
            Kind::Abort => length == 0,
            _ => true,
        };
        let id_fits = (id == 0) == (kind == Kind::Management);
        (length_fits && id_fits).then_some(Record { kind, id, length, padding, reserved })
    }

    /// Bytes of the record.
    pub(super) fn total(&self) -> u64 {
        HEADER as u64 + u64::from(self.length) + u64::from(self.padding)
    }

    /// As all write it who are known: no more padding than a multiple of eight wants.
    fn is_usual(&self) -> bool {
        self.padding < 8 && self.reserved == 0
    }
}

/// What a server is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// To answer.
    Responder,
    /// To say whether an answer may be given: it gets no input.
    Authorizer,
    /// To change what it gets behind the input.
    Filter,
}

/// The role that the content of a record names with which a request begins, and whether nothing else begins
/// so.
pub(super) fn role(body: &[u8]) -> Option<(Role, bool)> {
    let &[high, low, flags, rest @ ..] = body.first_chunk::<BODY>()?;
    let role = match u16::from_be_bytes([high, low]) {
        1 => Role::Responder,
        2 => Role::Authorizer,
        3 => Role::Filter,
        _ => return None,
    };
    Some((role, flags <= 1 && rest == [0; 5]))
}

/// What data is that a call begins with.
pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    let surely = match direction {
        Direction::Requests => {
            const BEGIN: [u8; 2] = [1, 1];
            let is_cut = bytes.len() < HEADER + BODY && bytes.len() >= 2 && bytes.starts_with(&BEGIN);
            if is_cut && fresh && Record::of(direction, bytes).is_some_and(|record| record.is_usual()) {
                return Verdict::Maybe;
            }
            begins_request(bytes)
        }
        Direction::Responses => begins_answer(bytes),
    };
    if surely { Verdict::Surely } else { Verdict::No }
}

/// Sixteen bytes with which a request begins, and the header of another record of it, if that is there.
fn begins_request(bytes: &[u8]) -> bool {
    let Some(record) = Record::of(Direction::Requests, bytes) else { return false };
    let body = bytes.get(HEADER..HEADER + BODY).unwrap_or_default();
    record.kind == Kind::Begin
        && record.is_usual()
        && role(body).is_some_and(|(_, usual)| usual)
        && follows(Direction::Requests, record, bytes)
}

/// The end of a request, or a page: a header line, and behind it all another record of the same request.
fn begins_answer(bytes: &[u8]) -> bool {
    let Some(record) = Record::of(Direction::Responses, bytes).filter(Record::is_usual) else { return false };
    let content = &bytes[HEADER..];
    let is_content = match record.kind {
        Kind::Stdout => record.length > 0 && begins_head(content),
        Kind::End => content.first_chunk().is_some_and(|body: &[u8; BODY]| body[4] <= 3),
        _ => false,
    };
    is_content && (record.kind == Kind::End || follows(Direction::Responses, record, bytes))
}

/// Behind the record stands the header of another one of the same request, as far as it is there.
fn follows(direction: Direction, record: Record, bytes: &[u8]) -> bool {
    let behind = bytes.get(record.total() as usize..).unwrap_or_default();
    behind.len() < HEADER
        || Record::of(direction, behind).is_some_and(|next| next.is_usual() && next.id == record.id)
}

/// A header line: of one that was kept there is nothing but blanks.
fn begins_head(content: &[u8]) -> bool {
    let Some(end) = content.iter().take(256).position(|&byte| byte == b'\n') else { return false };
    let line = content[..end].trim_ascii_end();
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    let is_blank = line.len() >= 4 && line.iter().all(|&byte| byte == b'*');
    is_blank || (name.len() < line.len() && !name.is_empty() && is_name(name))
}

/// Where it is known that this protocol is spoken: the begin or the end of a request, or two records of one.
/// What is between them may not have been kept.
pub(super) fn begins(direction: Direction, bytes: &[u8]) -> bool {
    let Some(record) = Record::of(direction, bytes).filter(Record::is_usual) else { return false };
    match record.kind {
        Kind::Begin => begins_request(bytes),
        Kind::End => begins_answer(bytes),
        _ => {
            let behind = bytes.get(record.total() as usize..);
            behind.is_some_and(|behind| behind.len() >= HEADER) && follows(direction, record, bytes)
        }
    }
}
