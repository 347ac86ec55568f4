//! What a receiver's answer over HTTP/1.1 means (OTLP specification, "OTLP/HTTP Response").
//!
//! Spans count as delivered only where the answer is one of OTLP: an empty body, or an `ExportTraceServiceResponse` in
//! protobuf or JSON. Whatever else says 200, a login page or a health check, has not taken them.

use std::io::Read;
use std::time::Duration;

use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ::http::{HeaderMap, HeaderName, StatusCode};
use flate2::read::MultiGzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde_json::Value;

use super::refusal::Refusal;

/// The most that is read of an answer, bytes. Receivers say in it which spans they did not take: a line of text.
pub const MAX_BYTES: usize = 4 << 20;
/// How much of an answer's text is shown, characters.
const MAX_WORDS: usize = 200;

/// How an answer's body ended.
#[derive(Debug)]
pub enum End {
    /// As it should.
    Whole,
    /// There is more than is read.
    TooLong,
    /// With this error.
    Broken(String),
}

/// Success with what was not taken, or the reason in the receiver's words.
pub fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    end: &End,
) -> Result<ExportTraceServiceResponse, Refusal> {
    if !matches!(status.as_u16(), 200..=204) {
        let seconds = header(headers, RETRY_AFTER).parse().ok();
        return Err(Refusal {
            reason: reason(status, headers, body),
            retryable: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            pause: seconds.map(Duration::from_secs),
        });
    }
    let refused =
        |what: String, retryable| Refusal { reason: format!("{status}, but {what}"), retryable, pause: None };
    match end {
        End::Broken(error) => return Err(refused(format!("the answer broke off: {error}"), true)),
        End::TooLong => {
            let what = format!("an answer of more than {} MiB: that is no OTLP receiver's", MAX_BYTES >> 20);
            return Err(refused(what, false));
        }
        End::Whole => {}
    }
    let body = plain(headers, body).map_err(|what| refused(what, false))?;
    decode(header(headers, CONTENT_TYPE), &body).ok_or_else(|| {
        let kind =
            Some(header(headers, CONTENT_TYPE)).filter(|kind| !kind.is_empty()).unwrap_or("of no type");
        refused(format!("the answer ({kind}) is no OTLP receiver's: {}", words(&body)), false)
    })
}

fn reason(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    match header(headers, LOCATION) {
        place if status.is_redirection() && !place.is_empty() => {
            format!("{status}: it names {place} instead")
        }
        _ => format!("{status} {}", words(&plain(headers, body).unwrap_or_default())),
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(MAX_WORDS).collect()
}

/// The body without its coding: some servers compress unasked.
fn plain(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, String> {
    match header(headers, CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body.to_vec()),
        _ if body.is_empty() => Ok(Vec::new()),
        "gzip" | "x-gzip" => {
            let mut text = Vec::new();
            let read = MultiGzDecoder::new(body).take(MAX_BYTES as u64).read_to_end(&mut text);
            read.map_err(|e| format!("the answer is not the gzip that it says it is: {e}"))?;
            Ok(text)
        }
        other => Err(format!("the answer is in {other}, which nobody asked for")),
    }
}

fn decode(content_type: &str, body: &[u8]) -> Option<ExportTraceServiceResponse> {
    if body.is_empty() {
        return Some(ExportTraceServiceResponse::default());
    }
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-protobuf" | "application/protobuf" => ExportTraceServiceResponse::decode(body).ok(),
        "application/json" => json(body),
        // Any text may happen to be a message of fields that nobody knows.
        "" | "application/octet-stream" => {
            let known = |answer: &ExportTraceServiceResponse| answer.encoded_len() == body.len();
            ExportTraceServiceResponse::decode(body).ok().filter(known).or_else(|| json(body))
        }
        _ => None,
    }
}

/// The JSON mapping of protobuf: 64-bit integers are texts or numbers. An object of other things is some other answer.
fn json(body: &[u8]) -> Option<ExportTraceServiceResponse> {
    let Value::Object(answer) = serde_json::from_slice(body).ok()? else { return None };
    let mut partial_success = None;
    for (name, value) in &answer {
        match name.as_str() {
            "partialSuccess" | "partial_success" => partial_success = partial(value)?,
            _ => return None,
        }
    }
    Some(ExportTraceServiceResponse { partial_success })
}

fn partial(value: &Value) -> Option<Option<ExportTracePartialSuccess>> {
    if value.is_null() {
        return Some(None);
    }
    let value = value.as_object()?;
    let field = |names: [&str; 2]| names.iter().find_map(|name| value.get(*name)).unwrap_or(&Value::Null);
    let rejected_spans = match field(["rejectedSpans", "rejected_spans"]) {
        Value::Null => 0,
        Value::String(digits) => digits.parse().ok()?,
        number => number.as_i64()?,
    };
    let error_message = match field(["errorMessage", "error_message"]) {
        Value::Null => String::new(),
        text => text.as_str()?.to_owned(),
    };
    Some(Some(ExportTracePartialSuccess { rejected_spans, error_message }))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn answer(
        status: u16,
        fields: &[(&'static str, &'static str)],
        body: &[u8],
    ) -> Result<ExportTraceServiceResponse, Refusal> {
        let fields = fields.iter().map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        read(StatusCode::from_u16(status).unwrap(), &fields.collect(), body, &End::Whole)
    }

    fn rejected(fields: &[(&'static str, &'static str)], body: &[u8]) -> Option<i64> {
        let answer = answer(200, fields, body).ok()?;
        Some(answer.partial_success.map_or(0, |partial| partial.rejected_spans))
    }

    const PROTOBUF: (&str, &str) = ("content-type", "Application/X-Protobuf; charset=utf-8");
    const JSON: (&str, &str) = ("content-type", "application/json");
    const HTML: (&str, &str) = ("content-type", "text/html");
    const GZIP: (&str, &str) = ("content-encoding", "gzip");

    #[test]
    fn only_an_answer_of_otlp_is_success() {
        let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "old".to_owned() };
        let some = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let mut zipped = Vec::new();
        flate2::read::GzEncoder::new(some.as_slice(), flate2::Compression::fast())
            .read_to_end(&mut zipped)
            .unwrap();
        let json_some = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#;
        for (fields, body, expected) in [
            (&[PROTOBUF] as &[_], &b""[..], Some(0)),
            (&[], b"", Some(0)),
            (&[HTML], b"", Some(0)),
            (&[PROTOBUF], &some, Some(3)),
            (&[], &some, Some(3)),
            (&[PROTOBUF, GZIP], &zipped, Some(3)),
            (&[PROTOBUF, GZIP], &some, None),
            (&[PROTOBUF, ("content-encoding", "br")], &some, None),
            (&[PROTOBUF], b"<html>", None),
            (&[PROTOBUF], &some[..some.len() - 1], None),
            (&[HTML], b"<html>hello</html>", None),
            (&[HTML], &some, None),
            (&[("content-type", "application/grpc")], &some, None),
            (&[JSON], b"{}", Some(0)),
            (&[JSON], json_some, Some(3)),
            (&[], json_some, Some(3)),
            (&[JSON], br#"{"partialSuccess":{"rejectedSpans":4}}"#, Some(4)),
            (&[JSON], br#"{"partialSuccess":null}"#, Some(0)),
            (&[JSON], br#"{"error":"who are you"}"#, None),
            (&[JSON], b"[]", None),
            (&[JSON], b"{", None),
            // One field of eight bytes, were it protobuf.
            (&[], b"accepted!", None),
        ] {
            let text = String::from_utf8_lossy(body);
            assert_eq!(rejected(fields, body), expected, "{fields:?} {text}");
        }
        for status in [202, 204] {
            assert!(answer(status, &[], b"").is_ok());
        }
    }

    #[test]
    fn refusals_say_why_and_whether_to_try_again() {
        let moved = answer(301, &[("location", "https://a/b")], b"").unwrap_err();
        assert!(moved.reason.contains("https://a/b") && !moved.retryable, "{moved:?}");
        let busy = answer(503, &[("retry-after", "7")], b"later").unwrap_err();
        assert_eq!((busy.retryable, busy.pause), (true, Some(Duration::from_secs(7))));
        let page = answer(200, &[HTML], b"<html>log in</html>").unwrap_err();
        assert!(
            page.reason.contains("text/html") && page.reason.contains("log in") && !page.retryable,
            "{page:?}"
        );
        let ended = |end: &End| read(StatusCode::OK, &HeaderMap::new(), b"", end).unwrap_err();
        assert!(!ended(&End::TooLong).retryable);
        assert!(ended(&End::Broken("reset".to_owned())).retryable);
    }
}
