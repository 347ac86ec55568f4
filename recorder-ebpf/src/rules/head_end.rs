//! Where a head ends, and where the next byte of a stream stands until then.

use super::request_line::Start;
use super::words::{low, word};

const VERSION: u64 = word(b"HTTP/1.");
const VERSION_MASK: u64 = low(7);

/// Bytes that [`scan`] looks at in one go.
pub const WINDOW: u64 = 128;

/// Where the next byte of a stream stands, as far as heads and what frames the body behind them go.
pub mod place {
    /// In no head.
    pub const OUTSIDE: u64 = 0;
    /// Within a line.
    pub const LINE: u64 = 1;
    /// At the start of a line.
    pub const LINE_START: u64 = 2;
    /// Behind a CR at the start of a line.
    pub const LINE_START_CR: u64 = 3;
    /// In what may be a request's first line: its version was not seen yet.
    pub const REQUEST_LINE: u64 = 4;
    /// In a line before the request, of a proxy that says for whom it calls (`PROXY TCP4 ...`).
    pub const PREFACE: u64 = 5;
    /// Right behind a head.
    pub const BEHIND_HEAD: u64 = 6;
    /// In what began like a chunked body (RFC 9112, section 7.1).
    pub const CHUNKS: u64 = 7;

    /// Whether a head goes on here.
    #[inline(always)]
    pub fn is_in_head(place: u64) -> bool {
        place != OUTSIDE && place < BEHIND_HEAD
    }
}

/// The place behind a head, told by the next word of the data (little-endian), of which `available` bytes are there: a
/// chunk-size line begins with hexadecimal digits.
#[inline(always)]
pub fn behind_head(next: u64, available: u64) -> u64 {
    let mut index = 0;
    while index < 8 {
        if index >= available {
            break;
        }
        match (next >> (8 * index)) as u8 {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {}
            b'\r' | b'\n' | b';' | b' ' | b'\t' if index != 0 => return place::CHUNKS,
            _ => return place::OUTSIDE,
        }
        index += 1;
    }
    if index == 0 { place::BEHIND_HEAD } else { place::CHUNKS }
}

/// The place behind no byte yet of data that begins so; [`place::OUTSIDE`] where it is no message.
#[inline(always)]
pub fn place_at_start(start: Start) -> u64 {
    match start {
        Start::HeadBehindLine => place::PREFACE,
        Start::No => place::OUTSIDE,
        Start::Head => place::LINE,
        Start::Request | Start::Perhaps => place::REQUEST_LINE,
    }
}

/// Where a [`place`] is kept: in memory that the verifier does not follow, so that the steps of a loop look alike to it.
pub trait Keeps {
    /// The place.
    fn place(&self) -> u64;
    /// Changes it.
    fn set_place(&self, place: u64);
}

const LINE_ENDS: u64 = u64::from_ne_bytes([b'\n'; 8]);
const RETURNS: u64 = u64::from_ne_bytes([b'\r'; 8]);
const LOWER_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);

/// 0x80 in every byte that is zero, 0 in every other.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    !(((word & LOWER_BITS) + LOWER_BITS) | word | LOWER_BITS)
}

/// Positions of a word in which the end of a head may begin and be seen whole.
const STEP: u64 = 6;
/// The words of a window, the first one two bytes before it.
const STEPS: u64 = (WINDOW + 2).div_ceil(STEP);

/// Looks for the end of a head (an empty line) in the first `bytes` bytes, at most [`WINDOW`]; returns how many bytes there
/// are up to it, 0 where it is not there, and moves the place on. `word_at` gives the 8 bytes from an offset of at most
/// [`WINDOW`] on; what is behind `bytes` may be anything.
#[inline(always)]
pub fn scan(word_at: impl Fn(u64) -> u64, bytes: u64, keeper: &impl Keeps) -> u64 {
    let bytes = if bytes < WINDOW { bytes } else { WINDOW };
    // The last two bytes before: a head's end may begin there.
    let before = match keeper.place() {
        place::LINE_START => word(b"\0\n"),
        place::LINE_START_CR => word(b"\n\r"),
        _ => 0,
    };
    let first = word_at(0) << 16 | before;
    let mut step = 0;
    // Two bytes more than the place in the window, so that it never is negative.
    let mut from = 0;
    while step < STEPS {
        if from >= bytes + 2 {
            break;
        }
        let text = if step == 0 { first } else { word_at(from - 2) };
        let line_ends = zeros(text ^ LINE_ENDS);
        if line_ends & low(STEP) != 0 {
            if is_first_line(keeper.place()) {
                let at = from + lowest(line_ends);
                if at < bytes + 2 {
                    keeper.set_place(behind_first_line(&word_at, at - 2, keeper.place()));
                    if keeper.place() == place::OUTSIDE {
                        return 0;
                    }
                }
            }
            let empty = line_ends & line_ends >> 8;
            let empty_crlf = line_ends & zeros(text ^ RETURNS) >> 8 & line_ends >> 16;
            let found = (empty | empty_crlf) & low(STEP);
            if found != 0 && !is_first_line(keeper.place()) {
                let at = lowest(found);
                let end = from + at + if empty >> (8 * at) & 0x80 != 0 { 2 } else { 3 };
                if end <= bytes + 2 {
                    keeper.set_place(place::OUTSIDE);
                    return end - 2;
                }
            }
        }
        from += STEP;
        step += 1;
    }
    if !is_first_line(keeper.place()) && bytes != 0 {
        let last = if bytes == 1 { first >> 8 } else { word_at(bytes - 2) };
        keeper.set_place(match [last as u8, (last >> 8) as u8] {
            [_, b'\n'] => place::LINE_START,
            [b'\n', b'\r'] => place::LINE_START_CR,
            _ => place::LINE,
        });
    }
    0
}

#[inline(always)]
fn is_first_line(place: u64) -> bool {
    place == place::REQUEST_LINE || place == place::PREFACE
}

/// The index of the lowest byte that is marked in a word of which one of the first 6 is.
#[inline(always)]
fn lowest(marks: u64) -> u64 {
    let mut index = 0;
    while index < STEP - 1 {
        if marks >> (8 * index) & 0x80 != 0 {
            break;
        }
        index += 1;
    }
    index
}

/// The place behind the line end at this offset, which ends the first line: text that is no request line shows here.
#[inline(always)]
fn behind_first_line(word_at: &impl Fn(u64) -> u64, at: u64, place: u64) -> u64 {
    if place == place::PREFACE {
        return place::REQUEST_LINE;
    }
    // Where part of the version came before, nothing tells.
    if at < 9 || word_at(at - 9) & VERSION_MASK == VERSION || word_at(at - 8) & VERSION_MASK == VERSION {
        place::LINE
    } else {
        place::OUTSIDE
    }
}

#[cfg(test)]
mod tests {
    use super::super::signature::tests::start_of;
    use super::*;

    impl Keeps for std::cell::Cell<u64> {
        fn place(&self) -> u64 {
            self.get()
        }
        fn set_place(&self, place: u64) {
            self.set(place);
        }
    }

    /// Scans the data in pieces, as calls do; where the head ends, and the place behind the last byte.
    fn scan_pieces(text: &[u8], sizes: impl Iterator<Item = usize>) -> (Option<usize>, u64) {
        let mut at_start = [0xff; 8];
        let used = text.len().min(8);
        at_start[..used].copy_from_slice(&text[..used]);
        let first = u64::from_le_bytes(at_start);
        let keeper = std::cell::Cell::new(place_at_start(start_of(first, text.len() as u64)));
        let mut done = 0;
        for size in sizes {
            let piece = &text[done..text.len().min(done + size.min(WINDOW as usize))];
            if piece.is_empty() || keeper.get() == place::OUTSIDE {
                break;
            }
            // What lies behind is line ends, which must not be taken for any of the data.
            let padded = [piece, &[b'\n'; WINDOW as usize + 8]].concat();
            let word_at = |at: u64| {
                assert!(at <= WINDOW, "{at}");
                u64::from_le_bytes(padded[at as usize..at as usize + 8].try_into().unwrap())
            };
            let end = scan(word_at, piece.len() as u64, &keeper);
            if end > 0 {
                return (Some(done + end as usize), keeper.get());
            }
            done += piece.len();
        }
        (None, keeper.get())
    }

    #[test]
    fn a_chunk_size_is_told_from_other_text() {
        for size in ["5\r\nhello", "1b;ext\r\n", "A \r\n", "00000000005\r\n", "5\nhello", "7", "fff"] {
            assert_eq!(
                behind_head(word(&size.as_bytes()[..size.len().min(8)]), size.len() as u64),
                place::CHUNKS
            );
        }
        for text in ["<html>", "{\"a\":1}", "HTTP/1.1", ";", "\r\n", "faces", "12.5"] {
            let found = behind_head(word(&text.as_bytes()[..text.len().min(8)]), text.len() as u64);
            assert_eq!(found, place::OUTSIDE, "{text}");
        }
        assert_eq!(behind_head(word(b"5\r\n"), 0), place::BEHIND_HEAD);
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_cut() {
        let long = "v".repeat(300);
        for head in [
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\n\n".to_owned(),
            "GET / HTTP/1.1\r\nA: b\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\nA: b\r\n\n".to_owned(),
            "HTTP/1.1 200 OK\nA: b\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nA: {long}\r\nB: c\r\n\r\n"),
            format!("a-b /{long} HTTP/1.1\r\nA: {long}\r\n\r\n"),
            format!("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /{long} HTTP/1.1\r\nA: b\r\n\r\n"),
        ] {
            for body in ["", "\r\n\r\n", "body\n\nbody"] {
                let text = [head.as_bytes(), body.as_bytes()].concat();
                for size in 1..=WINDOW as usize {
                    let found = scan_pieces(&text, std::iter::repeat(size));
                    assert_eq!(found, (Some(head.len()), place::OUTSIDE), "{head:?} in {size}s");
                }
                for first in 1..WINDOW as usize {
                    let sizes = std::iter::once(first).chain(std::iter::repeat(WINDOW as usize));
                    assert_eq!(scan_pieces(&text, sizes).0, Some(head.len()), "{head:?} cut at {first}");
                }
            }
            for cut in 1..head.len() {
                let (end, place) = scan_pieces(&head.as_bytes()[..cut], std::iter::repeat(WINDOW as usize));
                assert!(end.is_none() && place != place::OUTSIDE, "{head:?} cut to {cut}");
            }
        }
    }

    #[test]
    fn text_without_a_version_is_no_head() {
        for text in
            ["POST /that on the wall\nand more\n\n", "get key with a long name\r\n\r\n", "word /\n\u{1}\n\n"]
        {
            let (end, place) = scan_pieces(text.as_bytes(), std::iter::repeat(WINDOW as usize));
            let short = text.find('\n').unwrap() < 9;
            assert_eq!((end.is_some(), place), (short, place::OUTSIDE), "{text:?}");
        }
    }
}
