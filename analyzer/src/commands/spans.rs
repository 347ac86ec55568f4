//! `retrospan spans`: one line a span, for eyes and grep.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use futures::StreamExt;

use super::{block_on, spans_where};
use crate::cli::SpansArgs;
use crate::error::{Error, Result};
use crate::session;
use crate::tables::SpanRow;
use crate::tables::spans::{Peers, SpanBatch, status_of, what, with_peers};
use crate::text::{duration, escape_controls, time};

/// Prints the spans that were asked for by start time.
pub fn run(args: SpansArgs) -> Result<ExitCode> {
    let query = with_peers(&spans_where(args.filter.as_deref())?, args.limit);
    let capture = args.capture.open()?;
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

fn line(row: &SpanRow<'_>, (src, dst): (Option<&str>, Option<&str>), offset_s: i32) -> String {
    let mut line = format!(
        "{} ({}[{}]) {}/{} {} {} {}",
        time(row.start_time, offset_s, 6),
        tight(row.duration_ns),
        tight(row.own_ns),
        row.protocol,
        row.kind,
        status_of(row).unwrap_or_else(|| "-".to_owned()),
        row.ended().name(),
        what(row),
    );
    let _ = write!(
        line,
        " [{}]->[{}] contentLen:{}B responseLen:{}B svc=[{}] traceparent=[00-{}-{}[{}]-01]",
        end(row.src_addr, src, row.src_port),
        end(row.dst_addr, dst, row.dst_port),
        row.request_bytes,
        row.response_bytes.unwrap_or_default(),
        row.service.unwrap_or_default(),
        row.trace_id,
        row.span_id,
        row.parent_span_id.or(row.remote_parent_span_id).unwrap_or_default(),
    );
    if let (Some(status), Some(late_ns)) = (row.late_status, row.late_ns) {
        let _ = write!(line, " late=[{status} after {}]", tight(late_ns));
    }
    escape_controls(&line)
}

fn tight(ns: i64) -> String {
    duration(ns).replace(' ', "")
}

/// `10.0.0.7 as nginx:8080`.
fn end(addr: Option<&str>, process: Option<&str>, port: Option<i32>) -> String {
    let addr = addr.unwrap_or("?");
    let port = port.map_or("?".to_owned(), |port| port.to_string());
    match process {
        Some(process) => format!("{addr} as {process}:{port}"),
        None if addr.contains(':') => format!("[{addr}]:{port}"),
        None => format!("{addr}:{port}"),
    }
}
