//! The decisions of the kernel programs that need no kernel: plain integers in, plain integers out,
//! so that they are tested on the host like any other code.

use retrospan_formats::config::{MAX_PORT_RANGES, PortRange};

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

/// Beginnings of message heads, as little-endian words with their lengths.
const HEADS: [(u64, u64); 10] = [
    head(b"GET "),
    head(b"POST "),
    head(b"PUT "),
    head(b"HEAD "),
    head(b"DELETE "),
    head(b"PATCH "),
    head(b"OPTIONS "),
    head(b"CONNECT "),
    head(b"TRACE "),
    head(b"HTTP/1."),
];

const fn head(text: &[u8]) -> (u64, u64) {
    let mut word = 0;
    let mut at = 0;
    while at < text.len() {
        word |= (text[at] as u64) << (8 * at);
        at += 1;
    }
    (word, text.len() as u64)
}

/// Whether data that begins with these bytes (little-endian, `available` of them valid, at most 8
/// looked at) begins a message of a protocol that we parse.
#[inline(always)]
pub fn begins_message(first: u64, available: u64) -> bool {
    let mut index = 0;
    while index < HEADS.len() {
        let (word, bytes) = HEADS[index];
        let mask = if bytes == 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
        if available >= bytes && first & mask == word {
            return true;
        }
        index += 1;
    }
    false
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

    fn word(text: &[u8]) -> (u64, u64) {
        let mut bytes = [0; 8];
        let used = text.len().min(8);
        bytes[..used].copy_from_slice(&text[..used]);
        (u64::from_le_bytes(bytes), text.len() as u64)
    }

    #[test]
    fn heads_are_recognised_whole_and_never_by_a_prefix() {
        for head in [
            "GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "PATCH ", "OPTIONS ", "CONNECT ", "TRACE ",
            "HTTP/1.",
        ] {
            let (first, available) = word(format!("{head}xxxxxxxx").as_bytes());
            assert!(begins_message(first, available), "{head}");
            for cut in 0..head.len() {
                let (first, available) = word(&head.as_bytes()[..cut]);
                assert!(!begins_message(first, available), "{head} cut to {cut}");
            }
        }
        let (first, available) = word(b"get / HT");
        assert!(!begins_message(first, available));
        let (first, available) = word(b"HTTP/2.0");
        assert!(!begins_message(first, available));
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
