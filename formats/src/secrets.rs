//! Column `events.secret_hashes`: keyed hashes of values that `payload` shows blank.
//!
//! Entries of [`ENTRY_BYTES`] in the order of their values, little endian: where in the call's data the value begins (u16),
//! and its hash (u32). They stand side by side so that heads that differ in one value differ in one place.

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 6;
/// Most entries of one call: of more values the first ones have one.
pub const MAX_ENTRIES: usize = 32;

/// The hash of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretHash {
    /// Bytes of the call's data before the value.
    pub offset: u16,
    /// Equal for equal values of one recording; says nothing else.
    pub hash: u32,
}

/// Adds an entry.
pub fn push(column: &mut impl Extend<u8>, secret: SecretHash) {
    let ([a, b], [c, d, e, f]) = (secret.offset.to_le_bytes(), secret.hash.to_le_bytes());
    column.extend([a, b, c, d, e, f]);
}

/// The entries of a row. What is left of one that is cut is none.
pub fn entries(row: &[u8]) -> impl Iterator<Item = SecretHash> {
    row.as_chunks::<ENTRY_BYTES>().0.iter().map(|&[a, b, hash @ ..]| SecretHash {
        offset: u16::from_le_bytes([a, b]),
        hash: u32::from_le_bytes(hash),
    })
}

#[cfg(all(test, feature = "capture"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [(0, 0), (300, 0x0102_0304), (u16::MAX, u32::MAX)];
        let all = all.map(|(offset, hash)| SecretHash { offset, hash });
        let mut row = Vec::new();
        all.into_iter().for_each(|secret| push(&mut row, secret));
        assert_eq!(row[ENTRY_BYTES..2 * ENTRY_BYTES], [44, 1, 4, 3, 2, 1]);
        row.extend([1, 2, 3]);
        assert_eq!(entries(&row).collect::<Vec<_>>(), all);
    }
}
