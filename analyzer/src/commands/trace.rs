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
use crate::tables::spans::{Peers, SpanBatch, status_of, what, with_peers};
use crate::tables::trace_tree::{TraceTree, TreeSpan};
use crate::text::{count, duration, escape_controls, time};

/// Width of the bars, characters.
const BAR: usize = 32;
/// A trace with more spans is cut here: nobody reads on.
const MAX_SPANS: usize = 5_000;

/// Prints the trace; exit code 1 where there is none of that id.
pub fn run(args: TraceArgs) -> Result<ExitCode> {
    let capture = args.capture.open()?;
    let trace_id = args.trace_id.to_ascii_lowercase();
    if trace_id.len() != 32 || !trace_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::Usage(format!("{}: a trace id has 32 hex digits", args.trace_id)));
    }
    let found = block_on(async {
        let context = session::open(&capture)?;
        show(&context, &trace_id, args.why, capture.manifest.host.utc_offset_s).await
    })?;
    match found {
        Some(text) => print::text(&text).map(|()| ExitCode::SUCCESS),
        None => {
            print::note(&format!("retrospan: no trace {trace_id} in {}", args.capture.path.display()));
            Ok(ExitCode::from(1))
        }
    }
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
}

impl<'a> Tree<'a> {
    fn new(nodes: &'a [Node<'a>]) -> Tree<'a> {
        let spans = nodes.iter().map(|node| TreeSpan {
            id: node.row.span_id,
            parent_id: node.row.parent_span_id,
            start_ns: node.row.start_time,
            end_ns: node.row.end_time,
        });
        Tree { nodes, tree: TraceTree::new(spans) }
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
        let _ = writeln!(text, "{:>10} {:>10} {:>10}  {:BAR$}", "start", "duration", "own", "");
        for (place, depth) in self.tree.walk() {
            self.line(place, depth, &mut text);
            if let Some(evidence) = evidence {
                self.why(place, depth, evidence, &mut text);
            }
        }
        text
    }

    fn line(&self, place: usize, depth: usize, text: &mut String) {
        let node = &self.nodes[place];
        let row = &node.row;
        let status = status_of(row).map(|status| format!(" {status}")).unwrap_or_default();
        let late = match (row.late_status, row.late_ns) {
            (Some(status), Some(ns)) => format!(", {status} came {} later", duration(ns)),
            _ => String::new(),
        };
        let outcome = row.ended().name();
        let label = format!("{} {}  {}  {outcome}{status}{late}", row.kind, row.hop(node.peers), what(row));
        let _ = writeln!(
            text,
            "{:>10} {:>10} {:>10}  {}  {}{}",
            format!("+{}", duration(row.start_time - self.tree.start_ns)),
            duration(row.duration_ns),
            duration(row.own_ns),
            self.bar(row),
            "  ".repeat(depth.min(40)),
            escape_controls(&label),
        );
    }

    fn why(&self, place: usize, depth: usize, evidence: &why::Evidence, text: &mut String) {
        let node = &self.nodes[place];
        let parent = self.nodes.iter().find(|other| Some(other.row.span_id) == node.row.parent_span_id);
        let words = evidence.words(node, parent);
        let indent = " ".repeat(36 + BAR + 2 * depth.min(40));
        let _ = writeln!(text, "{indent}{}", escape_controls(&words));
    }

    /// Where the span lies within the trace; one character at least.
    fn bar(&self, row: &SpanRow<'_>) -> String {
        let place = |ns: i64| {
            let part = (ns - self.tree.start_ns) as f64 / self.tree.length_ns as f64;
            (part * BAR as f64).clamp(0.0, BAR as f64)
        };
        let from = (place(row.start_time).floor() as usize).min(BAR - 1);
        let to = (place(row.end_time).ceil() as usize).clamp(from + 1, BAR);
        format!("{}{}{}", "·".repeat(from), "█".repeat(to - from), "·".repeat(BAR - to))
    }
}
