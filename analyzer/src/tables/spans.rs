//! Rows of `spans` as the queries of commands give them, for what shows or sends single spans.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, StringViewArray};
use datafusion::error::{DataFusionError, Result};
use retrospan_formats::manifest::Manifest;
use retrospan_formats::rows::Columns;

use super::columns::{texts, typed};
use super::outcome::Outcome;
use super::{SPANS, SPOKEN_BY_WAITS, SYN_RETRANSMITS, SpanRow, WAIT};

/// A busy process takes that long to accept, and nothing is wrong, ns; as in view `listen_queue_waits`.
const ACCEPT_SOON_NS: i64 = 5_000_000;

/// Kinds of the answering side's spans.
pub const ANSWERING: [&str; 2] = ["server", "consumer"];

/// Conditions over `spans` that hold for one side of requests. What was recorded has no messages between brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// The requesting side.
    pub asking: &'static str,
    /// The answering side.
    pub answering: &'static str,
    /// They are those of imported traces.
    pub imported: bool,
}

impl Default for Sides {
    fn default() -> Sides {
        Sides { asking: "kind = 'client'", answering: "kind = 'server'", imported: false }
    }
}

impl Sides {
    /// Those of a capture.
    pub fn of(manifest: &Manifest) -> Sides {
        if !manifest.is_of_traces() {
            return Sides::default();
        }
        Sides {
            asking: "kind IN ('client', 'producer')",
            answering: "kind IN ('server', 'consumer')",
            imported: true,
        }
    }
}

/// A batch of spans.
pub struct SpanBatch(Columns<SpanRow<'static>>);

impl SpanBatch {
    /// Reads the columns of `spans` from a batch that has them all, whatever their order and representation.
    pub fn new(batch: &RecordBatch) -> Result<SpanBatch> {
        let schema = SPANS.schema();
        let columns = schema.fields().iter().map(|field| typed(batch, field.name(), field.data_type()));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_>>()?)?;
        let columns = Columns::<SpanRow>::of(&batch)?;
        if let Some(row) = columns.iter().find(|row| Outcome::of(row.outcome).is_none()) {
            return Err(DataFusionError::Execution(format!("no span ends as {:?}", row.outcome)));
        }
        Ok(SpanBatch(columns))
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = SpanRow<'_>> {
        self.0.iter()
    }
}

impl SpanRow<'_> {
    /// How it ended: [`SpanRow::outcome`], which [`SpanBatch::new`] has checked.
    pub fn ended(&self) -> Outcome {
        Outcome::of(self.outcome).unwrap_or(Outcome::Lost)
    }

    /// It is a wait of its parent, and no request.
    pub fn is_wait(&self) -> bool {
        self.kind == WAIT && self.protocol == Some(SPOKEN_BY_WAITS)
    }

    /// Somebody else recorded it: there are no sockets, and what its columns say is what it says itself.
    pub fn is_imported(&self) -> bool {
        self.request_number.is_none()
    }

    /// It is what a process did itself, as somebody else recorded it.
    pub fn is_within(&self) -> bool {
        self.kind == WAIT && self.is_imported()
    }

    /// It is the answering side's.
    pub fn answers(&self) -> bool {
        ANSWERING.contains(&self.kind)
    }

    /// SYNs that were sent again for the connection that it waited for; None where that is not known, and for requests.
    pub fn syn_retransmits(&self) -> Option<u64> {
        let attributes = self.attributes.filter(|_| self.is_wait())?;
        serde_json::from_str::<serde_json::Value>(attributes).ok()?.get(SYN_RETRANSMITS)?.as_u64()
    }

    /// How long its connection lay in the listen queue, ns, where that is more than a busy process takes to accept.
    pub fn late_accept_ns(&self) -> Option<i64> {
        self.accept_wait_ns.filter(|&ns| ns > ACCEPT_SOON_NS)
    }

    /// Both ends of its connection, as `curl -> nginx:8080`; an address where the process is not known. Its process alone where
    /// it is no request.
    pub fn hop(&self, (src, dst): (Option<&str>, Option<&str>)) -> String {
        if self.is_within() {
            return self.process.unwrap_or("?").to_owned();
        }
        let name = |process: Option<&str>, addr: Option<&str>| process.or(addr).unwrap_or("?").to_owned();
        let port = match self.dst_port {
            Some(port) => format!(":{port}"),
            None if self.is_imported() => String::new(),
            // That of a Unix socket is a path.
            None => format!(":{}", self.dst_addr.unwrap_or("?")),
        };
        format!("{} -> {}{port}", name(src, self.src_addr), name(dst, self.dst_addr))
    }
}

/// Spans with the processes at both ends of their connection, by start time.
pub fn with_peers(spans: &str, limit: Option<u64>) -> String {
    with_peers_by("start_time, span_id", spans, limit)
}

/// The same in another order of their columns.
pub fn with_peers_by(order: &str, spans: &str, limit: Option<u64>) -> String {
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    format!(
        "SELECT s.*,
                CASE WHEN s.kind IN ('server', 'consumer') THEN client.name ELSE s.process END AS src_process,
                CASE WHEN s.kind IN ('server', 'consumer') THEN s.process ELSE server.name END AS dst_process
         FROM ({spans}\n ORDER BY {order}{limit}) s
         LEFT JOIN connections c ON c.connection_id = s.connection_id
         LEFT JOIN processes client ON client.process_id = c.client_process_id
         LEFT JOIN processes server ON server.process_id = c.server_process_id
         ORDER BY {order}"
    )
}

/// The names of the processes at both ends.
pub struct Peers {
    src: StringViewArray,
    dst: StringViewArray,
}

impl Peers {
    /// From rows of [`with_peers`].
    pub fn new(batch: &RecordBatch) -> Result<Peers> {
        Ok(Peers { src: texts(batch, "src_process")?, dst: texts(batch, "dst_process")? })
    }

    /// Requesting and answering process of a row.
    pub fn of(&self, row: usize) -> (Option<&str>, Option<&str>) {
        let name = |column: &StringViewArray| column.is_valid(row);
        (name(&self.src).then(|| self.src.value(row)), name(&self.dst).then(|| self.dst.value(row)))
    }
}

/// What is asked for and of what, with its query; a protocol without targets has the operation alone. A wait says for what, and
/// how often its SYN was sent again.
pub fn what(row: &SpanRow<'_>) -> String {
    if row.is_wait() {
        return match row.syn_retransmits().unwrap_or_default() {
            0 => row.name.to_owned(),
            1 => format!("{}, SYN sent again", row.name),
            times => format!("{}, SYN sent again {times} times", row.name),
        };
    }
    let query = row.query.map(|query| format!("?{query}")).unwrap_or_default();
    match (row.operation, row.target) {
        (Some(operation), None) => operation.to_owned(),
        (operation, target) => format!("{} {}{query}", operation.unwrap_or("-"), target.unwrap_or("-")),
    }
}

/// The status as it is shown.
pub fn status_of(row: &SpanRow<'_>) -> Option<String> {
    row.status.map(|status| status.to_string()).or(row.status_text.map(str::to_owned))
}
