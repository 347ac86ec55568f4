//! OTLP in JSON (opentelemetry-proto, "JSON Protobuf Encoding"): numbers may be texts, enumerations numbers or names, ids
//! hex digits; some write these in base64, as Protobuf's own JSON has bytes. Names of fields may have the form of the
//! definition (`trace_id`), too.

use std::fmt;

use retrospan_protocols::semconv::Kind;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::import::traces::json::lenient::{List, Maybe, Raw, nothing};
use crate::import::traces::span::{Attributes, Span, Status, Value, bytes_id, hex_id, time_ns};
use crate::import::traces::steps::{Steps, Stopped};

/// Spans of one resource.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceSpans {
    resource: Maybe<Resource>,
    #[serde(
        alias = "scope_spans",
        alias = "instrumentationLibrarySpans",
        alias = "instrumentation_library_spans"
    )]
    scope_spans: List<ScopeSpans>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    attributes: List<KeyValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScopeSpans {
    #[serde(alias = "instrumentationLibrary", alias = "instrumentation_library")]
    scope: Maybe<Scope>,
    spans: List<OtlpSpan>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scope {
    name: Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OtlpSpan {
    #[serde(alias = "trace_id")]
    trace_id: Raw,
    #[serde(alias = "span_id")]
    span_id: Raw,
    #[serde(alias = "parent_span_id")]
    parent_span_id: Raw,
    name: Raw,
    kind: Raw,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Raw,
    #[serde(alias = "end_time_unix_nano")]
    end_time_unix_nano: Raw,
    attributes: List<KeyValue>,
    status: Maybe<OtlpStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OtlpStatus {
    code: Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyValue {
    key: Raw,
    value: AnyValue,
}

/// The value of an attribute.
#[derive(Debug)]
struct AnyValue(Value);

impl Default for AnyValue {
    fn default() -> Self {
        AnyValue(Value::Other)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values {
    values: Several,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct KeyValues {
    values: List<KeyValue>,
}

/// Values that may be anything.
#[derive(Debug, Default)]
struct Several(Vec<Value>);

impl ResourceSpans {
    /// Hands its spans on.
    pub fn hand_on(self, steps: &mut Steps<'_>) -> Result<(), Stopped> {
        let made_by = self.resource.0.unwrap_or_default().attributes;
        let resource = steps.resource(&attributes(made_by));
        for of_scope in self.scope_spans.0 {
            let scope = of_scope.scope.0.map(|scope| scope.name.into_text());
            for span in of_scope.spans.0 {
                steps.span(&resource, span.span(scope.clone()))?;
            }
        }
        Ok(())
    }
}

impl OtlpSpan {
    fn span(self, scope: Option<String>) -> Span {
        let time = |raw: &Raw| raw.number().and_then(time_ns);
        Span {
            trace_id: id(&self.trace_id, 16),
            span_id: id(&self.span_id, 8) as u64,
            parent_span_id: id(&self.parent_span_id, 8) as u64,
            kind: kind(&self.kind),
            name: self.name.into_text(),
            start_ns: time(&self.start_time_unix_nano),
            end_ns: time(&self.end_time_unix_nano),
            status: self.status.0.and_then(|status| match status.code {
                Raw::Int(code) => status_of(code),
                Raw::Text(name) if name.ends_with("ERROR") => Some(Status::Error),
                Raw::Text(name) if name.ends_with("OK") => Some(Status::Ok),
                Raw::Text(code) => code.parse().ok().and_then(status_of),
                _ => None,
            }),
            attributes: attributes(self.attributes),
            scope,
        }
    }
}

/// The status of that number (opentelemetry-proto, `Status.StatusCode`).
pub fn status_of(code: i64) -> Option<Status> {
    match code {
        1 => Some(Status::Ok),
        2 => Some(Status::Error),
        _ => None,
    }
}

/// The kind of that number (opentelemetry-proto, `SpanKind`).
pub fn kind_of(number: i64) -> Kind {
    match number {
        2 => Kind::Server,
        3 => Kind::Client,
        4 => Kind::Producer,
        5 => Kind::Consumer,
        _ => Kind::Internal,
    }
}

fn kind(raw: &Raw) -> Kind {
    let named = raw.text().and_then(Kind::of);
    named.or_else(|| raw.signed().map(kind_of)).unwrap_or_default()
}

/// An id of so many bytes.
fn id(raw: &Raw, bytes: usize) -> u128 {
    let Some(text) = raw.text() else { return 0 };
    // Hex digits are a third longer, so that none is taken for the other.
    let is_base64 = text.ends_with('=') && text.len() == bytes.div_ceil(3) * 4;
    if is_base64 { bytes_id(&base64(text), bytes) } else { hex_id(text, 2 * bytes) }
}

/// RFC 4648, both alphabets; empty where it is none.
fn base64(text: &str) -> Vec<u8> {
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return Vec::new(),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn attributes(list: List<KeyValue>) -> Attributes {
    let named = list.0.into_iter().filter_map(|pair| match pair.key {
        Raw::Text(key) => Some((key, pair.value.0)),
        _ => None,
    });
    named.collect()
}

struct AnyValueVisitor;

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = AnyValue;

    nothing!(AnyValue(Value::Other));

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AnyValue, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(AnyValue(Value::Other))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue, A::Error> {
        let mut value = Value::Other;
        while let Some(key) = map.next_key::<String>()? {
            let next = match &*key {
                "arrayValue" | "array_value" => {
                    map.next_value::<Maybe<Values>>()?.0.map(|list| Value::List(list.values.0))
                }
                "kvlistValue" | "kvlist_value" => {
                    map.next_value::<Maybe<KeyValues>>()?.0.map(|pairs| Value::Map(attributes(pairs.values)))
                }
                name => scalar(name, map.next_value::<Raw>()?),
            };
            value = next.unwrap_or(value);
        }
        Ok(AnyValue(value))
    }
}

fn scalar(name: &str, raw: Raw) -> Option<Value> {
    match (name, raw) {
        ("stringValue" | "string_value", Raw::Text(text)) => Some(Value::Text(text)),
        ("boolValue" | "bool_value", Raw::Bool(truth)) => Some(Value::Bool(truth)),
        ("intValue" | "int_value", raw) => raw.signed().map(Value::Int),
        ("doubleValue" | "double_value", Raw::Float(number)) => Some(Value::Float(number)),
        ("doubleValue" | "double_value", Raw::Int(number)) => Some(Value::Float(number as f64)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyValue, D::Error> {
        deserializer.deserialize_any(AnyValueVisitor)
    }
}

struct SeveralVisitor;

impl<'de> Visitor<'de> for SeveralVisitor {
    type Value = Several;

    nothing!(Several::default());

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Several, A::Error> {
        let mut all = Vec::new();
        while let Some(AnyValue(value)) = list.next_element()? {
            all.push(value);
        }
        Ok(Several(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Several, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Several::default())
    }
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Several, D::Error> {
        deserializer.deserialize_any(SeveralVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_both_forms() {
        let text = |text: &str| Raw::Text(text.to_owned());
        assert_eq!(id(&text("00f067aa0ba902b7"), 8), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(id(&text("APBnqgupArc="), 8), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(id(&text("S/kvNXezTaajzpKdDg5HNg=="), 16), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        for other in ["APBnqgupAr!=", "=", "zz", ""] {
            assert_eq!(id(&text(other), 8), 0, "{other}");
        }
    }
}
