//! `retrospan query`: the library of queries.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use datafusion::common::ScalarValue;

use super::{block_on, opening};
use crate::arguments::matches as parsed;
use crate::cli::{QueryCommand, ZoneArgs};
use crate::error::{Error, Result};
use crate::print::{self, Format, Output, Style};
use crate::session;
use crate::sql::library::{self, Query};
use crate::terminal;

/// Lists, shows or runs.
pub fn run(command: QueryCommand) -> Result<ExitCode> {
    match command {
        QueryCommand::List => print::text(&list()?)?,
        QueryCommand::Show { name } => match library::view(&name) {
            Some(view) => print::text(view)?,
            None => print::text(query(&name)?.sql)?,
        },
        QueryCommand::Run { name, arguments } => run_query(&query(&name)?, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<String> {
    let (queries, views) = (library::all().map_err(Error::Usage)?, library::views().map_err(Error::Usage)?);
    let width = queries.iter().chain(&views).map(|q| q.name.len()).max().unwrap_or_default();
    let line = |text: &mut String, query: &Query| {
        let line = format!("{:<width$}  {}", query.name, query.summary);
        let _ = writeln!(text, "{}", terminal::stdout().wrap(&line, width + 2));
    };
    let mut text = String::new();
    for query in queries {
        line(&mut text, &query);
    }
    let _ = writeln!(text, "\nViews, for retrospan sql:\n");
    for view in views {
        line(&mut text, &view);
    }
    Ok(text)
}

fn query(name: &str) -> Result<Query> {
    if library::view(name).is_some() {
        let instead = format!("retrospan sql CAPTURE \"SELECT * FROM {name}\"");
        return Err(Error::Usage(format!("{name} is a view, not a query: {instead}")));
    }
    let found = library::find(name).map_err(Error::Usage)?;
    found.ok_or_else(|| Error::Usage(format!("no query {name}: retrospan query list names them all")))
}

fn run_query(query: &Query, arguments: Vec<OsString>) -> Result<()> {
    let matches = parsed(command(query), arguments);
    let format = matches.get_one::<Format>("format").copied().unwrap_or(Format::Table);
    if matches.get_flag("no-pager") {
        print::pager::turn_off();
    }
    let output = Output::new(matches.get_one::<PathBuf>("output").cloned(), format, matches.get_flag("all"))?;
    let values = values(query, &matches)?;
    let capture = matches.get_one::<PathBuf>("capture").cloned().unwrap_or_default();
    let capture = opening::open(&capture, matches.get_flag("salvage"))?;
    let zone = ZoneArgs { utc: matches.get_flag("utc") };
    let offset_s = zone.offset_s(capture.manifest.host.utc_offset_s);
    let style = Style {
        utc_offset_s: offset_s,
        meanings: query.columns.iter().map(|column| column.ty.meaning()).collect(),
        without_head: false,
    };
    block_on(async {
        let context = session::open_in(&capture, offset_s)?;
        let frame = session::plan(&context, &query.statement(&values)).await?.with_param_values(values)?;
        print::rows(frame, format, &style, &output).await
    })
}

/// A command line with the query's parameters as options.
fn command(query: &Query) -> clap::Command {
    let mut command = clap::Command::new(query.name)
        .no_binary_name(true)
        .override_usage(format!("retrospan query run {} CAPTURE [OPTIONS]", query.name))
        .about(query.summary)
        .after_help(format!(
            "{}\nEXAMPLES\n  retrospan query run {} friday.cap\n",
            columns(query),
            query.name
        ))
        .arg(Arg::new("capture").value_name("CAPTURE").required(true).value_parser(value_parser!(PathBuf)))
        .arg(
            Arg::new("salvage")
                .long("salvage")
                .help("Open what is left of a damaged capture; what is missing counts as lost")
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .default_value("table")
                .value_parser(clap::builder::EnumValueParser::<Format>::new()),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        );
    for (name, help) in [
        ("all", "Show all rows in full; without it a terminal gets the first 40, as wide as its window"),
        ("utc", "Show times in UTC; without it in the zone of the recording host"),
        ("no-pager", "Never start $PAGER"),
    ] {
        command = command.arg(Arg::new(name).long(name).help(help).action(ArgAction::SetTrue));
    }
    for parameter in &query.parameters {
        command = command.arg(
            Arg::new(parameter.name)
                .long(parameter.name.replace('_', "-"))
                .alias(parameter.name)
                .value_name(parameter.ty.name())
                .help(help(parameter))
                .allow_hyphen_values(true)
                .action(ArgAction::Set)
                .default_value(parameter.default),
        );
    }
    command
}

fn help(parameter: &library::Parameter) -> String {
    match parameter.allowed.words() {
        words if words.is_empty() => parameter.doc.to_owned(),
        words => format!("{} ({words})", parameter.doc.trim_end_matches('.')),
    }
}

fn columns(query: &Query) -> String {
    let mut text = String::from("Columns:\n");
    for column in &query.columns {
        let _ = writeln!(text, "  {:<24} {:<9} {}", column.name, column.ty.name(), column.doc);
    }
    text
}

fn values(query: &Query, matches: &ArgMatches) -> Result<Vec<(&'static str, ScalarValue)>> {
    let value = |parameter: &library::Parameter| {
        let text = matches.get_one::<String>(parameter.name).map_or(parameter.default, String::as_str);
        let option = parameter.name.replace('_', "-");
        let value = parameter.value(text).map_err(|e| Error::Usage(format!("--{option}: {e}")))?;
        Ok((parameter.name, value))
    };
    query.parameters.iter().map(value).collect()
}
