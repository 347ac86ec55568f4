//! Bytes in, the begins of documents and their bytes out.

use std::io::{self, Read};

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 16;

/// A text that is being read, byte by byte, and remembers where it is.
pub struct Text<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
    line: usize,
    /// The byte before the next one.
    last: u8,
    failure: Option<io::Error>,
}

impl<R: Read> Text<R> {
    /// At its begin.
    pub fn new(source: R) -> Text<R> {
        Text { source, block: Vec::new(), at: 0, line: 1, last: b'\n', failure: None }
    }

    /// Goes to the first byte of the next document, which is not taken; None at the end, and where it cannot be read on.
    pub fn begin(&mut self) -> Option<u8> {
        // A mark of the byte order stands before the first one, commas and brackets between those of a list that is broken.
        let between = |byte: u8| byte.is_ascii_whitespace() || b",]\0\xef\xbb\xbf".contains(&byte);
        loop {
            let next = self.peek()?;
            if !between(next) {
                return Some(next);
            }
            self.pass();
        }
    }

    /// Goes to the next line that begins as a document does.
    pub fn skip_to_document(&mut self) {
        // A reader of JSON looks one byte ahead: that may have been the line's end.
        while let Some(next) = self.peek() {
            if self.last == b'\n' && b"{[".contains(&next) {
                return;
            }
            self.pass();
        }
    }

    /// Number of the line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Why it could not be read on.
    pub fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// The same.
    pub fn into_failure(self) -> Option<io::Error> {
        self.failure
    }

    fn peek(&mut self) -> Option<u8> {
        if self.at == self.block.len() && !self.fill() {
            return None;
        }
        self.block.get(self.at).copied()
    }

    fn pass(&mut self) {
        self.last = self.block[self.at];
        self.line += usize::from(self.last == b'\n');
        self.at += 1;
    }

    /// Whether there is more.
    fn fill(&mut self) -> bool {
        if self.failure.is_some() {
            return false;
        }
        self.block.resize(BLOCK_BYTES, 0);
        self.at = 0;
        let read = loop {
            match self.source.read(&mut self.block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.unwrap_or_else(|error| {
            self.failure = Some(error);
            0
        });
        self.block.truncate(read);
        read > 0
    }
}

/// For a reader of JSON, which takes a byte at a time.
impl<R: Read> Read for &mut Text<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(place) = buffer.first_mut() else { return Ok(0) };
        match self.peek() {
            Some(byte) => {
                *place = byte;
                self.pass();
                Ok(1)
            }
            // What failed is told afterwards; a reader of JSON would only say that it has ended.
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_behind_what_is_none() {
        let mut text = Text::new(&b"\xef\xbb\xbf \n{1\n 2}\n  {3}\n[4"[..]);
        assert_eq!((text.begin(), text.line()), (Some(b'{'), 2));
        text.pass();
        text.skip_to_document();
        assert_eq!((text.peek(), text.line()), (Some(b'['), 5));
        text.pass();
        text.skip_to_document();
        assert_eq!((text.begin(), text.failure().is_none()), (None, true));
    }
}
