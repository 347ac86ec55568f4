//! The program `retrospan`: parses its arguments, runs one command, says in one line what went wrong.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use retrospan_analyzer::arguments::{matches, with_overview};
use retrospan_analyzer::cli::Cli;
use retrospan_analyzer::commands;
use retrospan_analyzer::print::{failure, pager};
use retrospan_analyzer::sql::blame;

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan");
    let arguments = matches(Cli::command(), with_overview(std::env::args_os().collect()));
    let cli = Cli::from_arg_matches(&arguments).unwrap_or_else(|error| error.exit());
    if cli.no_pager {
        pager::turn_off();
    }
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            failure(&blame::with_file(error));
            ExitCode::from(2)
        }
    }
}
