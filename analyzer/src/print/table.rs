//! Columns lined up for people: names, a rule, rows.
//!
//! Widths are those of the first rows; later rows that are wider push their line out rather than hold
//! everything in memory.

use std::io::Write;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampNanosecondType,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Meaning, RowWriter, Style, arrow};
use crate::error::{Error, Result};
use crate::text;

/// Rows that are looked at before the widths are fixed.
const MEASURED_ROWS: usize = 2_000;

pub struct TableWriter<W: Write> {
    out: W,
    schema: SchemaRef,
    style: Style,
    held: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl<W: Write> TableWriter<W> {
    pub fn new(schema: SchemaRef, style: Style, out: W) -> TableWriter<W> {
        TableWriter { out, schema, style, held: Vec::new(), widths: None }
    }

    /// Fixes the widths and writes the head and the rows held so far.
    fn release(&mut self) -> Result<()> {
        let names: Vec<String> = (0..self.schema.fields().len()).map(|c| self.heading(c)).collect();
        let mut widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
        for row in &self.held {
            for (cell, widest) in row.iter().zip(&mut widths) {
                *widest = (*widest).max(width(cell));
            }
        }
        let rule: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
        self.widths = Some(widths);
        if !names.is_empty() {
            self.line(&names)?;
            self.line(&rule)?;
        }
        for row in std::mem::take(&mut self.held) {
            self.line(&row)?;
        }
        Ok(())
    }

    /// A column whose numbers are shown with a unit loses the unit from its name.
    fn heading(&self, column: usize) -> String {
        let name = text::escape_controls(self.schema.field(column).name());
        let unit = match self.style.meaning(column) {
            Meaning::Duration => "_ns",
            Meaning::Bytes => "_bytes",
            Meaning::Plain | Meaning::Ratio => return name,
        };
        name.strip_suffix(unit).map_or(name.clone(), str::to_owned)
    }

    fn line(&mut self, cells: &[String]) -> Result<()> {
        let widths = self.widths.as_deref().unwrap_or_default();
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let pad = widths.get(column).map_or(0, |w| w.saturating_sub(width(cell)));
            let blank = " ".repeat(pad);
            if column > 0 {
                line.push_str("  ");
            }
            if self.schema.field(column).data_type().is_numeric() {
                line.push_str(&blank);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&blank);
            }
        }
        writeln!(self.out, "{}", line.trim_end()).map_err(Error::Output)
    }
}

impl<W: Write> RowWriter for TableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = Vec::new();
        for (index, column) in batch.columns().iter().enumerate() {
            columns.push(cells(column, self.style.meaning(index), self.style.utc_offset_s)?);
        }
        for row in 0..batch.num_rows() {
            let line: Vec<String> =
                columns.iter_mut().map(|column| std::mem::take(&mut column[row])).collect();
            if self.widths.is_some() {
                self.line(&line)?;
            } else {
                self.held.push(line);
            }
        }
        if self.widths.is_none() && self.held.len() >= MEASURED_ROWS {
            self.release()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.widths.is_none() {
            self.release()?;
        }
        self.out.flush().map_err(Error::Output)
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A column's cells as a person reads them.
fn cells(column: &ArrayRef, meaning: Meaning, offset_s: i32) -> Result<Vec<String>> {
    let with_unit = with_unit(column, meaning, offset_s)?;
    if with_unit.iter().all(Option::is_some) {
        return Ok(with_unit.into_iter().flatten().collect());
    }
    let plain =
        texts(column)?.into_iter().map(|cell| cell.map_or("null".to_owned(), |t| text::escape_controls(&t)));
    Ok(with_unit.into_iter().zip(plain).map(|(shown, plain)| shown.unwrap_or(plain)).collect())
}

/// Times in the host's zone and numbers that have a unit; nothing for other cells, for nulls, and for values beyond
/// what 64 bits of nanoseconds or of anything else hold.
fn with_unit(column: &ArrayRef, meaning: Meaning, offset_s: i32) -> Result<Vec<Option<String>>> {
    Ok(match (column.data_type(), meaning) {
        (DataType::Timestamp(_, Some(_)), _) => {
            let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
            let times = cast(column, &utc).map_err(arrow)?;
            let times = times.as_primitive::<TimestampNanosecondType>().iter();
            times.map(|ns| ns.map(|ns| text::time(ns, offset_s, 9))).collect()
        }
        (ty, Meaning::Duration | Meaning::Bytes) if ty.is_numeric() => {
            let numbers = cast(column, &DataType::Int64).map_err(arrow)?;
            let name = |n: i64| match meaning {
                Meaning::Duration => text::duration(n),
                _ => text::size(n.max(0).unsigned_abs()),
            };
            numbers.as_primitive::<Int64Type>().iter().map(|n| n.map(name)).collect()
        }
        (ty, Meaning::Ratio) if ty.is_numeric() => {
            let numbers = cast(column, &DataType::Float64).map_err(arrow)?;
            let numbers = numbers.as_primitive::<Float64Type>().iter();
            numbers.map(|n| n.map(|n| format!("{:.1} %", n * 100.0))).collect()
        }
        _ => vec![None; column.len()],
    })
}

/// A column's cells as text, none where there is no value; bytes as [`text::bytes_as_text`] writes them.
pub fn texts(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    if let Some(bytes) = binary(column)? {
        return Ok(bytes.as_binary::<i32>().iter().map(|value| value.map(text::bytes_as_text)).collect());
    }
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(arrow)?;
    // Columns of nulls alone and dictionaries have nulls that no bitmap of theirs shows.
    let nulls = column.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let cell = |row| (!is_null(row)).then(|| formatter.value(row).try_to_string().map_err(arrow)).transpose();
    (0..column.len()).map(cell).collect()
}

/// The column as `Binary`, where it holds bytes.
fn binary(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    match column.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            cast(column, &DataType::Binary).map(Some).map_err(arrow)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        DictionaryArray, Int32Array, Int64Array, NullArray, StringArray, TimestampNanosecondArray,
        TimestampSecondArray,
    };
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn numbers_right_text_left_and_nothing_acts() {
        let times = TimestampNanosecondArray::from(vec![0, 1]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("time", Arc::new(times) as ArrayRef),
            ("duration_ns", Arc::new(Int64Array::from(vec![Some(1_500_000), None])) as ArrayRef),
            ("path", Arc::new(StringArray::from(vec!["/a\x1b[2J", "/b"])) as ArrayRef),
        ])
        .unwrap();
        let style = Style { utc_offset_s: 3600, meanings: vec![Meaning::Plain, Meaning::Duration] };
        let mut out = Vec::new();
        let mut writer = Box::new(TableWriter::new(batch.schema(), style, &mut out));
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        let expected = "\
time                                 duration  path
-----------------------------------  --------  ---------
1970-01-01 01:00:00.000000000+01:00   1.50 ms  /a\\x1b[2J
1970-01-01 01:00:00.000000001+01:00      null  /b
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Their bitmaps, or casts to nanoseconds, know nothing of it.
    #[test]
    fn nulls_and_far_times_are_what_they_are() {
        let far = TimestampSecondArray::from(vec![Some(32_503_680_000), None]).with_timezone("UTC");
        let texts: DictionaryArray<Int32Type> = DictionaryArray::new(
            Int32Array::from(vec![0, 1]),
            Arc::new(StringArray::from(vec![Some(""), None])),
        );
        let columns: [(ArrayRef, [&str; 2]); 3] = [
            (Arc::new(far), ["3000-01-01T00:00:00Z", "null"]),
            (Arc::new(texts), ["", "null"]),
            (Arc::new(NullArray::new(2)), ["null", "null"]),
        ];
        for (column, expected) in columns {
            assert_eq!(cells(&column, Meaning::Duration, 3600).unwrap(), expected);
        }
    }
}
