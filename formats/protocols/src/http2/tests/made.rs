//! Frames and header blocks for tests. The encoder keeps to RFC 7541 to the letter, sizes of its table
//! included.

use crate::http2::frame::kind;
use crate::http2::huffman;

/// How a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As an index if it is in a table, else it is added.
    Indexed,
    /// A literal that is not added.
    Plain,
    /// The same in the Huffman code.
    Coded,
    /// A literal that is added, in the Huffman code.
    Added,
    /// As `Coded`, never to be indexed.
    Never,
}

/// Names and values of the static table that tests use.
const STATIC: [(usize, &str, &str); 19] = [
    (2, ":method", "GET"),
    (3, ":method", "POST"),
    (4, ":path", "/"),
    (5, ":path", "/index.html"),
    (6, ":scheme", "http"),
    (7, ":scheme", "https"),
    (8, ":status", "200"),
    (9, ":status", "204"),
    (13, ":status", "404"),
    (14, ":status", "500"),
    (1, ":authority", ""),
    (2, ":method", ""),
    (4, ":path", ""),
    (8, ":status", ""),
    (23, "authorization", ""),
    (31, "content-type", ""),
    (32, "cookie", ""),
    (54, "server", ""),
    (58, "user-agent", ""),
];

#[derive(Debug)]
pub struct Encoder {
    entries: Vec<(String, String)>,
    limit: usize,
    update: Vec<usize>,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { entries: Vec::new(), limit: 4096, update: Vec::new() }
    }
}

impl Encoder {
    /// The next block says that the table is this large.
    pub fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.update.push(limit);
        self.evict(0);
    }

    fn evict(&mut self, more: usize) {
        let size = |entries: &[(String, String)]| -> usize {
            entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
        };
        while size(&self.entries) + more > self.limit && !self.entries.is_empty() {
            self.entries.pop();
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        let size = name.len() + value.len() + 32;
        self.evict(size);
        if size <= self.limit {
            self.entries.insert(0, (name.into(), value.into()));
        }
    }

    fn find(&self, name: &str, value: Option<&str>) -> Option<usize> {
        let is = |(n, v): (&str, &str)| n == name && value.is_none_or(|value| value == v);
        let dynamic = || self.entries.iter().position(|(n, v)| is((n, v))).map(|at| 62 + at);
        // Some are there for their name alone.
        let has_value = |v: &str| value.is_none() || !v.is_empty();
        STATIC.iter().find(|(_, n, v)| is((n, v)) && has_value(v)).map(|(index, ..)| *index).or_else(dynamic)
    }

    pub fn block(&mut self, fields: &[(&str, &str, Way)]) -> Vec<u8> {
        let mut block = Vec::new();
        for size in self.update.drain(..) {
            number(size, 5, 0x20, &mut block);
        }
        for &(name, value, way) in fields {
            if way == Way::Indexed
                && let Some(index) = self.find(name, Some(value))
            {
                number(index, 7, 0x80, &mut block);
                continue;
            }
            let (bits, mark) = match way {
                Way::Indexed | Way::Added => (6, 0x40),
                Way::Never => (4, 0x10),
                Way::Plain | Way::Coded => (4, 0),
            };
            let index = self.find(name, None);
            number(index.unwrap_or(0), bits, mark, &mut block);
            if index.is_none() {
                text(name, way != Way::Plain, &mut block);
            }
            text(value, way != Way::Plain, &mut block);
            if bits == 6 {
                self.add(name, value);
            }
        }
        block
    }
}

fn number(value: usize, bits: u32, mark: u8, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(mark | value as u8);
    }
    out.push(mark | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(text: &str, coded: bool, out: &mut Vec<u8>) {
    if !coded {
        number(text.len(), 7, 0, out);
        return out.extend(text.bytes());
    }
    let bits: u32 = text.bytes().map(huffman::bits).sum();
    let mut code = vec![0; bits.div_ceil(8) as usize];
    huffman::encode(text.as_bytes(), &mut code);
    number(code.len(), 7, 0x80, out);
    out.extend(code);
}

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITY: u8 = 0x20;

pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

pub fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | flags, stream, block)
}

pub fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, content)
}

pub fn reset(stream: u32, error: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &error.to_be_bytes())
}
