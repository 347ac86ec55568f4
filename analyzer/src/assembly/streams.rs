//! Calls on one socket in, the two byte streams of its connection out: in order, each byte once, holes marked.
//!
//! Calls are reported when they return, so two threads that share a socket may be reported in the wrong order: a call that
//! comes too early waits a little for the one before it. What never comes is a gap. Positions are 64-bit and count
//! from the first byte of the connection (of a discovered socket: from the first byte seen).

use std::collections::VecDeque;

use retrospan_formats::event::flags;
use retrospan_formats::marks;

use crate::assembly::events::Event;

/// Which way bytes go, seen from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoDirection {
    /// Sent.
    Out = 0,
    /// Received.
    In = 1,
}

/// When and by whom bytes were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTiming {
    /// Boot time at which the call was entered, ns.
    pub enter_ns: i64,
    /// Boot time at which it returned, ns.
    pub exit_ns: i64,
    /// Process that called, 0 where unknown.
    pub process_id: i64,
    /// Its thread group id.
    pub pid: u32,
    /// Thread that called.
    pub tid: u32,
    /// CPU on which the call ended.
    pub cpu: u16,
    /// From the arrival of the first byte to `exit_ns`, us; where known.
    pub queued_us: Option<i32>,
}

/// The next piece of a stream.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes that were moved by one call.
    Data {
        /// Which stream.
        way: IoDirection,
        /// Position of the first byte.
        position: u64,
        /// Its raw sequence number.
        seq: u32,
        /// How many bytes.
        length: u64,
        /// The first of them that are known.
        head: &'a [u8],
        /// The last of them that are known.
        tail: &'a [u8],
        /// What redaction told of them: bits of [`marks::MARKS`].
        marks: u32,
        /// When.
        timing: CallTiming,
    },
    /// Bytes that were moved by calls that are not in the capture.
    Gap {
        /// Which stream.
        way: IoDirection,
        /// How many bytes.
        length: u64,
    },
    /// Nothing comes after this.
    End {
        /// Which stream.
        way: IoDirection,
    },
}

/// A call that is reported before the one it continues waits so long for it, ns of event time.
const HOLE_WAIT_NS: i64 = 100_000_000;
/// A call of uncertain position waits so long for one of certain position before it.
const UNCERTAIN_WAIT_NS: i64 = 2_000_000;
/// Calls that wait at once.
const MAX_HELD: usize = 64;

/// A first call further than this from the stream's first byte belongs to another connection under the same id.
const FAR: i64 = 1 << 28;

/// The two streams of one socket.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    ways: [Cursor; 2],
    /// Calls that wait, of both ways, in order of report: an answer must not overtake its request.
    held: VecDeque<Held>,
}

#[derive(Clone, Debug, Default)]
struct Cursor {
    /// Raw sequence number of the next byte; None before the first one of a discovered socket.
    next: Option<u32>,
    position: u64,
    /// Raw sequence number at which the stream ends, and when that was reported.
    end: Option<(u32, i64)>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Held {
    way: IoDirection,
    seq: u32,
    certain: bool,
    length: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    marks: u32,
    timing: CallTiming,
}

type Out<'a> = &'a mut dyn FnMut(Piece<'_>);

impl Streams {
    /// Streams that start at these sequence numbers; None where the start is not known.
    pub fn new(first_send_seq: Option<u32>, first_receive_seq: Option<u32>) -> Streams {
        let cursor = |next| Cursor { next, ..Cursor::default() };
        Streams { ways: [cursor(first_send_seq), cursor(first_receive_seq)], held: VecDeque::new() }
    }

    /// Whether something waits for other calls; then [`Streams::tick`] must be called later.
    pub fn waits(&self) -> bool {
        let out = &self.ways[IoDirection::Out as usize];
        !self.held.is_empty() || (out.end.is_some() && !out.ended)
    }

    /// A send or receive. `out` is given what follows from it, in order.
    pub fn call(&mut self, way: IoDirection, event: &Event<'_>, out: Out<'_>) {
        if event.done_bytes == 0 {
            if way == IoDirection::In && event.asked_bytes > 0 && event.errno == 0 {
                // The application has taken everything: what is not reported is missing.
                self.settle(i64::MAX, out);
                let cursor = &mut self.ways[way as usize];
                if let Some(missing @ 1..) = cursor.end.and_then(|(end, _)| cursor.distance(end)) {
                    cursor.gap(way, missing as u64, out);
                }
                cursor.finish(way, out);
            }
            return;
        }
        let (head, tail) = event.head_and_tail();
        let marks = event.flags & marks::MARKS;
        let timing = CallTiming {
            enter_ns: event.enter_ns(),
            exit_ns: event.boot_ns,
            process_id: event.process_id,
            pid: event.pid,
            tid: event.tid,
            cpu: event.cpu,
            queued_us: event.queued_us,
        };
        let cursor = &mut self.ways[way as usize];
        let seq = event.tcp_seq.or(cursor.next).unwrap_or_default();
        if cursor.position == 0 && cursor.distance(seq).is_some_and(|d| d.abs() > FAR) {
            cursor.next = None;
        }
        let next = *cursor.next.get_or_insert(seq);
        let certain = event.flags & flags::OFFSET_UNCERTAIN == 0;
        if certain && seq == next && self.held.is_empty() {
            cursor.data(way, event.done_bytes, [head, tail], marks, timing, out);
            return cursor.settle_end(way, event.boot_ns, out);
        }
        let (head, tail) = (head.to_vec(), tail.to_vec());
        self.held.push_back(Held { way, seq, certain, length: event.done_bytes, head, tail, marks, timing });
        self.settle(event.boot_ns, out);
    }

    /// The stream ends before the byte with this sequence number (a FIN).
    pub fn end(&mut self, way: IoDirection, seq: u32, now_ns: i64, out: Out<'_>) {
        self.ways[way as usize].end.get_or_insert((seq, now_ns));
        self.settle(now_ns, out);
    }

    /// Gives up waiting for what should have come by now.
    pub fn tick(&mut self, now_ns: i64, out: Out<'_>) {
        self.settle(now_ns, out);
    }

    /// No call will come any more. `seq`: the socket's own count of the bytes that calls moved, where it is known. `fin`: it
    /// may count a FIN as one byte more.
    pub fn close(&mut self, way: IoDirection, seq: Option<u32>, fin: bool, out: Out<'_>) {
        self.settle(i64::MAX, out);
        let cursor = &mut self.ways[way as usize];
        if let Some(missing) = seq.and_then(|seq| cursor.distance(seq)) {
            let missing = missing - i64::from(fin);
            if missing > 0 {
                cursor.gap(way, missing as u64, out);
            }
        }
    }

    /// The other side is known to have ended this way, and everything before was moved.
    pub fn ended(&mut self, way: IoDirection, out: Out<'_>) {
        self.ways[way as usize].finish(way, out);
    }

    /// Position of a sequence number of this way, relative to the bytes seen so far.
    pub fn position(&self, way: IoDirection, seq: u32) -> Option<u64> {
        let cursor = &self.ways[way as usize];
        cursor.position.checked_add_signed(cursor.distance(seq)?)
    }

    /// Raw sequence number of the next byte of this way; None before the first one of a discovered socket.
    pub fn next_seq(&self, way: IoDirection) -> Option<u32> {
        self.ways[way as usize].next
    }

    /// Position of the next byte of each way, by [`IoDirection`].
    pub fn positions(&self) -> [u64; 2] {
        [self.ways[IoDirection::Out as usize].position, self.ways[IoDirection::In as usize].position]
    }

    /// Bytes that the kernel has for the application before the end of the stream, in a way that has ended.
    pub fn unread(&self, way: IoDirection) -> bool {
        let cursor = &self.ways[way as usize];
        cursor.end.and_then(|(end, _)| cursor.distance(end)).is_some_and(|d| d > 0)
    }

    /// Hands out what can be handed out by `now_ns`.
    fn settle(&mut self, now_ns: i64, out: Out<'_>) {
        while let Some(first) = self.held.front() {
            let (way, certain, exit_ns) = (first.way, first.certain, first.timing.exit_ns);
            let wait_ns = if certain { HOLE_WAIT_NS } else { UNCERTAIN_WAIT_NS };
            let late = now_ns >= exit_ns.saturating_add(wait_ns) || self.held.len() > MAX_HELD;
            if let Some(index) = self.next_certain(way) {
                self.hand_out(index, out);
            } else if let Some(hole) = self.hole(way) {
                let uncertain = self.uncertain(way);
                let fits = uncertain.iter().map(|&i| self.held[i].length).sum::<u64>() == hole;
                if fits || (late && !uncertain.is_empty()) {
                    self.hand_out(uncertain[0], out);
                } else if late {
                    self.ways[way as usize].gap(way, hole, out);
                } else {
                    return;
                }
            } else if late || self.held.iter().any(|held| held.way != way) {
                // Only doubt, and nothing of certain position to resolve it.
                let Some(&index) = self.uncertain(way).first() else { return };
                self.hand_out(index, out);
            } else {
                return;
            }
        }
        for way in [IoDirection::Out, IoDirection::In] {
            self.ways[way as usize].settle_end(way, now_ns, out);
        }
    }

    /// How far ahead of its stream's next byte a held call is.
    fn ahead(&self, held: &Held) -> i64 {
        self.ways[held.way as usize].distance(held.seq).unwrap_or_default()
    }

    /// A held call of certain position that begins at the next byte or before it.
    fn next_certain(&self, way: IoDirection) -> Option<usize> {
        self.held.iter().position(|held| held.way == way && held.certain && self.ahead(held) <= 0)
    }

    /// Bytes missing before the first held call of certain position.
    fn hole(&self, way: IoDirection) -> Option<u64> {
        let certain = self.held.iter().filter(|held| held.way == way && held.certain);
        certain.map(|held| self.ahead(held)).min().map(|hole| hole.max(0) as u64)
    }

    /// Held calls of uncertain position, as their positions would have it.
    fn uncertain(&self, way: IoDirection) -> Vec<usize> {
        let mut indexes: Vec<_> =
            (0..self.held.len()).filter(|&i| self.held[i].way == way && !self.held[i].certain).collect();
        indexes.sort_by_key(|&i| (self.ahead(&self.held[i]), i));
        indexes
    }

    /// Hands out a held call at the next byte. What of it was there already is dropped.
    fn hand_out(&mut self, index: usize, out: Out<'_>) {
        let Some(held) = self.held.remove(index) else { return };
        let cursor = &mut self.ways[held.way as usize];
        let known =
            if held.certain { cursor.next.unwrap_or(held.seq).wrapping_sub(held.seq) as u64 } else { 0 };
        if known >= held.length {
            return;
        }
        let left = held.length - known;
        let head = held.head.get(known as usize..).unwrap_or_default();
        let tail = if left >= held.tail.len() as u64 { &held.tail[..] } else { &[] };
        let marks = if known == 0 { held.marks } else { held.marks & marks::READ };
        cursor.data(held.way, left, [head, tail], marks, held.timing, out);
    }
}

impl Cursor {
    /// How far ahead of the next byte a sequence number is.
    fn distance(&self, seq: u32) -> Option<i64> {
        Some(i64::from(seq.wrapping_sub(self.next?) as i32))
    }

    fn settle_end(&mut self, way: IoDirection, now_ns: i64, out: Out<'_>) {
        let Some((end, reported_ns)) = self.end.filter(|_| !self.ended) else { return };
        match self.distance(end) {
            // What was sent and not reported is missing; what was not taken may be taken yet.
            Some(missing @ 1..) if way == IoDirection::Out => {
                if now_ns >= reported_ns.saturating_add(HOLE_WAIT_NS) {
                    self.gap(way, missing as u64, out);
                    self.finish(way, out);
                }
            }
            Some(1..) => {}
            _ => self.finish(way, out),
        }
    }

    fn finish(&mut self, way: IoDirection, out: Out<'_>) {
        if !self.ended {
            self.ended = true;
            out(Piece::End { way });
        }
    }

    fn data(
        &mut self,
        way: IoDirection,
        length: u64,
        [head, tail]: [&[u8]; 2],
        marks: u32,
        timing: CallTiming,
        out: Out<'_>,
    ) {
        let (position, seq) = (self.position, self.next.unwrap_or_default());
        self.advance(length);
        out(Piece::Data { way, position, seq, length, head, tail, marks, timing });
    }

    fn gap(&mut self, way: IoDirection, length: u64, out: Out<'_>) {
        self.advance(length);
        out(Piece::Gap { way, length });
    }

    fn advance(&mut self, length: u64) {
        self.position += length;
        self.next = self.next.map(|next| next.wrapping_add(length as u32));
    }
}
