//! Writes messages for tests.

use super::super::types::Encoding;

/// What must be in nothing that is kept.
pub const CANARY: &str = "Hunter2!Canary";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Strict,
    Old,
    Compact,
}

/// The fields of a struct, in the order of their numbers, none of which may be left out.
pub struct Fields {
    encoding: Encoding,
    pub bytes: Vec<u8>,
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

impl Fields {
    fn field(&mut self, binary: u8, compact: u8, number: u8) {
        match self.encoding {
            Encoding::Binary => self.bytes.extend([binary, 0, number]),
            Encoding::Compact => self.bytes.push(0x10 | compact),
        }
    }

    fn length(&mut self, length: usize) {
        match self.encoding {
            Encoding::Binary => self.bytes.extend((length as u32).to_be_bytes()),
            Encoding::Compact => varint(length as u64, &mut self.bytes),
        }
    }

    pub fn text(&mut self, number: u8, text: &str) {
        self.field(11, 8, number);
        self.plain_text(text);
    }

    fn plain_text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend(text.as_bytes());
    }

    pub fn truth(&mut self, number: u8, truth: bool) {
        self.field(2, if truth { 1 } else { 2 }, number);
        if self.encoding == Encoding::Binary {
            self.bytes.push(truth.into());
        }
    }

    /// An i64, of compact ones with seven bits a byte.
    pub fn number(&mut self, number: u8, value: i64) {
        self.field(10, 6, number);
        match self.encoding {
            Encoding::Binary => self.bytes.extend(value.to_be_bytes()),
            Encoding::Compact => varint((value << 1 ^ value >> 63) as u64, &mut self.bytes),
        }
    }

    pub fn i32(&mut self, number: u8, value: i32) {
        self.field(8, 5, number);
        match self.encoding {
            Encoding::Binary => self.bytes.extend(value.to_be_bytes()),
            Encoding::Compact => varint((value << 1 ^ value >> 31) as u32 as u64, &mut self.bytes),
        }
    }

    /// Twenty texts.
    fn texts(&mut self, number: u8) {
        self.field(15, 9, number);
        match self.encoding {
            Encoding::Binary => self.bytes.extend([11, 0, 0, 0, 20]),
            Encoding::Compact => self.bytes.extend([0xf8, 20]),
        }
        (0..20).for_each(|at| self.plain_text(if at == 7 { CANARY } else { "" }));
    }

    /// Three numbers of two bytes, whose bytes are secret, or empty.
    fn numbers(&mut self, number: u8, any: bool) {
        self.field(14, 10, number);
        match (self.encoding, any) {
            (Encoding::Binary, true) => {
                self.bytes.extend([6, 0, 0, 0, 3, 0x12, 0x34, 0x56, 0x12, 0x34, 0x56])
            }
            (Encoding::Binary, false) => self.bytes.extend([6, 0, 0, 0, 0]),
            (Encoding::Compact, true) => self.bytes.extend([0x34, 0x12, 0x34, 0x56]),
            (Encoding::Compact, false) => self.bytes.push(0x04),
        }
    }

    /// Texts to structs, and an empty one.
    fn map(&mut self, number: u8) {
        self.field(13, 11, number);
        match self.encoding {
            Encoding::Binary => self.bytes.extend([11, 12, 0, 0, 0, 2]),
            Encoding::Compact => self.bytes.extend([2, 0x8c]),
        }
        for _ in 0..2 {
            self.plain_text(CANARY);
            self.text(1, CANARY);
            self.truth(2, true);
            self.bytes.push(0);
        }
        self.field(13, 11, number + 1);
        match self.encoding {
            Encoding::Binary => self.bytes.extend([11, 12, 0, 0, 0, 0]),
            Encoding::Compact => self.bytes.push(0),
        }
    }

    /// A bit of everything.
    fn all(&mut self) {
        self.text(1, CANARY);
        self.truth(2, false);
        self.number(3, 0x12_3456_7890);
        self.texts(4);
        self.map(5);
        self.numbers(7, true);
        self.numbers(8, false);
        self.field(12, 12, 9);
        self.text(1, "");
        self.i32(2, -5);
        self.bytes.push(0);
        self.field(4, 7, 10);
        self.bytes.extend([0x12, 0x34, 0x56, 0x12, 0x34, 0x56, 0x12, 0x34]);
        self.field(3, 3, 11);
        self.bytes.push(0x12);
    }
}

/// A message of these fields.
pub fn with(writer: Writer, kind: u8, name: &str, sequence: u32, fill: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let (length, number) = ((name.len() as u32).to_be_bytes(), sequence.to_be_bytes());
    let mut bytes = match writer {
        Writer::Strict => [&[0x80, 1, 0, kind], &length[..], name.as_bytes(), &number].concat(),
        Writer::Old => [&length[..], name.as_bytes(), &[kind], &number].concat(),
        Writer::Compact => {
            let mut bytes = vec![0x82, kind << 5 | 1];
            varint(sequence.into(), &mut bytes);
            varint(name.len() as u64, &mut bytes);
            [&bytes, name.as_bytes()].concat()
        }
    };
    let encoding = if writer == Writer::Compact { Encoding::Compact } else { Encoding::Binary };
    let mut fields = Fields { encoding, bytes: Vec::new() };
    fill(&mut fields);
    bytes.extend(fields.bytes);
    bytes.push(0);
    bytes
}

/// A message with a bit of everything in it.
pub fn message(writer: Writer, kind: u8, name: &str, sequence: u32) -> Vec<u8> {
    with(writer, kind, name, sequence, Fields::all)
}

/// A TApplicationException.
pub fn exception(writer: Writer, name: &str, sequence: u32, kind: Option<i32>) -> Vec<u8> {
    with(writer, 3, name, sequence, |fields| {
        fields.text(1, &CANARY.repeat(3));
        if let Some(kind) = kind {
            fields.i32(2, kind);
        }
    })
}

/// In a frame.
pub fn framed(message: Vec<u8>) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), &message[..]].concat()
}

/// In a frame of THeader, with a field that is secret and the number of the message.
pub fn theader(message: Vec<u8>) -> Vec<u8> {
    let encoding = if message[0] == 0x82 { 2 } else { 0 };
    let sequence = match message[..] {
        [0x82, _, sequence, ..] => sequence.into(),
        [0x80, _, _, _, a, b, c, d, ..] => {
            let at = 8 + u32::from_be_bytes([a, b, c, d]) as usize;
            message[at + 3].into()
        }
        _ => 0,
    };
    let mut fields = vec![encoding, 0, 1, 1, 3, b'k', b'e', b'y', CANARY.len() as u8];
    fields.extend(CANARY.as_bytes());
    with_theader(sequence, fields, &message)
}

/// In a frame of THeader, compressed.
pub fn compressed(sequence: u32) -> Vec<u8> {
    with_theader(sequence, vec![2, 1, 1], CANARY.as_bytes())
}

fn with_theader(sequence: u32, mut fields: Vec<u8>, message: &[u8]) -> Vec<u8> {
    fields.resize(fields.len().next_multiple_of(4), 0);
    let words = (fields.len() as u16 / 4).to_be_bytes();
    framed([&[0x0f, 0xff, 0, 0], &sequence.to_be_bytes()[..], &words, &fields, message].concat())
}
