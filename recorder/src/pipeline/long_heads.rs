//! Message heads that are longer than the snap length: joined before redaction, and what is kept of them after it.
//!
//! The kernel programs hand over the rest of a long head in records of its own ([`event::More`]), so that redaction sees
//! all of it and leaves only what framing needs of what is beyond the snap length. Stored as payload is what the snap length says, as column
//! `events.framing` that rest.

use retrospan_formats::event::{self, Header, TAIL_BYTES, flags};
use retrospan_protocols::blank::BLANK;

use crate::rings::merge::Arrival;

/// A call some of whose records are still to come.
#[derive(Debug)]
pub struct Held {
    /// Header of the call's own record.
    pub header: Header,
    /// Its body.
    pub body: Vec<u8>,
    /// Where the call goes.
    pub arrival: Arrival,
    /// The bytes of the records that came.
    pub more: Vec<u8>,
    missing: u16,
}

impl Held {
    /// A call of which so many records are to come.
    pub fn new(header: Header, body: &[u8], arrival: Arrival, missing: u16) -> Held {
        Held { header, body: body.to_vec(), arrival, more: Vec::new(), missing }
    }

    /// Takes the next record, if it is one of this call.
    pub fn take(&mut self, header: &Header, more: &event::More, bytes: &[u8]) {
        if header.cpu == self.header.cpu && more.call_seq == self.header.seq {
            self.more.extend_from_slice(&bytes[..bytes.len().min(more.bytes as usize)]);
            self.missing = self.missing.saturating_sub(1);
        }
    }

    /// Nothing is to come any more.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }
}

/// The data of a call with a long head.
#[derive(Clone, Copy, Debug)]
pub struct Long<'a> {
    /// Bytes moved.
    pub done_bytes: u64,
    /// First bytes of the data: as many as may be stored, then the rest of the head.
    pub head: &'a [u8],
    /// How many of them may be stored.
    pub stored: usize,
    /// Last bytes of the data.
    pub tail: &'a [u8],
}

/// A call with a long head as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Column `payload`.
    pub payload: Vec<u8>,
    /// Column `framing`; empty: null.
    pub framing: Vec<u8>,
    /// Bits of [`flags`].
    pub flags: u32,
}

impl<'a> Long<'a> {
    /// The last bytes without those that are bytes of `head`, too: what redaction is to see.
    pub fn tail_beyond(&self) -> &'a [u8] {
        let from = self.done_bytes.saturating_sub(self.tail.len() as u64);
        let known = (self.head.len() as u64).saturating_sub(from) as usize;
        &self.tail[known.min(self.tail.len())..]
    }

    /// Divides what redaction left of `head` and [`Long::tail_beyond`], with its flags, among the columns.
    pub fn divide(&self, redacted: &[u8], bits: u32) -> Kept {
        let beyond = self.tail_beyond();
        let keeps_tail = bits & flags::PAYLOAD_TAIL != 0 && redacted.len() >= beyond.len();
        let (head, beyond) = redacted.split_at(redacted.len() - if keeps_tail { beyond.len() } else { 0 });
        let mut kept = Kept { flags: bits & !(flags::PAYLOAD_TAIL | flags::PAYLOAD_CUT), ..Kept::default() };
        let (stored, rest) = head.split_at(head.len().min(self.stored));
        kept.payload.extend_from_slice(stored);
        kept.framing.extend_from_slice(rest);
        if self.tail.len() == TAIL_BYTES {
            let from = (self.done_bytes - TAIL_BYTES as u64) as usize;
            let mut tail = [BLANK; TAIL_BYTES];
            let known = head.get(from..).unwrap_or_default();
            let known = &known[..known.len().min(TAIL_BYTES)];
            tail[..known.len()].copy_from_slice(known);
            tail[TAIL_BYTES - beyond.len()..].copy_from_slice(beyond);
            if !(known.is_empty() && beyond.is_empty()) {
                kept.payload.extend_from_slice(&tail);
                kept.flags |= flags::PAYLOAD_TAIL;
            }
        }
        if (kept.payload.len() as u64) < self.done_bytes {
            kept.flags |= flags::PAYLOAD_CUT;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(head: &[u8], stored: usize, done: usize, bits: u32) -> Kept {
        let data: Vec<u8> = head.iter().copied().chain(std::iter::repeat(b'b')).take(done).collect();
        let long = Long { done_bytes: done as u64, head, stored, tail: &data[done - TAIL_BYTES..] };
        let tail = if bits & flags::PAYLOAD_TAIL != 0 { long.tail_beyond() } else { &[] };
        let redacted = [head, tail].concat();
        long.divide(&redacted, bits)
    }

    #[test]
    fn payload_is_what_the_snap_length_says_and_framing_follows_it() {
        let head = b"HTTP/1.1 200 OK\r\nX: 0123456789\r\nContent-Length: 2\r\n\r\n";
        for done in [head.len(), head.len() + 2, head.len() + 8, head.len() + 100] {
            let data: Vec<u8> = head.iter().copied().chain(std::iter::repeat(b'b')).take(done).collect();
            let kept = divided(head, 24, done, flags::PAYLOAD_TAIL);
            assert_eq!(kept.payload, [&head[..24], &data[done - 8..]].concat(), "{done}");
            assert_eq!(kept.framing, head[24..]);
            assert_eq!(kept.flags, flags::PAYLOAD_TAIL | flags::PAYLOAD_CUT);
        }
        // Redaction kept nothing of the body.
        let kept = divided(head, 24, head.len() + 100, 0);
        assert_eq!((kept.payload.len(), kept.flags), (24, flags::PAYLOAD_CUT));
    }

    #[test]
    fn records_of_another_call_are_left_out() {
        let header = Header {
            boot_ns: 1,
            seq: 7,
            pid: 1,
            tid: 1,
            cpu: 0,
            record: event::Record::Call as u8,
            kind: 6,
            record_bytes: 0,
        };
        let mut held = Held::new(header, b"body", Arrival::InOrder, 2);
        let more = |call_seq| event::More { socket_id: 1, call_seq, bytes: 2, reserved: 0 };
        held.take(&header, &more(6), b"no");
        held.take(&Header { cpu: 1, ..header }, &more(7), b"no");
        held.take(&header, &more(7), b"ab-");
        assert!(!held.is_whole());
        held.take(&header, &more(7), b"cd");
        assert!(held.is_whole());
        assert_eq!(held.more, b"abcd");
    }
}
