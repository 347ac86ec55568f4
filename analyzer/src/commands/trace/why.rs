//! The evidence of a link in words, with the numbers that anyone can look up.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
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

/// How far a rule is borne out in a process.
#[derive(Clone, Debug)]
struct Regime {
    rule: String,
    variant: Option<String>,
    checked: i64,
    agreed: i64,
}

/// What is known about the requests of a trace.
pub struct Evidence {
    places: BTreeMap<String, Place>,
    /// What is believed of processes, by process and kind of evidence.
    regimes: BTreeMap<(i64, String), Regime>,
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
        Ok(Evidence { places, regimes: regimes(context).await? })
    }

    /// Why the node hangs where it hangs.
    pub fn words(&self, node: &Node<'_>, parent: Option<&Node<'_>>) -> String {
        let Some(evidence) = node.row.link_evidence else {
            return match node.row.remote_parent_span_id {
                Some(id) if node.row.is_imported() => {
                    format!("why: its tracer names the parent {id}, which is not in the files")
                }
                Some(id) => format!("why: its trace context names the parent {id}, which was not recorded"),
                None if node.row.is_imported() => "why: a root: its tracer names no parent".to_owned(),
                None => "why: a root: nothing recorded shows what caused it".to_owned(),
            };
        };
        let sure =
            node.row.link_confidence.map(|c| format!(" (confidence {})", share(c))).unwrap_or_default();
        let words = match evidence {
            _ if node.row.is_wait() => wait(node, evidence),
            "connection" => self.connection(node),
            "proxy_bytes" => self.proxy_bytes(node, parent),
            "context" if node.row.is_imported() => "its tracer names it as the parent".to_owned(),
            "context" => context(node, parent),
            "thread" => thread(node, parent),
            "turn" | "order" | "pool" | "identity" | "assignment" => self.regime(node, evidence),
            other => other.to_owned(),
        };
        format!("why: {evidence}: {words}{sure}")
    }

    /// How its process works, and how far that is borne out.
    fn regime(&self, node: &Node<'_>, evidence: &str) -> String {
        let process = node.row.process.unwrap_or("the process");
        let tid = node.row.tid.map_or("?".to_owned(), |tid| tid.to_string());
        let key = (node.row.process_id.unwrap_or_default(), evidence.to_owned());
        let regime = self.regimes.get(&key);
        let words = match (evidence, regime.map(|regime| regime.rule.as_str())) {
            ("turn", Some("turn_back")) => {
                format!("{process} answered the parent's request right after the answer to this one came")
            }
            ("turn", _) => format!(
                "thread {tid} of {process} sent this one right after what came for the parent's request"
            ),
            ("order", Some("order_back")) => {
                format!("the answer to this one came first of those that {process} had not passed on yet")
            }
            ("order", _) => format!(
                "the parent's request had waited longest for such a call on thread {tid} of {process}"
            ),
            ("assignment", _) => format!(
                "by the delays and the order of calls that {process} shows in the whole recording no other request comes near"
            ),
            ("identity", _) => format!(
                "of the requests that {process} had in hand only the parent's has the same path, lines or hashes of values"
            ),
            _ => {
                let id = node.row.connection_id;
                let first = regime
                    .is_some_and(|regime| regime.variant.as_deref().is_some_and(|v| v.starts_with("first")));
                let freed = if first { "first" } else { "last" };
                format!(
                    "when the parent's request came, connection {id} was the idle one of {process} that was freed {freed}"
                )
            }
        };
        match regime {
            Some(Regime { rule, checked, agreed, .. }) if rule != "loop" => {
                format!("{words}; so it works: {agreed} of {checked} bear that out (table link_regimes)")
            }
            _ => format!(
                "{words}, and answered that right after the answer to this one or to one that followed from it"
            ),
        }
    }

    fn place(&self, node: &Node<'_>) -> Option<&Place> {
        self.places.get(node.row.span_id)
    }

    fn connection(&self, node: &Node<'_>) -> String {
        let row = &node.row;
        let end = |addr: Option<&str>, port: Option<i32>| match (addr.unwrap_or("?"), port) {
            (addr, Some(port)) => format!("{addr}:{port}"),
            // A path.
            (addr, None) => addr.to_owned(),
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

/// As a person reads it; nothing that is not certain looks so.
fn share(confidence: f64) -> String {
    if confidence > 0.99 && confidence < 1.0 {
        format!("{:.3}", confidence.min(0.999))
    } else {
        format!("{confidence:.2}")
    }
}

/// What is believed of processes. Of several rules with one kind of evidence the one that is borne out most often.
async fn regimes(context: &SessionContext) -> Result<BTreeMap<(i64, String), Regime>> {
    let query = "SELECT process_id, link_evidence, rule, variant, checked, agreed FROM link_regimes
                 WHERE believed ORDER BY agreed";
    let mut found = BTreeMap::new();
    for batch in session::plan(context, query).await?.collect().await? {
        let text = |name| Ok::<_, crate::error::Error>(typed(&batch, name, &DataType::Utf8View)?);
        let number = |name| Ok::<_, crate::error::Error>(typed(&batch, name, &DataType::Int64)?);
        let [evidence, rule, variant] = [text("link_evidence")?, text("rule")?, text("variant")?];
        let [process_id, checked, agreed] = [number("process_id")?, number("checked")?, number("agreed")?];
        let number = |column: &ArrayRef, row| column.as_primitive::<Int64Type>().value(row);
        let text = |column: &ArrayRef, row: usize| column.as_string_view().value(row).to_owned();
        for row in 0..batch.num_rows() {
            let regime = Regime {
                rule: text(&rule, row),
                variant: variant.is_valid(row).then(|| text(&variant, row)),
                checked: number(&checked, row),
                agreed: number(&agreed, row),
            };
            found.insert((number(&process_id, row), text(&evidence, row)), regime);
        }
    }
    Ok(found)
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
        "turn" | "order" | "pool" | "identity" | "assignment" => {
            format!("the first request on connection {id} is one for the parent's")
        }
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
