//! What a span needs to know of an HTTP/1 message head: its start line and a few headers.
//!
//! In: the bytes of a head, perhaps only the first of them, some blanked. Anything may be in there: nothing here fails.

use std::sync::Arc;

use retrospan_formats::http1::Direction;

/// A message head, as far as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Method of a request.
    pub method: Option<Arc<str>>,
    /// Target without scheme, authority and query.
    pub path: Option<Arc<str>>,
    /// Not all of the target is in `path` and `query`.
    pub path_cut: bool,
    /// Query without `?`, values blanked by the recorder.
    pub query: Option<Arc<str>>,
    /// Status of a response.
    pub status: Option<u16>,
    /// `1.1` or `1.0`.
    pub version: Option<&'static str>,
    /// `Host`.
    pub host: Option<Arc<str>>,
    /// `User-Agent`.
    pub user_agent: Option<Arc<str>>,
    /// `X-Request-Id`.
    pub request_id: Option<Arc<str>>,
    /// Trace context (W3C or B3).
    pub context: Option<Context>,
}

/// Trace context that a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Trace id.
    pub trace_id: u128,
    /// The caller's span.
    pub span_id: u64,
    /// Trace flags.
    pub flags: u8,
}

/// Longest text kept of one header.
const MAX_TEXT_BYTES: usize = 4096;
/// Longest path kept: as much of a head as is ever read.
const MAX_PATH_BYTES: usize = 16 * 1024;
/// Paths that are shorter were stored as they came.
const MIN_CUT_PATH_BYTES: usize = 64;

/// Reads a head, or the beginning of one. Texts that are as in `last` are shared with it.
pub fn read(direction: Direction, bytes: &[u8], last: &Head) -> Head {
    let mut head = Head::default();
    let mut lines = bytes.split_inclusive(|&b| b == b'\n');
    let first = lines.next().unwrap_or_default();
    match direction {
        Direction::Requests => request_line(first, &mut head, last),
        Direction::Responses => status_line(first, &mut head),
    }
    if direction == Direction::Responses {
        return head;
    }
    let mut b3 = B3::default();
    for line in lines {
        // A line that is not whole may have been cut within its value.
        if line.last() == Some(&b'\n')
            && let Some(colon) = line.iter().position(|&b| b == b':')
        {
            header(&line[..colon], line[colon + 1..].trim_ascii(), &mut head, &mut b3, last);
        }
    }
    if head.context.is_none() {
        head.context = b3.context();
    }
    head
}

fn request_line(line: &[u8], head: &mut Head, last: &Head) {
    let mut words = line.trim_ascii_end().splitn(3, |&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    if line.len() > method.len() {
        head.method = Some(text(method, &last.method));
    }
    if words.next().is_some() || line.len() > method.len() + 1 {
        let target = without_authority(target);
        let (path, query) = match target.iter().position(|&b| b == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        head.path = Some(text_of(path, MAX_PATH_BYTES, &last.path));
        // Of a path that was only read, and not stored, the recorder has left blanks.
        let blanked = path.len() >= MIN_CUT_PATH_BYTES && path.ends_with(b"*");
        head.path_cut = line.last() != Some(&b'\n') || path.len() > MAX_PATH_BYTES || blanked;
        head.query = query.map(|query| text(query, &last.query));
    }
    head.version = version(line.trim_ascii_end());
}

/// `http://host/path` to `/path`; other forms as they are.
fn without_authority(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(at) = target.windows(3).position(|w| w == b"://") else { return target };
    if target[..at].iter().any(|b| !b.is_ascii_alphanumeric()) {
        return target;
    }
    let rest = &target[at + 3..];
    match rest.iter().position(|&b| b == b'/' || b == b'?') {
        Some(slash) => &rest[slash..],
        None => b"/",
    }
}

fn status_line(line: &[u8], head: &mut Head) {
    let digits = line.get(9..12).unwrap_or_default();
    head.status = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).filter(|s| *s >= 100);
    head.version = version(line.get(..8).unwrap_or_default());
}

fn version(line: &[u8]) -> Option<&'static str> {
    if line.ends_with(b"HTTP/1.1") {
        Some("1.1")
    } else if line.ends_with(b"HTTP/1.0") {
        Some("1.0")
    } else {
        None
    }
}

fn header(name: &[u8], value: &[u8], head: &mut Head, b3: &mut B3, last: &Head) {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        4 if is("host") => head.host = Some(text(value, &last.host)),
        10 if is("user-agent") => head.user_agent = Some(text(value, &last.user_agent)),
        12 if is("x-request-id") => head.request_id = Some(text(value, &last.request_id)),
        11 if is("traceparent") => head.context = traceparent(value),
        2 if is("b3") => *b3 = B3::single(value),
        12 if is("x-b3-traceid") => b3.trace_id = hex(value, 32),
        11 if is("x-b3-spanid") => b3.span_id = hex(value, 16).map(|id| id as u64),
        12 if is("x-b3-sampled") => b3.sampled = matches!(value, b"1" | b"true"),
        _ => {}
    }
}

/// W3C Trace Context, section 3.2: `00-<32 hex>-<16 hex>-<2 hex>`.
fn traceparent(value: &[u8]) -> Option<Context> {
    if value.len() < 55 || value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
        return None;
    }
    let known_version = value.starts_with(b"00");
    if value.starts_with(b"ff") || (known_version && value.len() != 55) {
        return None;
    }
    let trace_id = hex(&value[3..35], 32)?;
    let span_id = hex(&value[36..52], 16)? as u64;
    let flags = hex(&value[53..55], 2)? as u8;
    (trace_id != 0 && span_id != 0).then_some(Context { trace_id, span_id, flags })
}

/// B3 propagation, in one header or in several.
#[derive(Default)]
struct B3 {
    trace_id: Option<u128>,
    span_id: Option<u64>,
    sampled: bool,
}

impl B3 {
    fn single(value: &[u8]) -> B3 {
        let mut fields = value.split(|&b| b == b'-');
        B3 {
            trace_id: fields.next().and_then(|f| hex(f, 32)),
            span_id: fields.next().and_then(|f| hex(f, 16)).map(|id| id as u64),
            sampled: matches!(fields.next(), Some(b"1" | b"d")),
        }
    }

    fn context(&self) -> Option<Context> {
        let (trace_id, span_id) = (self.trace_id?, self.span_id?);
        (trace_id != 0 && span_id != 0).then_some(Context {
            trace_id,
            span_id,
            flags: u8::from(self.sampled),
        })
    }
}

fn hex(digits: &[u8], most: usize) -> Option<u128> {
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    digits.iter().try_fold(0u128, |value, &digit| {
        let digit = (digit as char).to_digit(16)?;
        Some(value << 4 | u128::from(digit))
    })
}

fn text(bytes: &[u8], last: &Option<Arc<str>>) -> Arc<str> {
    text_of(bytes, MAX_TEXT_BYTES, last)
}

fn text_of(bytes: &[u8], most: usize, last: &Option<Arc<str>>) -> Arc<str> {
    let bytes = &bytes[..bytes.len().min(most)];
    match last {
        Some(last) if last.as_bytes() == bytes => last.clone(),
        _ => String::from_utf8_lossy(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Head {
        read(Direction::Requests, text.as_bytes(), &Head::default())
    }

    #[test]
    fn a_request_head() {
        let head = request(
            "GET /a/b?x=*&y HTTP/1.1\r\nHOST: h:80\r\nUser-Agent: curl/8\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        );
        assert_eq!(head.method.as_deref(), Some("GET"));
        assert_eq!(head.path.as_deref(), Some("/a/b"));
        assert_eq!(head.query.as_deref(), Some("x=*&y"));
        assert_eq!(head.version, Some("1.1"));
        assert_eq!(head.host.as_deref(), Some("h:80"));
        let context = head.context.unwrap();
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
    }

    #[test]
    fn a_path_that_was_cut_says_so() {
        let known = "p".repeat(90);
        assert!(!request(&format!("GET /{known} HTTP/1.1\r\n")).path_cut);
        assert!(request(&format!("GET /{known}")).path_cut);
        let head = request(&format!("GET http://u/{known}{} HTTP/1.1\r\n", "*".repeat(9000)));
        assert_eq!((head.path_cut, head.path.map(|path| path.len())), (true, Some(9091)));
    }

    #[test]
    fn other_forms_of_targets() {
        assert_eq!(request("GET http://h:1/p?q HTTP/1.1\r\n").path.as_deref(), Some("/p"));
        assert_eq!(request("GET http://h HTTP/1.1\r\n").path.as_deref(), Some("/"));
        assert_eq!(request("OPTIONS * HTTP/1.1\r\n").path.as_deref(), Some("*"));
        assert_eq!(request("CONNECT h:443 HTTP/1.1\r\n").path.as_deref(), Some("h:443"));
        assert_eq!(request("GET /?u=http://x/ HTTP/1.0\r\n").path.as_deref(), Some("/"));
    }

    #[test]
    fn b3_in_both_forms() {
        let one = request("GET / HTTP/1.1\r\nb3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n");
        let many = request(
            "GET / HTTP/1.1\r\nX-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7\r\nX-B3-SpanId: e457b5a2e4d86bd1\r\n\
             X-B3-Sampled: 1\r\n",
        );
        assert!(one.context.is_some());
        assert_eq!(one.context, many.context);
    }

    #[test]
    fn a_cut_head_gives_what_is_whole() {
        let whole = "POST /path HTTP/1.1\r\nhost: example\r\nx-request-id: r1\r\n\r\n";
        for end in 0..whole.len() {
            let head = request(&whole[..end]);
            assert!(head.host.is_none_or(|h| &*h == "example"));
            assert!(head.request_id.is_none_or(|r| &*r == "r1"));
        }
    }

    #[test]
    fn bad_contexts_are_none() {
        for bad in ["00-0-0-0", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "*", ""] {
            assert_eq!(traceparent(bad.as_bytes()), None);
        }
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert_eq!(traceparent(zero.as_bytes()), None);
    }
}
