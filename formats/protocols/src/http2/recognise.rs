//! Whether bytes begin with frames of this protocol, and which way they go.
//!
//! Any call of any connection is asked about, so a header alone is not enough: a header block must say a
//! request or an answer in its first fields, and every other header that is there must be one that the
//! protocol has. Only what is kept of frames may decide: who reads that must come to the same.

use super::field::{Field, Name};
use super::frame::{Fragments, HEADER, Header, PREFACE, kind};
use super::hpack::{Decoder, Read};
use crate::blank::BLANK;
use crate::parts::Direction;
use crate::protocol::Verdict;

/// So many bytes of the preface are like nothing else.
const PREFACE_ENOUGH: usize = 16;

/// Longest SETTINGS of a server's begin.
const MAX_SETTINGS_BYTES: u32 = 6 * 32;

/// See [`crate::Protocol::recognise`].
pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    if direction == Direction::Requests && begins_preface(bytes) {
        return match bytes.len() >= PREFACE_ENOUGH {
            true => Verdict::Surely,
            false if fresh => Verdict::Maybe,
            false => Verdict::No,
        };
    }
    let servers_first = fresh && direction == Direction::Responses && begins_settings(bytes);
    if servers_first || way(bytes) == Some(direction) { Verdict::Surely } else { Verdict::No }
}

fn begins_preface(bytes: &[u8]) -> bool {
    bytes.len() >= 4 && bytes.iter().zip(PREFACE).all(|(byte, expected)| byte == expected)
}

/// A client's are behind its preface.
fn begins_settings(bytes: &[u8]) -> bool {
    Header::of(bytes).is_some_and(|header| {
        let is_first = header.kind == kind::SETTINGS && bytes[4] == 0 && header.length <= MAX_SETTINGS_BYTES;
        is_first && all_usual(bytes)
    })
}

/// Whether a call begins with a frame, where this protocol is known to be spoken. `is_open`: a stream has
/// begun and has not ended.
pub(super) fn begins(direction: Direction, bytes: &[u8], is_open: impl Fn(u32) -> bool) -> bool {
    if direction == Direction::Requests && bytes.starts_with(PREFACE) {
        return true;
    }
    let Some(header) = Header::of(bytes).filter(|_| all_usual(bytes)) else { return false };
    match header.kind {
        kind::CONTINUATION => false,
        kind::DATA => is_open(header.stream),
        kind::HEADERS => is_open(header.stream) || way(bytes) == Some(direction),
        kind::PUSH_PROMISE => direction == Direction::Responses && is_open(header.stream),
        // Their lengths are as good as a signature.
        _ => true,
    }
}

/// All frames whose headers are there are usual ones. Where the last of them were no frames, blanks may be.
fn all_usual(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while rest.len() >= HEADER && rest[..HEADER] != [BLANK; HEADER] {
        let Some(header) = Header::of(rest).filter(Header::is_usual) else { return false };
        rest = rest.get(header.total()..).unwrap_or_default();
    }
    true
}

/// Which way the frames go that `bytes` are: the first header block tells.
fn way(bytes: &[u8]) -> Option<Direction> {
    // Most calls of other protocols are found out here.
    if bytes.len() <= HEADER || bytes[3] > kind::WINDOW_UPDATE || bytes[0] != 0 || bytes[5] >= 0x80 {
        return None;
    }
    let mut rest = bytes;
    while let Some(header) = Header::of(rest).filter(Header::is_usual) {
        if header.kind == kind::HEADERS {
            return way_of_block(header, rest).filter(|_| all_usual(bytes));
        }
        rest = rest.get(header.total()..)?;
    }
    None
}

/// Which way a header block goes. Of a request two of its own fields must be known, and of an answer all
/// fields must be there.
fn way_of_block(header: Header, bytes: &[u8]) -> Option<Direction> {
    // Streams of requests.
    if header.stream.is_multiple_of(2) {
        return None;
    }
    let mut fragments = Fragments::default();
    fragments.find(bytes);
    let mut block: Vec<u8> =
        fragments.ranges.iter().flat_map(|(_, range)| &bytes[range.clone()]).copied().collect();
    let (mut fields, mut asking, mut is_answer) = (0, 0, false);
    let read = Decoder::default().read(&mut block, fragments.whole, |name, field| {
        let is_known = name == Name::Scheme || *field != Field::Nothing;
        match name {
            Name::Method | Name::Path | Name::Scheme | Name::Authority => {
                asking += u32::from(is_known && fields < 4);
            }
            Name::Status => is_answer |= fields == 0 && is_known,
            _ => {}
        }
        fields += 1;
    });
    match read {
        Read::Bad => None,
        _ if asking >= 2 && !is_answer => Some(Direction::Requests),
        Read::Whole if is_answer && asking == 0 => Some(Direction::Responses),
        _ => None,
    }
}
