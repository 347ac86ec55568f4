//! Segments of one direction in, its bytes in order out, each once. Of bytes that come twice the first ones
//! count.
//!
//! What comes behind a hole waits for it. A hole that the other side has acknowledged, or that too much waits
//! for, or too long, is no longer waited for: its packets are not in the file.

use std::collections::BTreeMap;

use crate::import::slice::Slice;
use crate::import::stamp::Stamp;

/// Data in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When the packet came that carries its first byte, ns.
    pub first_ns: i64,
    /// When it was there in order.
    pub stamp: Stamp,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Its bytes.
    pub data: Slice<'a>,
}

/// What comes out of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out<'a> {
    /// Data.
    Piece(Piece<'a>),
    /// Its end: a FIN, and when it was there in order.
    Fin(Stamp),
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments with data, all of which were there already: sent again, or captured twice.
    pub repeated: u64,
    /// Holes that were given up.
    pub holes: u64,
}

/// Data that waits for a hole, bytes.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// It waits so long, ns.
pub const WAIT_NS: i64 = 3_000_000_000;
/// A hole that was acknowledged is waited for so long: packets of both directions may be in the file in the
/// wrong order, ns.
const ACKNOWLEDGED_WAIT_NS: i64 = 5_000_000;
/// Farther away than any window, there is another connection.
const FAR: i64 = 1 << 30;
/// Positions begin here, so that those before it are no trouble.
const BASE: u64 = 1 << 40;

/// One direction.
#[derive(Debug, Default)]
pub struct Stream {
    /// Position of the next byte, whose lower half is its sequence number.
    next: Option<u64>,
    /// Up to where the other side has acknowledged.
    acknowledged: u64,
    /// When it acknowledged more than was seen, ns.
    gap_ns: Option<i64>,
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    fin: Option<(u64, Stamp)>,
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    stamp: Stamp,
    known: Vec<u8>,
    length: usize,
}

type Sink<'a> = &'a mut dyn FnMut(Out<'_>);

impl Stream {
    /// Sets where it begins, unless that is known.
    pub fn begin(&mut self, seq: u32) {
        if self.next.is_none() {
            let next = BASE + u64::from(seq);
            (self.next, self.acknowledged) = (Some(next), next);
        }
    }

    /// Sequence number of the next byte.
    pub fn next_seq(&self) -> Option<u32> {
        self.next.map(|next| next as u32)
    }

    /// Sequence number after the last byte that is known to have been sent, be it seen or only acknowledged.
    pub fn last_seq(&self) -> Option<u32> {
        self.next.map(|next| next.max(self.acknowledged) as u32)
    }

    /// Sequence number up to which the other side has acknowledged.
    pub fn acknowledged_seq(&self) -> u32 {
        self.acknowledged as u32
    }

    /// The FIN was there in order.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The other side has acknowledged all up to the next byte.
    pub fn is_acknowledged(&self) -> bool {
        self.next.is_some_and(|next| self.acknowledged >= next)
    }

    /// Something waits for a hole.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || (self.fin.is_some() && !self.ended)
    }

    /// Whether a sequence number is near where the stream stands.
    pub fn is_near(&self, seq: u32) -> bool {
        self.next.is_none_or(|next| distance(next, seq).abs() < FAR)
    }

    /// Takes in data and perhaps the FIN behind it.
    pub fn segment(
        &mut self,
        stamp: Stamp,
        seq: u32,
        data: Slice<'_>,
        fin: bool,
        counts: &mut Counts,
        out: Sink<'_>,
    ) {
        self.begin(seq);
        let Some(next) = self.next else { return };
        let ahead = distance(next, seq);
        if ahead.abs() >= FAR || self.ended {
            counts.repeated += u64::from(data.length > 0);
            return;
        }
        let start = next.wrapping_add_signed(ahead);
        let end = start + data.length as u64;
        if fin && self.fin.is_none() && end >= next {
            self.fin = Some((end, stamp));
        }
        if data.length > 0 && end <= next {
            counts.repeated += 1;
        } else if ahead <= 0 && self.waiting.is_empty() {
            let known = (next - start) as usize;
            self.hand_out(stamp, stamp, data, known, out);
        } else if data.length > 0 && !self.keep(start.max(next), start, stamp, data) {
            counts.repeated += 1;
        }
        self.settle(stamp, out);
        self.give_up(stamp, counts, out);
    }

    /// Takes in that the other side has acknowledged all before a sequence number. With data it goes on from
    /// there, so that a hole is given up at once: an answer must not overtake its request.
    pub fn acknowledge(&mut self, now: Stamp, seq: u32, with_data: bool, counts: &mut Counts, out: Sink<'_>) {
        self.begin(seq);
        let Some(next) = self.next else { return };
        let ahead = distance(next, seq);
        if ahead.abs() < FAR {
            self.acknowledged = self.acknowledged.max(next.wrapping_add_signed(ahead));
        }
        if self.acknowledged > next {
            let since_ns = if with_data { i64::MIN / 2 } else { now.ns };
            self.gap_ns = Some(self.gap_ns.map_or(since_ns, |gap_ns| gap_ns.min(since_ns)));
        }
        self.give_up(now, counts, out);
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        self.give_up(now, counts, out);
    }

    /// Nothing more comes: what waits goes out.
    pub fn finish(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        while self.waits() {
            self.skip(now, counts, out);
        }
    }

    /// Keeps what is between what waits already. False where nothing was.
    fn keep(&mut self, mut from: u64, start: u64, stamp: Stamp, data: Slice<'_>) -> bool {
        let end = start + data.length as u64;
        let mut added = false;
        if let Some((at, before)) = self.waiting.range(..=from).next_back() {
            from = from.max(at + before.length as u64);
        }
        while from < end {
            let next = self.waiting.range(from..).next().map(|(at, after)| (*at, at + after.length as u64));
            let until = next.map_or(end, |(at, _)| at.min(end));
            if until > from {
                let within = |at: u64| ((at - start) as usize).min(data.known.len());
                let known = data.known[within(from)..within(until)].to_vec();
                self.waiting_bytes += known.len();
                self.waiting.insert(from, Waiting { stamp, known, length: (until - from) as usize });
                added = true;
            }
            from = next.map_or(end, |(_, behind)| behind);
        }
        added
    }

    /// Hands out what follows without a hole.
    fn settle(&mut self, now: Stamp, out: Sink<'_>) {
        while let Some(entry) = self.waiting.first_entry() {
            if self.next.is_none_or(|next| *entry.key() > next) {
                break;
            }
            let (at, waiting) = entry.remove_entry();
            self.waiting_bytes -= waiting.known.len();
            let known = (self.next.unwrap_or(at) - at) as usize;
            let data = Slice { known: &waiting.known, length: waiting.length };
            self.hand_out(waiting.stamp, now.max(waiting.stamp), data, known, out);
        }
        let (Some(next), Some((at, stamp))) = (self.next, self.fin) else { return };
        if at <= next && !self.ended {
            self.ended = true;
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.next = Some(next + 1);
            out(Out::Fin(now.max(stamp)));
        }
    }

    /// Hands out data whose first `known` bytes were there before.
    fn hand_out(&mut self, first: Stamp, stamp: Stamp, data: Slice<'_>, known: usize, out: Sink<'_>) {
        let Some(data) = data.skip(known).filter(|data| data.length > 0) else { return };
        let Some(next) = self.next else { return };
        self.next = Some(next + data.length as u64);
        out(Out::Piece(Piece { first_ns: first.ns, stamp, seq: next as u32, data }));
    }

    /// Skips holes that are no longer waited for.
    fn give_up(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        while self.waits() && self.is_hopeless(now) {
            self.skip(now, counts, out);
        }
        if self.is_acknowledged_at_most() {
            self.gap_ns = None;
        }
    }

    /// No more was acknowledged than was seen.
    fn is_acknowledged_at_most(&self) -> bool {
        self.next.is_none_or(|next| self.acknowledged <= next)
    }

    fn is_hopeless(&self, now: Stamp) -> bool {
        let first = self.waiting.first_key_value().map(|(at, waiting)| (*at, waiting.stamp));
        let Some((at, since)) = first.or(self.fin) else { return false };
        let acknowledged = self.acknowledged >= at
            && self.gap_ns.is_some_and(|gap_ns| now.ns >= gap_ns.saturating_add(ACKNOWLEDGED_WAIT_NS));
        acknowledged || self.waiting_bytes > MAX_WAITING_BYTES || now.ns >= since.ns.saturating_add(WAIT_NS)
    }

    /// Goes on behind the first hole. What waited there was there when it came.
    fn skip(&mut self, now: Stamp, counts: &mut Counts, out: Sink<'_>) {
        let first = self.waiting.first_key_value().map(|(at, _)| *at);
        let Some(at) = first.or(self.fin.map(|(at, _)| at)) else { return };
        if self.next.is_some_and(|next| at > next) {
            counts.holes += 1;
            self.next = Some(at);
        }
        // Up to the next hole, each with its own time.
        while let Some(entry) = self.waiting.first_entry() {
            if self.next.is_none_or(|next| *entry.key() > next) {
                return;
            }
            let (at, waiting) = entry.remove_entry();
            self.waiting_bytes -= waiting.known.len();
            let known = (self.next.unwrap_or(at) - at) as usize;
            let data = Slice { known: &waiting.known, length: waiting.length };
            self.hand_out(waiting.stamp, waiting.stamp, data, known, out);
        }
        if let Some((_, stamp)) = self.fin {
            self.settle(stamp.min(now), out);
        }
    }
}

/// How far behind a position a sequence number is.
fn distance(from: u64, seq: u32) -> i64 {
    i64::from(seq.wrapping_sub(from as u32).cast_signed())
}

#[cfg(test)]
mod tests;
