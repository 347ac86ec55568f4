//! Raw rows in, typed events out.
//!
//! A batch of table `events` is decoded once, by the thread that reads it; an [`Event`] borrows its payload from the batch. Values
//! that no kernel can report are clamped here, so that no later step needs to fear an overflow.

use std::ops::Range;

use arrow::array::{Array, ArrowPrimitiveType, BinaryArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Int32Type, Int64Type, UInt32Type};
use retrospan_formats::error::CaptureError;
use retrospan_formats::event::{Kind, TAIL_BYTES, flags};
use retrospan_formats::reader::Capture;
use retrospan_formats::rows::Columns;
use retrospan_formats::tables::EventRow;

/// No call moves more (the kernel's MAX_RW_COUNT is below 2 GiB).
const MAX_CALL_BYTES: i64 = 1 << 32;
/// Boot times beyond this are nonsense; 146 years.
const MAX_TIME_NS: i64 = i64::MAX / 2;

/// One row of `events`.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Boot time of emission, ns.
    pub boot_ns: i64,
    /// Since the call was entered, ns.
    pub duration_ns: i64,
    /// Process, 0 where unknown.
    pub pid: u32,
    /// Thread, 0 where unknown.
    pub tid: u32,
    /// CPU that the call ended on.
    pub cpu: u16,
    /// `processes.process_id`, 0 where unknown.
    pub process_id: i64,
    /// `sockets.socket_id`.
    pub socket_id: i64,
    /// What happened.
    pub kind: Kind,
    /// Bytes offered or room given.
    pub asked_bytes: u64,
    /// Bytes moved.
    pub done_bytes: u64,
    /// Raw sequence number of the first byte moved.
    pub tcp_seq: Option<u32>,
    /// Positive errno.
    pub errno: u32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// From the arrival of what was received to `boot_ns`, us; where known.
    pub queued_us: Option<i32>,
    /// Only for [`Kind::State`].
    pub state: Option<StateChange>,
    /// First bytes of the data that are known: those in `payload`, then those in `framing`.
    pub head: &'a [u8],
    /// The last ones beyond them.
    pub tail: &'a [u8],
    /// Hashes of blanked values ([`retrospan_formats::secrets`]).
    pub secret_hashes: &'a [u8],
}

/// What a `state` row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The socket's pending error.
    pub sk_err: u32,
    /// After the last byte written.
    pub write_seq: u32,
    /// First byte not acknowledged.
    pub snd_una: u32,
    /// First byte not taken by the application.
    pub copied_seq: u32,
    /// First byte not received.
    pub rcv_nxt: u32,
    /// TCP state before.
    pub old: u8,
    /// TCP state after.
    pub new: u8,
}

impl<'a> Event<'a> {
    /// When the call was entered, ns.
    pub fn enter_ns(&self) -> i64 {
        self.boot_ns - self.duration_ns
    }

    /// The first bytes of the data that are known, and the last ones beyond them.
    pub fn head_and_tail(&self) -> (&'a [u8], &'a [u8]) {
        (self.head, self.tail)
    }
}

/// Divides a payload into first and last bytes.
fn divide(payload: Range<usize>, done_bytes: u64, bits: u32) -> (Range<usize>, Range<usize>) {
    let known = payload.len().min(done_bytes as usize);
    let end = payload.start + known;
    let has_tail = bits & flags::PAYLOAD_TAIL != 0 && known >= TAIL_BYTES && (known as u64) < done_bytes;
    let middle = if has_tail { end - TAIL_BYTES } else { end };
    (payload.start..middle, middle..end)
}

/// The events of a batch.
pub struct Events {
    decoded: Vec<Decoded>,
    payload: BinaryArray,
    secret_hashes: BinaryArray,
    /// Heads that stand in two columns, side by side.
    long_heads: Vec<u8>,
}

/// An event without its bytes, and where these are.
struct Decoded {
    event: Event<'static>,
    /// In the column's values; of a long head in [`Events::long_heads`].
    head: Range<usize>,
    is_long: bool,
    /// In the column's values.
    tail: Range<usize>,
    /// In the values of that column.
    secret_hashes: Range<usize>,
}

/// The events of a capture in order of emission, by batches.
pub fn read(capture: &Capture) -> impl Iterator<Item = Result<Events, CaptureError>> {
    capture.event_rows().map(|rows| rows.map(Events::new))
}

impl Events {
    /// Kinds that this version does not know are left out.
    fn new(rows: Columns<EventRow<'static>>) -> Events {
        let kind = |name: Option<&str>| Kind::ALL.into_iter().find(|kind| Some(kind.name()) == name);
        let kinds: Vec<Option<Kind>> = rows.arrays.kind.names.iter().map(kind).collect();
        let payload = rows.arrays.payload.clone();
        let secret_hashes = rows.arrays.secret_hashes.clone();
        let decoded = Vec::with_capacity(rows.rows());
        let mut events = Events { decoded, payload, secret_hashes, long_heads: Vec::new() };
        let cells = Cells::of(&rows);
        for row in 0..rows.rows() {
            let kind = kinds.get(rows.arrays.kind.keys.value(row) as usize).copied().flatten();
            if let Some(kind) = kind {
                events.add(cells.event(row, kind), row, &rows.arrays.framing);
            }
        }
        events
    }

    /// Adds the event of a row.
    fn add(&mut self, event: Event<'static>, row: usize, framing: &BinaryArray) {
        let range = |array: &BinaryArray| match array.is_valid(row) {
            true => array.value_offsets()[row] as usize..array.value_offsets()[row + 1] as usize,
            false => 0..0,
        };
        let whole = range(&self.payload);
        let (head, mut tail) = divide(whole, event.done_bytes, event.flags);
        let is_long = framing.is_valid(row);
        let head = if is_long {
            let (begin, done_bytes) = (self.long_heads.len(), event.done_bytes as usize);
            let room = done_bytes.saturating_sub(head.len());
            let more = framing.value(row);
            self.long_heads.extend_from_slice(&self.payload.value_data()[head]);
            self.long_heads.extend_from_slice(&more[..more.len().min(room)]);
            let long = begin..self.long_heads.len();
            let overlap = (long.len() + tail.len()).saturating_sub(done_bytes);
            tail.start += overlap.min(tail.len());
            long
        } else {
            head
        };
        let secret_hashes = range(&self.secret_hashes);
        self.decoded.push(Decoded { event, head, is_long, tail, secret_hashes });
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let (payload, hashes) = (self.payload.value_data(), self.secret_hashes.value_data());
        self.decoded.iter().map(move |Decoded { event, head, is_long, tail, secret_hashes }| {
            let heads = if *is_long { &self.long_heads } else { payload };
            let (head, tail) = (&heads[head.clone()], &payload[tail.clone()]);
            Event { head, tail, secret_hashes: &hashes[secret_hashes.clone()], ..*event }
        })
    }
}

/// A column of numbers. Whether it has nulls at all is asked once a batch: most have none, and there are many.
struct Numbers<'a, T: ArrowPrimitiveType> {
    values: &'a [T::Native],
    nulls: Option<&'a NullBuffer>,
}

impl<'a, T: ArrowPrimitiveType> Numbers<'a, T> {
    fn of(array: &'a PrimitiveArray<T>) -> Numbers<'a, T> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Numbers { values: array.values(), nulls }
    }

    #[inline]
    fn get(&self, row: usize) -> Option<T::Native> {
        match self.nulls {
            Some(nulls) if nulls.is_null(row) => None,
            _ => Some(self.values[row]),
        }
    }
}

/// The columns of a batch that an event is made of.
struct Cells<'a> {
    rows: &'a Columns<EventRow<'static>>,
    boot_ns: &'a [i64],
    duration_ns: &'a [i64],
    pid: Numbers<'a, Int32Type>,
    tid: Numbers<'a, Int32Type>,
    cpu: &'a [u16],
    process_id: Numbers<'a, Int64Type>,
    socket_id: &'a [i64],
    asked_bytes: &'a [i64],
    done_bytes: &'a [i64],
    tcp_seq: Numbers<'a, UInt32Type>,
    errno: &'a [i32],
    flags: &'a [i32],
    queued_us: Numbers<'a, Int32Type>,
}

impl<'a> Cells<'a> {
    fn of(rows: &'a Columns<EventRow<'static>>) -> Cells<'a> {
        let arrays = &rows.arrays;
        Cells {
            rows,
            boot_ns: arrays.boot_ns.values(),
            duration_ns: arrays.duration_ns.values(),
            pid: Numbers::of(&arrays.pid),
            tid: Numbers::of(&arrays.tid),
            cpu: arrays.cpu.values(),
            process_id: Numbers::of(&arrays.process_id),
            socket_id: arrays.socket_id.values(),
            asked_bytes: arrays.asked_bytes.values(),
            done_bytes: arrays.done_bytes.values(),
            tcp_seq: Numbers::of(&arrays.tcp_seq),
            errno: arrays.errno.values(),
            flags: arrays.flags.values(),
            queued_us: Numbers::of(&arrays.queued_us),
        }
    }

    /// Without its bytes. Most rows have no state: it is not looked for.
    fn event(&self, row: usize, kind: Kind) -> Event<'static> {
        let boot_ns = self.boot_ns[row].clamp(0, MAX_TIME_NS);
        Event {
            boot_ns,
            duration_ns: self.duration_ns[row].clamp(0, boot_ns),
            pid: self.pid.get(row).unwrap_or_default() as u32,
            tid: self.tid.get(row).unwrap_or_default() as u32,
            cpu: self.cpu[row],
            process_id: self.process_id.get(row).unwrap_or_default(),
            socket_id: self.socket_id[row],
            kind,
            asked_bytes: bytes(self.asked_bytes[row]),
            done_bytes: bytes(self.done_bytes[row]),
            tcp_seq: self.tcp_seq.get(row),
            errno: self.errno[row].unsigned_abs(),
            flags: self.flags[row] as u32,
            queued_us: self.queued_us.get(row).filter(|&us| us >= 0),
            state: (kind == Kind::State).then(|| state(self.rows, row)),
            head: &[],
            tail: &[],
            secret_hashes: &[],
        }
    }
}

fn state(rows: &Columns<EventRow<'static>>, row: usize) -> StateChange {
    let arrays = &rows.arrays;
    StateChange {
        sk_err: cell(&arrays.sk_err, row).unsigned_abs(),
        write_seq: cell(&arrays.write_seq, row),
        snd_una: cell(&arrays.snd_una, row),
        copied_seq: cell(&arrays.copied_seq, row),
        rcv_nxt: cell(&arrays.rcv_nxt, row),
        old: cell(&arrays.old_state, row),
        new: cell(&arrays.new_state, row),
    }
}

/// 0 where it is null.
fn cell<A: ArrowPrimitiveType>(array: &PrimitiveArray<A>, row: usize) -> A::Native {
    if array.is_valid(row) { array.value(row) } else { A::Native::default() }
}

fn bytes(count: i64) -> u64 {
    count.clamp(0, MAX_CALL_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length, flags, payload and framing of a send.
    type Row<'a> = (i64, u32, &'a [u8], Option<&'a [u8]>);

    fn events(rows: &[Row<'_>]) -> Events {
        let rows = rows.iter().map(|&(done_bytes, bits, payload, framing)| EventRow {
            kind: "send",
            done_bytes,
            flags: bits as i32,
            payload: Some(payload),
            framing,
            ..EventRow::default()
        });
        let batch = retrospan_formats::rows::batch::<EventRow>(rows).expect("rows that fit");
        Events::new(Columns::of(&batch).expect("the columns of events"))
    }

    #[test]
    fn a_head_goes_on_in_its_framing_and_the_tail_stays_behind_it() {
        let tail = flags::PAYLOAD_TAIL;
        let events = events(&[
            (100, tail, b"head56789012", None),
            (100, tail, b"head56789012", Some(b"+more")),
            // The tail begins within the framing, or is part of it.
            (14, tail, b"head56789012", Some(b"5678")),
            (12, tail, b"head56789012", Some(b"56789012")),
            (10, 0, b"head", Some(b"+more")),
            // What no recorder writes.
            (6, 0, b"head", Some(b"+more")),
            (2, tail, b"head56789012", Some(b"+more")),
        ]);
        let found: Vec<_> = events.iter().map(|event| event.head_and_tail()).collect();
        let text = |head: &'static str, tail: &'static str| (head.as_bytes(), tail.as_bytes());
        assert_eq!(found[0], text("head", "56789012"));
        assert_eq!(found[1], text("head+more", "56789012"));
        assert_eq!(found[2], text("head5678", "789012"));
        assert_eq!(found[3], text("head56789012", ""));
        assert_eq!(found[4], text("head+more", ""));
        assert_eq!(found[5], text("head+m", ""));
        assert_eq!(found[6], text("he", ""));
    }
}
