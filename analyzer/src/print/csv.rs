//! CSV after RFC 4180 with a header. Null is an empty field, an empty text is `""`. A text that a spreadsheet would take
//! for a formula has a `'` before it.

use std::io::Write;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::RowWriter;
use super::table::plain_cells;
use crate::error::{Error, Result};
use crate::text::harmless;

pub struct CsvWriter<W: Write> {
    out: W,
}

impl<W: Write> CsvWriter<W> {
    pub fn new(schema: &SchemaRef, mut out: W) -> Result<CsvWriter<W>> {
        let names: Vec<String> = schema.fields().iter().map(|f| quoted(&harmless(f.name()))).collect();
        writeln!(out, "{}", names.join(",")).map_err(Error::Output)?;
        Ok(CsvWriter { out })
    }
}

impl<W: Write> RowWriter for CsvWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(|c| plain_cells(c, "")).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let mut line = String::new();
            for (cells, column) in columns.iter().zip(batch.columns()) {
                if !line.is_empty() || !std::ptr::eq(cells, &columns[0]) {
                    line.push(',');
                }
                if !column.is_null(row) {
                    let cell = &cells[row];
                    let formula = is_text(column.data_type()) && cell.starts_with(['=', '+', '-', '@']);
                    line.push_str(&if formula { quoted(&format!("'{cell}")) } else { quoted(cell) });
                }
            }
            writeln!(self.out, "{line}").map_err(Error::Output)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.flush().map_err(Error::Output)
    }
}

/// What a client on the network may have written.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => true,
        _ => false,
    }
}

fn quoted(cell: &str) -> String {
    if cell.is_empty() || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn texts_are_no_formulas_and_numbers_stay_numbers() {
        let agents: ArrayRef = Arc::new(StringArray::from(vec!["=cmd|' /C calc'!A0", "@x,", "curl/8"]));
        let shifts: ArrayRef = Arc::new(Int64Array::from(vec![-3, 0, 4]));
        let batch = RecordBatch::try_from_iter([("user_agent", agents), ("shift_ns", shifts)]).unwrap();
        let mut out = Vec::new();
        CsvWriter::new(&batch.schema(), &mut out).unwrap().write(&batch).unwrap();
        let lines = ["user_agent,shift_ns", "'=cmd|' /C calc'!A0,-3", "\"'@x,\",0", "curl/8,4", ""];
        assert_eq!(String::from_utf8(out).unwrap(), lines.join("\n"));
    }
}
