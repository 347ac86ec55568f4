//! `retrospan spans`: one line a span, for eyes and grep.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use futures::StreamExt;
use retrospan_formats::reader::Capture;

use super::{block_on, spans_where};
use crate::cli::SpansArgs;
use crate::error::{Error, Result};
use crate::sql::session;
use crate::tables::columns::typed;
use crate::tables::spans::{SpanBatch, SpanRow};
use crate::text::{duration, harmless, time};

/// Prints the spans that were asked for by start time.
pub fn run(args: SpansArgs) -> Result<ExitCode> {
    let query = query(&spans_where(args.filter.as_deref())?, args.limit);
    let capture = Capture::open(&args.capture)?;
    let offset_s = capture.manifest.host.utc_offset_s;
    block_on(async {
        let context = session::open(&capture)?;
        let mut batches = session::plan(&context, &query).await?.execute_stream().await?;
        let mut out = BufWriter::new(io::stdout());
        while let Some(batch) = batches.next().await.transpose()? {
            let peers = Peers::new(&batch)?;
            for (index, row) in SpanBatch::new(&batch)?.rows().enumerate() {
                writeln!(out, "{}", line(&row, peers.of(index), offset_s)).map_err(Error::Output)?;
            }
        }
        out.flush().map_err(Error::Output)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Spans with the processes at both ends of their connection, by start time.
pub fn query(spans: &str, limit: Option<u64>) -> String {
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
    src: datafusion::arrow::array::StringViewArray,
    dst: datafusion::arrow::array::StringViewArray,
}

impl Peers {
    /// From rows of [`query`].
    pub fn new(batch: &RecordBatch) -> Result<Peers> {
        let column = |name| Ok::<_, Error>(typed(batch, name, &DataType::Utf8View)?.as_string_view().clone());
        Ok(Peers { src: column("src_process")?, dst: column("dst_process")? })
    }

    /// Requesting and answering process of a row.
    pub fn of(&self, row: usize) -> (Option<&str>, Option<&str>) {
        let name = |column: &datafusion::arrow::array::StringViewArray| column.is_valid(row);
        (name(&self.src).then(|| self.src.value(row)), name(&self.dst).then(|| self.dst.value(row)))
    }
}

fn line(row: &SpanRow<'_>, (src, dst): (Option<&str>, Option<&str>), offset_s: i32) -> String {
    let mut line = format!(
        "{} ({}[{}]) {}/{} {} {} {}",
        time(row.start_ns, offset_s, 6),
        tight(row.duration_ns),
        tight(row.own_ns),
        row.protocol.unwrap_or("?"),
        row.kind,
        row.status.map_or("-".to_owned(), |status| status.to_string()),
        row.outcome,
        what(row),
    );
    let _ = write!(
        line,
        " [{}]->[{}] contentLen:{}B responseLen:{}B svc=[{}] traceparent=[00-{}-{}[{}]-01]",
        end(row.src_addr, src, row.src_port),
        end(row.dst_addr, dst, row.dst_port),
        row.request_bytes.unwrap_or_default(),
        row.response_bytes.unwrap_or_default(),
        row.service,
        row.trace_id,
        row.span_id,
        row.parent_span_id.or(row.remote_parent_span_id).unwrap_or_default(),
    );
    if let (Some(status), Some(late_ns)) = (row.late_status, row.late_ns) {
        let _ = write!(line, " late=[{status} after {}]", tight(late_ns));
    }
    harmless(&line)
}

fn tight(ns: i64) -> String {
    duration(ns).replace(' ', "")
}

/// Method, path and query.
pub fn what(row: &SpanRow<'_>) -> String {
    let query = row.query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{} {}{query}", row.method.unwrap_or("-"), row.path.unwrap_or("-"))
}

/// `10.0.0.7 as nginx:8080`.
fn end(addr: Option<&str>, process: Option<&str>, port: Option<i64>) -> String {
    let addr = addr.unwrap_or("?");
    let port = port.map_or("?".to_owned(), |port| port.to_string());
    match process {
        Some(process) => format!("{addr} as {process}:{port}"),
        None if addr.contains(':') => format!("[{addr}]:{port}"),
        None => format!("{addr}:{port}"),
    }
}
