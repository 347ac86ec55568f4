//! Writes manual pages and completions of `retrospan-record`, for packagers.
//!
//!     cargo run --example recorder_packaging -- DIR

#[path = "../../analyzer/examples/packaging/pages.rs"]
mod pages;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: recorder_packaging DIR");
        return ExitCode::from(2);
    };
    match pages::write(retrospan_recorder::cli::Cli::command(), &folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recorder_packaging: {}: {error}", folder.display());
            ExitCode::from(2)
        }
    }
}
