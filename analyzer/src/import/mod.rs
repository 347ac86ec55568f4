//! Packet captures in, a capture directory out, as if its events had been recorded on the clients' hosts.
//!
//! The steps in the order of the data, a file each: [`source`] (open, decompress), [`packets`] (pcap,
//! pcapng), [`link`], [`ip`] (extension headers, fragments, tunnels), [`tcp`] (reassembly, states) and
//! [`udp`], [`feed`] (redaction), [`events`] (order), [`output`] (the capture). Packets are read as a stream:
//! memory holds what waits, and the connections that are open.

pub mod events;
pub mod feed;
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
pub mod tcp;
pub mod udp;

use std::path::{Path, PathBuf};

use retrospan_formats::manifest::Imported;
use retrospan_formats::writer::check_unused;
use retrospan_protocols::redact::Payload;

use crate::error::{Error, Result, at};
use crate::import::output::{Begin, Output};
use crate::import::packets::{PacketFile, Stop};
use crate::import::steps::{BEGIN_NS, Steps};
use crate::import::summary::Summary;

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
    let steps = Steps::new(options.payload, first_ns);
    read(&mut inputs, steps, output, watch).inspect_err(|_| discard(&options.output, existed))
}

fn read(inputs: &mut Inputs, mut steps: Steps, mut output: Output, watch: &Watch<'_>) -> Result<Summary> {
    let mut packets = 0_u64;
    while let Some(index) = inputs.earliest() {
        steps.packet(&inputs.open[index].packet());
        packets += 1;
        if packets.is_multiple_of(LOOK_PACKETS) {
            if (watch.interrupted)() {
                return Err(Error::Usage("interrupted: nothing was written".to_owned()));
            }
            (watch.progress)(packets);
            output.write(&mut steps.rows, &mut steps.sockets)?;
        }
        inputs.advance(index)?;
    }
    let mut summary = steps.finish();
    output.finish(&mut steps.rows, &mut steps.sockets, steps.newest_ns, !inputs.cut.is_empty())?;
    summary.cut = std::mem::take(&mut inputs.cut);
    Ok(summary)
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
