//! Framing of any bytes in any calls, by each protocol: parts cover every byte once, and nothing panics.

#![no_main]

#[path = "../../tests/support/framed.rs"]
mod framed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| framed::check(data));
