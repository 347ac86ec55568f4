//! What assembly made of a capture, as text by column.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use retrospan_analyzer::assembly::{Options, Summary, assemble};
use retrospan_formats::reader::Capture;

use super::socket_id;

/// A written capture.
pub struct Recorded {
    pub capture: Capture,
    pub folder: tempfile::TempDir,
}

impl Recorded {
    pub fn assembled(&self) -> Assembled {
        let mut tables: BTreeMap<&'static str, Vec<Cells>> = BTreeMap::new();
        let summary =
            assemble(&self.capture, &Options::default(), &AtomicU64::new(0), &mut |table, batch| {
                tables.entry(table.name).or_default().extend(cells(&batch));
                Ok(())
            });
        Assembled { tables, summary: summary.expect("a capture that assembles") }
    }
}

/// A row as text by column; null is absent.
pub type Cells = BTreeMap<String, String>;

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub struct Assembled {
    pub tables: BTreeMap<&'static str, Vec<Cells>>,
    pub summary: Summary,
}

impl Assembled {
    pub fn rows(&self, table: &str) -> &[Cells] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// Spans by start.
    pub fn spans(&self) -> Vec<&Cells> {
        let mut spans: Vec<_> = self.rows("spans").iter().collect();
        spans.sort_by_key(|span| (span["start_time"].clone(), span["socket_id"].clone()));
        spans
    }

    /// What a span waited for connections, in order.
    pub fn waits(&self, parent: &Cells) -> Vec<&Cells> {
        let is_child = |span: &&Cells| span.get("parent_span_id") == Some(&parent["span_id"]);
        self.spans().into_iter().filter(|span| span["kind"] == "internal").filter(is_child).collect()
    }

    /// Requests of one socket, in order.
    pub fn of(&self, socket: usize) -> Vec<&Cells> {
        let id = socket_id(socket).to_string();
        let is_of = |span: &&Cells| span["socket_id"] == id && span["kind"] != "internal";
        self.spans().into_iter().filter(is_of).collect()
    }

    /// The only request of a socket.
    pub fn only(&self, socket: usize) -> &Cells {
        let spans = self.of(socket);
        assert_eq!(spans.len(), 1, "spans of socket {socket}: {spans:#?}");
        spans[0]
    }
}

/// One line of the named columns of a span, `-` for null.
pub fn line(span: &Cells, columns: &[&str]) -> String {
    let cell = |column: &&str| span.get(*column).map_or("-", String::as_str).to_owned();
    columns.iter().map(cell).collect::<Vec<_>>().join(" ")
}

fn cells(batch: &RecordBatch) -> Vec<Cells> {
    let options = FormatOptions::default();
    let schema = batch.schema();
    let mut rows = vec![Cells::new(); batch.num_rows()];
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        // Times as numbers: printing them needs a database of time zones.
        let time = matches!(field.data_type(), DataType::Timestamp(_, _));
        let column = if time { cast(column, &DataType::Int64).expect("a time") } else { column.clone() };
        let formatter = ArrayFormatter::try_new(&column, &options).expect("a printable column");
        for (index, row) in rows.iter_mut().enumerate() {
            if !column.is_null(index) {
                row.insert(field.name().clone(), formatter.value(index).to_string());
            }
        }
    }
    rows
}
