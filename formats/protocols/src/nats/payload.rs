//! What is read behind control lines: headers, and how many messages a consumer asks for.

use super::lines::{header, split_end};
use crate::context::{Context, traceparent};
use crate::frames::Runs;
use crate::operation::Status;

/// What headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) status: Status,
    pub(super) context: Option<Context>,
}

impl Headers {
    /// Reads headers, or the first bytes of them.
    pub(super) fn of(bytes: &[u8]) -> Headers {
        let mut headers = Headers::default();
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let (text, end) = split_end(line);
            if end == 0 {
                break;
            }
            if index == 0 {
                headers.status.code = status_line(text).and_then(|(_, code)| code);
                headers.status.text = headers.status.code.and_then(status_text);
            } else if let Some(value) = header(text, b"traceparent") {
                headers.context = traceparent(value);
            }
        }
        headers
    }
}

/// How much of the first line of headers is its version, with a status behind it, and that.
pub(super) fn status_line(text: &[u8]) -> Option<(usize, Option<u16>)> {
    const VERSION: &[u8] = b"NATS/1.0";
    let rest = text.strip_prefix(VERSION)?;
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    match &rest[spaces..] {
        [a, b, c, after @ ..]
            if spaces > 0
                && [a, b, c].iter().all(|byte| byte.is_ascii_digit())
                && after.first().is_none_or(|&byte| byte == b' ') =>
        {
            let code = [a, b, c].iter().fold(0, |code, &&digit| code * 10 + u16::from(digit - b'0'));
            // With the space that ends it.
            Some(((VERSION.len() + spaces + 4).min(text.len()), Some(code)))
        }
        _ => Some((VERSION.len(), None)),
    }
}

/// Statuses by what servers call them.
fn status_text(code: u16) -> Option<&'static str> {
    Some(match code {
        400 => "Bad Request",
        404 => "No Messages",
        408 => "Request Timeout",
        409 => "Conflict",
        503 => "No Responders",
        _ => return None,
    })
}

/// Bytes of a request for messages that are read.
pub(super) const MAX_PULL: u64 = 512;

/// How many messages are asked for: a number, or one in an object of JSON; without, it is one.
pub(super) fn batch(payload: &[u8]) -> u64 {
    let digits = match place_of_batch(payload) {
        Some((at, length)) => &payload[at..at + length],
        None => payload.trim_ascii(),
    };
    let is_number = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !is_number {
        return 1;
    }
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')).max(1)
}

const BATCH: &[u8] = b"\"batch\":";

/// Where the digits behind the name stand, and how many they are.
fn place_of_batch(payload: &[u8]) -> Option<(usize, usize)> {
    let at = payload.windows(BATCH.len()).position(|name| name == BATCH)? + BATCH.len();
    let spaces = payload[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let digits = payload[at + spaces..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((at + spaces, digits))
}

/// Keeps that number alone.
pub(super) fn keep(payload: &[u8], runs: &mut Runs) {
    let begin = runs.at();
    match place_of_batch(payload) {
        Some((at, digits)) if at + digits < payload.len() && digits <= 9 => {
            let name = payload[..at].iter().rposition(|&byte| byte == b':').map_or(at, |colon| colon + 1);
            runs.blank(name - BATCH.len());
            runs.keep(at + digits + begin - runs.at());
        }
        None if !payload.is_empty() && payload.len() <= 9 && payload.iter().all(u8::is_ascii_digit) => {
            runs.keep(payload.len());
        }
        _ => {}
    }
    runs.blank(payload.len() + begin - runs.at());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_it_went_and_whose_trace_it_is() {
        let headers = Headers::of(b"NATS/1.0 404 No Messages\r\n\r\n");
        assert_eq!((headers.status.code, headers.status.text), (Some(404), Some("No Messages")));
        let id = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = Headers::of(format!("NATS/1.0\r\nTraceParent: {id}\r\n\r\n").as_bytes());
        assert_eq!((headers.status.code, headers.context), (None, traceparent(id.as_bytes())));
        assert_eq!(Headers::of(format!("NATS/1.0\r\ntraceparent: {id}").as_bytes()).context, None);
        assert_eq!(status_line(b"NATS/1.0 4040"), Some((8, None)));
    }

    #[test]
    fn how_many_are_asked_for() {
        for (payload, number) in
            [("", 1), ("25", 25), (r#"{"batch":5,"expires":9}"#, 5), (r#"{"batch": 12}"#, 12), ("{}", 1)]
        {
            assert_eq!(batch(payload.as_bytes()), number, "{payload}");
        }
    }
}
