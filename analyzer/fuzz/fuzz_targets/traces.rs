//! Any bytes as traces: rows come out whose times and ids can be, and nothing panics.

#![no_main]

use retrospan_analyzer::import::traces::check;
use retrospan_protocols::redact::Payload;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for payload in [Payload::Heads, Payload::Full] {
        check(data, payload);
    }
});
