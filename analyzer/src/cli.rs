//! The command line, and nothing else: each command turns its arguments into plain options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::print::Format;

/// Turns captures of socket events into spans and traces, and answers questions about them.
#[derive(Debug, Parser)]
#[command(
    name = "retrospan",
    version,
    max_term_width = 100,
    before_help = "\
EXAMPLES
  retrospan record --duration 1h --port 8000-9000 -o friday.cap   record (needs root)
  retrospan info friday.cap                                       what is in it, and what was lost
  retrospan sql friday.cap \"SELECT outcome, count(*) FROM spans GROUP BY 1\"
"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Records a capture: runs `retrospan-record` with the same arguments.
    #[command(disable_help_flag = true)]
    Record(RecordArgs),
    /// Says what a capture holds, how it ended and what was lost.
    Info(InfoArgs),
    /// Answers a SQL query over the capture's tables.
    Sql(SqlArgs),
}

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Arguments of `info`.
#[derive(Debug, Args)]
#[command(before_help = "\
EXAMPLES
  retrospan info friday.cap
  retrospan info friday.cap --format json | jq .losses
")]
pub struct InfoArgs {
    /// The capture directory.
    pub capture: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Formats of what is not rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Arguments of `sql`.
#[derive(Debug, Args)]
#[command(before_help = "\
EXAMPLES
  retrospan sql friday.cap \"SHOW TABLES\"
  retrospan sql friday.cap \"SELECT name, count(*), max(duration_ns) FROM spans GROUP BY name\"
  retrospan sql friday.cap --file slow.sql --format json
  retrospan sql friday.cap --format parquet -o sends.parquet \"SELECT * FROM events WHERE kind = 'send'\"
")]
pub struct SqlArgs {
    /// The capture directory.
    pub capture: PathBuf,
    /// The query; read from standard input where neither it nor --file is given.
    #[arg(conflicts_with = "file")]
    pub query: Option<String>,
    /// Read the query from a file.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where and how the rows go.
    #[command(flatten)]
    pub rows: RowsArgs,
}

/// Where rows go.
#[derive(Debug, Args)]
pub struct RowsArgs {
    /// How to write the rows.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write to a file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
