//! What frames begin and end with, and whether bytes are some.

use super::methods::{Argument, BASIC, Method, arguments};
use crate::messaging::plain_name;
use crate::parts::Direction;
use crate::protocol::Verdict;

/// Bytes of type, channel and length.
pub(super) const FIXED: usize = 7;
/// With class and method.
pub(super) const METHOD_FIXED: usize = FIXED + 4;
/// Of the header of a message: class, weight, length of its body.
pub(super) const HEADER: usize = FIXED + 12;
/// What a connection begins with.
pub(super) const GREETING: usize = 8;
/// The last byte of a frame.
pub(super) const END: u8 = 0xce;
/// Largest frame that we believe.
const MAX_BYTES: u32 = 1 << 28;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Method,
    Header,
    Body,
    Heartbeat,
}

/// Type, channel and length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) kind: Kind,
    pub(super) channel: u16,
    /// Bytes of what it carries.
    pub(super) length: u32,
}

impl Start {
    /// None where too little is there, or it is no frame.
    pub(super) fn of(bytes: &[u8]) -> Option<Start> {
        let bytes = bytes.first_chunk::<FIXED>()?;
        let kind = match bytes[0] {
            1 => Kind::Method,
            2 => Kind::Header,
            3 => Kind::Body,
            8 => Kind::Heartbeat,
            _ => return None,
        };
        let channel = u16::from_be_bytes([bytes[1], bytes[2]]);
        let length = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]);
        let fits = match kind {
            Kind::Method => (4..MAX_BYTES).contains(&length),
            Kind::Header => (14..MAX_BYTES).contains(&length),
            Kind::Body => length < MAX_BYTES,
            Kind::Heartbeat => length == 0 && channel == 0,
        };
        fits.then_some(Start { kind, channel, length })
    }

    /// Bytes of the frame.
    pub(super) fn total(&self) -> u64 {
        FIXED as u64 + u64::from(self.length) + 1
    }
}

/// What a greeting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A version that is read here.
    Known,
    /// One that is not.
    Other,
    /// As far as it goes.
    Part,
}

/// The protocol header of a client, or of a server that does not speak its version.
pub(super) fn greeting(bytes: &[u8]) -> Option<Greeting> {
    let known = [[0, 0, 9, 1], [1, 1, 0, 9], [1, 1, 9, 1], [1, 1, 8, 0]];
    let name = &b"AMQP"[..bytes.len().min(4)];
    if bytes.is_empty() || !bytes.starts_with(name) {
        return None;
    }
    let version = bytes.get(4..GREETING);
    Some(version.map_or(Greeting::Part, |version| {
        if known.iter().any(|known| *known == *version) { Greeting::Known } else { Greeting::Other }
    }))
}

/// The method of a frame.
pub(super) fn method(bytes: &[u8]) -> Option<&'static Method> {
    let ids = bytes.get(FIXED..METHOD_FIXED)?;
    Method::of(u16::from_be_bytes([ids[0], ids[1]]), u16::from_be_bytes([ids[2], ids[3]]))
}

/// What the arguments of a method say.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    pub(super) queue: Option<&'a str>,
    pub(super) exchange: Option<&'a str>,
    pub(super) routing_key: Option<&'a str>,
    pub(super) code: Option<u16>,
    /// The method that failed.
    pub(super) failed: [u16; 2],
    pub(super) tag: Option<u64>,
    pub(super) multiple: bool,
    /// None: it says nothing of that, as far as it is there.
    pub(super) no_wait: Option<bool>,
}

impl<'a> Arguments<'a> {
    pub(super) fn of(method: &Method, bytes: &'a [u8]) -> Arguments<'a> {
        let mut told = Arguments::default();
        arguments(method, bytes, METHOD_FIXED, |argument| told.take(argument, bytes));
        told
    }

    fn take(&mut self, argument: &Argument, bytes: &'a [u8]) {
        let content = &bytes[argument.content.clone()];
        let number = |content: &[u8]| content.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        match argument.letter {
            b'q' => self.queue = plain_name(content),
            b'e' => self.exchange = self.exchange.or(plain_name(content)),
            b'r' => self.routing_key = plain_name(content),
            b'c' => self.code = Some(number(content) as u16),
            b'm' => self.failed = [number(&content[..2]) as u16, number(&content[2..]) as u16],
            b't' => self.tag = Some(number(content)),
            b'a' => self.multiple = content[0] & 1 != 0,
            b'n' => self.no_wait = Some(content[0] >> argument.bit & 1 != 0),
            _ => {}
        }
    }
}

/// Whether an argument may be kept: numbers that pair frames, and plain names.
pub(super) fn may_keep(argument: &Argument, bytes: &[u8]) -> bool {
    match argument.letter {
        b'q' | b'e' | b'r' => plain_name(&bytes[argument.content.clone()]).is_some(),
        letter => matches!(letter, b'c' | b'm' | b't' | b'a' | b'n'),
    }
}

/// A frame all of which is there, with what tells that it is one.
fn whole(bytes: &[u8]) -> Option<Start> {
    let start = Start::of(bytes)?;
    let end = usize::try_from(start.total()).ok()?;
    let ends = *bytes.get(end - 1)? == END;
    let known = match start.kind {
        Kind::Method => {
            let of_connection = method(bytes)?.class == super::methods::CONNECTION;
            of_connection == (start.channel == 0)
        }
        Kind::Header => bytes[FIXED..FIXED + 4] == [0, BASIC as u8, 0, 0] && start.channel != 0,
        Kind::Body => start.channel != 0 && start.length > 0,
        Kind::Heartbeat => true,
    };
    (ends && known).then_some(start)
}

/// Whether bytes begin with a frame, all of which is there, that goes this way.
pub(super) fn begins(direction: Direction, bytes: &[u8]) -> bool {
    whole(bytes).is_some_and(|start| {
        start.kind != Kind::Method || method(bytes).is_some_and(|method| method.by()[direction as usize])
    })
}

/// Whether bytes are frames of this direction, and not of the other one: some whole frame says so, and those
/// in front are frames.
pub(super) fn recognise(direction: Direction, bytes: &[u8]) -> Verdict {
    let mut rest = bytes;
    while let Some(start) = whole(rest) {
        if start.kind == Kind::Method
            && let Some(method) = method(rest)
            && method.by() != [true; 2]
        {
            return if method.by()[direction as usize] { Verdict::Surely } else { Verdict::No };
        }
        rest = &rest[start.total() as usize..];
    }
    Verdict::No
}
