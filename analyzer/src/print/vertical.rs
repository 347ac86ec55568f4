//! One column a line, for rows that are wider than any window.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

use super::table::{Limits, cells, heading};
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
        let room = self.limits.rows.map_or(batch.num_rows(), |most| most.saturating_sub(self.rows));
        let shown = batch.slice(0, room.min(batch.num_rows()));
        let mut columns = Vec::new();
        for (index, column) in shown.columns().iter().enumerate() {
            columns.push(cells(column, self.style.meaning(index), self.style.utc_offset_s)?);
        }
        for row in 0..shown.num_rows() {
            self.rows += 1;
            let cells: Vec<String> =
                columns.iter_mut().map(|column| std::mem::take(&mut column[row])).collect();
            self.row(&cells).map_err(Error::Output)?;
        }
        self.rows += batch.num_rows() - shown.num_rows();
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
