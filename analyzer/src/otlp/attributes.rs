//! What a span's columns are called in the OpenTelemetry semantic conventions (stable HTTP, v1.41), and what has no name
//! there under `retrospan.`.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};

use crate::tables::spans::SpanRow;

/// Methods that the conventions know; others are `_OTHER`.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A text attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A number.
pub fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// All attributes of a span.
pub fn of_span(row: &SpanRow<'_>) -> Vec<KeyValue> {
    let mut list = Vec::with_capacity(32);
    http(row, &mut list);
    network(row, &mut list);
    list.extend(error_type(row).map(|value| text("error.type", &value)));
    list.extend(row.tid.map(|tid| int("thread.id", tid)));
    list.push(text("retrospan.outcome", row.outcome.name()));
    list.push(int("retrospan.own_ns", row.own_ns));
    list.extend(row.late_status.map(|status| int("retrospan.late.status_code", status)));
    list.extend(row.late_ns.map(|ns| int("retrospan.late.ns", ns)));
    list.extend(row.link_evidence.map(|evidence| text("retrospan.link.evidence", evidence)));
    let confidence = row.link_confidence.map(Value::DoubleValue);
    list.extend(confidence.map(|value| attribute("retrospan.link.confidence", value)));
    list.extend(row.connection_id.map(|id| int("retrospan.connection.id", id)));
    list
}

fn is_http(row: &SpanRow<'_>) -> bool {
    row.protocol.is_some_and(|protocol| protocol.starts_with("http"))
}

fn http(row: &SpanRow<'_>, list: &mut Vec<KeyValue>) {
    if !is_http(row) {
        return;
    }
    if let Some(method) = row.method {
        let known = METHODS.contains(&method);
        list.push(text("http.request.method", if known { method } else { "_OTHER" }));
        if !known {
            list.push(text("http.request.method_original", method));
        }
    }
    if let Some(path) = row.path {
        list.push(text("url.path", path));
        list.extend(row.query.map(|query| text("url.query", query)));
        list.extend(full_url(row).map(|url| text("url.full", &url)));
    }
    list.push(text("url.scheme", "http"));
    list.extend(row.user_agent.map(|agent| text("user_agent.original", agent)));
    list.extend(row.host.map(|host| text("http.request.header.host", host)));
    list.extend(row.status.map(|status| int("http.response.status_code", status)));
    let sizes = [
        ("http.request.size", row.request_bytes),
        ("http.response.size", row.response_bytes),
        ("http.request.body.size", row.request_body_bytes),
        ("http.response.body.size", row.response_body_bytes),
    ];
    list.extend(sizes.into_iter().filter_map(|(key, size)| size.map(|size| int(key, size))));
}

/// The conventions want it of clients. The name the client asked for may be unknown: the address stands for it.
fn full_url(row: &SpanRow<'_>) -> Option<String> {
    let path = row.path.filter(|path| path.starts_with('/') && row.kind == "client")?;
    let (addr, port) = (row.dst_addr?, row.dst_port?);
    let addr = if addr.contains(':') { format!("[{addr}]") } else { addr.to_owned() };
    let query = row.query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("http://{addr}:{port}{path}{query}"))
}

fn network(row: &SpanRow<'_>, list: &mut Vec<KeyValue>) {
    let source = ("client.address", "client.port", row.src_addr, row.src_port);
    let destination = ("server.address", "server.port", row.dst_addr, row.dst_port);
    let (_, _, peer_addr, peer_port) = if row.kind == "server" { source } else { destination };
    let peer = ("network.peer.address", "network.peer.port", peer_addr, peer_port);
    for (address_key, port_key, address, port) in [source, destination, peer] {
        list.extend(address.map(|address| text(address_key, address)));
        list.extend(port.map(|port| int(port_key, port)));
    }
    list.push(text("network.transport", "tcp"));
    if let Some(address) = peer_addr {
        list.push(text("network.type", if address.contains(':') { "ipv6" } else { "ipv4" }));
    }
    list.extend(row.protocol.map(|protocol| text("network.protocol.name", protocol)));
    list.extend(row.http_version.map(|version| text("network.protocol.version", version)));
}

/// From which status on a span counts as failed: a client's fault is no error of the server.
fn is_error_status(row: &SpanRow<'_>) -> bool {
    row.status.is_some_and(|status| status >= if row.kind == "server" { 500 } else { 400 })
}

fn error_type(row: &SpanRow<'_>) -> Option<String> {
    if row.outcome.is_broken_off() {
        return Some(row.outcome.name().to_owned());
    }
    row.status.filter(|_| is_error_status(row)).map(|status| status.to_string())
}

/// The span's status: unset unless it failed.
pub fn status(row: &SpanRow<'_>) -> Status {
    let broken_off = row.outcome.is_broken_off();
    let message = if broken_off { row.outcome.words() } else { "" };
    let failed = broken_off || is_error_status(row);
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Status { message: message.to_owned(), code: code.into() }
}
