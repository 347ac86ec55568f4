//! What a span waited for connections in, rows of `spans` out: each stretch is a child of kind `internal`.

use retrospan_formats::rows::Writer;

use crate::assembly::connections::Socket;
use crate::assembly::hex;
use crate::assembly::openings::Connected;
use crate::assembly::settling::{Finished, wait_span_id};
use crate::assembly::side::Side;
use crate::assembly::table_rows::{Ends, RowContext, listener};
use crate::assembly::waits::Wait;
use crate::tables::outcome::Outcome;
use crate::tables::{SPOKEN_BY_WAITS, SYN_RETRANSMITS, SpanRow, WAIT};

/// Adds the rows of a span's waits.
pub fn add(rows: &mut Writer<SpanRow<'static>>, finished: &Finished, context: RowContext<'_>) {
    let Some(waited) = &finished.waited else { return };
    for (number, wait) in waited.parts.iter().enumerate() {
        row(rows, finished, number, wait, context);
    }
}

fn row(
    rows: &mut Writer<SpanRow<'static>>,
    finished: &Finished,
    number: usize,
    wait: &Wait,
    context: RowContext<'_>,
) {
    let RowContext { sockets, dimensions } = context;
    let socket = sockets.get(wait.socket);
    let process = dimensions.process(socket.process_id);
    let ends = Ends::of(socket, Side::Client, sockets);
    let name = listener(socket, sockets).map_or("connect".to_owned(), |to| format!("connect {to}"));
    let (outcome, failure) = outcome(wait, finished.span_end.end_ns, finished.span_end.outcome);
    let wall_ns = |boot_ns| dimensions.clock.wall_ns(boot_ns);
    let duration_ns = wait.to_ns - wait.from_ns;
    rows.push(&SpanRow {
        trace_id: &hex::trace_id(finished.trace_id),
        span_id: &hex::span_id(wait_span_id(finished.span_id, number)),
        parent_span_id: Some(&*hex::span_id(finished.span_id)),
        remote_parent_span_id: None,
        kind: WAIT,
        name: &name,
        service: process.map(|process| &*process.service),
        start_time: wall_ns(wait.from_ns),
        end_time: wall_ns(wait.to_ns),
        duration_ns,
        own_ns: duration_ns,
        protocol: Some(SPOKEN_BY_WAITS),
        method: None,
        path: None,
        status: None,
        outcome: outcome.name(),
        late_status: None,
        late_ns: None,
        request_bytes: Some(0),
        response_bytes: None,
        request_body_bytes: None,
        response_body_bytes: None,
        src_addr: ends.src.map(|end| end.0),
        src_port: ends.src.and_then(|end| end.1).map(i32::from),
        dst_addr: ends.dst.map(|end| end.0),
        dst_port: ends.dst.and_then(|end| end.1).map(i32::from),
        pid: process.map(|process| process.pid as i32),
        tid: None,
        cpu: None,
        process: process.map(|process| &*process.name),
        process_id: (socket.process_id != 0).then_some(socket.process_id),
        connection_id: socket.connection_id,
        link_evidence: Some(wait.evidence.name()),
        link_confidence: Some(wait.evidence.confidence()),
        query: None,
        host: None,
        user_agent: None,
        http_version: None,
        request_id: None,
        traceparent: None,
        first_byte_ns: None,
        request_number: Some(0),
        socket_id: socket.id,
        netns: (socket.netns != 0).then_some(socket.netns),
        path_cut: None,
        connect_ns: None,
        connect_to: None,
        connect_connection_id: None,
        operation: None,
        target: None,
        route: None,
        status_text: failure,
        stream_id: None,
        attributes: Some(&attributes(socket, failure)),
        queued_ns: None,
        accept_wait_ns: None,
        sampled_one_in: context.dimensions.sampled_one_in(),
    });
}

/// How the wait ended, and by which name where the connect had failed. One that ended with its span, before anything was
/// decided, was given up.
fn outcome(wait: &Wait, end_ns: i64, of_span: Outcome) -> (Outcome, Option<&'static str>) {
    match wait.end {
        Some((at_ns, _)) if at_ns > end_ns => (Outcome::ClientClosed, None),
        Some((_, Connected::Ok)) => (Outcome::Ok, None),
        Some((_, Connected::Abandoned)) => (Outcome::ClientClosed, None),
        Some((_, failed)) => (Outcome::Error, Some(failed.name())),
        None => match of_span {
            known @ (Outcome::TimeoutCut | Outcome::ClientClosed) => (known, None),
            // The event that decided it may be missing.
            _ => (Outcome::Lost, None),
        },
    }
}

/// What has no column, as JSON. Addresses have.
fn attributes(socket: &Socket, failure: Option<&'static str>) -> String {
    let mut attributes = serde_json::Map::new();
    attributes.extend(failure.map(|name| ("error.type".to_owned(), name.into())));
    let again = socket.handshake.map(|seen| (SYN_RETRANSMITS.to_owned(), seen.again.into()));
    attributes.extend(again);
    serde_json::Value::Object(attributes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::span::Evidence;

    #[test]
    fn a_wait_ends_as_was_known_when_it_ended() {
        let of = |end, outcome| {
            let wait = Wait {
                from_ns: 10,
                to_ns: 50,
                socket: 0,
                to: None,
                end,
                evidence: Evidence::Thread,
                queued: false,
            };
            let (outcome, failure) = super::outcome(&wait, 50, outcome);
            (outcome.name(), failure)
        };
        assert_eq!(of(Some((50, Connected::Ok)), Outcome::Ok), ("ok", None));
        assert_eq!(of(Some((50, Connected::Refused)), Outcome::ServerClosed), ("error", Some("refused")));
        assert_eq!(of(Some((50, Connected::Abandoned)), Outcome::Ok), ("client_closed", None));
        assert_eq!(of(Some((51, Connected::TimedOut)), Outcome::ClientClosed), ("client_closed", None));
        assert_eq!(of(None, Outcome::Ok), ("lost", None), "nobody is accused");
        assert_eq!(of(None, Outcome::ClientClosed), ("client_closed", None));
        assert_eq!(of(None, Outcome::TimeoutCut), ("timeout_cut", None));
    }
}
