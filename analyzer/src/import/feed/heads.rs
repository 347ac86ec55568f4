//! Whether data ends within a message head of HTTP/1.
//!
//! A cheap look, not framing: who is wrongly told so only waits a little.

use memchr::memmem;
use retrospan_protocols::detect;

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
const VERSION: &[u8] = b"HTTP/1.";
const END: &[u8] = b"\r\n\r\n";

/// It does, as far as one can see.
pub fn is_open(data: &[u8]) -> bool {
    let behind_heads = memmem::rfind(data, END).map_or(0, |at| at + END.len());
    let last = &data[behind_heads..];
    if last.is_empty() {
        return false;
    }
    if memmem::rfind(last, VERSION).is_some() {
        return memmem::find(last, b"\n\n").is_none();
    }
    if BEGINS.iter().any(|begin| begin.starts_with(last)) {
        return true;
    }
    let told = detect::surely(last, false).or_else(|| detect::perhaps(last, false, None));
    told.is_some_and(|told| told.protocol == detect::presumed())
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
        ] {
            assert!(is_open(open.as_bytes()), "{open}");
        }
        for whole in [
            "",
            "GET / HTTP/1.1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nbody",
            "*1\r\n$4\r\nPING\r\n",
            "\x16\x03\x01",
        ] {
            assert!(!is_open(whole.as_bytes()), "{whole}");
        }
    }
}
