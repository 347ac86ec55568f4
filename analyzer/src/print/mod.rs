//! Rows to stdout or a file: as a table for people, as CSV, JSON lines or Parquet for programs.
//!
//! Batches are written as they come, so the size of a result does not matter. In a table times are in the
//! recording host's zone and durations have units; all other formats have UTC and plain numbers. In
//! every text format, whatever would act on a terminal is escaped, but for line ends in CSV that goes to a file or a pipe.

mod csv;
mod json;
mod parquet;
mod table;
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
use crate::text::escape_controls;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns lined up, for people.
    Table,
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
}

impl Style {
    fn meaning(&self, column: usize) -> Meaning {
        self.meanings.get(column).copied().unwrap_or_default()
    }
}

/// Takes the batches of one result.
trait RowWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Writes what is held back, and the end.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where a result goes: a file, or stdout.
pub struct Output {
    path: Option<PathBuf>,
}

impl Output {
    /// Checks that the result can go there: a file can be written, and Parquet is nothing to look at.
    pub fn new(path: Option<PathBuf>, format: Format) -> Result<Output> {
        let output = Output { path };
        if format == Format::Parquet && output.is_terminal() {
            return Err(Error::Usage("parquet is not for a terminal: name a file with -o".to_owned()));
        }
        output.path.as_deref().map_or(Ok(()), writable::check)?;
        Ok(output)
    }

    fn is_terminal(&self) -> bool {
        self.path.is_none() && io::stdout().is_terminal()
    }

    fn open(&self) -> Result<Box<dyn Write + Send>> {
        Ok(match &self.path {
            Some(path) => Box::new(BufWriter::new(File::create(path).map_err(at(path))?)),
            None => Box::new(BufWriter::with_capacity(1 << 16, io::stdout())),
        })
    }
}

/// Runs a query and writes its rows; nothing is opened for writing before the first rows are there, so
/// that a failing query leaves no empty file.
pub async fn rows(frame: DataFrame, format: Format, style: &Style, output: &Output) -> Result<()> {
    let mut batches = frame.execute_stream().await?;
    let schema = batches.schema();
    let mut first = batches.next().await.transpose()?;
    let mut writer = writer(format, schema, style, output)?;
    while let Some(batch) = first.take() {
        writer.write(&batch)?;
        first = batches.next().await.transpose()?;
    }
    writer.finish()
}

fn writer(format: Format, schema: SchemaRef, style: &Style, output: &Output) -> Result<Box<dyn RowWriter>> {
    let out = output.open()?;
    Ok(match format {
        Format::Table => Box::new(table::TableWriter::new(schema, style.clone(), out)),
        Format::Csv => Box::new(csv::CsvWriter::new(&schema, out, output.is_terminal())?),
        Format::Json => Box::new(json::JsonWriter::new(out)),
        Format::Parquet => Box::new(parquet::ParquetWriter::new(schema, out)?),
    })
}

/// Writes text to stdout.
pub fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// Writes one harmless line to stderr; where that is closed nobody wants it.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", escape_controls(line));
}

fn arrow(error: datafusion::arrow::error::ArrowError) -> Error {
    match error {
        datafusion::arrow::error::ArrowError::IoError(_, source) => Error::Output(source),
        other => Error::Query(DataFusionError::from(other)),
    }
}
