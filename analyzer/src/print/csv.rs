//! CSV after RFC 4180 with a header; lines end with LF. Null is an empty field, an empty text is `""`. Texts with a line end, a
//! comma, a quote or blanks at an end are quoted, and keep all of them; lists, structs and maps are JSON. A text that a
//! spreadsheet would take for a formula has a `'` before it. On a terminal line ends within texts are escaped too.

use std::io::Write;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::table::texts;
use super::{RowWriter, json};
use crate::error::{Error, Result};
use crate::text::{escape_controls, harmless_lines};

pub struct CsvWriter<W: Write> {
    out: W,
    to_terminal: bool,
}

impl<W: Write> CsvWriter<W> {
    pub fn new(schema: &SchemaRef, mut out: W, to_terminal: bool) -> Result<CsvWriter<W>> {
        let names: Vec<String> = schema.fields().iter().map(|f| text(f.name(), to_terminal)).collect();
        writeln!(out, "{}", names.join(",")).map_err(Error::Output)?;
        Ok(CsvWriter { out, to_terminal })
    }

    fn cells(&self, column: &ArrayRef) -> Result<Vec<String>> {
        let (ty, to_terminal) = (column.data_type(), self.to_terminal);
        let cells = if ty.is_nested() { json::values(column)? } else { texts(column)? };
        let cell = |cell: Option<String>| match cell {
            None => String::new(),
            Some(cell) if is_text(ty) => text(&cell, to_terminal),
            Some(cell) => quoted(&escape_controls(&cell)),
        };
        Ok(cells.into_iter().map(cell).collect())
    }
}

impl<W: Write> RowWriter for CsvWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(|c| self.cells(c)).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let line: Vec<&str> = columns.iter().map(|cells| cells[row].as_str()).collect();
            writeln!(self.out, "{}", line.join(",")).map_err(Error::Output)?;
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
        DataType::RunEndEncoded(_, values) => is_text(values.data_type()),
        ty => ty.is_string(),
    }
}

fn text(cell: &str, to_terminal: bool) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let cell = if to_terminal { escape_controls(cell) } else { harmless_lines(cell) };
    if formula { quoted(&format!("'{cell}")) } else { quoted(&cell) }
}

fn quoted(cell: &str) -> String {
    let blank = |c: char| c.is_whitespace();
    if cell.is_empty()
        || cell.contains([',', '"', '\n', '\r'])
        || cell.starts_with(blank)
        || cell.ends_with(blank)
    {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        BinaryArray, Float64Array, Int64Array, ListArray, NullArray, StringArray,
    };
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    fn csv(columns: &[(&str, ArrayRef)], to_terminal: bool) -> String {
        let columns = columns.iter().map(|(name, column)| (*name, column.clone(), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut out = Vec::new();
        CsvWriter::new(&batch.schema(), &mut out, to_terminal).unwrap().write(&batch).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_no_formulas_and_numbers_stay_numbers() {
        let agents: ArrayRef = Arc::new(StringArray::from(vec!["=cmd|' /C calc'!A0", "@x,", "curl/8"]));
        let shifts: ArrayRef = Arc::new(Int64Array::from(vec![-3, 0, 4]));
        let lines = ["user_agent,shift_ns", "'=cmd|' /C calc'!A0,-3", "\"'@x,\",0", "curl/8,4", ""];
        assert_eq!(csv(&[("user_agent", agents), ("shift_ns", shifts)], false), lines.join("\n"));
    }

    #[test]
    fn nulls_empty_texts_and_line_ends_come_back() {
        let nothing: ArrayRef = Arc::new(NullArray::new(5));
        let texts = vec![None, Some(""), Some("a\r\nb\tc"), Some(" d\x1b"), Some("NULL")];
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let columns = [("n", nothing), ("t", texts)];
        assert_eq!(csv(&columns, false), "n,t\n,\n,\"\"\n,\"a\r\nb\tc\"\n,\" d\\x1b\"\n,NULL\n");
        assert!(csv(&columns, true).contains("\n,a\\r\\nb\\tc\n"));
    }

    #[test]
    fn lists_are_json_and_bytes_text() {
        let lists = vec![Some(vec![Some(1), None]), None];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\r\n\\"), None]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY]));
        let text = csv(&[("l", lists), ("b", bytes), ("f", numbers)], false);
        assert_eq!(text, "l,b,f\n\"[1,null]\",\\x0d\\x0a\\x5c,NaN\n,,-inf\n");
    }
}
