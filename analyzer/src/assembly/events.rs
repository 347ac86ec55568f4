//! Raw rows in, typed events out.
//!
//! A record batch of table `events` is read in place: an [`Event`] borrows its payload from the batch. Values that
//! no kernel can report are clamped here, so that no later step needs to fear an overflow.

use std::ops::Range;

use arrow::array::{Array, AsArray, BinaryArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type};
use retrospan_formats::event::{Kind, TAIL_BYTES, flags};
use retrospan_formats::tables::EVENTS;

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
    /// Only for [`Kind::State`].
    pub state: Option<StateChange>,
    /// First bytes of the data that are known: those in `payload`, then those in `framing`.
    pub head: &'a [u8],
    /// The last ones beyond them.
    pub tail: &'a [u8],
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
fn divide(payload: &[u8], done_bytes: u64, bits: u32) -> (&[u8], &[u8]) {
    let known = payload.len().min(done_bytes as usize);
    let payload = &payload[..known];
    if bits & flags::PAYLOAD_TAIL != 0 && known >= TAIL_BYTES && (known as u64) < done_bytes {
        return payload.split_at(known - TAIL_BYTES);
    }
    (payload, &[])
}

/// First bytes that stand in two columns, side by side.
#[derive(Default)]
struct LongHeads {
    bytes: Vec<u8>,
    /// By row; empty where no row has any.
    places: Vec<Range<usize>>,
}

impl LongHeads {
    fn join(events: &Events) -> LongHeads {
        let mut long = LongHeads::default();
        let framing = &events.framing;
        if framing.null_count() == framing.len() {
            return long;
        }
        for row in 0..framing.len() {
            let before = long.bytes.len();
            if framing.is_valid(row) {
                let (head, _) = divide(events.payload(row), events.done_bytes(row), events.flags(row));
                let room = (events.done_bytes(row) as usize).saturating_sub(head.len());
                let more = framing.value(row);
                long.bytes.extend_from_slice(head);
                long.bytes.extend_from_slice(&more[..more.len().min(room)]);
            }
            long.places.push(before..long.bytes.len());
        }
        long
    }
}

/// The columns of a batch of events.
pub struct Events {
    boot_ns: PrimitiveArray<Int64Type>,
    duration_ns: PrimitiveArray<Int64Type>,
    pid: PrimitiveArray<Int32Type>,
    tid: PrimitiveArray<Int32Type>,
    cpu: PrimitiveArray<UInt16Type>,
    process_id: PrimitiveArray<Int64Type>,
    socket_id: PrimitiveArray<Int64Type>,
    kinds: Vec<Option<Kind>>,
    asked_bytes: PrimitiveArray<Int64Type>,
    done_bytes: PrimitiveArray<Int64Type>,
    tcp_seq: PrimitiveArray<UInt32Type>,
    errno: PrimitiveArray<Int32Type>,
    flags: PrimitiveArray<Int32Type>,
    sk_err: PrimitiveArray<Int32Type>,
    write_seq: PrimitiveArray<UInt32Type>,
    snd_una: PrimitiveArray<UInt32Type>,
    copied_seq: PrimitiveArray<UInt32Type>,
    rcv_nxt: PrimitiveArray<UInt32Type>,
    old_state: PrimitiveArray<UInt8Type>,
    new_state: PrimitiveArray<UInt8Type>,
    payload: BinaryArray,
    framing: BinaryArray,
    long_heads: LongHeads,
}

/// Reads a batch that has the columns of table `events`, as the capture reader gives them.
pub fn read(batch: &RecordBatch) -> Events {
    let mut events = Events {
        boot_ns: column(batch, "boot_ns"),
        duration_ns: column(batch, "duration_ns"),
        pid: column(batch, "pid"),
        tid: column(batch, "tid"),
        cpu: column(batch, "cpu"),
        process_id: column(batch, "process_id"),
        socket_id: column(batch, "socket_id"),
        kinds: kinds(batch),
        asked_bytes: column(batch, "asked_bytes"),
        done_bytes: column(batch, "done_bytes"),
        tcp_seq: column(batch, "tcp_seq"),
        errno: column(batch, "errno"),
        flags: column(batch, "flags"),
        sk_err: column(batch, "sk_err"),
        write_seq: column(batch, "write_seq"),
        snd_una: column(batch, "snd_una"),
        copied_seq: column(batch, "copied_seq"),
        rcv_nxt: column(batch, "rcv_nxt"),
        old_state: column(batch, "old_state"),
        new_state: column(batch, "new_state"),
        payload: array(batch, "payload").as_binary::<i32>().clone(),
        framing: array(batch, "framing").as_binary::<i32>().clone(),
        long_heads: LongHeads::default(),
    };
    events.long_heads = LongHeads::join(&events);
    events
}

impl Events {
    /// The events in order. Kinds that this version does not know are left out.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        (0..self.kinds.len()).filter_map(|row| Some(self.event(row, self.kinds[row]?)))
    }

    fn event(&self, row: usize, kind: Kind) -> Event<'_> {
        let boot_ns = self.boot_ns.value(row).clamp(0, MAX_TIME_NS);
        let (head, tail) = self.head_and_tail(row);
        Event {
            boot_ns,
            duration_ns: self.duration_ns.value(row).clamp(0, boot_ns),
            pid: or_zero(&self.pid, row) as u32,
            tid: or_zero(&self.tid, row) as u32,
            cpu: or_zero(&self.cpu, row),
            process_id: or_zero(&self.process_id, row),
            socket_id: self.socket_id.value(row),
            kind,
            asked_bytes: bytes(&self.asked_bytes, row),
            done_bytes: self.done_bytes(row),
            tcp_seq: self.tcp_seq.is_valid(row).then(|| self.tcp_seq.value(row)),
            errno: self.errno.value(row).unsigned_abs(),
            flags: self.flags(row),
            state: (kind == Kind::State).then(|| self.state(row)),
            head,
            tail,
        }
    }

    fn done_bytes(&self, row: usize) -> u64 {
        bytes(&self.done_bytes, row)
    }

    fn flags(&self, row: usize) -> u32 {
        self.flags.value(row) as u32
    }

    fn payload(&self, row: usize) -> &[u8] {
        if self.payload.is_valid(row) { self.payload.value(row) } else { &[] }
    }

    fn head_and_tail(&self, row: usize) -> (&[u8], &[u8]) {
        let done = self.done_bytes(row);
        let (head, tail) = divide(self.payload(row), done, self.flags(row));
        if !self.framing.is_valid(row) {
            return (head, tail);
        }
        let head = &self.long_heads.bytes[self.long_heads.places[row].clone()];
        let overlap = (head.len() + tail.len()).saturating_sub(done as usize);
        (head, &tail[overlap.min(tail.len())..])
    }

    fn state(&self, row: usize) -> StateChange {
        StateChange {
            sk_err: or_zero(&self.sk_err, row).unsigned_abs(),
            write_seq: or_zero(&self.write_seq, row),
            snd_una: or_zero(&self.snd_una, row),
            copied_seq: or_zero(&self.copied_seq, row),
            rcv_nxt: or_zero(&self.rcv_nxt, row),
            old: or_zero(&self.old_state, row),
            new: or_zero(&self.new_state, row),
        }
    }
}

fn bytes(column: &PrimitiveArray<Int64Type>, row: usize) -> u64 {
    column.value(row).clamp(0, MAX_CALL_BYTES) as u64
}

fn or_zero<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, row: usize) -> T::Native {
    if column.is_valid(row) { column.value(row) } else { T::Native::default() }
}

fn array<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    let index = EVENTS.index_of(name).expect("a column of table events");
    batch.column(index).as_ref()
}

fn column<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str) -> PrimitiveArray<T> {
    array(batch, name).as_primitive::<T>().clone()
}

fn kinds(batch: &RecordBatch) -> Vec<Option<Kind>> {
    let column = array(batch, "kind").as_dictionary::<Int32Type>();
    let names = column.values().as_string::<i32>();
    let known: Vec<_> =
        names.iter().map(|name| Kind::ALL.into_iter().find(|kind| Some(kind.name()) == name)).collect();
    column.keys().iter().map(|key| known.get(key? as usize).copied().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Length, flags, payload and framing of a send.
    type Row<'a> = (i64, u32, &'a [u8], Option<&'a [u8]>);

    fn batch(rows: &[Row<'_>]) -> RecordBatch {
        let schema = EVENTS.schema();
        let columns = schema.fields().iter().map(|field| -> arrow::array::ArrayRef {
            match field.name().as_str() {
                "done_bytes" => {
                    Arc::new(PrimitiveArray::<Int64Type>::from_iter_values(rows.iter().map(|r| r.0)))
                }
                "flags" => {
                    Arc::new(PrimitiveArray::<Int32Type>::from_iter_values(rows.iter().map(|r| r.1 as i32)))
                }
                "payload" => Arc::new(BinaryArray::from_iter_values(rows.iter().map(|r| r.2))),
                "framing" => Arc::new(BinaryArray::from_iter(rows.iter().map(|r| r.3))),
                "kind" => Arc::new(
                    rows.iter().map(|_| Some("send")).collect::<arrow::array::DictionaryArray<Int32Type>>(),
                ),
                _ if field.is_nullable() => arrow::array::new_null_array(field.data_type(), rows.len()),
                _ => {
                    let zeroes = PrimitiveArray::<Int64Type>::from_value(0, rows.len());
                    arrow::compute::cast(&zeroes, field.data_type()).expect("a number")
                }
            }
        });
        RecordBatch::try_new(schema.clone(), columns.collect()).expect("the table's columns")
    }

    #[test]
    fn a_head_goes_on_in_its_framing_and_the_tail_stays_behind_it() {
        let tail = flags::PAYLOAD_TAIL;
        let events = read(&batch(&[
            (100, tail, b"head56789012", None),
            (100, tail, b"head56789012", Some(b"+more")),
            // The tail begins within the framing, or is part of it.
            (14, tail, b"head56789012", Some(b"5678")),
            (12, tail, b"head56789012", Some(b"56789012")),
            (10, 0, b"head", Some(b"+more")),
            // What no recorder writes.
            (6, 0, b"head", Some(b"+more")),
            (2, tail, b"head56789012", Some(b"+more")),
        ]));
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
