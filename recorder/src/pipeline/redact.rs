//! Decides which payload bytes may reach the disk, with state per socket and direction.
//!
//! In: the calls of one socket in order of emission, with the bytes the kernel programs took. Out: the
//! bytes to keep. By default these are the heads and the framing of messages of the protocols that are read, with `*` for
//! each byte of their secrets ([`retrospan_protocols::blank`]). Of a long head of which not all may be stored, the rest is
//! blank but for what framing needs.
//!
//! Which way requests go is presumed from who connected, and decided, as the protocol is, by the first message head that is
//! beyond doubt: some let the accepting side ask.

use retrospan_formats::event::{Kind, flags, role};
use retrospan_protocols::blank::{self, BLANK};
use retrospan_protocols::detect::{self, Told};
use retrospan_protocols::{Call, Direction, Framing, Memory, Part, Protocol, What};

use crate::options::Payload;

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
    /// What was read of requests and responses before, by [`Stream::place`].
    memory: Vec<[Memory; 2]>,
    /// The place of the next stream.
    next_place: usize,
}

/// Streams of which something is remembered, more or less: of more streams some share a place. Bounds the memory.
const PLACES: usize = 256;

/// What is known of the data of one socket so far.
#[derive(Debug, Default)]
pub struct Stream {
    /// Its protocol, as far as that is known, with its framing.
    framed: Option<(&'static dyn Protocol, Box<dyn Framing>)>,
    /// The kind of call that moves requests.
    requests: Option<Kind>,
    /// A message head has told so.
    decided: bool,
    /// Data was read.
    begun: bool,
    sent: Position,
    received: Position,
    /// Where in [`Redactor::memory`] something is remembered of it.
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
        if self.decided {
            return self.requests;
        }
        let fresh = !std::mem::replace(&mut self.begun, true) && !data.discovered;
        let by_role = match data.role {
            role::CLIENT => Some(Kind::Send),
            role::SERVER => Some(Kind::Receive),
            _ => None,
        };
        let told = detect::surely(data.head, fresh).filter(|_| data.tcp_seq.is_some());
        if let Some(told) = told {
            let requests = requesting_kind(data.kind, &told);
            if self.requests.is_some_and(|before| before != requests)
                || self.framed.as_ref().is_some_and(|(protocol, _)| *protocol != told.protocol)
            {
                // What was read as if the other side asked, or asked otherwise, was no message.
                self.framed = Some((told.protocol, told.protocol.framing(Some([0, 0]))));
            }
            (self.requests, self.decided) = (Some(requests), true);
        } else if self.requests.is_none() && (fresh || by_role.is_none()) {
            let direction = by_role.map(|requests| direction(requests, data.kind));
            let perhaps = detect::perhaps(data.head, fresh, direction);
            self.requests = by_role.or(perhaps.map(|told| requesting_kind(data.kind, &told)));
            self.begin(perhaps, data);
            return self.requests;
        } else if self.requests.is_none() {
            self.requests = by_role;
        }
        self.begin(told, data);
        self.requests
    }

    /// Begins framing, unless it has begun.
    fn begin(&mut self, told: Option<Told>, data: &Data<'_>) {
        if self.requests.is_none() || self.framed.is_some() {
            return;
        }
        let protocol = told.map_or_else(detect::presumed, |told| told.protocol);
        self.framed = Some((protocol, protocol.framing(data.discovered.then_some([0, 0]))));
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
                    blank::copy(&self.parts, data.head, 0, &mut kept);
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
        let (Some(requests), Some((_, framing))) = (requests, &mut stream.framed) else {
            position.advance(data.tcp_seq, data.done_bytes);
            return false;
        };
        let direction = direction(requests, data.kind);
        let gap = match position.follow(data.tcp_seq) {
            Follows::After(gap) => gap,
            Follows::Behind => return false,
        };
        self.parts.clear();
        if gap > 0 {
            framing.gap(direction, gap, &mut self.parts);
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
        if place >= self.memory.len() {
            self.memory.resize_with(place + 1, Default::default);
        }
        let memory = &mut self.memory[place][direction as usize];
        let call = Call {
            length: data.done_bytes,
            head,
            spare: head.len().saturating_sub(data.stored),
            tail,
            sent: data.kind == Kind::Send,
            times_ns: data.times_ns,
        };
        framing.call(direction, call, memory, &mut self.parts);
        stream.decided |= self.parts.iter().any(|part| part.what == What::Begin);
        position.advance(data.tcp_seq, data.done_bytes);
        exact
    }

    fn copy_kept(&self, data: &Data<'_>, out: &mut Vec<u8>) -> u32 {
        let before = out.len();
        let tail_start = data.done_bytes.saturating_sub(data.tail.len() as u64);
        let mut blanked = blank::copy(&self.parts, data.head, 0, out).blanked;
        let tail_begin = out.len();
        let tail = blank::copy(&self.parts, data.tail, tail_start, out);
        if tail.any {
            // Its place is told by its length.
            blanked |= tail.blanked || out.len() < tail_begin + data.tail.len();
            out.resize(tail_begin + data.tail.len(), BLANK);
        }
        let mut bits = data.flags & !(flags::PAYLOAD_TAIL | flags::PAYLOAD_CUT | flags::REDACTED);
        if tail.any {
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
}

/// The flags of a call of which no byte is kept.
fn nothing(data: &Data<'_>) -> u32 {
    let cut = if data.done_bytes > 0 { flags::PAYLOAD_CUT } else { 0 };
    (data.flags & !(flags::PAYLOAD_TAIL | flags::REDACTED)) | cut
}

/// What a call of this kind moves, where requests are moved by calls of that kind.
fn direction(requests: Kind, kind: Kind) -> Direction {
    if requests == kind { Direction::Requests } else { Direction::Responses }
}

/// Which kind of call moves requests, told by the data of a call of this kind.
fn requesting_kind(kind: Kind, told: &Told) -> Kind {
    match (told.direction, kind) {
        (Direction::Requests, kind) => kind,
        (Direction::Responses, Kind::Send) => Kind::Receive,
        (Direction::Responses, _) => Kind::Send,
    }
}

#[cfg(test)]
mod tests;
