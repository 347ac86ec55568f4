//! `retrospan eval-links`: hides the parents of spans that others recorded, links by times and names alone, and counts.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use retrospan_assignment::link::Options;
use retrospan_assignment::measure::{Measured, Span, hide, measure};
use retrospan_formats::reader::Capture;
use retrospan_protocols::redact::Payload;
use serde_json::json;

use super::block_on;
use super::opening::open;
use crate::cli::{EvalLinksArgs, TextFormat};
use crate::error::{Error, Result};
use crate::import::{self, Watch};
use crate::print;
use crate::progress::Progress;
use crate::session;
use crate::tables::columns::typed;
use crate::text::count;

/// Measures each data set, and prints what came out.
pub fn run(args: EvalLinksArgs) -> Result<ExitCode> {
    let mut objects = Vec::new();
    for path in &args.inputs {
        let progress = Progress::begin("reading");
        let spans = read(path, &progress)?;
        if !spans.iter().any(|span| span.parent.is_some()) {
            return Err(Error::Usage(format!(
                "{}: no span has a parent there: nothing can be compared",
                path.display()
            )));
        }
        progress.say(format!("linking {} spans", count(spans.len() as u64)));
        let measured = measure(&hide(&spans), &Options { margin_nats: args.margin, ..Options::default() });
        drop(progress);
        match args.format {
            TextFormat::Text => print::text(&text(path, &measured, args.margin))?,
            TextFormat::Json => objects.push(object(path, &measured)),
        }
    }
    if args.format == TextFormat::Json {
        print::text(&format!("{:#}\n", json!({ "datasets": objects })))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The spans of a capture, or of a file of traces, which becomes a capture for as long as this takes.
fn read(path: &Path, progress: &Progress) -> Result<Vec<Span>> {
    if path.is_dir() {
        return spans(&open(path, false)?);
    }
    let folder =
        tempfile::tempdir().map_err(|e| Error::Usage(format!("cannot make a temporary directory: {e}")))?;
    let output = folder.path().join("eval.cap");
    let options =
        import::Options { files: vec![path.to_owned()], output: output.clone(), payload: Payload::Heads };
    let watch = Watch {
        progress: &|what, so_far| progress.say(format!("reading {what}: {}", count(so_far))),
        interrupted: &|| false,
    };
    import::import(&options, &watch)?;
    spans(&open(&output, false)?)
}

/// All spans with their parents, in order of time.
fn spans(capture: &Capture) -> Result<Vec<Span>> {
    let query =
        "SELECT trace_id, span_id, parent_span_id, coalesce(service, '') AS service, name AS operation,
                        CASE kind WHEN 'internal' THEN '' ELSE kind END AS kind,
                        CAST(start_time AS BIGINT) AS begin_ns, CAST(end_time AS BIGINT) AS end_ns
                 FROM spans ORDER BY start_time, span_id";
    let batches = block_on(async {
        let context = session::open(capture)?;
        Ok(session::plan(&context, query).await?.collect().await?)
    })?;
    let (mut spans, mut parents) = (Vec::new(), Vec::new());
    let (mut places, mut traces) = (HashMap::new(), HashMap::new());
    for batch in &batches {
        let text = |name| typed(batch, name, &DataType::Utf8View);
        let number = |name| typed(batch, name, &DataType::Int64);
        let [trace_ids, ids, parent_ids] = [text("trace_id")?, text("span_id")?, text("parent_span_id")?];
        let [services, operations, kinds] = [text("service")?, text("operation")?, text("kind")?];
        let [begins, ends] = [number("begin_ns")?, number("end_ns")?];
        for row in 0..batch.num_rows() {
            let trace_id = trace_ids.as_string_view().value(row).to_owned();
            let next = traces.len();
            let trace = *traces.entry(trace_id).or_insert(next);
            places.insert((trace, ids.as_string_view().value(row).to_owned()), spans.len());
            let parent = parent_ids.as_string_view();
            parents.push((trace, parent.is_valid(row).then(|| parent.value(row).to_owned())));
            spans.push(Span {
                trace,
                parent: None,
                service: services.as_string_view().value(row).to_owned(),
                caller: String::new(),
                operation: operations.as_string_view().value(row).to_owned(),
                kind: kinds.as_string_view().value(row).to_owned(),
                begin_ns: begins.as_primitive::<Int64Type>().value(row),
                end_ns: ends.as_primitive::<Int64Type>().value(row),
            });
        }
    }
    for (at, (trace, parent)) in parents.into_iter().enumerate() {
        spans[at].parent = parent.and_then(|id| places.get(&(trace, id)).copied());
        if let Some(parent) = spans[at].parent {
            spans[at].caller = spans[parent].service.clone();
        }
    }
    Ok(spans)
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// CPU seconds for 100,000 spans.
fn pace(measured: &Measured) -> f64 {
    measured.seconds * 1e5 / measured.spans.max(1) as f64
}

fn text(path: &Path, measured: &Measured, margin: f64) -> String {
    let Measured { spans, traces, all, said, deciles, by_process, .. } = measured;
    let percent = |part, all| format!("{:.2} %", 100.0 * share(part, all));
    let n = |number: usize| count(number as u64);
    let mut lines = vec![
        format!("{}: {} spans, {} traces", path.display(), n(*spans), n(traces[0])),
        format!(
            "  every call with its likeliest parent: {} right, {} wrong ({} right); traces entirely right: {}, in calls of services that one other calls: {}",
            n(all[0]),
            n(all[1]),
            percent(all[0], all[0] + all[1]),
            percent(traces[1], traces[0]),
            percent(traces[2], traces[0]),
        ),
        format!(
            "  said with a margin of {margin} nats (evidence assignment): {} right, {} wrong, {} missing; precision {}, recall {}",
            n(said[0]),
            n(said[1]),
            n(said[2]),
            percent(said[0], said[0] + said[1]),
            percent(said[0], said[0] + said[1] + said[2]),
        ),
        "  calibration (sure in the mean / right, of so many):".to_owned(),
    ];
    for (links, sum, right) in deciles.iter().filter(|(links, ..)| *links > 0) {
        let (sure, right) = (100.0 * sum / *links as f64, percent(*right, *links));
        lines.push(format!("    {sure:5.1} % / {right}, {}", n(*links)));
    }
    let wrong: Vec<String> = (by_process.iter().filter(|(_, (_, wrong))| *wrong > 0))
        .map(|(name, (calls, wrong))| format!("{name} {} of {}", n(*wrong), n(*calls)))
        .collect();
    if !wrong.is_empty() {
        lines.push(format!("  likeliest parents that are wrong, by process: {}", wrong.join(", ")));
    }
    lines.push(format!("  {:.2} CPU seconds for 100,000 spans", pace(measured)));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn object(path: &Path, measured: &Measured) -> serde_json::Value {
    let Measured { spans, traces, all, said, deciles, .. } = measured;
    let calibration: Vec<_> = (deciles.iter().filter(|(links, ..)| *links > 0))
        .map(|(links, sum, right)| {
            json!({ "links": links, "sure": sum / *links as f64, "right": share(*right, *links) })
        })
        .collect();
    json!({
        "dataset": path.display().to_string(),
        "spans": spans,
        "traces": traces[0],
        "traces_right": traces[1],
        "traces_right_in_calls": traces[2],
        "likeliest": { "right": all[0], "wrong": all[1] },
        "said": {
            "evidence": "assignment",
            "right": said[0],
            "wrong": said[1],
            "missing": said[2],
            "precision": share(said[0], said[0] + said[1]),
            "recall": share(said[0], said[0] + said[1] + said[2]),
        },
        "calibration": calibration,
        "cpu_s_per_100000_spans": pace(measured),
    })
}
