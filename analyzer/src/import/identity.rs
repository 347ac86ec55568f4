//! What an imported capture is called by: a hash of what it is made of, so that the same files give the same ids.
//!
//! The name is needed before anything is written, so a file is read once for it alone. What cannot be read twice is told
//! by its first bytes: a recording begins with times that no other has.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek};

use xxhash_rust::xxh3::Xxh3Default;

/// Of what cannot be read twice so many bytes count.
const FIRST_BYTES: u64 = 1 << 20;
/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 18;

/// The name in the making.
#[derive(Clone, Default)]
pub struct Identity(Xxh3Default);

impl Identity {
    /// For a capture that is made in this way: of the same files another way gives other rows.
    pub fn new(way: &str) -> Identity {
        let mut identity = Identity::default();
        identity.add(way.as_bytes());
        identity
    }

    /// Adds all of a file, and goes back to its begin. `stop` is asked between blocks.
    pub fn file(&mut self, file: &mut File, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut length = 0_u64;
        loop {
            let read = match file.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 || stop() {
                break;
            }
            self.0.update(&block[..read]);
            length += read as u64;
        }
        self.end(length);
        file.rewind()
    }

    /// Adds the first bytes of what cannot be read twice, and gives it back whole.
    pub fn stream<R: Read>(&mut self, mut source: R) -> io::Result<impl Read + use<R>> {
        let mut first = Vec::new();
        source.by_ref().take(FIRST_BYTES).read_to_end(&mut first)?;
        self.add(&first);
        Ok(Cursor::new(first).chain(source))
    }

    /// 32 hex digits.
    pub fn name(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.end(bytes.len() as u64);
    }

    /// Tells two inputs from one that is both.
    fn end(&mut self, length: u64) {
        self.0.update(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn of(way: &str, inputs: &[&[u8]]) -> String {
        let mut identity = Identity::new(way);
        for input in inputs {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(input).expect("written");
            file.rewind().expect("rewound");
            identity.file(&mut file, &|| false).expect("read");
            let mut again = Vec::new();
            file.read_to_end(&mut again).expect("read");
            assert_eq!(again, *input, "it is at its begin again");
        }
        identity.name()
    }

    #[test]
    fn the_same_content_has_the_same_name_and_nothing_else_has() {
        let all = [
            of("heads", &[b"ab"]),
            of("full", &[b"ab"]),
            of("heads", &[b"a", b"b"]),
            of("heads", &[b"b", b"a"]),
            of("heads", &[b"", b"ab"]),
        ];
        assert_eq!(all[0], of("heads", &[b"ab"]));
        assert!(all.iter().all(|name| name.len() == 32));
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn a_stream_is_given_back_whole_and_small_ones_are_called_as_files() {
        let mut identity = Identity::new("heads");
        let mut whole = Vec::new();
        identity.stream(&b"ab"[..]).expect("a stream").read_to_end(&mut whole).expect("read");
        assert_eq!((whole.as_slice(), identity.name()), (&b"ab"[..], of("heads", &[b"ab"])));
        let long = vec![7; FIRST_BYTES as usize + 5];
        let mut whole = Vec::new();
        identity.stream(&*long).expect("a stream").read_to_end(&mut whole).expect("read");
        assert_eq!(whole.len(), long.len());
    }
}
