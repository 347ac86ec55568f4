//! Jaeger's own JSON, as its API and its UI give it (model/json of Jaeger): times in us, ids without leading zeros,
//! processes beside the spans.

use std::collections::BTreeMap;

use retrospan_protocols::semconv::Kind;
use serde::Deserialize;

use crate::import::traces::json::lenient::{List, Maybe, Raw};
use crate::import::traces::span::{Attributes, Span, Status, Value, find, hex_id};
use crate::import::traces::steps::{Steps, Stopped};

/// A span, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JaegerSpan {
    #[serde(rename = "traceID")]
    trace_id: Raw,
    #[serde(rename = "spanID")]
    span_id: Raw,
    #[serde(rename = "parentSpanID")]
    parent_span_id: Raw,
    references: List<Reference>,
    operation_name: Raw,
    start_time: Raw,
    duration: Raw,
    tags: List<Tag>,
    #[serde(rename = "processID")]
    process_id: Raw,
    process: Maybe<Process>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reference {
    ref_type: Raw,
    #[serde(rename = "traceID")]
    trace_id: Raw,
    #[serde(rename = "spanID")]
    span_id: Raw,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tag {
    key: Raw,
    value: Raw,
}

/// Who made spans.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    service_name: Raw,
    tags: List<Tag>,
}

/// Processes by what spans call them.
pub type Processes = BTreeMap<String, Maybe<Process>>;

/// Tags that are said in other words: they become no attributes.
const KIND: &str = "span.kind";
const STATUS: &str = "otel.status_code";
const FAILED: &str = "error";
const SCOPES: [&str; 2] = ["otel.scope.name", "otel.library.name"];

/// Hands a trace on.
pub fn trace(spans: Vec<JaegerSpan>, processes: Processes, steps: &mut Steps<'_>) -> Result<(), Stopped> {
    let made = processes.into_iter().filter_map(|(name, process)| Some((name, process.0?.attributes())));
    let made: BTreeMap<String, _> =
        made.map(|(name, attributes)| (name, steps.resource(&attributes))).collect();
    let nobody = steps.resource(&Vec::new());
    for mut span in spans {
        let own = span.process.0.take().map(|process| steps.resource(&process.attributes()));
        let named = span.process_id.text().and_then(|name| made.get(name));
        let resource = own.as_ref().or(named).unwrap_or(&nobody);
        steps.span(resource, span.span())?;
    }
    Ok(())
}

impl Process {
    fn attributes(self) -> Attributes {
        let name = ("service.name".to_owned(), Value::Text(self.service_name.into_text()));
        std::iter::once(name).chain(attributes(self.tags)).collect()
    }
}

impl JaegerSpan {
    fn span(self) -> Span {
        let id = |raw: &Raw, most: usize| raw.text().map_or(0, |digits| hex_id(digits, most));
        let trace_id = id(&self.trace_id, 32);
        let parent = self.parent(trace_id).or(Some(id(&self.parent_span_id, 16))).unwrap_or_default();
        let micros = |raw: &Raw| raw.number().and_then(|us| i64::try_from(us).ok()?.checked_mul(1000));
        let start_ns = micros(&self.start_time);
        let end_ns = start_ns.zip(micros(&self.duration)).and_then(|(start, long)| start.checked_add(long));
        let mut attributes: Attributes = attributes(self.tags).collect();
        let kind = find(&attributes, KIND).and_then(|kind| Kind::of(kind.text()?)).unwrap_or_default();
        let status = status(&attributes);
        let scope = SCOPES.iter().find_map(|name| Some(find(&attributes, name)?.text()?.to_owned()));
        let said = |name: &str| [KIND, STATUS, FAILED].contains(&name) || SCOPES.contains(&name);
        attributes.retain(|(name, _)| !said(name));
        Span {
            trace_id,
            span_id: id(&self.span_id, 16) as u64,
            parent_span_id: parent as u64,
            kind,
            name: self.operation_name.into_text(),
            start_ns,
            end_ns,
            status,
            attributes,
            scope,
        }
    }

    /// The parent in the same trace: references to others are links.
    fn parent(&self, trace_id: u128) -> Option<u128> {
        let of_kind = |kind: &'static str| {
            move |reference: &&Reference| {
                let of_trace = reference.trace_id.text().map_or(0, |digits| hex_id(digits, 32));
                reference.ref_type.text() == Some(kind) && of_trace == trace_id
            }
        };
        let find = |kind| self.references.0.iter().find(of_kind(kind));
        let reference = find("CHILD_OF").or_else(|| find("FOLLOWS_FROM"))?;
        reference.span_id.text().map(|digits| hex_id(digits, 16))
    }
}

/// As OpenTelemetry or as OpenTracing says it.
fn status(attributes: &Attributes) -> Option<Status> {
    let told = find(attributes, STATUS).and_then(Value::text);
    let failed = match find(attributes, FAILED) {
        Some(Value::Bool(failed)) => *failed,
        Some(other) => other.text() == Some("true"),
        None => false,
    };
    match told {
        Some("ERROR") => Some(Status::Error),
        Some("OK") => Some(Status::Ok),
        _ => failed.then_some(Status::Error),
    }
}

fn attributes(tags: List<Tag>) -> impl Iterator<Item = (String, Value)> {
    let value = |raw| match raw {
        Raw::Text(text) => Value::Text(text),
        Raw::Int(number) => Value::Int(number),
        Raw::Large(number) => Value::Float(number as f64),
        Raw::Float(number) => Value::Float(number),
        Raw::Bool(truth) => Value::Bool(truth),
        Raw::Other => Value::Other,
    };
    tags.0.into_iter().filter_map(move |tag| match tag.key {
        Raw::Text(key) => Some((key, value(tag.value))),
        _ => None,
    })
}
