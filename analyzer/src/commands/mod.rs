//! One file a command: plain options in, results on stdout, an exit code out.

pub mod eval_links;
pub mod export;
pub mod import;
pub mod info;
pub mod opening;
pub mod overview;
pub mod query;
pub mod record;
pub mod report;
pub mod selftest;
pub mod spans;
pub mod spikes;
pub mod sql;
pub mod trace;

use std::future::Future;
use std::process::ExitCode;

use datafusion::prelude::SessionContext;
use datafusion::sql::parser::DFParser;

use crate::cli::Command;
use crate::error::{Error, Result};
use crate::session;
use crate::sql::mistake::Written;

/// Runs a command. Exit codes: 0 done, 1 a documented negative answer, 2 (an error) bad input or usage.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Record(args) => record::run(args),
        Command::Import(args) => import::run(args),
        Command::Overview(args) => overview::run(args),
        Command::Info(args) => info::run(args),
        Command::Sql(args) => sql::run(args),
        Command::Query(command) => query::run(command),
        Command::Spans(args) => spans::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Spikes(args) => spikes::run(args),
        Command::Report(args) => report::run(args),
        Command::Export(args) => export::run(args),
        Command::EvalLinks(args) => eval_links::run(args),
        Command::Selftest(args) => selftest::run(args),
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

/// The query for spans for which a condition holds.
///
/// # Errors
/// Where the condition is not exactly one SQL expression: it must not end the one it is put into. (Comments may be in it;
/// the line end keeps them from swallowing the parenthesis.)
fn spans_where(condition: Option<&str>) -> Result<String> {
    let Some(condition) = condition else { return Ok("SELECT * FROM spans".to_owned()) };
    let parsed =
        DFParser::parse_sql_into_expr(condition).map_err(|e| where_written(condition).explain_parse(e))?;
    match parsed.alias {
        Some(alias) => {
            Err(Error::Usage(format!("--where takes one SQL condition: unexpected {alias} after it")))
        }
        None => Ok(format!("SELECT * FROM spans WHERE ({condition}\n)")),
    }
}

/// Plans the spans for which a condition holds, so that what is wrong with it is shown in the user's text.
async fn check_where(context: &SessionContext, condition: Option<&str>) -> Result<()> {
    let Some(condition) = condition else { return Ok(()) };
    match session::plan(context, &format!("SELECT * FROM spans WHERE (\n{condition}\n)")).await {
        Err(Error::Query(error)) => Err(where_written(condition).explain(error, 1, context)),
        planned => planned.map(|_| ()),
    }
}

fn where_written(condition: &str) -> Written<'_> {
    Written { place: Some("--where"), text: condition }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_one_expression() {
        for good in [
            "true",
            "status >= 500 AND (path LIKE '%)%' OR \"method\" = 'GET')",
            "1=1 -- all",
            "/* ) */ true",
            "trace_id IN (SELECT trace_id FROM spans WHERE outcome = 'reset')",
        ] {
            assert!(spans_where(Some(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "-- nothing",
            "true) OR (false",
            "true; DROP TABLE spans",
            "true;",
            "true LIMIT 1",
            "true ORDER BY path",
            "true, false",
            "true AS yes",
            "true yes",
            "true /*",
            "'",
            "(true",
            "*",
            "true) UNION ALL (SELECT * FROM spans",
            "SELECT true",
        ] {
            assert!(spans_where(Some(bad)).is_err(), "{bad}");
        }
    }
}
