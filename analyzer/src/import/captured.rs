//! Packet captures: read together, in the order of their packets' times.

use std::path::{Path, PathBuf};

use retrospan_protocols::redact::Payload;

use crate::error::{Error, Result, at};
use crate::import::begin::Begin;
use crate::import::output::Output;
use crate::import::packets::{PacketFile, Stop};
use crate::import::source::Input;
use crate::import::steps::{BEGIN_NS, Steps};
use crate::import::task::{Place, Said, Watch};

/// Packets between two looks at the caller.
const LOOK_PACKETS: u64 = 4096;
/// Files that are read ahead; of more each would cost a thread.
const MOST_AHEAD: usize = 4;

/// Reads all files and writes the capture.
pub fn import(
    inputs: Vec<Input>,
    begin: Begin,
    place: &Place,
    payload: Payload,
    watch: &Watch<'_>,
) -> Result<Said> {
    let mut files = Files::open(inputs)?;
    let first_ns = files.first_ns();
    let begin = Begin { boot_ns: BEGIN_NS, wall_ns: first_ns, ..begin };
    let output = Output::create(&place.directory, begin)?;
    read(&mut files, Steps::new(payload, first_ns), output, watch).inspect_err(|_| place.discard())
}

fn read(files: &mut Files, mut steps: Steps, mut output: Output, watch: &Watch<'_>) -> Result<Said> {
    let mut packets = 0_u64;
    while let Some(index) = files.earliest() {
        steps.packet(&files.open[index].packet());
        packets += 1;
        if packets.is_multiple_of(LOOK_PACKETS) {
            watch.look("packets", packets)?;
            output.write(&mut steps.rows, &mut steps.sockets)?;
        }
        files.advance(index)?;
    }
    let summary = steps.finish();
    output.finish(&mut steps.rows, &mut steps.sockets, steps.newest_ns, !files.cut.is_empty())?;
    Ok(Said { text: summary.text(), cut: std::mem::take(&mut files.cut), within: "a packet" })
}

/// Files that are read together.
struct Files {
    /// Those that have a packet in hand.
    open: Vec<PacketFile>,
    paths: Vec<PathBuf>,
    /// Files that did not end where they may.
    cut: Vec<PathBuf>,
}

impl Files {
    fn open(inputs: Vec<Input>) -> Result<Files> {
        let mut files = Files { open: Vec::new(), paths: Vec::new(), cut: Vec::new() };
        let few = inputs.len() <= MOST_AHEAD;
        for mut input in inputs {
            let source = if few { input.source_ahead() } else { input.source() };
            let file = source.and_then(PacketFile::new).map_err(at(&input.path))?;
            files.open.push(file.ok_or_else(|| damaged(&input.path))?);
            files.paths.push(input.path);
            files.advance(files.open.len() - 1)?;
        }
        Ok(files)
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

fn damaged(path: &Path) -> Error {
    Error::Usage(format!("{}: the header of the packet capture is damaged", path.display()))
}
