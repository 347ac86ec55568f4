//! `retrospan-record`.

use std::process::ExitCode;

use clap::Parser;
use retrospan_recorder::cli::Cli;
use retrospan_recorder::options::Options;
use retrospan_recorder::record;
use retrospan_recorder::silence;
use retrospan_recorder::summary;
use retrospan_recorder::text;

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan-record");
    let options = Options::from(Cli::parse());
    match record::run(&options) {
        Ok(recorded) => {
            text::line(&summary::summary(&recorded));
            let came = recorded.came();
            if let Some(line) = silence::closing(&options, came) {
                text::line(&format!("retrospan-record: {}", text::one_line(&line)));
            }
            ExitCode::from(u8::from(silence::is_failure(&options, came)))
        }
        Err(error) => {
            text::line(&format!("retrospan-record: {}", text::one_line(&error.to_string())));
            ExitCode::from(2)
        }
    }
}
