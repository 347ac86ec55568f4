//! Packet captures in, a capture directory out, as if its events had been recorded on the clients' hosts.
//!
//! The steps in the order of the data, a file each: [`source`] (open, decompress), [`packets`] (pcap, pcapng), [`link`], [`ip`]
//! (extension headers, fragments, tunnels), [`tcp`] (reassembly, states) and [`udp`], [`feed`] (redaction), [`events`] (order),
//! [`output`] (the capture). Packets are read as a stream: memory holds what waits, and the connections that are open.

pub mod events;
pub mod feed;
pub mod ip;
pub mod link;
pub mod output;
pub mod packets;
pub mod skipped;
pub mod slice;
pub mod sockets;
pub mod source;
pub mod stamp;
pub mod summary;
pub mod tcp;
pub mod udp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use retrospan_formats::manifest::Imported;
use retrospan_formats::writer::check_unused;
use retrospan_protocols::redact::{Payload, Redactor};

use crate::error::{Error, Result, at};
use crate::import::events::Rows;
use crate::import::feed::Shared;
use crate::import::ip::{Datagram, Ip, protocol};
use crate::import::output::{Begin, Output};
use crate::import::packets::{Packet, PacketFile, Stop};
use crate::import::skipped::Skipped;
use crate::import::slice::Slice;
use crate::import::sockets::Sockets;
use crate::import::stamp::Stamp;
use crate::import::summary::Summary;
use crate::import::tcp::Segment;
use crate::import::tcp::connections::Connections;
use crate::import::udp::Flows;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Options {
    /// Capture files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// The capture directory to make.
    pub output: PathBuf,
    /// How much of the data is kept.
    pub payload: Payload,
}

/// What the caller sees and says while it is done.
pub struct Watch<'a> {
    /// Packets so far.
    pub progress: &'a dyn Fn(u64),
    /// Whether to stop: then nothing is left behind.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// The capture begins so long before its first packet, ns: no time is 0.
const BEGIN_NS: i64 = 1_000_000_000;
/// Packets between two looks at the caller.
const LOOK_PACKETS: u64 = 4096;

/// Reads all files and writes the capture.
///
/// # Errors
/// Where a file is no packet capture, and where reading or writing fails; then no directory is left.
pub fn import(options: &Options, watch: &Watch<'_>) -> Result<Summary> {
    let existed = check_unused(&options.output)?;
    let mut inputs = Inputs::open(&options.files)?;
    let first_ns = inputs.first_ns();
    let names = options.files.iter().map(|file| name(file)).collect();
    let mut told = serde_json::Map::new();
    told.insert("payload".to_owned(), options.payload.name().into());
    let begin =
        Begin { boot_ns: BEGIN_NS, wall_ns: first_ns, options: told, imported: Imported { files: names } };
    let output = Output::create(&options.output, begin)?;
    let mut import = Import::new(options.payload, first_ns);
    let imported = import.all(&mut inputs, output, watch);
    imported.inspect_err(|_| discard(&options.output, existed))
}

/// Takes away what was written.
fn discard(directory: &Path, existed: bool) {
    // What cannot be removed is left as an interrupted capture.
    let _ = std::fs::remove_dir_all(directory);
    if existed {
        let _ = std::fs::create_dir(directory);
    }
}

fn name(file: &Path) -> String {
    match file.file_name() {
        Some(name) if file.as_os_str() != source::STDIN => name.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    }
}

/// Files that are read together, in the order of their packets' times.
struct Inputs {
    /// Those that have a packet in hand.
    open: Vec<PacketFile>,
    paths: Vec<PathBuf>,
    /// Files that did not end where they may.
    cut: Vec<PathBuf>,
}

impl Inputs {
    fn open(paths: &[PathBuf]) -> Result<Inputs> {
        let mut inputs = Inputs { open: Vec::new(), paths: Vec::new(), cut: Vec::new() };
        for path in paths {
            let file = source::open(path).and_then(PacketFile::new).map_err(at(path))?;
            let file = file.ok_or_else(|| {
                Error::Usage(format!("{}: not a packet capture (pcap or pcapng)", path.display()))
            })?;
            inputs.open.push(file);
            inputs.paths.push(path.clone());
            inputs.advance(inputs.open.len() - 1)?;
        }
        Ok(inputs)
    }

    /// Puts the next packet into a file's hand, or the file away.
    fn advance(&mut self, index: usize) -> Result<()> {
        let Some(file) = self.open.get_mut(index) else { return Ok(()) };
        let Err(stop) = file.advance() else { return Ok(()) };
        self.open.remove(index);
        let path = self.paths.remove(index);
        match stop {
            Stop::End => Ok(()),
            Stop::Cut => {
                self.cut.push(path);
                Ok(())
            }
            Stop::Io(error) => Err(at(&path)(error)),
        }
    }

    /// The file with the earliest packet.
    fn earliest(&self) -> Option<usize> {
        match self.open.len() {
            0 => None,
            1 => Some(0),
            many => (0..many).min_by_key(|&index| self.open[index].packet().wall_ns),
        }
    }

    fn first_ns(&self) -> i64 {
        self.open.iter().map(|file| file.packet().wall_ns).min().unwrap_or_default()
    }
}

/// Whether a packet was understood.
type Understood = std::result::Result<(), Skipped>;

/// The steps, and what is between them.
struct Import {
    first_ns: i64,
    payload: Payload,
    ip: Ip,
    connections: Connections,
    flows: Flows,
    redactor: Redactor,
    rows: Rows,
    sockets: Sockets,
    summary: Summary,
    now: Stamp,
}

impl Import {
    fn new(payload: Payload, first_ns: i64) -> Import {
        Import {
            first_ns,
            payload,
            ip: Ip::default(),
            connections: Connections::default(),
            flows: Flows::default(),
            redactor: Redactor::default(),
            rows: Rows::default(),
            sockets: Sockets::default(),
            summary: Summary::default(),
            now: Stamp::default(),
        }
    }

    fn all(&mut self, inputs: &mut Inputs, mut output: Output, watch: &Watch<'_>) -> Result<Summary> {
        while let Some(index) = inputs.earliest() {
            self.packet(&inputs.open[index].packet());
            if self.summary.packets.is_multiple_of(LOOK_PACKETS) {
                if (watch.interrupted)() {
                    return Err(Error::Usage("interrupted: nothing was written".to_owned()));
                }
                (watch.progress)(self.summary.packets);
                output.write(&mut self.rows, &mut self.sockets)?;
            }
            inputs.advance(index)?;
        }
        let mut shared = Shared { payload: self.payload, redactor: &mut self.redactor, rows: &mut self.rows };
        self.connections.finish(self.now, &mut self.sockets, &mut shared);
        self.flows.finish(&mut self.sockets);
        output.finish(&mut self.rows, &mut self.sockets, !inputs.cut.is_empty())?;
        self.count();
        self.summary.cut = std::mem::take(&mut inputs.cut);
        Ok(std::mem::take(&mut self.summary))
    }

    /// Takes in a packet.
    fn packet(&mut self, packet: &Packet<'_>) {
        self.summary.packets += 1;
        let ns = (packet.wall_ns - self.first_ns).saturating_add(BEGIN_NS).max(0);
        self.now = Stamp { ns, packet: self.summary.packets };
        let frame = Slice { known: packet.bytes, length: packet.length };
        if let Err(why) = self.frame(packet.link, frame) {
            self.summary.skipped(why, 1);
        }
    }

    fn frame(&mut self, link: u16, frame: Slice<'_>) -> Understood {
        let Import { ip, connections, flows, redactor, rows, sockets, now, payload, .. } = self;
        let packet = link::ip(link, frame)?;
        let mut shared = Shared { payload: *payload, redactor, rows };
        let mut read = Ok(());
        ip.read(now.ns, packet, &mut |datagram| {
            read = match datagram.protocol {
                protocol::TCP => segment(connections, *now, datagram, sockets, &mut shared),
                _ => flows.datagram(*now, datagram, sockets, &mut shared),
            };
        })?;
        read
    }

    fn count(&mut self) {
        let summary = &mut self.summary;
        summary.connections = self.connections.connections;
        summary.udp_sockets = self.flows.sockets;
        summary.bytes = self.rows.bytes();
        summary.repeated = self.connections.counts.repeated + self.flows.repeated;
        summary.holes = self.connections.counts.holes;
        summary.strays = self.connections.strays;
        summary.moved = self.rows.moved();
        summary.skipped(Skipped::Fragment, self.ip.lost_fragments());
    }
}

fn segment(
    connections: &mut Connections,
    now: Stamp,
    datagram: &Datagram<'_>,
    sockets: &mut Sockets,
    shared: &mut Shared<'_>,
) -> Understood {
    let segment = Segment::read(datagram.bytes)?;
    let [from, to] = datagram.addresses;
    let ends = [SocketAddr::new(from, segment.ports[0]), SocketAddr::new(to, segment.ports[1])];
    connections.segment(now, ends, &segment, sockets, shared);
    Ok(())
}

#[cfg(test)]
mod tests;
