//! What a span needs to know of an HTTP/1 message head: its start line and a few headers.
//!
//! In: the bytes of a head, perhaps only the first of them, some blanked. Anything may be in there: nothing here fails.

use std::sync::Arc;

use crate::context::{B3, hex, traceparent};
use crate::operation::{Exchange, Operation, Title, Value, ValueRef};
use crate::parts::Direction;

/// Methods that spans are named by, and that the semantic conventions know; others could be anything.
pub(crate) const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// Names of attributes (semantic conventions of HTTP, stable since 1.23).
pub(crate) mod key {
    pub const METHOD: &str = "http.request.method";
    pub const METHOD_ORIGINAL: &str = "http.request.method_original";
    pub const QUERY: &str = "url.query";
    pub const USER_AGENT: &str = "user_agent.original";
    pub const HOST: &str = "http.request.header.host";
    pub const VERSION: &str = "network.protocol.version";
}

/// Longest text kept of one header.
const MAX_TEXT_BYTES: usize = 4096;
/// Longest path kept: as much of a head as is ever read.
const MAX_PATH_BYTES: usize = 16 * 1024;
/// Paths that are shorter were stored as they came.
const MIN_CUT_PATH_BYTES: usize = 64;

/// Reads a head, or the beginning of one. Texts that are as in `last` are shared with it.
pub(crate) fn read(direction: Direction, bytes: &[u8], last: &Operation) -> Operation {
    let mut head = Operation::default();
    let mut lines = bytes.split_inclusive(|&b| b == b'\n');
    let first = lines.next().unwrap_or_default();
    match direction {
        Direction::Requests => request_line(first, &mut head, last),
        Direction::Responses => {
            head.status.code = status(first);
            return head;
        }
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

fn request_line(line: &[u8], head: &mut Operation, last: &Operation) {
    let mut words = line.trim_ascii_end().splitn(3, |&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    if line.len() > method.len() {
        let name = text(method, last.name.as_ref());
        let known = METHODS.into_iter().find(|known| *known == &*name);
        head.title = known.map(Title::Defined);
        head.attributes.reserve(6);
        head.attributes.push((key::METHOD, Value::Name(known.unwrap_or("_OTHER"))));
        if known.is_none() {
            head.attributes.push((key::METHOD_ORIGINAL, Value::Text(name.clone())));
        }
        head.name = Some(name);
    }
    if words.next().is_some() || line.len() > method.len() + 1 {
        let target = without_authority(target);
        let (path, query) = match target.iter().position(|&b| b == b'?') {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        head.target = Some(text_of(path, MAX_PATH_BYTES, last.target.as_ref()));
        // Of a path that was only read, and not stored, the recorder has left blanks.
        let blanked = path.len() >= MIN_CUT_PATH_BYTES && path.ends_with(b"*");
        head.target_cut = line.last() != Some(&b'\n') || path.len() > MAX_PATH_BYTES || blanked;
        if let Some(query) = query {
            add(key::QUERY, query, head, last);
        }
    }
    head.attributes
        .extend(version(line.trim_ascii_end()).map(|version| (key::VERSION, Value::Name(version))));
}

/// `http://host/path` to `/path`; other forms as they are.
pub(crate) fn without_authority(target: &[u8]) -> &[u8] {
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

fn status(line: &[u8]) -> Option<u16> {
    let digits = line.get(9..12).unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).filter(|status| *status >= 100)
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

fn header(name: &[u8], value: &[u8], head: &mut Operation, b3: &mut B3, last: &Operation) {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        4 if is("host") => add(key::HOST, value, head, last),
        10 if is("user-agent") => add(key::USER_AGENT, value, head, last),
        12 if is("x-request-id") => head.request_id = Some(text(value, last.request_id.as_ref())),
        11 if is("traceparent") => head.context = traceparent(value),
        2 if is("b3") => *b3 = B3::single(value),
        12 if is("x-b3-traceid") => b3.trace_id = hex(value, 32),
        11 if is("x-b3-spanid") => b3.span_id = hex(value, 16).map(|id| id as u64),
        12 if is("x-b3-sampled") => b3.sampled = matches!(value, b"1" | b"true"),
        _ => {}
    }
}

/// Sets an attribute; of a repeated header the last one counts.
fn add(key: &'static str, value: &[u8], head: &mut Operation, last: &Operation) {
    let value = Value::Text(text(value, last.text(key)));
    match head.attributes.iter_mut().find(|(name, _)| *name == key) {
        Some((_, before)) => *before = value,
        None => head.attributes.push((key, value)),
    }
}

fn text(bytes: &[u8], last: Option<&Arc<str>>) -> Arc<str> {
    text_of(bytes, MAX_TEXT_BYTES, last)
}

fn text_of(bytes: &[u8], most: usize, last: Option<&Arc<str>>) -> Arc<str> {
    let bytes = &bytes[..bytes.len().min(most)];
    match last {
        Some(last) if last.as_bytes() == bytes => last.clone(),
        _ => String::from_utf8_lossy(bytes).into(),
    }
}

/// What the conventions want beyond what stands in the head.
pub(crate) fn attributes(exchange: &Exchange<'_>, tell: &mut dyn FnMut(&'static str, ValueRef<'_>)) {
    if let Some(path) = &exchange.operation.target {
        tell("url.path", ValueRef::Text(path));
        if let Some(url) = full_url(exchange, path) {
            tell("url.full", ValueRef::Text(&url));
        }
    }
    tell("url.scheme", ValueRef::Text("http"));
    if let Some(code) = exchange.status.code {
        tell("http.response.status_code", ValueRef::Int(code.into()));
        // A client's fault is no error of the server.
        if code >= if exchange.client { 400 } else { 500 } {
            tell("error.type", ValueRef::Text(&code.to_string()));
        }
    }
    let [request, response] = exchange.bytes;
    let [request_body, response_body] = exchange.body_bytes;
    let sizes = [
        ("http.request.size", request),
        ("http.response.size", response),
        ("http.request.body.size", request_body),
        ("http.response.body.size", response_body),
    ];
    for (key, size) in sizes.into_iter().filter_map(|(key, size)| Some((key, size?))) {
        tell(key, ValueRef::Int(size as i64));
    }
}

/// The conventions want it of clients. The name the client asked for may be unknown: the address stands for it.
fn full_url(exchange: &Exchange<'_>, path: &str) -> Option<String> {
    let (address, port) = exchange.server.filter(|_| exchange.client && path.starts_with('/'))?;
    let query = exchange.operation.text(key::QUERY);
    let mut url =
        String::with_capacity(32 + address.len() + path.len() + query.map_or(0, |query| query.len()));
    url.push_str("http://");
    if address.contains(':') {
        url.extend(["[", address, "]"]);
    } else {
        url.push_str(address);
    }
    url.extend([":", &port.to_string(), path]);
    url.extend(query.into_iter().flat_map(|query| ["?", query]));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Operation {
        read(Direction::Requests, text.as_bytes(), &Operation::default())
    }

    #[test]
    fn a_request_head() {
        let head = request(
            "GET /a/b?x=*&y HTTP/1.1\r\nHOST: h:80\r\nUser-Agent: curl/8\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        );
        assert_eq!(head.name.as_deref(), Some("GET"));
        assert_eq!(head.target.as_deref(), Some("/a/b"));
        assert_eq!(head.text(key::QUERY).map(|t| &**t), Some("x=*&y"));
        assert!(head.attributes.contains(&(key::VERSION, Value::Name("1.1"))));
        assert_eq!(head.text(key::HOST).map(|t| &**t), Some("h:80"));
        let context = head.context.unwrap();
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.span_id, 0x00f0_67aa_0ba9_02b7);
    }

    #[test]
    fn a_path_that_was_cut_says_so() {
        let known = "p".repeat(90);
        assert!(!request(&format!("GET /{known} HTTP/1.1\r\n")).target_cut);
        assert!(request(&format!("GET /{known}")).target_cut);
        let head = request(&format!("GET http://u/{known}{} HTTP/1.1\r\n", "*".repeat(9000)));
        assert_eq!((head.target_cut, head.target.map(|path| path.len())), (true, Some(9091)));
    }

    #[test]
    fn other_forms_of_targets() {
        assert_eq!(request("GET http://h:1/p?q HTTP/1.1\r\n").target.as_deref(), Some("/p"));
        assert_eq!(request("GET http://h HTTP/1.1\r\n").target.as_deref(), Some("/"));
        assert_eq!(request("OPTIONS * HTTP/1.1\r\n").target.as_deref(), Some("*"));
        assert_eq!(request("CONNECT h:443 HTTP/1.1\r\n").target.as_deref(), Some("h:443"));
        assert_eq!(request("GET /?u=http://x/ HTTP/1.0\r\n").target.as_deref(), Some("/"));
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
            assert!(head.text(key::HOST).is_none_or(|h| &**h == "example"));
            assert!(head.request_id.is_none_or(|r| &*r == "r1"));
        }
    }
}
