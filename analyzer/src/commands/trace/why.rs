//! The evidence of a link in words, with the numbers that anyone can look up.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::SessionContext;

use super::Node;
use crate::error::Result;
use crate::session;
use crate::tables::columns::typed;
use crate::text::duration;

/// Where each span's request lies in the stream of its socket.
#[derive(Clone, Copy, Debug)]
struct Place {
    socket_id: i64,
    /// Which request of the connection, from 0.
    number: i64,
    /// Bytes before it.
    position: i64,
    /// Bytes of it.
    bytes: i64,
    /// Sequence number of its first byte.
    seq: Option<u32>,
}

/// What is known about the requests of a trace.
pub struct Evidence {
    places: BTreeMap<String, Place>,
}

impl Evidence {
    /// Looks up the requests of all spans of a trace.
    pub async fn read(context: &SessionContext, trace_id: &str) -> Result<Evidence> {
        let query = format!(
            "SELECT m.span_id, m.socket_id, m.request_number, m.position, m.bytes,
                    CASE WHEN m.side = 'client' THEN s.first_send_seq ELSE s.first_receive_seq END AS first_seq
             FROM messages m
             LEFT JOIN sockets s ON s.socket_id = m.socket_id
             WHERE m.direction = 'request'
               AND m.span_id IN (SELECT span_id FROM spans WHERE trace_id = '{trace_id}')"
        );
        let mut places = BTreeMap::new();
        for batch in session::plan(context, &query).await?.collect().await? {
            let ids = typed(&batch, "span_id", &DataType::Utf8View)?;
            let number = |name| Ok::<_, crate::error::Error>(typed(&batch, name, &DataType::Int64)?);
            let columns =
                [number("socket_id")?, number("request_number")?, number("position")?, number("bytes")?];
            let first_seq = number("first_seq")?;
            for row in 0..batch.num_rows() {
                let [socket_id, number, position, bytes] =
                    columns.each_ref().map(|column| column.as_primitive::<Int64Type>().value(row));
                let seq = first_seq.as_primitive::<Int64Type>();
                let seq = seq.is_valid(row).then(|| (seq.value(row) as u32).wrapping_add(position as u32));
                let place = Place { socket_id, number, position, bytes, seq };
                places.insert(ids.as_string_view().value(row).to_owned(), place);
            }
        }
        Ok(Evidence { places })
    }

    /// Why the node hangs where it hangs.
    pub fn words(&self, node: &Node<'_>, parent: Option<&Node<'_>>) -> String {
        let Some(evidence) = node.row.link_evidence else {
            return match node.row.remote_parent_span_id {
                Some(id) => format!("why: its trace context names the parent {id}, which was not recorded"),
                None => "why: a root: nothing recorded shows what caused it".to_owned(),
            };
        };
        let sure = node.row.link_confidence.map(|c| format!(" (confidence {c:.2})")).unwrap_or_default();
        let words = match evidence {
            _ if node.row.is_wait() => wait(node, evidence),
            "connection" => self.connection(node),
            "proxy_bytes" => self.proxy_bytes(node, parent),
            "context" => context(node, parent),
            "thread" => thread(node, parent),
            other => other.to_owned(),
        };
        format!("why: {evidence}: {words}{sure}")
    }

    fn place(&self, node: &Node<'_>) -> Option<&Place> {
        self.places.get(node.row.span_id)
    }

    fn connection(&self, node: &Node<'_>) -> String {
        let row = &node.row;
        let end = |addr: Option<&str>, port: Option<i32>| {
            format!("{}:{}", addr.unwrap_or("?"), port.map_or("?".to_owned(), |port| port.to_string()))
        };
        let mut words = format!(
            "the other end of connection {}, {} -> {}",
            row.connection_id,
            end(row.src_addr, row.src_port),
            end(row.dst_addr, row.dst_port),
        );
        if let Some(place) = self.place(node) {
            words.push_str(&format!(", request {} on it", place.number + 1));
            if let Some(seq) = place.seq {
                words.push_str(&format!(", first byte at sequence number {seq} at both ends"));
            }
        }
        words
    }

    fn proxy_bytes(&self, node: &Node<'_>, parent: Option<&Node<'_>>) -> String {
        let process = node.row.process.unwrap_or("the process");
        let places = (self.place(node), parent.and_then(|parent| self.place(parent)));
        let (Some(out), Some(came)) = places else {
            return format!("{process} passes the bytes of the parent's connection on unchanged");
        };
        format!(
            "{process} passes socket {} on to socket {}: bytes {} to {} came there as bytes {} to {}",
            came.socket_id,
            out.socket_id,
            out.position,
            out.position + out.bytes,
            came.position,
            came.position + came.bytes,
        )
    }
}

/// Why a connection is one that its parent waited for.
fn wait(node: &Node<'_>, evidence: &str) -> String {
    let process = node.row.process.unwrap_or("the process");
    let id = node.row.connection_id;
    match evidence {
        "connection" => format!("the request goes by connection {id}, which was not ready yet"),
        "thread" => format!(
            "a thread of {process} opened connection {id} right after it took the connection or the request of the parent, as is its way"
        ),
        _ => format!("the first request on connection {id} comes from the parent's connection"),
    }
}

fn context(node: &Node<'_>, parent: Option<&Node<'_>>) -> String {
    let process = node.row.process.unwrap_or("the process");
    let wait = parent.map(|parent| duration(node.row.start_time - parent.row.start_time)).unwrap_or_default();
    format!(
        "both requests carry the same trace context, and {process} sent this one {wait} after the parent came"
    )
}

fn thread(node: &Node<'_>, parent: Option<&Node<'_>>) -> String {
    let process = node.row.process.unwrap_or("the process");
    let tid = node.row.tid.map_or("?".to_owned(), |tid| tid.to_string());
    let wait = parent.map(|parent| duration(node.row.start_time - parent.row.start_time)).unwrap_or_default();
    format!(
        "thread {tid} of {process} took the parent's request and sent this one {wait} later; it works on one request after the other"
    )
}
