//! Calls on one socket in, the two byte streams of its connection out: in order, each byte once, holes marked.
//!
//! Calls are reported when they return, so two threads that share a socket may be reported in the wrong order: a call that
//! comes too early waits a little for the one before it. What never comes is a gap. Positions are 64-bit and count
//! from the first byte of the connection (of a discovered socket: from the first byte seen).

use retrospan_formats::event::flags;

use crate::events::Event;

/// Which way bytes go, seen from the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Sent.
    Out = 0,
    /// Received.
    In = 1,
}

/// When and by whom bytes were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
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
}

/// The next piece of a stream.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Bytes that were moved by one call.
    Data {
        /// Which stream.
        way: Way,
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
        /// When.
        moment: Moment,
    },
    /// Bytes that were moved by calls that are not in the capture.
    Gap {
        /// Which stream.
        way: Way,
        /// How many bytes.
        length: u64,
    },
    /// Nothing comes after this.
    End {
        /// Which stream.
        way: Way,
    },
}

/// A call that came before the one it continues waits so long, ns of event time.
const HOLE_WAIT_NS: i64 = 100_000_000;
/// A call of uncertain position waits so long for one of certain position before it.
const UNCERTAIN_WAIT_NS: i64 = 2_000_000;
/// Calls that wait at once.
const MAX_WAITING: usize = 64;

/// The two streams of one socket.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    ways: [Cursor; 2],
}

#[derive(Clone, Debug, Default)]
struct Cursor {
    /// Raw sequence number of the next byte; None before the first one of a discovered socket.
    next: Option<u32>,
    position: u64,
    /// Raw sequence number at which the stream ends.
    end: Option<u32>,
    ended: bool,
    waiting: Vec<Waiting>,
    deadline_ns: i64,
}

#[derive(Clone, Debug)]
struct Waiting {
    seq: u32,
    certain: bool,
    length: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    moment: Moment,
}

impl Streams {
    /// Streams that start at these sequence numbers; None where the start is not known.
    pub fn new(first_send_seq: Option<u32>, first_receive_seq: Option<u32>) -> Streams {
        let cursor = |next| Cursor { next, ..Cursor::default() };
        Streams { ways: [cursor(first_send_seq), cursor(first_receive_seq)] }
    }

    /// Whether calls wait for others; then [`Streams::tick`] must be called later.
    pub fn waits(&self) -> bool {
        self.ways.iter().any(Cursor::waits)
    }

    /// A send or receive. `out` is given what follows from it, in order.
    pub fn call(&mut self, way: Way, event: &Event<'_>, out: &mut dyn FnMut(Piece<'_>)) {
        let other = match way {
            Way::Out => Way::In,
            Way::In => Way::Out,
        };
        // Data of the other way was moved before this call returned; only its position was in doubt.
        let cursor = &mut self.ways[other as usize];
        if !cursor.waiting.is_empty() && cursor.waiting.iter().all(|w| !w.certain) {
            cursor.deadline_ns = cursor.deadline_ns.min(event.boot_ns);
            cursor.settle(other, event.boot_ns, out);
        }
        let cursor = &mut self.ways[way as usize];
        if event.done_bytes == 0 {
            if way == Way::In && event.asked_bytes > 0 && event.errno == 0 {
                cursor.settle(way, i64::MAX, out);
                cursor.finish(way, out);
            }
            return;
        }
        cursor.call(way, event, out);
        cursor.settle(way, event.boot_ns, out);
    }

    /// The stream ends before the byte with this sequence number (a FIN).
    pub fn end(&mut self, way: Way, seq: u32, now_ns: i64, out: &mut dyn FnMut(Piece<'_>)) {
        let cursor = &mut self.ways[way as usize];
        if cursor.end.is_none() {
            cursor.end = Some(seq);
            cursor.deadline_ns = now_ns.saturating_add(HOLE_WAIT_NS);
        }
        cursor.settle(way, now_ns, out);
    }

    /// Gives up waiting for what should have come by now.
    pub fn tick(&mut self, now_ns: i64, out: &mut dyn FnMut(Piece<'_>)) {
        for way in [Way::Out, Way::In] {
            self.ways[way as usize].settle(way, now_ns, out);
        }
    }

    /// No call will come any more. `seq`: the socket's own count of the bytes that calls moved, where it is known. `fin`: it
    /// may count a FIN as one byte more.
    pub fn close(&mut self, way: Way, seq: Option<u32>, fin: bool, out: &mut dyn FnMut(Piece<'_>)) {
        let cursor = &mut self.ways[way as usize];
        cursor.settle(way, i64::MAX, out);
        if let Some(missing) = seq.and_then(|seq| cursor.distance(seq)) {
            let missing = missing - i64::from(fin);
            if missing > 0 {
                cursor.gap(way, missing as u64, out);
            }
        }
    }

    /// The other side is known to have ended this way, and everything before was moved.
    pub fn ended(&mut self, way: Way, out: &mut dyn FnMut(Piece<'_>)) {
        self.ways[way as usize].finish(way, out);
    }

    /// Position of a sequence number of this way, relative to the bytes seen so far.
    pub fn position(&self, way: Way, seq: u32) -> Option<u64> {
        let cursor = &self.ways[way as usize];
        cursor.position.checked_add_signed(cursor.distance(seq)?)
    }

    /// Bytes that the kernel has for the application before the end of the stream, in a way that has ended.
    pub fn unread(&self, way: Way) -> bool {
        let cursor = &self.ways[way as usize];
        cursor.end.and_then(|end| cursor.distance(end)).is_some_and(|d| d > 0)
    }
}

impl Cursor {
    fn waits(&self) -> bool {
        !self.waiting.is_empty() || (self.end.is_some() && !self.ended && self.deadline_ns > 0)
    }

    /// How far ahead of the next byte a sequence number is.
    fn distance(&self, seq: u32) -> Option<i64> {
        Some(i64::from(seq.wrapping_sub(self.next?) as i32))
    }

    fn call(&mut self, way: Way, event: &Event<'_>, out: &mut dyn FnMut(Piece<'_>)) {
        let (head, tail) = event.head_and_tail();
        let moment = Moment {
            enter_ns: event.enter_ns(),
            exit_ns: event.boot_ns,
            process_id: event.process_id,
            pid: event.pid,
            tid: event.tid,
        };
        let Some(seq) = event.tcp_seq else {
            return self.data(way, event.done_bytes, head, tail, moment, out);
        };
        let next = *self.next.get_or_insert(seq);
        let certain = event.flags & flags::OFFSET_UNCERTAIN == 0;
        if certain && seq == next && self.waiting.is_empty() {
            return self.data(way, event.done_bytes, head, tail, moment, out);
        }
        let wait = if certain { HOLE_WAIT_NS } else { UNCERTAIN_WAIT_NS };
        let deadline_ns = event.boot_ns.saturating_add(wait);
        self.deadline_ns =
            if self.waiting.is_empty() { deadline_ns } else { self.deadline_ns.min(deadline_ns) };
        let (head, tail) = (head.to_vec(), tail.to_vec());
        self.waiting.push(Waiting { seq, certain, length: event.done_bytes, head, tail, moment });
    }

    /// Hands out what can be handed out by `now_ns`.
    fn settle(&mut self, way: Way, now_ns: i64, out: &mut dyn FnMut(Piece<'_>)) {
        while !self.waiting.is_empty() {
            let Some(next) = self.next else { break };
            let ahead = |w: &Waiting| i64::from(w.seq.wrapping_sub(next) as i32);
            let first = (0..self.waiting.len()).filter(|&i| self.waiting[i].certain);
            let first = first.min_by_key(|&i| (ahead(&self.waiting[i]), i));
            let hole = first.map(|i| ahead(&self.waiting[i]));
            if let (Some(index), Some(..=0)) = (first, hole) {
                self.overlapping(way, index, out);
                continue;
            }
            let uncertain: u64 = self.waiting.iter().filter(|w| !w.certain).map(|w| w.length).sum();
            let fits = hole.is_some_and(|hole| hole as u64 == uncertain);
            let late = now_ns >= self.deadline_ns || self.waiting.len() > MAX_WAITING;
            if !fits && !late {
                return;
            }
            self.fill(way, hole.map(|h| h as u64), uncertain, out);
        }
        self.settle_end(way, now_ns, out);
    }

    /// Fills the hole before the first call of certain position with those of uncertain position where
    /// they fit, and with a gap.
    fn fill(&mut self, way: Way, hole: Option<u64>, uncertain: u64, out: &mut dyn FnMut(Piece<'_>)) {
        let next = self.next.unwrap_or_default();
        let (certain, mut doubtful): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| w.certain);
        self.waiting = certain;
        doubtful.sort_by_key(|w| (w.seq.wrapping_sub(next) as i32, w.moment.exit_ns));
        if hole.is_none_or(|hole| uncertain <= hole) {
            for w in doubtful {
                self.data(way, w.length, &w.head, &w.tail, w.moment, out);
            }
        }
        let placed = if hole.is_some_and(|hole| uncertain > hole) { 0 } else { uncertain };
        match hole {
            Some(hole) if hole > placed => self.gap(way, hole - placed, out),
            _ => {}
        }
    }

    /// A waiting call that begins at the next byte or before it: bytes that were there already are dropped.
    fn overlapping(&mut self, way: Way, index: usize, out: &mut dyn FnMut(Piece<'_>)) {
        let w = self.waiting.remove(index);
        let known = self.next.unwrap_or(w.seq).wrapping_sub(w.seq) as u64;
        if known >= w.length {
            return;
        }
        let left = w.length - known;
        let head = w.head.get(known as usize..).unwrap_or_default();
        let tail = if left >= w.tail.len() as u64 { &w.tail[..] } else { &[] };
        self.data(way, left, head, tail, w.moment, out);
    }

    fn settle_end(&mut self, way: Way, now_ns: i64, out: &mut dyn FnMut(Piece<'_>)) {
        let Some(end) = self.end else { return };
        if self.ended || !self.waiting.is_empty() {
            return;
        }
        match self.distance(end) {
            // Nothing was ever moved this way, and nothing will be.
            None => self.finish(way, out),
            Some(..=0) => self.finish(way, out),
            // What was not taken by the application yet is not missing; what was sent is.
            Some(missing) if way == Way::Out && now_ns >= self.deadline_ns => {
                self.gap(way, missing as u64, out);
                self.finish(way, out);
            }
            Some(_) if way == Way::In => self.deadline_ns = 0,
            Some(_) => {}
        }
    }

    fn finish(&mut self, way: Way, out: &mut dyn FnMut(Piece<'_>)) {
        if !self.ended {
            self.ended = true;
            out(Piece::End { way });
        }
    }

    fn data(
        &mut self,
        way: Way,
        length: u64,
        head: &[u8],
        tail: &[u8],
        moment: Moment,
        out: &mut dyn FnMut(Piece<'_>),
    ) {
        let (position, seq) = (self.position, self.next.unwrap_or_default());
        self.advance(length);
        out(Piece::Data { way, position, seq, length, head, tail, moment });
    }

    fn gap(&mut self, way: Way, length: u64, out: &mut dyn FnMut(Piece<'_>)) {
        self.advance(length);
        out(Piece::Gap { way, length });
    }

    fn advance(&mut self, length: u64) {
        self.position += length;
        self.next = self.next.map(|next| next.wrapping_add(length as u32));
    }
}
