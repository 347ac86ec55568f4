//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: within a length codes go up with the symbols, and those of the next length go on
//! behind. So the lengths alone define it, and every table here is made of them.

/// Bits of the code of each byte.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
];

/// Bits of the longest code.
const LONGEST: usize = 30;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Group {
    /// The first of them, and the first that is longer, both as the upper bits of a word.
    first: u64,
    end: u64,
    /// Where in [`SYMBOLS`] its symbol is.
    at: usize,
}

/// Codes by their length. The last code of the last group is the end of a string (EOS), which no string
/// holds.
const GROUPS: [Group; LONGEST + 1] = {
    let mut groups = [Group { first: 0, end: 0, at: 0 }; LONGEST + 1];
    let (mut length, mut code, mut at) = (1, 0u64, 0);
    while length <= LONGEST {
        let (first, begin) = (code, at);
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                code += 1;
                at += 1;
            }
            symbol += 1;
        }
        let shift = 64 - length as u32;
        groups[length] = Group { first: first << shift, end: code << shift, at: begin };
        code <<= 1;
        length += 1;
    }
    groups
};

/// Bytes in the order of their codes.
const SYMBOLS: [u8; 256] = {
    let mut symbols = [0; 256];
    let (mut length, mut at) = (1, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                symbols[at] = symbol as u8;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

/// The code of each byte.
const CODES: [u32; 256] = {
    let mut codes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let symbol = SYMBOLS[at] as usize;
        let length = LENGTHS[symbol] as usize;
        let group = GROUPS[length];
        codes[symbol] = (group.first >> (64 - length)) as u32 + (at - group.at) as u32;
        at += 1;
    }
    codes
};

/// Codes of at most 8 bits by the byte that begins with them: length and symbol; 0 where a longer code
/// begins.
const SHORT: [(u8, u8); 256] = {
    let mut short = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol];
        if length <= 8 {
            let spare = 8 - length as u32;
            let first = (CODES[symbol] as usize) << spare;
            let mut at = first;
            while at < first + (1 << spare) {
                short[at] = (length, symbol as u8);
                at += 1;
            }
        }
        symbol += 1;
    }
    short
};

/// Bits of the code of a byte.
pub(super) fn bits(byte: u8) -> u32 {
    LENGTHS[byte as usize].into()
}

/// Appends what `coded` says. False where it is no Huffman-coded string.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(coded.len() * 8 / 5);
    // The bits that come next, from the uppermost on, and how many they are.
    let (mut next, mut known) = (0u64, 0u32);
    let mut rest = coded;
    loop {
        while known <= 56
            && let Some((&byte, after)) = rest.split_first()
        {
            next |= u64::from(byte) << (56 - known);
            known += 8;
            rest = after;
        }
        let (mut length, mut symbol) = SHORT[(next >> 56) as usize];
        if length == 0 {
            (length, symbol) = long(next);
        }
        if u32::from(length) > known || length == 0 {
            return is_padding(next, known);
        }
        out.push(symbol);
        next <<= length;
        known -= u32::from(length);
    }
}

/// A code of more than 8 bits; length 0 for that of EOS.
fn long(next: u64) -> (u8, u8) {
    let longer = |length: &usize| next < GROUPS[*length].end;
    let Some(length) = (9..=LONGEST).find(longer) else { return (0, 0) };
    let group = GROUPS[length];
    let above = (next - group.first) >> (64 - length);
    (length as u8, SYMBOLS[group.at + above as usize])
}

/// Fewer bits than a byte, all ones (RFC 7541, section 5.2).
fn is_padding(next: u64, known: u32) -> bool {
    known < 8 && next >> 56 == 0xff & !(0xff >> known)
}

/// Writes the code of `text`, which is as long as `out`.
pub(super) fn encode(text: &[u8], out: &mut [u8]) {
    let (mut bits, mut count) = (0u64, 0u32);
    let mut places = out.iter_mut();
    for &byte in text {
        let length = u32::from(LENGTHS[byte as usize]);
        bits = bits << length | u64::from(CODES[byte as usize]);
        count += length;
        while count >= 8 {
            count -= 8;
            if let Some(place) = places.next() {
                *place = (bits >> count) as u8;
            }
        }
    }
    if count > 0
        && let Some(place) = places.next()
    {
        *place = (bits << (8 - count)) as u8 | (0xff >> count);
    }
}

/// A byte for each length of a code that fills a place where a secret stood. None of them means anything in a
/// path.
const FILLERS: [u8; LONGEST + 1] = {
    let mut fillers = [0; LONGEST + 1];
    let chosen = *b"0-vX!|>~^`";
    let mut index = 0;
    while index < chosen.len() {
        fillers[LENGTHS[chosen[index] as usize] as usize] = chosen[index];
        index += 1;
    }
    // No text has others, which begin with the code of the lowest symbol of a length.
    let mut length = 19;
    while length <= LONGEST {
        let mut symbol = 255;
        while symbol > 0 {
            if LENGTHS[symbol] as usize == length && symbol != 10 && symbol != 13 {
                fillers[length] = symbol as u8;
            }
            symbol -= 1;
        }
        length += 1;
    }
    fillers
};

/// Whether so many bytes can have a code of so many bits: `tests` tries them all.
fn is_possible(count: usize, bits: u32) -> bool {
    match count {
        0 => bits == 0,
        1 => FILLERS.get(bits as usize).is_some_and(|&filler| filler != 0),
        _ => {
            let most = LONGEST as u32 * count as u32;
            (5 * count as u32..=most).contains(&bits) && bits != most - 1
        }
    }
}

/// Puts into `text` bytes that say nothing but how many they are and how many bits their code has: as many as
/// its own.
pub(super) fn fill(text: &mut [u8]) {
    let mut left: u32 = text.iter().map(|&byte| bits(byte)).sum();
    let count = text.len();
    for (index, place) in text.iter_mut().enumerate() {
        let after = count - index - 1;
        // As even as can be, the shorter ones first.
        let even = left / (after as u32 + 1);
        let fits = |length: &u32| {
            FILLERS[*length as usize] != 0 && left >= *length && is_possible(after, left - length)
        };
        let longest = LONGEST as u32;
        let length = (5..=even.min(longest)).rev().find(fits).or_else(|| (even + 1..=longest).find(fits));
        let Some(length) = length else { return };
        *place = FILLERS[length as usize];
        left -= length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let length: u32 = text.iter().map(|&byte| bits(byte)).sum();
        let mut out = vec![0; length.div_ceil(8) as usize];
        encode(text, &mut out);
        out
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    #[test]
    fn examples_of_the_standard() {
        let vectors: [(&str, &[u8]); 4] = [
            ("www.example.com", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (
                "Mon, 21 Oct 2013 20:13:21 GMT",
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
            ),
            ("", b""),
        ];
        for (text, code) in vectors {
            assert_eq!(coded(text.as_bytes()), code);
            assert_eq!(decoded(code).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(CODES[b'&' as usize], 0xf8);
        assert_eq!((CODES[0], CODES[10], CODES[255]), (0x1ff8, 0x3fff_fffc, 0x3ff_ffee));
        assert_eq!(GROUPS[LONGEST].end >> 34, 0x3fff_ffff, "the code of EOS is left");
    }

    #[test]
    fn bad_strings_are_none() {
        // EOS, padding of a whole byte, padding that is no ones.
        for bad in
            [&b"\xff\xff\xff\xff"[..], b"\xa8\xeb\x10\x64\x9c\xbf\xff", b"\xa8\xeb\x10\x64\x9c\xbe", b"\0"]
        {
            assert_eq!(decoded(bad), None, "{bad:x?}");
        }
    }

    #[test]
    fn what_is_said_to_be_possible_is() {
        let lengths: std::collections::BTreeSet<u32> = LENGTHS.iter().map(|&length| length.into()).collect();
        assert!((0..=30).all(|bits| is_possible(1, bits) == lengths.contains(&bits)));
        let mut sums = lengths.clone();
        for count in 2..12 {
            sums = sums.iter().flat_map(|sum| lengths.iter().map(move |length| sum + length)).collect();
            assert!((0..500).all(|bits| is_possible(count, bits) == sums.contains(&bits)), "{count}");
        }
    }

    #[test]
    fn fillers_mean_nothing() {
        let used: Vec<u8> = FILLERS.into_iter().filter(|&filler| filler != 0).collect();
        assert_eq!(used.len(), 21);
        assert!(used.iter().all(|filler| !b"\r\n /?#;&=:%.*".contains(filler)), "{used:?}");
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text: Vec<u8>) {
            prop_assert_eq!(decoded(&coded(&text)), Some(text));
        }

        #[test]
        fn any_bytes_are_code_or_none(bytes: Vec<u8>) {
            if let Some(text) = decoded(&bytes) {
                prop_assert_eq!(coded(&text), bytes);
            }
        }

        #[test]
        fn fillers_say_how_long_the_text_is_and_no_more(mut text: Vec<u8>, seed: usize) {
            let bits_of = |text: &[u8]| text.iter().map(|&byte| bits(byte)).sum::<u32>();
            let mut filler = text.clone();
            fill(&mut filler);
            prop_assert_eq!(bits_of(&filler), bits_of(&text));
            if !text.is_empty() {
                let length = text.len();
                text.rotate_left(seed % length);
            }
            fill(&mut text);
            prop_assert_eq!(&text, &filler);
            fill(&mut text);
            prop_assert_eq!(&text, &filler);
        }
    }
}
