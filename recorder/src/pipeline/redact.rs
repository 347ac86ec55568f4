//! Decides which payload bytes may reach the disk, with state per socket and direction.
//!
//! In: the calls of one socket in order of emission, with the bytes the kernel programs took. Out: the
//! bytes to keep. By default these are the heads and the framing of HTTP/1 messages, with `*` for each byte of their
//! secrets; what stands between kept bytes is `*`, too, and what follows the last byte of a head or of framing is cut
//! off. So who reads what was kept finds the same messages: their secrets are blank, but they are there. Of a long head
//! of which not all may be stored, the rest is blank but for what framing needs.
//!
//! Which way requests go is presumed from who connected, and decided by the first message head that is beyond doubt: some
//! let the accepting side ask.

use retrospan_formats::event::{Kind, flags, role};
use retrospan_formats::http1::{
    Call, Direction, FamiliarLines, Framing, Part, What, begins_head, surely_begins_head,
};

use crate::options::Payload;

/// What stands for a byte that must not be kept.
const BLANK: u8 = b'*';

/// The data of one call.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Send or receive.
    pub kind: Kind,
    /// [`role`] of the socket.
    pub role: u8,
    /// Bytes moved.
    pub done_bytes: u64,
    /// Sequence number of the first byte; `None` where it is not exact.
    pub tcp_seq: Option<u32>,
    /// Bits of [`flags`].
    pub flags: u32,
    /// First bytes of the data.
    pub head: &'a [u8],
    /// How many of them may be stored; of the others, only what framing needs.
    pub stored: usize,
    /// Last bytes of the data, beyond `head`.
    pub tail: &'a [u8],
    /// When the call was entered and when it returned, boot time ns.
    pub times_ns: [i64; 2],
    /// The socket existed before the recording: requests may wait already.
    pub discovered: bool,
}

/// Scratch space, reused from call to call.
#[derive(Debug, Default)]
pub struct Redactor {
    parts: Vec<Part>,
    /// Header lines of requests and responses, by [`Stream::place`].
    familiar: Vec<[FamiliarLines; 2]>,
    /// The place of the next stream.
    next_place: usize,
}

/// Streams whose header lines are remembered, more or less: of more streams some share a place. Bounds the memory.
const PLACES: usize = 256;

/// What is known of the data of one socket so far.
#[derive(Debug, Default)]
pub struct Stream {
    framing: Framing,
    /// The kind of call that moves requests.
    requests: Option<Kind>,
    /// A message head has told so.
    decided: bool,
    /// Data was read.
    begun: bool,
    sent: Position,
    received: Position,
    /// Where in [`Redactor::familiar`] its header lines are.
    place: Option<usize>,
}

/// Where one direction stands.
#[derive(Debug, Default)]
struct Position {
    /// Sequence number of the next byte, once one was exact.
    next: Option<u32>,
}

/// How a call follows those before it.
enum Follows {
    /// After that many bytes that nobody saw.
    After(u64),
    /// It repeats or fills in what was passed over.
    Behind,
}

impl Position {
    fn follow(&self, tcp_seq: Option<u32>) -> Follows {
        let (Some(next), Some(seq)) = (self.next, tcp_seq) else { return Follows::After(0) };
        let ahead = seq.wrapping_sub(next);
        if ahead < 1 << 31 { Follows::After(u64::from(ahead)) } else { Follows::Behind }
    }

    fn advance(&mut self, tcp_seq: Option<u32>, length: u64) {
        self.next = tcp_seq.or(self.next).map(|seq| seq.wrapping_add(length as u32));
    }
}

impl Stream {
    /// The kind of call that moves requests, as far as that is known now.
    fn requests(&mut self, data: &Data<'_>) -> Option<Kind> {
        if !std::mem::replace(&mut self.begun, true) && data.discovered {
            self.framing = Framing::starting_at(0, 0);
        }
        if self.decided {
            return self.requests;
        }
        let presumed = match data.role {
            role::CLIENT => Some(Kind::Send),
            role::SERVER => Some(Kind::Receive),
            _ => requesting_kind(data.kind, data.head, begins_message),
        };
        if data.tcp_seq.is_some()
            && let Some(told) = requesting_kind(data.kind, data.head, surely_begins_head)
        {
            if self.requests.is_some_and(|requests| requests != told) {
                // What was read as if the other side asked was no message.
                self.framing = Framing::starting_at(0, 0);
            }
            (self.requests, self.decided) = (Some(told), true);
        }
        if self.requests.is_none() {
            self.requests = presumed;
        }
        self.requests
    }
}

impl Redactor {
    /// Appends to `out` what may be kept of a call's data, and returns its flags. `in_order`: no later
    /// call of the socket was handled before.
    pub fn keep(
        &mut self,
        mode: Payload,
        stream: &mut Stream,
        data: &Data<'_>,
        in_order: bool,
        out: &mut Vec<u8>,
    ) -> u32 {
        match mode {
            Payload::Full => {
                let stored = data.head.len().min(data.stored);
                out.extend_from_slice(&data.head[..stored]);
                if in_order && data.done_bytes > 0 && self.classify(stream, data) && stored < data.head.len()
                {
                    let before = out.len() - stored;
                    let mut kept = Vec::new();
                    self.copy(data.head, 0, &mut kept);
                    out.extend_from_slice(kept.get(stored..).unwrap_or_default());
                    if out.len() - before < data.head.len() && !data.tail.is_empty() {
                        out.resize(before + data.head.len(), BLANK);
                    }
                }
                out.extend_from_slice(data.tail);
                data.flags
            }
            Payload::None => nothing(data),
            Payload::Heads if !in_order || data.done_bytes == 0 => nothing(data),
            Payload::Heads => {
                if self.classify(stream, data) {
                    self.copy_kept(data, out)
                } else {
                    nothing(data)
                }
            }
        }
    }

    /// Fills `parts` with those of the call; false where none of its bytes may be kept.
    fn classify(&mut self, stream: &mut Stream, data: &Data<'_>) -> bool {
        let requests = stream.requests(data);
        let position = if data.kind == Kind::Send { &mut stream.sent } else { &mut stream.received };
        let Some(requests) = requests else {
            position.advance(data.tcp_seq, data.done_bytes);
            return false;
        };
        let direction = if requests == data.kind { Direction::Requests } else { Direction::Responses };
        let gap = match position.follow(data.tcp_seq) {
            Follows::After(gap) => gap,
            Follows::Behind => return false,
        };
        self.parts.clear();
        if gap > 0 {
            stream.framing.gap(direction, gap, &mut self.parts);
            self.parts.clear();
        }
        // Bytes whose place is uncertain (calls of several threads at once) must not be read as if they
        // stood here: only their number counts.
        let exact = data.tcp_seq.is_some();
        let (head, tail) = if exact { (data.head, data.tail) } else { (&[][..], &[][..]) };
        let place = *stream.place.get_or_insert_with(|| {
            self.next_place += 1;
            self.next_place % PLACES
        });
        if place >= self.familiar.len() {
            self.familiar.resize_with(place + 1, Default::default);
        }
        let familiar = &mut self.familiar[place][direction as usize];
        let call = Call {
            length: data.done_bytes,
            head,
            tail,
            sent: data.kind == Kind::Send,
            times_ns: data.times_ns,
        };
        stream.framing.call_sparing(familiar, direction, call, data.stored, &mut self.parts);
        stream.decided |= self.parts.iter().any(|part| part.what == What::Begin);
        position.advance(data.tcp_seq, data.done_bytes);
        exact
    }

    fn copy_kept(&self, data: &Data<'_>, out: &mut Vec<u8>) -> u32 {
        let before = out.len();
        let tail_start = data.done_bytes.saturating_sub(data.tail.len() as u64);
        let mut blanked = self.copy(data.head, 0, out).blanked;
        let tail_begin = out.len();
        let tail = self.copy(data.tail, tail_start, out);
        if tail.kept {
            // Its place is told by its length.
            blanked |= tail.blanked || out.len() < tail_begin + data.tail.len();
            out.resize(tail_begin + data.tail.len(), BLANK);
        }
        let mut bits = data.flags & !(flags::PAYLOAD_TAIL | flags::PAYLOAD_CUT | flags::REDACTED);
        if tail.kept {
            bits |= flags::PAYLOAD_TAIL;
        }
        if blanked {
            bits |= flags::REDACTED;
        }
        if ((out.len() - before) as u64) < data.done_bytes {
            bits |= flags::PAYLOAD_CUT;
        }
        bits
    }

    /// Appends `bytes`, which begin at `at` in the call, up to the last of a head or of framing, blanking those that may
    /// not be kept.
    fn copy(&self, bytes: &[u8], at: u64, out: &mut Vec<u8>) -> Copied {
        if bytes.is_empty() {
            return Copied { kept: false, blanked: false };
        }
        let before = out.len();
        let mut blanked = false;
        let with_bytes = self.parts.iter().find(|part| part.length > 0);
        let call_start = with_bytes.map_or(0, |part| part.offset);
        for part in self.parts.iter().filter(|p| p.length > 0 && has_place(&p.what)) {
            let place =
                |offset: u64| (offset - call_start).saturating_sub(at).min(bytes.len() as u64) as usize;
            let run = place(part.offset)..place(part.offset + part.length);
            if run.is_empty() {
                continue;
            }
            if out.len() < before + run.start {
                blanked = true;
                out.resize(before + run.start, BLANK);
            }
            if part.what == What::Secret {
                blanked = true;
                out.resize(before + run.end, BLANK);
            } else {
                out.extend_from_slice(&bytes[run]);
            }
        }
        Copied { kept: out.len() > before, blanked }
    }
}

/// What [`Redactor::copy`] did.
struct Copied {
    /// Some bytes were kept, or left blanks.
    kept: bool,
    /// Some were blanked.
    blanked: bool,
}

/// The flags of a call of which no byte is kept.
fn nothing(data: &Data<'_>) -> u32 {
    let cut = if data.done_bytes > 0 { flags::PAYLOAD_CUT } else { 0 };
    (data.flags & !(flags::PAYLOAD_TAIL | flags::REDACTED)) | cut
}

/// Whether the bytes show where in a message they stand, so that they are kept or leave blanks.
fn has_place(what: &What) -> bool {
    matches!(what, What::Head | What::Secret | What::Framing)
}

/// Which kind of call moves requests, told by data that begin a message.
fn requesting_kind(kind: Kind, head: &[u8], begins: fn(Direction, &[u8]) -> bool) -> Option<Kind> {
    let other = if kind == Kind::Send { Kind::Receive } else { Kind::Send };
    if begins(Direction::Requests, head) {
        Some(kind)
    } else if begins(Direction::Responses, head) {
        Some(other)
    } else {
        None
    }
}

/// A few bytes that merely could begin a message are not enough to decide by.
fn begins_message(direction: Direction, head: &[u8]) -> bool {
    let decides = match direction {
        Direction::Requests => head.contains(&b' '),
        Direction::Responses => head.len() >= b"HTTP/1.".len(),
    };
    decides && begins_head(direction, head)
}

#[cfg(test)]
mod tests;
