//! THE definition of every derived table. Add columns at the end; what exists keeps its name and meaning.

pub mod columns;
pub mod dimensions;
pub mod outcome;
pub mod spans;
pub mod trace_tree;

use retrospan_formats::table::{
    Column,
    Encoding::{ByteSplit, Delta, Dictionary, Plain},
    Table,
    Type::{Bool, F64, I32, I64, Name, Text, Time},
    optional, required,
};

/// Every derived table.
pub const ALL: [&Table; 4] = [&SPANS, &TRACES, &CONNECTIONS, &MESSAGES];

/// The derived table of that name.
pub fn by_name(name: &str) -> Option<&'static Table> {
    ALL.into_iter().find(|table| table.name == name)
}

/// A process that took part: no row can say more about it than `processes`.
const PROCESS_DOC: &str = "Name of the process's leader thread; null where the process is not known.";

/// Requests, one row a side.
pub const SPANS: Table = Table {
    name: "spans",
    doc: "One row a request and recorded side: a `client` span where the requesting process was recorded, a `server` span where the answering one was.",
    order: &[],
    time_column: None,
    key: None,
    columns: &[
        required("trace_id", Text, Plain, "Trace, 32 hex digits."),
        required("span_id", Text, Plain, "Span, 16 hex digits."),
        optional("parent_span_id", Text, Plain, "The recorded parent; null at a root."),
        optional(
            "remote_parent_span_id",
            Text,
            Plain,
            "A parent that nobody recorded, by the trace context of the request; null where there is a recorded one.",
        ),
        required(
            "kind",
            Name,
            Dictionary,
            "`client` or `server` (later also `internal` `producer` `consumer`).",
        ),
        required(
            "name",
            Name,
            Dictionary,
            "The request's method or command, where everybody knows it; else what its protocol calls a request (`HTTP`).",
        ),
        optional(
            "service",
            Name,
            Dictionary,
            "The program of this side; null where the process is not known.",
        ),
        required(
            "start_time",
            Time,
            Delta,
            "Client: enter of the send with the request's first byte. Server: exit of the receive with it.",
        ),
        required(
            "end_time",
            Time,
            Delta,
            "Client: exit of the receive with the answer's last byte. Server: exit of the send with it, cut to the client's end. Else when `outcome` came about.",
        ),
        required("duration_ns", I64, ByteSplit, "end_time - start_time, ns."),
        required(
            "own_ns",
            I64,
            ByteSplit,
            "Duration less the union of the children's intervals, ns: at a client span network and queueing.",
        ),
        required("protocol", Name, Dictionary, "What is spoken: `http` ..."),
        optional("method", Name, Dictionary, "Request method, of HTTP alone; see `operation`."),
        optional(
            "path",
            Text,
            Dictionary,
            "Target of the request without scheme, authority and query, of HTTP alone; see `target`.",
        ),
        optional("status", I32, Dictionary, "Status of the answer; null where none was seen before the end."),
        required(
            "outcome",
            Name,
            Dictionary,
            "`ok`, `error` (the answer says that the answering side failed: of HTTP status >= 500), `client_closed`, `server_closed`, `reset`, `unparsed`, `timeout_cut` (the recording ended), `lost` (events are missing).",
        ),
        optional(
            "late_status",
            I32,
            Dictionary,
            "`client_closed`: status of the answer that was written after the client had left.",
        ),
        optional(
            "late_ns",
            I64,
            Plain,
            "`client_closed`: from end_time to the last byte of that answer, ns.",
        ),
        required("request_bytes", I64, ByteSplit, "The request on the wire, head and framing included."),
        optional(
            "response_bytes",
            I64,
            ByteSplit,
            "The answer on the wire, as far as it was moved; null without one.",
        ),
        optional("request_body_bytes", I64, ByteSplit, "Body of the request; null where not known."),
        optional("response_body_bytes", I64, ByteSplit, "Body of the answer; null where not known."),
        optional(
            "src_addr",
            Name,
            Dictionary,
            "Address of the requesting side; null where the socket's row was lost.",
        ),
        optional("src_port", I32, Dictionary, "Port of the requesting side."),
        optional("dst_addr", Name, Dictionary, "Address of the answering side."),
        optional("dst_port", I32, Dictionary, "Port of the answering side."),
        optional("pid", I32, Dictionary, "Process of this side."),
        optional("tid", I32, Dictionary, "Thread that moved the request's first byte."),
        optional("cpu", I32, Dictionary, "CPU on which it did."),
        optional("process", Name, Dictionary, PROCESS_DOC),
        optional("process_id", I64, Dictionary, "`processes.process_id` of this side."),
        required("connection_id", I64, Dictionary, "`connections.connection_id`."),
        optional(
            "link_evidence",
            Name,
            Dictionary,
            "Why the parent is the parent: `connection` `proxy_bytes` `context` `thread`; null without a recorded parent.",
        ),
        optional("link_confidence", F64, Dictionary, "How sure that is: 1 where bytes prove it."),
        optional(
            "query",
            Text,
            Dictionary,
            "Query of the target without `?`, as recorded: values are blanked by default.",
        ),
        optional("host", Name, Dictionary, "`Host` of the request."),
        optional("user_agent", Name, Dictionary, "`User-Agent` of the request."),
        optional("http_version", Name, Dictionary, "`1.1` or `1.0`."),
        optional("request_id", Text, Plain, "`X-Request-Id` of the request."),
        optional("traceparent", Text, Plain, "Trace context of the request (W3C or B3), in W3C form."),
        optional(
            "first_byte_ns",
            I64,
            ByteSplit,
            "From start_time to the answer's first byte, ns; null without one.",
        ),
        required("request_number", I32, Dictionary, "How many requests came before it on the connection."),
        required("socket_id", I64, Dictionary, "`sockets.socket_id` of this side."),
        optional("netns", I64, Dictionary, "Network namespace of this side."),
        optional(
            "path_cut",
            Bool,
            Plain,
            "The target was longer than what was kept of it; null without a path.",
        ),
        optional(
            "connect_ns",
            I64,
            ByteSplit,
            "Part of own_ns in which it waited for a connection, ns: one that the answering process (client spans) or this one (server spans) was opening for it, or its own, to be established and accepted; 0 where that had failed before it began, and it with that; null where none is known.",
        ),
        optional(
            "connect_to",
            Name,
            Dictionary,
            "Address and port of the listener: of the connect that failed, else of the one that it waited for longest; null as `connect_ns`.",
        ),
        optional(
            "connect_connection_id",
            I64,
            Dictionary,
            "`connections.connection_id` of that connection, which may never have been established; null as `connect_ns`.",
        ),
        optional(
            "operation",
            Name,
            Dictionary,
            "What the request asks for, by its name in the protocol: a method, a command with its subcommand; null where it was not seen or may be a secret.",
        ),
        optional(
            "target",
            Text,
            Dictionary,
            "What it is asked of: the path of an HTTP request; null where the protocol has none that may be kept.",
        ),
        optional(
            "route",
            Text,
            Dictionary,
            "The pattern that `target` belongs to, where the protocol tells it.",
        ),
        optional(
            "status_text",
            Name,
            Dictionary,
            "Status of the answer where it is a word, as the name of an error; null as `status`.",
        ),
        optional(
            "stream_id",
            I64,
            Dictionary,
            "Stream within the connection; null for protocols that have one alone.",
        ),
        optional(
            "attributes",
            Text,
            Plain,
            "JSON object of everything known of request and answer, by names of the OpenTelemetry semantic conventions; `export` sends it as it is.",
        ),
    ],
};

/// Traces.
pub const TRACES: Table = Table {
    name: "traces",
    doc: "One row a trace. A trace whose id came with a request and that goes on more than ten seconds after its last span has another row.",
    order: &[],
    time_column: None,
    key: None,
    columns: &[
        required("trace_id", Text, Plain, "Trace, 32 hex digits."),
        required("root_span_id", Text, Plain, "Its first span without a recorded parent."),
        required("root_service", Name, Dictionary, "Service of the root; empty where not known."),
        required("root_name", Name, Dictionary, "Name of the root."),
        optional("root_path", Text, Dictionary, "Path of the root."),
        optional("root_status", I32, Dictionary, "Status of the root."),
        required("root_outcome", Name, Dictionary, "Outcome of the root."),
        required("root_duration_ns", I64, ByteSplit, "Duration of the root, ns."),
        required("start_time", Time, Delta, "Begin of the first span."),
        required("end_time", Time, Delta, "End of the last span."),
        required("duration_ns", I64, ByteSplit, "end_time - start_time, ns."),
        required("spans", I64, Dictionary, "Number of spans."),
        required("errors", I64, Dictionary, "Spans whose outcome is not `ok`."),
        required("services", Text, Dictionary, "Services, sorted, separated by commas."),
    ],
};

/// Connections.
pub const CONNECTIONS: Table = Table {
    name: "connections",
    doc: "One row a connection with at least one event, whichever of its ends were recorded.",
    order: &[],
    time_column: None,
    key: None,
    columns: &[
        required("connection_id", I64, Delta, "The lower socket_id of its recorded ends."),
        optional("client_socket_id", I64, Delta, "Socket of the requesting side, where recorded."),
        optional("server_socket_id", I64, Delta, "Socket of the answering side, where recorded."),
        required("protocol", Name, Dictionary, "What is spoken: `http` ..., or `unknown`."),
        optional(
            "src_addr",
            Name,
            Dictionary,
            "Address of the requesting side (of the lower port's peer where not known).",
        ),
        optional("src_port", I32, Dictionary, "Its port."),
        optional("dst_addr", Name, Dictionary, "Address of the answering side."),
        optional("dst_port", I32, Dictionary, "Its port."),
        optional("client_netns", I64, Dictionary, "Network namespace of the requesting side."),
        optional("server_netns", I64, Dictionary, "Network namespace of the answering side."),
        optional("client_process_id", I64, Dictionary, "Process of the requesting side."),
        optional(
            "server_process_id",
            I64,
            Dictionary,
            "Process of the answering side; of a connect that nobody accepted the one that listens there.",
        ),
        optional("client_service", Name, Dictionary, "Program of the requesting side."),
        optional("server_service", Name, Dictionary, "Program of the answering side."),
        required("discovered", Bool, Plain, "Older than the recording."),
        optional(
            "opened_time",
            Time,
            Delta,
            "When the first recorded end was opened; null where discovered.",
        ),
        optional(
            "closed_time",
            Time,
            Delta,
            "When the last recorded end was gone; null where open at the end.",
        ),
        required("first_time", Time, Delta, "First event."),
        required("last_time", Time, Delta, "Last event."),
        required(
            "bytes_to_server",
            I64,
            ByteSplit,
            "Bytes from the requesting to the answering side, as moved by its recorded end (the larger count of two).",
        ),
        required("bytes_to_client", I64, ByteSplit, "Bytes back."),
        required("requests", I64, Dictionary, "Requests (the larger count of two ends)."),
        optional(
            "closed_by",
            Name,
            Dictionary,
            "`client` or `server`: who sent the first FIN or RST; null where not known, and where nobody did: a connection that never was may have ended without.",
        ),
        optional("close_kind", Name, Dictionary, "`fin`, `rst` or `timeout`: what that was."),
        required(
            "missing_bytes",
            I64,
            Dictionary,
            "Bytes whose calls are not in the capture, both ways and ends.",
        ),
        required(
            "hop",
            Name,
            Dictionary,
            "Both processes and the answering port, as `inner-envoy -> nginx:8080`; an address where a process is not known.",
        ),
        optional(
            "connect_ns",
            I64,
            ByteSplit,
            "How long it took to be established or to fail, ns: from the first SYN (from the call, where no SYN was seen) as the end that connected saw it. Null where its begin was not recorded, or nothing was decided by the end.",
        ),
        optional(
            "connect_outcome",
            Name,
            Dictionary,
            "`ok`, `refused`, `timed_out`, `reset`, `unreachable`, `abandoned` (the caller closed before it was known), `failed` (no SYN left: no local port free, for example); null as `connect_ns`.",
        ),
        optional(
            "syn_retransmits",
            I32,
            Dictionary,
            "SYNs that the end that connected sent again; null where that was not recorded from the begin, or without `--evidence tcp`.",
        ),
        optional(
            "accept_wait_ns",
            I64,
            ByteSplit,
            "How long it lay in the listen queue: from established to the return of accept at the end that accepted, ns; null where not recorded.",
        ),
    ],
};

/// Messages.
pub const MESSAGES: Table = Table {
    name: "messages",
    doc: "One row a request or answer and recorded side. Interim answers (1xx) are left out.",
    order: &[],
    time_column: None,
    key: None,
    columns: MESSAGE_COLUMNS,
};

const MESSAGE_COLUMNS: &[Column] = &[
    required("connection_id", I64, Dictionary, "`connections.connection_id`."),
    required("socket_id", I64, Dictionary, "`sockets.socket_id` of this side."),
    required("span_id", Text, Plain, "The span it belongs to."),
    required("side", Name, Dictionary, "`client` or `server`."),
    required("direction", Name, Dictionary, "`request` or `response`."),
    required(
        "request_number",
        I32,
        Dictionary,
        "How many requests came before its request on the connection.",
    ),
    required(
        "position",
        I64,
        ByteSplit,
        "Bytes before it in its direction, since the connection was opened or first seen.",
    ),
    required("bytes", I64, ByteSplit, "Bytes on the wire, as far as they were moved."),
    optional("head_bytes", I64, Dictionary, "Bytes of its head; null where it was not seen whole."),
    optional("body_bytes", I64, ByteSplit, "Bytes of its body; null where not known."),
    required("first_enter_time", Time, Delta, "Enter of the call that moved its first byte."),
    required("first_exit_time", Time, Delta, "Exit of that call."),
    required("last_enter_time", Time, Delta, "Enter of the call that moved its last byte."),
    required("last_exit_time", Time, Delta, "Exit of that call."),
    required("complete", Bool, Plain, "Its end was seen."),
    optional("method", Name, Dictionary, "Method of the request."),
    optional("status", I32, Dictionary, "Status of the answer."),
];
