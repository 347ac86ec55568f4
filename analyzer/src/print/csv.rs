//! CSV after RFC 4180 with a header. Null is an empty field, an empty text is `""`.

use std::io::Write;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;

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
                    line.push_str(&quoted(&cells[row]));
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

fn quoted(cell: &str) -> String {
    if cell.is_empty() || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
