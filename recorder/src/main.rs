//! `retrospan-record`.

use std::process::ExitCode;

use clap::Parser;
use retrospan_recorder::cli::Cli;
use retrospan_recorder::host::listeners;
use retrospan_recorder::options::Options;
use retrospan_recorder::record;
use retrospan_recorder::summary;
use retrospan_recorder::text;

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan-record");
    let options = Options::from(Cli::parse());
    match record::run(&options) {
        Ok(recorded) => {
            text::line(&summary::summary(&recorded));
            if recorded.sockets > 0 || !options.has_filter() {
                return ExitCode::SUCCESS;
            }
            let listening = text::one_line(&listeners::named());
            text::line(&format!(
                "retrospan-record: no socket matched the filters; processes that listen here: {listening}"
            ));
            ExitCode::from(1)
        }
        Err(error) => {
            text::line(&format!("retrospan-record: {}", text::one_line(&error.to_string())));
            ExitCode::from(2)
        }
    }
}
