//! OTLP in protobuf, spans out: one message, or several behind their lengths.
//!
//! A message is a list of `ResourceSpans`, of which one at a time is read and decoded. Messages one behind the other
//! without lengths are a message, too.

use std::io::{self, BufRead, Read};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans};
use prost::Message;

use crate::import::traces::json::{self, is_cut};
use crate::import::traces::recognise::{Contents, ZSTD};
use crate::import::traces::skipped::Skipped;
use crate::import::traces::span::{Attributes, Span, Value, bytes_id, time_ns};
use crate::import::traces::steps::{Steps, Stopped};

/// No message and no resource's spans are longer; a length beyond it is damage.
const MAX_BYTES: u64 = 256 << 20;
/// Field `resource_spans` of `ExportTraceServiceRequest` and `TracesData`.
const RESOURCE_SPANS: u64 = 1;

/// Why no more comes.
enum Stop {
    End,
    Cut,
    Io(io::Error),
    Stopped,
}

impl From<Stopped> for Stop {
    fn from(_: Stopped) -> Stop {
        Stop::Stopped
    }
}

/// A file that ends too early, or is damaged, is one that was cut there.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if is_cut(&error) { Stop::Cut } else { Stop::Io(error) }
    }
}

/// Reads one message.
pub fn read_one(mut source: impl BufRead, steps: &mut Steps<'_>) -> Result<Contents, Stopped> {
    let mut contents = Contents::default();
    let stop = fields(&mut source, steps, &mut contents);
    finish(contents, stop)
}

/// Reads messages behind their lengths.
pub fn read_delimited(mut source: impl BufRead, steps: &mut Steps<'_>) -> Result<Contents, Stopped> {
    let (mut contents, mut message) = (Contents::default(), Vec::new());
    let stop = loop {
        if let Err(stop) =
            delimited(&mut source, &mut message).and_then(|()| one_of_many(&message, steps, &mut contents))
        {
            break stop;
        }
    };
    finish(contents, stop)
}

fn finish(mut contents: Contents, stop: Stop) -> Result<Contents, Stopped> {
    match stop {
        Stop::End => {}
        Stop::Cut => contents.cut = true,
        Stop::Io(error) => contents.failure = Some(error),
        Stop::Stopped => return Err(Stopped),
    }
    Ok(contents)
}

/// The next message.
fn delimited(source: &mut impl BufRead, message: &mut Vec<u8>) -> Result<(), Stop> {
    if source.fill_buf()?.is_empty() {
        return Err(Stop::End);
    }
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    take(source, u32::from_be_bytes(length).into(), message)
}

/// A message that is whole, whatever it holds.
fn one_of_many(message: &[u8], steps: &mut Steps<'_>, contents: &mut Contents) -> Result<(), Stop> {
    let mut inner = Contents::default();
    let unpacked;
    let message = if message.starts_with(&ZSTD) {
        let mut decoder = zstd::stream::read::Decoder::new(message)?.take(MAX_BYTES);
        let mut bytes = Vec::new();
        if let Err(error) = decoder.read_to_end(&mut bytes) {
            broken(&error.to_string(), steps, contents);
            return Ok(());
        }
        unpacked = bytes;
        &*unpacked
    } else {
        message
    };
    let stop = if message.first() == Some(&b'{') {
        inner = json::read(message, steps)?;
        Stop::End
    } else {
        fields(&mut &*message, steps, &mut inner)
    };
    contents.traces += inner.traces;
    inner.wrong.into_iter().for_each(|wrong| contents.broken(wrong));
    match stop {
        Stop::Stopped => return Err(Stop::Stopped),
        Stop::End if !inner.cut => {}
        _ => broken("a message ends within itself", steps, contents),
    }
    Ok(())
}

/// Hands on what each field of a message holds. Comes back when there is no more.
fn fields(source: &mut impl BufRead, steps: &mut Steps<'_>, contents: &mut Contents) -> Stop {
    let mut bytes = Vec::new();
    loop {
        if let Err(stop) = field(source, &mut bytes, steps, contents) {
            return stop;
        }
    }
}

fn field(
    source: &mut impl BufRead,
    bytes: &mut Vec<u8>,
    steps: &mut Steps<'_>,
    contents: &mut Contents,
) -> Result<(), Stop> {
    if source.fill_buf()?.is_empty() {
        return Err(Stop::End);
    }
    let tag = varint(source)?;
    match (tag >> 3, tag & 7) {
        (RESOURCE_SPANS, 2) => {
            let length = varint(source)?;
            take(source, length, bytes)?;
            match ResourceSpans::decode(bytes.as_slice()) {
                Ok(spans) => {
                    contents.traces += 1;
                    hand_on(spans, steps)?;
                }
                Err(error) => broken(&error.to_string(), steps, contents),
            }
        }
        // Fields that are not known, by their wire types.
        (1.., 0) => drop(varint(source)?),
        (1.., 1) => take(source, 8, bytes)?,
        (1.., 2) => {
            let length = varint(source)?;
            take(source, length, bytes)?;
        }
        (1.., 5) => take(source, 4, bytes)?,
        _ => {
            contents.broken("what follows is no protobuf".to_owned());
            return Err(Stop::Cut);
        }
    }
    Ok(())
}

fn broken(why: &str, steps: &mut Steps<'_>, contents: &mut Contents) {
    contents.broken(why.to_owned());
    steps.skipped(Skipped::Broken, 1);
}

fn varint(source: &mut impl BufRead) -> Result<u64, Stop> {
    let mut number = 0;
    for place in 0..10 {
        let mut byte = [0];
        source.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7f) << (7 * place);
        if byte[0] & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Stop::Cut)
}

/// Makes `bytes` the next ones. Memory grows with what is there, not with what a length claims.
fn take(source: &mut impl BufRead, length: u64, bytes: &mut Vec<u8>) -> Result<(), Stop> {
    bytes.clear();
    if length > MAX_BYTES {
        return Err(Stop::Cut);
    }
    let read = source.take(length).read_to_end(bytes)?;
    if read as u64 == length { Ok(()) } else { Err(Stop::Cut) }
}

fn hand_on(spans: ResourceSpans, steps: &mut Steps<'_>) -> Result<(), Stopped> {
    let resource = steps.resource(&attributes(spans.resource.unwrap_or_default().attributes));
    for of_scope in spans.scope_spans {
        let scope = of_scope.scope.map(|scope| scope.name);
        for span in of_scope.spans {
            steps.span(&resource, read(span, scope.clone()))?;
        }
    }
    Ok(())
}

fn read(span: otlp::Span, scope: Option<String>) -> Span {
    Span {
        trace_id: bytes_id(&span.trace_id, 16),
        span_id: bytes_id(&span.span_id, 8) as u64,
        parent_span_id: bytes_id(&span.parent_span_id, 8) as u64,
        kind: json::kind_of(span.kind.into()),
        name: span.name,
        start_ns: time_ns(span.start_time_unix_nano),
        end_ns: time_ns(span.end_time_unix_nano),
        status: span.status.and_then(|status| json::status_of(status.code.into())),
        attributes: attributes(span.attributes),
        scope,
    }
}

fn attributes(list: Vec<KeyValue>) -> Attributes {
    list.into_iter().map(|pair| (pair.key, value(pair.value))).collect()
}

fn value(value: Option<AnyValue>) -> Value {
    use any_value::Value::{ArrayValue, BoolValue, DoubleValue, IntValue, KvlistValue, StringValue};
    match value.and_then(|any| any.value) {
        Some(StringValue(text)) => Value::Text(text),
        Some(BoolValue(truth)) => Value::Bool(truth),
        Some(IntValue(number)) => Value::Int(number),
        Some(DoubleValue(number)) => Value::Float(number),
        Some(ArrayValue(list)) => {
            Value::List(list.values.into_iter().map(|one| self::value(Some(one))).collect())
        }
        Some(KvlistValue(pairs)) => Value::Map(attributes(pairs.values)),
        _ => Value::Other,
    }
}
