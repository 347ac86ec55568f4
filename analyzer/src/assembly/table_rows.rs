//! Spans, messages, traces and connections in, rows of the derived tables out, with times as wall time.

use retrospan_formats::rows::Writer;
use retrospan_protocols::{Direction, Operation, Status, Value};

use crate::assembly::attributes::{Attributes, Told};
use crate::assembly::connections::{Endpoint, Socket, Sockets};
use crate::assembly::hex;
use crate::assembly::passing::{Message, Origin};
use crate::assembly::regimes::regime::Regime;
use crate::assembly::settling::Finished;
use crate::assembly::side::Side;
use crate::assembly::socket_pipeline::SocketPipeline;
use crate::assembly::span::{MessageExtent, Span};
use crate::assembly::traces::Trace;
use crate::tables::dimensions::{Clock, Dimensions, Process};
use crate::tables::outcome::Outcome;
use crate::tables::{ConnectionRow, LinkRegimeRow, MessageRow, SpanRow, TraceRow};

/// What every row may need.
#[derive(Clone, Copy)]
pub struct RowContext<'a> {
    /// Sockets.
    pub sockets: &'a Sockets,
    /// Processes and clock.
    pub dimensions: &'a Dimensions,
}

/// Adds a row to `spans`.
pub fn span(
    rows: &mut Writer<SpanRow<'static>>,
    attributes: &mut Attributes,
    finished: &Finished,
    context: RowContext<'_>,
) {
    let (span, span_end) = (&*finished.span, &finished.span_end);
    let socket = context.sockets.get(span.socket);
    let process_id = span.process_id(context.sockets);
    let process = context.dimensions.process(process_id);
    let operation = &*span.operation;
    let name = operation.title.as_deref().unwrap_or(span.protocol.title());
    let trace_id = hex::trace_id(finished.trace_id);
    let span_id = hex::span_id(finished.span_id);
    let parent_span_id = finished.parent_span_id.map(hex::span_id);
    let remote_parent = finished.remote_parent_span_id.map(hex::span_id);
    let traceparent = operation.context.as_ref().map(hex::traceparent);
    let clock = &context.dimensions.clock;
    let response =
        span.response.filter(|r| span_end.outcome != Outcome::Lost || r.status != Status::default());
    let ends = Ends::of(socket, span.side, context.sockets);
    let in_queue_ns = finished.waited.as_ref().map(|waited| waited.ns - waited.parts_ns);
    let awaited = finished.waited.as_ref().map(|waited| context.sockets.get(waited.socket));
    let awaited_listener = awaited.and_then(|socket| listener(socket, context.sockets));
    let first = &span.request.first;
    let pid = process.map(|p| p.pid).or((first.pid != 0).then_some(first.pid));
    let has_tid = first.tid != 0;
    let server = if span.side == Side::Client { socket.remote } else { socket.local };
    let told = Told {
        status: span_end.status,
        client: span.side == Side::Client,
        server,
        transport: transport(socket),
        over_tls: socket.session.is_some(),
        bytes: [Some(span.request.bytes()), response.map(|r| r.extent.bytes())],
        body_bytes: [span.request.body_bytes, response.and_then(|r| r.extent.body_bytes)],
    };
    let attributes = attributes.of(&span.operation, span.protocol, told, context.sockets);
    let http = Http::of(operation);
    rows.push(&SpanRow {
        trace_id: &trace_id,
        span_id: &span_id,
        parent_span_id: parent_span_id.as_deref(),
        remote_parent_span_id: remote_parent.as_deref(),
        kind: span.side.name(),
        name,
        service: process.map(|p| &*p.service),
        start_time: clock.wall_ns(span.start_ns),
        end_time: clock.wall_ns(span_end.end_ns),
        duration_ns: span_end.end_ns - span.start_ns,
        own_ns: finished.own_ns,
        protocol: Some(operation.protocol.unwrap_or(span.protocol.name())),
        method: http.method,
        path: http.path,
        status: span_end.status.code.map(i32::from),
        outcome: span_end.outcome.name(),
        late_status: span_end.late_status.code.map(i32::from),
        late_ns: span_end.late_at_ns.map(|at| at - span_end.end_ns),
        request_bytes: Some(span.request.bytes() as i64),
        response_bytes: response.map(|r| r.extent.bytes() as i64),
        request_body_bytes: span.request.body_bytes.map(|bytes| bytes as i64),
        response_body_bytes: response.and_then(|r| r.extent.body_bytes).map(|bytes| bytes as i64),
        src_addr: ends.src.map(|e| e.0),
        src_port: ends.src.and_then(|e| e.1).map(i32::from),
        dst_addr: ends.dst.map(|e| e.0),
        dst_port: ends.dst.and_then(|e| e.1).map(i32::from),
        pid: pid.map(|pid| pid as i32),
        tid: has_tid.then_some(first.tid as i32),
        cpu: has_tid.then_some(first.cpu.into()),
        process: process.map(|p| &*p.name),
        process_id: (process_id != 0).then_some(process_id),
        connection_id: socket.connection_id,
        link_evidence: span.link.evidence.map(|e| e.name()),
        link_confidence: span.link.evidence.map(|_| span.link.confidence),
        query: http.query,
        host: http.host,
        user_agent: http.user_agent,
        http_version: http.version,
        request_id: operation.request_id.as_deref(),
        traceparent: traceparent.as_deref(),
        first_byte_ns: span.response.map(|r| first_byte_ns(span, &r.extent)),
        request_number: Some(span.number as i32),
        socket_id: socket.id,
        netns: (socket.netns != 0).then_some(socket.netns),
        path_cut: operation.target.as_ref().map(|_| operation.target_cut),
        connect_ns: finished.waited.as_ref().map(|waited| waited.ns),
        connect_to: awaited_listener.as_deref(),
        connect_connection_id: awaited.map(|socket| socket.connection_id),
        operation: operation.name.as_deref(),
        target: operation.target.as_deref(),
        route: operation.route.as_deref(),
        status_text: span_end.status.text,
        stream_id: span.key.map(u64::cast_signed),
        attributes: Some(attributes),
        queued_ns: first.queued_us.filter(|_| span.side == Side::Server).map(|us| 1_000 * i64::from(us)),
        accept_wait_ns: in_queue_ns.filter(|&ns| ns > 0),
        sampled_one_in: context.dimensions.sampled_one_in(),
    });
}

/// Every request of HTTP has it, and no other.
const HTTP_METHOD: &str = "http.request.method";

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
                (HTTP_METHOD, _) => {
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

/// Adds the rows of a span's request and answer to `messages`.
pub fn messages(rows: &mut Writer<MessageRow<'static>>, finished: &Finished, context: RowContext<'_>) {
    let (span, span_id) = (&*finished.span, hex::span_id(finished.span_id));
    let row =
        |direction, extent: &MessageExtent| message(Origin::of(span), &span_id, direction, extent, context);
    let is_http = span.operation.attributes.iter().any(|(key, _)| *key == HTTP_METHOD);
    let method = span.operation.name.as_deref().filter(|_| is_http);
    rows.push(&MessageRow { method, ..row(REQUEST, &span.request) });
    if let Some(response) = &span.response {
        let status = response.status.code.map(i32::from);
        rows.push(&MessageRow { status, ..row(RESPONSE, &response.extent) });
    }
}

/// Adds the row of a message that is no exchange to `messages`.
pub fn passed(
    rows: &mut Writer<MessageRow<'static>>,
    passed: &Message,
    span_id: u64,
    context: RowContext<'_>,
) {
    let direction = if passed.direction == Direction::Requests { REQUEST } else { RESPONSE };
    let span_id = hex::span_id(span_id);
    let row = message(passed.origin, &span_id, direction, &passed.extent, context);
    rows.push(&MessageRow { kind: passed.name.as_deref(), ..row });
}

/// Column `direction` of `messages`.
const REQUEST: &str = "request";
const RESPONSE: &str = "response";

fn message<'a>(
    origin: Origin,
    span_id: &'a str,
    direction: &'static str,
    extent: &MessageExtent,
    context: RowContext<'_>,
) -> MessageRow<'a> {
    let socket = context.sockets.get(origin.socket);
    let time = |boot_ns| context.dimensions.clock.wall_ns(boot_ns);
    MessageRow {
        connection_id: socket.connection_id,
        socket_id: socket.id,
        span_id,
        side: origin.side.name(),
        direction,
        request_number: origin.number as i32,
        position: extent.begin as i64,
        bytes: extent.bytes() as i64,
        head_bytes: (extent.head_bytes > 0).then_some(extent.head_bytes as i64),
        body_bytes: extent.body_bytes.map(|bytes| bytes as i64),
        first_enter_time: time(extent.first.enter_ns),
        first_exit_time: time(extent.first.exit_ns),
        last_enter_time: time(extent.last.enter_ns),
        last_exit_time: time(extent.last.exit_ns),
        complete: extent.complete,
        method: None,
        status: None,
        kind: None,
    }
}

/// Adds the row of a rule in a process.
pub fn regime(
    rows: &mut Writer<LinkRegimeRow<'static>>,
    process_id: i64,
    regime: &Regime,
    context: RowContext<'_>,
) {
    let service = context.dimensions.process(process_id).map(|process| &*process.service);
    rows.push(&LinkRegimeRow {
        process_id,
        service,
        rule: regime.rule.name(),
        variant: regime.rule.variant(),
        link_evidence: regime.rule.evidence().name(),
        calls: regime.calls.into(),
        checked: regime.checked.into(),
        agreed: regime.agreed.into(),
        believed: regime.is_believed,
    });
}

/// Adds a row to `traces`.
pub fn trace(rows: &mut Writer<TraceRow<'static>>, trace: &Trace<'_>, clock: &Clock) {
    let mut services = trace.services.clone();
    services.retain(|service| !service.is_empty());
    services.sort_unstable();
    rows.push(&TraceRow {
        trace_id: &hex::trace_id(trace.trace_id),
        root_span_id: &hex::span_id(trace.root_span_id),
        root_service: trace.root_service,
        root_name: &trace.root_name,
        root_path: trace.root_path.as_deref(),
        root_status: trace.root_status.map(i32::from),
        root_outcome: trace.root_outcome.name(),
        root_duration_ns: trace.root_duration_ns,
        start_time: clock.wall_ns(trace.start_ns),
        end_time: clock.wall_ns(trace.end_ns),
        duration_ns: trace.end_ns - trace.start_ns,
        spans: trace.spans,
        errors: trace.errors,
        services: &services.join(","),
    });
}

/// Adds a row to `connections`, from one or both of its ends.
pub fn connection(
    rows: &mut Writer<ConnectionRow<'static>>,
    ends: &[&SocketPipeline],
    context: RowContext<'_>,
) {
    let sockets = context.sockets;
    let Some(&any) = ends.first() else { return };
    let of = |side| ends.iter().copied().find(|pipeline| pipeline.presumed_side() == side);
    let (client, server) = (of(Side::Client), of(Side::Server));
    let socket = |pipeline: &SocketPipeline| sockets.get(pipeline.socket);
    let end = Ends::of(socket(any), any.presumed_side(), sockets);
    let process = |pipeline: Option<&SocketPipeline>| -> (Option<i64>, Option<&Process>) {
        let id = pipeline.map_or(0, |pipeline| pipeline.process_id(sockets));
        ((id != 0).then_some(id), context.dimensions.process(id))
    };
    let netns = |pipeline: Option<&SocketPipeline>| {
        pipeline.map(|pipeline| socket(pipeline).netns).filter(|&netns| netns != 0)
    };
    let clock = &context.dimensions.clock;
    let time = |boot_ns: i64| clock.wall_ns(boot_ns);
    let ((client_id, client_process), (server_id, server_process)) = (process(client), process(server));
    // Whoever answers: the end that connected.
    let opener = ends.iter().copied().find(|pipeline| pipeline.opening.attempt().is_some());
    let attempt = opener.and_then(|pipeline| pipeline.opening.attempt());
    let (server_id, server_process) = match (client, attempt) {
        (Some(pipeline), Some(attempt)) if server.is_none() => {
            let id = sockets.listening(socket(pipeline), attempt.from_ns);
            (id, id.and_then(|id| context.dimensions.process(id)))
        }
        _ => (server_id, server_process),
    };
    let handshake = opener.and_then(|pipeline| socket(pipeline).handshake);
    let queued_ns = ends.iter().find_map(|pipeline| pipeline.opening.queued_ns());
    let moved = |side| {
        let bytes = ends.iter().map(|pipeline| pipeline.bytes_of(side)).max();
        bytes.unwrap_or_default() as i64
    };
    let closed =
        ends.iter().map(|pipeline| socket(pipeline).closed_ns.or(pipeline.ending.closed.map(|c| c.ns)));
    let closed = closed.collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max());
    let leaving = ends.iter().filter_map(|pipeline| pipeline.first_leaving(sockets)).min();
    let hop = hop(client_process, server_process, &end);
    rows.push(&ConnectionRow {
        connection_id: socket(any).connection_id,
        client_socket_id: client.map(|pipeline| socket(pipeline).id),
        server_socket_id: server.map(|pipeline| socket(pipeline).id),
        protocol: ends
            .iter()
            .find_map(|pipeline| pipeline.protocol())
            .map_or("unknown", |spoken| spoken.name()),
        src_addr: end.src.map(|e| e.0),
        src_port: end.src.and_then(|e| e.1).map(i32::from),
        dst_addr: end.dst.map(|e| e.0),
        dst_port: end.dst.and_then(|e| e.1).map(i32::from),
        client_netns: netns(client),
        server_netns: netns(server),
        client_process_id: client_id,
        server_process_id: server_id,
        client_service: client_process.map(|p| &*p.service),
        server_service: server_process.map(|p| &*p.service),
        discovered: ends.iter().any(|pipeline| socket(pipeline).discovered),
        opened_time: ends.iter().filter_map(|pipeline| socket(pipeline).opened_ns).min().map(time),
        closed_time: closed.map(time),
        first_time: ends.iter().map(|pipeline| pipeline.first_ns).min().map_or(0, time),
        last_time: ends.iter().map(|pipeline| pipeline.last_ns).max().map_or(0, time),
        bytes_to_server: Some(moved(Side::Client)),
        bytes_to_client: Some(moved(Side::Server)),
        requests: ends.iter().map(|pipeline| pipeline.requests()).max().unwrap_or_default().into(),
        closed_by: leaving.and_then(|(_, side, _)| side).map(Side::name),
        close_kind: leaving.map(|(_, _, kind)| kind),
        missing_bytes: ends.iter().map(|pipeline| pipeline.missing_bytes as i64).sum(),
        hop: &hop,
        connect_ns: attempt.and_then(|attempt| Some(attempt.end?.0 - attempt.from_ns)),
        connect_outcome: attempt.and_then(|attempt| Some(attempt.end?.1.name())),
        syn_retransmits: handshake.map(|seen| seen.again as i32),
        accept_wait_ns: queued_ns,
        sampled_one_in: context.dimensions.sampled_one_in(),
    });
}

/// `inner-envoy -> nginx:8080`; where a process is not known, its address.
fn hop(client: Option<&Process>, server: Option<&Process>, ends: &Ends<'_>) -> String {
    let mut hop = String::with_capacity(64);
    hop.push_str(called(client, ends.src));
    hop.push_str(" -> ");
    hop.push_str(called(server, ends.dst));
    hop.push(':');
    match ends.dst {
        Some((_, Some(port))) => hop.push_str(itoa::Buffer::new().format(port)),
        Some((path, None)) => hop.push_str(path),
        None => hop.push('?'),
    }
    hop
}

fn called<'a>(process: Option<&'a Process>, end: Option<(&'a str, Option<u16>)>) -> &'a str {
    match (process, end) {
        (Some(process), _) => &process.name,
        (None, Some((address, _))) => address,
        (None, None) => "?",
    }
}

/// Address and port that a socket is connected to, as one text.
pub(super) fn listener(socket: &Socket, sockets: &Sockets) -> Option<String> {
    let (address, port) = text_of(socket.remote?, sockets);
    let Some(port) = port else { return Some(address.to_owned()) };
    Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
}

/// Text address and port of both ends, the requesting side first.
pub(super) struct Ends<'a> {
    pub(super) src: Option<(&'a str, Option<u16>)>,
    pub(super) dst: Option<(&'a str, Option<u16>)>,
}

impl<'a> Ends<'a> {
    pub(super) fn of(socket: &Socket, side: Side, sockets: &'a Sockets) -> Ends<'a> {
        let text = |endpoint: Option<_>| endpoint.map(|e| text_of(e, sockets));
        let (local, remote) = (text(socket.local), text(socket.remote));
        match side {
            Side::Client => Ends { src: local, dst: remote },
            Side::Server => Ends { src: remote, dst: local },
        }
    }
}

/// What the protocol is spoken over, where that is not TCP.
fn transport(socket: &Socket) -> Option<&'static str> {
    if socket.unix { Some("unix") } else { socket.datagrams.then_some("udp") }
}

/// A path has no port.
fn text_of(endpoint: Endpoint, sockets: &Sockets) -> (&str, Option<u16>) {
    (sockets.address(endpoint), Some(endpoint.port).filter(|&port| port != 0))
}

fn first_byte_ns(span: &Span, response: &MessageExtent) -> i64 {
    let at = match span.side {
        Side::Client => response.first.exit_ns,
        Side::Server => response.first.enter_ns,
    };
    (at - span.start_ns).max(0)
}
