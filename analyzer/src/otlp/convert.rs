//! Batches of span rows in, requests out: no request has more spans or bytes than a receiver takes.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::attributes;
use super::resource::Resources;
use crate::tables::SpanRow;

/// Most spans in a request.
const MAX_SPANS: usize = 2_000;
/// gRPC receivers refuse messages over 4 MiB unless told otherwise; resources come on top of spans.
const MAX_SPAN_BYTES: usize = 3 << 20;
/// Spans are sampled; whether the parent is remote is known (W3C trace flags, and bit 8).
const FLAGS: u32 = 0x1 | 0x100;
/// The parent is in another process that was not recorded.
const REMOTE: u32 = 0x200;

/// A request and how many spans are in it.
pub struct Batch {
    /// What is sent.
    pub request: ExportTraceServiceRequest,
    /// Spans in it.
    pub spans: u64,
}

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

/// Collects spans until a request is full.
pub struct Batcher<'a> {
    resources: &'a Resources,
    by_process: BTreeMap<(Option<i64>, String), Vec<Span>>,
    spans: usize,
    bytes: usize,
}

impl<'a> Batcher<'a> {
    /// Starts empty.
    pub fn new(resources: &'a Resources) -> Batcher<'a> {
        Batcher { resources, by_process: BTreeMap::new(), spans: 0, bytes: 0 }
    }

    /// Adds a span; returns the request before it where that is full.
    pub fn push(&mut self, row: &SpanRow<'_>) -> Option<Batch> {
        let span = span(row);
        let bytes = span.encoded_len() + 8;
        let full = self.spans >= MAX_SPANS || self.bytes + bytes > MAX_SPAN_BYTES;
        let batch = if full { self.take() } else { None };
        self.spans += 1;
        self.bytes += bytes;
        self.by_process
            .entry((row.process_id, row.service.unwrap_or_default().to_owned()))
            .or_default()
            .push(span);
        batch
    }

    /// What is left.
    pub fn take(&mut self) -> Option<Batch> {
        if self.spans == 0 {
            return None;
        }
        let spans = std::mem::take(&mut self.spans) as u64;
        self.bytes = 0;
        let groups = std::mem::take(&mut self.by_process);
        let resource_spans = groups.into_iter().map(|((process_id, service), spans)| {
            let scope = InstrumentationScope {
                name: "retrospan".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            };
            ResourceSpans {
                resource: Some(self.resources.of(&service, process_id)),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
                schema_url: String::new(),
            }
        });
        Some(Batch { request: ExportTraceServiceRequest { resource_spans: resource_spans.collect() }, spans })
    }
}

/// One span. A parent that nobody recorded is its parent all the same: another tracer may have sent it.
fn span(row: &SpanRow<'_>) -> Span {
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
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2)).unwrap_or_default();
    pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
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
