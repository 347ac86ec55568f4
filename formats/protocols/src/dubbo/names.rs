//! The strings that a request begins with, and the first value of a response, by the serialization of the
//! body.

use std::ops::Range;

const HESSIAN2: u8 = 2;
const FASTJSON: u8 = 6;
const KRYO: u8 = 8;
const FASTJSON2: u8 = 23;

/// Bytes of a request's body in which its names stand, unless they are very long.
pub(super) const MOST: usize = 592;

/// Bytes of a response's body that its first value takes at most.
pub(super) const MOST_KIND: usize = 6;

/// Longest name that is kept.
const MAX_NAME: usize = 255;

/// The strings that a request begins with, as far as they are there and plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Version of the framework, interface, version of the service, method.
    found: [Range<usize>; 4],
    count: usize,
    /// Bytes of the body up to the end of the last of them.
    pub(super) end: usize,
}

impl Names {
    /// Those of a body that begins so.
    pub(super) fn of(serialization: u8, body: &[u8]) -> Names {
        let mut names = Names::default();
        while names.count < names.found.len() {
            let next = match serialization {
                HESSIAN2 => hessian(body, names.end),
                FASTJSON => json_line(body, names.end),
                FASTJSON2 => jsonb(body, names.end),
                _ => None,
            };
            let Some((name, end)) = next.filter(|(name, _)| names.fits(&body[name.clone()])) else { break };
            names.found[names.count] = name;
            names.count += 1;
            names.end = end;
        }
        names
    }

    /// Whether a text may be the next of the names.
    fn fits(&self, text: &[u8]) -> bool {
        let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"._-$/:".contains(&byte);
        let first = match self.count {
            0 => text.first().is_some_and(u8::is_ascii_digit),
            2 => true,
            _ => !text.is_empty(),
        };
        first && text.len() <= MAX_NAME && text.iter().all(plain)
    }

    /// The interface.
    pub(super) fn service<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        self.text(1, body)
    }

    /// The method.
    pub(super) fn method<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        self.text(3, body)
    }

    fn text<'a>(&self, at: usize, body: &'a [u8]) -> Option<&'a str> {
        let name = self.found.get(..self.count)?.get(at)?.clone();
        std::str::from_utf8(body.get(name)?).ok()
    }
}

/// Whether the body of a request may begin with this byte.
pub(super) fn may_begin(serialization: u8, first: u8) -> bool {
    match serialization {
        HESSIAN2 => matches!(first, 0..=0x1f | 0x30..=0x33 | b'S' | b'R' | b'N'),
        FASTJSON => matches!(first, b'"' | b'n'),
        FASTJSON2 => first == 0,
        _ => true,
    }
}

/// The first value of a response, a small number, and the bytes that it takes.
pub(super) fn kind(serialization: u8, body: &[u8]) -> Option<(u8, usize)> {
    let (kind, length) = match (serialization, body) {
        (HESSIAN2, &[kind, ..]) => (kind.wrapping_sub(0x90), 1),
        (FASTJSON, &[kind, b'\n', ..]) => (kind.wrapping_sub(b'0'), 2),
        (KRYO, &[kind, ..]) => (kind, 1),
        (FASTJSON2, &[0, 0, 0, 1, kind, ..]) => (kind, 5),
        // A byte of JSONB: so providers write it.
        (FASTJSON2, &[0, 0, 0, 2, 0xbd, kind, ..]) => (kind, 6),
        _ => return None,
    };
    (kind <= 5).then_some((kind, length))
}

/// A string of Hessian 2 (section 4.12): a length of characters, and null. Where each character is a byte.
fn hessian(body: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let (begin, length) = match *body.get(at..)? {
        [b'N', ..] => (at + 1, 0),
        [length @ 0..=0x1f, ..] => (at + 1, usize::from(length)),
        [high @ 0x30..=0x33, low, ..] => (at + 2, usize::from(high - 0x30) << 8 | usize::from(low)),
        [b'S', high, low, ..] => (at + 3, usize::from(high) << 8 | usize::from(low)),
        _ => return None,
    };
    whole(body, begin, length)
}

/// A string of JSON in a line of its own, without escapes, or null.
fn json_line(body: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    let line = body.get(at..)?;
    let length = line.iter().take(MAX_NAME + 3).position(|&byte| byte == b'\n')?;
    match line[..length].strip_suffix(b"\r").unwrap_or(&line[..length]) {
        b"null" => Some((at..at, at + length + 1)),
        [b'"', name @ .., b'"'] => Some((at + 1..at + 1 + name.len(), at + length + 1)),
        _ => None,
    }
}

/// A value of JSONB behind its length: a string of ASCII, whose length is said once more, or null.
fn jsonb(body: &[u8], at: usize) -> Option<(Range<usize>, usize)> {
    const NULL: u8 = 0xaf;
    const SHORT: u8 = 0x49;
    const LONG: u8 = 0x79;
    let (&length, value) = body.get(at..)?.split_first_chunk()?;
    let (at, length) = (at + 4, u32::from_be_bytes(length) as usize);
    match *value {
        [NULL, ..] if length == 1 => whole(body, at + 1, 0),
        [first @ SHORT..LONG, ..] if usize::from(first - SHORT) + 1 == length => {
            whole(body, at + 1, length - 1)
        }
        // Its length is a number of one byte (up to 47), or of two.
        [LONG, 0..=47, ..] if length > 2 => whole(body, at + 2, length - 2),
        [LONG, 0x30..=0x3f, _, ..] if length > 3 => whole(body, at + 3, length - 3),
        _ => None,
    }
}

fn whole(body: &[u8], begin: usize, length: usize) -> Option<(Range<usize>, usize)> {
    let end = begin.checked_add(length)?;
    (end <= body.len()).then_some((begin..end, end))
}
