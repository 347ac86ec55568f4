//! Which format a file has, by its first bytes, and what was found in it.

use std::io;

/// A format of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON; its documents tell whose.
    Json,
    /// OTLP as one protobuf message, `ExportTraceServiceRequest` or `TracesData`.
    Proto,
    /// OTLP as messages, each behind its length (u32, big endian), as the OpenTelemetry collector's file exporter
    /// writes them: protobuf, or compressed one by one.
    Delimited,
}

/// So many bytes tell.
pub const HEAD_BYTES: usize = 64;
/// A frame of zstd begins so (RFC 8878).
pub const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Field 1 of a message, which has a length: of both messages `resource_spans`.
const FIRST_FIELD: u8 = 0x0a;
/// Fields of `ResourceSpans`: resource, scope_spans, schema_url.
const FIELDS: [u8; 3] = [0x0a, 0x12, 0x1a];

/// What a file holds; None where that is none of these.
pub fn recognise(head: &[u8]) -> Option<Format> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if text.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first)) {
        return Some(Format::Json);
    }
    // Line ends alone could be a message of nothing.
    if is_message(head) && !head.trim_ascii().is_empty() {
        return Some(Format::Proto);
    }
    let (length, message) = head.split_first_chunk::<4>()?;
    let begins = is_message(message) || message.starts_with(&ZSTD) || message.first() == Some(&b'{');
    (u32::from_be_bytes(*length) > 1 && begins).then_some(Format::Delimited)
}

fn is_message(head: &[u8]) -> bool {
    let Some((&FIRST_FIELD, rest)) = head.split_first() else { return false };
    let length = rest.iter().take(5).position(|byte| byte & 0x80 == 0);
    length.and_then(|last| rest.get(last + 1)).is_some_and(|field| FIELDS.contains(field))
}

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Contents {
    /// Documents or messages of traces.
    pub traces: u64,
    /// It ends within one.
    pub cut: bool,
    /// What was wrong first.
    pub wrong: Option<String>,
    /// It could not be read to its end.
    pub failure: Option<io::Error>,
}

impl Contents {
    /// Notes what was wrong, if that is the first thing.
    pub fn broken(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_show_in_the_first_bytes() {
        assert_eq!(recognise(b" \r\n\t{\"data\""), Some(Format::Json));
        assert_eq!(recognise(b"\xef\xbb\xbf[]"), Some(Format::Json));
        assert_eq!(recognise(&[0x0a, 0x80, 0x01, 0x0a, 0x00]), Some(Format::Proto));
        assert_eq!(recognise(&[0, 0, 0, 9, 0x0a, 7, 0x12, 5]), Some(Format::Delimited));
        assert_eq!(recognise(&[0, 0, 1, 0, 0x28, 0xb5, 0x2f, 0xfd]), Some(Format::Delimited));
        assert_eq!(recognise(&[0, 0, 1, 0, b'{', b'"']), Some(Format::Delimited));
        for other in
            [&b""[..], b"text", b"\n", b"\n\n\n\n\n", &[0xa1, 0xb2, 0xc3, 0xd4], &[0x0a, 0x0d, 0x0d, 0x0a]]
        {
            assert_eq!(recognise(other), None, "{other:?}");
        }
    }
}
