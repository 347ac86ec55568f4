//! A chunked body (RFC 9112 section 7.1), byte by byte but for the data.

use crate::parts::What;

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In a chunk-size line.
    Size {
        size: u64,
        any_digit: bool,
        then: SizeEnd,
    },
    Data {
        left: u64,
    },
    /// After the data, before its line end.
    DataEnd {
        carriage_return: bool,
    },
    /// Behind the last chunk. `empty`: nothing of the line was seen.
    Trailer {
        empty: bool,
        carriage_return: bool,
    },
}

/// What of a chunk-size line the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeEnd {
    Digits,
    Space,
    Extension,
    CarriageReturn,
}

/// What a byte of a chunked body is.
pub(super) enum Step {
    Is(What, Chunk),
    /// It is the last one.
    End,
    /// No chunked body has it here.
    Invalid,
}

impl Chunk {
    pub(super) const BEGIN: Chunk = Chunk::Size { size: 0, any_digit: false, then: SizeEnd::Digits };

    /// Takes in a byte that is not data.
    pub(super) fn step(self, byte: u8) -> Step {
        match self {
            Chunk::Size { size, any_digit, then } => size_step(size, any_digit, then, byte),
            Chunk::Data { .. } => Step::Is(What::Body, self),
            Chunk::DataEnd { carriage_return } => match byte {
                b'\n' => Step::Is(What::Framing, Chunk::BEGIN),
                b'\r' if !carriage_return => {
                    Step::Is(What::Framing, Chunk::DataEnd { carriage_return: true })
                }
                _ => Step::Invalid,
            },
            Chunk::Trailer { empty, carriage_return } => match byte {
                b'\n' if empty => Step::End,
                b'\n' => Step::Is(What::Framing, Chunk::Trailer { empty: true, carriage_return: false }),
                b'\r' => Step::Is(What::Framing, Chunk::Trailer { empty, carriage_return: true }),
                _ if empty && carriage_return => Step::Invalid,
                _ => Step::Is(What::Secret, Chunk::Trailer { empty: false, carriage_return: false }),
            },
        }
    }
}

fn size_step(size: u64, any_digit: bool, then: SizeEnd, byte: u8) -> Step {
    let next = |then| Chunk::Size { size, any_digit, then };
    let after_size = any_digit && then != SizeEnd::CarriageReturn;
    match (byte, then) {
        (b'\n', _) if any_digit && size == 0 => {
            Step::Is(What::Framing, Chunk::Trailer { empty: true, carriage_return: false })
        }
        (b'\n', _) if any_digit => Step::Is(What::Framing, Chunk::Data { left: size }),
        (b'\r', _) if after_size => Step::Is(What::Framing, next(SizeEnd::CarriageReturn)),
        (0 | b'\n' | b'\r', _) | (_, SizeEnd::CarriageReturn) => Step::Invalid,
        (_, SizeEnd::Extension) => Step::Is(What::Secret, next(SizeEnd::Extension)),
        (b';', _) if any_digit => Step::Is(What::Framing, next(SizeEnd::Extension)),
        (b' ' | b'\t', _) if any_digit => Step::Is(What::Framing, next(SizeEnd::Space)),
        (_, SizeEnd::Digits) => {
            let digit = (byte as char).to_digit(16);
            let size = digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit.into()));
            match size {
                Some(size) => {
                    Step::Is(What::Framing, Chunk::Size { size, any_digit: true, then: SizeEnd::Digits })
                }
                None => Step::Invalid,
            }
        }
        _ => Step::Invalid,
    }
}
