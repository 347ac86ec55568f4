//! Real Jaeger gets every span once, with the right tree, to the nanosecond.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::lab::capture::{Capture, Span, retrospan};
use crate::lab::chain::Chain;
use crate::lab::jaeger::{Certificate, Collector, Jaeger};
use crate::lab::process::run;
use crate::lab::recording::Recording;
use crate::lab::{self, ebpf_or_skip, folder, holds_within, lab_or_skip, load, wait_for, workspace};

/// A recording of some requests through a chain: sizes, errors and empty answers.
fn recorded() -> Capture {
    let chain = Chain::start();
    let recording = Recording::of_ports(&chain.ports());
    for _ in 0..3 {
        load::curl(chain.port(), &["/size/100", "/status/204", "/status/503", "/chunked/3000"], &[]);
    }
    load::ab(chain.port(), "/size/10", 50, 8, true);
    chain.ways(11);
    recording.finish()
}

fn export(capture: &Capture, url: &str, more: &[&str]) {
    capture.retrospan("export", &[&["--otlp", url], more].concat());
}

fn traces(spans: &[Span]) -> BTreeMap<&str, Vec<&Span>> {
    let mut traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(&span.trace_id).or_default().push(span);
    }
    traces
}

/// What must be the same at both ends: id, parent, kind, name, service, times.
type Row = (String, Option<String>, i64, String, Option<String>, String, String);

fn ours(span: &Span) -> Row {
    let kind = match span.kind.as_str() {
        "internal" => 1,
        "server" => 2,
        "client" => 3,
        "producer" => 4,
        "consumer" => 5,
        other => panic!("kind {other}"),
    };
    let (start, end) = (span.start_ns.to_string(), span.end_ns.to_string());
    (
        span.span_id.clone(),
        span.parent_span_id.clone(),
        kind,
        span.name.clone(),
        span.service.clone(),
        start,
        end,
    )
}

fn theirs(span: &Value) -> Row {
    let text = |key: &str| span[key].as_str().map(str::to_owned).filter(|text| !text.is_empty());
    (
        text("spanId").unwrap_or_default(),
        text("parentSpanId"),
        span["kind"].as_i64().unwrap_or_default(),
        text("name").unwrap_or_default(),
        attribute(&span["resource"], "service.name"),
        text("startTimeUnixNano").unwrap_or_default(),
        text("endTimeUnixNano").unwrap_or_default(),
    )
}

/// An attribute's value as text.
fn attribute(holder: &Value, key: &str) -> Option<String> {
    let attributes = holder["attributes"].as_array()?;
    let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
    let value = ["stringValue", "intValue", "boolValue"].iter().find_map(|kind| value.get(*kind))?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Waits until Jaeger has all of the spans, then compares everything.
fn arrived(jaeger: &Jaeger, spans: &[Span]) {
    for (id, spans) in traces(spans) {
        wait_for(&format!("{} spans of trace {id}", spans.len()), || jaeger.trace(id).len() >= spans.len());
        let found = jaeger.trace(id);
        let mut theirs: Vec<_> = found.iter().map(theirs).collect();
        let mut ours: Vec<_> = spans.iter().map(|span| ours(span)).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(theirs, ours, "trace {id}");
        for span in &found {
            let id = span["spanId"].as_str().unwrap_or_default();
            let own = spans.iter().find(|own| own.span_id == id).expect("compared above");
            has_semantic_attributes(span, own);
        }
    }
}

fn has_semantic_attributes(span: &Value, own: &Span) {
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    assert_eq!(attribute(span, "http.request.method"), own.method, "{span}");
    assert_eq!(attribute(span, "url.path"), own.path, "{span}");
    assert_eq!(attribute(span, "http.response.status_code"), text(own.status), "{span}");
    let failed = own.status.is_some_and(|status| status >= if own.kind == "client" { 400 } else { 500 });
    let code = span["status"]["code"].as_i64().unwrap_or_default();
    assert_eq!(code == 2, failed || own.outcome != "ok", "status of {span}");
}

#[test]
fn every_span_arrives_once_over_grpc_and_http() {
    let Some(_turn) = ebpf_or_skip("every_span_arrives_once_over_grpc_and_http") else { return };
    let capture = recorded();
    let spans = capture.spans();
    // What a request waited for a connection is a span, too.
    let of_requests = spans.iter().filter(|span| span.kind != "internal").count();
    assert_eq!(of_requests, (3 * 4 + 50) * 6, "six spans a request");
    let dir = folder();
    let jaeger = Jaeger::start(dir.path());
    export(&capture, &format!("http://127.0.0.1:{}", jaeger.grpc_port), &[]);
    arrived(&jaeger, &spans);
    // Once more: the same ids, so nothing is added.
    export(&capture, &format!("http://127.0.0.1:{}", jaeger.grpc_port), &[]);
    arrived(&jaeger, &spans);
    let services: BTreeSet<_> = jaeger.services().into_iter().collect();
    assert_eq!(services, spans.iter().filter_map(|span| span.service.clone()).collect());
    drop(jaeger);
    let jaeger = Jaeger::start(dir.path());
    let url = format!("http://127.0.0.1:{}", jaeger.http_port);
    export(&capture, &url, &["--protocol", "http/protobuf"]);
    arrived(&jaeger, &spans);
}

#[test]
fn only_what_is_asked_for_is_exported() {
    let Some(_turn) = ebpf_or_skip("only_what_is_asked_for_is_exported") else { return };
    let capture = recorded();
    let dir = folder();
    let jaeger = Jaeger::start(dir.path());
    export(&capture, &format!("http://127.0.0.1:{}", jaeger.grpc_port), &["--where", "path = '/status/503'"]);
    let (asked, rest): (Vec<_>, Vec<_>) =
        capture.spans().into_iter().partition(|span| span.path.as_deref() == Some("/status/503"));
    arrived(&jaeger, &asked);
    for span in rest {
        assert!(jaeger.trace(&span.trace_id).is_empty(), "exported unasked: {span:?}");
    }
}

#[test]
fn a_collector_in_the_middle_filters_and_samples_whole_traces() {
    let Some(_turn) = ebpf_or_skip("a_collector_in_the_middle_filters_and_samples_whole_traces") else {
        return;
    };
    let capture = recorded();
    let dir = folder();
    let jaeger = Jaeger::start(dir.path());
    let collector = Collector::start(dir.path(), &jaeger);
    export(&capture, &format!("http://127.0.0.1:{}", collector.grpc_port), &[]);
    let spans = capture.spans();
    let matches = |span: &&Span| {
        let path = span.path.as_deref().unwrap_or_default();
        path.starts_with("/size/") || path == "/status/503"
    };
    let sampled: Vec<String> = spans.iter().filter(matches).map(|span| span.trace_id.clone()).collect();
    let (kept, dropped): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|span| sampled.contains(&span.trace_id));
    arrived(&jaeger, &kept);
    // Its decisions are made in order of arrival: what has not come by now never will.
    let came = holds_within(std::time::Duration::from_secs(2), || {
        dropped.iter().any(|span| !jaeger.trace(&span.trace_id).is_empty())
    });
    assert!(!came, "the collector let through what it drops");
}

#[test]
fn an_endpoint_that_is_not_there_is_an_error() {
    let Some(_turn) = ebpf_or_skip("an_endpoint_that_is_not_there_is_an_error") else { return };
    let capture = recorded();
    let url = format!("http://127.0.0.1:{}", lab::free_port());
    let output = capture.try_retrospan("export", &["--otlp", &url, "--protocol", "grpc"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn with_tls_only_a_known_authority_is_trusted() {
    let Some(_turn) = lab_or_skip("with_tls_only_a_known_authority_is_trusted") else { return };
    let dir = folder();
    let certificate = Certificate::make(dir.path());
    let jaeger = Jaeger::start_with_tls(dir.path(), &certificate);
    let sample = workspace().join("testdata/sample.cap");
    let export = |port: u16, more: &[&str], authority: Option<&str>| {
        let mut command = retrospan();
        command.arg("export").arg(&sample).args(["--otlp", &format!("https://localhost:{port}")]).args(more);
        if let Some(variable) = authority {
            command.env(variable, &certificate.authority);
        }
        let output = run(&mut command);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let ways: [(u16, &[&str]); 2] =
        [(jaeger.grpc_port, &[]), (jaeger.http_port, &["--protocol", "http/protobuf"])];
    for (port, more) in ways {
        let (code, said) = export(port, more, None);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("UnknownIssuer") && said.lines().count() == 1, "{said}");
        assert_eq!(jaeger.services(), Vec::<String>::new(), "nothing arrived");
    }
    for (port, more) in ways {
        for variable in ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            let (code, said) = export(port, more, Some(variable));
            assert_eq!((code, said.trim().starts_with("exported 67 spans")), (Some(0), true), "{said}");
        }
    }
    wait_for("the services of the sample", || !jaeger.services().is_empty());
}
