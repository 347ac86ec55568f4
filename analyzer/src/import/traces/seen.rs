//! Which spans were there before.

use std::collections::HashSet;

use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_128;

/// Knows spans again by 16 bytes of hash each.
#[derive(Debug, Default)]
pub struct Seen(HashSet<u128, FxBuildHasher>);

impl Seen {
    /// Notes a span; false where it is known.
    pub fn is_new(&mut self, trace_id: u128, span_id: u64) -> bool {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&trace_id.to_le_bytes());
        bytes[16..].copy_from_slice(&span_id.to_le_bytes());
        self.0.insert(xxh3_128(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.is_new(1, 2) && seen.is_new(2, 1) && seen.is_new(1, 3));
        assert!(!seen.is_new(1, 2));
    }
}
