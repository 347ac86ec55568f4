//! Any bytes as a packet capture: rows come out in the order of time, and nothing panics.

#![no_main]

use std::io::Cursor;

use retrospan_analyzer::import::packets::PacketFile;
use retrospan_analyzer::import::source::decompress;
use retrospan_analyzer::import::steps::check;
use retrospan_protocols::redact::Payload;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(source) = decompress(Box::new(Cursor::new(data.to_vec()))) else { return };
    if let Ok(Some(file)) = PacketFile::new(source) {
        check(file, Payload::Heads);
    }
});
