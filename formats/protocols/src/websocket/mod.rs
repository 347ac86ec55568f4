//! WebSocket (RFC 6455), as an answer 101 of HTTP/1 lets it begin.
//!
//! Both sides send as they like, so its messages are no exchanges: each is a row of table `messages`, and belongs to the span of the
//! request that asked for the change. A message is one or several frames; control frames (close, ping, pong) may come between
//! them and are messages of their own.
//!
//! Kept are the first bytes of frames, which say what they are and how long. Masks and contents are not. Where a frame's begin was
//! lost, the messages behind it are unknown.

use std::sync::{Arc, LazyLock};

use crate::frames::{Codec, Frame, Framed, Measure, Runs, Say};
use crate::operation::{Exchange, Operation, Status, Title, ValueRef};
use crate::parts::{Direction, HeadInfo};
use crate::protocol::{Framing, Protocol, Signature, Verdict};

/// WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct WebSocket;

impl Protocol for WebSocket {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        NAME
    }

    fn signatures(&self) -> &'static [Signature] {
        &[]
    }

    /// Nothing is: that it is spoken, the request before it tells.
    fn recognise(&self, _direction: Direction, _bytes: &[u8], _fresh: bool) -> Verdict {
        Verdict::No
    }

    fn framing(&self, before: Option<[u64; 2]>) -> Box<dyn Framing> {
        Box::new(Framed::new(Frames, before))
    }

    fn has_exchanges(&self) -> bool {
        false
    }

    fn failed(&self, _status: Status) -> bool {
        false
    }

    fn attributes(&self, _exchange: &Exchange<'_>, _tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {}
}

pub(crate) const NAME: &str = "websocket";

/// Section 5.2.
const FIN: u8 = 0x80;
/// RSV1: an extension has compressed the message (RFC 7692).
const COMPRESSED: u8 = 0x40;
const MASK: u8 = 0x80;
const MASK_BYTES: usize = 4;
/// The most that a control frame has.
const MAX_CONTROL_BYTES: u64 = 125;

/// A message of frames has this key, so that it goes on behind a control frame.
const MESSAGE: u64 = 0;
const CONTROL: u64 = 1;

/// What a frame is, by its opcode (section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Continuation,
    /// A message begins, by the place of its name in [`NAMES`].
    Message(usize),
    Control(usize),
}

const NAMES: [&str; 5] = ["text", "binary", "close", "ping", "pong"];

impl Kind {
    fn of(opcode: u8) -> Option<Kind> {
        match opcode {
            0 => Some(Kind::Continuation),
            1 | 2 => Some(Kind::Message(usize::from(opcode) - 1)),
            8..=10 => Some(Kind::Control(usize::from(opcode) - 6)),
            _ => None,
        }
    }
}

/// Reads frames, which tell all that there is to know.
#[derive(Debug)]
struct Frames;

/// A frame, in bytes.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// In front of the mask.
    begin: usize,
    mask: usize,
    content: u64,
}

/// How long a frame is, or how many of its first bytes tell; None where it is no frame.
fn measure(direction: Direction, bytes: &[u8]) -> Option<Result<Lengths, usize>> {
    let &[first, second, ref rest @ ..] = bytes else { return Some(Err(2)) };
    let kind = Kind::of(first & 0x0f).filter(|_| first & !(FIN | COMPRESSED | 0x0f) == 0)?;
    // Clients must mask, and servers must not (section 5.1).
    let masked = second & MASK != 0;
    if masked != (direction == Direction::Requests) {
        return None;
    }
    let (more, content) = match (second & !MASK, rest) {
        (126, [a, b, ..]) => (2, u64::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Some(Err(4)),
        (127, [a @ 0..=127, b, c, d, e, f, g, h, ..]) => {
            (8, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
        }
        (127, [128..=255, ..]) => return None,
        (127, _) => return Some(Err(10)),
        (short, _) => (0, u64::from(short)),
    };
    let is_whole = first & FIN != 0 && first & COMPRESSED == 0 && content <= MAX_CONTROL_BYTES;
    if matches!(kind, Kind::Control(_)) && !is_whole {
        return None;
    }
    Some(Ok(Lengths { begin: 2 + more, mask: if masked { MASK_BYTES } else { 0 }, content }))
}

impl Codec for Frames {
    fn measure(&mut self, direction: Direction, bytes: &[u8]) -> Measure {
        match measure(direction, bytes) {
            Some(Ok(Lengths { begin, mask, content })) => {
                let head = begin + mask;
                Measure::Frame { total: content.saturating_add(head as u64), head }
            }
            Some(Err(needed)) => Measure::Need(needed),
            None => Measure::None,
        }
    }

    /// Any two bytes may begin one.
    fn begins(&self, _direction: Direction, _bytes: &[u8]) -> bool {
        false
    }

    fn keep(&self, direction: Direction, head: &[u8], runs: &mut Runs) {
        let length = match measure(direction, head) {
            Some(Ok(lengths)) => lengths.begin,
            Some(Err(_)) => head.len(),
            None => 0,
        };
        runs.keep(length.min(head.len()));
    }

    fn frame(&mut self, frame: &Frame<'_>, say: &mut Say) {
        let Some(&first) = frame.head.first() else { return };
        let ends = first & FIN != 0;
        match Kind::of(first & 0x0f) {
            Some(Kind::Message(name)) => {
                say.begin();
                say.head(info(MESSAGE, name));
            }
            Some(Kind::Continuation) => say.resume(MESSAGE),
            Some(Kind::Control(name)) => return say.message(info(CONTROL, name)),
            None => return,
        }
        if ends {
            say.end();
        }
    }

    fn lost(&mut self, _direction: Direction) {}
}

fn info(key: u64, name: usize) -> HeadInfo {
    static OPERATIONS: LazyLock<[Arc<Operation>; NAMES.len()]> = LazyLock::new(|| {
        NAMES.map(|name| {
            let title = Some(Title::Defined(NAME));
            Arc::new(Operation { name: Some(name.into()), title, ..Operation::default() })
        })
    });
    HeadInfo { key: Some(key), operation: Some(OPERATIONS[name].clone()), ..HeadInfo::default() }
}

#[cfg(test)]
mod tests;
