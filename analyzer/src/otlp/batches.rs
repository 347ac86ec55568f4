//! Span rows in, encoded requests out: no request has more spans or bytes than a receiver takes.
//!
//! A span is encoded as soon as it is added. What is kept and sent is bytes: a request that is tried again is not encoded
//! again, nor copied.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use prost::encoding::{bytes as length_delimited, message};

use super::convert::span;
use super::resource::Resources;
use crate::tables::SpanRow;

/// Most spans in a request.
const MAX_SPANS: u64 = 2_000;
/// gRPC receivers refuse messages over 4 MiB unless told otherwise; resources come on top of spans.
const MAX_SPAN_BYTES: usize = 3 << 20;

/// Field of `ExportTraceServiceRequest` (trace_service.proto).
const RESOURCE_SPANS: u32 = 1;
/// Field of `ResourceSpans` (trace.proto).
const SCOPE_SPANS: u32 = 2;
/// Field of `ScopeSpans` (trace.proto).
const SPANS: u32 = 2;

/// A request and how many spans are in it.
pub struct Batch {
    /// `ExportTraceServiceRequest`, encoded.
    pub message: Bytes,
    /// Spans in it.
    pub spans: u64,
}

/// Collects spans until a request is full.
pub struct Batcher<'a> {
    resources: &'a Resources,
    /// The spans of each process and service, encoded as fields of `ScopeSpans`.
    by_process: BTreeMap<(Option<i64>, String), Vec<u8>>,
    spans: u64,
    bytes: usize,
    /// The span that is added.
    next: Vec<u8>,
}

impl<'a> Batcher<'a> {
    /// Starts empty.
    pub fn new(resources: &'a Resources) -> Batcher<'a> {
        Batcher { resources, by_process: BTreeMap::new(), spans: 0, bytes: 0, next: Vec::new() }
    }

    /// Adds a span; returns the request before it where that is full.
    pub fn push(&mut self, row: &SpanRow<'_>) -> Option<Batch> {
        self.next.clear();
        message::encode(SPANS, &span(row), &mut self.next);
        let full = self.spans >= MAX_SPANS || self.bytes + self.next.len() > MAX_SPAN_BYTES;
        let batch = if full { self.take() } else { None };
        self.spans += 1;
        self.bytes += self.next.len();
        let spans =
            self.by_process.entry((row.process_id, row.service.unwrap_or_default().to_owned())).or_default();
        spans.extend_from_slice(&self.next);
        batch
    }

    /// What is left.
    pub fn take(&mut self) -> Option<Batch> {
        if self.spans == 0 {
            return None;
        }
        let mut request = Vec::with_capacity(self.bytes + self.bytes / 8);
        for ((process_id, service), spans) in std::mem::take(&mut self.by_process) {
            let resource = Some(self.resources.of(&service, process_id));
            let mut resource_spans = ResourceSpans { resource, ..ResourceSpans::default() }.encode_to_vec();
            let mut scope_spans =
                ScopeSpans { scope: Some(scope()), ..ScopeSpans::default() }.encode_to_vec();
            // An encoded message to which encoded fields are appended is the message with those fields.
            scope_spans.extend(spans);
            length_delimited::encode(SCOPE_SPANS, &scope_spans, &mut resource_spans);
            length_delimited::encode(RESOURCE_SPANS, &resource_spans, &mut request);
        }
        self.bytes = 0;
        Some(Batch { message: request.into(), spans: std::mem::take(&mut self.spans) })
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "retrospan".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
