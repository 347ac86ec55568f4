//! Rows that wait, because framing may tell later that more of their payload may be kept ([`What::Earlier`]): as long as the head
//! goes on that they belong to.

use std::collections::VecDeque;

use retrospan_formats::event::{Kind, flags};
use retrospan_protocols::{Part, What, blank};

use crate::import::events::{Row, Rows};
use crate::import::feed::WAIT_NS;
use crate::import::stamp::Stamp;
use crate::import::tcp::connection::End;

/// Payload bytes that wait.
const MAX_HELD_BYTES: usize = 128 * 1024;

/// The rows of one socket that wait.
#[derive(Debug)]
pub struct Held {
    socket_id: i64,
    /// In order.
    rows: VecDeque<HeldRow>,
    bytes: usize,
}

#[derive(Debug)]
struct HeldRow {
    end: End,
    packet: Packet,
    original: Vec<u8>,
    kept: Vec<u8>,
}

/// What one packet brought of data.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// When its first byte came, ns.
    pub first_ns: i64,
    /// When it was there in order.
    pub stamp: Stamp,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Bytes that are known.
    pub known: usize,
    /// Bytes in all.
    pub length: usize,
    /// What redaction told of them: bits of [`retrospan_formats::marks::MARKS`].
    pub marks: u32,
}

impl Held {
    /// None yet.
    pub fn new(socket_id: i64) -> Held {
        Held { socket_id, rows: VecDeque::new(), bytes: 0 }
    }

    /// Whether some wait.
    pub fn any(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Takes in packets that were redacted together: their bytes, and what is kept of them. Those whose head goes on wait.
    pub fn take(
        &mut self,
        end: End,
        parts: &[Part],
        bytes: &[u8],
        kept: &[u8],
        packets: &[Packet],
        rows: &mut Rows,
    ) {
        let Some(first) = packets.first() else { return };
        self.reveal(end, parts, first.seq);
        let goes_on = head_goes_on(parts, self.rows.iter().any(|row| row.end == end));
        if !goes_on {
            self.release(rows, |row| row.end == end);
        }
        let mut at = 0;
        for packet in packets {
            let original = &bytes[at..at + packet.known];
            let kept = kept.get(at..).unwrap_or_default();
            let kept = &kept[..kept.len().min(packet.known)];
            at += packet.known;
            if goes_on {
                self.bytes += original.len();
                let (original, kept) = (original.to_vec(), kept.to_vec());
                self.rows.push_back(HeldRow { end, packet: *packet, original, kept });
            } else {
                rows.push(packet.row(self.socket_id, end, original, kept));
            }
        }
        if self.bytes > MAX_HELD_BYTES {
            self.finish(rows);
        }
    }

    /// Lets go what has waited for too long.
    pub fn tick(&mut self, now_ns: i64, rows: &mut Rows) {
        if self.any() {
            self.release(rows, |row| now_ns >= row.packet.stamp.ns.saturating_add(WAIT_NS));
        }
    }

    /// Lets go all.
    pub fn finish(&mut self, rows: &mut Rows) {
        self.release(rows, |_| true);
    }

    fn release(&mut self, rows: &mut Rows, is_due: impl Fn(&HeldRow) -> bool) {
        let socket_id = self.socket_id;
        self.rows.retain(|row| {
            let due = is_due(row);
            if due {
                rows.push(row.packet.row(socket_id, row.end, &row.original, &row.kept));
            }
            !due
        });
        self.bytes = self.rows.iter().map(|row| row.original.len()).sum();
    }

    /// What parts say of the bytes before this sequence number, where theirs begin.
    fn reveal(&mut self, end: End, parts: &[Part], seq: u32) {
        let is_earlier = |part: &&Part| matches!(part.what, What::Earlier(_));
        if !parts.iter().any(|part| is_earlier(&part)) {
            return;
        }
        let of_call = |part: &&Part| part.length > 0 && !is_earlier(part);
        let Some(begin) = parts.iter().find(of_call).map(|part| part.offset) else { return };
        for row in self.rows.iter_mut().filter(|row| row.end == end) {
            let Some(offset) = begin.checked_sub(seq.wrapping_sub(row.packet.seq).into()) else { continue };
            blank::reveal(parts, &row.original, offset, &mut row.kept);
        }
    }
}

/// Whether the last head goes on behind these parts. `went_on`: it did before them.
fn head_goes_on(parts: &[Part], went_on: bool) -> bool {
    let of_head = |what: &What| matches!(what, What::Head | What::Secret | What::Instead(_));
    let last = parts.iter().rposition(|part| !of_head(&part.what));
    match last {
        None => went_on && !parts.is_empty(),
        Some(at) => parts[at].what == What::MayBegin,
    }
}

impl Packet {
    fn row(&self, socket_id: i64, end: End, original: &[u8], kept: &[u8]) -> Row {
        let mut bits = self.marks;
        if kept.len() < self.length {
            bits |= flags::PAYLOAD_CUT;
        }
        if original.get(..kept.len()) != Some(kept) {
            bits |= flags::REDACTED;
        }
        Row {
            stamp: self.stamp,
            socket_id,
            kind: if end == End::Client { Kind::Send } else { Kind::Receive },
            duration_ns: self.stamp.ns.saturating_sub(self.first_ns).max(0),
            done_bytes: self.length as u64,
            tcp_seq: Some(self.seq),
            flags: bits,
            state: None,
            payload: (!kept.is_empty()).then(|| kept.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_goes_on_behind_a_begin_that_nothing_has_confirmed() {
        let part = |what: What| Part { offset: 0, length: u64::from(!what.is_marker()), what };
        assert!(head_goes_on(&[part(What::MayBegin), part(What::Secret)], false));
        assert!(head_goes_on(&[part(What::Head)], true));
        assert!(!head_goes_on(&[part(What::Head)], false));
        assert!(!head_goes_on(&[part(What::MayBegin), part(What::Head), part(What::Body)], false));
        assert!(!head_goes_on(&[part(What::Begin), part(What::Head)], true));
        assert!(head_goes_on(&[part(What::Body), part(What::MayBegin), part(What::Head)], false));
        assert!(!head_goes_on(&[], true));
    }
}
