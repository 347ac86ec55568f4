//! What happened on one connection in, rows of `events` out, redacted.
//!
//! A message head that goes on in the next packet waits for it, so that redaction sees the whole of it: what a packet's end cuts
//! would be blank. So does what tells too little of its protocol. What is kept is then cut at the same places, for redaction moves nothing.

mod heads;
mod held;

use std::collections::VecDeque;

use retrospan_formats::event::{Kind, flags, role};
use retrospan_formats::marks;
use retrospan_protocols::redact::{Data, Payload, Redactor, Stream};

use crate::import::events::{Row, Rows};
use crate::import::feed::held::{Held, Packet};
use crate::import::stamp::Stamp;
use crate::import::tcp::connection::{End, Happening};
use crate::import::tcp::stream::Piece;

/// A head waits so long for its end, ns.
pub const WAIT_NS: i64 = 1_000_000_000;
/// Bytes of a head that wait.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// Packets of a head that wait: more would be no sender's way to send one.
const MAX_WAITING_PIECES: usize = 256;

/// The rows of one socket in the making.
#[derive(Debug)]
pub struct Feed {
    socket_id: i64,
    role: u8,
    discovered: bool,
    stream: Stream,
    /// In order: the first one begins a head that is not whole.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    held: Held,
}

#[derive(Debug)]
struct Waiting {
    end: End,
    first_ns: i64,
    stamp: Stamp,
    seq: u32,
    known: Vec<u8>,
    length: usize,
}

/// What all feeds share.
pub struct Shared<'a> {
    /// How much of the data is kept.
    pub payload: Payload,
    /// Decides which.
    pub redactor: &'a mut Redactor,
    /// Where rows go.
    pub rows: &'a mut Rows,
}

impl Feed {
    /// Of a socket.
    pub fn new(socket_id: i64, role: u8, discovered: bool) -> Feed {
        let (stream, waiting) = (Stream::default(), VecDeque::new());
        let held = Held::new(socket_id);
        Feed { socket_id, role, discovered, stream, waiting, waiting_bytes: 0, held }
    }

    /// Something waits for the rest of its head.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.held.any()
    }

    /// Takes in what happened.
    pub fn take(&mut self, stamp: Stamp, what: Happening<'_>, shared: &mut Shared<'_>) {
        let row = Row { stamp, socket_id: self.socket_id, ..Row::default() };
        match what {
            Happening::Data(end, piece) => self.data(end, &piece, shared),
            Happening::State(change) => {
                shared.rows.push(Row { kind: Kind::State, state: Some(change), ..row });
            }
            Happening::Connected(since_ns) => {
                let duration_ns = stamp.ns.saturating_sub(since_ns).max(0);
                shared.rows.push(Row { kind: Kind::Connect, duration_ns, flags: flags::NO_SEQ, ..row });
            }
            Happening::HalfClosed => {
                let flags = flags::SHUT_WRITE | flags::NO_SEQ;
                shared.rows.push(Row { kind: Kind::Shutdown, flags, ..row });
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ns: i64, shared: &mut Shared<'_>) {
        let is_late = |first: &Waiting| now_ns >= first.stamp.ns.saturating_add(WAIT_NS);
        while self.waiting.front().is_some_and(is_late) {
            self.release(shared);
            self.settle(shared);
        }
        self.held.tick(now_ns, shared.rows);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, shared: &mut Shared<'_>) {
        while !self.waiting.is_empty() {
            self.release(shared);
        }
        self.held.finish(shared.rows);
    }

    fn data(&mut self, end: End, piece: &Piece<'_>, shared: &mut Shared<'_>) {
        if self.waiting.is_empty() && !self.must_wait(piece.data.known, piece.data.length, shared.payload) {
            let part = Packet {
                first_ns: piece.first_ns,
                stamp: piece.stamp,
                seq: piece.seq,
                known: piece.data.known.len(),
                length: piece.data.length,
                marks: 0,
            };
            return self.redact(end, piece.data.known, &mut [part], shared);
        }
        self.waiting_bytes += piece.data.known.len();
        self.waiting.push_back(Waiting {
            end,
            first_ns: piece.first_ns,
            stamp: piece.stamp,
            seq: piece.seq,
            known: piece.data.known.to_vec(),
            length: piece.data.length,
        });
        self.tick(piece.stamp.ns, shared);
        self.settle(shared);
    }

    /// What begins a head and does not end it waits, where there is anything to redact; and what tells too little of its protocol,
    /// as long as the other end has said nothing.
    fn must_wait(&self, known: &[u8], length: usize, payload: Payload) -> bool {
        let answered =
            self.waiting.front().is_some_and(|first| self.waiting.iter().any(|other| other.end != first.end));
        let tells_little = || !answered && self.stream.wants_more(known, self.discovered);
        payload == Payload::Heads && known.len() == length && (heads::is_open(known) || tells_little())
    }

    /// Lets go what need not wait any more.
    fn settle(&mut self, shared: &mut Shared<'_>) {
        while let Some(first) = self.waiting.front() {
            let same = self.run();
            let joined: Vec<u8> = same.iter().flat_map(|&at| &self.waiting[at].known).copied().collect();
            let length = same.iter().map(|&at| self.waiting[at].length).sum();
            let is_followed = self.waiting.iter().filter(|other| other.end == first.end).count() > same.len();
            let too_much = self.waiting_bytes > MAX_WAITING_BYTES || self.waiting.len() > MAX_WAITING_PIECES;
            if !too_much && !is_followed && self.must_wait(&joined, length, shared.payload) {
                return;
            }
            self.release(shared);
        }
    }

    /// Places of the first piece and of those that continue it: of the same end, without a hole, and all but the last one whole.
    fn run(&self) -> Vec<usize> {
        let mut run: Vec<usize> = Vec::new();
        for (at, piece) in self.waiting.iter().enumerate() {
            let Some(last) = run.last().map(|&last| &self.waiting[last]) else {
                run.push(at);
                continue;
            };
            if piece.end != last.end {
                continue;
            }
            let follows = last.seq.wrapping_add(last.length as u32) == piece.seq;
            if !follows || last.known.len() < last.length {
                break;
            }
            run.push(at);
        }
        run
    }

    /// Redacts the first piece with those that continue it.
    fn release(&mut self, shared: &mut Shared<'_>) {
        let run = self.run();
        let Some(end) = self.waiting.front().map(|first| first.end) else { return };
        let (mut joined, mut parts) = (Vec::new(), Vec::new());
        for (removed, at) in run.into_iter().enumerate() {
            let Some(piece) = self.waiting.remove(at - removed) else { continue };
            self.waiting_bytes -= piece.known.len();
            joined.extend_from_slice(&piece.known);
            let Waiting { first_ns, stamp, seq, length, .. } = piece;
            parts.push(Packet { first_ns, stamp, seq, length, known: piece.known.len(), marks: 0 });
        }
        self.redact(end, &joined, &mut parts, shared);
    }

    /// Redacts data as if one call had moved it; makes a row of each packet's part.
    fn redact(&mut self, end: End, bytes: &[u8], parts: &mut [Packet], shared: &mut Shared<'_>) {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let kind = if end == End::Client { Kind::Send } else { Kind::Receive };
        let length = parts.iter().map(|part| part.length).sum::<usize>();
        let data = Data {
            kind,
            role: self.role,
            sent: end == End::Client,
            shared: false,
            done_bytes: length as u64,
            tcp_seq: Some(first.seq),
            flags: 0,
            head: bytes,
            stored: bytes.len(),
            tail: &[],
            times_ns: [first.first_ns, last.stamp.ns],
            discovered: self.discovered,
            ports: [0, 0],
        };
        let mut kept = Vec::with_capacity(bytes.len());
        let bits = shared.redactor.keep(shared.payload, &mut self.stream, &data, true, &mut kept);
        parts.iter_mut().for_each(|part| part.marks = bits & marks::READ);
        parts[0].marks = bits & marks::MARKS;
        // Nothing else is told of what is kept whole, or not at all.
        let told = match shared.payload {
            Payload::Heads => shared.redactor.parts(),
            Payload::Full | Payload::None => &[],
        };
        self.held.take(end, told, bytes, &kept, parts, shared.rows);
    }
}

/// Which end a socket whose connection's begin was seen is.
pub const fn role_of(known: bool) -> u8 {
    if known { role::CLIENT } else { role::UNKNOWN }
}
