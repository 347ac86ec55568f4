//! Framing of any bytes in any calls, by the protocol that the target is named after: parts cover every byte once, and
//! nothing panics.

#![no_main]

use retrospan_protocols::PROTOCOLS;

#[path = "../../tests/support/framed.rs"]
mod framed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let ours = PROTOCOLS.into_iter().find(|protocol| protocol.name() == env!("CARGO_BIN_NAME"));
    framed::check(ours.expect("a protocol of that name"), data);
});
