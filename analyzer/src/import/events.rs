//! Rows of `events` as they are made in, in the order of their times out.
//!
//! Rows are not made in that order: what waits for a hole or for the rest of a head comes late, and the
//! packets of a file may be out of order themselves. So each row waits until none can come that is before it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use retrospan_formats::event::Kind;
use retrospan_formats::tables::EventRow;

use crate::assembly::events::StateChange;
use crate::import::stamp::Stamp;

/// A row that is not written yet.
#[derive(Clone, Debug)]
pub struct Row {
    /// When; its time is that of emission.
    pub stamp: Stamp,
    /// `sockets.socket_id`.
    pub socket_id: i64,
    /// What happened.
    pub kind: Kind,
    /// How long it took, ns.
    pub duration_ns: i64,
    /// Bytes moved.
    pub done_bytes: u64,
    /// Sequence number of the first one.
    pub tcp_seq: Option<u32>,
    /// Bits of [`retrospan_formats::event::flags`].
    pub flags: u32,
    /// Of a change of state.
    pub state: Option<StateChange>,
    /// What was kept.
    pub payload: Option<Box<[u8]>>,
}

impl Default for Row {
    fn default() -> Row {
        Row {
            stamp: Stamp::default(),
            socket_id: 0,
            kind: Kind::State,
            duration_ns: 0,
            done_bytes: 0,
            tcp_seq: None,
            flags: 0,
            state: None,
            payload: None,
        }
    }
}

impl Row {
    /// As it is written. `seq`: its number.
    pub fn written(&self, seq: i64) -> EventRow<'_> {
        let state = self.state.as_ref();
        EventRow {
            boot_ns: self.stamp.ns,
            duration_ns: self.duration_ns.min(self.stamp.ns),
            seq,
            socket_id: self.socket_id,
            kind: self.kind.name(),
            asked_bytes: self.done_bytes as i64,
            done_bytes: self.done_bytes as i64,
            tcp_seq: self.tcp_seq,
            flags: self.flags as i32,
            sk_err: state.map(|state| state.sk_err as i32),
            write_seq: state.map(|state| state.write_seq),
            snd_una: state.map(|state| state.snd_una),
            copied_seq: state.map(|state| state.copied_seq),
            rcv_nxt: state.map(|state| state.rcv_nxt),
            old_state: state.map(|state| state.old),
            new_state: state.map(|state| state.new),
            payload: self.payload.as_deref(),
            ..EventRow::default()
        }
    }
}

/// Nothing waits longer than this before its rows are made, ns.
const WINDOW_NS: i64 = 10_000_000_000;
/// So many rows wait anyhow: files whose packets are in no order at all are mostly small.
const MIN_WAITING: usize = 200_000;
/// More rows than this do not wait, however near in time they are.
const MAX_WAITING: usize = 4_000_000;

/// Rows that wait.
#[derive(Debug, Default)]
pub struct Rows {
    /// Those that came in order: nearly all.
    in_order: VecDeque<Ordered>,
    /// Those that came behind a later one.
    late: BinaryHeap<Reverse<Ordered>>,
    made: u64,
    newest_ns: i64,
    /// Time of the last row that was handed out, ns.
    out_ns: i64,
    moved: u64,
    bytes: u64,
}

/// A row in the order of time, packet, and making.
#[derive(Debug)]
struct Ordered(u64, Row);

impl Ordered {
    fn place(&self) -> (Stamp, u64) {
        (self.1.stamp, self.0)
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Ordered) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Ordered) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Ordered) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Rows {
    /// Adds a row. One that comes too late gets the time of the last one that was handed out, and is counted.
    pub fn push(&mut self, mut row: Row) {
        self.made += 1;
        self.bytes += row.done_bytes;
        self.newest_ns = self.newest_ns.max(row.stamp.ns);
        if row.stamp.ns < self.out_ns {
            row.stamp.ns = self.out_ns;
            self.moved += 1;
        }
        let row = Ordered(self.made, row);
        match self.in_order.back() {
            Some(last) if row < *last => self.late.push(Reverse(row)),
            _ => self.in_order.push_back(row),
        }
    }

    /// The next row for which none can come any more that is before it.
    pub fn pop(&mut self) -> Option<Row> {
        let waiting = self.in_order.len() + self.late.len();
        let first = if self.is_late_first() { &self.late.peek()?.0 } else { self.in_order.front()? };
        let is_due = waiting > MIN_WAITING && self.newest_ns - first.1.stamp.ns > WINDOW_NS;
        if is_due || waiting > MAX_WAITING { self.pop_any() } else { None }
    }

    /// The next row, where no more are made.
    pub fn pop_any(&mut self) -> Option<Row> {
        let Ordered(_, row) =
            if self.is_late_first() { self.late.pop()?.0 } else { self.in_order.pop_front()? };
        self.out_ns = row.stamp.ns;
        Some(row)
    }

    fn is_late_first(&self) -> bool {
        match (self.late.peek(), self.in_order.front()) {
            (Some(Reverse(late)), Some(first)) => late < first,
            (late, _) => late.is_some(),
        }
    }

    /// Bytes that all rows moved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows that came too late for their place.
    pub fn moved(&self) -> u64 {
        self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_the_order_of_time_and_file() {
        let mut rows = Rows::default();
        let made = [(5, 2, 1), (5, 1, 2), (3, 9, 3), (5, 1, 4)];
        for (ns, packet, socket_id) in made {
            rows.push(Row { stamp: Stamp { ns, packet }, socket_id, ..Row::default() });
        }
        assert!(rows.pop().is_none(), "others may come");
        let order: Vec<i64> = std::iter::from_fn(|| rows.pop_any()).map(|row| row.socket_id).collect();
        assert_eq!(order, [3, 2, 4, 1]);
        rows.push(Row { stamp: Stamp { ns: 4, packet: 10 }, ..Row::default() });
        assert_eq!(rows.pop_any().map(|row| row.stamp.ns), Some(5));
        assert_eq!(rows.moved(), 1);
    }
}
