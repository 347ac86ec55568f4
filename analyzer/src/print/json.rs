//! One JSON object a line; nulls are written out, bytes as text (`\xNN` for what is not printable ASCII).

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;

use super::table::binary;
use super::{RowWriter, arrow};
use crate::error::{Error, Result};
use crate::text::{acts, bytes_as_text};

pub struct JsonWriter<W: Write> {
    out: W,
}

impl<W: Write> JsonWriter<W> {
    pub fn new(out: W) -> JsonWriter<W> {
        JsonWriter { out }
    }
}

impl<W: Write> RowWriter for JsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut lines = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, LineDelimited>(&mut lines);
        writer.write(&bytes_to_text(batch)?).and_then(|()| writer.finish()).map_err(arrow)?;
        drop(writer);
        self.out.write_all(escaped(&lines).as_bytes()).map_err(Error::Output)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.flush().map_err(Error::Output)
    }
}

fn bytes_to_text(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let text = binary(column)?.map(|bytes| {
            let texts = bytes.as_binary::<i32>().iter().map(|value| value.map(bytes_as_text));
            Arc::new(texts.collect::<StringArray>()) as ArrayRef
        });
        let column = text.unwrap_or_else(|| column.clone());
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(arrow)
}

/// JSON lets DEL, C1 controls and direction marks stand as they are; a terminal acts on them. Outside of
/// strings there are none, so each may become its `\u` escape.
fn escaped(lines: &[u8]) -> String {
    let text = String::from_utf8_lossy(lines);
    if !text.chars().any(|c| c != '\n' && acts(c)) {
        return text.into_owned();
    }
    let mut safe = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if c == '\n' || !acts(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_reads_back() {
        let hostile = "a\u{7f}\u{9b}\u{202e}\u{e0001}\n\"\\\x1b";
        let texts = Arc::new(StringArray::from(vec![Some(hostile), None])) as ArrayRef;
        let batch = RecordBatch::try_from_iter_with_nullable([("path", texts, true)]).unwrap();
        let mut out = Vec::new();
        JsonWriter::new(&mut out).write(&batch).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && acts(c)), "{text:?}");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["path"], hostile);
        assert!(lines[1]["path"].is_null());
    }
}
