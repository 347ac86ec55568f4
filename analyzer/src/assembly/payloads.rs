//! Events in, the same with all that is known of their bytes out.
//!
//! Of a connection both of whose ends were recorded, each byte is stored once (format version 2): with the call that moved
//! it first. A call of the other end that moved it later has a flag instead, and gets it back here. Where that call moved the
//! bytes of several, it comes out in as many pieces, as each of them may be known in part.

use std::collections::VecDeque;

use retrospan_formats::event::{Kind, flags};
use retrospan_formats::marks;
use retrospan_formats::tcp::state::CLOSE;

use crate::assembly::by_socket::BySocket;
use crate::assembly::connections::{SocketIndex, Sockets};
use crate::assembly::events::Event;

/// Bytes that one call moved and the other end's may have to move yet.
#[derive(Debug)]
struct Piece {
    /// Raw sequence number of the first.
    seq: u32,
    length: u64,
    /// The first of them that are known.
    head: Vec<u8>,
    /// The last of them that are known.
    tail: Vec<u8>,
    /// What redaction told of them: bits of [`marks::MARKS`].
    marks: u32,
}

/// What one end sent.
#[derive(Debug, Default)]
struct Stream {
    pieces: VecDeque<Piece>,
    /// Raw sequence number after the last byte that both ends moved.
    taken: Option<u32>,
}

/// What is known of local connections' bytes.
#[derive(Debug, Default)]
pub struct Payloads {
    /// By the sending socket.
    streams: BySocket<Stream>,
    /// Bytes in them.
    held_bytes: usize,
    /// Sockets that have closed, whose other end has not.
    closed: BySocket<()>,
    /// Connections of which something was not taken when both ends had closed, and until when it may be.
    ending: VecDeque<(i64, [SocketIndex; 2])>,
}

/// Calls that may be reported in another order than they moved their bytes.
const KEPT_PIECES: usize = 4;
/// But not so late. (Sequence numbers come again after 4 GiB.)
const KEPT_BYTES: u32 = 1 << 24;
/// Calls of one stream that wait for the other end: more than a socket's buffers hold.
const MAX_PIECES: usize = 4096;
/// Calls of the other end whose bytes one call moves; of more than that the rest is unknown.
const MAX_PARTS: usize = 256;
/// Of all streams together.
const MAX_HELD_BYTES: usize = 256 << 20;
/// An application may take what arrived after its socket has closed, ns.
const TAKEN_LATE_NS: i64 = 30_000_000_000;

impl Payloads {
    /// Hands out an event, in pieces where it has to be.
    ///
    /// # Errors
    ///
    /// That of `take`.
    pub fn complete<E>(
        &mut self,
        event: &Event<'_>,
        ends: Option<[SocketIndex; 2]>,
        mut take: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pass_time(event.boot_ns);
        let Some([own, peer]) = ends else { return take(event) };
        if event.state.is_some_and(|change| change.new == CLOSE) {
            self.closed(event.boot_ns, own, peer);
        }
        let sender = match event.kind {
            Kind::Send => own,
            Kind::Receive => peer,
            _ => return take(event),
        };
        let Some(seq) = event.tcp_seq.filter(|_| event.done_bytes > 0) else { return take(event) };
        if event.flags & flags::PAYLOAD_AT_PEER == 0 {
            if event.flags & flags::OFFSET_UNCERTAIN == 0 {
                self.hold(sender, Piece::of(seq, event));
            }
            return take(event);
        }
        let stream = self.streams.or_default(sender);
        let own = stream.each(seq, event, take)?;
        self.held_bytes -= stream.taken(seq.wrapping_add(event.done_bytes as u32));
        own.into_iter().for_each(|piece| self.hold(sender, piece));
        Ok(())
    }

    fn hold(&mut self, sender: SocketIndex, piece: Piece) {
        if piece.head.is_empty() && piece.tail.is_empty() && piece.marks & !marks::READ == 0 {
            return;
        }
        let bytes = piece.held_bytes();
        if self.held_bytes + bytes > MAX_HELD_BYTES {
            // Of sockets whose end was lost nobody takes anything any more; what others would take is unknown then.
            self.streams.clear();
            self.held_bytes = 0;
        }
        let stream = self.streams.or_default(sender);
        if stream.pieces.len() == MAX_PIECES {
            self.held_bytes -= stream.pieces.pop_front().map_or(0, |piece| piece.held_bytes());
        }
        self.held_bytes += bytes;
        stream.pieces.push_back(piece);
    }

    /// A socket has closed: what nobody takes any more is forgotten.
    fn closed(&mut self, now_ns: i64, own: SocketIndex, peer: SocketIndex) {
        if self.closed.remove(peer).is_none() {
            self.closed.insert(own, ());
            return;
        }
        let waits = |sender| self.streams.get(sender).is_some_and(Stream::waits);
        if waits(own) || waits(peer) {
            self.ending.push_back((now_ns.saturating_add(TAKEN_LATE_NS), [own, peer]));
        } else {
            self.forget([own, peer]);
        }
    }

    fn pass_time(&mut self, now_ns: i64) {
        while let Some(&(_, ends)) = self.ending.front().filter(|(due, _)| *due <= now_ns) {
            self.ending.pop_front();
            self.forget(ends);
        }
    }

    fn forget(&mut self, ends: [SocketIndex; 2]) {
        for stream in ends.into_iter().filter_map(|sender| self.streams.remove(sender)) {
            self.held_bytes -= stream.pieces.iter().map(Piece::held_bytes).sum::<usize>();
        }
    }
}

impl Stream {
    /// Hands out the bytes that begin at `seq`, as they were moved before. Returns those that this call moved first.
    fn each<E>(
        &self,
        seq: u32,
        event: &Event<'_>,
        mut take: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<Vec<Piece>, E> {
        let (mut at, mut parts, mut first_here) = (0, 0, Vec::new());
        while at < event.done_bytes {
            let (seq, left) = (seq.wrapping_add(at as u32), event.done_bytes - at);
            // The last ones first: sequence numbers come again.
            let found = self.pieces.iter().rev().find_map(|piece| Some((piece, piece.place(seq)?)));
            parts += 1;
            let length = match found {
                _ if parts > MAX_PARTS => left,
                Some((piece, from)) => left.min(piece.length - from),
                // Nothing was kept of them, or by this call.
                None => self.pieces.iter().filter_map(|piece| piece.after(seq)).fold(left, u64::min),
            };
            let own = event.piece(at, length);
            match found.filter(|_| parts <= MAX_PARTS) {
                Some((piece, from)) => take(&piece.part(from, &own))?,
                None => {
                    // They are those of the first bytes that nobody moved before.
                    let marks = if first_here.is_empty() { marks::MARKS } else { marks::READ };
                    let own = Event { flags: own.flags & (!marks::MARKS | marks), ..own };
                    first_here.push(Piece::of(seq, &own));
                    take(&own)?;
                }
            }
            at += length;
        }
        Ok(first_here)
    }

    /// Both ends have moved what is before `end`. Returns how many bytes are not held any more.
    fn taken(&mut self, end: u32) -> usize {
        let taken = self.taken.filter(|taken| taken.wrapping_sub(end) <= KEPT_BYTES).unwrap_or(end);
        self.taken = Some(taken);
        let mut freed = 0;
        while let Some(first) = self.pieces.front().filter(|first| first.ends_by(taken))
            && (self.pieces.len() > KEPT_PIECES || taken.wrapping_sub(first.seq) > KEPT_BYTES)
        {
            freed += first.held_bytes();
            self.pieces.pop_front();
        }
        freed
    }

    /// The other end has not moved all of it.
    fn waits(&self) -> bool {
        let by = |piece: &Piece| self.taken.is_some_and(|taken| piece.ends_by(taken));
        !self.pieces.iter().all(by)
    }
}

impl Piece {
    fn of(seq: u32, event: &Event<'_>) -> Piece {
        let (head, tail) = event.head_and_tail();
        let marks = event.flags & marks::MARKS;
        Piece { seq, length: event.done_bytes, head: head.to_vec(), tail: tail.to_vec(), marks }
    }

    fn held_bytes(&self) -> usize {
        size_of::<Piece>() + self.head.len() + self.tail.len()
    }

    fn ends_by(&self, seq: u32) -> bool {
        self.seq.wrapping_add(self.length as u32).wrapping_sub(seq) as i32 <= 0
    }

    /// Where in it the byte of that sequence number is.
    fn place(&self, seq: u32) -> Option<u64> {
        let from = u64::from(seq.wrapping_sub(self.seq));
        (from < self.length).then_some(from)
    }

    /// How far it begins after the byte of that sequence number.
    fn after(&self, seq: u32) -> Option<u64> {
        let distance = self.seq.wrapping_sub(seq) as i32;
        u64::try_from(distance).ok().filter(|&distance| distance > 0)
    }

    /// What is known of as many bytes as `call` moved, from that one on.
    fn part<'a>(&'a self, from: u64, call: &Event<'a>) -> Event<'a> {
        let end = from + call.done_bytes;
        let known = |at: u64| (at as usize).min(self.head.len());
        let head = &self.head[known(from)..known(end)];
        let room = (call.done_bytes - head.len() as u64).min(self.tail.len() as u64) as usize;
        let tail = if end == self.length { &self.tail[self.tail.len() - room..] } else { &[] };
        let marks = if from == 0 { self.marks } else { self.marks & marks::READ };
        Event { head, tail, flags: call.flags & !marks::MARKS | marks, ..*call }
    }
}

impl<'a> Event<'a> {
    /// `length` bytes of a call, from the one at `at` on.
    fn piece(&self, at: u64, length: u64) -> Event<'a> {
        let known = |at: u64| (at as usize).min(self.head.len());
        let is_last = at + length == self.done_bytes && self.tail.len() as u64 <= length;
        Event {
            done_bytes: length,
            tcp_seq: self.tcp_seq.map(|seq| seq.wrapping_add(at as u32)),
            flags: self.flags & !(flags::PAYLOAD_AT_PEER | flags::LENGTH_ONLY),
            queued_us: self.queued_us.filter(|_| at == 0),
            head: &self.head[known(at)..known(at + length)],
            tail: if is_last { self.tail } else { &[] },
            ..*self
        }
    }
}

/// Both ends of a socket's connection, its own first, where they share what was kept.
pub fn ends(own: SocketIndex, sockets: &Sockets) -> Option<[SocketIndex; 2]> {
    Some([own, sockets.get(own).stored_with?])
}

#[cfg(test)]
mod tests;
