//! The program `retrospan`: parses its arguments, runs one command, says in one line what went wrong.

use std::process::ExitCode;

use clap::Parser;
use retrospan_analyzer::cli::Cli;
use retrospan_analyzer::commands;
use retrospan_analyzer::print::note;
use retrospan_analyzer::sql::blame;

fn main() -> ExitCode {
    retrospan_formats::fault::install("retrospan");
    let cli = Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let message = blame::with_file(error).to_string();
            let line: Vec<&str> = message.split_whitespace().collect();
            note(&format!("retrospan: {}", line.join(" ")));
            ExitCode::from(2)
        }
    }
}
