//! Finds the parts of a line eight bytes at a time: heads have lines so short that a call of a general search costs more
//! than the search.

/// A header that is whole among some bytes, as offsets from its first.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderLine {
    /// Length of its name.
    pub(super) name: usize,
    /// Where its value begins, after the colon and spaces.
    pub(super) value: usize,
    /// Where its value ends.
    pub(super) value_end: usize,
    /// Where the next line begins.
    pub(super) end: usize,
}

/// The header that `bytes` begin with; None where its end is not among them, or where it holds what must be looked at
/// byte by byte. Whether its name is a token is for the caller to see.
#[inline]
pub(super) fn header_line(bytes: &[u8]) -> Option<HeaderLine> {
    let name = find(bytes, [b':', b':'])?;
    let after = name + 1;
    let value = after + bytes[after..].iter().position(|&b| b != b' ' && b != b'\t')?;
    let (value_end, end) = line_end(bytes, value)?;
    Some(HeaderLine { name, value, value_end, end })
}

/// Where the text that begins at `start` ends, and where the line after it begins. None where the line end is not there,
/// or a NUL or a CR that ends no line stands before it.
#[inline]
pub(super) fn line_end(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let end = start + find(&bytes[start..], [b'\n', b'\r'])?;
    match bytes[end..] {
        [b'\n', ..] => Some((end, end + 1)),
        [b'\r', b'\n', ..] => Some((end, end + 2)),
        _ => None,
    }
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The offset of the first byte that is one of `wanted`; None where there is none, or a NUL before it.
#[inline]
fn find(bytes: &[u8], wanted: [u8; 2]) -> Option<usize> {
    // The lowest set bit is that of the first zero byte.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let patterns = wanted.map(|byte| u64::from_ne_bytes([byte; 8]));
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = zeros(word ^ patterns[0]) | zeros(word ^ patterns[1]) | zeros(word);
        if hits != 0 {
            let at = index * 8 + hits.trailing_zeros() as usize / 8;
            return wanted.contains(&bytes[at]).then_some(at);
        }
    }
    let at = rest.iter().position(|&b| wanted.contains(&b) || b == 0)?;
    wanted.contains(&rest[at]).then_some(words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn find_is_the_first_before_a_nul(bytes in prop::collection::vec(0u8..6, 0..40), high in any::<u8>()) {
            let bytes: Vec<u8> = bytes.into_iter().map(|b| if b == 5 { high } else { b }).collect();
            for (a, b) in [(3, 4), (3, 3)] {
                let wanted = |byte| byte == a || byte == b;
                let first = bytes.iter().position(|&b| wanted(b) || b == 0).filter(|&at| wanted(bytes[at]));
                prop_assert_eq!(find(&bytes, [a, b]), first);
            }
        }
    }
}
