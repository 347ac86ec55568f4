//! How data begins that is this protocol.

use super::answers;
use super::binary::{ANSWER, HEADER, Header, REQUEST};
use super::commands;
use super::lines::{Extent, Words, extent};
use super::requests::{self, Proof, Request};
use crate::parts::Direction;
use crate::protocol::Verdict;

/// So many frames are looked at, if they are there.
const FRAMES: usize = 4;

pub(super) fn recognise(direction: Direction, bytes: &[u8], fresh: bool) -> Verdict {
    let magic = if direction == Direction::Requests { REQUEST } else { ANSWER };
    let surely = match direction {
        _ if bytes.first() == Some(&magic) => {
            let cut = direction == Direction::Requests && fresh && (2..HEADER).contains(&bytes.len());
            let may_be_one = cut && bytes[1] <= 0x24 && bytes.get(5).is_none_or(|&byte| byte == 0);
            match Header::of(bytes) {
                Some(header) => header.proves(direction),
                None if may_be_one => return Verdict::Maybe,
                None => false,
            }
        }
        Direction::Requests => {
            let proof = proof(bytes);
            if fresh && proof != Proof::Strong && (proof == Proof::Weak || may_go_on(bytes)) {
                return Verdict::Maybe;
            }
            proof == Proof::Strong
        }
        Direction::Responses => {
            let line = first_line(bytes);
            line.is_some_and(|line| answers::is_own(line) && goes_on(line, bytes))
        }
    };
    if surely { Verdict::Surely } else { Verdict::No }
}

/// Where it is known that this protocol is spoken.
pub(super) fn begins(direction: Direction, bytes: &[u8]) -> bool {
    match (direction, bytes.first()) {
        (Direction::Requests, Some(&REQUEST)) | (Direction::Responses, Some(&ANSWER)) => {
            Header::of(bytes).is_some_and(|header| header.proves(direction))
        }
        (Direction::Requests, _) => proof(bytes) > Proof::None,
        (Direction::Responses, _) => {
            first_line(bytes).is_some_and(|line| answers::is_answer(line) && goes_on(line, bytes))
        }
    }
}

fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    match extent(bytes, 0) {
        Extent::Line(length) => Some(&bytes[..length]),
        _ => None,
    }
}

/// Behind a line and its value, if that is there, follows a line end.
fn goes_on(line: &[u8], bytes: &[u8]) -> bool {
    let block = answers::Answer::of(line).map_or(0, |answer| answer.block);
    block == 0 || ends_block(&bytes[line.len()..], block)
}

fn ends_block(bytes: &[u8], block: u64) -> bool {
    usize::try_from(block).ok().and_then(|block| bytes.get(block - 2..block)).is_none_or(|end| {
        // Of a value nothing is kept, nor is its end.
        end == b"\r\n" || end == b"**"
    })
}

/// What the first commands prove: no line that is whole may be anything else, nor a value end elsewhere.
fn proof(bytes: &[u8]) -> Proof {
    let mut proof = Proof::None;
    let mut rest = bytes;
    for _ in 0..FRAMES {
        let Some(line) = first_line(rest) else { break };
        let this = requests::proof(line);
        let block = Request::of(line).map_or(0, |request| request.block);
        let behind = &rest[line.len()..];
        if this == Proof::None || (block > 0 && !ends_block(behind, block)) {
            return Proof::None;
        }
        proof = proof.max(this);
        let next = usize::try_from(block).ok().and_then(|block| behind.get(block..));
        match next {
            Some(next) if !next.is_empty() => rest = next,
            _ => break,
        }
    }
    proof
}

/// The first line goes on in another call, and is a command as far as it goes.
fn may_go_on(bytes: &[u8]) -> bool {
    if first_line(bytes).is_some() || !bytes.iter().all(|&byte| byte >= b' ') {
        return false;
    }
    let Some(name) = Words::of(bytes).next().filter(|name| name.start == 0) else { return false };
    if name.end == bytes.len() {
        return commands::may_become_command(bytes);
    }
    commands::of_name(&bytes[name]).is_some_and(|(_, command)| command.kind != commands::kind::NONE)
}
