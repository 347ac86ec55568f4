//! Values of RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), piece by piece: a value may be
//! split over calls at any byte.

/// Where in a value the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At a type byte.
    #[default]
    Kind,
    /// In the line that tells a length.
    Length { kind: u8, number: Number },
    /// In a line of text. `cr`: behind its CR.
    Text { cr: bool },
    /// In a string of which so many bytes are left.
    Bulk { left: u64 },
    /// Behind a string. `cr`: behind the CR.
    BulkEnd { cr: bool },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Number {
    value: u64,
    digits: u8,
    negative: bool,
    /// `?`: what follows tells its end.
    streamed: bool,
    cr: bool,
}

/// An aggregate that is not complete.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Elements to come; None: until one says that it is the last.
    left: Option<u64>,
    /// What it says belongs to the value behind it.
    attribute: bool,
}

/// What some bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A type byte.
    Kind(u8),
    /// Of a length, or of a line end.
    Framing,
    /// The last byte of a text or string.
    End,
    /// The end of the line that tells the length of a value of this kind: bytes or elements; None for null and where that is
    /// not known.
    Length(u8, Option<u64>),
    /// Of a line of text.
    Text,
    /// Of a string.
    Bulk,
    /// Nothing that belongs to a value.
    Invalid,
}

/// What some bytes are, and how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) used: usize,
    pub(super) piece: Piece,
    /// They complete a value that belongs to no other.
    pub(super) complete: bool,
}

/// Values within values, at most.
const MAX_DEPTH: usize = 64;
/// Digits of a length, at most.
const MAX_DIGITS: u8 = 18;

/// Reads one value after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    place: Place,
    open: Vec<Open>,
}

impl Reader {
    /// No value has begun.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::Kind && self.open.is_empty()
    }

    /// How many values the next byte is within.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Reads the first of `bytes`, which is not empty, and those after it that are of one piece with it.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let one = |piece| Step { used: 1, piece, complete: false };
        match &mut self.place {
            Place::Kind => self.kind(bytes[0]),
            Place::Length { .. } => self.length(bytes[0]),
            Place::Text { cr } => match bytes[0] {
                b'\n' if *cr => self.done(Piece::End),
                b'\r' if !*cr => {
                    *cr = true;
                    one(Piece::Framing)
                }
                b'\n' => one(Piece::Invalid),
                _ if *cr => one(Piece::Invalid),
                _ => {
                    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
                    Step { used: end.unwrap_or(bytes.len()), ..one(Piece::Text) }
                }
            },
            Place::Bulk { .. } => {
                let used = self.counted(bytes.len() as u64) as usize;
                Step { used, ..one(Piece::Bulk) }
            }
            Place::BulkEnd { cr } => match (bytes[0], *cr) {
                (b'\r', false) => {
                    *cr = true;
                    one(Piece::Framing)
                }
                (b'\n', true) => self.done(Piece::End),
                _ => one(Piece::Invalid),
            },
        }
    }

    /// Passes over up to `available` bytes whose number is known, themselves known or not; returns how many.
    pub(super) fn counted(&mut self, available: u64) -> u64 {
        let Place::Bulk { left } = &mut self.place else { return 0 };
        let used = available.min(*left);
        *left -= used;
        if *left == 0 {
            self.place = Place::BulkEnd { cr: false };
        }
        used
    }

    fn kind(&mut self, kind: u8) -> Step {
        self.place = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => Place::Text { cr: false },
            b'$' | b'!' | b'=' | b'*' | b'%' | b'~' | b'>' | b'|' => {
                Place::Length { kind, number: Number::default() }
            }
            b';' | b'.' if self.open.last().is_some_and(|open| open.left.is_none()) => match kind {
                b'.' => Place::Text { cr: false },
                _ => Place::Length { kind, number: Number::default() },
            },
            _ => return Step { used: 1, piece: Piece::Invalid, complete: false },
        };
        if kind == b'.' {
            // The line end completes the aggregate, as its last element would.
            if let Some(open) = self.open.last_mut() {
                open.left = Some(1);
            }
        }
        Step { used: 1, piece: Piece::Kind(kind), complete: false }
    }

    fn length(&mut self, byte: u8) -> Step {
        let Place::Length { kind, number } = &mut self.place else {
            return Step { used: 1, piece: Piece::Invalid, complete: false };
        };
        let kind = *kind;
        let first = number.digits == 0 && !number.negative && !number.streamed;
        match byte {
            b'\n' if number.cr && (number.digits > 0 || number.streamed) => {
                let number = *number;
                return self.measured(kind, number);
            }
            _ if number.cr => return Step { used: 1, piece: Piece::Invalid, complete: false },
            b'\r' => number.cr = true,
            b'-' if first => number.negative = true,
            b'?' if first => number.streamed = true,
            b'0'..=b'9' if number.digits < MAX_DIGITS && !number.streamed => {
                number.digits += 1;
                number.value = number.value * 10 + u64::from(byte - b'0');
            }
            _ => return Step { used: 1, piece: Piece::Invalid, complete: false },
        }
        Step { used: 1, piece: Piece::Framing, complete: false }
    }

    /// The length is known.
    fn measured(&mut self, kind: u8, number: Number) -> Step {
        let is_string = matches!(kind, b'$' | b'!' | b'=');
        let piece = Piece::Length(kind, (!number.negative && !number.streamed).then_some(number.value));
        let step = Step { used: 1, piece, complete: false };
        if kind == b';' {
            if number.value == 0 {
                // The last chunk completes the string.
                self.open.pop();
                return self.done(piece);
            }
            self.place = Place::Bulk { left: number.value };
            return step;
        }
        if is_string && !number.streamed {
            if number.negative {
                return self.done(piece);
            }
            self.place = if number.value > 0 {
                Place::Bulk { left: number.value }
            } else {
                Place::BulkEnd { cr: false }
            };
            return step;
        }
        let elements = if matches!(kind, b'%' | b'|') { number.value * 2 } else { number.value };
        let attribute = kind == b'|';
        if !number.streamed && (number.negative || elements == 0) {
            if attribute {
                self.place = Place::Kind;
                return step;
            }
            return self.done(piece);
        }
        if self.open.len() == MAX_DEPTH {
            return Step { piece: Piece::Invalid, ..step };
        }
        self.open.push(Open { left: (!number.streamed).then_some(elements), attribute });
        self.place = Place::Kind;
        step
    }

    /// A value is complete, and with it those of which it is the last.
    fn done(&mut self, piece: Piece) -> Step {
        self.place = Place::Kind;
        while let Some(open) = self.open.last_mut() {
            match &mut open.left {
                Some(1) => {}
                Some(left) => {
                    *left -= 1;
                    return Step { used: 1, piece, complete: false };
                }
                None => return Step { used: 1, piece, complete: false },
            }
            let attribute = open.attribute;
            self.open.pop();
            if attribute {
                return Step { used: 1, piece, complete: false };
            }
        }
        Step { used: 1, piece, complete: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where values that belong to no other are complete, read in pieces of this size; None where some byte is invalid.
    fn completed(text: &[u8], size: usize) -> Option<Vec<usize>> {
        let (mut reader, mut at, mut found) = (Reader::default(), 0, Vec::new());
        for chunk in text.chunks(size) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let step = reader.step(rest);
                if step.piece == Piece::Invalid {
                    return None;
                }
                at += step.used;
                rest = &rest[step.used..];
                if step.complete {
                    found.push(at);
                }
            }
        }
        assert!(reader.is_between() == (found.last() == Some(&text.len())));
        Some(found)
    }

    #[test]
    fn every_type_is_read_to_its_end() {
        for value in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":-12\r\n",
            "$5\r\nhe\r\no\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "(123456789012345678901234567890\r\n",
            "!9\r\nERR wrong\r\n",
            "=7\r\ntxt:abc\r\n",
            "%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n",
            "%0\r\n",
            "~2\r\n:1\r\n:2\r\n",
            ">2\r\n+a\r\n+b\r\n",
            "|1\r\n+ttl\r\n:3\r\n:7\r\n",
            "*2\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n:8\r\n",
            "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
            "*?\r\n:1\r\n*1\r\n:2\r\n.\r\n",
        ] {
            let twice = format!("{value}{value}");
            for size in 1..=twice.len() {
                let found = completed(twice.as_bytes(), size);
                assert_eq!(found, Some(vec![value.len(), twice.len()]), "{value:?} in {size}s");
            }
        }
    }

    #[test]
    fn what_is_no_value_is_told() {
        for text in [
            "hello\r\n",
            "$x\r\n",
            "$5\r\nhello!",
            "*1\n",
            "$\r\n",
            "+a\rb",
            "+a\nb",
            ".\r\n",
            "$-\r\n",
            "*1\r\nx",
        ] {
            assert_eq!(completed(text.as_bytes(), text.len()), None, "{text:?}");
        }
    }
}
