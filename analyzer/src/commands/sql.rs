//! `retrospan sql`: one read-only query over a capture's tables.

use std::fs;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use super::block_on;
use crate::cli::SqlArgs;
use crate::error::{Error, Result, at};
use crate::print::{self, Format, Output, Style};
use crate::session;
use crate::sql::mistake::Written;
use crate::text::escape_controls;

/// Runs the query of the arguments and prints its rows.
pub fn run(args: SqlArgs) -> Result<ExitCode> {
    let output = Output::new(args.rows.output.clone(), args.rows.format, args.rows.all)?;
    let (place, query) = query(&args)?;
    let capture = args.capture.open()?;
    let offset_s = args.zone.offset_s(capture.manifest.host.utc_offset_s);
    let style = Style { utc_offset_s: offset_s, ..Style::default() };
    block_on(async {
        let context = session::open_with(&capture, offset_s, args.links.options())?;
        let written = Written { place: place.as_deref(), text: &query };
        let frame = session::plan_written(&context, written).await?;
        if args.rows.format == Format::Table && args.rows.output.is_none() && is_plan(&frame) {
            return print_plan(frame).await;
        }
        print::rows(frame, args.rows.format, &style, &output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The query, and where it stands if not on the command line.
fn query(args: &SqlArgs) -> Result<(Option<String>, String)> {
    let (place, text) = match (&args.query, &args.file) {
        (Some(query), _) => (None, query.clone()),
        (None, Some(file)) => (Some(file.display().to_string()), fs::read_to_string(file).map_err(at(file))?),
        (None, None) if io::stdin().is_terminal() => {
            return Err(Error::Usage(
                "no query: give it as an argument, with --file or on standard input".to_owned(),
            ));
        }
        (None, None) => {
            let text = io::read_to_string(io::stdin())
                .map_err(|e| Error::Usage(format!("cannot read the query from standard input: {e}")))?;
            (Some("standard input".to_owned()), text)
        }
    };
    if text.trim().is_empty() {
        return Err(Error::Usage("the query is empty".to_owned()));
    }
    Ok((place, text))
}

fn is_plan(frame: &DataFrame) -> bool {
    matches!(frame.logical_plan(), LogicalPlan::Explain(_) | LogicalPlan::Analyze(_))
}

/// Plans have many lines; a table would hide them in one.
async fn print_plan(frame: DataFrame) -> Result<()> {
    let mut text = String::new();
    for batch in frame.collect().await? {
        let columns = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(DataFusionError::from)?;
        for row in 0..batch.num_rows() {
            for cell in columns.iter().map(|column| column.as_string::<i32>().value(row)) {
                cell.lines().for_each(|line| text.extend([escape_controls(line).as_str(), "\n"]));
            }
            text.push('\n');
        }
    }
    print::text(&text)
}
