//! `retrospan sql`: one read-only query over a capture's tables.

use std::fs;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use retrospan_formats::reader::Capture;

use super::block_on;
use crate::catalog;
use crate::cli::SqlArgs;
use crate::error::{Error, Result, at};
use crate::print::{self, Output, Style};

/// Runs the query of the arguments and prints its rows.
pub fn run(args: SqlArgs) -> Result<ExitCode> {
    let output = Output::new(args.rows.output.clone(), args.rows.format)?;
    let query = query(&args)?;
    let capture = Capture::open(&args.capture)?;
    let style = Style { utc_offset_s: capture.manifest.host.utc_offset_s, meanings: Vec::new() };
    block_on(async {
        let context = catalog::open(&capture)?;
        let frame = catalog::plan(&context, &query).await?;
        print::rows(frame, args.rows.format, &style, &output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn query(args: &SqlArgs) -> Result<String> {
    let text = match (&args.query, &args.file) {
        (Some(query), _) => query.clone(),
        (None, Some(file)) => fs::read_to_string(file).map_err(at(file))?,
        (None, None) if io::stdin().is_terminal() => {
            return Err(Error::Usage(
                "no query: give it as an argument, with --file or on standard input".to_owned(),
            ));
        }
        (None, None) => io::read_to_string(io::stdin())
            .map_err(|e| Error::Usage(format!("cannot read the query from standard input: {e}")))?,
    };
    if text.trim().is_empty() {
        return Err(Error::Usage("the query is empty".to_owned()));
    }
    Ok(text)
}
