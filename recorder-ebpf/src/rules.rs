//! The decisions of the kernel programs that need no kernel: plain integers in, plain integers out,
//! so that they are tested on the host like any other code.

use retrospan_formats::config::{Keep, MAX_PORT_RANGES, MAX_SIGNATURES, PortRange, Signature};

/// What a filter says about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is recorded.
    Yes,
    /// It is not.
    No,
    /// A fact that could still make it match is not known yet.
    NotYet,
}

/// Whether either port lies in one of the first `used` ranges. A port of 0 is one that is not known
/// yet; `listens` says that there will never be a remote port.
#[inline(always)]
pub fn match_ports(
    range_at: impl Fn(usize) -> PortRange,
    used: usize,
    local: u16,
    remote: u16,
    listens: bool,
) -> Answer {
    if used == 0 {
        return Answer::Yes;
    }
    let mut index = 0;
    while index < MAX_PORT_RANGES {
        if index < used {
            let range = range_at(index);
            if (local != 0 && range.first <= local && local <= range.last)
                || (remote != 0 && range.first <= remote && remote <= range.last)
            {
                return Answer::Yes;
            }
        }
        index += 1;
    }
    if local == 0 || (remote == 0 && !listens) { Answer::NotYet } else { Answer::No }
}

/// What data begins with, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No message of a protocol that we parse.
    No,
    /// A method, as far as it goes: what tells lies beyond these bytes.
    Perhaps,
    /// `METHOD ` and the first byte of a target.
    Request,
    /// A signature of [`Keep::Head`].
    Head,
    /// A signature of [`Keep::HeadBehindLine`].
    HeadBehindLine,
}

/// A text of at most 8 bytes as a little-endian word.
const fn word(text: &[u8]) -> u64 {
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
const fn low(bytes: u64) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

const VERSION: u64 = word(b"HTTP/1.");
const VERSION_MASK: u64 = low(7);

/// The bytes of a token (RFC 9110, section 5.6.2), one bit each: the lower 64, then the upper.
const TOKEN: [u64; 2] = {
    let mut bits = [0; 2];
    let mut byte = b'!';
    while byte < 127 {
        let is_separator = matches!(
            byte,
            b'"' | b'(' | b')' | b',' | b'/' | b':'..=b'@' | b'['..=b']' | b'{' | b'}'
        );
        if !is_separator {
            bits[(byte / 64) as usize] |= 1 << (byte % 64);
        }
        byte += 1;
    }
    bits
};

#[inline(always)]
fn is_token(byte: u64) -> bool {
    let bits = if byte < 64 { TOKEN[0] } else { TOKEN[1] };
    byte < 128 && bits >> (byte & 63) & 1 != 0
}

/// The signature that some data matches, as one number: a function of the kernel programs can return no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match(pub i32);

impl Match {
    /// There is none.
    pub const NONE: Match = Match(0);

    /// One of this [`Keep`], all of whose bytes are there or not.
    #[inline(always)]
    const fn of(keep: u32, whole: bool) -> Match {
        Match((keep as i32 + 1) << 1 | whole as i32)
    }

    #[inline(always)]
    const fn is(self, keep: Keep) -> bool {
        self.0 >> 1 == keep as i32 + 1
    }

    #[inline(always)]
    const fn is_whole(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The first of `used` signatures that data matches whose first word (little-endian) is `first`, as far as the `available`
/// bytes of it that are there go.
#[inline(always)]
pub fn signature(signature_at: impl Fn(usize) -> Signature, used: u64, first: u64, available: u64) -> Match {
    let mut index = 0;
    while index < MAX_SIGNATURES {
        if index as u64 >= used || available == 0 {
            break;
        }
        let known = signature_at(index);
        let differs = (first ^ known.word) & known.mask;
        // Mostly all of its bytes are there, and the first of them tells.
        if differs == 0 || (available < u64::from(known.bytes) && differs & low(available) == 0) {
            return Match::of(known.keep, available >= u64::from(known.bytes));
        }
        index += 1;
    }
    Match::NONE
}

/// What data begins with, by its first word (little-endian, `available` of the data's bytes are there) and the signature of
/// that it matches.
#[inline(always)]
pub fn start(known: Match, first: u64, available: u64) -> Start {
    if known.is(Keep::Head) {
        return if known.is_whole() { Start::Head } else { Start::Perhaps };
    }
    match request(first, available) {
        // The line may have the form of a request.
        Start::No if known.is(Keep::HeadBehindLine) && known.is_whole() => Start::HeadBehindLine,
        told => told,
    }
}

/// Whether data begins with a request line. Any token may be a method, which no list of signatures can say; a path, `*` or
/// `http` that follows it tells a request from text.
#[inline(always)]
fn request(first: u64, available: u64) -> Start {
    let mut index = 0;
    while index < 8 {
        if index >= available {
            return if index == 0 { Start::No } else { Start::Perhaps };
        }
        let byte = first >> (8 * index) & 0xff;
        if byte == b' ' as u64 && index != 0 {
            if index == 7 || index + 1 >= available {
                // The authority that follows CONNECT may begin with anything.
                return if first == word(b"CONNECT ") { Start::Request } else { Start::Perhaps };
            }
            return of_target(first >> (8 * (index + 1)) & 0xff);
        }
        if !is_token(byte) {
            return Start::No;
        }
        index += 1;
    }
    Start::Perhaps
}

#[inline(always)]
fn of_target(byte: u64) -> Start {
    match byte as u8 {
        b'/' | b'*' | b'h' | b'H' => Start::Request,
        _ => Start::No,
    }
}

/// Words looked at beyond the first where that is not enough.
pub const LATER_WORDS: usize = 3;

/// What data begins with whose first word is the beginning of a method: `later` are the next words, of which `available`
/// bytes are there. `ended`: the first word ends with the space.
#[inline(always)]
pub fn start_later(later: [u64; LATER_WORDS], available: u64, ended: bool) -> Start {
    let mut ended = ended;
    let mut index = 0;
    while index < 8 * LATER_WORDS as u64 {
        if index >= available {
            return Start::Perhaps;
        }
        let byte = later[(index / 8) as usize] >> (8 * (index % 8)) & 0xff;
        if ended {
            return of_target(byte);
        }
        if byte == b' ' as u64 {
            ended = true;
        } else if !is_token(byte) {
            return Start::No;
        }
        index += 1;
    }
    Start::No
}

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

/// How much of the data of one event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// First bytes.
    pub head: u64,
    /// Last bytes: 0 or [`retrospan_formats::event::TAIL_BYTES`]. Head and tail never overlap.
    pub tail: u64,
}

const TAIL: u64 = retrospan_formats::event::TAIL_BYTES as u64;

/// Splits `done` bytes into what is kept: the first `budget` or `short` bytes, whichever is more, and
/// the tail of what is longer than that.
#[inline(always)]
pub fn keep(done: u64, budget: u64, short: u64) -> Kept {
    let most = if budget > short { budget } else { short };
    if done <= most {
        return Kept { head: done, tail: 0 };
    }
    if done < TAIL {
        return Kept { head: most, tail: 0 };
    }
    let before_tail = done - TAIL;
    Kept { head: if most < before_tail { most } else { before_tail }, tail: TAIL }
}

/// Whether the difference of two readings of a sequence number is explained by this call alone. A
/// receive may have taken a FIN as well, which counts one.
#[inline(always)]
pub fn is_exact(before: u32, after: u32, done: u64, receives: bool) -> bool {
    let moved = after.wrapping_sub(before);
    let done = done as u32;
    moved == done || (receives && moved == done.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGES: [PortRange; 3] = [
        PortRange { first: 80, last: 80 },
        PortRange { first: 8000, last: 9000 },
        PortRange { first: 1, last: u16::MAX },
    ];

    #[test]
    fn ports_match_at_either_end_and_only_in_ranges_in_use() {
        assert_eq!(match_ports(|index| RANGES[index], 0, 0, 0, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 80, 40_000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 40_000, 9000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 40_000, 9001, false), Answer::No);
        assert_eq!(match_ports(|index| RANGES[index], 1, 40_000, 8500, false), Answer::No);
    }

    #[test]
    fn an_unknown_port_postpones_a_no_but_not_a_yes() {
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 8000, false), Answer::Yes);
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 7999, false), Answer::NotYet);
        assert_eq!(match_ports(|index| RANGES[index], 2, 7999, 0, false), Answer::NotYet);
        assert_eq!(match_ports(|index| RANGES[index], 2, 7999, 0, true), Answer::No);
        assert_eq!(match_ports(|index| RANGES[index], 2, 0, 0, true), Answer::NotYet);
    }

    fn match_of(first: u64, available: u64) -> Match {
        let all: Vec<Signature> = retrospan_protocols::PROTOCOLS
            .iter()
            .flat_map(|protocol| protocol.signatures())
            .copied()
            .collect();
        signature(|index| all[index], all.len() as u64, first, available)
    }

    fn start_of(first: u64, available: u64) -> Start {
        start(match_of(first, available), first, available)
    }

    fn begins(text: &[u8]) -> Start {
        let mut bytes = [0xff; 8 * (LATER_WORDS + 1)];
        let used = text.len().min(bytes.len());
        bytes[..used].copy_from_slice(&text[..used]);
        let words: Vec<u64> =
            bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        let available = text.len() as u64;
        match start_of(words[0], available) {
            Start::Perhaps if available > 8 => {
                start_later([words[1], words[2], words[3]], available - 8, words[0] >> 56 == u64::from(b' '))
            }
            told => told,
        }
    }

    #[test]
    fn any_token_and_a_target_begin_a_request() {
        for head in [
            "GET / HTTP/1.1",
            "A /",
            "a-b /x",
            "M-SEARCH * HTTP/1.1",
            "get http://a/",
            "PROPPATCH /c",
            "OPTIONS *",
            "DELETE /x",
            "CONNECT [::1]:80 HTTP/1.1",
            "VERSION-CONTROL /v",
            "UPDATEREDIRECTREF /v",
            "!#$%&'+ /",
            "*.^_`|~9 /",
            "OPTIONS http://a",
        ] {
            assert_eq!(begins(head.as_bytes()), Start::Request, "{head}");
            let enough = head.find(' ').unwrap() + 2;
            for cut in 1..enough.min(head.len()) {
                let told = begins(&head.as_bytes()[..cut]);
                let whole = head.starts_with("CONNECT ") && cut == 8;
                assert_eq!(told, if whole { Start::Request } else { Start::Perhaps }, "{head} cut to {cut}");
            }
        }
        assert_eq!(begins(b"HTTP/1.0 200 OK"), Start::Head);
        assert_eq!(begins(b"HTTP/1."), Start::Head);
        for cut in 1..7 {
            assert_eq!(begins(&b"HTTP/1."[..cut]), Start::Perhaps);
        }
        for other in [
            "",
            " / HTTP",
            "hello world",
            "two words and more",
            "{\"a\": 1}",
            "<p class",
            "HTTP/2.0",
            "GET\r\n",
            "*1\r\n$4",
            "a,b /",
            "Zm9v/YmFy",
            "a-method-that-is-longer-than-any-known /",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(begins(other.as_bytes()), Start::No, "{other}");
        }
    }

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

    #[test]
    fn kept_bytes_cover_short_data_and_the_ends_of_long_data() {
        for done in 0..3000 {
            for budget in [0, 1, 3, 63, 64, 65, 100, 1024] {
                let kept = keep(done, budget, 64);
                let most = budget.max(64);
                assert!(kept.head <= most && kept.head + kept.tail <= done);
                assert_eq!(kept.head == done, done <= most);
                assert_eq!(kept.tail == TAIL, done > most);
                if done > most + TAIL {
                    assert_eq!(kept.head, most);
                }
            }
        }
        assert_eq!(keep(5, 3, 0), Kept { head: 3, tail: 0 });
    }

    #[test]
    fn a_fin_is_forgiven_only_on_the_receiving_side() {
        assert!(is_exact(u32::MAX - 1, 8, 10, false));
        assert!(is_exact(10, 21, 10, true));
        assert!(!is_exact(10, 21, 10, false));
        assert!(!is_exact(10, 30, 10, true));
        assert!(is_exact(10, 11, 0, true));
    }
}
