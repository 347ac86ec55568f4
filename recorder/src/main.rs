//! `retrospan-record`.

use std::process::ExitCode;

use clap::Parser;
use retrospan_recorder::cli::Cli;
use retrospan_recorder::options::Options;
use retrospan_recorder::{record, report};

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan-record");
    let options = Options::from(Cli::parse());
    match record::run(&options) {
        Ok(recorded) => {
            report::line(&report::summary(&recorded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::line(&format!("retrospan-record: {}", report::one_line(&error.to_string())));
            ExitCode::from(2)
        }
    }
}
