//! `retrospan-record`.

use std::process::ExitCode;

use clap::Parser;
use retrospan_recorder::cli::Cli;
use retrospan_recorder::options::Options;
use retrospan_recorder::{listeners, record, report};

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan-record");
    let options = Options::from(Cli::parse());
    match record::run(&options) {
        Ok(recorded) => {
            report::line(&report::summary(&recorded));
            if recorded.sockets > 0 || !options.has_filter() {
                return ExitCode::SUCCESS;
            }
            let listening = report::one_line(&listeners::named());
            report::line(&format!(
                "retrospan-record: no socket matched the filters; here listen: {listening}"
            ));
            ExitCode::from(1)
        }
        Err(error) => {
            report::line(&format!("retrospan-record: {}", report::one_line(&error.to_string())));
            ExitCode::from(2)
        }
    }
}
