//! A span as a file has it, whatever the file's format.

use retrospan_protocols::semconv::Kind;

/// A span. What a file does not say, or says as something else than it should be, is zero, empty or None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Trace; 0 is none.
    pub trace_id: u128,
    /// Its id; 0 is none.
    pub span_id: u64,
    /// Parent; 0 is none.
    pub parent_span_id: u64,
    /// What it is a part of.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// Begin, ns since 1970 UTC; None where no time is told, or none that can be.
    pub start_ns: Option<i64>,
    /// End.
    pub end_ns: Option<i64>,
    /// What its maker says of how it ended.
    pub status: Option<Status>,
    /// Attributes in their order.
    pub attributes: Attributes,
    /// The library that made it.
    pub scope: Option<String>,
}

/// How a span ended, as its maker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Well, somebody looked.
    Ok,
    /// Badly.
    Error,
}

impl Status {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Error => "error",
        }
    }
}

/// Attributes by name.
pub type Attributes = Vec<(String, Value)>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A truth.
    Bool(bool),
    /// Several.
    List(Vec<Value>),
    /// Several by name.
    Map(Attributes),
    /// Anything else: bytes, nothing.
    Other,
}

impl Value {
    /// The text, or the only text of a list, as headers have it.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::List(list) if list.len() == 1 => list[0].text(),
            _ => None,
        }
    }

    /// The whole number; older tracers give numbers as texts.
    pub fn int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// An attribute by its name.
pub fn find<'a>(attributes: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// An id of hex digits, the leading zeros of which may be missing. 0 where it is none.
pub fn hex_id(digits: &str, most: usize) -> u128 {
    let is_hex = digits.len() <= most && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { u128::from_str_radix(digits, 16).unwrap_or_default() } else { 0 }
}

/// An id as bytes, the first of which may be missing. 0 where it is none.
pub fn bytes_id(bytes: &[u8], most: usize) -> u128 {
    if bytes.len() > most {
        return 0;
    }
    bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte))
}

/// A time as ns since 1970 UTC.
pub fn time_ns(ns: u64) -> Option<i64> {
    i64::try_from(ns).ok().filter(|ns| *ns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_lack_their_zeros_and_are_else_none() {
        assert_eq!(hex_id("00000000000000ab", 16), 0xab);
        assert_eq!(hex_id("aB", 16), 0xab);
        assert_eq!(hex_id(&"f".repeat(32), 32), u128::MAX);
        for other in ["", "xyz", "+1", "-1", &"1".repeat(33)] {
            assert_eq!(hex_id(other, 32), 0, "{other}");
        }
        assert_eq!(bytes_id(&[1, 0], 8), 256);
        assert_eq!((bytes_id(&[], 8), bytes_id(&[1; 9], 8)), (0, 0));
    }
}
