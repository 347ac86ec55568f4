//! Types of values, and how long they are.

/// How values are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// TBinaryProtocol, with and without version.
    #[default]
    Binary,
    /// TCompactProtocol.
    Compact,
}

/// How much room a value of a type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many bytes.
    Fixed(u64),
    /// A number of seven bits a byte.
    Varint,
    /// A length, and as many bytes.
    Text,
    /// Fields up to a stop.
    Struct,
    /// A type, a count, and as many values.
    List,
    /// A count, two types, and as many pairs.
    Map,
}

impl Encoding {
    /// The size of a value of this type, as an element of a list. None where there is no such type.
    pub(super) fn size(self, kind: u8) -> Option<Size> {
        match self {
            Encoding::Binary => binary(kind),
            Encoding::Compact => compact(kind),
        }
    }
}

/// Types as in `TType`: bool, byte, double, i16, i32, i64, string, struct, map, set, list, uuid.
fn binary(kind: u8) -> Option<Size> {
    Some(match kind {
        2 | 3 => Size::Fixed(1),
        6 => Size::Fixed(2),
        8 => Size::Fixed(4),
        4 | 10 => Size::Fixed(8),
        11 => Size::Text,
        12 => Size::Struct,
        13 => Size::Map,
        14 | 15 => Size::List,
        16 => Size::Fixed(16),
        _ => return None,
    })
}

/// Types of the compact protocol: true, false, byte, i16, i32, i64, double, binary, list, set, map, struct,
/// uuid.
fn compact(kind: u8) -> Option<Size> {
    Some(match kind {
        1..=3 => Size::Fixed(1),
        4..=6 => Size::Varint,
        7 => Size::Fixed(8),
        8 => Size::Text,
        9 | 10 => Size::List,
        11 => Size::Map,
        12 => Size::Struct,
        13 => Size::Fixed(16),
        _ => return None,
    })
}

/// A number of seven bits a byte, and the bytes it takes. `Err` with how many bytes tell more: none where
/// there is no such number.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), Option<usize>> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Ok((value, at + 1));
        }
    }
    Err((bytes.len() < 10).then_some(bytes.len() + 1))
}

/// The signed number that a number without sign stands for.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
