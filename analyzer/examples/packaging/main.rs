//! Writes manual pages and completions of `retrospan`, for packagers.
//!
//!     cargo run --example packaging -- DIR

mod pages;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: packaging DIR");
        return ExitCode::from(2);
    };
    match pages::write(retrospan_analyzer::cli::Cli::command(), &folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("packaging: {}: {error}", folder.display());
            ExitCode::from(2)
        }
    }
}
