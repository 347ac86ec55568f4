//! A batch of `spans`, as counting needs it.

use datafusion::arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::DataType;

use super::Metric;
use super::baseline::Baseline;
use super::groups::Coded;
use crate::error::{Error, Result};
use crate::tables::columns::typed;
use crate::tables::outcome::{Failure, Outcome};
use crate::tables::spans::ANSWERING;

/// What counting needs of a span.
pub struct Span {
    /// Begin, ns since 1970 UTC.
    pub start_ns: i64,
    /// Duration, ns.
    pub duration_ns: i64,
    /// It came to its end, however bad.
    pub completed: bool,
    /// The bad thing about it that is worst.
    pub failed: Option<Metric>,
    /// It took longer than the ordinary ones of its class.
    pub slow: bool,
    /// Ordinary median of its class, ns.
    pub median_ns: i64,
}

/// The columns of a batch of `spans` that are counted.
pub struct Rows {
    connection_id: Int64Array,
    kind: StringViewArray,
    operation: StringViewArray,
    route: StringViewArray,
    target: StringViewArray,
    outcome: StringViewArray,
    start_ns: Int64Array,
    duration_ns: Int64Array,
}

impl Rows {
    /// From a batch with `connection_id`, `kind`, `operation`, `route`, `target`, `outcome`, `start_ns` and `duration_ns`.
    pub fn new(batch: &RecordBatch) -> Result<Rows> {
        let number =
            |name| Ok::<Int64Array, Error>(typed(batch, name, &DataType::Int64)?.as_primitive().clone());
        let text = |name| {
            Ok::<StringViewArray, Error>(typed(batch, name, &DataType::Utf8View)?.as_string_view().clone())
        };
        Ok(Rows {
            connection_id: number("connection_id")?,
            kind: text("kind")?,
            operation: text("operation")?,
            route: text("route")?,
            target: text("target")?,
            outcome: text("outcome")?,
            start_ns: number("start_ns")?,
            duration_ns: number("duration_ns")?,
        })
    }

    /// Rows of the batch.
    pub fn len(&self) -> usize {
        self.kind.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row's span is the answering side's.
    pub fn is_server(&self, row: usize) -> bool {
        ANSWERING.contains(&self.kind.value(row))
    }

    /// What a row's request asks for, empty where it is not known.
    pub fn operation(&self, row: usize) -> &str {
        if self.operation.is_valid(row) { self.operation.value(row) } else { "" }
    }

    /// What it is asked of, by the route where there is one, empty where it is not known.
    pub fn target(&self, row: usize) -> &str {
        let column = self.target_column(row);
        if column.is_valid(row) { column.value(row) } else { "" }
    }

    /// The views of both, by which equal texts of one batch are told without reading them.
    pub fn views(&self, row: usize) -> (u128, u128) {
        let view = |column: &StringViewArray| if column.is_valid(row) { column.views()[row] } else { 0 };
        (view(&self.operation), view(self.target_column(row)))
    }

    fn target_column(&self, row: usize) -> &StringViewArray {
        if self.route.is_valid(row) { &self.route } else { &self.target }
    }

    /// The rows whose connection is known, with what they were coded as.
    pub fn coded<'a>(&self, coded: &'a [Option<Coded>]) -> impl Iterator<Item = (usize, Coded)> + use<'a> {
        coded.iter().enumerate().filter_map(|(row, coded)| Some((row, (*coded)?)))
    }

    /// Begin of a row's span, ns since 1970 UTC.
    pub fn start_ns(&self, row: usize) -> i64 {
        self.start_ns.value(row)
    }

    /// Duration of a row's span, ns.
    pub fn duration_ns(&self, row: usize) -> i64 {
        self.duration_ns.value(row)
    }

    /// Connection of a row's span.
    pub fn connection_id(&self, row: usize) -> i64 {
        self.connection_id.value(row)
    }

    /// What counting needs of a row.
    pub fn span(&self, row: usize, ordinary: Baseline) -> Span {
        let duration_ns = self.duration_ns.value(row);
        let outcome = Outcome::of(self.outcome.value(row));
        let failed = outcome.and_then(Outcome::failure).map(|failure| match failure {
            Failure::GaveUp => Metric::ClientClosed,
            Failure::Failed => Metric::Errors,
        });
        Span {
            start_ns: self.start_ns.value(row),
            duration_ns,
            completed: outcome.is_none_or(Outcome::is_known),
            failed,
            slow: outcome != Some(Outcome::Lost) && duration_ns > ordinary.slow_ns,
            median_ns: ordinary.median_ns,
        }
    }
}
