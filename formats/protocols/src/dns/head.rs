//! What a message begins with: its length, its header, its question, and what EDNS adds to its status.
//!
//! All of it is read from bytes that begin with the two of the length and may end anywhere.

use std::ops::Range;

use super::codes::{self, NOTIFY, OPT, QUERY, SOA, TRANSFERS, UPDATE};
use crate::operation::Status;
use crate::parts::Direction;

/// Bytes of length and header.
pub(super) const HEADER: usize = 14;
/// Shortest message that is one: a header alone.
const SHORTEST: usize = HEADER - 2;
/// Longest name with all its lengths.
const MAX_NAME_BYTES: usize = 255;
/// Of a record of EDNS what tells the status: name, type, class, and the upper bits of the code.
const OPT_BYTES: usize = 6;
/// Least bytes of a record: a name of one byte, type, class, time to live, length.
const RECORD_BYTES: usize = 11;

/// Length and header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Bytes of the message with those of its length.
    pub(super) total: usize,
    pub(super) id: u16,
    pub(super) is_answer: bool,
    pub(super) opcode: u8,
    flags: [u8; 2],
    /// Questions, answers, authorities, more.
    counts: [u16; 4],
}

impl Header {
    /// None where not all of it is there.
    pub(super) fn of(head: &[u8]) -> Option<Header> {
        let bytes = head.first_chunk::<HEADER>()?;
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Header {
            total: 2 + usize::from(number(0)),
            id: number(2),
            is_answer: bytes[4] & 0x80 != 0,
            opcode: bytes[4] >> 3 & 0xf,
            flags: [bytes[4], bytes[5]],
            counts: [number(6), number(8), number(10), number(12)],
        })
    }

    fn rcode(&self) -> u16 {
        u16::from(self.flags[1] & 0xf)
    }

    /// The code in the header is no more than the lower bits of one of EDNS: so it may be where nothing is answered.
    fn may_be_extended(&self) -> bool {
        let [_, answers, authorities, more] = self.counts;
        self.is_answer && matches!(self.rcode(), 0 | 7) && answers == 0 && authorities == 0 && more > 0
    }

    /// Whether it can be one: nothing reserved, one question at most, and no more records than the message has room for.
    fn is_possible(&self) -> bool {
        let [questions, records @ ..] = self.counts.map(usize::from);
        let least = HEADER + 5 * questions + RECORD_BYTES * records.iter().sum::<usize>();
        is_opcode(self.opcode) && self.flags[1] & 0x40 == 0 && questions <= 1 && least <= self.total
    }

    /// Whether it is such as programs send: a question with nothing reserved, and as many records as it can have.
    fn is_sane(&self, direction: Direction) -> bool {
        let [questions, answers, authorities, more] = self.counts.map(usize::from);
        let (aa, tc) = (self.flags[0] & 4 != 0, self.flags[0] & 2 != 0);
        let asks = match self.opcode {
            QUERY => !aa && answers == 0 && authorities <= 1,
            NOTIFY => answers <= 1 && authorities == 0,
            UPDATE => true,
            _ => return false,
        };
        // An answer may have any of them; a request neither a status nor what only a server can say, and OPT and TSIG at most.
        let request = asks && !tc && self.flags[1] & 0x8f == 0 && (more <= 2 || self.opcode == UPDATE);
        self.is_answer == (direction == Direction::Responses)
            && questions == 1
            && (self.is_answer || request)
            && self.is_possible()
    }
}

/// Where the question ends, as far as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// There is none, or several, which nobody sends.
    None,
    /// It is none: longer than a name may be, or than the message.
    Malformed,
    /// So many bytes are missing to know more.
    Cut(usize),
    /// Its name ends there; type and class follow.
    Whole(usize),
}

/// The question of a message of these many bytes, whose `head` has its header. `label` gets the places of the name's labels,
/// as far as they are there.
fn question(head: &[u8], header: &Header, mut label: impl FnMut(Range<usize>)) -> Question {
    if header.counts[0] != 1 {
        return Question::None;
    }
    let mut at = HEADER;
    loop {
        if at >= header.total || at >= HEADER + MAX_NAME_BYTES {
            return Question::Malformed;
        }
        match head.get(at) {
            None => return Question::Cut(at + 1 - head.len()),
            Some(0) => break,
            Some(&length @ 1..=63) => {
                let end = at + 1 + usize::from(length);
                label(at + 1..end.min(head.len()));
                at = end;
            }
            // A pointer to an earlier name, of which there is none.
            Some(_) => return Question::Malformed,
        }
    }
    let name_end = at + 1;
    let end = name_end + 4;
    if end > header.total {
        Question::Malformed
    } else if head.len() < end {
        Question::Cut(end - head.len())
    } else {
        Question::Whole(name_end)
    }
}

/// Where the record is that may extend the status.
fn extension(question: Question) -> Option<usize> {
    match question {
        Question::None => Some(HEADER),
        Question::Whole(name_end) => Some(name_end + 4),
        Question::Malformed | Question::Cut(_) => None,
    }
}

/// How many bytes the head has at least beyond those that are there; 0 where it is whole.
pub(super) fn missing(head: &[u8]) -> usize {
    if head.len() < 2 {
        return 2 - head.len();
    }
    let Some(header) = Header::of(head) else {
        return if is_too_short(head) { 0 } else { HEADER - head.len() };
    };
    let question = question(head, &header, |_| {});
    if let Question::Cut(bytes) = question {
        return bytes;
    }
    let extension = extension(question).filter(|_| header.may_be_extended());
    match extension.map(|at| at + OPT_BYTES) {
        Some(end) if end <= header.total => end.saturating_sub(head.len()),
        _ => 0,
    }
}

/// Whether a head, as far as it is there, may be one where a message must begin.
pub(super) fn is_possible(head: &[u8]) -> bool {
    if let Some(header) = Header::of(head) {
        return header.is_possible();
    }
    let is = |at: usize, allowed: fn(u8) -> bool| head.get(at).is_none_or(|&byte| allowed(byte));
    !is_too_short(head)
        && is(4, |flags| is_opcode(flags >> 3 & 0xf))
        && is(5, |flags| flags & 0x40 == 0)
        && is(6, |byte| byte == 0)
        && is(7, |byte| byte <= 1)
}

fn is_opcode(opcode: u8) -> bool {
    opcode == QUERY || codes::opcode(opcode).is_some()
}

/// The length is none of a message.
fn is_too_short(head: &[u8]) -> bool {
    head.first_chunk::<2>().is_some_and(|length| usize::from(u16::from_be_bytes(*length)) < SHORTEST)
}

/// Whether two bytes may be the length of a message with a question. Longer ones are not sent first; text begins with larger
/// numbers.
pub(super) fn is_usual_length(length: [u8; 2]) -> bool {
    (SHORTEST + 5..2048).contains(&usize::from(u16::from_be_bytes(length)))
}

/// Whether a head, as far as it is there, may be one that [`proves`] what it is.
pub(super) fn may_prove(direction: Direction, head: &[u8]) -> bool {
    if let Some(header) = Header::of(head) {
        return header.is_sane(direction) && question(head, &header, |_| {}) != Question::Malformed;
    }
    let answers = direction == Direction::Responses;
    let flags = head.get(4).is_none_or(|flags| flags & 0x50 == 0 && (flags & 0x80 != 0) == answers);
    flags && is_possible(head) && head.get(7).is_none_or(|&questions| questions == 1)
}

/// Whether bytes begin a message beyond doubt: header and question are whole and sane, and say the same as the length.
pub(super) fn proves(direction: Direction, bytes: &[u8]) -> bool {
    let Some(header) = Header::of(bytes).filter(|header| header.is_sane(direction)) else { return false };
    let Question::Whole(name_end) = question(bytes, &header, |_| {}) else { return false };
    let (kind, class) = type_and_class(bytes, name_end);
    let records = header.counts[1..].iter().map(|&count| usize::from(count)).sum::<usize>();
    let left = header.total - (name_end + 4);
    let of_zone = !matches!(header.opcode, NOTIFY | UPDATE) || kind == SOA;
    codes::of_type(kind).is_some()
        && codes::is_class(class)
        && of_zone
        && left >= records * RECORD_BYTES
        && (records > 0 || left == 0)
}

fn type_and_class(bytes: &[u8], name_end: usize) -> (u16, u16) {
    let number = |at: usize| bytes.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
    (number(name_end), number(name_end + 2))
}

/// The type that is asked for; None where that is not known.
pub(super) fn question_type(head: &[u8]) -> Option<u16> {
    let header = Header::of(head)?;
    match question(head, &header, |_| {}) {
        Question::Whole(name_end) => Some(type_and_class(head, name_end).0),
        _ => None,
    }
}

/// Whether any number of answers may follow a request.
pub(super) fn is_transfer(head: &[u8]) -> bool {
    let is_query = Header::of(head).is_some_and(|header| header.opcode == QUERY);
    is_query && question_type(head).is_none_or(|kind| TRANSFERS.contains(&kind))
}

/// The name that is asked for, in lower case and without the dot at its end. None where it is not whole, or has bytes that no
/// name of a host or service has: somebody may have put anything into it.
pub(super) fn question_name(head: &[u8]) -> Option<String> {
    let header = Header::of(head)?;
    let (mut name, mut harmless) = (String::new(), true);
    let question = question(head, &header, |label| {
        if !name.is_empty() {
            name.push('.');
        }
        harmless &= head[label.clone()].iter().all(|&byte| is_of_host(byte));
        name.extend(head[label].iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    });
    match question {
        Question::Whole(_) if name.is_empty() => Some(".".to_owned()),
        Question::Whole(_) => Some(name).filter(|_| harmless),
        _ => None,
    }
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// What an answer says of how it went; nothing where that may be in a record which is not there.
pub(super) fn status(head: &[u8]) -> Status {
    let Some(header) = Header::of(head) else { return Status::default() };
    let mut code = header.rcode();
    if header.may_be_extended() {
        let at = extension(question(head, &header, |_| {}));
        match at.and_then(|at| head.get(at..at + OPT_BYTES)) {
            Some(record) if is_opt(record) => code |= u16::from(record[OPT_BYTES - 1]) << 4,
            // The only record is another one.
            Some(_) if header.counts[3] == 1 => {}
            _ => return Status::default(),
        }
    }
    Status { code: Some(code), text: codes::rcode(code), ..Status::default() }
}

/// Whether a record, as far as it is there, is that of EDNS.
fn is_opt(record: &[u8]) -> bool {
    let [high, low] = OPT.to_be_bytes();
    record.iter().zip([0, high, low]).all(|(byte, expected)| *byte == expected)
}

/// Tells of the bytes of a head from `from` on, which came in one call, run by run, whether they may be kept: all but a name
/// that is not whole in them or within the first `stored`, that is none of a host, and what belongs to no record of EDNS.
pub(super) fn keep(head: &[u8], from: usize, stored: usize, mut run: impl FnMut(Range<usize>, bool)) {
    let mut told = from;
    let mut tell = |secret: Range<usize>| {
        let secret = secret.start.max(from)..secret.end.max(from);
        if !secret.is_empty() {
            run(told..secret.start, true);
            run(secret.clone(), false);
            told = secret.end;
        }
    };
    if let Some(header) = Header::of(head) {
        let name = question(head, &header, |_| {});
        let is_here = matches!(name, Question::Whole(end) if end <= from.saturating_add(stored))
            && from <= HEADER
            && question_name(head).is_some();
        let question = question(head, &header, |label| {
            if !is_here {
                tell(label);
            }
        });
        if let Some(at) = extension(question).filter(|&at| at < head.len() && !is_opt(&head[at..])) {
            tell(at..head.len());
        }
    }
    run(told..head.len(), true);
}
