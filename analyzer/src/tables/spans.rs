//! Rows of `spans` as the queries of commands give them, for what shows or sends single spans.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, StringViewArray};
use datafusion::error::{DataFusionError, Result};
use retrospan_formats::rows::Columns;

use super::columns::{texts, typed};
use super::outcome::Outcome;
use super::{SPANS, SYN_RETRANSMITS, SpanRow, WAIT};

/// A busy process takes that long to accept, and nothing is wrong, ns; as in view `listen_queue_waits`.
const ACCEPT_SOON_NS: i64 = 5_000_000;

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
        self.kind == WAIT
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

    /// Both ends of its connection, as `curl -> nginx:8080`; an address where the process is not known.
    pub fn hop(&self, (src, dst): (Option<&str>, Option<&str>)) -> String {
        let name = |process: Option<&str>, addr: Option<&str>| process.or(addr).unwrap_or("?").to_owned();
        let port = self.dst_port.map_or("?".to_owned(), |port| port.to_string());
        format!("{} -> {}:{port}", name(src, self.src_addr), name(dst, self.dst_addr))
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
                CASE WHEN s.kind = 'server' THEN client.name ELSE s.process END AS src_process,
                CASE WHEN s.kind = 'server' THEN s.process ELSE server.name END AS dst_process
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
