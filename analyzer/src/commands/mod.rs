//! One file a command: plain options in, results on stdout, an exit code out.

pub mod export;
pub mod info;
pub mod query;
pub mod record;
pub mod spans;
pub mod spikes;
pub mod sql;
pub mod trace;

use std::future::Future;
use std::process::ExitCode;

use crate::cli::Command;
use crate::error::{Error, Result};

/// Runs a command. Exit codes: 0 done, 1 a documented negative answer, 2 (an error) bad input or usage.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Record(args) => record::run(args),
        Command::Info(args) => info::run(args),
        Command::Sql(args) => sql::run(args),
        Command::Query(command) => query::run(command),
        Command::Spans(args) => spans::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Spikes(args) => spikes::run(args),
        Command::Export(args) => export::run(args),
    }
}

/// Runs what needs an executor.
fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Usage(format!("cannot start threads: {e}")))?;
    runtime.block_on(future)
}

/// The query for spans for which a condition holds. The line end keeps a comment in the condition from
/// swallowing the parenthesis.
fn spans_where(condition: Option<&str>) -> String {
    match condition {
        Some(condition) => format!("SELECT * FROM spans WHERE ({condition}\n)"),
        None => "SELECT * FROM spans".to_owned(),
    }
}
