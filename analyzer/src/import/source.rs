//! A path in, its bytes out: decompressed where they are gzip or zstd, whatever the name says.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// The bytes of a capture file, one after the other.
pub type Source = Box<dyn BufRead>;

/// The name that stands for standard input.
pub const STDIN: &str = "-";
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Opens a file, or standard input for `-`.
pub fn open(path: &Path) -> io::Result<Source> {
    let file: Box<dyn Read> =
        if path.as_os_str() == STDIN { Box::new(io::stdin()) } else { Box::new(File::open(path)?) };
    decompress(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
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

fn buffered(reader: impl Read + 'static) -> Source {
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
    fn what_is_compressed_shows_in_its_first_bytes() {
        assert_eq!(read(b"plain".to_vec()), b"plain");
        assert_eq!(read(Vec::new()), b"");
        assert_eq!(read([gzip(b"one "), gzip(b"two")].concat()), b"one two");
        assert_eq!(read(zstd::encode_all(&b"packed"[..], 1).expect("memory")), b"packed");
    }
}
