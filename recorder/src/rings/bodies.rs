//! Leaves a body out that its call's record holds for nothing.
//!
//! Until they are read nobody knows how far heads reach, so the kernel programs copy as much as the snap length allows, which is
//! the head and the beginning of a body. Copying that once more, cold as it is, was two fifths of what the recorder did.

use bytemuck::{bytes_of, pod_read_unaligned};
use retrospan_formats::event::{Call, Header, Record, SHORT_HEAD_BYTES, flags};
use retrospan_protocols::PROTOCOLS;

const HEADER_BYTES: usize = size_of::<Header>();

/// Looking for a body takes longer than copying fewer bytes.
const LEAST_BYTES: usize = 384;
/// So much of a body stays, as of any data: framing that waits for a body tells by its first bytes that it is none.
const KEPT_BODY_BYTES: usize = SHORT_HEAD_BYTES;

/// A call's record with less of its data.
#[derive(Clone, Copy, Debug)]
pub struct Shortened<'a> {
    header: Header,
    call: Call,
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Shortened<'a> {
    /// The record without the body that its data ends with. None where there is no such body, or leaving it out gains little.
    #[inline]
    pub fn of(header: &Header, record: &'a [u8]) -> Option<Shortened<'a>> {
        if record.len() < LEAST_BYTES || header.record != Record::Call as u8 {
            return None;
        }
        let (call, data) = record.get(HEADER_BYTES..)?.split_at_checked(size_of::<Call>())?;
        let call: Call = pod_read_unaligned(call);
        if call.more_records != 0 || call.flags & flags::TURN == 0 {
            return None;
        }
        let (head, rest) = data.split_at_checked(call.head_bytes.into())?;
        let tail = rest.get(..call.tail_bytes.into())?;
        let body = PROTOCOLS.iter().find_map(|protocol| protocol.body_from(head, call.done_bytes))?;
        let head = head.get(..body + KEPT_BODY_BYTES)?;
        let header = Header {
            record_bytes: (HEADER_BYTES + size_of::<Call>() + head.len() + tail.len()) as u32,
            ..*header
        };
        Some(Shortened { header, call: Call { head_bytes: head.len() as u16, ..call }, head, tail })
    }

    /// Appends the record.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        for piece in [bytes_of(&self.header), bytes_of(&self.call), self.head, self.tail] {
            bytes.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use retrospan_formats::event::{Kind, TAIL_BYTES};

    use crate::rings::merge::Merge;

    fn record(call: Call, data: &[u8]) -> Vec<u8> {
        let record_bytes = (HEADER_BYTES + size_of::<Call>() + data.len()) as u32;
        let (record, kind) = (Record::Call as u8, Kind::Send as u8);
        let header = Header { record, kind, record_bytes, boot_ns: 1, ..Header::zeroed() };
        [bytes_of(&header), bytes_of(&call), data].concat()
    }

    /// What is left of a record: its call and its data.
    fn handed_out(merge: &mut Merge, record: &[u8]) -> (Call, Vec<u8>) {
        merge.begin_drain();
        merge.push(record).expect("a record");
        let mut out = None;
        merge.release(u64::MAX, |row| {
            let (call, data) = row.body.split_at(size_of::<Call>());
            out = Some((pod_read_unaligned(call), data.to_vec()));
        });
        out.expect("the record")
    }

    #[test]
    fn a_head_and_a_few_bytes_are_left_and_the_last_ones() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n";
        let mut data = [&head[..], &[b'x'; 600]].concat();
        let call = Call {
            flags: flags::TURN | flags::PAYLOAD_TAIL,
            done_bytes: (head.len() + 2000) as u64,
            head_bytes: data.len() as u16,
            tail_bytes: TAIL_BYTES as u16,
            ..Call::zeroed()
        };
        data.extend_from_slice(b"the last");
        let (left, short) = handed_out(&mut Merge::without_bodies(), &record(call, &data));
        let (kept, tail) = short.split_at(left.head_bytes.into());
        assert_eq!(kept, &data[..head.len() + SHORT_HEAD_BYTES]);
        assert_eq!((tail, left.tail_bytes), (&b"the last"[..], TAIL_BYTES as u16));
        assert_eq!((left.done_bytes, left.flags), (call.done_bytes, call.flags));

        let whole = |call: Call| {
            let (left, all) = handed_out(&mut Merge::without_bodies(), &record(call, &data));
            assert_eq!((left.head_bytes, all.len()), (call.head_bytes, data.len()));
        };
        whole(Call { flags: 0, ..call });
        whole(Call { more_records: 1, ..call });
        whole(Call { done_bytes: call.done_bytes + 1, ..call });
        let (left, all) = handed_out(&mut Merge::default(), &record(call, &data));
        assert_eq!((left.head_bytes, all.len()), (call.head_bytes, data.len()), "where bodies are stored");
    }

    #[test]
    fn records_that_say_too_much_of_themselves_stay_as_they_are() {
        let data = [b'x'; 500];
        for (head_bytes, tail_bytes) in [(501, 0), (u16::MAX, 8), (496, 8)] {
            let call =
                Call { flags: flags::TURN, head_bytes, tail_bytes, done_bytes: 9_000, ..Call::zeroed() };
            let (left, all) = handed_out(&mut Merge::without_bodies(), &record(call, &data));
            assert_eq!((left.head_bytes, all.len()), (head_bytes, 500));
        }
    }
}
