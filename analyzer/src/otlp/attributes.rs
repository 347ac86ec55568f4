//! What a span's columns are called in the OpenTelemetry semantic conventions, and what has no name there under
//! `retrospan.`. What the request's protocol says is in column `attributes` under its names already.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};

use crate::tables::outcome::Outcome;
use crate::tables::{SYN_RETRANSMITS, SpanRow};

const ERROR_TYPE: &str = "error.type";
const TRANSPORT: &str = "network.transport";
/// How names of our own begin: they are told by columns.
const OWN: &str = "retrospan.";

/// A text attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A number.
pub fn int(key: &str, value: impl Into<i64>) -> KeyValue {
    attribute(key, Value::IntValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// All attributes of a span, and its status: unset unless it failed.
pub fn of_span(row: &SpanRow<'_>) -> (Vec<KeyValue>, Status) {
    let json = parsed(row);
    let error = error_type(row, &json);
    // What is imported need not say why.
    let has_failed = error.is_some() || (row.is_imported() && row.ended() == Outcome::Error);
    let status = status(row, has_failed);
    let mut list = Vec::with_capacity(32);
    list.extend(of_exchange(&json));
    if !row.is_imported() {
        network(row, json.contains_key(TRANSPORT), &mut list);
        list.extend(row.tid.map(|tid| int("thread.id", tid)));
    }
    list.extend(error.map(|value| text(ERROR_TYPE, &value)));
    list.push(text("retrospan.outcome", row.ended().name()));
    list.push(int("retrospan.own_ns", row.own_ns));
    list.extend(row.late_status.map(|status| int("retrospan.late.status_code", status)));
    list.extend(row.late_ns.map(|ns| int("retrospan.late.ns", ns)));
    list.extend(row.link_evidence.map(|evidence| text("retrospan.link.evidence", evidence)));
    let confidence = row.link_confidence.map(Value::DoubleValue);
    list.extend(confidence.map(|value| attribute("retrospan.link.confidence", value)));
    list.push(int("retrospan.connection.id", row.connection_id));
    (list, status)
}

/// The attributes that the capture has of request and answer, as they are; `error.type` is told apart.
fn of_exchange<'a>(
    json: &'a serde_json::Map<String, serde_json::Value>,
) -> impl Iterator<Item = KeyValue> + 'a {
    let is_told_apart = |key: &str| key == ERROR_TYPE || key.starts_with(OWN);
    json.iter()
        .filter(move |(key, _)| !is_told_apart(key) || *key == SYN_RETRANSMITS)
        .filter_map(|(key, json)| Some(attribute(key, value(json)?)))
}

/// The attributes of a JSON object, without these.
pub fn of_json(json: &str, without: &[&str]) -> Vec<KeyValue> {
    let object: serde_json::Map<_, _> = serde_json::from_str(json).unwrap_or_default();
    let wanted = object.iter().filter(|(key, _)| !without.contains(&key.as_str()));
    wanted.filter_map(|(key, json)| Some(attribute(key, value(json)?))).collect()
}

/// Only imported spans have others than texts and whole numbers.
fn value(json: &serde_json::Value) -> Option<Value> {
    let any = |json: &serde_json::Value| AnyValue { value: value(json) };
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::String(text) => Value::StringValue(text.clone()),
        serde_json::Value::Bool(truth) => Value::BoolValue(*truth),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::IntValue(number),
            None => Value::DoubleValue(number.as_f64()?),
        },
        serde_json::Value::Array(list) => {
            Value::ArrayValue(ArrayValue { values: list.iter().map(any).collect() })
        }
        serde_json::Value::Object(map) => {
            let pair = |(key, json): (&String, &serde_json::Value)| Some(attribute(key, value(json)?));
            Value::KvlistValue(KeyValueList { values: map.iter().filter_map(pair).collect() })
        }
    })
}

fn parsed(row: &SpanRow<'_>) -> serde_json::Map<String, serde_json::Value> {
    row.attributes.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// `has_transport`: the attributes of the exchange say what it went over.
fn network(row: &SpanRow<'_>, has_transport: bool, list: &mut Vec<KeyValue>) {
    let source = ("client.address", "client.port", row.src_addr, row.src_port);
    let destination = ("server.address", "server.port", row.dst_addr, row.dst_port);
    let (_, _, peer_addr, peer_port) = if row.kind == "server" { source } else { destination };
    let peer = ("network.peer.address", "network.peer.port", peer_addr, peer_port);
    for (address_key, port_key, address, port) in [source, destination, peer] {
        list.extend(address.map(|address| text(address_key, address)));
        list.extend(port.map(|port| int(port_key, port)));
    }
    if !has_transport {
        list.push(text(TRANSPORT, "tcp"));
    }
    if let Some(address) = peer_addr.filter(|_| peer_port.is_some()) {
        list.push(text("network.type", if address.contains(':') { "ipv6" } else { "ipv4" }));
    }
    // Whoever waits for a connection speaks nothing yet.
    if !row.is_wait() {
        list.extend(row.protocol.map(|name| text("network.protocol.name", name)));
    }
}

/// Why the span counts as failed: it was broken off, or the protocol says so.
fn error_type(row: &SpanRow<'_>, json: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    if row.ended().is_broken_off() {
        return Some(row.ended().name().to_owned());
    }
    Some(json.get(ERROR_TYPE)?.as_str()?.to_owned())
}

fn status(row: &SpanRow<'_>, failed: bool) -> Status {
    let message = if row.ended().is_broken_off() { row.ended().words() } else { "" };
    let code = if failed { StatusCode::Error } else { StatusCode::Unset };
    Status { message: message.to_owned(), code: code.into() }
}
