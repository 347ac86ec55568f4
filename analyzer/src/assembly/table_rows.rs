//! Spans, messages, traces and connections in, rows of the derived tables out, with times as wall time.

use std::ops::Deref;

use retrospan_protocols::operation::Exchange;
use retrospan_protocols::{Direction, Operation, Status, Value};

use crate::assembly::builders::{Cell, Rows};
use crate::assembly::connections::{Socket, Sockets};
use crate::assembly::side::Side;
use crate::assembly::socket_pipeline::Flow;
use crate::assembly::span::{Extent, Span};
use crate::assembly::traces::{Finished, Labels, Trace};
use crate::tables::dimensions::{Clock, Dimensions, Process};
use crate::tables::outcome::Outcome;

/// What every row may need.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Sockets.
    pub sockets: &'a Sockets,
    /// Processes and clock.
    pub dimensions: &'a Dimensions,
}

/// Adds a row to `spans` and returns how the span is called.
pub fn span<'k>(rows: &mut Rows, finished: &Finished<'_>, known: Known<'k>) -> Labels<'k> {
    let (span, fate) = (finished.span, &finished.fate);
    let socket = known.sockets.get(span.socket);
    let process_id = process_of(span, socket);
    let process = known.dimensions.process(process_id);
    let operation = &*span.operation;
    let name = operation.title.unwrap_or(span.protocol.title());
    let trace_id = hex(finished.trace_id, 32);
    let span_id = hex(finished.span_id.into(), 16);
    let parent_span_id = finished.parent_span_id.map(|id| hex(id.into(), 16));
    let remote_parent = finished.remote_parent_span_id.map(|id| hex(id.into(), 16));
    let traceparent =
        operation.context.map(|c| format!("00-{:032x}-{:016x}-{:02x}", c.trace_id, c.span_id, c.flags));
    let clock = &known.dimensions.clock;
    let response = span.response.filter(|r| fate.outcome != Outcome::Lost || r.status != Status::default());
    let ends = Ends::of(socket, span.side, known.sockets);
    let awaited = finished.waited.map(|waited| known.sockets.get(waited.socket));
    let awaited_listener = awaited.and_then(|socket| socket.remote).map(|remote| {
        let (address, port) = text_of(remote, known.sockets);
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
    });
    let pid = process.map(|p| p.pid).or((span.request.first.pid != 0).then_some(span.request.first.pid));
    let attributes = attributes(
        &Exchange {
            operation,
            status: fate.status,
            client: span.side == Side::Client,
            server: ends.dst,
            bytes: [Some(span.request.bytes()), response.map(|r| r.extent.bytes())],
            body_bytes: [span.request.body_bytes, response.and_then(|r| r.extent.body_bytes)],
        },
        span,
    );
    let http = Http::of(operation);
    rows.push(&[
        Cell::Text(&trace_id),
        Cell::Text(&span_id),
        Cell::text(parent_span_id.as_deref()),
        Cell::text(remote_parent.as_deref()),
        Cell::Text(span.side.name()),
        Cell::Text(name),
        Cell::text(process.map(|p| &*p.service)),
        Cell::Integer(clock.wall_ns(span.start_ns)),
        Cell::Integer(clock.wall_ns(fate.end_ns)),
        Cell::Integer(fate.end_ns - span.start_ns),
        Cell::Integer(finished.own_ns),
        Cell::Text(span.protocol.name()),
        Cell::text(http.method),
        Cell::text(http.path),
        Cell::integer(fate.status.code),
        Cell::Text(fate.outcome.name()),
        Cell::integer(fate.late_status.code),
        Cell::integer(fate.late_at_ns.map(|at| at - fate.end_ns)),
        Cell::Integer(span.request.bytes() as i64),
        Cell::integer(response.map(|r| r.extent.bytes())),
        Cell::integer(span.request.body_bytes),
        Cell::integer(response.and_then(|r| r.extent.body_bytes)),
        Cell::text(ends.src.map(|e| e.0)),
        Cell::integer(ends.src.map(|e| e.1)),
        Cell::text(ends.dst.map(|e| e.0)),
        Cell::integer(ends.dst.map(|e| e.1)),
        Cell::integer(pid),
        Cell::integer((span.request.first.tid != 0).then_some(span.request.first.tid)),
        Cell::integer((span.request.first.tid != 0).then_some(span.request.first.cpu)),
        Cell::text(process.map(|p| &*p.comm)),
        Cell::integer((process_id != 0).then_some(process_id)),
        Cell::Integer(socket.connection_id),
        Cell::text(span.link.evidence.map(|e| e.name())),
        span.link.evidence.map_or(Cell::Null, |e| Cell::Float(e.confidence())),
        Cell::text(http.query),
        Cell::text(http.host),
        Cell::text(http.user_agent),
        Cell::text(http.version),
        Cell::text(operation.request_id.as_deref()),
        Cell::text(traceparent.as_deref()),
        Cell::integer(span.response.map(|r| first_byte_ns(span, &r.extent))),
        Cell::Integer(span.number.into()),
        Cell::Integer(socket.id),
        Cell::integer((socket.netns != 0).then_some(socket.netns)),
        operation.target.as_ref().map_or(Cell::Null, |_| Cell::Bool(operation.target_cut)),
        Cell::integer(finished.waited.map(|waited| waited.ns)),
        Cell::text(awaited_listener.as_deref()),
        Cell::integer(awaited.map(|socket| socket.connection_id)),
        Cell::text(operation.name.as_deref()),
        Cell::text(operation.target.as_deref()),
        Cell::text(operation.route.as_deref()),
        Cell::text(fate.status.text),
        // No protocol that is read now has several streams in one connection.
        Cell::Null,
        Cell::Text(&attributes),
    ]);
    Labels { service: process.map_or("", |p| &*p.service), name }
}

/// What the columns say that are of HTTP alone.
#[derive(Default)]
struct Http<'a> {
    method: Option<&'a str>,
    path: Option<&'a str>,
    query: Option<&'a str>,
    host: Option<&'a str>,
    user_agent: Option<&'a str>,
    version: Option<&'static str>,
}

impl<'a> Http<'a> {
    fn of(operation: &'a Operation) -> Http<'a> {
        let mut http = Http::default();
        for (key, value) in &operation.attributes {
            match (*key, value) {
                ("http.request.method", _) => {
                    http.method = operation.name.as_deref();
                    http.path = operation.target.as_deref();
                }
                ("url.query", Value::Text(text)) => http.query = Some(text),
                ("http.request.header.host", Value::Text(text)) => http.host = Some(text),
                ("user_agent.original", Value::Text(text)) => http.user_agent = Some(text),
                ("network.protocol.version", Value::Name(name)) => http.version = Some(name),
                _ => {}
            }
        }
        http
    }
}

/// Everything that is known of an exchange by names of the semantic conventions, as a JSON object.
fn attributes(exchange: &Exchange<'_>, span: &Span) -> String {
    let mut more = Vec::with_capacity(8);
    span.protocol.attributes(exchange, &mut more);
    let mut json = String::with_capacity(512);
    for (key, value) in exchange.operation.attributes.iter().chain(&more) {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.push('"');
        json.push_str(key);
        json.push_str("\":");
        match value {
            Value::Text(text) => push_text(&mut json, text),
            Value::Name(name) => push_text(&mut json, name),
            Value::Int(number) => json.push_str(&number.to_string()),
        }
    }
    if json.is_empty() {
        json.push('{');
    }
    json.push('}');
    json
}

/// A text as JSON; hardly any needs an escape.
fn push_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        return json.push_str(&serde_json::Value::from(text).to_string());
    }
    json.push('"');
    json.push_str(text);
    json.push('"');
}

/// Adds the rows of a span's request and answer to `messages`.
pub fn messages(rows: &mut Rows, finished: &Finished<'_>, known: Known<'_>) {
    let span = finished.span;
    let span_id = hex(finished.span_id.into(), 16);
    let response = span.response.map(|r| (Direction::Responses, r.extent));
    let clock = &known.dimensions.clock;
    let socket = known.sockets.get(span.socket);
    for (direction, extent) in [(Direction::Requests, span.request)].into_iter().chain(response) {
        let request = direction == Direction::Requests;
        rows.push(&[
            Cell::Integer(socket.connection_id),
            Cell::Integer(socket.id),
            Cell::Text(&span_id),
            Cell::Text(span.side.name()),
            Cell::Text(if request { "request" } else { "response" }),
            Cell::Integer(span.number.into()),
            Cell::Integer(extent.begin as i64),
            Cell::Integer(extent.bytes() as i64),
            Cell::integer((extent.head_bytes > 0).then_some(extent.head_bytes)),
            Cell::integer(extent.body_bytes),
            Cell::Integer(clock.wall_ns(extent.first.enter_ns)),
            Cell::Integer(clock.wall_ns(extent.first.exit_ns)),
            Cell::Integer(clock.wall_ns(extent.last.enter_ns)),
            Cell::Integer(clock.wall_ns(extent.last.exit_ns)),
            Cell::Bool(extent.complete),
            Cell::text(if request { Http::of(&span.operation).method } else { None }),
            Cell::integer(span.response.filter(|_| !request).and_then(|r| r.status.code)),
        ]);
    }
}

/// Adds a row to `traces`.
pub fn trace(rows: &mut Rows, trace: &Trace, clock: &Clock) {
    let services: Vec<&str> = trace.services.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    rows.push(&[
        Cell::Text(&hex(trace.trace_id, 32)),
        Cell::Text(&hex(trace.root_span_id.into(), 16)),
        Cell::Text(&trace.root_service),
        Cell::Text(trace.root_name),
        Cell::text(trace.root_path.as_deref()),
        Cell::integer(trace.root_status),
        Cell::Text(trace.root_outcome.name()),
        Cell::Integer(trace.root_duration_ns),
        Cell::Integer(clock.wall_ns(trace.start_ns)),
        Cell::Integer(clock.wall_ns(trace.end_ns)),
        Cell::Integer(trace.end_ns - trace.start_ns),
        Cell::Integer(trace.spans),
        Cell::Integer(trace.errors),
        Cell::Text(&services.join(",")),
    ]);
}

/// Adds a row to `connections`, from one or both of its ends.
pub fn connection(rows: &mut Rows, ends: &[&Flow], known: Known<'_>) {
    let sockets = known.sockets;
    let Some(&any) = ends.first() else { return };
    let of = |side| ends.iter().copied().find(|flow| flow.presumed_side(sockets) == side);
    let (client, server) = (of(Side::Client), of(Side::Server));
    let socket = |flow: &Flow| sockets.get(flow.socket);
    let end = Ends::of(socket(any), any.presumed_side(sockets), sockets);
    let process = |flow: Option<&Flow>| -> (Option<i64>, Option<&Process>) {
        let id = flow.map_or(0, |flow| flow.process_id(sockets));
        ((id != 0).then_some(id), known.dimensions.process(id))
    };
    let netns = |flow: Option<&Flow>| flow.map(|flow| socket(flow).netns).filter(|&netns| netns != 0);
    let clock = &known.dimensions.clock;
    let time = |ns: Option<i64>| ns.map_or(Cell::Null, |ns| Cell::Integer(clock.wall_ns(ns)));
    let ((client_id, client_process), (server_id, server_process)) = (process(client), process(server));
    // Whoever answers: the end that connected.
    let opener = ends.iter().copied().find(|flow| flow.opening.attempt().is_some());
    let attempt = opener.and_then(|flow| flow.opening.attempt());
    let (server_id, server_process) = match (client, attempt) {
        (Some(flow), Some(attempt)) if server.is_none() => {
            let id = sockets.listening(socket(flow), attempt.from_ns);
            (id, id.and_then(|id| known.dimensions.process(id)))
        }
        _ => (server_id, server_process),
    };
    let handshake = opener.and_then(|flow| socket(flow).handshake);
    let queued_ns = ends.iter().find_map(|flow| flow.opening.queued_ns());
    let most = |value: fn(&Flow) -> u64| ends.iter().map(|flow| value(flow)).max().unwrap_or_default() as i64;
    let moved = |side| {
        let bytes = ends.iter().map(|flow| flow.bytes_of(side, sockets)).max();
        Cell::Integer(bytes.unwrap_or_default() as i64)
    };
    let closed = ends.iter().map(|flow| socket(flow).closed_ns.or(flow.ending.closed.map(|c| c.ns)));
    let closed = closed.collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max());
    let leaving = ends.iter().filter_map(|flow| flow.first_leaving(sockets)).min();
    let hop = hop(client_process, server_process, &end);
    rows.push(&[
        Cell::Integer(socket(any).connection_id),
        Cell::integer(client.map(|flow| socket(flow).id)),
        Cell::integer(server.map(|flow| socket(flow).id)),
        Cell::Text(ends.iter().find_map(|flow| flow.protocol()).map_or("unknown", |spoken| spoken.name())),
        Cell::text(end.src.map(|e| e.0)),
        Cell::integer(end.src.map(|e| e.1)),
        Cell::text(end.dst.map(|e| e.0)),
        Cell::integer(end.dst.map(|e| e.1)),
        Cell::integer(netns(client)),
        Cell::integer(netns(server)),
        Cell::integer(client_id),
        Cell::integer(server_id),
        Cell::text(client_process.map(|p| &*p.service)),
        Cell::text(server_process.map(|p| &*p.service)),
        Cell::Bool(ends.iter().any(|flow| socket(flow).discovered)),
        time(ends.iter().filter_map(|flow| socket(flow).opened_ns).min()),
        time(closed),
        time(ends.iter().map(|flow| flow.first_ns).min()),
        time(ends.iter().map(|flow| flow.last_ns).max()),
        moved(Side::Client),
        moved(Side::Server),
        Cell::Integer(most(|flow| flow.requests().into())),
        Cell::text(leaving.and_then(|(_, side, _)| side).map(Side::name)),
        leaving.map_or(Cell::Null, |(_, _, kind)| Cell::Text(kind)),
        Cell::Integer(ends.iter().map(|flow| flow.missing_bytes as i64).sum()),
        Cell::Text(&hop),
        Cell::integer(attempt.and_then(|attempt| Some(attempt.end?.0 - attempt.from_ns))),
        Cell::text(attempt.and_then(|attempt| Some(attempt.end?.1.name()))),
        Cell::integer(handshake.map(|seen| seen.again)),
        Cell::integer(queued_ns),
    ]);
}

/// `inner-envoy -> nginx:8080`; where a process is not known, its address.
fn hop(client: Option<&Process>, server: Option<&Process>, ends: &Ends<'_>) -> String {
    let address =
        |end: Option<(&'_ str, u16)>| end.map_or_else(|| "?".to_owned(), |(address, _)| address.to_owned());
    let client = client.map_or_else(|| address(ends.src), |process| process.comm.to_string());
    let server = server.map_or_else(|| address(ends.dst), |process| process.comm.to_string());
    let port = ends.dst.map_or_else(|| "?".to_owned(), |(_, port)| port.to_string());
    format!("{client} -> {server}:{port}")
}

/// Text address and port of both ends, the requesting side first.
struct Ends<'a> {
    src: Option<(&'a str, u16)>,
    dst: Option<(&'a str, u16)>,
}

impl<'a> Ends<'a> {
    fn of(socket: &Socket, side: Side, sockets: &'a Sockets) -> Ends<'a> {
        let text = |endpoint: Option<_>| endpoint.map(|e| text_of(e, sockets));
        let (local, remote) = (text(socket.local), text(socket.remote));
        match side {
            Side::Client => Ends { src: local, dst: remote },
            Side::Server => Ends { src: remote, dst: local },
        }
    }
}

fn text_of(endpoint: crate::assembly::connections::Endpoint, sockets: &Sockets) -> (&str, u16) {
    (sockets.address(endpoint), endpoint.port)
}

/// The process of a span: the caller where it is known, else the socket's owner.
fn process_of(span: &Span, socket: &Socket) -> i64 {
    match span.request.first.process_id {
        0 => socket.process_id,
        caller => caller,
    }
}

fn first_byte_ns(span: &Span, response: &Extent) -> i64 {
    let at = match span.side {
        Side::Client => response.first.exit_ns,
        Side::Server => response.first.enter_ns,
    };
    (at - span.start_ns).max(0)
}

/// An id as lower-case hex digits.
struct Hex {
    digits: [u8; 32],
    from: usize,
}

impl Deref for Hex {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.digits[self.from..]).unwrap_or_default()
    }
}

/// The last 16 or all 32 digits.
fn hex(id: u128, digits: usize) -> Hex {
    let mut hex = Hex { digits: [b'0'; 32], from: 32 - digits };
    hex.digits[16..].copy_from_slice(&sixteen_digits(id as u64));
    if digits > 16 {
        hex.digits[..16].copy_from_slice(&sixteen_digits((id >> 64) as u64));
    }
    hex
}

fn sixteen_digits(word: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let mut at = 0;
    while at < digits.len() {
        digits[at] = b"0123456789abcdef"[(word >> (60 - 4 * at)) as usize & 15];
        at += 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::push_text;

    #[test]
    fn a_text_is_json_whatever_it_holds() {
        for text in ["", "/a?b=*", "a\"b", "a\\b", "a\nb\u{0}", "\u{7f}\u{e9}\u{2028}"] {
            let mut json = String::new();
            push_text(&mut json, text);
            assert_eq!(json, serde_json::Value::from(text).to_string());
        }
    }
}
