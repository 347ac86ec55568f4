//! Rows of `spans` as plain structs, for what shows or sends single spans.

use datafusion::arrow::array::{
    Array, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::{DataFusionError, Result};

use super::columns::{numbers, texts, typed};
use super::outcome::Outcome;

/// One row of `spans`; the columns are described in docs/tables.md. Texts that should be there but are
/// not are empty, numbers 0.
#[derive(Clone, Debug)]
pub struct SpanRow<'a> {
    /// 32 hex digits.
    pub trace_id: &'a str,
    /// 16 hex digits.
    pub span_id: &'a str,
    /// A recorded parent.
    pub parent_span_id: Option<&'a str>,
    /// A parent that nobody recorded.
    pub remote_parent_span_id: Option<&'a str>,
    /// `client`, `server`, `internal`, `producer`, `consumer`.
    pub kind: &'a str,
    /// Name.
    pub name: &'a str,
    /// Service.
    pub service: &'a str,
    /// Start, ns since 1970 UTC.
    pub start_ns: i64,
    /// End, ns since 1970 UTC.
    pub end_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// Duration without what its children took, ns.
    pub own_ns: i64,
    /// Protocol.
    pub protocol: Option<&'a str>,
    /// What is asked for.
    pub operation: Option<&'a str>,
    /// What it is asked of.
    pub target: Option<&'a str>,
    /// Query without `?`.
    pub query: Option<&'a str>,
    /// Everything else, as a JSON object.
    pub attributes: Option<&'a str>,
    /// Status, where one was seen.
    pub status: Option<i64>,
    /// The same as a word.
    pub status_text: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome,
    /// Status of an answer that came after the end.
    pub late_status: Option<i64>,
    /// How long after the end, ns.
    pub late_ns: Option<i64>,
    /// Whole request on the wire, bytes.
    pub request_bytes: Option<i64>,
    /// Whole response on the wire, bytes.
    pub response_bytes: Option<i64>,
    /// Address of the requesting side.
    pub src_addr: Option<&'a str>,
    /// Port of the requesting side.
    pub src_port: Option<i64>,
    /// Address of the answering side.
    pub dst_addr: Option<&'a str>,
    /// Port of the answering side.
    pub dst_port: Option<i64>,
    /// Thread.
    pub tid: Option<i64>,
    /// Name of the process.
    pub process: Option<&'a str>,
    /// Process.
    pub process_id: Option<i64>,
    /// Connection.
    pub connection_id: Option<i64>,
    /// Why its parent is its parent.
    pub link_evidence: Option<&'a str>,
    /// How sure that is, up to 1.
    pub link_confidence: Option<f64>,
}

/// The columns of a batch of spans, whatever their order.
pub struct SpanBatch {
    texts: [StringViewArray; TEXTS.len()],
    numbers: [Int64Array; NUMBERS.len()],
    times: [TimestampNanosecondArray; 2],
    outcomes: Vec<Outcome>,
    confidence: Float64Array,
    rows: usize,
}

const TEXTS: [&str; 17] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "remote_parent_span_id",
    "kind",
    "name",
    "service",
    "protocol",
    "operation",
    "target",
    "src_addr",
    "dst_addr",
    "process",
    "link_evidence",
    "query",
    "attributes",
    "status_text",
];
const NUMBERS: [&str; 12] = [
    "duration_ns",
    "own_ns",
    "status",
    "late_status",
    "late_ns",
    "request_bytes",
    "response_bytes",
    "src_port",
    "dst_port",
    "tid",
    "process_id",
    "connection_id",
];

impl SpanBatch {
    /// Reads the columns of `spans` from a batch that has them all.
    pub fn new(batch: &RecordBatch) -> Result<SpanBatch> {
        let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let time = |name| Ok::<_, DataFusionError>(typed(batch, name, &utc)?.as_primitive().clone());
        Ok(SpanBatch {
            texts: columns(TEXTS, |name| texts(batch, name))?,
            numbers: columns(NUMBERS, |name| numbers(batch, name))?,
            times: [time("start_time")?, time("end_time")?],
            outcomes: outcomes(batch)?,
            confidence: typed(batch, "link_confidence", &DataType::Float64)?.as_primitive().clone(),
            rows: batch.num_rows(),
        })
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = SpanRow<'_>> {
        (0..self.rows).map(|row| self.row(row))
    }

    fn row(&self, row: usize) -> SpanRow<'_> {
        let texts = self.texts.each_ref().map(|column| column.is_valid(row).then(|| column.value(row)));
        let numbers = self.numbers.each_ref().map(|column| column.is_valid(row).then(|| column.value(row)));
        let [
            trace_id,
            span_id,
            parent_span_id,
            remote_parent_span_id,
            kind,
            name,
            service,
            protocol,
            operation,
            target,
            src_addr,
            dst_addr,
            process,
            link_evidence,
            query,
            attributes,
            status_text,
        ] = texts;
        let [
            duration_ns,
            own_ns,
            status,
            late_status,
            late_ns,
            request_bytes,
            response_bytes,
            src_port,
            dst_port,
            tid,
            process_id,
            connection_id,
        ] = numbers;
        SpanRow {
            trace_id: trace_id.unwrap_or_default(),
            span_id: span_id.unwrap_or_default(),
            parent_span_id,
            remote_parent_span_id,
            kind: kind.unwrap_or_default(),
            name: name.unwrap_or_default(),
            service: service.unwrap_or_default(),
            start_ns: self.times[0].value(row),
            end_ns: self.times[1].value(row),
            duration_ns: duration_ns.unwrap_or_default(),
            own_ns: own_ns.unwrap_or_default(),
            protocol,
            operation,
            target,
            query,
            attributes,
            status_text,
            status,
            outcome: self.outcomes[row],
            late_status,
            late_ns,
            request_bytes,
            response_bytes,
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            tid,
            process,
            process_id,
            connection_id,
            link_evidence,
            link_confidence: self.confidence.is_valid(row).then(|| self.confidence.value(row)),
        }
    }
}

fn columns<T, const N: usize>(names: [&str; N], read: impl Fn(&str) -> Result<T>) -> Result<[T; N]> {
    let columns = names.into_iter().map(read).collect::<Result<Vec<T>>>()?;
    columns.try_into().map_err(|_| DataFusionError::Internal("a column was lost".to_owned()))
}

fn outcomes(batch: &RecordBatch) -> Result<Vec<Outcome>> {
    let names = texts(batch, "outcome")?;
    let outcome = |name: Option<&str>| {
        let name = name.unwrap_or_default();
        Outcome::of(name).ok_or_else(|| DataFusionError::Execution(format!("no span ends as {name:?}")))
    };
    names.iter().map(outcome).collect()
}

impl SpanRow<'_> {
    /// Both ends of its connection, as `curl -> nginx:8080`; an address where the process is not known.
    pub fn hop(&self, (src, dst): (Option<&str>, Option<&str>)) -> String {
        let name = |process: Option<&str>, addr: Option<&str>| process.or(addr).unwrap_or("?").to_owned();
        let port = self.dst_port.map_or("?".to_owned(), |port| port.to_string());
        format!("{} -> {}:{port}", name(src, self.src_addr), name(dst, self.dst_addr))
    }
}

/// Spans with the processes at both ends of their connection, by start time.
pub fn with_peers(spans: &str, limit: Option<u64>) -> String {
    let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
    format!(
        "SELECT s.*,
                CASE WHEN s.kind = 'client' THEN s.process ELSE client.comm END AS src_process,
                CASE WHEN s.kind = 'client' THEN server.comm ELSE s.process END AS dst_process
         FROM ({spans}\n ORDER BY start_time, span_id{limit}) s
         LEFT JOIN connections c ON c.connection_id = s.connection_id
         LEFT JOIN processes client ON client.process_id = c.client_process_id
         LEFT JOIN processes server ON server.process_id = c.server_process_id
         ORDER BY s.start_time, s.span_id"
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

/// What is asked for and of what, with its query; a protocol without targets has the operation alone.
pub fn what(row: &SpanRow<'_>) -> String {
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
