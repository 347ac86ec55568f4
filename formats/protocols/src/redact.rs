//! Decides which payload bytes may reach the disk, with state per socket and direction.
//!
//! In: the calls of one socket in order of emission, with the bytes the kernel programs took. Out: the
//! bytes to keep. By default these are the heads and the framing of messages of the protocols that are read, with `*` for
//! each byte of their secrets ([`crate::blank`]). Of a long head of which not all may be stored, the rest is
//! blank but for what framing needs.
//!
//! Which way requests go is presumed from who connected, and decided, as the protocol is, by the first message head that is
//! beyond doubt: some let the accepting side ask.
//!
//! Of values that are blanked, a keyed hash may be told ([`Hashes`]).
//!
//! Where both ends of a connection are recorded their calls share one stream, and each byte is read once: when the first
//! of the two moves it. What the other one keeps is a flag that says so.

mod datagrams;
mod hashes;
mod names;
mod ruled;
pub mod rules;
mod scrub;
mod shapes;

use crate::blank::{self, BLANK};
use crate::detect::{self, Told};
use crate::{Call, Direction, Framing, Memory, Part, Protocol, What, tunnel};
use retrospan_formats::event::{Kind, flags, role};

pub use datagrams::Datagrams;
pub use hashes::Hashes;
use ruled::Scrubbed;
pub use rules::Rules;

/// How much of the data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Message heads of protocols that are parsed, with their secrets blanked.
    Heads,
    /// Everything up to the snap length, as it is.
    Full,
    /// Nothing: lengths and times only.
    None,
}

impl Payload {
    /// The word on the command line and in the manifest.
    pub const fn name(self) -> &'static str {
        match self {
            Payload::Heads => "heads",
            Payload::Full => "full",
            Payload::None => "none",
        }
    }
}

/// The data of one call.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Send or receive, as the end sees it whose stream this is: where the other end called, the opposite.
    pub kind: Kind,
    /// [`role`] of that end.
    pub role: u8,
    /// The call sent the bytes.
    pub sent: bool,
    /// The other end's calls come too.
    pub shared: bool,
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
    /// The connection's ports.
    pub ports: [u16; 2],
}

/// Scratch space, reused from call to call.
#[derive(Debug, Default)]
pub struct Redactor {
    parts: Vec<Part>,
    /// What was told of the data that was read last ([`detect::marks`]).
    marks: u32,
    /// Of the secrets of requests, where they are wanted.
    hashes: Option<Hashes>,
    /// What the user wants kept or blanked beside the default.
    rules: Rules,
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
    /// What the data that is being read tells of its protocol, and whether it begins a message beyond doubt.
    told: Option<(Told, bool)>,
    /// Data was read.
    begun: bool,
    sent: Position,
    received: Position,
    /// Where in [`Redactor::memory`] something is remembered of it.
    place: Option<usize>,
    /// Where everything is kept: what the bytes of each direction, as each end moves them, are in the middle of.
    scrubbed: [Scrubbed; 4],
}

/// Where one direction stands.
#[derive(Debug, Default)]
struct Position {
    /// Sequence number of the next byte, once one was exact.
    next: Option<u32>,
    /// All bytes from this sequence number up to `next` were read.
    whole_from: u32,
    /// An end has moved bytes beyond a gap that the other one may fill: which, and in how many calls.
    beyond_gap: Option<(End, u8)>,
    /// An end has moved bytes up to this sequence number of which it knows none; the other one may.
    unread: Option<(End, u32)>,
}

/// One of a connection's ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The one whose stream it is.
    Own,
    Other,
}

/// So many calls beyond a gap are passed over for the other end's.
const PATIENCE_CALLS: u8 = 2;
/// What so many bytes do not tell of their protocol, more of them would not.
const ENOUGH_BYTES: usize = 256;
/// No socket buffer holds more.
const MAX_REMEMBERED_BYTES: u32 = 1 << 30;

/// How a call follows those before it.
enum Follows {
    /// After that many bytes that nobody saw.
    After(u64),
    /// So many of its first bytes were read already, and there was no gap before them.
    Within(u64),
    /// It repeats or fills in what was passed over.
    Behind,
}

impl Position {
    fn follow(&self, tcp_seq: Option<u32>) -> Follows {
        let (Some(next), Some(seq)) = (self.next, tcp_seq) else { return Follows::After(0) };
        let ahead = seq.wrapping_sub(next);
        if ahead < 1 << 31 {
            Follows::After(u64::from(ahead))
        } else if seq.wrapping_sub(self.whole_from) < 1 << 31 {
            Follows::Within(u64::from(ahead.wrapping_neg()))
        } else {
            Follows::Behind
        }
    }

    /// Whether a call beyond a gap is passed over: threads of one end may be reported in the wrong order, and what the ring of
    /// one end has lost the other one has.
    fn waits(&mut self, end: End) -> bool {
        let calls = match self.beyond_gap {
            None => 0,
            Some((by, calls)) if by == end => calls,
            Some(_) => PATIENCE_CALLS,
        };
        self.beyond_gap = Some((end, calls + 1));
        calls < PATIENCE_CALLS
    }

    /// The last bytes of a call that begins before what was read without a gap were read.
    fn is_partly_read(&self, data: &Data<'_>) -> bool {
        let end = data.tcp_seq.map(|seq| seq.wrapping_add(data.done_bytes as u32));
        end.is_some_and(|end| end.wrapping_sub(self.whole_from).cast_signed() > 0)
    }

    /// Whether a call of which no byte is known is left to the other end, whose call may be of the same bytes.
    fn leaves(&mut self, end: End, tcp_seq: u32, length: u64) -> bool {
        if self.unread.is_some_and(|(by, _)| by != end) {
            return false;
        }
        let from = self.next.unwrap_or(tcp_seq);
        let to = tcp_seq.wrapping_add(length as u32);
        let leaves = to.wrapping_sub(from) < MAX_REMEMBERED_BYTES;
        self.unread = leaves.then_some((end, to));
        leaves
    }

    fn advance(&mut self, tcp_seq: Option<u32>, length: u64) {
        self.beyond_gap = None;
        let gap = tcp_seq.is_some() && self.next != tcp_seq;
        self.next = tcp_seq.or(self.next).map(|seq| seq.wrapping_add(length as u32));
        let next = self.next.unwrap_or_default();
        self.unread = self.unread.filter(|(_, to)| to.wrapping_sub(next).cast_signed() > 0);
        if tcp_seq.is_none() {
            self.whole_from = next;
        } else if gap {
            self.whole_from = next.wrapping_sub(length as u32);
        } else if next.wrapping_sub(self.whole_from) > MAX_REMEMBERED_BYTES {
            self.whole_from = next.wrapping_sub(MAX_REMEMBERED_BYTES);
        }
    }
}

/// What is known of a call's bytes.
enum Reading {
    /// They may be anything.
    Unknown,
    /// They were read when the other end moved them.
    Before,
    /// So were that many of the first of them; the parts say what the others are.
    From(u64),
}

impl Stream {
    fn position(&mut self, kind: Kind) -> &mut Position {
        if kind == Kind::Send { &mut self.sent } else { &mut self.received }
    }

    /// Whether what is spoken is not known, and this data alone does not tell: it may, together with what follows it.
    pub fn wants_more(&self, head: &[u8], discovered: bool) -> bool {
        let tells = || detect::surely(head, !self.begun && !discovered).is_some();
        !self.decided && head.len() < ENOUGH_BYTES && !tells()
    }

    /// The kind of call that moves requests, as far as that is known now.
    fn requests(&mut self, data: &Data<'_>) -> Option<Kind> {
        self.told = None;
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
                self.framed = Some((told.protocol, tunnel::framing(told.protocol, Some([0, 0]))));
            }
            (self.requests, self.decided) = (Some(requests), true);
            self.told = Some((told, true));
        } else if self.requests.is_none() && (fresh || by_role.is_none()) {
            let direction = by_role.map(|requests| direction(requests, data.kind));
            let perhaps = detect::perhaps(data.head, fresh, direction);
            self.requests = by_role.or(perhaps.map(|told| requesting_kind(data.kind, &told)));
            if self.framed.is_none() {
                self.told = perhaps.filter(|_| self.requests.is_some()).map(|told| (told, false));
            }
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
        self.framed = Some((protocol, tunnel::framing(protocol, data.discovered.then_some([0, 0]))));
    }
}

impl Redactor {
    /// Tells hashes of the secrets of requests, too.
    pub fn with_hashes(hashes: Hashes) -> Redactor {
        Redactor { hashes: Some(hashes), ..Redactor::default() }
    }

    /// Keeps and blanks what these rules say, too.
    pub fn follow(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Those of the secrets in what [`Redactor::keep`] kept last.
    pub fn hashes(&self) -> &[u8] {
        self.hashes.as_ref().map_or(&[], Hashes::column)
    }

    /// The parts of what [`Redactor::keep`] read last.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

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
        if let Some(hashes) = &mut self.hashes {
            hashes.begin();
        }
        self.marks = 0;
        match mode {
            Payload::Full => {
                let stored = data.head.len().min(data.stored);
                let begin = out.len();
                out.extend_from_slice(&data.head[..stored]);
                let mut scrubbed = stream.scrubbed(data, 0);
                let goes_on = data.done_bytes > stored as u64;
                let rules = self.rules.of(data.ports);
                let mut blanked = scrub::scrub(&mut out[begin..], &mut scrubbed.open, goes_on, rules);
                if in_order
                    && data.done_bytes > 0
                    && matches!(self.read(stream, data), Reading::From(0))
                    && stored < data.head.len()
                {
                    let before = out.len() - stored;
                    let mut kept = Vec::new();
                    blank::copy(&self.parts, data.head, 0, &mut kept);
                    out.extend_from_slice(kept.get(stored..).unwrap_or_default());
                    if out.len() - before < data.head.len() && !data.tail.is_empty() {
                        out.resize(before + data.head.len(), BLANK);
                    }
                }
                let begin = out.len();
                out.extend_from_slice(data.tail);
                if !data.tail.is_empty() {
                    let rules = self.rules.of(data.ports);
                    blanked |= scrub::scrub(&mut out[begin..], &mut scrubbed.open, false, rules);
                }
                stream.scrubbed[Stream::scrubbed_place(data)] = scrubbed;
                data.flags | self.marks | if blanked { flags::REDACTED } else { 0 }
            }
            Payload::None => nothing(data),
            Payload::Heads if !in_order || data.done_bytes == 0 => nothing(data),
            Payload::Heads => match self.read(stream, data) {
                Reading::Unknown => nothing(data),
                Reading::Before => nothing(data) | flags::PAYLOAD_AT_PEER,
                Reading::From(known) => {
                    let begin = out.len();
                    let mut bits = self.copy_kept(data, known, out) | self.marks;
                    if known > 0 {
                        bits |= flags::PAYLOAD_AT_PEER;
                    }
                    if !self.rules.is_empty() {
                        bits |= self.follow_rules(stream, data, known, &mut out[begin..]);
                    }
                    bits
                }
            },
        }
    }

    /// Reads a call's bytes, those that were not read before; fills `parts` with theirs.
    fn read(&mut self, stream: &mut Stream, data: &Data<'_>) -> Reading {
        if !data.shared {
            return self.read_rest(stream, data, 0);
        }
        let end = if data.sent == (data.kind == Kind::Send) { End::Own } else { End::Other };
        let position = stream.position(data.kind);
        let (mut known, mut unread) = (0, 0);
        match position.follow(data.tcp_seq) {
            Follows::Within(all) if all >= data.done_bytes => return Reading::Before,
            Follows::Within(some) => known = some,
            Follows::After(gap @ 1..) if position.unread.map(|(_, to)| to) == data.tcp_seq => unread = gap,
            Follows::After(1..) if position.waits(end) => return Reading::Unknown,
            Follows::After(_) => {}
            Follows::Behind if position.is_partly_read(data) => return Reading::Before,
            Follows::Behind => return Reading::Unknown,
        }
        let rest = data.beyond(known);
        let Some(tcp_seq) = rest.tcp_seq else { return Reading::Unknown };
        if rest.head.is_empty() && rest.tail.is_empty() && position.leaves(end, tcp_seq, rest.done_bytes) {
            return if known > 0 { Reading::Before } else { Reading::Unknown };
        }
        if unread > 0 {
            self.read_rest(stream, &data.before(unread), 0);
        }
        self.read_rest(stream, &rest, known)
    }

    /// `data`: what follows the first `known` bytes of a call.
    fn read_rest(&mut self, stream: &mut Stream, data: &Data<'_>, known: u64) -> Reading {
        let requests = stream.requests(data);
        self.marks = detect::marks(None, false);
        let position = if data.kind == Kind::Send { &mut stream.sent } else { &mut stream.received };
        let (Some(requests), Some((protocol, framing))) = (requests, &mut stream.framed) else {
            position.advance(data.tcp_seq, data.done_bytes);
            return Reading::Unknown;
        };
        let direction = direction(requests, data.kind);
        let gap = match position.follow(data.tcp_seq) {
            Follows::After(gap) => gap,
            Follows::Within(_) | Follows::Behind => return Reading::Unknown,
        };
        let told = stream.told;
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
            begins: exact && told.is_some_and(|(_, surely)| surely),
            sent: data.sent,
            times_ns: data.times_ns,
        };
        framing.call(direction, call, memory, &mut self.parts);
        if let (Some(hashes), Direction::Requests) = (&mut self.hashes, direction) {
            hashes.tell(*protocol, &self.parts, head, data.stored, known);
        }
        let begin = self.parts.first().map(|part| part.offset);
        let found = |part: &Part| part.what == What::Found && Some(part.offset) == begin;
        let begins = call.begins || self.parts.iter().any(found);
        self.marks = if exact { detect::marks(told.map(|(told, _)| told).as_ref(), begins) } else { 0 };
        stream.decided |= self.parts.iter().any(|part| part.what == What::Begin);
        position.advance(data.tcp_seq, data.done_bytes);
        if exact { Reading::From(known) } else { Reading::Unknown }
    }

    /// `known`: how many of the first bytes were read before; they leave blanks, where others follow.
    fn copy_kept(&self, data: &Data<'_>, known: u64, out: &mut Vec<u8>) -> u32 {
        let before = out.len();
        let rest = data.beyond(known);
        out.resize(before + data.head.len() - rest.head.len(), BLANK);
        let kept = blank::copy(&self.parts, rest.head, 0, out);
        if !kept.any {
            out.truncate(before);
        }
        let mut blanked = kept.blanked;
        let tail_begin = out.len();
        let tail_start = rest.done_bytes.saturating_sub(rest.tail.len() as u64);
        let tail = blank::copy(&self.parts, rest.tail, tail_start, out);
        if tail.any {
            // Its place is told by its length.
            blanked |= tail.blanked || out.len() < tail_begin + rest.tail.len();
            out.resize(tail_begin + rest.tail.len(), BLANK);
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

impl<'a> Data<'a> {
    /// The same, as the other end sees it.
    pub fn mirrored(self) -> Data<'a> {
        let kind = if self.kind == Kind::Send { Kind::Receive } else { Kind::Send };
        let role = match self.role {
            role::CLIENT => role::SERVER,
            role::SERVER => role::CLIENT,
            other => other,
        };
        Data { kind, role, ..self }
    }

    /// Bytes before it of which nothing is known.
    fn before(&self, bytes: u64) -> Data<'a> {
        let tcp_seq = self.tcp_seq.map(|seq| seq.wrapping_sub(bytes as u32));
        Data { done_bytes: bytes, tcp_seq, head: &[], tail: &[], ..*self }
    }

    /// What follows the first bytes of it.
    fn beyond(&self, bytes: u64) -> Data<'a> {
        let within = self.head.len().min(bytes as usize);
        let left = self.done_bytes.saturating_sub(bytes);
        Data {
            done_bytes: left,
            tcp_seq: self.tcp_seq.map(|seq| seq.wrapping_add(bytes as u32)),
            head: &self.head[within..],
            stored: self.stored.saturating_sub(within),
            tail: if left < self.tail.len() as u64 { &[] } else { self.tail },
            ..*self
        }
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
