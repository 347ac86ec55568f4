//! The steps from a span of a file to rows, and what is between them.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use retrospan_formats::error::CaptureError;
use retrospan_formats::rows::{Row, Writer};
use retrospan_formats::table::{MOST_NS, Table};
use retrospan_formats::tables::{ImportedResourceRow, ImportedSpanRow, ProcessRow};
use retrospan_protocols::redact::Payload;
use retrospan_protocols::semconv::SCOPE;

use crate::assembly::hex;
use crate::error::{Error, Result};
use crate::import::traces::attributes::Keeping;
use crate::import::traces::resources::{Resource, Resources};
use crate::import::traces::seen::Seen;
use crate::import::traces::skipped::Skipped;
use crate::import::traces::span::{Attributes, Span, Status, Value};
use crate::import::traces::summary::Summary;

/// No span is older: 2000-01-01 UTC.
const EARLIEST_NS: i64 = 946_684_800_000_000_000;
/// A capture has at most 400 days; which of them is told by the first span.
const REACH_NS: i64 = 199 * 24 * 3600 * 1_000_000_000;

/// Takes rows: an error stops the import.
pub type RowSink<'a> = &'a mut dyn FnMut(&'static Table, RecordBatch) -> Result<()>;

/// No more is wanted: [`Steps::finish`] tells why.
#[derive(Clone, Copy, Debug)]
pub struct Stopped;

/// The steps, and what is between them.
pub struct Steps<'a> {
    keeping: Keeping,
    resources: Resources,
    seen: Seen,
    spans: Writer<ImportedSpanRow<'static>>,
    made_by: Writer<ImportedResourceRow<'static>>,
    processes: Writer<ProcessRow<'static>>,
    first_ns: Option<i64>,
    summary: Summary,
    sink: RowSink<'a>,
    failed: Option<Error>,
}

impl<'a> Steps<'a> {
    /// Nothing is read yet.
    pub fn new(payload: Payload, sink: RowSink<'a>) -> Steps<'a> {
        Steps {
            keeping: Keeping::new(payload),
            resources: Resources::default(),
            seen: Seen::default(),
            spans: Writer::new(),
            made_by: Writer::new(),
            processes: Writer::new(),
            first_ns: None,
            summary: Summary::default(),
            sink,
            failed: None,
        }
    }

    /// Who makes the spans that follow.
    pub fn resource(&mut self, attributes: &Attributes) -> Resource {
        Resource::new(attributes, &mut self.keeping)
    }

    /// Takes in a span.
    pub fn span(&mut self, resource: &Resource, mut span: Span) -> std::result::Result<(), Stopped> {
        if self.failed.is_some() {
            return Err(Stopped);
        }
        let (start_ns, end_ns) = match self.times(&span) {
            Ok(times) => times,
            Err(why) => {
                self.summary.skipped(why, 1);
                return Ok(());
            }
        };
        if !self.seen.is_new(span.trace_id, span.span_id) {
            self.summary.repeated += 1;
            return Ok(());
        }
        let (process_id, is_new) = self.resources.id(resource);
        if is_new {
            self.made_by.push(&resource.row(process_id));
            resource.process(process_id, start_ns).iter().for_each(|row| self.processes.push(row));
        }
        if let Some(scope) = span.scope.take().filter(|scope| !scope.is_empty()) {
            span.attributes.push((SCOPE.to_owned(), Value::Text(scope)));
        }
        let name = self.keeping.name(&span.name).into_owned();
        self.spans.push(&ImportedSpanRow {
            boot_ns: start_ns,
            duration_ns: end_ns - start_ns,
            trace_id: &hex::trace_id(span.trace_id),
            span_id: &hex::span_id(span.span_id),
            parent_span_id: (span.parent_span_id != 0).then(|| hex::span_id(span.parent_span_id)).as_deref(),
            kind: span.kind.name(),
            name: &name,
            status: span.status.map(Status::name),
            process_id,
            attributes: self.keeping.json(&span.attributes),
        });
        self.count(start_ns, end_ns);
        let is_full = self.spans.is_full() || self.made_by.is_full();
        if is_full { self.flush().map_err(|error| self.fail(error)) } else { Ok(()) }
    }

    /// Counts what is not in the capture.
    pub fn skipped(&mut self, why: Skipped, many: u64) {
        self.summary.skipped(why, many);
    }

    /// Something failed that no further reading mends.
    pub fn fail(&mut self, error: Error) -> Stopped {
        self.failed.get_or_insert(error);
        Stopped
    }

    /// Whether [`Steps::fail`] was called.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// What was read so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// What stopped it.
    pub fn finish(mut self) -> Result<Summary> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.flush()?;
        self.summary.services = self.resources.services();
        self.summary.left_out = self.keeping.left_out;
        Ok(self.summary)
    }

    fn times(&mut self, span: &Span) -> std::result::Result<(i64, i64), Skipped> {
        if span.trace_id == 0 || span.span_id == 0 {
            return Err(Skipped::NoId);
        }
        let can_be = |ns: &i64| (EARLIEST_NS..MOST_NS).contains(ns);
        let start_ns = span.start_ns.filter(can_be).ok_or(Skipped::NoTime)?;
        let end_ns = span.end_ns.filter(|end_ns| *end_ns >= start_ns).ok_or(Skipped::EndsBefore)?;
        let first_ns = self.first_ns.unwrap_or(start_ns);
        let reach = first_ns - REACH_NS..=first_ns + REACH_NS;
        if !can_be(&end_ns) || !reach.contains(&start_ns) || !reach.contains(&end_ns) {
            return Err(Skipped::TooFar);
        }
        self.first_ns = Some(first_ns);
        Ok((start_ns, end_ns))
    }

    fn count(&mut self, start_ns: i64, end_ns: i64) {
        self.summary.spans += 1;
        let (from_ns, to_ns) = self.summary.range_ns.unwrap_or((start_ns, end_ns));
        self.summary.range_ns = Some((from_ns.min(start_ns), to_ns.max(end_ns)));
    }

    fn flush(&mut self) -> Result<()> {
        hand_out(&mut self.processes, self.sink)?;
        hand_out(&mut self.made_by, self.sink)?;
        hand_out(&mut self.spans, self.sink)
    }
}

fn hand_out<R: Row>(rows: &mut Writer<R>, sink: RowSink<'_>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let reason = |error: ArrowError| {
        Error::Capture(CaptureError::Table { path: PathBuf::from(R::TABLE.name), reason: error.to_string() })
    };
    sink(R::TABLE, rows.take().map_err(reason)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_NS: i64 = 1_790_000_000_000_000_000;

    fn span(id: u64, start_ns: i64, end_ns: i64) -> Span {
        Span { trace_id: 1, span_id: id, start_ns: Some(start_ns), end_ns: Some(end_ns), ..Span::default() }
    }

    #[test]
    fn what_cannot_be_is_counted_by_reason() {
        let mut rows = 0;
        let mut sink = |table: &'static Table, batch: RecordBatch| {
            rows += if table.name == "imported_spans" { batch.num_rows() } else { 0 };
            Ok(())
        };
        let mut steps = Steps::new(Payload::Heads, &mut sink);
        let resource = steps.resource(&Vec::new());
        let given = [
            span(1, NOW_NS, NOW_NS + 5),
            span(1, NOW_NS, NOW_NS + 5),
            span(0, NOW_NS, NOW_NS),
            Span { trace_id: 0, ..span(2, NOW_NS, NOW_NS) },
            Span { start_ns: None, ..span(3, 0, NOW_NS) },
            span(4, 1, NOW_NS),
            span(5, NOW_NS, NOW_NS - 1),
            Span { end_ns: None, ..span(6, NOW_NS, 0) },
            span(7, NOW_NS, NOW_NS + 2 * REACH_NS),
            span(8, NOW_NS - REACH_NS - 1, NOW_NS),
            span(9, i64::MAX - 1, i64::MAX),
            span(10, NOW_NS, i64::MAX),
            span(11, NOW_NS - 7, NOW_NS),
        ];
        given.into_iter().for_each(|span| steps.span(&resource, span).expect("it goes on"));
        let summary = steps.finish().expect("a summary");
        assert_eq!(
            (summary.spans, summary.repeated, summary.range_ns),
            (2, 1, Some((NOW_NS - 7, NOW_NS + 5)))
        );
        let counts = Skipped::ALL.map(|why| summary.of(why));
        assert_eq!(counts, [2, 3, 2, 3, 0, 0]);
        assert_eq!(rows, 2);
    }

    #[test]
    fn what_fails_stops_it() {
        let mut sink = |_: &'static Table, _: RecordBatch| Err(Error::Usage("full".to_owned()));
        let mut steps = Steps::new(Payload::Heads, &mut sink);
        let resource = steps.resource(&Vec::new());
        let stopped = (1..100_000).find(|&id| steps.span(&resource, span(id, NOW_NS, NOW_NS)).is_err());
        assert!(stopped.is_some() && steps.has_failed());
        assert_eq!(steps.finish().expect_err("why").to_string(), "full");
    }
}
