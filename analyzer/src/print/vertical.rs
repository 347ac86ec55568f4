//! One column a line, for rows that are wider than any window.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::table::{Limits, heading};
use super::{RowWriter, Style};
use crate::error::{Error, Result};
use crate::terminal::width;

pub struct VerticalWriter<W: Write> {
    out: W,
    names: Vec<String>,
    widest: usize,
    style: Style,
    limits: Limits,
    rows: usize,
}

impl<W: Write> VerticalWriter<W> {
    pub fn new(schema: &SchemaRef, style: Style, limits: Limits, out: W) -> VerticalWriter<W> {
        let names: Vec<String> = (0..schema.fields().len()).map(|c| heading(schema, &style, c)).collect();
        let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
        VerticalWriter { out, names, widest, style, limits, rows: 0 }
    }

    fn row(&mut self, cells: &[String]) -> std::io::Result<()> {
        writeln!(self.out, "-- row {}", self.rows)?;
        for (name, cell) in self.names.iter().zip(cells) {
            let pad = " ".repeat(self.widest - width(name));
            writeln!(self.out, "{}", format!("{name}{pad}  {cell}").trim_end())?;
        }
        writeln!(self.out)
    }
}

impl<W: Write> RowWriter for VerticalWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let before = self.rows;
        for cells in self.limits.shown(batch, before, &self.style)? {
            self.rows += 1;
            self.row(&cells).map_err(Error::Output)?;
        }
        self.rows = before + batch.num_rows();
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.limits.is_enough(self.rows)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if let Some(line) = self.limits.left_out(self.rows, &[]) {
            writeln!(self.out, "{line}").map_err(Error::Output)?;
        }
        self.out.flush().map_err(Error::Output)
    }
}
