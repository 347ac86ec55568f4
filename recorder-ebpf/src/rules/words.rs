//! Text as integers.

/// A text of at most 8 bytes as a little-endian word.
pub const fn word(text: &[u8]) -> u64 {
    let mut word = 0;
    let mut at = 0;
    while at < text.len() {
        word |= (text[at] as u64) << (8 * at);
        at += 1;
    }
    word
}

/// The lowest `bytes` bytes of a word.
#[inline(always)]
pub const fn low(bytes: u64) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}
