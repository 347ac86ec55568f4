//! Goes through the fields of a message by its layout, as far as its bytes are there.

use std::ops::Range;

use super::layout::{Kind, Op};

/// A message, or what there is of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    pub(super) layout: &'static [Op],
    pub(super) version: u8,
    /// Lengths are varints, and structures end with tagged fields.
    pub(super) flexible: bool,
    pub(super) bytes: &'a [u8],
    /// Where its first field is.
    pub(super) at: usize,
    /// Bytes of the whole frame.
    pub(super) total: u64,
    /// Nothing behind the last field of this kind is wanted.
    pub(super) last: Option<Kind>,
}

/// A field, or what frames fields. One follows the other without gap.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) kind: Kind,
    /// How many arrays and structures it is in.
    pub(super) depth: usize,
    /// What says how long it is; then comes what it says.
    pub(super) length: Range<usize>,
    pub(super) content: Range<usize>,
    /// Elements of the array it is in that follow, and whether this is the first one.
    pub(super) left: u32,
    pub(super) first: bool,
    /// What the layout has next.
    pub(super) next: Option<Kind>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    On,
    Enough,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Behind the last field, which ended there.
    Done(usize),
    /// Nothing more was wanted.
    Enough,
    /// Some field is not there as a whole, which would be so many bytes of the frame and all before it.
    Cut(u64),
    /// It is not so.
    Broken,
}

/// Arrays and structures in each other.
const MAX_DEPTH: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Its bracket.
    begin: usize,
    /// Elements after this one.
    left: u32,
    first: bool,
    /// Where this element began.
    from: usize,
}

struct Walk<'a, S> {
    body: Body<'a>,
    see: S,
    at: usize,
    op: usize,
    open: [Open; MAX_DEPTH],
    depth: usize,
}

type Step = Result<(), End>;

/// Tells of all fields in turn.
pub(super) fn walk(body: Body<'_>, see: impl FnMut(&Piece) -> Going) -> End {
    let at = body.at;
    let mut walk = Walk { body, see, at, op: 0, open: [Open::default(); MAX_DEPTH], depth: 0 };
    match walk.run() {
        Ok(()) => End::Done(walk.at),
        Err(end) => end,
    }
}

/// Tells of the tagged fields that end a header.
pub(super) fn tags(body: Body<'_>, see: impl FnMut(&Piece) -> Going) -> End {
    let body = Body { layout: &[], ..body };
    walk(body, see)
}

impl<S: FnMut(&Piece) -> Going> Walk<'_, S> {
    fn run(&mut self) -> Step {
        let wanted = |op: &Op| op.is_in(self.body.version) && Some(op.kind) == self.body.last;
        let last = match self.body.last {
            Some(_) => self.body.layout.iter().rposition(wanted).map_or(0, |last| last + 1),
            None => usize::MAX,
        };
        while let Some(op) = self.body.layout.get(self.op) {
            if self.op >= last && self.open[..self.depth].iter().all(|o| o.left == 0 || o.begin >= last) {
                return Err(End::Enough);
            }
            self.op += 1;
            if op.kind == Kind::Close {
                self.close(op)?;
            } else if !op.is_in(self.body.version) {
                self.op = self.op.max(usize::from(op.other) + 1);
            } else if op.list {
                self.list(op.kind)?;
            } else {
                self.field(op)?;
            }
        }
        self.tagged()
    }

    fn field(&mut self, op: &Op) -> Step {
        match op.kind {
            Kind::Array => {
                let count = self.count()?;
                self.enter(op, count)
            }
            Kind::Struct => self.enter(op, 1),
            Kind::Nullable => {
                let there = self.take(1)?;
                let is_there = self.body.bytes[there.start] as i8 >= 0;
                self.tell(Kind::Frame, there, 0)?;
                self.enter(op, u32::from(is_there))
            }
            kind => self.value(kind),
        }
    }

    /// The elements of an array begin.
    fn enter(&mut self, op: &Op, count: u32) -> Step {
        if count == 0 {
            self.op = usize::from(op.other) + 1;
            return Ok(());
        }
        let open = Open { begin: self.op - 1, left: count - 1, first: true, from: self.at };
        *self.open.get_mut(self.depth).ok_or(End::Broken)? = open;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, op: &Op) -> Step {
        self.tagged()?;
        let Some(open) = self.depth.checked_sub(1).and_then(|top| self.open.get_mut(top)) else {
            return Err(End::Broken);
        };
        if open.left == 0 {
            self.depth -= 1;
            return Ok(());
        }
        if open.from == self.at {
            return Err(End::Broken);
        }
        *open = Open { left: open.left - 1, first: false, from: self.at, ..*open };
        self.op = usize::from(op.other) + 1;
        Ok(())
    }

    fn list(&mut self, kind: Kind) -> Step {
        let count = self.count()?;
        if let Kind::Fixed(size) = kind {
            let none = self.at..self.at;
            return self.tell(Kind::Fixed(size), none, u64::from(size) * u64::from(count));
        }
        for index in 0..count {
            let (left, first) = (count - 1 - index, index == 0);
            let open = Open { begin: self.op - 1, left, first, from: self.at };
            *self.open.get_mut(self.depth).ok_or(End::Broken)? = open;
            self.depth += 1;
            self.value(kind)?;
            self.depth -= 1;
        }
        Ok(())
    }

    fn value(&mut self, kind: Kind) -> Step {
        let size = match kind {
            Kind::Fixed(size) => u64::from(size),
            Kind::Error | Kind::Acks => 2,
            Kind::TopicId => 16,
            Kind::ResourceType => 1,
            _ => {
                let from = self.at;
                let size = self.length(if kind == Kind::Bytes { 4 } else { 2 })?;
                return self.tell(kind, from..self.at, size);
            }
        };
        self.tell(kind, self.at..self.at, size)
    }

    /// How many elements an array has.
    fn count(&mut self) -> Result<u32, End> {
        let from = self.at;
        let count = self.length(4)?;
        // Each has a byte at least.
        if count > self.left() {
            return Err(End::Broken);
        }
        self.tell(Kind::Frame, from..self.at, 0)?;
        u32::try_from(count).map_err(|_| End::Broken)
    }

    /// A length or a count, of these many bytes unless it is a varint; 0 where there is nothing.
    fn length(&mut self, bytes: usize) -> Result<u64, End> {
        if self.body.flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        let range = self.take(bytes)?;
        let bytes = &self.body.bytes[range];
        let negative = bytes.first().is_some_and(|&first| first >= 0x80);
        let number = bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Ok(if negative { 0 } else { number })
    }

    fn varint(&mut self) -> Result<u64, End> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.body.bytes[self.take(1)?][0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(End::Broken)
    }

    /// The tagged fields that end a structure.
    fn tagged(&mut self) -> Step {
        if !self.body.flexible {
            return Ok(());
        }
        let from = self.at;
        let count = self.varint()?;
        self.tell(Kind::Frame, from..self.at, 0)?;
        if count > self.left() {
            return Err(End::Broken);
        }
        for _ in 0..count {
            let from = self.at;
            self.varint()?;
            let size = self.varint()?;
            self.tell(Kind::Frame, from..self.at, size)?;
        }
        Ok(())
    }

    fn left(&self) -> u64 {
        self.body.total.saturating_sub(self.at as u64)
    }

    /// The next bytes, all of which must be there.
    fn take(&mut self, count: usize) -> Result<Range<usize>, End> {
        if count as u64 > self.left() {
            return Err(End::Broken);
        }
        let range = self.at..self.at + count;
        if range.end > self.body.bytes.len() {
            return Err(End::Cut(range.end as u64));
        }
        self.at = range.end;
        Ok(range)
    }

    /// Tells of a piece whose content of these many bytes begins here.
    fn tell(&mut self, kind: Kind, length: Range<usize>, size: u64) -> Step {
        if size > self.left() {
            return Err(End::Broken);
        }
        let content = self.at..self.at.saturating_add(size as usize);
        let there = content.end <= self.body.bytes.len();
        let open = self.depth.checked_sub(1).map(|top| self.open[top]).unwrap_or_default();
        let next = self.body.layout.get(self.op).map(|op| op.kind);
        let end = if there { content.end } else { content.start };
        let piece = Piece {
            kind,
            depth: self.depth,
            length,
            content: content.start..end,
            left: open.left,
            first: open.first,
            next,
        };
        let going = (self.see)(&piece);
        self.at = content.end;
        match going {
            Going::Enough => Err(End::Enough),
            Going::On if there => Ok(()),
            Going::On => Err(End::Cut(content.end as u64)),
        }
    }
}
