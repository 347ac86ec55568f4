//! Rows to Arrow columns, by the table definitions.
//!
//! Events come one at a time and leave as batches: plain vectors per column, given away whole, so
//! that nothing is allocated for an event but the bytes of its payload in a shared buffer. (A writer of typed rows would
//! copy each payload once more, which redaction writes into its column, and fill seven columns that few events have.)

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanBufferBuilder, DictionaryArray, Int32Array, Int64Array, PrimitiveArray,
    RecordBatch, StringArray, UInt16Array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, Int32Type, SchemaRef, UInt8Type, UInt32Type};
use arrow::error::ArrowError;
use retrospan_formats::event::{Header, Kind, State};
use retrospan_formats::tables;

/// Rows of a full batch.
pub const BATCH_ROWS: usize = 8192;
/// Payload bytes of a full batch: bounds what waits for the writer.
const BATCH_PAYLOAD_BYTES: usize = 2 << 20;

static EVENTS_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| tables::EVENTS.schema());
static KIND_NAMES: LazyLock<ArrayRef> =
    LazyLock::new(|| Arc::new(StringArray::from_iter_values(Kind::ALL.map(Kind::name))));

/// The fields of an event that its header does not have.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its kind.
    pub kind: Kind,
    /// Its socket.
    pub socket_id: u64,
    /// Its process, where known.
    pub process_id: Option<i64>,
    /// Length of the call, in ns.
    pub duration_ns: u64,
    /// Bytes offered or room.
    pub asked_bytes: u64,
    /// Bytes moved.
    pub done_bytes: u64,
    /// Sequence number of the first byte, where known.
    pub tcp_seq: Option<u32>,
    /// Positive errno or 0.
    pub errno: u32,
    /// Bits of [`retrospan_formats::event::flags`].
    pub flags: u32,
    /// From the arrival of what was received, us, where known.
    pub queued_us: Option<i32>,
    /// Only for `state`.
    pub state: Option<State>,
}

/// The `events` rows of a batch in the making.
#[derive(Default)]
pub struct EventColumns {
    boot_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    cpu: Vec<u16>,
    seq: Vec<i64>,
    pid: Optional<i32>,
    tid: Optional<i32>,
    process_id: Optional<i64>,
    socket_id: Vec<i64>,
    kind: Vec<i32>,
    asked_bytes: Vec<i64>,
    done_bytes: Vec<i64>,
    tcp_seq: Optional<u32>,
    errno: Vec<i32>,
    flags: Vec<i32>,
    states: StateColumns,
    payload: Vec<u8>,
    payload_ends: Vec<i32>,
    has_payload: Vec<bool>,
    framing: RareColumn,
    queued_us: Optional<i32>,
    secret_hashes: RareColumn,
}

/// Bytes that few rows have: noted are those rows.
#[derive(Default)]
struct RareColumn {
    bytes: Vec<u8>,
    /// Rows that have some, and where these end.
    rows: Vec<(usize, i32)>,
}

impl RareColumn {
    /// Sets the row that comes after `rows` others.
    fn set(&mut self, rows: usize, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.rows.push((rows, self.bytes.len() as i32));
    }

    fn take(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.rows.is_empty() {
            return Ok(Arc::new(BinaryArray::new_null(rows)));
        }
        let mut offsets = Vec::with_capacity(rows + 1);
        let mut valid = BooleanBufferBuilder::new(rows);
        valid.append_n(rows, false);
        for (row, end) in self.rows.drain(..) {
            offsets.resize(row + 1, offsets.last().copied().unwrap_or_default());
            offsets.push(end);
            valid.set_bit(row, true);
        }
        offsets.resize(rows + 1, self.bytes.len() as i32);
        let bytes = Buffer::from_vec(take(&mut self.bytes));
        let nulls = Some(NullBuffer::new(valid.finish()));
        Ok(Arc::new(BinaryArray::try_new(OffsetBuffer::new(offsets.into()), bytes, nulls)?))
    }
}

/// The columns that only `state` rows have: filled up to the rows of a batch when there is such a row, because most rows
/// are none.
#[derive(Default)]
struct StateColumns {
    sk_err: Optional<i32>,
    write_seq: Optional<u32>,
    snd_una: Optional<u32>,
    copied_seq: Optional<u32>,
    rcv_nxt: Optional<u32>,
    old_state: Optional<u8>,
    new_state: Optional<u8>,
}

impl StateColumns {
    /// Sets the row that comes after `rows` others.
    fn set(&mut self, rows: usize, state: &State) {
        self.fill(rows);
        self.sk_err.push(Some(state.sk_err as i32));
        self.write_seq.push(Some(state.write_seq));
        self.snd_una.push(Some(state.snd_una));
        self.copied_seq.push(Some(state.copied_seq));
        self.rcv_nxt.push(Some(state.rcv_nxt));
        self.old_state.push(Some(state.old_state));
        self.new_state.push(Some(state.new_state));
    }

    fn fill(&mut self, rows: usize) {
        self.sk_err.fill(rows);
        self.write_seq.fill(rows);
        self.snd_una.fill(rows);
        self.copied_seq.fill(rows);
        self.rcv_nxt.fill(rows);
        self.old_state.fill(rows);
        self.new_state.fill(rows);
    }

    fn take(&mut self, rows: usize) -> [ArrayRef; 7] {
        self.fill(rows);
        [
            self.sk_err.take::<Int32Type>(),
            self.write_seq.take::<UInt32Type>(),
            self.snd_una.take::<UInt32Type>(),
            self.copied_seq.take::<UInt32Type>(),
            self.rcv_nxt.take::<UInt32Type>(),
            self.old_state.take::<UInt8Type>(),
            self.new_state.take::<UInt8Type>(),
        ]
    }
}

/// A nullable column.
struct Optional<T> {
    values: Vec<T>,
    /// One entry a value; none as long as no value is null.
    valid: Vec<bool>,
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Optional { values: Vec::new(), valid: Vec::new() }
    }
}

impl<T: ArrowNativeType> Optional<T> {
    fn push(&mut self, value: Option<T>) {
        let Some(value) = value else { return self.fill(self.values.len() + 1) };
        self.values.push(value);
        if !self.valid.is_empty() {
            self.valid.push(true);
        }
    }

    /// Adds nulls until there are that many rows.
    fn fill(&mut self, rows: usize) {
        if rows > self.values.len() {
            self.valid.resize(self.values.len(), true);
            self.values.resize(rows, T::default());
            self.valid.resize(rows, false);
        }
    }

    fn take<A: ArrowPrimitiveType<Native = T>>(&mut self) -> ArrayRef {
        let nulls = take_nulls(&mut self.valid);
        Arc::new(PrimitiveArray::<A>::new(ScalarBuffer::from(take(&mut self.values)), nulls))
    }
}

/// Gives a vector away and leaves one with the same room.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room))
}

/// None where all are valid, or none was noted.
fn take_nulls(valid: &mut Vec<bool>) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::from(valid.as_slice()));
    valid.clear();
    (nulls.null_count() > 0).then_some(nulls)
}

impl EventColumns {
    /// Rows so far.
    pub fn len(&self) -> usize {
        self.boot_ns.len()
    }

    /// No rows yet.
    pub fn is_empty(&self) -> bool {
        self.boot_ns.is_empty()
    }

    /// Time for [`EventColumns::take_batch`].
    pub fn is_full(&self) -> bool {
        self.len() >= BATCH_ROWS || self.payload.len() + self.framing.bytes.len() >= BATCH_PAYLOAD_BYTES
    }

    /// Where the payload of the next event goes, before its [`EventColumns::push`].
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.payload
    }

    /// Sets the framing of the next event, before its [`EventColumns::push`].
    pub fn framing(&mut self, bytes: &[u8]) {
        self.framing.set(self.len(), bytes);
    }

    /// Sets the hashes of the next event, before its [`EventColumns::push`].
    pub fn secret_hashes(&mut self, bytes: &[u8]) {
        self.secret_hashes.set(self.len(), bytes);
    }

    /// Adds a row; its payload is what was appended to [`EventColumns::payload`] since the last one.
    pub fn push(&mut self, header: &Header, event: &Event) {
        if let Some(state) = &event.state {
            self.states.set(self.len(), state);
        }
        self.boot_ns.push(header.boot_ns as i64);
        self.duration_ns.push(event.duration_ns as i64);
        self.cpu.push(header.cpu);
        self.seq.push(header.seq as i64);
        self.pid.push((header.pid != 0).then_some(header.pid as i32));
        self.tid.push((header.tid != 0).then_some(header.tid as i32));
        self.process_id.push(event.process_id);
        self.socket_id.push(event.socket_id as i64);
        self.kind.push(event.kind as i32 - 1);
        self.asked_bytes.push(event.asked_bytes as i64);
        self.done_bytes.push(event.done_bytes as i64);
        self.tcp_seq.push(event.tcp_seq);
        self.errno.push(event.errno as i32);
        self.flags.push(event.flags as i32);
        self.queued_us.push(event.queued_us);
        let end = self.payload.len() as i32;
        self.has_payload.push(self.payload_ends.last().copied().unwrap_or(0) < end);
        self.payload_ends.push(end);
    }

    /// The rows so far as a batch of [`tables::EVENTS`]; none are left.
    pub fn take_batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let kinds = Int32Array::from(take(&mut self.kind));
        let kinds = DictionaryArray::<Int32Type>::try_new(kinds, KIND_NAMES.clone())?;
        let states = self.states.take(self.len());
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(take(&mut self.boot_ns))),
            Arc::new(Int64Array::from(take(&mut self.duration_ns))),
            Arc::new(UInt16Array::from(take(&mut self.cpu))),
            Arc::new(Int64Array::from(take(&mut self.seq))),
            self.pid.take::<Int32Type>(),
            self.tid.take::<Int32Type>(),
            self.process_id.take::<arrow::datatypes::Int64Type>(),
            Arc::new(Int64Array::from(take(&mut self.socket_id))),
            Arc::new(kinds),
            Arc::new(Int64Array::from(take(&mut self.asked_bytes))),
            Arc::new(Int64Array::from(take(&mut self.done_bytes))),
            self.tcp_seq.take::<UInt32Type>(),
            Arc::new(Int32Array::from(take(&mut self.errno))),
            Arc::new(Int32Array::from(take(&mut self.flags))),
        ];
        columns.extend(states);
        let rows = self.payload_ends.len();
        columns.push(self.take_payload()?);
        columns.push(self.framing.take(rows)?);
        columns.push(self.queued_us.take::<Int32Type>());
        columns.push(self.secret_hashes.take(rows)?);
        RecordBatch::try_new(EVENTS_SCHEMA.clone(), columns)
    }

    fn take_payload(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut offsets = Vec::with_capacity(self.payload_ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.payload_ends);
        let nulls = take_nulls(&mut self.has_payload);
        let bytes = Buffer::from_vec(take(&mut self.payload));
        Ok(Arc::new(BinaryArray::try_new(OffsetBuffer::new(offsets.into()), bytes, nulls)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_rare_column_is_what_was_set(
            batches in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.2, "[a-z]{0,3}"), 0..40), 1..4),
        ) {
            let mut column = RareColumn::default();
            for rows in batches {
                for (row, text) in rows.iter().enumerate() {
                    if let Some(text) = text {
                        column.set(row, text.as_bytes());
                    }
                }
                let taken = column.take(rows.len()).unwrap();
                let texts = taken.as_binary::<i32>().iter().map(|bytes| Some(String::from_utf8_lossy(bytes?).into_owned()));
                prop_assert_eq!(texts.collect::<Vec<_>>(), rows);
            }
        }
    }
}
