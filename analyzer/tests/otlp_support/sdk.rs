//! Rows of `spans` through `opentelemetry-otlp`, the exporter that the OpenTelemetry project has for Rust.
//!
//! An exporter has one resource, so there is one for each process; they share a channel.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_proto::tonic::common::v1 as proto;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use retrospan_analyzer::otlp::attributes;
use retrospan_analyzer::otlp::resource::Resources;
use retrospan_analyzer::tables::SpanRow;
use tonic::transport::Channel;

/// Most spans in a request.
const MAX_SPANS: usize = 2_000;

/// A process and what it is called there.
pub type Process = (Option<i64>, String);

/// Collects spans until the request of their process is full.
#[derive(Default)]
pub struct Batcher {
    by_process: BTreeMap<Process, Vec<SpanData>>,
}

impl Batcher {
    /// Adds a span; returns the spans of its process where that are enough.
    pub fn push(&mut self, row: &SpanRow<'_>) -> Option<(Process, Vec<SpanData>)> {
        let process = (row.process_id, row.service.unwrap_or_default().to_owned());
        let spans = self.by_process.entry(process.clone()).or_default();
        spans.push(span_data(row));
        (spans.len() >= MAX_SPANS).then(|| (process, std::mem::take(spans)))
    }

    /// What is left.
    pub fn rest(self) -> impl Iterator<Item = (Process, Vec<SpanData>)> {
        self.by_process.into_iter().filter(|(_, spans)| !spans.is_empty())
    }
}

/// An exporter for the resource of a process.
pub fn exporter(channel: &Channel, resources: &Resources, (process_id, service): &Process) -> SpanExporter {
    let builder = SpanExporter::builder().with_tonic().with_channel(channel.clone());
    let mut exporter = builder.build().expect("an exporter");
    let attributes = resources.of(service, *process_id).attributes.into_iter().map(key_value);
    exporter.set_resource(&Resource::builder_empty().with_attributes(attributes).build());
    exporter
}

/// A row as the SDK holds a span that has ended.
fn span_data(row: &SpanRow<'_>) -> SpanData {
    let parent = row.parent_span_id.or(row.remote_parent_span_id);
    let (list, status) = attributes::of_span(row);
    let trace_id = TraceId::from_hex(row.trace_id).expect("a trace id");
    let span_id = |hex| SpanId::from_hex(hex).expect("a span id");
    let sampled = TraceFlags::SAMPLED;
    SpanData {
        span_context: SpanContext::new(trace_id, span_id(row.span_id), sampled, false, TraceState::NONE),
        parent_span_id: parent.map_or(SpanId::INVALID, span_id),
        parent_span_is_remote: row.parent_span_id.is_none() && parent.is_some(),
        span_kind: match row.kind {
            "client" => SpanKind::Client,
            "server" => SpanKind::Server,
            "producer" => SpanKind::Producer,
            "consumer" => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        name: row.name.to_owned().into(),
        start_time: time(row.start_time),
        end_time: time(row.end_time),
        attributes: list.into_iter().map(key_value).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: match status.code {
            0 => Status::Unset,
            _ => Status::error(status.message),
        },
        instrumentation_scope: InstrumentationScope::builder("retrospan")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn time(ns: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(ns.try_into().expect("a time after 1970"))
}

fn key_value(attribute: proto::KeyValue) -> KeyValue {
    use proto::any_value::Value as Proto;
    let value = match attribute.value.and_then(|value| value.value) {
        Some(Proto::StringValue(text)) => Value::from(text),
        Some(Proto::IntValue(number)) => Value::from(number),
        Some(Proto::DoubleValue(number)) => Value::from(number),
        other => panic!("{}: {other:?}", attribute.key),
    };
    KeyValue::new(attribute.key, value)
}
