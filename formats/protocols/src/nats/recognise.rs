//! How data begins that is this protocol.

use super::errors;
use super::keep::begins_object;
use super::lines::{Extent, Line, Verb, extent, split_end};
use crate::parts::Direction;
use crate::protocol::Verdict;

/// So many lines are looked at, if they are there.
const LINES: usize = 4;

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Proof {
    None,
    /// Others have such lines, too.
    Weak,
    Strong,
}

pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    if proof(direction, bytes) == Proof::Strong || begins_handshake(direction, bytes) {
        return Verdict::Surely;
    }
    // What a server says first may come in pieces.
    const FIRST: &[u8] = b"INFO {\"server_id\":\"";
    let is_cut = direction == Direction::Responses && !bytes.is_empty() && FIRST.starts_with(bytes);
    if fresh && is_cut { Verdict::Maybe } else { Verdict::No }
}

/// Where it is known that this protocol is spoken.
pub(super) fn begins(direction: Direction, bytes: &[u8]) -> bool {
    proof(direction, bytes) > Proof::None || begins_handshake(direction, bytes)
}

/// The first line need not be whole: it is JSON with a name of this protocol.
fn begins_handshake(direction: Direction, bytes: &[u8]) -> bool {
    let verb: &[u8] = match direction {
        Direction::Requests => b"CONNECT ",
        Direction::Responses => b"INFO ",
    };
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.split_at_checked(verb.len())
        .is_some_and(|(word, text)| word.eq_ignore_ascii_case(verb) && begins_object(text))
}

/// What the first lines prove: none that is whole may be anything else, nor a message end elsewhere.
fn proof(direction: Direction, bytes: &[u8]) -> Proof {
    let mut proof = Proof::None;
    let mut rest = bytes;
    for _ in 0..LINES {
        let Extent::Line(length) = extent(direction, rest) else { break };
        let (this, block) = of_line(direction, &rest[..length]);
        let behind = &rest[length..];
        let block = usize::try_from(block).unwrap_or(usize::MAX);
        if this == Proof::None || !ends_block(behind, block) {
            return Proof::None;
        }
        proof = proof.max(this);
        match behind.get(block..) {
            Some(next) if !next.is_empty() => rest = next,
            _ => break,
        }
    }
    proof
}

fn ends_block(bytes: &[u8], block: usize) -> bool {
    // Of a message nothing is kept, nor is its end.
    block < 2 || bytes.get(block - 2..block).is_none_or(|end| end == b"\r\n" || end == b"**")
}

/// What a line proves, and how many bytes are behind it.
fn of_line(direction: Direction, bytes: &[u8]) -> (Proof, u64) {
    let is_whole = split_end(bytes).1 == 2;
    let Some(line) = Line::of(direction, bytes).filter(|line| is_whole && line.is_plain()) else {
        return (Proof::None, 0);
    };
    let proof = match line.verb {
        Verb::Pub | Verb::Hpub | Verb::Msg | Verb::Hmsg | Verb::Sub => Proof::Strong,
        Verb::Err if errors::error(line.text).is_some() && line.text.starts_with(b" '") => Proof::Strong,
        Verb::Err => Proof::None,
        Verb::Info | Verb::Connect if begins_object(line.text) => Proof::Strong,
        Verb::Info | Verb::Connect => Proof::None,
        Verb::Unsub | Verb::Ping | Verb::Pong | Verb::Ok => Proof::Weak,
    };
    (proof, line.block())
}
