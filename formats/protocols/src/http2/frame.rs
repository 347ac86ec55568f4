//! Frames (RFC 9113, section 4): their header of nine bytes, and where in a frame the parts of a header block
//! stand.

use std::ops::Range;

/// Bytes of a frame's header.
pub(super) const HEADER: usize = 9;

/// The first bytes of a client (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (section 6).
pub(super) mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags, which mean different things in different frames.
mod flag {
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
    pub const PRIORITY: u8 = 0x20;
}

/// Longest frame that peers must take without having said so: what is longer is plausible only where frames
/// are known to begin.
const USUAL_LENGTH: u32 = 1 << 14;

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) kind: u8,
    flags: u8,
    /// 0 for the connection itself.
    pub(super) stream: u32,
}

impl Header {
    /// None where not all of it is there, or no frame has such a header.
    pub(super) fn of(bytes: &[u8]) -> Option<Header> {
        let &[a, b, c, kind, flags, d, e, f, g] = bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, a, b, c]);
        let header = Header { length, kind, flags, stream: u32::from_be_bytes([d, e, f, g]) };
        (d < 0x80 && header.is_possible()).then_some(header)
    }

    /// Its length and its stream are such as its type has them.
    fn is_possible(&self) -> bool {
        let of_stream = self.stream != 0;
        match self.kind {
            kind::DATA | kind::HEADERS | kind::PUSH_PROMISE => {
                of_stream && self.length >= self.fixed() as u32
            }
            kind::PRIORITY => of_stream && self.length == 5,
            kind::RST_STREAM => of_stream && self.length == 4,
            kind::SETTINGS => {
                !of_stream
                    && self.length.is_multiple_of(6)
                    && (self.flags & flag::ACK == 0 || self.length == 0)
            }
            kind::PING => !of_stream && self.length == 8,
            kind::GOAWAY => !of_stream && self.length >= 8,
            kind::WINDOW_UPDATE => self.length == 4,
            kind::CONTINUATION => of_stream,
            // Extensions, which anybody may send.
            _ => self.length <= USUAL_LENGTH,
        }
    }

    /// It is one that this protocol defines, with nothing about it that is unusual.
    pub(super) fn is_usual(&self) -> bool {
        use flag::{ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY};
        let flags = match self.kind {
            kind::DATA => END_STREAM | PADDED,
            kind::HEADERS => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            kind::PUSH_PROMISE => END_HEADERS | PADDED,
            kind::SETTINGS | kind::PING => ACK,
            kind::CONTINUATION => END_HEADERS,
            kind::PRIORITY..=kind::WINDOW_UPDATE => 0,
            _ => return false,
        };
        self.flags & !flags == 0 && self.length <= USUAL_LENGTH
    }

    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }

    pub(super) fn ends_block(&self) -> bool {
        self.flags & flag::END_HEADERS != 0
    }

    /// Bytes of the whole frame.
    pub(super) fn total(&self) -> usize {
        HEADER + self.length as usize
    }

    fn is_padded(&self) -> bool {
        self.kind != kind::CONTINUATION && self.flags & flag::PADDED != 0
    }

    /// Bytes between the header and the content: how much padding there is, the priority, the promised
    /// stream.
    fn fixed(&self) -> usize {
        let of_kind = match self.kind {
            kind::HEADERS if self.flags & flag::PRIORITY != 0 => 5,
            kind::PUSH_PROMISE => 4,
            _ => 0,
        };
        of_kind + usize::from(self.is_padded())
    }

    /// Bytes in front of the content.
    pub(super) fn front(&self) -> usize {
        HEADER + self.fixed()
    }

    /// The part of a header block in a frame that begins with `bytes`, as far as it is there.
    fn fragment(&self, bytes: &[u8]) -> Range<usize> {
        let padding = if self.is_padded() { bytes.get(HEADER).map_or(0, |&length| length.into()) } else { 0 };
        let begin = self.front();
        // With more padding than frame there is none.
        let end = self.total().saturating_sub(padding).max(begin);
        begin.min(bytes.len())..end.min(bytes.len())
    }
}

/// The parts of a header block in `head`: a frame that begins one, with the CONTINUATION frames behind it.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Where the frame of each begins, and where it stands.
    pub(super) ranges: Vec<(usize, Range<usize>)>,
    /// All of the block is there.
    pub(super) whole: bool,
}

impl Fragments {
    /// Finds them, as many as there are.
    pub(super) fn find(&mut self, head: &[u8]) {
        self.ranges.clear();
        self.whole = false;
        let mut at = 0;
        while let Some(header) = head.get(at..).and_then(Header::of) {
            let range = header.fragment(&head[at..]);
            self.ranges.push((at, at + range.start..at + range.end));
            at += header.total();
            if header.ends_block() {
                self.whole = at <= head.len();
                return;
            }
        }
    }
}
