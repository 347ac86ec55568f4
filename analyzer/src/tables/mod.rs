//! THE definition of every derived table. Add columns at the end; what exists keeps its name and meaning.

pub mod columns;
pub mod dimensions;
pub mod names;
pub mod outcome;
pub mod spans;
pub mod trace_tree;

use retrospan_formats::rows::{Bool, F64, I32, I64, Name, Text, Time};
use retrospan_formats::table;
use retrospan_formats::table::Table;

/// Every derived table.
pub const ALL: [&Table; 5] = [&SPANS, &TRACES, &CONNECTIONS, &MESSAGES, &LINK_REGIMES];

/// The derived table of that name.
pub fn by_name(name: &str) -> Option<&'static Table> {
    ALL.into_iter().find(|table| table.name == name)
}

/// The kind of the spans that are no requests: waits within another span, and what an imported span is a part of.
pub const WAIT: &str = "internal";
/// What stands in column `protocol` of theirs; spans of that kind that were imported have none.
pub const SPOKEN_BY_WAITS: &str = "tcp";
/// Their attribute for how many SYNs were sent again; the semantic conventions have no name for it.
pub const SYN_RETRANSMITS: &str = "retrospan.connect.syn_retransmits";

table! {
    /// Requests, one row a side, and what they waited for.
    pub const SPANS: SpanRow<'a> = Table {
        name: "spans",
        doc: "One row a request and recorded side: a `client` span where the requesting process was recorded, a `server` span where the answering one was. One row more, of kind `internal`, for each time in which such a span waited for a connection to be established: it is a child of that span and no request, so what counts requests says `kind <> 'internal'`. Of imported traces one row a span, whatever its kind; what its columns say is in docs/import.md.",
        order: &[],
        time_column: None,
        key: None,
        columns: [
            trace_id: Text, Plain, "Trace, 32 hex digits.";
            span_id: Text, Plain, "Span, 16 hex digits.";
            parent_span_id: Option<Text>, Plain, "The recorded parent; null at a root.";
            remote_parent_span_id: Option<Text>, Plain,
                "A parent that nobody recorded, by the trace context of the request; null where there is a recorded one.";
            kind: Name, Dictionary, "`client` or `server`: a side of a request. `internal`: a wait of the parent for a connection; of imported traces what a process did itself. `producer` and `consumer`, of imported traces alone: a message handed to a broker, and taken from there.";
            name: Name, Dictionary,
                "The request's method or command, where everybody knows it; else what its protocol calls a request (`HTTP`). Of a wait `connect` and the listener's address and port.";
            service: Option<Name>, Dictionary,
                "The service of this side (of a wait: of the one that connected): what its process was told to be, its systemd unit, container or pod, else its program (docs/names.md); null where the process is not known.";
            start_time: Time, Plain,
                "Client: enter of the send with the request's first byte. Server: exit of the receive with it. Wait: the first SYN, or when the parent began to wait for it.";
            end_time: Time, Plain,
                "Client: exit of the receive with the answer's last byte. Server: exit of the send with it, cut to the client's end. Wait: established, failed, or the parent's end. Else when `outcome` came about.";
            duration_ns: I64, Plain, "end_time - start_time, ns.";
            own_ns: I64, Plain,
                "Duration less the union of the children's intervals, ns: at a client span network and queueing. Connects that it waited for are children too.";
            protocol: Option<Name>, Dictionary, "What is spoken: `http` ...; `tcp` of a wait. Null where an imported span does not say it.";
            method: Option<Name>, Dictionary, "Request method, of HTTP alone; see `operation`.";
            path: Option<Text>, Dictionary,
                "Target of the request without scheme, authority and query, of HTTP alone; see `target`.";
            status: Option<I32>, Dictionary, "Status of the answer; null where none was seen before the end.";
            outcome: Name, Dictionary,
                "`ok`, `error` (the answer says that the answering side failed: of HTTP status >= 500), `client_closed`, `server_closed`, `reset`, `unparsed`, `timeout_cut` (the recording ended), `lost` (events are missing). Of a wait: `ok` (established), `error` (see `status_text`), `client_closed` (the caller, or the span that waited, ended before it was decided), `timeout_cut`, `lost`.";
            late_status: Option<I32>, Dictionary,
                "`client_closed`: status of the answer that was written after the client had left.";
            late_ns: Option<I64>, Plain,
                "`client_closed`: from end_time to the last byte of that answer, ns.";
            request_bytes: Option<I64>, Plain, "The request on the wire, head and framing included; null where an imported span does not say it.";
            response_bytes: Option<I64>, Plain,
                "The answer on the wire, as far as it was moved; null without one.";
            request_body_bytes: Option<I64>, Plain, "Body of the request; null where not known.";
            response_body_bytes: Option<I64>, Plain, "Body of the answer; null where not known.";
            src_addr: Option<Name>, Dictionary,
                "Address of the requesting side; null where the socket's row was lost.";
            src_port: Option<I32>, Dictionary, "Port of the requesting side.";
            dst_addr: Option<Name>, Dictionary, "Address of the answering side.";
            dst_port: Option<I32>, Dictionary, "Port of the answering side.";
            pid: Option<I32>, Dictionary, "Process of this side.";
            tid: Option<I32>, Dictionary, "Thread that moved the request's first byte.";
            cpu: Option<I32>, Dictionary, "CPU on which it did.";
            process: Option<Name>, Dictionary,
                "Name of the process's leader thread; null where the process is not known.";
            process_id: Option<I64>, Dictionary, "`processes.process_id` of this side.";
            connection_id: I64, Dictionary, "`connections.connection_id`. Of an imported span of kind `internal` that of the span that it is a part of.";
            link_evidence: Option<Name>, Dictionary,
                "Why the parent is the parent: `connection` `proxy_bytes` `context` `thread` `turn` `order` `pool` `identity` `assignment`; null without a recorded parent. Of a wait: `connection` (the request's own), else what shows that it was opened for this request.";
            link_confidence: Option<F64>, Dictionary, "How sure that is: 1 where bytes prove it.";
            query: Option<Text>, Dictionary,
                "Query of the target without `?`, as recorded: values are blanked by default.";
            host: Option<Name>, Dictionary, "`Host` of the request.";
            user_agent: Option<Name>, Dictionary, "`User-Agent` of the request.";
            http_version: Option<Name>, Dictionary, "`1.1` or `1.0`.";
            request_id: Option<Text>, Plain, "`X-Request-Id` of the request.";
            traceparent: Option<Text>, Plain, "Trace context of the request (W3C or B3), in W3C form.";
            first_byte_ns: Option<I64>, Plain,
                "From start_time to the answer's first byte, ns; null without one.";
            request_number: Option<I32>, Dictionary, "How many requests came before it on the connection; null of imported traces.";
            socket_id: I64, Dictionary, "`sockets.socket_id` of this side.";
            netns: Option<I64>, Dictionary, "Network namespace of this side.";
            path_cut: Option<Bool>, Plain,
                "The target was longer than what was kept of it; null without a path.";
            connect_ns: Option<I64>, Plain,
                "Time in which it waited for a connection, ns: one that the answering process (client spans) or this one (server spans) was opening for it, or its own, to be established and accepted. Connects are its children of kind `internal`, whose union this is, with `accept_wait_ns`; 0 where a connect had failed before it began, and it with that; null where none is known.";
            connect_to: Option<Name>, Dictionary,
                "Address and port of the listener: of the connect that failed, else of the one that it waited for longest; null as `connect_ns`.";
            connect_connection_id: Option<I64>, Dictionary,
                "`connections.connection_id` of that connection, which may never have been established; null as `connect_ns`.";
            operation: Option<Name>, Dictionary,
                "What the request asks for, by its name in the protocol: a method, a command with its subcommand; null where it was not seen or may be a secret.";
            target: Option<Text>, Dictionary,
                "What it is asked of: the path of an HTTP request; null where the protocol has none that may be kept.";
            route: Option<Text>, Dictionary,
                "The pattern that `target` belongs to, where the protocol tells it.";
            status_text: Option<Name>, Dictionary,
                "Status of the answer where it is a word, as the name of an error; null as `status`. Of a wait that is an `error` what `connections.connect_outcome` says.";
            stream_id: Option<I64>, Dictionary,
                "What the protocol calls the exchange by on its connection, where its answers may come in any order: the id of a message, a stream; null for protocols that answer in order, and where it was not seen.";
            attributes: Option<Text>, Dictionary,
                "JSON object of everything known of request and answer, by names of the OpenTelemetry semantic conventions; `export` sends it as it is.";
            queued_ns: Option<I64>, Plain,
                "Server: from when the request's first byte reached the host until this process had taken it (`start_time`), ns: it lay in the receive queue, or the process took that long to wake. Not part of `duration_ns`. Null where not known, and for client spans. Recorded with `--evidence arrivals`.";
            accept_wait_ns: Option<I64>, Plain,
                "Client: part of own_ns and of `connect_ns` in which its connection, established, lay in the listen queue, ns; null where it did not.";
            sampled_one_in: I64, Dictionary,
                "Of so many connections one was recorded (`--sample`), and this span is on such a one; 1 where all were. `sum(sampled_one_in)` tells about how many spans there would be of all.";
        ]
    }
}

table! {
    /// Traces.
    pub const TRACES: TraceRow<'a> = Table {
        name: "traces",
        doc: "One row a trace. A trace whose id came with a request and that goes on more than ten seconds after its last span has another row.",
        order: &[],
        time_column: None,
        key: None,
        columns: [
            trace_id: Text, Plain, "Trace, 32 hex digits.";
            root_span_id: Text, Plain, "Its first span without a recorded parent.";
            root_service: Name, Dictionary, "Service of the root; empty where not known.";
            root_name: Name, Dictionary, "Name of the root.";
            root_path: Option<Text>, Dictionary, "Path of the root.";
            root_status: Option<I32>, Dictionary, "Status of the root.";
            root_outcome: Name, Dictionary, "Outcome of the root.";
            root_duration_ns: I64, Plain, "Duration of the root, ns.";
            start_time: Time, Plain, "Begin of the first span.";
            end_time: Time, Plain, "End of the last span.";
            duration_ns: I64, Plain, "end_time - start_time, ns.";
            spans: I64, Dictionary, "Number of spans, without those of kind `internal`.";
            errors: I64, Dictionary, "Those of them whose outcome is not `ok`.";
            services: Text, Dictionary, "Services, sorted, separated by commas.";
        ]
    }
}

table! {
    /// Connections.
    pub const CONNECTIONS: ConnectionRow<'a> = Table {
        name: "connections",
        doc: "One row a connection with at least one event, whichever of its ends were recorded. Imported traces have none: there it is one row for each pair of processes with the addresses and the port that spans name, `sockets` has no rows, and times are those of the first and the last span.",
        order: &[],
        time_column: None,
        key: None,
        columns: [
            connection_id: I64, Delta, "The lower socket_id of its recorded ends.";
            client_socket_id: Option<I64>, Delta, "Socket of the requesting side, where recorded.";
            server_socket_id: Option<I64>, Delta, "Socket of the answering side, where recorded.";
            protocol: Name, Dictionary, "What is spoken: `http` ..., or `unknown`.";
            src_addr: Option<Name>, Dictionary,
                "Address of the requesting side (of the lower port's peer where not known).";
            src_port: Option<I32>, Dictionary, "Its port.";
            dst_addr: Option<Name>, Dictionary, "Address of the answering side.";
            dst_port: Option<I32>, Dictionary, "Its port.";
            client_netns: Option<I64>, Dictionary, "Network namespace of the requesting side.";
            server_netns: Option<I64>, Dictionary, "Network namespace of the answering side.";
            client_process_id: Option<I64>, Dictionary, "Process of the requesting side.";
            server_process_id: Option<I64>, Dictionary,
                "Process of the answering side; of a connect that nobody accepted the one that listens there.";
            client_service: Option<Name>, Dictionary, "Service of the requesting side, as `spans.service`.";
            server_service: Option<Name>, Dictionary, "Service of the answering side, as `spans.service`.";
            discovered: Bool, Plain, "Older than the recording.";
            opened_time: Option<Time>, Plain,
                "When the first recorded end was opened; null where discovered.";
            closed_time: Option<Time>, Plain,
                "When the last recorded end was gone; null where open at the end.";
            first_time: Time, Plain, "First event.";
            last_time: Time, Plain, "Last event.";
            bytes_to_server: Option<I64>, Plain,
                "Bytes from the requesting to the answering side, as moved by its recorded end (the larger count of two); null of imported traces.";
            bytes_to_client: Option<I64>, Plain, "Bytes back.";
            requests: I64, Dictionary, "Requests (the larger count of two ends).";
            closed_by: Option<Name>, Dictionary,
                "`client` or `server`: who sent the first FIN or RST; null where not known, and where nobody did: a connection that never was may have ended without.";
            close_kind: Option<Name>, Dictionary, "`fin`, `rst` or `timeout`: what that was.";
            missing_bytes: I64, Dictionary, "Bytes whose calls are not in the capture, both ways and ends.";
            hop: Name, Dictionary,
                "Both processes and the answering port, as `inner-envoy -> nginx:8080`; an address where a process is not known. Of imported traces without a port where spans name none.";
            connect_ns: Option<I64>, Plain,
                "How long it took to be established or to fail, ns: from the first SYN (from the call, where no SYN was seen) as the end that connected saw it. Null where its begin was not recorded, or nothing was decided by the end.";
            connect_outcome: Option<Name>, Dictionary,
                "`ok`, `refused`, `timed_out`, `reset`, `unreachable`, `abandoned` (the caller closed before it was known), `failed` (no SYN left: no local port free, for example); null as `connect_ns`.";
            syn_retransmits: Option<I32>, Dictionary,
                "SYNs that the end that connected sent again; null where that was not recorded from the begin, or without `--evidence tcp`.";
            accept_wait_ns: Option<I64>, Plain,
                "How long it lay in the listen queue: from established to the return of accept at the end that accepted, ns; null where not recorded.";
            sampled_one_in: I64, Dictionary,
                "Of so many connections one was recorded (`--sample`), and this is such a one; 1 where all were. `sum(sampled_one_in)` tells about how many there were.";
        ]
    }
}

table! {
    /// Messages.
    pub const MESSAGES: MessageRow<'a> = Table {
        name: "messages",
        doc: "One row a request or answer and recorded side, and one a message that is neither: where a connection has changed to a protocol in which both sides send as they like. Interim answers (1xx) are left out.",
        order: &[],
        time_column: None,
        key: None,
        columns: [
            connection_id: I64, Dictionary, "`connections.connection_id`.";
            socket_id: I64, Dictionary, "`sockets.socket_id` of this side.";
            span_id: Text, Plain, "The span it belongs to.";
            side: Name, Dictionary, "`client` or `server`.";
            direction: Name, Dictionary, "`request` or `response`.";
            request_number: I32, Dictionary, "How many requests came before its request on the connection.";
            position: I64, Plain,
                "Bytes before it in its direction, since the connection was opened or first seen.";
            bytes: I64, Plain, "Bytes on the wire, as far as they were moved.";
            head_bytes: Option<I64>, Dictionary, "Bytes of its head; null where it was not seen whole.";
            body_bytes: Option<I64>, Plain, "Bytes of its body; null where not known.";
            first_enter_time: Time, Plain, "Enter of the call that moved its first byte.";
            first_exit_time: Time, Plain, "Exit of that call.";
            last_enter_time: Time, Plain, "Enter of the call that moved its last byte.";
            last_exit_time: Time, Plain, "Exit of that call.";
            complete: Bool, Plain, "Its end was seen.";
            method: Option<Name>, Dictionary, "Method of the request.";
            status: Option<I32>, Dictionary, "Status of the answer.";
            kind: Option<Name>, Dictionary,
                "Of a message that is no request and no answer: what its protocol calls it (`text`, `binary`, `ping` and so on); `request` \
                 and `response` say who sent it, and its span is that of the request that asked for the change. Else null.";
        ]
    }
}

table! {
    /// What is believed of how processes work.
    pub const LINK_REGIMES: LinkRegimeRow<'a> = Table {
        name: "link_regimes",
        doc: "One row a process that both receives and sends requests, and rule by which its calls may be given to its requests: how far the whole recording bears the rule out, and whether it is believed (docs/method/links.md). Empty where no link was in question.",
        order: &[],
        time_column: None,
        key: None,
        columns: [
            process_id: I64, Plain, "`processes.process_id`.";
            service: Option<Name>, Dictionary, "Its service.";
            rule: Name, Dictionary,
                "`exclusive` (the thread has one request in hand), `turn` (what the thread received right before), `order` (the longest wait on the thread), `pool` (the connection that the pool's order gives the request), `turn_back` and `order_back` (what was received right before the answer, and first), `loop` (`turn` and `turn_back` agree for the very request; believed where nothing else is), `identity` (what the call shares with one request in hand only), `assignment` (delays and the order of calls).";
            variant: Option<Name>, Dictionary,
                "Of `pool`: `last` or `first`, for the idle connection that was freed last or first, of the `process` or of the `thread`. Else null.";
            link_evidence: Name, Dictionary, "`spans.link_evidence` of links by this rule.";
            calls: I64, Plain, "Calls that the rule gives to a request.";
            checked: I64, Plain,
                "Those on which it was held against a rule that rests on other events; of `pool` how often a connection was taken; of `identity` those with a rare mark that some request has brought; of `assignment` on calls that other rules tell.";
            agreed: I64, Plain, "How often that agreed; of `pool` how often the connection was the one that the order says; of `identity` how often such a request was in hand.";
            believed: Bool, Plain, "Whether links are made by this rule.";
        ]
    }
}
