//! `retrospan-record`.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::Parser;
use retrospan_recorder::check;
use retrospan_recorder::cli::{Action, Cli};
use retrospan_recorder::options::Options;
use retrospan_recorder::record;
use retrospan_recorder::silence;
use retrospan_recorder::summary;
use retrospan_recorder::text;

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan-record");
    let cli = Cli::parse();
    if let Some(Action::Check) = cli.action() {
        let features = check::features();
        // Whoever reads no further has seen enough.
        let _ = writeln!(stdout(), "{}", check::text(&features));
        return ExitCode::from(u8::from(!check::can_record(&features)));
    }
    let options = Options::from(cli);
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
