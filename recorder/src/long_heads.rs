//! Message heads that are longer than the snap length: joined before redaction, and what is kept of them after it.
//!
//! The kernel programs hand over the rest of a long head in records of its own ([`event::More`]), so that redaction sees
//! all of it. Stored as payload is what the snap length says; of the rest only what framing needs (column `events.framing`).

use retrospan_formats::event::{self, Header, TAIL_BYTES, flags};

use crate::order::Place;

/// What stands for a byte that is not kept.
const BLANK: u8 = b'*';
/// Header lines that tell where a message ends and what follows it.
const NEEDED: [&str; 6] =
    ["content-length", "transfer-encoding", "connection", "upgrade", "expect", "trailer"];

/// A call some of whose records are still to come.
#[derive(Debug)]
pub struct Held {
    /// Header of the call's own record.
    pub header: Header,
    /// Its body.
    pub body: Vec<u8>,
    /// Where the call goes.
    pub place: Place,
    /// The bytes of the records that came.
    pub more: Vec<u8>,
    missing: u16,
}

impl Held {
    /// A call of which so many records are to come.
    pub fn new(header: Header, body: &[u8], place: Place, missing: u16) -> Held {
        Held { header, body: body.to_vec(), place, more: Vec::new(), missing }
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
        if !rest.is_empty() {
            kept.framing = framing(head, self.stored);
        }
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

/// The bytes of a head from `from` on, all blank but what framing needs. `head` may hold several heads.
fn framing(head: &[u8], from: usize) -> Vec<u8> {
    let mut kept = vec![BLANK; head.len()];
    let (mut at, mut is_start, mut needed) = (0, true, false);
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let end = at + line.len();
        let text = without_end(line);
        kept[at + text.len()..end].copy_from_slice(&line[text.len()..]);
        let kept_line = &mut kept[at..at + text.len()];
        if is_start {
            keep_start_line(text, kept_line);
            needed = false;
        } else if text.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            // A folded line goes on with the value before.
            kept_line[..if needed { text.len() } else { 1 }]
                .copy_from_slice(&text[..if needed { text.len() } else { 1 }]);
        } else {
            let colon = text.iter().position(|&byte| byte == b':');
            let name = &text[..colon.unwrap_or(0)];
            needed = NEEDED.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
            if needed {
                kept_line.copy_from_slice(text);
            } else if let Some(colon) = colon {
                kept_line[colon] = b':';
            }
        }
        is_start = text.is_empty() && !(is_start && at == 0);
        at = end;
    }
    kept.split_off(from)
}

/// A line without its CR LF or LF.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Keeps the method and version of a request, the version and status of a response.
fn keep_start_line(text: &[u8], kept: &mut [u8]) {
    let (first, last) = if text.starts_with(b"HTTP/") {
        (text.len().min(b"HTTP/1.1 200 ".len()), text.len())
    } else {
        let Some(method) = text.iter().position(|&byte| byte == b' ') else { return };
        let version = text.iter().rposition(|&byte| byte == b' ').unwrap_or(method);
        (method + 1, if text[version..].starts_with(b" HTTP/") { version } else { text.len() })
    };
    kept[..first].copy_from_slice(&text[..first]);
    kept[last..].copy_from_slice(&text[last..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(head: &str, from: usize) -> String {
        String::from_utf8(framing(head.as_bytes(), from)).expect("text")
    }

    #[test]
    fn only_what_framing_needs_is_left_of_a_head() {
        let head = "POST /secret?a=b HTTP/1.1\r\nHost: a\r\nX-Y: z:z\r\ncontent-LENGTH: 17\r\n fold\r\nX: y\r\n fold\r\n\r\n";
        let blank = "POST *********** HTTP/1.1\r\n****:**\r\n***:****\r\ncontent-LENGTH: 17\r\n fold\r\n*:**\r\n ****\r\n\r\n";
        for from in 0..head.len() {
            assert_eq!(kept(head, from), blank[from..]);
        }
        let answer = "HTTP/1.1 200 Very Fine\r\nTransfer-Encoding: chunked\r\nTrailer: T\nServer: x\n\n";
        assert_eq!(
            kept(answer, 0),
            "HTTP/1.1 200 *********\r\nTransfer-Encoding: chunked\r\nTrailer: T\n******:**\n\n"
        );
        let two = "GET /a HTTP/1.1\r\nA: b\r\n\r\nHEAD /b HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert_eq!(kept(two, 25), "HEAD ** HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert_eq!(kept("GET /not-yet-whole", 0), "GET **************");
        assert_eq!(kept("GET /long", 2), "T *****");
    }

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
            assert_eq!(kept.framing, b"******\r\nContent-Length: 2\r\n\r\n");
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
        let mut held = Held::new(header, b"body", Place::InOrder, 2);
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
