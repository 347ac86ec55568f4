//! The command line, and nothing else: each command turns its arguments into plain options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use retrospan_formats::units::duration_ns;
use retrospan_protocols::redact::Payload;

use crate::assembly::Options;
use crate::findings::Metric;
use crate::findings::groups::By;
use crate::otlp::endpoint::Protocol;
use crate::print::Format;

/// Turns captures of socket events into spans and traces, and answers questions about them.
#[derive(Debug, Parser)]
#[command(
    name = "retrospan",
    version,
    after_help = "\
EXAMPLES
  retrospan record --duration 1h --port 8000-9000 -o friday.cap   record (needs root)
  retrospan friday.cap                                            one screen: findings, traffic, hops
  retrospan info friday.cap                                       what is in it, and what was lost
  retrospan spikes friday.cap                                     periodic spikes: how often, at which hop, and why
  retrospan sql friday.cap \"SELECT outcome, count(*) FROM spans WHERE kind = 'server' GROUP BY 1\"
"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Never start $PAGER; without it a terminal gets what is longer than its window through it.
    #[arg(long, global = true)]
    pub no_pager: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Records a capture: runs `retrospan-record` with the same arguments.
    #[command(disable_help_flag = true)]
    Record(RecordArgs),
    /// Makes a capture of packet captures (pcap, pcapng) or of traces (Jaeger, OTLP), so that every other command works on them.
    Import(ImportArgs),
    /// One screen: findings, traffic, hops, what to type next. `retrospan CAPTURE` shows it too.
    Overview(OverviewArgs),
    /// Shows what a capture holds, how it ended and what was lost.
    Info(InfoArgs),
    /// Answers a SQL query over the capture's tables.
    Sql(SqlArgs),
    /// Lists, shows and runs ready-made queries; lists and shows views.
    #[command(subcommand)]
    Query(QueryCommand),
    /// Lists the spans, one a line.
    Spans(SpansArgs),
    /// Prints a trace as a tree.
    Trace(TraceArgs),
    /// Finds periodic spikes of latency, errors or clients that give up, where their time goes, and likely causes.
    Spikes(SpikesArgs),
    /// Writes the findings with their pictures as one HTML file.
    Report(ReportArgs),
    /// Sends spans to an OTLP receiver.
    Export(ExportArgs),
    /// Measures how well calls are linked by times and names alone, on traces whose parents are known.
    EvalLinks(EvalLinksArgs),
    /// Shows within a minute that recording and analysis work on this host.
    Selftest(SelftestArgs),
}

/// Which capture.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// The capture directory.
    #[arg(id = "capture", value_name = "CAPTURE")]
    pub path: PathBuf,
    /// Open what is left of a damaged capture; what is missing counts as lost.
    #[arg(long)]
    pub salvage: bool,
}

/// Which links between spans are made.
#[derive(Clone, Copy, Debug, Args)]
pub struct LinkArgs {
    /// Make no link between spans that is less sure than this, from 0 to 1: see column link_confidence.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    pub min_confidence: f64,
}

impl LinkArgs {
    /// How spans are made then.
    pub fn options(self) -> Options {
        Options { min_confidence: self.min_confidence, ..Options::default() }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("not between 0 and 1".to_owned()) }
}

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Arguments of `retrospan-record`: see `retrospan-record --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan import friday.pcap -o friday.cap
  retrospan import ring.pcap.0 ring.pcap.1 ring.pcap.2 -o friday.cap
  ssh host tcpdump -i any -w - -U tcp port 8080 | retrospan import - -o live.cap
  curl -s 'http://jaeger:16686/api/traces?service=shop&limit=10000&lookback=1h' | retrospan import - -o shop.cap
  retrospan import collector-1.jsonl collector-2.jsonl.gz -o friday.cap

Reads pcap and pcapng, or Jaeger's JSON and OTLP as JSON or protobuf (also as the OpenTelemetry collector's file exporter
writes it), also compressed (gzip, zstd). What a file holds is told by its content; one capture is made of packets or of
traces.

Of packets connections are seen from their clients' side; who sent or received on either host, and when a process took
its data, no packet says. Of traces spans are what their tracers say; what they cannot know, and which attributes are
kept, is in docs/import.md.
")]
pub struct ImportArgs {
    /// Packet captures, or traces, read together; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The capture directory to make: new or empty.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// How much of the data is kept.
    #[arg(long, value_enum, default_value_t = ImportPayload::Heads)]
    pub payload: ImportPayload,
}

/// How much of the data of packets is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportPayload {
    /// Message heads of protocols that are parsed, with their secrets blanked. Of traces attributes of the semantic
    /// conventions, likewise.
    Heads,
    /// Everything, as it is.
    Full,
    /// Nothing: lengths and times only. Of traces names, too.
    None,
}

impl From<ImportPayload> for Payload {
    fn from(payload: ImportPayload) -> Payload {
        match payload {
            ImportPayload::Heads => Payload::Heads,
            ImportPayload::Full => Payload::Full,
            ImportPayload::None => Payload::None,
        }
    }
}

/// Arguments of `eval-links`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan eval-links traces.json
  retrospan eval-links friday.cap hotel.ndjson.zst --format json | jq '.datasets[].said.precision'

Hides the parents of all spans, links each to the request that caused it by times and names alone (evidence assignment),
and compares: right, wrong and missing links, traces that are entirely right, whether links are as sure as they say, and
what it took. Reads captures that were made by `retrospan import`, and what that reads of traces: Jaeger and OTLP.
")]
pub struct EvalLinksArgs {
    /// Captures, or files of traces; each is a data set of its own.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// A link is said where the next best is so much less probable, nats.
    #[arg(long, value_name = "NATS", default_value_t = 5.0)]
    pub margin: f64,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Arguments of `overview`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan friday.cap
  retrospan overview friday.cap --utc
")]
pub struct OverviewArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// The zone of times.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// Arguments of `info`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan info friday.cap
  retrospan info friday.cap --format json | jq .losses
")]
pub struct InfoArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
    /// The zone of times.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// The zone in which times are shown and read.
#[derive(Clone, Copy, Debug, Args)]
pub struct ZoneArgs {
    /// Show and read times in UTC; without it in the zone of the recording host.
    #[arg(long)]
    pub utc: bool,
}

impl ZoneArgs {
    /// Seconds east of UTC, for a capture of a host so many seconds east.
    pub fn offset_s(self, of_host_s: i32) -> i32 {
        if self.utc { 0 } else { of_host_s }
    }
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
#[command(after_help = "\
EXAMPLES
  retrospan sql friday.cap \"SHOW TABLES\"
  retrospan sql friday.cap \"SELECT * FROM stopped WHERE process = 'shop'\"
  retrospan sql friday.cap \"SELECT * FROM spans WHERE start_time > '18:22' AND duration_ns > '100ms'\" --format vertical
  retrospan sql friday.cap \"SELECT name, count(*), max(duration_ns) FROM spans WHERE kind = 'server' GROUP BY name\"
  retrospan sql friday.cap --file slow.sql --format json
  retrospan sql friday.cap --format parquet -o sends.parquet \"SELECT * FROM events WHERE kind = 'send'\"

SHOW TABLES lists tables and views, DESCRIBE NAME their columns; retrospan query list says what the views hold.
A text compared with a time is in the recording host's zone: '2026-11-20 18:22:03', or '18:22' on that day of the
recording. One compared with a column of nanoseconds is a time such as '100ms'. In csv, json and parquet times are UTC.
")]
pub struct SqlArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// The query; read from standard input where neither it nor --file is given.
    #[arg(conflicts_with = "file")]
    pub query: Option<String>,
    /// Read the query from a file.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where and how the rows go.
    #[command(flatten)]
    pub rows: RowsArgs,
    /// The zone of times.
    #[command(flatten)]
    pub zone: ZoneArgs,
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
    /// Show all rows in full; without it a terminal gets the first 40, as wide as its window.
    #[arg(long)]
    pub all: bool,
}

/// What to do with the query library.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
EXAMPLES
  retrospan query list
  retrospan query run slowest_requests friday.cap --min-duration 100ms --limit 5
  retrospan query run slowest_requests --help
")]
pub enum QueryCommand {
    /// Lists the queries and views.
    #[command(after_help = "EXAMPLES\n  retrospan query list\n")]
    List,
    /// Prints a query or view with its header.
    #[command(after_help = "\
EXAMPLES
  retrospan query show slowest_requests
  retrospan query show stopped
")]
    Show {
        /// The query or view.
        name: String,
    },
    /// Runs a query: CAPTURE, --format, -o and the query's own parameters.
    #[command(
        disable_help_flag = true,
        after_help = "\
EXAMPLES
  retrospan query run latency_by_peer friday.cap --kind server --format csv
  retrospan query run latency_by_peer --help
"
    )]
    Run {
        /// The query.
        name: String,
        /// The capture and the query's parameters.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CAPTURE [OPTIONS]")]
        arguments: Vec<OsString>,
    },
}

/// Arguments of `spans`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan spans friday.cap --slowest
  retrospan spans friday.cap --where \"start_time > '18:22' AND duration_ns > '100ms'\"
  retrospan spans friday.cap --where \"outcome = 'client_closed' AND kind = 'server'\" --limit 20
")]
pub struct SpansArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// Only spans for which this SQL condition over the columns of `spans` holds.
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// At most so many spans.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// The slowest ones, slowest first: 20 of them, or N.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20")]
    pub slowest: Option<u64>,
    /// Where and how the rows go.
    #[command(flatten)]
    pub rows: RowsArgs,
    /// The zone of times.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// Arguments of `trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan trace friday.cap                 the slowest trace
  retrospan trace friday.cap 4bf92f35        the trace whose id begins so
  retrospan trace friday.cap 4bf92f35 --why

Exit code 1 where the capture has no such trace.
")]
pub struct TraceArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// The trace: its id, 32 hex digits, or the begin of it; without it the slowest.
    pub trace_id: Option<String>,
    /// Print the evidence that links each span to its parent.
    #[arg(long)]
    pub why: bool,
    /// The zone of times.
    #[command(flatten)]
    pub zone: ZoneArgs,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan report friday.cap -o friday.html
  retrospan report friday.cap --plot latency -o latency.svg
  retrospan report friday.cap --plot fold-1 -o finding.png

Pictures: latency, latency-N (one hop), map, fold-N, shape-N and cycles-N (of a finding), trace-N.
An unknown name lists those of the capture.
")]
pub struct ReportArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// The file to write: .html, with --plot .svg or .png.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Write only this picture (the names are above).
    #[arg(long, value_name = "NAME")]
    pub plot: Option<String>,
    /// What is looked for.
    #[command(flatten)]
    pub search: SearchArgs,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan export friday.cap --otlp http://localhost:4317
  retrospan export friday.cap --otlp http://localhost:4318 --where \"duration_ns > 100000000\"
  retrospan export friday.cap --otlp https://collector.example/v1/traces --header authorization=Bearer...

Exporting twice adds nothing: the ids are the same. Exit code 1 where the receiver rejected spans.
With https the authorities of this system are trusted, or those in the file that SSL_CERT_FILE names.

OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _PROTOCOL, _TIMEOUT and _CERTIFICATE hold where no option says otherwise,
and before them those for traces (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ...).
")]
pub struct ExportArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// Where to send them; without it where OTEL_EXPORTER_OTLP_ENDPOINT says.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// OTLP transport; without it http/protobuf for port 4318 or a URL with a path, else grpc.
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// Only spans for which this SQL condition over the columns of `spans` holds.
    #[arg(long = "where", value_name = "SQL")]
    pub filter: Option<String>,
    /// HTTP header or gRPC metadata to send with each request; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub header: Vec<String>,
    /// Export requests under way at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub in_flight: u8,
}

/// Arguments of `selftest`.
#[derive(Debug, Args)]
#[command(before_help = "\
EXAMPLES
  sudo retrospan selftest
  sudo retrospan selftest --keep selftest.cap; retrospan spikes selftest.cap --min-period 2s

Makes a spike on loopback (a server of its own that is stopped for 0.4 s every 3.7 s), records it and finds it.
Exit code 1 where a step fails: it says which, and what to do.
")]
pub struct SelftestArgs {
    /// Keep the capture in this directory, new or empty; without it it is removed.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Be the server or a client of the test.
    #[arg(long, hide = true)]
    pub part: Option<String>,
}

/// Formats of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FindingsFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// For a ticket.
    Markdown,
}

/// Arguments of `spikes`.
#[derive(Debug, Args)]
#[command(after_help = "\
EXAMPLES
  retrospan spikes friday.cap
  retrospan spikes friday.cap --metric client_closed --by hop
  retrospan spikes friday.cap --format markdown > ticket.md
  retrospan spikes short.cap --min-period 2s --format json | jq .spikes[0].cause

By default every metric and grouping is searched; the false-alarm probability is corrected for that.
")]
pub struct SpikesArgs {
    /// Which capture.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// Which links.
    #[command(flatten)]
    pub links: LinkArgs,
    /// What is looked for.
    #[command(flatten)]
    pub search: SearchArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub format: FindingsFormat,
}

/// What is looked for.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Metric to search; may be repeated. Without it all.
    #[arg(long, value_enum)]
    pub metric: Vec<Metric>,
    /// Grouping of requests to search; may be repeated. Without it all.
    #[arg(long, value_enum)]
    pub by: Vec<By>,
    /// Shortest period to search for; longer ones are found all the same.
    ///
    /// Time is cut into a hundredth of it, 20 to 100 ms: below 10s onsets are seen more sharply, so the false-alarm probability
    /// can fall although more periods are paid for.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub min_period: i64,
    /// Longest period to search for; without it the length of the recording / 2.9, so that three cycles fit.
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub max_period: Option<i64>,
    /// Largest false-alarm probability to accept: the chance of any finding in a recording without periodic spikes.
    #[arg(long, value_name = "P", default_value_t = 0.01)]
    pub fap: f64,
}

fn positive_duration(text: &str) -> Result<i64, String> {
    match duration_ns(text)? {
        0 => Err("a time above 0 is wanted, such as 10s, 500ms or 5m".to_owned()),
        ns => Ok(ns as i64),
    }
}
