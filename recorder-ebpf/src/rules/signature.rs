//! What data begins with, by the signatures of the protocols.

use retrospan_formats::config::{Keep, MAX_SIGNATURES, Signature};

use super::request_line::{Start, request};
use super::words::low;

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

#[cfg(test)]
pub mod tests {
    use super::super::request_line::{LATER_WORDS, start_later};
    use super::*;

    fn match_of(first: u64, available: u64) -> Match {
        let all: Vec<Signature> = retrospan_protocols::PROTOCOLS
            .iter()
            .flat_map(|protocol| protocol.signatures())
            .copied()
            .collect();
        signature(|index| all[index], all.len() as u64, first, available)
    }

    pub fn start_of(first: u64, available: u64) -> Start {
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
}
