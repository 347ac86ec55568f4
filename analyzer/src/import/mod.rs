//! Files that others recorded in, a capture directory out.
//!
//! Packet captures become one as if its events had been recorded on the clients' hosts. The steps in the order of the
//! data, a file each: [`source`] (open, decompress), [`packets`] (pcap, pcapng), [`link`], [`ip`] (extension headers,
//! fragments, tunnels), [`tcp`] (reassembly, states) and [`udp`], [`feed`] (redaction), [`events`] (order), [`output`]
//! (the capture). Packets are read as a stream: memory holds what waits, and the connections that are open.
//! [`captured`] runs these steps; [`traces`] has those for spans.

pub mod begin;
pub mod captured;
pub mod events;
pub mod feed;
pub mod identity;
pub mod ip;
pub mod link;
#[cfg(test)]
mod made;
pub mod output;
pub mod packets;
pub mod skipped;
pub mod slice;
pub mod sockets;
pub mod source;
pub mod stamp;
pub mod steps;
pub mod summary;
pub mod task;
pub mod tcp;
pub mod traces;
pub mod udp;

use std::path::Path;

use retrospan_formats::manifest::Imported;

use crate::error::{Error, Result, at};
use crate::import::begin::Begin;
use crate::import::identity::Identity;
use crate::import::source::{Input, STDIN};
use crate::import::traces::recognise::{Format, HEAD_BYTES, recognise};

pub use crate::import::task::{Options, Place, Said, Watch};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Packets,
    Traces(Format),
}

/// Reads all files and writes the capture.
///
/// # Errors
/// Where a file is neither a packet capture nor traces, where both are given, and where reading or writing fails; then no
/// directory is left.
pub fn import(options: &Options, watch: &Watch<'_>) -> Result<Said> {
    let place = Place::unused(&options.output)?;
    let mut identity = Identity::new(options.payload.name());
    let mut packets = Vec::new();
    let mut traces = Vec::new();
    for path in &options.files {
        watch.look("files", 0)?;
        let (input, head) =
            Input::open(path, HEAD_BYTES, &mut identity, watch.interrupted).map_err(at(path))?;
        match holds(&head) {
            Some(Holds::Packets) => packets.push(input),
            Some(Holds::Traces(format)) => traces.push((input, format)),
            None => return Err(Error::Usage(format!("{}: {UNKNOWN}", path.display()))),
        }
    }
    if let (Some(packets), Some((traces, _))) = (packets.first(), traces.first()) {
        return Err(Error::Usage(format!(
            "{} holds packets and {} traces: a capture is made of one of both, so import them one by one",
            packets.path.display(),
            traces.path.display()
        )));
    }
    let begin = begin(options, identity.name());
    match traces.is_empty() {
        true => captured::import(packets, begin, &place, options.payload, watch),
        false => traces::import(traces, begin, &place, options.payload, watch),
    }
}

/// What a file is that cannot be imported.
const UNKNOWN: &str =
    "neither a packet capture (pcap, pcapng) nor traces (Jaeger's JSON, OTLP as JSON or protobuf)";

fn holds(head: &[u8]) -> Option<Holds> {
    if packets::is_capture(head) {
        return Some(Holds::Packets);
    }
    recognise(head).map(Holds::Traces)
}

fn begin(options: &Options, capture_id: String) -> Begin {
    let names = options.files.iter().map(|file| name(file)).collect();
    let mut told = serde_json::Map::new();
    told.insert("payload".to_owned(), options.payload.name().into());
    Begin { capture_id, boot_ns: 0, wall_ns: 0, options: told, imported: Imported { files: names } }
}

fn name(file: &Path) -> String {
    match file.file_name() {
        Some(name) if file.as_os_str() != STDIN => name.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    }
}
