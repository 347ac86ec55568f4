//! Where a struct ends whose length nothing tells: its values are passed over, and never looked at.

use super::exception;
use super::message::{Kind, Message};
use super::types::{Encoding, Size, varint, zigzag};

/// Deepest nesting that is followed; a container with the value in it counts twice.
const MAX_DEPTH: usize = 128;
/// Longest text, and most elements.
const MAX_LENGTH: u64 = 1 << 31;

/// A struct that is being passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Skipper {
    encoding: Encoding,
    /// What comes next is within all of these, the last one innermost.
    levels: Vec<Level>,
    /// It is a TApplicationException, and this the number of its last field.
    exception: Option<i16>,
    /// The type of that.
    pub(super) kind: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// Fields, up to a stop.
    Struct,
    /// So many values of these types, in turns.
    Values { left: u64, kinds: [u8; 2] },
    /// A value.
    Value(Size),
    /// The type of an exception.
    Kind,
}

/// A piece of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes of types, numbers of fields, lengths, counts.
    Structure(usize),
    /// The same, whose first byte tells a truth value, too.
    Truth(usize),
    /// Bytes of values, which may be more than there are.
    Value(u64),
    /// A number of seven bits a byte.
    Varint(usize),
    /// The type of an exception.
    Shown(usize),
    /// So many bytes tell more.
    Need(usize),
    /// No struct goes on so.
    Wrong,
}

impl Skipper {
    /// At the first byte of the message's struct.
    pub(super) fn begin(&mut self, message: &Message) {
        self.encoding = message.encoding;
        self.levels.clear();
        self.levels.push(Level::Struct);
        (self.exception, self.kind) = ((message.kind == Kind::Exception).then_some(0), None);
    }

    /// The same, of its own.
    pub(super) fn of(message: &Message) -> Skipper {
        let mut skipper = Skipper::default();
        skipper.begin(message);
        skipper
    }

    /// As another, in the room that this one has.
    pub(super) fn copy(&mut self, other: &Skipper) {
        self.levels.clone_from(&other.levels);
        (self.encoding, self.exception, self.kind) = (other.encoding, other.exception, other.kind);
    }

    /// The struct is over.
    pub(super) fn is_over(&self) -> bool {
        self.levels.is_empty()
    }

    /// Passes over the pieces that these bytes are the first of, and tells them. Returns how many bytes they
    /// take, which may be more than these, and what it stopped at.
    pub(super) fn run(&mut self, bytes: &[u8], tell: &mut dyn FnMut(Piece)) -> (u64, Option<Piece>) {
        let mut at = 0;
        while !self.is_over() && at < bytes.len() as u64 {
            let piece = self.piece(&bytes[at as usize..]);
            at += match piece {
                Piece::Need(_) | Piece::Wrong => return (at, Some(piece)),
                Piece::Value(length) => length,
                Piece::Structure(length)
                | Piece::Truth(length)
                | Piece::Varint(length)
                | Piece::Shown(length) => length as u64,
            };
            tell(piece);
        }
        (at, None)
    }

    /// Whether the bytes are the first of a struct of this length, where that is known.
    pub(super) fn is_possible(&mut self, bytes: &[u8], length: Option<u64>) -> bool {
        let (end, stop) = self.run(bytes, &mut |_| {});
        let fits = length.is_none_or(|length| end <= length && (!self.is_over() || end == length));
        stop != Some(Piece::Wrong) && fits
    }

    /// The next piece, of which one byte is there at least.
    fn piece(&mut self, bytes: &[u8]) -> Piece {
        let Some(&level) = self.levels.last() else { return Piece::Wrong };
        let next = match level {
            Level::Struct => self.field(bytes),
            Level::Values { left, kinds } => self.values(left, kinds),
            Level::Value(size) => self.value(size, bytes),
            Level::Kind => self.exception_kind(bytes),
        };
        next.unwrap_or_else(|need| need.map_or(Piece::Wrong, Piece::Need))
    }

    /// What is innermost now instead.
    fn replace(&mut self, level: Option<Level>) {
        self.levels.pop();
        self.levels.extend(level);
    }

    fn push(&mut self, level: Level) -> Result<(), Option<usize>> {
        if self.levels.len() == MAX_DEPTH {
            return Err(None);
        }
        self.levels.push(level);
        Ok(())
    }

    /// A field's header, or the stop.
    fn field(&mut self, bytes: &[u8]) -> Result<Piece, Option<usize>> {
        if bytes[0] == 0 {
            self.levels.pop();
            return Ok(Piece::Structure(1));
        }
        let is_compact = self.encoding == Encoding::Compact;
        let (kind, number, length) =
            if is_compact { self.compact_field(bytes)? } else { binary_field(bytes)? };
        let size = self.encoding.size(kind).ok_or(None)?;
        if let Some(last) = self.exception.as_mut().filter(|_| self.levels.len() == 1) {
            *last = number;
            if number == 2 && (is_compact && size == Size::Varint || size == Size::Fixed(4)) {
                self.push(Level::Kind)?;
                return Ok(Piece::Structure(length));
            }
        }
        // A truth value is the type itself.
        if is_compact && matches!(kind, 1 | 2) {
            return Ok(Piece::Truth(length));
        }
        self.push(Level::Value(size))?;
        Ok(Piece::Structure(length))
    }

    /// The header gives the distance to the number of the last field, or 0, and the number then.
    fn compact_field(&self, bytes: &[u8]) -> Result<(u8, i16, usize), Option<usize>> {
        let (distance, kind) = (bytes[0] >> 4, bytes[0] & 0x0f);
        if distance > 0 {
            let last = self.exception.unwrap_or_default();
            return Ok((kind, last.wrapping_add(distance.into()), 1));
        }
        let (number, length) = varint(&bytes[1..]).map_err(|need| need.map(|need| 1 + need))?;
        Ok((kind, zigzag(number) as i16, 1 + length))
    }

    /// Values of a container.
    fn values(&mut self, left: u64, kinds: [u8; 2]) -> Result<Piece, Option<usize>> {
        let [one, other] = kinds.map(|kind| self.encoding.size(kind));
        if left == 0 {
            self.levels.pop();
        } else if let (Some(Size::Fixed(one)), Some(Size::Fixed(other))) = (one, other) {
            // All of them are as long as each other.
            self.levels.pop();
            return Ok(Piece::Value(left.div_ceil(2) * one + left / 2 * other));
        } else {
            self.replace(Some(Level::Values { left: left - 1, kinds: [kinds[1], kinds[0]] }));
            self.push(Level::Value(one.ok_or(None)?))?;
        }
        Ok(Piece::Structure(0))
    }

    fn value(&mut self, size: Size, bytes: &[u8]) -> Result<Piece, Option<usize>> {
        match size {
            Size::Fixed(length) => {
                self.levels.pop();
                Ok(Piece::Value(length))
            }
            Size::Varint => {
                let (_, length) = varint(bytes)?;
                self.levels.pop();
                Ok(Piece::Varint(length))
            }
            Size::Text => {
                let (text, length) = self.count(bytes)?;
                self.replace((text > 0).then_some(Level::Value(Size::Fixed(text))));
                Ok(Piece::Structure(length))
            }
            Size::Struct => {
                self.replace(Some(Level::Struct));
                Ok(Piece::Structure(0))
            }
            Size::List => {
                let (left, kind, length) = self.list(bytes)?;
                self.replace((left > 0).then_some(Level::Values { left, kinds: [kind; 2] }));
                Ok(Piece::Structure(length))
            }
            Size::Map => {
                let (left, kinds, length) = self.map(bytes)?;
                self.replace((left > 0).then_some(Level::Values { left, kinds }));
                Ok(Piece::Structure(length))
            }
        }
    }

    /// A length or a count, and the bytes it takes.
    fn count(&self, bytes: &[u8]) -> Result<(u64, usize), Option<usize>> {
        let (count, length) = match self.encoding {
            Encoding::Binary => (u32::from_be_bytes(*bytes.first_chunk().ok_or(Some(4))?).into(), 4),
            Encoding::Compact => varint(bytes)?,
        };
        if count < MAX_LENGTH { Ok((count, length)) } else { Err(None) }
    }

    /// Count and type of a list or set.
    fn list(&self, bytes: &[u8]) -> Result<(u64, u8, usize), Option<usize>> {
        let far = |need: Option<usize>| need.map(|need| 1 + need);
        let first = bytes[0];
        let (count, kind, length) = match self.encoding {
            Encoding::Compact if first >> 4 < 15 => (u64::from(first >> 4), first & 0x0f, 1),
            _ => {
                let (count, length) = self.count(&bytes[1..]).map_err(far)?;
                let kind = if self.encoding == Encoding::Compact { first & 0x0f } else { first };
                (count, kind, 1 + length)
            }
        };
        let known = count == 0 || self.encoding.size(kind).is_some();
        if known { Ok((count, kind, length)) } else { Err(None) }
    }

    /// Count of a map's keys and values, their types.
    fn map(&self, bytes: &[u8]) -> Result<(u64, [u8; 2], usize), Option<usize>> {
        let (pairs, kinds, length) = match self.encoding {
            Encoding::Binary => {
                let &[key, value] = bytes.first_chunk().ok_or(Some(6))?;
                let (pairs, length) = self.count(&bytes[2..]).map_err(|need| need.map(|need| 2 + need))?;
                (pairs, [key, value], 2 + length)
            }
            Encoding::Compact => match self.count(bytes)? {
                (0, length) => (0, [0; 2], length),
                (pairs, length) => {
                    let kinds = bytes.get(length).ok_or(Some(length + 1))?;
                    (pairs, [kinds >> 4, kinds & 0x0f], length + 1)
                }
            },
        };
        let known = pairs == 0 || kinds.iter().all(|&kind| self.encoding.size(kind).is_some());
        if known { Ok((2 * pairs, kinds, length)) } else { Err(None) }
    }

    /// The type of an exception. Those that there are take one byte of a number of seven bits a byte.
    fn exception_kind(&mut self, bytes: &[u8]) -> Result<Piece, Option<usize>> {
        let (kind, length, hidden) = match self.encoding {
            Encoding::Binary => {
                (i32::from_be_bytes(*bytes.first_chunk().ok_or(Some(4))?).into(), 4, Piece::Value(4))
            }
            Encoding::Compact => {
                let (number, length) = varint(bytes)?;
                (zigzag(number), length, Piece::Varint(length))
            }
        };
        self.levels.pop();
        let known = u16::try_from(kind).ok().filter(|&kind| exception::is_known(kind));
        let known = known.filter(|_| length == if self.encoding == Encoding::Binary { 4 } else { 1 });
        self.kind = known.or(self.kind);
        Ok(if known.is_some() { Piece::Shown(length) } else { hidden })
    }
}

/// Type and number of a field, and the bytes that they take.
fn binary_field(bytes: &[u8]) -> Result<(u8, i16, usize), Option<usize>> {
    Encoding::Binary.size(bytes[0]).ok_or(None)?;
    let &[kind, high, low] = bytes.first_chunk().ok_or(Some(3))?;
    Ok((kind, i16::from_be_bytes([high, low]), 3))
}
