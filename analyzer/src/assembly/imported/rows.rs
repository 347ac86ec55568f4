//! A row of `spans` for each imported span, and one of `connections` for each pair of ends.

use retrospan_formats::rows::Writer;
use retrospan_formats::tables::ImportedSpanRow;
use retrospan_protocols::semconv::Kind;
use retrospan_protocols::semconv::read::Told;

use crate::assembly::hex;
use crate::assembly::imported::attributes::Attributes;
use crate::assembly::imported::ends::Names;
use crate::assembly::imported::family::Family;
use crate::assembly::imported::links::{Link, Links};
use crate::assembly::imported::totals::{Ended, Totals};
use crate::assembly::span::Evidence;
use crate::tables::dimensions::{Dimensions, Process};
use crate::tables::outcome::Outcome;
use crate::tables::{ConnectionRow, SpanRow};

/// What every row needs.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Who is whose child.
    pub family: &'a Family,
    /// Between which ends spans lie.
    pub links: &'a Links,
    /// Addresses.
    pub names: &'a Names,
    /// Processes and clock.
    pub dimensions: &'a Dimensions,
}

/// What is spoken where nobody says it.
const UNKNOWN: &str = "unknown";

impl Rows<'_> {
    /// Adds the row of the span at a place.
    pub fn span(
        self,
        rows: &mut Writer<SpanRow<'static>>,
        place: usize,
        row: &ImportedSpanRow<'_>,
        totals: &mut Totals,
    ) {
        let (node, side) = (&self.family.nodes[place], self.links.of_span[place]);
        let Some(link) = self.links.list.get(side.link as usize) else { return };
        let attributes = Attributes::of(row.attributes);
        let reader = attributes.reader();
        let told = reader.read(node.kind);
        let outcome = attributes.outcome().unwrap_or_else(|| outcome(row.status, &told));
        let ended = Ended { name: row.name, path: told.path.as_deref(), status: told.status, outcome };
        totals.ended(place, &ended);
        let process = self.dimensions.process(node.process_id);
        let parent = self.family.parent(place).map(|parent| hex::span_id(self.family.nodes[parent].span_id));
        let remote = self.family.remote_parent(place).map(hex::span_id);
        let is_request = node.kind != Kind::Internal;
        let address = |name| self.names.name(name).filter(|_| is_request);
        let wall_ns = |boot_ns| self.dimensions.clock.wall_ns(boot_ns);
        let evidence = parent.is_some().then_some(Evidence::Context);
        rows.push(&SpanRow {
            trace_id: &hex::trace_id(node.trace_id),
            span_id: &hex::span_id(node.span_id),
            parent_span_id: parent.as_deref(),
            remote_parent_span_id: remote.as_deref(),
            kind: node.kind.name(),
            name: row.name,
            service: process.map(|process| &*process.service),
            start_time: wall_ns(node.start_ns),
            end_time: wall_ns(node.end_ns),
            duration_ns: node.duration_ns(),
            own_ns: self.family.own_ns[place],
            protocol: told.protocol.as_deref().filter(|_| is_request),
            method: told.method.as_deref(),
            path: told.path.as_deref(),
            status: told.status,
            outcome: outcome.name(),
            request_bytes: told.bytes[0],
            response_bytes: told.bytes[1],
            request_body_bytes: told.body_bytes[0],
            response_body_bytes: told.body_bytes[1],
            src_addr: address(link.key.src),
            src_port: told.src.1.map(i32::from),
            dst_addr: address(link.key.dst),
            dst_port: port(link.key.dst_port).filter(|_| is_request),
            pid: process.and_then(pid),
            tid: told.thread.and_then(|thread| i32::try_from(thread).ok()),
            process: process.map(|process| &*process.name),
            process_id: Some(node.process_id),
            connection_id: link.id(side.link as usize),
            link_evidence: evidence.map(Evidence::name),
            link_confidence: evidence.map(Evidence::confidence),
            query: told.query.as_deref(),
            host: told.host,
            user_agent: told.user_agent,
            http_version: told.version.filter(|_| told.method.is_some()),
            request_id: told.request_id,
            socket_id: Link::side_id(side.link as usize, side.answers),
            path_cut: told.path.as_ref().map(|_| false),
            // Spans of one name do one thing: the conventions want it so.
            operation: Some(told.operation.as_deref().unwrap_or(row.name)).filter(|name| !name.is_empty()),
            target: told.target.as_deref(),
            route: told.route.as_deref(),
            status_text: told.status_text.as_deref(),
            attributes: Some(row.attributes),
            sampled_one_in: self.dimensions.sampled_one_in(),
            ..SpanRow::default()
        });
    }
}

/// How a span ended. A client's tracer calls it an error, too, where the request was at fault: here that is an answer.
fn outcome(status: Option<&str>, told: &Told<'_>) -> Outcome {
    if told.failed == Some(true) {
        return Outcome::Error;
    }
    let is_status = told.error_type.is_none_or(|name| name.parse().ok() == told.status);
    match status {
        Some("error") if !(told.refused && is_status) => Outcome::Error,
        _ => Outcome::Ok,
    }
}

/// Adds the row of a pair of ends.
pub fn connection(
    rows: &mut Writer<ConnectionRow<'static>>,
    links: &Links,
    place: usize,
    (names, dimensions): (&Names, &Dimensions),
) {
    let link = &links.list[place];
    let key = &link.key;
    let answers = link.requests[1] > 0;
    let [client, server] = [key.client, key.server].map(|id| dimensions.process(id));
    let (src, dst) = (names.name(key.src), names.name(key.dst));
    let called = |process: Option<&Process>, address: Option<&str>| {
        process
            .map(|process| process.name.to_string())
            .or(address.map(str::to_owned))
            .unwrap_or("?".to_owned())
    };
    let port_text = port(key.dst_port).map_or(String::new(), |port| format!(":{port}"));
    let hop = format!("{} -> {}{port_text}", called(client, src), called(server, dst));
    let wall_ns = |boot_ns| dimensions.clock.wall_ns(boot_ns);
    rows.push(&ConnectionRow {
        connection_id: link.id(place),
        client_socket_id: key.asked.then_some(Link::side_id(place, false)),
        server_socket_id: answers.then_some(Link::side_id(place, true)),
        protocol: names.name(link.protocol).unwrap_or(UNKNOWN),
        src_addr: src,
        dst_addr: dst,
        dst_port: port(key.dst_port),
        client_process_id: (key.client != 0).then_some(key.client),
        server_process_id: (key.server != 0).then_some(key.server),
        client_service: client.map(|process| &*process.service),
        server_service: server.map(|process| &*process.service),
        discovered: true,
        first_time: wall_ns(link.first_ns),
        last_time: wall_ns(link.last_ns),
        requests: link.requests[0].max(link.requests[1]),
        hop: &hop,
        sampled_one_in: dimensions.sampled_one_in(),
        ..ConnectionRow::default()
    });
}

fn port(port: u16) -> Option<i32> {
    (port != 0).then_some(port.into())
}

fn pid(process: &Process) -> Option<i32> {
    i32::try_from(process.pid).ok().filter(|pid| *pid > 0)
}
