//! A path in, its bytes out: decompressed where they are gzip or zstd, whatever the name says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;

use crate::import::identity::Identity;

/// The bytes of a file, one after the other.
pub type Source = Box<dyn BufRead + Send>;

/// The name that stands for standard input.
pub const STDIN: &str = "-";
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Pieces of a file that are read ahead at most.
const PIECES_AHEAD: usize = 4;

/// A file that is to be read, or standard input.
pub struct Input {
    /// What it was called on the command line.
    pub path: PathBuf,
    /// What cannot be opened again.
    opened: Option<Source>,
}

impl Input {
    /// Opens a path, adds it to what the capture will be called by, and looks at its first bytes, at most `most`
    /// of them, decompressed. `stop`: asked now and then.
    pub fn open(
        path: &Path,
        most: usize,
        identity: &mut Identity,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<(Input, Vec<u8>)> {
        let is_file = path.as_os_str() != STDIN && path.metadata()?.is_file();
        let raw: Box<dyn Read + Send> = if is_file {
            let mut file = File::open(path)?;
            identity.file(&mut file, stop)?;
            Box::new(file)
        } else if path.as_os_str() == STDIN {
            Box::new(identity.stream(io::stdin())?)
        } else {
            Box::new(identity.stream(File::open(path)?)?)
        };
        let mut source = decompress(buffered(raw))?;
        let head = head(&mut source, most)?;
        let whole = (!is_file).then(|| Box::new(Cursor::new(head.clone()).chain(source)) as Source);
        Ok((Input { path: path.to_owned(), opened: whole }, head))
    }

    /// Its bytes, from the first one.
    pub fn source(&mut self) -> io::Result<Source> {
        match self.opened.take() {
            Some(source) => Ok(source),
            None => decompress(buffered(File::open(&self.path)?)),
        }
    }

    /// The same, read and decompressed by a thread of its own.
    pub fn source_ahead(&mut self) -> io::Result<Source> {
        Ok(Box::new(Ahead::of(self.source()?)))
    }
}

/// What another thread has read, a piece in hand.
struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    used: usize,
}

impl Ahead {
    /// The thread ends with the source, or once nobody takes its pieces.
    fn of(mut source: Source) -> Ahead {
        let (give, pieces) = sync_channel(PIECES_AHEAD);
        thread::spawn(move || {
            loop {
                let piece = match source.fill_buf() {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read.map(<[u8]>::to_vec),
                };
                let read = piece.as_ref().map_or(0, Vec::len);
                source.consume(read);
                // The end, or an error, is the last that is told.
                if give.send(piece).is_err() || read == 0 {
                    return;
                }
            }
        });
        Ahead { pieces, piece: Vec::new(), used: 0 }
    }
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.piece.len()
            && let Ok(next) = self.pieces.recv()
        {
            (self.piece, self.used) = (next?, 0);
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, used: usize) {
        self.used += used;
    }
}

/// The first bytes; fewer where there are no more, or what follows is damaged.
fn head(source: &mut Source, most: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    match source.take(most as u64).read_to_end(&mut head) {
        Err(error) if head.is_empty() => Err(error),
        _ => Ok(head),
    }
}

/// Looks at the first bytes: gzip (RFC 1952; of several members, as `pigz` and `cat` make them, all) and zstd
/// (RFC 8878).
pub fn decompress(mut source: Source) -> io::Result<Source> {
    let start = source.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(buffered(MultiGzDecoder::new(source)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(buffered(zstd::stream::read::Decoder::with_buffer(source)?));
    }
    Ok(source)
}

fn buffered(reader: impl Read + Send + 'static) -> Source {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, reader))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        decompress(Box::new(Cursor::new(bytes))).expect("a source").read_to_end(&mut out).expect("its bytes");
        out
    }

    #[test]
    fn what_is_read_ahead_is_the_same_and_ends_with_the_same_error() {
        let bytes: Vec<u8> = (0..3 * BUFFER_BYTES + 7).map(|at| at as u8).collect();
        let mut out = Vec::new();
        Ahead::of(Box::new(Cursor::new(bytes.clone()))).read_to_end(&mut out).expect("its bytes");
        assert_eq!(out, bytes);
        let packed = gzip(&bytes);
        let cut = packed[..packed.len() - 9].to_vec();
        let [plain, ahead] = [false, true].map(|ahead| {
            let source = decompress(Box::new(Cursor::new(cut.clone()))).expect("a source");
            let mut source: Source = if ahead { Box::new(Ahead::of(source)) } else { source };
            let mut out = Vec::new();
            (source.read_to_end(&mut out).expect_err("it is cut").kind(), out)
        });
        assert!(!plain.1.is_empty());
        assert_eq!(ahead, plain);
    }

    #[test]
    fn what_is_compressed_shows_in_its_first_bytes() {
        assert_eq!(read(b"plain".to_vec()), b"plain");
        assert_eq!(read(Vec::new()), b"");
        assert_eq!(read([gzip(b"one "), gzip(b"two")].concat()), b"one two");
        assert_eq!(read(zstd::encode_all(&b"packed"[..], 1).expect("memory")), b"packed");
    }
}
