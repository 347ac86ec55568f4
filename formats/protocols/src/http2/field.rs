//! Header fields: which of them are read, and which values may be kept.

use std::sync::Arc;

use super::path::{self, Path};
use crate::context::{Context, traceparent};
use crate::http1::head::is_host;
use crate::http1::names::{self, is_token};

/// The name of a field, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Method,
    Path,
    Authority,
    Host,
    UserAgent,
    ContentType,
    RequestId,
    TraceParent,
    B3,
    B3TraceId,
    B3SpanId,
    B3Sampled,
    Scheme,
    Status,
    GrpcStatus,
    /// Nobody asks for its value, which may be kept.
    Harmless,
    /// Its value must not be kept.
    Other,
    /// It is not known.
    Unknown,
}

/// So many of the first names have texts that often are those of the message before.
pub(super) const REPEATED: usize = 6;

/// Names beyond those of HTTP/1 whose values are harmless.
const HARMLESS: [&[u8]; 4] = [b":protocol", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-timeout"];

impl Name {
    /// None where it is no name.
    pub(super) fn of(name: &[u8]) -> Option<Name> {
        Some(match name {
            b":method" => Name::Method,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b":path" => Name::Path,
            b":status" => Name::Status,
            b"host" => Name::Host,
            b"user-agent" => Name::UserAgent,
            b"content-type" => Name::ContentType,
            b"x-request-id" => Name::RequestId,
            b"traceparent" => Name::TraceParent,
            b"b3" => Name::B3,
            b"x-b3-traceid" => Name::B3TraceId,
            b"x-b3-spanid" => Name::B3SpanId,
            b"x-b3-sampled" => Name::B3Sampled,
            b"grpc-status" => Name::GrpcStatus,
            _ if names::header(name, name.len()).0 || HARMLESS.contains(&name) => Name::Harmless,
            _ => {
                let rest = name.strip_prefix(b":").unwrap_or(name);
                let is_name = !rest.is_empty() && rest.iter().all(|&byte| is_token(byte));
                return is_name.then_some(Name::Other);
            }
        })
    }

    /// Its values may be kept, if they are such as it has.
    pub(super) fn may_be_kept(self) -> bool {
        !matches!(self, Name::Other | Name::Unknown)
    }
}

/// What of a field is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing that anybody asks for.
    #[default]
    Nothing,
    /// A text of the static table.
    Known(&'static str),
    Text(Arc<str>),
    Path(Arc<Path>),
    Number(u16),
    Context(Context),
    /// A content type, which is that of gRPC or another.
    Grpc(bool),
}

/// Digits and lines of a `traceparent`.
const TRACEPARENT_BYTES: usize = 55;

impl Field {
    /// At most as long as its value was.
    pub(super) fn length(&self) -> usize {
        match self {
            Field::Nothing | Field::Grpc(_) => 0,
            Field::Number(_) => 1,
            Field::Known(text) => text.len(),
            Field::Text(text) => text.len(),
            Field::Path(path) => path.length(),
            Field::Context(_) => TRACEPARENT_BYTES,
        }
    }

    fn shared(&self, text: &str) -> Field {
        match self {
            Field::Text(last) if **last == *text => self.clone(),
            _ => Field::Text(text.into()),
        }
    }
}

/// Longest text that is held.
const MAX_TEXT_BYTES: usize = 4096;
/// Longest method.
const MAX_METHOD_BYTES: usize = 32;

/// Reads a value whose name may be kept. `coded`: it came in the Huffman code. Blanks what of a path must not
/// be kept. None: nothing of it may be. A text that is as in `last` is shared with it.
pub(super) fn read(name: Name, value: &mut [u8], coded: bool, last: &Field) -> Option<Field> {
    if name == Name::Path {
        return path::redact(value, coded).map(|shown| match last {
            Field::Path(before) if before.is(&shown) => last.clone(),
            _ => Field::Path(Path::of(&shown).into()),
        });
    }
    let value = &*value;
    let is_text = || value.iter().all(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
    let keeps = match name {
        Name::Method => value.len() <= MAX_METHOD_BYTES && value.iter().all(|&byte| is_token(byte)),
        Name::Authority | Name::Host => value.iter().all(|&byte| is_host(byte)),
        Name::Scheme => value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)),
        Name::Status => return number(value, 3).filter(|status| *status >= 100).map(Field::Number),
        Name::GrpcStatus => return number(value, 2).map(Field::Number),
        _ => is_text(),
    };
    if !keeps {
        return None;
    }
    Some(match name {
        Name::TraceParent => traceparent(value).map_or(Field::Nothing, Field::Context),
        Name::ContentType => Field::Grpc(value.starts_with(b"application/grpc")),
        Name::Scheme | Name::Harmless => Field::Nothing,
        _ => {
            let text = &value[..value.len().min(MAX_TEXT_BYTES)];
            last.shared(&String::from_utf8_lossy(text))
        }
    })
}

/// A number of at most so many digits.
fn number(value: &[u8], digits: usize) -> Option<u16> {
    let is_number = !value.is_empty() && value.len() <= digits && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}
