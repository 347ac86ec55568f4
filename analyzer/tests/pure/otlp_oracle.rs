//! What a receiver gets from us is what it gets from OpenTelemetry's own exporter for the same spans, field by field.
//!
//! The names of attributes are not compared: both take them from `otlp::attributes`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringViewArray};
use futures::{StreamExt, stream};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SpanExporter;
use prost::Message;
use retrospan_analyzer::otlp::batches::Batcher;
use retrospan_analyzer::otlp::endpoint::Protocol;
use retrospan_analyzer::otlp::resource::Resources;
use retrospan_analyzer::otlp::send::Receiver;
use retrospan_analyzer::otlp::settings::{Given, Settings};
use retrospan_analyzer::tables::SpanRow;
use retrospan_analyzer::tables::outcome::Outcome;
use retrospan_formats::reader::Capture;

use crate::otlp_support::{receiver, sdk};

/// Enough for several requests.
const SPANS: usize = 6_000;
/// Of these spans attributes are so long that a request is full before it has 2,000, and one more is needed.
const LONG: std::ops::Range<usize> = 1_000..1_200;

/// The texts of a row.
struct Texts {
    trace_id: String,
    span_id: String,
    parent: String,
    service: String,
    name: String,
    attributes: String,
}

fn texts(index: usize) -> Texts {
    let long = if LONG.contains(&index) { "/long".repeat(12_000) } else { String::new() };
    Texts {
        trace_id: format!("{:032x}", index as u128 / 4 + (0xabc << 100)),
        span_id: format!("{:016x}", index + 1),
        parent: format!("{:016x}", index + 2 * SPANS),
        service: ["shop", "edge", "café ☕", ""][index % 4].to_owned(),
        name: format!("GET /item/{index}"),
        attributes: match index % 5 {
            0 => String::new(),
            1 => r#"{"http.response.status_code":503,"error.type":"503"}"#.to_owned(),
            2 => r#"{"a":null,"b":1,"d":"\u0000\u2028"}"#.to_owned(),
            _ => format!(r#"{{"http.request.method":"GET","url.path":"/item/{index}{long}"}}"#),
        },
    }
}

/// Rows in which every column has each kind of value somewhere.
fn row(texts: &Texts, index: usize) -> SpanRow<'_> {
    let every = |n: usize| index.is_multiple_of(n);
    let number = |n: usize| every(n).then_some(index as i32);
    let start_time = 1_795_194_000_000_000_000 + index as i64;
    SpanRow {
        trace_id: &texts.trace_id,
        span_id: &texts.span_id,
        parent_span_id: every(2).then_some(&texts.parent),
        remote_parent_span_id: every(3).then_some(&texts.parent),
        kind: ["client", "server", "internal", "producer", "consumer"][index % 5],
        name: &texts.name,
        service: Some(&texts.service),
        start_time,
        end_time: start_time + 7 * index as i64,
        duration_ns: 7 * index as i64,
        own_ns: index as i64,
        protocol: Some(if every(2) { "http" } else { "redis" }),
        request_number: (!every(13)).then_some(0),
        attributes: Some(&texts.attributes),
        outcome: Outcome::ALL[index % Outcome::ALL.len()].name(),
        late_status: number(3),
        late_ns: number(3).map(i64::from),
        src_addr: every(2).then_some("127.0.0.1"),
        src_port: number(2),
        dst_addr: Some(if every(3) { "::1" } else { "10.0.0.1" }),
        dst_port: number(5),
        tid: number(7),
        process_id: (!every(11)).then_some(index as i64 % 3),
        connection_id: index as i64,
        link_evidence: every(5).then_some("connection"),
        link_confidence: every(5).then_some(index as f64 / SPANS as f64),
        ..SpanRow::default()
    }
}

fn resources() -> Resources {
    let text = |values: [Option<&str>; 3]| Arc::new(StringViewArray::from_iter(values)) as ArrayRef;
    let processes = RecordBatch::try_from_iter_with_nullable([
        ("process_id", Arc::new(Int64Array::from(vec![0, 1, 2])) as ArrayRef, true),
        ("pid", Arc::new(Int32Array::from(vec![100, 200, 300])) as ArrayRef, true),
        ("exe", text([Some("/usr/bin/shop"), None, Some("/edge")]), true),
        ("comm", text([Some("shop"), Some("edge"), None]), true),
        ("argv", text([Some("shop --all"), None, None]), true),
        ("cgroup", text([None, Some("/system.slice"), None]), true),
    ]);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/sample.cap");
    let manifest = Capture::open(&sample).unwrap().manifest;
    Resources::new(&manifest, &[processes.unwrap()]).unwrap()
}

/// The spans of each resource with its scope, everything in an order of its own.
type Received = BTreeMap<String, (InstrumentationScope, Vec<Span>)>;

fn sorted(requests: Vec<ExportTraceServiceRequest>) -> Received {
    let mut received = Received::new();
    for mut resource_spans in requests.into_iter().flat_map(|request| request.resource_spans) {
        assert_eq!(resource_spans.schema_url, "");
        let mut resource = resource_spans.resource.take().unwrap();
        resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        for scope_spans in resource_spans.scope_spans {
            assert_eq!(scope_spans.schema_url, "");
            let scope = scope_spans.scope.unwrap();
            let known =
                received.entry(format!("{resource:?}")).or_insert_with(|| (scope.clone(), Vec::new()));
            assert_eq!(known.0, scope);
            known.1.extend(scope_spans.spans);
        }
    }
    for (_, spans) in received.values_mut() {
        spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    }
    received
}

/// A receiver and what it has got.
struct Got {
    grpc: String,
    http: String,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Got {
    fn start() -> Got {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&requests);
        let (grpc, http) = receiver::start(Arc::new(move |_, request| taken.lock().unwrap().push(request)));
        Got { grpc, http, requests }
    }

    fn take(&self) -> Vec<ExportTraceServiceRequest> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

async fn send_ours(rows: &[SpanRow<'_>], resources: &Resources, url: &str, protocol: Protocol) {
    let mut batcher = Batcher::new(resources);
    let mut batches: Vec<_> = rows.iter().filter_map(|row| batcher.push(row)).collect();
    batches.extend(batcher.take());
    let given = Given { url: Some(url), protocol: Some(protocol), headers: &[] };
    let settings = Settings::new(&given, &|_| None).unwrap();
    let receiver = Receiver::connect(&settings).await.unwrap();
    let delivered = receiver.send_all(stream::iter(batches).map(Ok), 4).await.unwrap();
    assert_eq!((delivered.accepted, delivered.rejected), (SPANS as u64, 0));
}

async fn send_theirs(rows: &[SpanRow<'_>], resources: &Resources, url: &str) {
    let channel = tonic::transport::Channel::from_shared(url.to_owned()).unwrap().connect_lazy();
    let mut batcher = sdk::Batcher::default();
    let mut batches: Vec<_> = rows.iter().filter_map(|row| batcher.push(row)).collect();
    batches.extend(batcher.rest());
    for (process, spans) in batches {
        sdk::exporter(&channel, resources, &process).export(spans).await.unwrap();
    }
}

#[test]
fn a_receiver_gets_what_the_exporter_of_opentelemetry_sends() {
    let texts: Vec<Texts> = (0..SPANS).map(texts).collect();
    let rows: Vec<SpanRow<'_>> = texts.iter().enumerate().map(|(index, texts)| row(texts, index)).collect();
    let resources = resources();
    let got = Got::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(send_theirs(&rows, &resources, &got.grpc));
    let theirs = sorted(got.take());
    assert_eq!(theirs.values().map(|(_, spans)| spans.len()).sum::<usize>(), SPANS);
    // Four services in three processes or none.
    assert_eq!(theirs.len(), 4 * 4);
    for (url, protocol) in [(&got.grpc, Protocol::Grpc), (&got.http, Protocol::HttpProtobuf)] {
        runtime.block_on(send_ours(&rows, &resources, url, protocol));
        let requests = got.take();
        assert!(requests.len() > 3, "{} requests", requests.len());
        for request in &requests {
            let spans = request.resource_spans.iter().flat_map(|of| &of.scope_spans).map(|of| of.spans.len());
            let bytes = request.encoded_len();
            assert!(spans.sum::<usize>() <= 2_000 && bytes < 4 << 20, "{bytes} bytes in a request");
        }
        let ours = sorted(requests);
        assert!(ours.keys().eq(theirs.keys()), "resources");
        for (resource, (scope, spans)) in &ours {
            assert_eq!(scope, &theirs[resource].0);
            assert_eq!(spans.len(), theirs[resource].1.len(), "{resource}");
            for (own, their) in spans.iter().zip(&theirs[resource].1) {
                assert_eq!(own, their, "{protocol:?} {resource}");
            }
        }
    }
}
