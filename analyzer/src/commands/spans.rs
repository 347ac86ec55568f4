//! `retrospan spans`: one line a span, for eyes and grep; all of their columns in the other formats.

use std::process::ExitCode;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::{block_on, check_where, spans_where};
use crate::cli::SpansArgs;
use crate::error::Result;
use crate::print::{self, Format, Meaning, Output, Style};
use crate::session;
use crate::tables::SpanRow;
use crate::tables::spans::{Peers, SpanBatch, status_of, what, with_peers_by};
use crate::text::{duration, time};

/// Digits of a trace id that `retrospan trace` takes for it in all but the largest captures.
const SHORT_ID: usize = 10;

/// Columns of a line; the first ones matter most, for a narrow window shows no others.
const COLUMNS: usize = 8;

/// Prints the spans that were asked for, by start time or the slowest first.
pub fn run(args: SpansArgs) -> Result<ExitCode> {
    let output = Output::new(args.rows.output.clone(), args.rows.format, args.rows.all)?;
    let spans = spans_where(args.filter.as_deref())?;
    let (order, limit) = match args.slowest {
        Some(most) => ("duration_ns DESC, span_id", Some(args.limit.map_or(most, |limit| limit.min(most)))),
        None => ("start_time, span_id", args.limit),
    };
    let capture = args.capture.open()?;
    let offset_s = args.zone.offset_s(capture.manifest.host.utc_offset_s);
    block_on(async {
        let context = session::open_with(&capture, offset_s, args.links.options())?;
        check_where(&context, args.filter.as_deref()).await?;
        if args.rows.format == Format::Table {
            return lines(&context, &with_peers_by(order, &spans, limit), offset_s, &output).await;
        }
        let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        let frame = session::plan(&context, &format!("{spans}\n ORDER BY {order}{limit}")).await?;
        let style = Style { utc_offset_s: offset_s, ..Style::default() };
        print::rows(frame, args.rows.format, &style, &output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What a person wants to know of each. A terminal gets short times and ids and a head; a pipe whole ones,
/// and nothing but spans.
async fn lines(context: &SessionContext, query: &str, offset_s: i32, output: &Output) -> Result<()> {
    let mut batches = session::plan(context, query).await?.execute_stream().await?;
    let is_short = output.is_terminal();
    let mut meanings = vec![Meaning::Plain; COLUMNS];
    meanings[1] = Meaning::Duration;
    meanings[COLUMNS - 1] = Meaning::Duration;
    let style = Style { utc_offset_s: offset_s, meanings, without_head: !is_short };
    let mut first = batches.next().await.transpose()?;
    let mut writer = print::writer(Format::Table, schema(), &style, output)?;
    while let Some(batch) = first.take() {
        writer.write(&shown(&batch, offset_s, is_short)?)?;
        if writer.is_full() {
            break;
        }
        first = batches.next().await.transpose()?;
    }
    writer.finish()
}

fn schema() -> SchemaRef {
    let field = |name: &str, ty| Field::new(name, ty, true);
    Arc::new(Schema::new(vec![
        field("start", DataType::Utf8),
        field("duration_ns", DataType::Int64),
        field("outcome", DataType::Utf8),
        field("trace", DataType::Utf8),
        field("hop", DataType::Utf8),
        field("request", DataType::Utf8),
        field("side", DataType::Utf8),
        field("own_ns", DataType::Int64),
    ]))
}

fn shown(batch: &RecordBatch, offset_s: i32, is_short: bool) -> Result<RecordBatch> {
    let (peers, spans) = (Peers::new(batch)?, SpanBatch::new(batch)?);
    let rows: Vec<(SpanRow<'_>, String)> = spans
        .rows()
        .enumerate()
        .map(|(index, row)| {
            let hop = row.hop(peers.of(index));
            (row, hop)
        })
        .collect();
    let text = |of: &dyn Fn(&SpanRow<'_>, &str) -> String| {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(row, hop)| of(row, hop)))) as ArrayRef
    };
    let number = |of: fn(&SpanRow<'_>) -> i64| {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|(row, _)| of(row)))) as ArrayRef
    };
    let start = |row: &SpanRow<'_>| {
        let whole = time(row.start_time, offset_s, 6);
        // `18:22:03.123` of `2026-11-20 18:22:03.123456+01:00`.
        if is_short { whole.get(11..23).unwrap_or(&whole).to_owned() } else { whole }
    };
    let trace = |row: &SpanRow<'_>| {
        let id = row.trace_id;
        if is_short { id.get(..SHORT_ID).unwrap_or(id).to_owned() } else { id.to_owned() }
    };
    let columns = vec![
        text(&|row, _| start(row)),
        number(|row| row.duration_ns),
        text(&|row, _| match status_of(row) {
            Some(status) => format!("{} {status}", row.ended().name()),
            None => row.ended().name().to_owned(),
        }),
        text(&|row, _| trace(row)),
        text(&|_, hop| hop.to_owned()),
        text(&|row, _| match (row.late_status, row.late_ns) {
            (Some(status), Some(ns)) => format!("{}  ({status} came {} later)", what(row), duration(ns)),
            _ => what(row),
        }),
        text(&|row, _| row.kind.to_owned()),
        number(|row| row.own_ns),
    ];
    Ok(RecordBatch::try_new(schema(), columns).map_err(DataFusionError::from)?)
}
