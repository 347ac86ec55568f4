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
use crate::tables::outcome::Outcome;
use crate::terminal::{Paint, Terminal, width};
use crate::text;

/// Rows that are looked at before the widths are fixed.
const MEASURED_ROWS: usize = 2_000;

/// Rows that are counted at most, to say how many were left out.
const MOST_COUNTED: usize = 100_000;
/// A text column is never cut to fewer columns of the window.
const LEAST_WIDTH: usize = 12;
/// Columns that are named at most where they do not fit.
const MOST_NAMED: usize = 5;
/// Blanks between columns.
const GAP: usize = 2;

/// How much of a result is shown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows; None for all.
    pub rows: Option<usize>,
    /// Columns of the window; None for any number.
    pub width: Option<usize>,
    /// Where it is shown.
    pub terminal: Terminal,
}

impl Limits {
    /// Whether so many rows need no more.
    pub fn is_enough(&self, rows: usize) -> bool {
        self.rows.is_some() && rows > MOST_COUNTED
    }

    /// The rows of a batch that are shown after so many others, as texts.
    pub fn shown(&self, batch: &RecordBatch, before: usize, style: &Style) -> Result<Vec<Vec<String>>> {
        let room = self.rows.map_or(batch.num_rows(), |most| most.saturating_sub(before));
        let shown = batch.slice(0, room.min(batch.num_rows()));
        let mut columns = Vec::new();
        for (index, column) in shown.columns().iter().enumerate() {
            columns.push(cells(column, style.meaning(index), style.utc_offset_s)?);
        }
        let row = |row: usize| columns.iter_mut().map(|column| std::mem::take(&mut column[row])).collect();
        Ok((0..shown.num_rows()).map(row).collect())
    }

    /// What was left out of so many rows, and how it can be seen; None where nothing was.
    pub fn left_out(&self, rows: usize, columns: &[String]) -> Option<String> {
        let mut left = Vec::new();
        if let Some(most) = self.rows.filter(|most| rows > *most) {
            let more = if self.is_enough(rows) { "more than " } else { "" };
            left.push(format!(
                "the first {most} of {more}{} rows",
                text::count(rows.min(MOST_COUNTED) as u64)
            ));
        }
        if !columns.is_empty() {
            let names = columns.iter().take(MOST_NAMED).map(String::as_str);
            let more = (columns.len() > MOST_NAMED).then_some("...");
            let names = names.chain(more).collect::<Vec<_>>().join(", ");
            left.push(format!("without {} columns ({names})", columns.len()));
        }
        let hint = if columns.is_empty() {
            "--all shows all"
        } else {
            "--format vertical shows every column, --all all rows"
        };
        let line = (!left.is_empty()).then(|| format!("{}: {hint}", left.join(", ")))?;
        Some(self.terminal.paint(Paint::Dim, &self.terminal.wrap(&line, 2)))
    }
}

pub struct TableWriter<W: Write> {
    out: W,
    schema: SchemaRef,
    style: Style,
    limits: Limits,
    /// The column in which a failure is red.
    outcome: Option<usize>,
    held: Vec<Vec<String>>,
    /// Of the columns that are shown, once they are fixed.
    widths: Option<Vec<usize>>,
    rows: usize,
}

impl<W: Write> TableWriter<W> {
    pub fn new(schema: SchemaRef, style: Style, limits: Limits, out: W) -> TableWriter<W> {
        let outcome = schema.index_of("outcome").ok();
        TableWriter { out, schema, style, limits, outcome, held: Vec::new(), widths: None, rows: 0 }
    }

    /// Fixes the widths and writes the head and the rows held so far.
    fn release(&mut self) -> Result<()> {
        let names: Vec<String> =
            (0..self.schema.fields().len()).map(|c| heading(&self.schema, &self.style, c)).collect();
        let of_head = |name: &String| if self.style.without_head { 0 } else { width(name) };
        let mut widths: Vec<usize> = names.iter().map(of_head).collect();
        for row in &self.held {
            for (cell, widest) in row.iter().zip(&mut widths) {
                *widest = (*widest).max(width(cell));
            }
        }
        if let Some(window) = self.limits.width {
            let can_cut = |ty: &DataType| !ty.is_numeric() && !ty.is_temporal();
            let can_cut: Vec<bool> = self.schema.fields().iter().map(|f| can_cut(f.data_type())).collect();
            widths = fitted(&widths, &can_cut, window);
        }
        let rule: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
        self.widths = Some(widths);
        if !names.is_empty() && !self.style.without_head {
            self.head(&names)?;
            self.line(&rule)?;
        }
        for row in std::mem::take(&mut self.held) {
            self.line(&row)?;
        }
        Ok(())
    }

    fn head(&mut self, names: &[String]) -> Result<()> {
        let line = self.lined_up(names);
        let line = self.limits.terminal.paint(Paint::Bold, &line);
        writeln!(self.out, "{line}").map_err(Error::Output)
    }

    fn line(&mut self, cells: &[String]) -> Result<()> {
        let line = self.lined_up(cells);
        writeln!(self.out, "{line}").map_err(Error::Output)
    }

    fn lined_up(&self, cells: &[String]) -> String {
        let mut line = String::new();
        let widths = self.widths.as_deref().unwrap_or_default();
        for (column, (cell, &room)) in cells.iter().zip(widths).enumerate() {
            let cut = self.limits.width.map(|_| self.limits.terminal.cut(cell, room));
            let cell = cut.as_ref().unwrap_or(cell);
            let blank = " ".repeat(room.saturating_sub(width(cell)));
            let has_failed = self.outcome == Some(column) && says_failure(cell);
            let painted = has_failed.then(|| self.limits.terminal.paint(Paint::Red, cell));
            let cell = painted.as_ref().unwrap_or(cell);
            if column > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            if self.schema.field(column).data_type().is_numeric() {
                line.push_str(&blank);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&blank);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl<W: Write> RowWriter for TableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for line in self.limits.shown(batch, self.rows, &self.style)? {
            if self.widths.is_some() {
                self.line(&line)?;
            } else {
                self.held.push(line);
            }
        }
        self.rows += batch.num_rows();
        if self.widths.is_none() && self.held.len() >= MEASURED_ROWS {
            self.release()?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.limits.is_enough(self.rows)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.widths.is_none() {
            self.release()?;
        }
        let shown = self.widths.as_ref().map_or(0, Vec::len);
        let hidden: Vec<String> =
            (shown..self.schema.fields().len()).map(|c| heading(&self.schema, &self.style, c)).collect();
        if let Some(line) = self.limits.left_out(self.rows, &hidden) {
            writeln!(self.out, "{line}").map_err(Error::Output)?;
        }
        self.out.flush().map_err(Error::Output)
    }
}

/// Whether an outcome, which a status may follow, is a failure.
fn says_failure(cell: &str) -> bool {
    let outcome = cell.split(' ').next().and_then(Outcome::of);
    outcome.and_then(Outcome::failure).is_some()
}

/// A column's name; one whose numbers are shown with a unit loses the unit from its name.
pub fn heading(schema: &SchemaRef, style: &Style, column: usize) -> String {
    let name = text::escape_controls(schema.field(column).name());
    let unit = match style.meaning(column) {
        Meaning::Duration => "_ns",
        Meaning::Bytes => "_bytes",
        Meaning::Plain | Meaning::Ratio => return name,
    };
    name.strip_suffix(unit).map_or(name.clone(), str::to_owned)
}

/// Widths with which a line fits the window: texts are cut, the widest first; what does not fit even so is
/// left out at the end. The first column stays.
fn fitted(widths: &[usize], can_cut: &[bool], window: usize) -> Vec<usize> {
    let least = |c: usize| if can_cut[c] { widths[c].min(LEAST_WIDTH) } else { widths[c] };
    let mut shown = 0;
    let mut needed = 0;
    while shown < widths.len() && (shown == 0 || needed + GAP + least(shown) <= window) {
        needed += least(shown) + if shown > 0 { GAP } else { 0 };
        shown += 1;
    }
    let mut fitted = widths[..shown].to_vec();
    let gaps = GAP * shown.saturating_sub(1);
    while fitted.iter().sum::<usize>() + gaps > window {
        let can_shrink = |&c: &usize| fitted[c] > least(c);
        let Some(widest) = (0..shown).filter(can_shrink).max_by_key(|&c| fitted[c]) else { break };
        fitted[widest] -= 1;
    }
    fitted
}

/// A column's cells as a person reads them.
pub fn cells(column: &ArrayRef, meaning: Meaning, offset_s: i32) -> Result<Vec<String>> {
    let with_unit = with_unit(column, meaning, offset_s)?;
    if with_unit.iter().all(Option::is_some) {
        return Ok(with_unit.into_iter().flatten().collect());
    }
    let plain =
        texts(column)?.into_iter().map(|cell| cell.map_or("null".to_owned(), |t| text::escape_controls(&t)));
    Ok(with_unit.into_iter().zip(plain).map(|(shown, plain)| shown.unwrap_or(plain)).collect())
}

/// Times in the host's zone and numbers that have a unit; nothing for other cells, for nulls, and for values
/// beyond what 64 bits of nanoseconds or of anything else hold.
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

    const ALL: Limits = Limits { rows: None, width: None, terminal: Terminal::PLAIN };

    #[test]
    fn numbers_right_text_left_and_nothing_acts() {
        let times = TimestampNanosecondArray::from(vec![0, 1]).with_timezone("UTC");
        let batch = RecordBatch::try_from_iter([
            ("time", Arc::new(times) as ArrayRef),
            ("duration_ns", Arc::new(Int64Array::from(vec![Some(1_500_000), None])) as ArrayRef),
            ("path", Arc::new(StringArray::from(vec!["/a\x1b[2J", "/b"])) as ArrayRef),
        ])
        .unwrap();
        let style = Style {
            utc_offset_s: 3600,
            meanings: vec![Meaning::Plain, Meaning::Duration],
            without_head: false,
        };
        let mut out = Vec::new();
        let mut writer = Box::new(TableWriter::new(batch.schema(), style, ALL, &mut out));
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

    #[test]
    fn a_window_is_never_overrun_and_what_is_missing_is_said() {
        let ids = Int64Array::from_iter_values(1..=100);
        let paths = StringArray::from_iter_values((1..=100).map(|n| format!("/items/{n}/with/a/long/path")));
        let last = StringArray::from_iter_values((0..100).map(|_| "0123456789"));
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(ids) as ArrayRef),
            ("path", Arc::new(paths) as ArrayRef),
            ("more", Arc::new(last) as ArrayRef),
        ])
        .unwrap();
        let shown = |window: usize| {
            let limits = Limits { rows: Some(40), width: Some(window), terminal: Terminal::PLAIN };
            let mut out = Vec::new();
            let mut writer = Box::new(TableWriter::new(batch.schema(), Style::default(), limits, &mut out));
            writer.write(&batch).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = shown(36);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + 40 + 1, "{text}");
        assert!(lines[..42].iter().all(|line| width(line) <= 36), "{text}");
        assert_eq!(lines[2], " 1  /items/1/with/a/lon…  0123456789");
        assert_eq!(lines[42], "the first 40 of 200 rows: --all shows all");
        let narrow = shown(20);
        assert!(narrow.ends_with("of 200 rows, without 1 columns (more): --format vertical shows every column, --all all rows\n"), "{narrow}");
    }

    #[test]
    fn texts_shrink_before_columns_go() {
        assert_eq!(fitted(&[4, 30, 20], &[false, true, true], 60), [4, 30, 20]);
        assert_eq!(fitted(&[4, 30, 20], &[false, true, true], 44), [4, 18, 18]);
        assert_eq!(fitted(&[4, 30, 20], &[false, true, true], 27), [4, 21]);
        assert_eq!(fitted(&[35, 35], &[false, false], 40), [35]);
        assert_eq!(fitted(&[35], &[false], 20), [35], "a number is never cut");
        assert!(fitted(&[], &[], 20).is_empty());
    }
}
