//! Lines: where their words stand, and how far the first one goes.

use std::ops::Range;

use memchr::memchr;

/// Longest line that is read: what memcached itself takes, but for commands with many keys.
const MAX_LINE: usize = 2048;
/// Longest line of keys.
const MAX_KEYS: usize = crate::frames::MAX_HEAD;

/// How far the first line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes, its end included.
    Line(usize),
    /// So many bytes tell more.
    Goes(usize),
    /// Too far.
    TooLong,
}

/// The extent of the first line. `first`: of so many bytes it is looked for first.
pub(super) fn extent(bytes: &[u8], first: usize) -> Extent {
    if let Some(end) = memchr(b'\n', bytes) {
        return Extent::Line(end + 1);
    }
    let most = if takes_keys(bytes) { MAX_KEYS } else { MAX_LINE };
    if bytes.len() >= most { Extent::TooLong } else { Extent::Goes(first.max(bytes.len() * 2).min(most)) }
}

/// The line begins with a command that takes any number of keys.
fn takes_keys(line: &[u8]) -> bool {
    line.starts_with(b"get ")
        || line.starts_with(b"gets ")
        || line.starts_with(b"gat ")
        || line.starts_with(b"gats ")
}

/// A line without its end, and how long that is: 0 where it is not there.
pub(super) fn split_end(line: &[u8]) -> (&[u8], usize) {
    let Some(rest) = line.strip_suffix(b"\n") else { return (line, 0) };
    match rest.strip_suffix(b"\r") {
        Some(text) => (text, 2),
        None => (rest, 1),
    }
}

/// Where the words of a text stand, which spaces part.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(text: &'a [u8]) -> Words<'a> {
        Words { text, at: 0 }
    }
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let begin = self.at + self.text[self.at..].iter().position(|&byte| byte != b' ')?;
        let end = memchr(b' ', &self.text[begin..]).map_or(self.text.len(), |length| begin + length);
        self.at = end;
        Some(begin..end)
    }
}

/// The number that these digits are, at most so many, and not more than 19.
pub(super) fn number(digits: &[u8], most: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A number, or the blanks that were kept of one.
pub(super) fn may_be_number(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let all = |belongs: fn(&u8) -> bool| digits.iter().all(belongs);
    (1..=20).contains(&digits.len()) && (all(u8::is_ascii_digit) || all(|&byte| byte == b'*'))
}

/// What a key may consist of: no space, no control character. Letters beyond ASCII are taken.
pub(super) fn is_key(word: &[u8]) -> bool {
    (1..=250).contains(&word.len()) && word.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents() {
        assert_eq!(extent(b"version\r\nget", 64), Extent::Line(9));
        assert_eq!(extent(b"set k", 64), Extent::Goes(64));
        assert_eq!(extent(&[b'x'; 2048], 64), Extent::TooLong);
        let keys = [b"get ".as_slice(), &[b'k'; 3000]].concat();
        assert_eq!(extent(&keys, 64), Extent::Goes(6008));
    }

    #[test]
    fn words_and_numbers() {
        let words: Vec<_> = Words::of(b"  get  a b ").collect();
        assert_eq!(words, [2..5, 7..8, 9..10]);
        assert_eq!((number(b"0012", 10), number(b"", 10), number(b"1x", 10)), (Some(12), None, None));
        assert_eq!(number(&[b'9'; 21], 10), None);
        assert!(
            may_be_number(b"-1") && may_be_number(b"**") && !may_be_number(b"1*") && !may_be_number(b"-")
        );
    }
}
