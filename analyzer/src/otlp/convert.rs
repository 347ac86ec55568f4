//! A row of `spans` as an OTLP span, and which spans are sent without their parents.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::attributes;
use crate::tables::SpanRow;

/// Spans are sampled; whether the parent is remote is known (W3C trace flags, and bit 8).
const FLAGS: u32 = 0x1 | 0x100;
/// The parent is in another process that was not recorded.
const REMOTE: u32 = 0x200;

/// Finds out which spans are sent without their parents. Span ids are hashes: 64 bits tell them apart.
#[derive(Debug, Default)]
pub struct Parents {
    sent: Vec<u64>,
    wanted: Vec<u64>,
}

impl Parents {
    /// Takes note of a span that is sent.
    pub fn add(&mut self, row: &SpanRow<'_>) {
        let number = |hex| u64::from_str_radix(hex, 16).ok();
        self.sent.extend(number(row.span_id));
        self.wanted.extend(row.parent_span_id.and_then(number));
    }

    /// How many of the spans have a recorded parent that is not among them.
    pub fn missing(mut self) -> u64 {
        self.sent.sort_unstable();
        self.wanted.iter().filter(|parent| self.sent.binary_search(parent).is_err()).count() as u64
    }
}

/// One span. A parent that nobody recorded is its parent all the same: another tracer may have sent it.
pub fn span(row: &SpanRow<'_>) -> Span {
    let parent = row.parent_span_id.or(row.remote_parent_span_id);
    let remote = row.parent_span_id.is_none() && parent.is_some();
    let (attributes, status) = attributes::of_span(row);
    Span {
        trace_id: id(row.trace_id),
        span_id: id(row.span_id),
        parent_span_id: parent.map(id).unwrap_or_default(),
        flags: if remote { FLAGS | REMOTE } else { FLAGS },
        name: row.name.to_owned(),
        kind: kind(row.kind).into(),
        start_time_unix_nano: u64::try_from(row.start_time).unwrap_or_default(),
        end_time_unix_nano: u64::try_from(row.end_time).unwrap_or_default(),
        attributes,
        status: Some(status),
        ..Span::default()
    }
}

fn kind(kind: &str) -> SpanKind {
    match kind {
        "client" => SpanKind::Client,
        "server" => SpanKind::Server,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// Bytes of hex digits; empty, which receivers take for "none", where they are not.
fn id(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes.filter(|_| rest.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bytes() {
        assert_eq!(id("00ff10ab"), [0, 0xff, 0x10, 0xab]);
        assert!(id("abc").is_empty());
        assert!(id("zz").is_empty());
    }
}
