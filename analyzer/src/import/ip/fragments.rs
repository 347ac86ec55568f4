//! Fragments of IP packets in, whole packets out. Of bytes that come twice the first ones count.

use std::collections::VecDeque;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::import::skipped::Skipped;
use crate::import::slice::Slice;

/// Addresses, identification and protocol: what fragments of one packet have in common.
pub type Key = ([IpAddr; 2], u32, u8);

/// A fragment.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Of its first byte in the packet.
    pub offset: usize,
    /// Others follow.
    pub more: bool,
    /// Its bytes.
    pub bytes: Slice<'a>,
}

/// A packet made of fragments.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its first bytes, up to the first one that was not kept.
    pub known: Vec<u8>,
    /// How many it had.
    pub length: usize,
}

/// No IP packet is longer.
const MAX_BYTES: usize = 65_535;
/// Packets that wait for fragments at once.
const MAX_PACKETS: usize = 1024;
/// A fragment waits so long for the others (RFC 8200, section 4.5), ns.
const WAIT_NS: i64 = 60_000_000_000;

/// Fragments that wait for others.
#[derive(Debug, Default)]
pub struct Fragments {
    packets: FxHashMap<Key, Parts>,
    /// In the order of their first fragments.
    ages: VecDeque<(i64, Key)>,
    lost: u64,
}

#[derive(Debug, Default)]
struct Parts {
    since_ns: i64,
    /// In order, without overlaps: offset, length, and known bytes.
    parts: Vec<(usize, usize, Vec<u8>)>,
    /// Known once the last one is there.
    length: Option<usize>,
}

impl Fragments {
    /// Adds one. Returns the packet where it is whole now.
    pub fn add(&mut self, now_ns: i64, key: Key, fragment: &Fragment<'_>) -> Result<Option<Whole>, Skipped> {
        let end = fragment.offset + fragment.bytes.length;
        if end > MAX_BYTES || (fragment.more && fragment.bytes.length == 0) {
            return Err(Skipped::BadHeader);
        }
        self.forget(now_ns);
        let parts = self.packets.entry(key).or_insert_with(|| {
            self.ages.push_back((now_ns, key));
            Parts { since_ns: now_ns, ..Parts::default() }
        });
        if !fragment.more {
            parts.length.get_or_insert(end);
        }
        parts.add(fragment);
        if !parts.are_whole() {
            return Ok(None);
        }
        Ok(self.packets.remove(&key).map(Parts::join))
    }

    /// Fragments that waited in vain, and those that still wait.
    pub fn lost(&self) -> u64 {
        self.lost + self.packets.values().map(|packet| packet.parts.len() as u64).sum::<u64>()
    }

    fn forget(&mut self, now_ns: i64) {
        while let Some((since_ns, key)) = self.ages.front().copied() {
            let waited = now_ns.saturating_sub(since_ns) > WAIT_NS || self.ages.len() > MAX_PACKETS;
            let waits = self.packets.get(&key).filter(|packet| packet.since_ns == since_ns);
            if let Some(packet) = waits {
                if !waited {
                    return;
                }
                self.lost += packet.parts.len() as u64;
                self.packets.remove(&key);
            }
            self.ages.pop_front();
        }
    }
}

impl Parts {
    fn add(&mut self, fragment: &Fragment<'_>) {
        let (mut from, to) = (fragment.offset, fragment.offset + fragment.bytes.length);
        let mut index = 0;
        // What is between the parts that are there.
        while from < to {
            let next = self.parts.get(index).map(|(offset, length, _)| (*offset, offset + length));
            let (start, end) = next.unwrap_or((usize::MAX, usize::MAX));
            if end <= from {
                index += 1;
                continue;
            }
            if start > from {
                let until = start.min(to);
                let known = fragment.bytes.known;
                let within = |at: usize| (at - fragment.offset).min(known.len());
                self.parts.insert(index, (from, until - from, known[within(from)..within(until)].to_vec()));
                index += 1;
            }
            from = end;
        }
    }

    fn are_whole(&self) -> bool {
        let Some(length) = self.length else { return false };
        let mut end = 0;
        for (offset, part, _) in &self.parts {
            if *offset != end {
                return false;
            }
            end = offset + part;
        }
        end >= length
    }

    fn join(self) -> Whole {
        let mut known = Vec::new();
        for (offset, _, part) in &self.parts {
            if *offset != known.len() {
                break;
            }
            known.extend_from_slice(part);
        }
        let length = self.parts.last().map_or(0, |(offset, length, _)| offset + length);
        Whole { known, length: self.length.unwrap_or(length).max(length) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const ANY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const KEY: Key = ([ANY, ANY], 7, 6);

    fn fragment(packet: &[u8], from: usize, to: usize) -> Fragment<'_> {
        let to = to.min(packet.len());
        Fragment { offset: from, more: to < packet.len(), bytes: Slice::whole(&packet[from..to]) }
    }

    proptest! {
        #[test]
        fn in_any_order_and_with_any_overlap_the_packet_is_the_same(
            length in 1..40_usize,
            order in prop::collection::vec((0..5_usize, 1..4_usize), 1..30),
        ) {
            let packet: Vec<u8> = (0..length * 8).map(|byte| byte as u8).collect();
            let mut fragments = Fragments::default();
            let all = order.iter().map(|(at, many)| (at * 64, (at + many) * 64));
            let mut whole = None;
            let rest = (0..length.div_ceil(8)).map(|at| (at * 64, (at + 1) * 64));
            for (from, to) in all.chain(rest).filter(|(from, _)| *from < packet.len()) {
                let made = fragments.add(0, KEY, &fragment(&packet, from, to)).expect("a fragment");
                whole = whole.or(made);
            }
            prop_assert_eq!(whole.map(|whole| whole.known), Some(packet));
        }
    }

    #[test]
    fn what_a_snap_length_cut_is_a_length() {
        let mut fragments = Fragments::default();
        let first = Fragment { offset: 0, more: true, bytes: Slice { known: b"abc", length: 8 } };
        let last = Fragment { offset: 8, more: false, bytes: Slice::whole(b"xy") };
        assert!(fragments.add(0, KEY, &first).expect("a fragment").is_none());
        let whole = fragments.add(0, KEY, &last).expect("a fragment");
        assert_eq!(whole, Some(Whole { known: b"abc".to_vec(), length: 10 }));
    }

    #[test]
    fn what_waits_in_vain_is_counted() {
        let mut fragments = Fragments::default();
        let first = Fragment { offset: 0, more: true, bytes: Slice::whole(b"12345678") };
        for ident in 0..2 * MAX_PACKETS as u32 {
            assert_eq!(fragments.add(0, (KEY.0, ident, 6), &first).expect("a fragment"), None);
        }
        assert!(fragments.packets.len() <= MAX_PACKETS + 1);
        assert_eq!(fragments.lost(), 2 * MAX_PACKETS as u64);
        assert!(fragments.add(WAIT_NS + 1, KEY, &first).is_ok());
        assert_eq!(fragments.packets.len(), 1);
    }
}
