//! Rows to stdout or a file: as a table for people, as CSV, JSON lines or Parquet for programs.
//!
//! Batches are written as they come, so the size of a result does not matter. In a table times are in the
//! recording host's zone and durations have units; all other formats have UTC and plain numbers. In every
//! text format, whatever would act on a terminal is escaped, but for line ends in CSV that goes to a file or
//! a pipe.

mod csv;
mod json;
mod outward;
pub mod pager;
mod parquet;
mod table;
mod vertical;
pub mod writable;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use futures::StreamExt;

use crate::error::{Error, Result, at};
use crate::terminal::{self, Paint};
use crate::text::escape_controls;

pub use outward::plain_name;
use pager::Stdout;
use table::Limits;

/// Rows that a terminal is shown.
const MOST_SHOWN: usize = 40;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns lined up, for people: in a terminal the first rows, as wide as the window.
    Table,
    /// One column a line, for rows with many columns.
    Vertical,
    /// Comma-separated (RFC 4180), with a header; null is an empty field, an empty text `""`.
    Csv,
    /// One object a line.
    Json,
    /// A Parquet file.
    Parquet,
}

/// What the numbers of a column mean to a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// What its type says.
    #[default]
    Plain,
    /// Nanoseconds that passed.
    Duration,
    /// A size in bytes.
    Bytes,
    /// A part of one.
    Ratio,
}

/// What a table for people depends on.
#[derive(Clone, Debug, Default)]
pub struct Style {
    /// The recording host's zone, seconds east of UTC.
    pub utc_offset_s: i32,
    /// Meaning of each column; plain where the list is too short.
    pub meanings: Vec<Meaning>,
    /// Rows alone, without names and rule.
    pub without_head: bool,
}

impl Style {
    fn meaning(&self, column: usize) -> Meaning {
        self.meanings.get(column).copied().unwrap_or_default()
    }
}

/// Takes the batches of one result.
pub trait RowWriter {
    /// Writes these rows, or holds them back.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Whether more rows would change nothing.
    fn is_full(&self) -> bool {
        false
    }
    /// Writes what is held back, and the end.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where a result goes: a file, or stdout.
pub struct Output {
    path: Option<PathBuf>,
    with_all: bool,
}

impl Output {
    /// Checks that the result can go there: a file can be written, and Parquet is nothing to look at. A
    /// terminal gets everything only `with_all`.
    pub fn new(path: Option<PathBuf>, format: Format, with_all: bool) -> Result<Output> {
        let output = Output { path, with_all };
        if format == Format::Parquet && output.is_terminal() {
            return Err(Error::Usage("parquet is not for a terminal: name a file with -o".to_owned()));
        }
        output.path.as_deref().map_or(Ok(()), writable::check)?;
        Ok(output)
    }

    /// Whether a person looks.
    pub fn is_terminal(&self) -> bool {
        self.path.is_none() && io::stdout().is_terminal()
    }

    /// How much is shown: a file or a pipe gets everything.
    fn limits(&self) -> Limits {
        let terminal = terminal::stdout();
        match terminal.width().filter(|_| self.path.is_none() && !self.with_all) {
            Some(width) => Limits { rows: Some(MOST_SHOWN), width: Some(width), terminal },
            None => Limits { rows: None, width: None, terminal },
        }
    }

    fn open(&self) -> Result<Box<dyn Write + Send>> {
        Ok(match &self.path {
            Some(path) => Box::new(BufWriter::new(File::create(path).map_err(at(path))?)),
            None => Box::new(Stdout::open()),
        })
    }
}

/// Runs a query and writes its rows; nothing is opened for writing before the first rows are there, so
/// that a failing query leaves no empty file.
pub async fn rows(frame: DataFrame, format: Format, style: &Style, output: &Output) -> Result<()> {
    let mut batches = frame.execute_stream().await?;
    let schema = outward::schema(&batches.schema(), format);
    let mut first = batches.next().await.transpose()?;
    let mut writer = writer(format, schema.clone(), style, output)?;
    while let Some(batch) = first.take() {
        writer.write(&outward::batch(&batch, &schema)?)?;
        if writer.is_full() {
            break;
        }
        first = batches.next().await.transpose()?;
    }
    writer.finish()
}

/// What writes rows of that schema.
pub fn writer(
    format: Format,
    schema: SchemaRef,
    style: &Style,
    output: &Output,
) -> Result<Box<dyn RowWriter>> {
    let out = output.open()?;
    Ok(match format {
        Format::Table => Box::new(table::TableWriter::new(schema, style.clone(), output.limits(), out)),
        Format::Vertical => {
            Box::new(vertical::VerticalWriter::new(&schema, style.clone(), output.limits(), out))
        }
        Format::Csv => Box::new(csv::CsvWriter::new(&schema, out, output.is_terminal())?),
        Format::Json => Box::new(json::JsonWriter::new(out)),
        Format::Parquet => Box::new(parquet::ParquetWriter::new(schema, out)?),
    })
}

/// Writes text to stdout, our own symbols as the locale knows them.
pub fn text(text: &str) -> Result<()> {
    let mut out = Stdout::open();
    let shown = terminal::stdout().text(text);
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Writes one harmless line to stderr, wrapped where it is longer than the window; where that is closed
/// nobody wants it.
pub fn note(line: &str) {
    let terminal = terminal::stderr();
    let line = escape_controls(line);
    let _ = writeln!(io::stderr(), "{}", terminal.wrap(&terminal.text(&line), "retrospan: ".len()));
}

/// Says on stderr what went wrong: one line, and below it the place where there is one to show.
pub fn failure(error: &Error) {
    let terminal = terminal::stderr();
    let message = error.to_string();
    let message: Vec<&str> = message.split_whitespace().collect();
    let line = escape_controls(&format!("retrospan: {}", message.join(" ")));
    let line = terminal.wrap(&terminal.text(&line), "retrospan: ".len());
    let (name, rest) = line.split_at("retrospan:".len());
    let mut text = format!("{}{rest}\n", terminal.paint(Paint::Red, name));
    for detail in error.details() {
        let detail = escape_controls(detail);
        let is_mark = detail.trim_start().starts_with('^');
        let detail = terminal.text(&detail);
        // What a list says of a name continues below it.
        let indent = detail.trim_end().rfind("  ").map_or(4, |gap| gap + 2).max(4);
        text.push_str(&if is_mark {
            terminal.paint(Paint::Red, &detail)
        } else {
            terminal.wrap(&detail, indent)
        });
        text.push('\n');
    }
    let _ = io::stderr().write_all(text.as_bytes());
}

fn arrow(error: datafusion::arrow::error::ArrowError) -> Error {
    match error {
        datafusion::arrow::error::ArrowError::IoError(_, source) => Error::Output(source),
        other => Error::Query(DataFusionError::from(other)),
    }
}
