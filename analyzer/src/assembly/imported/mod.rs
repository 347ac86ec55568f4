//! Spans that others recorded in, rows of the derived tables out: what a recording shows of sockets is told here by the
//! spans themselves.
//!
//! Two passes. The first reads what relates spans to each other: ids, times, makers ([`family`]), and the ends that they
//! name ([`ends`], [`links`]); 130 bytes or so of each span stay in memory. The second makes a row of each ([`rows`]), in
//! the order of the files, and then one of each pair of ends and of each trace ([`totals`]).

mod attributes;
mod ends;
mod family;
mod links;
mod rows;
#[cfg(test)]
mod tests;
mod totals;

use retrospan_formats::reader::Capture;
use retrospan_formats::tables::{IMPORTED_SPANS, ImportedSpanRow};

use crate::assembly::imported::ends::{Ends, Names};
use crate::assembly::imported::family::{Family, Node};
use crate::assembly::imported::links::Links;
use crate::assembly::imported::rows::Rows;
use crate::assembly::imported::totals::Totals;
use crate::assembly::output::{AssembleError, Batches, Output};
use crate::assembly::summary::Summary;
use crate::tables::dimensions::{self, Dimensions};

/// Whether the spans of a capture were imported.
pub fn is_of_traces(capture: &Capture) -> bool {
    !capture.files(IMPORTED_SPANS.name).is_empty()
}

/// Reads the whole capture; batches of the derived tables go to `batches` as they are ready.
pub(super) fn assemble(capture: &Capture, batches: Batches) -> Result<Summary, AssembleError> {
    let dimensions = dimensions::read(capture)?;
    let (nodes, ends, names) = related(capture)?;
    let family = Family::new(nodes);
    let links = Links::new(&family, &ends);
    drop(ends);
    let mut output = Output::new(false, batches);
    let mut totals = Totals::new(&family);
    write(capture, &family, &links, (&names, &dimensions), &mut totals, &mut output)?;
    let mut summary = Summary { spans: family.nodes.len() as u64, ..Summary::default() };
    for row in 0..links.list.len() {
        rows::connection(&mut output.connections, &links, row, (&names, &dimensions));
        summary.connections += 1;
        output.flush(false)?;
    }
    totals.each(&family, &dimensions, |row| {
        output.traces.push(row);
        summary.traces += 1;
        output.flush(false)
    })?;
    output.flush(true)?;
    Ok(summary)
}

/// What relates spans to each other, in the order of the rows.
fn related(capture: &Capture) -> Result<(Vec<Node>, Vec<Ends>, Names), AssembleError> {
    let (mut nodes, mut ends, mut names) = (Vec::new(), Vec::new(), Names::default());
    for rows in capture.rows::<ImportedSpanRow>() {
        for row in rows?.iter() {
            let node = Node::of(&row);
            ends.push(Ends::of(&row, node.kind, &mut names));
            nodes.push(node);
        }
    }
    Ok((nodes, ends, names))
}

fn write(
    capture: &Capture,
    family: &Family,
    links: &Links,
    (names, dimensions): (&Names, &Dimensions),
    totals: &mut Totals,
    output: &mut Output,
) -> Result<(), AssembleError> {
    let rows = Rows { family, links, names, dimensions };
    let mut place = 0;
    for batch in capture.rows::<ImportedSpanRow>() {
        for row in batch?.iter() {
            // As many as there were before: files of a capture do not change.
            if place < family.nodes.len() {
                rows.span(&mut output.spans, place, &row, totals);
            }
            place += 1;
            output.flush(false)?;
        }
    }
    Ok(())
}
