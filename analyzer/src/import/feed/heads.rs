//! Whether data ends within a message head of HTTP/1.
//!
//! A cheap look, not framing: who is wrongly told so only waits a little.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::memrchr_iter;
use retrospan_protocols::{Direction, Verdict, detect};

/// What heads begin with, for data too short to tell.
const BEGINS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"HTTP/1.",
];
const END: &[u8] = b"\r\n\r\n";
/// Making one costs more than what it is used for.
static VERSION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"HTTP/1."));
static BARE_END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// It does, as far as one can see.
pub fn is_open(data: &[u8]) -> bool {
    let last = &data[behind_heads(data)..];
    if last.is_empty() {
        return false;
    }
    if VERSION.find(last).is_some() {
        return BARE_END.find(last).is_none();
    }
    if BEGINS.iter().any(|begin| begin.starts_with(last)) {
        return true;
    }
    let may_begin = |direction| detect::presumed().recognise(direction, last, false) > Verdict::No;
    may_begin(Direction::Requests) || may_begin(Direction::Responses)
}

/// Where what follows the last head begins. From the back, and by the last CR of a head's end: bodies are long and have few.
fn behind_heads(data: &[u8]) -> usize {
    let behind = |at: usize| at.checked_sub(2).filter(|&from| data[from..].starts_with(END)).map(|_| at + 2);
    memrchr_iter(b'\r', data).find_map(behind).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_from_what_is_whole() {
        for open in [
            "G",
            "GET",
            "GET ",
            "GET /a HT",
            "POST /x HTTP/1.1\r\nHost: a\r",
            "HTTP/1.",
            "HTTP/1.1 200 OK\r\n\r",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 O",
            "body of the one beforeHTTP/1.1 200 OK\r\nDate:",
            "GET / HTTP/1.1\r\n\r\nGE",
            "HTTP/1.1 200 OK\r\n\r\nbody\r\n\r\n\r\nGET / HTTP/1.1\r\n",
        ] {
            assert!(is_open(open.as_bytes()), "{open}");
        }
        for whole in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nbody",
            "HTTP/1.1 200 OK\r\n\r\nbody\r\n\r\n\r\n",
            "HTTP/1.0 200 OK\n\nbody",
            "*1\r\n$4\r\nPING\r\n",
            "\x16\x03\x01",
        ] {
            assert!(!is_open(whole.as_bytes()), "{whole}");
        }
    }
}
