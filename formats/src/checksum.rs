//! Checksums of what is being written, so that no file is read again for its own.

use std::io::{self, Write};

use xxhash_rust::xxh3::Xxh3;

/// Counts and hashes what goes into `W`.
pub struct HashingWriter<W> {
    inner: W,
    hash: Xxh3,
    bytes: u64,
}

impl<W> HashingWriter<W> {
    /// Nothing is written yet. A capture's own files have the `seed` 0.
    pub fn new(inner: W, seed: u64) -> HashingWriter<W> {
        HashingWriter { inner, hash: Xxh3::with_seed(seed), bytes: 0 }
    }

    /// What is written to.
    pub fn inner(&self) -> &W {
        &self.inner
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// xxh3 of these bytes.
    pub fn xxh3(&self) -> u64 {
        self.hash.digest()
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

    use super::*;

    /// Takes three bytes at a time.
    struct Slow;

    impl Write for Slow {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len().min(3))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_taken_is_counted_and_hashed_once() {
        for text in [&b"x"[..], &[7; 1000]] {
            let mut plain = HashingWriter::new(Slow, 0);
            let mut seeded = HashingWriter::new(Slow, 5);
            plain.write_all(text).unwrap();
            seeded.write_all(text).unwrap();
            assert_eq!((plain.bytes(), plain.xxh3()), (text.len() as u64, xxh3_64(text)));
            assert_eq!(seeded.xxh3(), xxh3_64_with_seed(text, 5));
        }
    }
}
