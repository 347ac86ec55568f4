//! Traces that others recorded in, rows of `imported_spans` and `imported_resources` out.
//!
//! The steps in the order of the data: [`recognise`] (which format), [`json`] (Jaeger, OTLP) or [`proto`] (OTLP), whose
//! spans ([`span`]) go through [`steps`] (ids, times, what was there before), [`attributes`] (what is kept) and
//! [`resources`] (who made them) to [`output`]. Files are read one after the other, as streams. In memory are, whatever
//! a file's size, one trace of Jaeger's JSON, one `resourceSpans` of OTLP or one message of a delimited file, and 32
//! bytes or so for each span, by which it is known again.

pub mod attributes;
pub mod json;
pub mod output;
pub mod proto;
pub mod recognise;
pub mod resources;
pub mod seen;
pub mod skipped;
pub mod span;
pub mod steps;
pub mod summary;
#[cfg(test)]
mod tests;

use std::io::BufRead;
use std::path::Path;

use arrow::array::RecordBatch;
use retrospan_formats::rows::Columns;
use retrospan_formats::table::{MOST_TEXT_BYTES, Table};
use retrospan_formats::tables::{IMPORTED_SPANS, ImportedSpanRow};
use retrospan_protocols::redact::Payload;

use crate::error::{Error, Result, at};
use crate::import::begin::Begin;
use crate::import::source::Input;
use crate::import::task::{Place, Said, Watch};
use crate::import::traces::output::Output;
use crate::import::traces::recognise::{Contents, Format, HEAD_BYTES};
use crate::import::traces::steps::{Steps, Stopped};
use crate::import::traces::summary::Summary;

/// Reads all files and writes the capture.
pub fn import(
    inputs: Vec<(Input, Format)>,
    begin: Begin,
    place: &Place,
    payload: Payload,
    watch: &Watch<'_>,
) -> Result<Said> {
    let output = Output::create(&place.directory, begin)?;
    read_all(inputs, output, payload, watch).inspect_err(|_| place.discard())
}

fn read_all(
    inputs: Vec<(Input, Format)>,
    mut output: Output,
    payload: Payload,
    watch: &Watch<'_>,
) -> Result<Said> {
    let names: Vec<String> = inputs.iter().map(|(input, _)| input.path.display().to_string()).collect();
    let mut rows = 0;
    let mut sink = |table: &'static Table, batch: RecordBatch| {
        rows += batch.num_rows() as u64;
        watch.look("spans", rows)?;
        output.append(table, &batch)
    };
    let mut steps = Steps::new(payload, &mut sink);
    let mut cut = Vec::new();
    for (mut input, format) in inputs {
        let read = read(&mut input, format, &mut steps)?;
        // What failed is told by the steps.
        let Ok(contents) = read else { break };
        if is_cut(&input.path, contents)? {
            cut.push(input.path);
        }
    }
    let summary = steps.finish()?;
    let Some(range_ns) = summary.range_ns else {
        let reasons = summary.reasons();
        let why = if reasons.is_empty() { String::new() } else { format!(": {reasons}") };
        return Err(Error::Usage(format!("{}: no spans{why}", names.join(", "))));
    };
    output.finish(range_ns, !cut.is_empty())?;
    Ok(Said { text: summary.text(), cut, within: "a message" })
}

fn read(
    input: &mut Input,
    format: Format,
    steps: &mut Steps<'_>,
) -> Result<std::result::Result<Contents, Stopped>> {
    let source = input.source().map_err(at(&input.path))?;
    Ok(contents(source, format, steps))
}

fn contents(
    source: impl BufRead,
    format: Format,
    steps: &mut Steps<'_>,
) -> std::result::Result<Contents, Stopped> {
    match format {
        Format::Json => json::read(source, steps),
        Format::Proto => proto::read_one(source, steps),
        Format::Delimited => proto::read_delimited(source, steps),
    }
}

/// Reads bytes to their end and checks what must hold of whatever is in them; for tests.
///
/// # Panics
/// Where it does not hold.
pub fn check(bytes: &[u8], payload: Payload) -> Summary {
    let mut spans = 0;
    let mut sink = |table: &'static Table, batch: RecordBatch| {
        if table.name == IMPORTED_SPANS.name {
            let rows =
                Columns::<ImportedSpanRow>::of(&batch).map_err(|error| Error::Usage(error.to_string()))?;
            for row in rows.iter() {
                assert!(row.boot_ns > 0 && row.duration_ns >= 0, "times can be");
                assert!(row.trace_id.len() == 32 && row.span_id.len() == 16, "ids have all their digits");
                assert!(row.name.len() <= MOST_TEXT_BYTES && row.attributes.len() <= MOST_TEXT_BYTES);
                let attributes = serde_json::from_str::<serde_json::Map<_, _>>(row.attributes);
                assert!(attributes.is_ok(), "attributes are an object: {}", row.attributes);
                spans += 1;
            }
        }
        Ok(())
    };
    let mut steps = Steps::new(payload, &mut sink);
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let read = recognise::recognise(head).map(|format| contents(bytes, format, &mut steps));
    assert!(!matches!(read, Some(Err(_))), "nothing but a sink fails");
    let summary = steps.finish().unwrap_or_default();
    assert_eq!(summary.spans, spans, "every span has a row");
    summary
}

/// Whether a file ends within a message.
fn is_cut(path: &Path, contents: Contents) -> Result<bool> {
    let is_cut = contents.cut || contents.failure.as_ref().is_some_and(json::is_cut);
    if let Some(failure) = contents.failure.filter(|_| !is_cut) {
        return Err(at(path)(failure));
    }
    if contents.traces > 0 {
        return Ok(is_cut);
    }
    let nothing = if is_cut { "it ends within the first one" } else { "it holds none" };
    let why = contents.wrong.unwrap_or_else(|| nothing.to_owned());
    Err(Error::Usage(format!("{}: no traces of Jaeger or OTLP: {why}", path.display())))
}
