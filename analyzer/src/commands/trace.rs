//! `retrospan trace`: one trace as a tree with times and bars, and with `--why` the evidence of each link.

mod why;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::ExitCode;

use datafusion::prelude::SessionContext;

use super::block_on;
use crate::cli::TraceArgs;
use crate::error::{Error, Result};
use crate::print;
use crate::session;
use crate::tables::SpanRow;
use crate::tables::columns::texts;
use crate::tables::spans::{Peers, SpanBatch, status_of, what, with_peers};
use crate::tables::trace_tree::{TraceTree, TreeSpan};
use crate::terminal::{self, Paint, Terminal};
use crate::text::{count, duration, escape_controls, time};

/// Width of the bars where there is room, columns.
const BAR: usize = 32;
/// A trace with more spans is cut here: nobody reads on.
const MAX_SPANS: usize = 5_000;
/// Traces that are named where a prefix fits several.
const MOST_NAMED: usize = 5;

/// Prints the trace; exit code 1 where there is none of that id.
pub fn run(args: TraceArgs) -> Result<ExitCode> {
    let capture = args.capture.open()?;
    let prefix = args.trace_id.as_deref().map(str::to_ascii_lowercase);
    if let Some(prefix) = &prefix
        && (!(1..=32).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        let given = args.trace_id.as_deref().unwrap_or_default();
        return Err(Error::Usage(format!(
            "{given:?} is not the begin of a trace id, which has 32 hex digits"
        )));
    }
    let offset_s = args.zone.offset_s(capture.manifest.host.utc_offset_s);
    let found = block_on(async {
        let context = session::open_with(&capture, 0, args.links.options())?;
        let trace_id = match &prefix {
            Some(prefix) => with_prefix(&context, prefix).await?,
            None => slowest(&context).await?,
        };
        let Some(trace_id) = trace_id else { return Ok(None) };
        show(&context, &trace_id, args.why, offset_s).await
    })?;
    match found {
        Some(text) => print::text(&text).map(|()| ExitCode::SUCCESS),
        None => {
            let which = prefix.map(|prefix| format!(" {prefix}")).unwrap_or_default();
            print::note(&format!("retrospan: no trace{which} in {}", args.capture.path.display()));
            Ok(ExitCode::from(1))
        }
    }
}

/// The only trace whose id begins so; None where there is none.
async fn with_prefix(context: &SessionContext, prefix: &str) -> Result<Option<String>> {
    if prefix.len() == 32 {
        return Ok(Some(prefix.to_owned()));
    }
    let query = format!(
        "SELECT DISTINCT trace_id FROM traces WHERE starts_with(trace_id, '{prefix}') ORDER BY 1 LIMIT {}",
        MOST_NAMED + 1
    );
    let mut found = ids(context, &query).await?;
    if found.len() > 1 {
        let more = if found.len() > MOST_NAMED { " ..." } else { "" };
        found.truncate(MOST_NAMED);
        let found = found.join(", ");
        return Err(Error::Usage(format!("more than one trace begins with {prefix}: {found}{more}")));
    }
    Ok(found.pop())
}

async fn slowest(context: &SessionContext) -> Result<Option<String>> {
    let query = "SELECT trace_id FROM traces ORDER BY duration_ns DESC, trace_id LIMIT 1";
    Ok(ids(context, query).await?.pop())
}

async fn ids(context: &SessionContext, query: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for batch in session::plan(context, query).await?.collect().await? {
        ids.extend(texts(&batch, "trace_id")?.iter().flatten().map(str::to_owned));
    }
    Ok(ids)
}

async fn show(
    context: &SessionContext,
    trace_id: &str,
    with_why: bool,
    offset_s: i32,
) -> Result<Option<String>> {
    let spans = format!("SELECT * FROM spans WHERE trace_id = '{trace_id}'");
    let batches =
        session::plan(context, &with_peers(&spans, Some(MAX_SPANS as u64))).await?.collect().await?;
    let mut columns = Vec::new();
    for batch in &batches {
        columns.push((SpanBatch::new(batch)?, Peers::new(batch)?));
    }
    let mut nodes = Vec::new();
    for (spans, peers) in &columns {
        nodes.extend(spans.rows().enumerate().map(|(index, row)| Node { row, peers: peers.of(index) }));
    }
    if nodes.is_empty() {
        return Ok(None);
    }
    let evidence = if with_why { Some(why::Evidence::read(context, trace_id).await?) } else { None };
    let tree = Tree::new(&nodes);
    Ok(Some(tree.print(trace_id, evidence.as_ref(), offset_s)))
}

/// A span and the processes at both ends of its connection.
pub struct Node<'a> {
    row: SpanRow<'a>,
    peers: (Option<&'a str>, Option<&'a str>),
}

struct Tree<'a> {
    nodes: &'a [Node<'a>],
    tree: TraceTree,
    terminal: Terminal,
}

impl<'a> Tree<'a> {
    fn new(nodes: &'a [Node<'a>]) -> Tree<'a> {
        let spans = nodes.iter().map(|node| TreeSpan {
            id: node.row.span_id,
            parent_id: node.row.parent_span_id,
            start_ns: node.row.start_time,
            end_ns: node.row.end_time,
        });
        Tree { nodes, tree: TraceTree::new(spans), terminal: terminal::stdout() }
    }

    fn print(&self, trace_id: &str, evidence: Option<&why::Evidence>, offset_s: i32) -> String {
        let processes: BTreeSet<_> = self.nodes.iter().filter_map(|node| node.row.process_id).collect();
        let mut text = format!(
            "trace {trace_id}\n{}, {} in {} spans of {} processes\n\n",
            time(self.tree.start_ns, offset_s, 6),
            duration(self.tree.length_ns),
            count(self.nodes.len() as u64),
            processes.len(),
        );
        let bar = self.terminal.width().map_or(BAR, |columns| (columns / 8).clamp(8, BAR));
        let head = format!("{:>10} {:>10} {:>10}", "start", "duration", "own");
        let _ = writeln!(text, "{}", self.terminal.paint(Paint::Bold, &head));
        for (place, depth) in self.tree.walk() {
            self.line(place, depth, bar, &mut text);
            if let Some(evidence) = evidence {
                self.why(place, depth, bar, evidence, &mut text);
            }
        }
        text
    }

    fn line(&self, place: usize, depth: usize, bar: usize, text: &mut String) {
        let node = &self.nodes[place];
        let row = &node.row;
        let status = status_of(row).map(|status| format!(" {status}")).unwrap_or_default();
        let late = match (row.late_status, row.late_ns) {
            (Some(status), Some(ns)) => format!(", {status} came {} later", duration(ns)),
            _ => String::new(),
        };
        let accepted = row.late_accept_ns();
        let accepted = accepted.map(|ns| format!(", accepted after {}", duration(ns))).unwrap_or_default();
        let outcome = row.ended().name();
        let label =
            format!("{} {}  {}  {outcome}{status}{late}{accepted}", row.kind, row.hop(node.peers), what(row));
        let line = format!(
            "{:>10} {:>10} {:>10}  {}  {}{}",
            format!("+{}", duration(row.start_time - self.tree.start_ns)),
            duration(row.duration_ns),
            duration(row.own_ns),
            self.bar(row, bar),
            "  ".repeat(depth.min(40)),
            escape_controls(&label),
        );
        let line = self.terminal.wrap(&line, 36 + bar + 2 * depth.min(40));
        let has_failed = row.ended().failure().is_some();
        let line = if has_failed { self.terminal.paint(Paint::Red, &line) } else { line };
        let _ = writeln!(text, "{line}");
    }

    fn why(&self, place: usize, depth: usize, bar: usize, evidence: &why::Evidence, text: &mut String) {
        let node = &self.nodes[place];
        let parent = self.nodes.iter().find(|other| Some(other.row.span_id) == node.row.parent_span_id);
        let words = evidence.words(node, parent);
        let indent = 36 + bar + 2 * depth.min(40);
        let line = format!("{:indent$}{}", "", escape_controls(&words));
        let _ = writeln!(text, "{}", self.terminal.wrap(&line, indent + 2));
    }

    /// Where the span lies within the trace; one character of `columns` at least.
    fn bar(&self, row: &SpanRow<'_>, columns: usize) -> String {
        let place = |ns: i64| {
            let part = (ns - self.tree.start_ns) as f64 / self.tree.length_ns as f64;
            (part * columns as f64).clamp(0.0, columns as f64)
        };
        let from = (place(row.start_time).floor() as usize).min(columns - 1);
        let to = (place(row.end_time).ceil() as usize).clamp(from + 1, columns);
        format!("{}{}{}", "·".repeat(from), "█".repeat(to - from), "·".repeat(columns - to))
    }
}
