//! Merges the records of all rings by time of emission.
//!
//! In: records as the drain finds them, nearly sorted within a ring (programs in soft interrupts nest
//! within others). Out: rows in ascending order, a part at a time. A record waits here until the
//! watermark has passed it. One that comes later still goes to the next part where that keeps the rule
//! that a part overlaps only its neighbours; else it is handed out as dropped, to be counted.

use std::collections::VecDeque;

use bytemuck::pod_read_unaligned;
use retrospan_formats::event::{Header, Record};

/// Bytes of the fixed beginning of a record.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// A chunk is not filled beyond this, so that an offset into it fits 32 bits.
const CHUNK_BYTES: usize = 16 << 20;
/// Empty chunks kept for reuse.
const SPARE_CHUNKS: usize = 32;

/// What becomes of a record that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next row of the current part.
    InOrder,
    /// A row of the current part, in its right place there, but later rows were handed out before it:
    /// state that follows the data must not be trusted with it.
    Late,
    /// Came too late for every part it may stand in.
    TooLate,
}

/// A record handed out.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub body: &'a [u8],
    /// Where it goes.
    pub arrival: Arrival,
}

/// The merge. See the module.
#[derive(Debug, Default)]
pub struct Merge {
    chunks: VecDeque<Chunk>,
    /// Number of `chunks[0]`, counted since the start.
    first_chunk: u64,
    spare: Vec<Vec<u8>>,
    pending: Vec<Entry>,
    carried: Vec<(Key, Box<[u8]>)>,
    limits: Limits,
    malformed: u64,
}

/// The bytes of one drain.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    live: usize,
}

/// Order of rows: the CPU and its numbers break ties, so that the same records always give the same file.
type Key = (u64, u16, u64);

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    chunk: u64,
    start: u32,
    length: u32,
}

/// Where a row may stand. Times of the last rows of parts; running maxima, because a part may
/// hold nothing but carried rows.
#[derive(Debug, Default)]
struct Limits {
    /// Of the part before the previous one: the current part must not begin earlier.
    older: u64,
    /// Of the previous part: the next one must not begin earlier.
    previous: u64,
    /// Of the current part.
    current: Option<u64>,
}

enum Fate {
    Emit(Arrival),
    Carry,
}

impl Limits {
    fn fate(&self, boot_ns: u64) -> Fate {
        if boot_ns >= self.older && self.current.is_none_or(|last| boot_ns >= last) {
            return Fate::Emit(if boot_ns < self.previous { Arrival::Late } else { Arrival::InOrder });
        }
        if boot_ns >= self.previous { Fate::Carry } else { Fate::Emit(Arrival::TooLate) }
    }

    fn next_part(&mut self) {
        if let Some(last) = self.current.take() {
            self.older = self.previous;
            self.previous = self.previous.max(last);
        }
    }
}

impl Merge {
    /// Makes room for the records of one drain.
    pub fn begin_drain(&mut self) {
        match self.chunks.back_mut() {
            Some(last) if last.live == 0 => last.bytes.clear(),
            _ => self.add_chunk(),
        }
    }

    fn add_chunk(&mut self) {
        let bytes = self.spare.pop().unwrap_or_default();
        self.chunks.push_back(Chunk { bytes, live: 0 });
    }

    /// Takes a record, header first; what follows `Header::record_bytes` is ignored. Returns its header.
    pub fn push(&mut self, record: &[u8]) -> Option<Header> {
        let Some(header) = read_header(record) else {
            self.malformed += 1;
            return None;
        };
        let record = &record[..header.record_bytes as usize];
        if self.chunks.back().is_none_or(|c| c.bytes.len() + record.len() > CHUNK_BYTES) {
            self.add_chunk();
        }
        let chunk = self.first_chunk + self.chunks.len() as u64 - 1;
        let last = self.chunks.back_mut()?;
        let start = last.bytes.len() as u32;
        last.bytes.extend_from_slice(record);
        last.live += 1;
        let key = (header.boot_ns, header.cpu, header.seq);
        self.pending.push(Entry { key, chunk, start, length: record.len() as u32 });
        Some(header)
    }

    /// Hands out every record emitted up to `watermark_ns`, in order.
    pub fn release(&mut self, watermark_ns: u64, mut sink: impl FnMut(Row<'_>)) {
        self.pending.sort_by_key(|entry| entry.key);
        let ready = self.pending.partition_point(|entry| entry.key.0 <= watermark_ns);
        for &Entry { key, chunk, start, length } in &self.pending[..ready] {
            let Some(home) = self.chunks.get_mut((chunk - self.first_chunk) as usize) else { continue };
            let record = &home.bytes[start as usize..(start + length) as usize];
            hand_out(&mut self.limits, &mut self.carried, key, record, &mut sink);
            home.live -= 1;
        }
        self.pending.drain(..ready);
        self.recycle();
    }

    /// Begins the next part with the rows that were carried to it.
    pub fn next_part(&mut self, mut sink: impl FnMut(Row<'_>)) {
        self.limits.next_part();
        let mut carried = std::mem::take(&mut self.carried);
        carried.sort_by_key(|(key, _)| *key);
        for (key, record) in carried {
            hand_out(&mut self.limits, &mut self.carried, key, &record, &mut sink);
        }
    }

    /// Records that wait for the watermark or the next part.
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.carried.len()
    }

    /// Records that wait for the next part.
    pub fn carried(&self) -> usize {
        self.carried.len()
    }

    /// Records that were no records: shorter than they say, or of no known type.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn recycle(&mut self) {
        while self.chunks.front().is_some_and(|c| c.live == 0) {
            let Some(mut chunk) = self.chunks.pop_front() else { return };
            self.first_chunk += 1;
            if self.spare.len() < SPARE_CHUNKS {
                chunk.bytes.clear();
                self.spare.push(chunk.bytes);
            }
        }
    }
}

fn hand_out(
    limits: &mut Limits,
    carried: &mut Vec<(Key, Box<[u8]>)>,
    key: Key,
    record: &[u8],
    sink: &mut impl FnMut(Row<'_>),
) {
    let Some(header) = read_header(record) else { return };
    let body = &record[HEADER_BYTES..];
    // Sockets and processes are state, not rows of a sorted file: late is as good as never else.
    if header.record == Record::Socket as u8 || header.record == Record::Process as u8 {
        return sink(Row { header, body, arrival: Arrival::InOrder });
    }
    match limits.fate(key.0) {
        Fate::Carry => carried.push((key, record.into())),
        Fate::Emit(arrival) => {
            if arrival != Arrival::TooLate {
                limits.current = Some(key.0);
            }
            sink(Row { header, body, arrival });
        }
    }
}

fn read_header(record: &[u8]) -> Option<Header> {
    let header: Header = pod_read_unaligned(record.get(..HEADER_BYTES)?);
    let valid = header.record_bytes as usize;
    let known = (Record::Call as u8..=Record::LAST).contains(&header.record);
    (known && valid >= HEADER_BYTES && valid <= record.len()).then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::bytes_of;
    use proptest::prelude::*;

    fn record(boot_ns: u64, cpu: u16, seq: u64) -> Vec<u8> {
        let header = Header {
            boot_ns,
            seq,
            pid: 1,
            tid: 1,
            cpu,
            record: Record::Call as u8,
            kind: 6,
            record_bytes: HEADER_BYTES as u32 + 8,
        };
        let mut bytes = bytes_of(&header).to_vec();
        bytes.extend_from_slice(&seq.to_le_bytes());
        bytes.extend_from_slice(b"unused");
        bytes
    }

    fn collect(out: &mut Vec<(u64, Arrival)>) -> impl FnMut(Row<'_>) + '_ {
        |row| out.push((row.header.boot_ns, row.arrival))
    }

    #[test]
    fn rings_come_out_as_one_sorted_run() {
        let mut merge = Merge::default();
        merge.begin_drain();
        for (time, cpu) in [(10, 0), (30, 0), (29, 0), (5, 1), (31, 1)] {
            merge.push(&record(time, cpu, time));
        }
        let mut out = Vec::new();
        merge.release(30, collect(&mut out));
        assert_eq!(out.iter().map(|r| r.0).collect::<Vec<_>>(), [5, 10, 29, 30]);
        assert_eq!(merge.waiting(), 1);
    }

    #[test]
    fn a_row_later_than_the_hold_back_goes_to_the_next_part() {
        let mut merge = Merge::default();
        let mut out = Vec::new();
        merge.begin_drain();
        merge.push(&record(10, 0, 0));
        merge.push(&record(20, 0, 1));
        merge.release(20, collect(&mut out));
        merge.push(&record(15, 1, 0));
        merge.release(25, collect(&mut out));
        assert_eq!(out.len(), 2);
        merge.next_part(collect(&mut out));
        assert_eq!(out[2], (15, Arrival::Late));
        merge.push(&record(30, 1, 1));
        merge.release(30, collect(&mut out));
        assert_eq!(out[3], (30, Arrival::InOrder));
    }

    #[test]
    fn a_row_later_than_a_part_is_dropped() {
        let mut merge = Merge::default();
        let mut out = Vec::new();
        for time in [10, 20] {
            merge.begin_drain();
            merge.push(&record(time, 0, time));
            merge.release(time, collect(&mut out));
            merge.next_part(collect(&mut out));
        }
        merge.begin_drain();
        merge.push(&record(9, 0, 2));
        merge.release(30, collect(&mut out));
        assert_eq!(out[2], (9, Arrival::TooLate));
    }

    #[test]
    fn what_is_no_record_is_counted() {
        let mut merge = Merge::default();
        merge.begin_drain();
        let good = record(1, 0, 0);
        merge.push(&good[..40]);
        merge.push(&good[..39]);
        merge.push(&good[..10]);
        merge.push(&[0xff; 64]);
        assert_eq!((merge.waiting(), merge.malformed()), (1, 3));
    }

    /// One step of a recording.
    #[derive(Clone, Debug)]
    enum Step {
        Push(u64, u16),
        Release(u64),
        NextPart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0u64..200, 0u16..3).prop_map(|(t, cpu)| Step::Push(t, cpu)),
            2 => (0u64..200).prop_map(Step::Release),
            1 => Just(Step::NextPart),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn any_interleaving_is_sorted_carried_or_counted(steps in steps()) {
            let mut merge = Merge::default();
            let mut parts: Vec<Vec<u64>> = vec![Vec::new()];
            let mut seen = Vec::new();
            let mut pushed = 0u64;
            let mut sink = |parts: &mut Vec<Vec<u64>>, row: Row<'_>| {
                seen.push(u64::from_le_bytes(row.body.try_into().unwrap()));
                if row.arrival != Arrival::TooLate {
                    parts.last_mut().unwrap().push(row.header.boot_ns);
                }
            };
            merge.begin_drain();
            // The end of every recording: everything is released, and what was carried has its part.
            let end = [Step::Release(u64::MAX), Step::NextPart];
            for step in steps.into_iter().chain(end) {
                match step {
                    Step::Push(time, cpu) => {
                        merge.push(&record(time, cpu, pushed));
                        pushed += 1;
                    }
                    Step::Release(watermark) => {
                        merge.release(watermark, |row| sink(&mut parts, row));
                        merge.begin_drain();
                    }
                    Step::NextPart => {
                        if !parts.last().unwrap().is_empty() {
                            parts.push(Vec::new());
                        }
                        merge.next_part(|row| sink(&mut parts, row));
                    }
                }
            }
            prop_assert_eq!(merge.waiting(), 0);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..pushed).collect::<Vec<_>>());
            for part in &parts {
                prop_assert!(part.is_sorted());
            }
            parts.retain(|p| !p.is_empty());
            for (index, part) in parts.iter().enumerate() {
                for earlier in &parts[..index.saturating_sub(1)] {
                    prop_assert!(earlier.last() <= part.first(), "{parts:?}");
                }
            }
        }
    }
}
