//! The traces that are shown: the findings' typical and slow ones, or those of the whole recording.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::prelude::SessionContext;

use super::kernel_events::{self, Noted};
use super::{Bar, Trace, TraceGroup};
use crate::error::Result;
use crate::findings::Spike;
use crate::sql::session;
use crate::tables::SpanRow;
use crate::tables::columns::{numbers, texts};
use crate::tables::spans::{Peers, SpanBatch, status_of, what, with_peers};
use crate::tables::trace_tree::{TraceTree, TreeSpan};
use crate::text::{duration, size};

/// Traces of each kind beside a finding.
const EACH: usize = 3;
/// Spans of a trace that are shown.
const MAX_BARS: usize = 30;
/// Characters of a path that are shown.
const MAX_CHARACTERS: usize = 200;
/// Spans that are read.
const MAX_ROWS: u64 = 20_000;

/// A span with the names at both ends.
struct Node {
    id: String,
    parent: Option<String>,
    start_ns: i64,
    end_ns: i64,
    process_id: Option<i64>,
    connection_id: Option<i64>,
    bar: Bar,
}

/// Reads the traces.
pub async fn gather(context: &SessionContext, spikes: &[Spike]) -> Result<Vec<TraceGroup>> {
    let mut wanted: Vec<(Option<usize>, Vec<String>, Vec<String>)> = Vec::new();
    for (place, spike) in spikes.iter().enumerate() {
        let first =
            |ids: &[String]| ids.iter().filter(|id| is_id(id)).take(EACH).cloned().collect::<Vec<_>>();
        wanted.push((Some(place), first(&spike.typical_traces), first(&spike.slow_traces)));
    }
    wanted.retain(|(_, typical, slow)| !typical.is_empty() || !slow.is_empty());
    if wanted.is_empty() {
        let (typical, slow) = of_recording(context).await?;
        wanted.push((None, typical, slow));
    }
    let ids: BTreeSet<&String> =
        wanted.iter().flat_map(|(_, typical, slow)| typical.iter().chain(slow)).collect();
    let traces = read(context, &ids).await?;
    let take = |ids: &[String]| ids.iter().filter_map(|id| traces.get(id).cloned()).collect::<Vec<_>>();
    Ok(wanted
        .iter()
        .map(|(finding, typical, slow)| TraceGroup {
            finding: *finding,
            typical: take(typical),
            slow: take(slow),
        })
        .filter(|group| !group.typical.is_empty() || !group.slow.is_empty())
        .collect())
}

/// Ids come from data; what is no id stays out of SQL.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Traces around the median and the slowest ones, where no finding names any.
async fn of_recording(context: &SessionContext) -> Result<(Vec<String>, Vec<String>)> {
    let slow =
        ids(context, "SELECT trace_id FROM traces ORDER BY root_duration_ns DESC, trace_id LIMIT 4").await?;
    let median = "SELECT CAST(approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY root_duration_ns) AS BIGINT)
                  AS median_ns, count(*) AS traces FROM traces";
    let batches = session::plan(context, median).await?.collect().await?;
    let mut typical = Vec::new();
    for batch in &batches {
        let (median_ns, traces) = (numbers(batch, "median_ns")?, numbers(batch, "traces")?);
        // Of fewer traces the slow ones are all there is.
        if batch.num_rows() == 1 && traces.value(0) > 4 {
            let nearest = format!(
                "SELECT trace_id FROM traces ORDER BY abs(root_duration_ns - {}), trace_id LIMIT 2",
                median_ns.value(0)
            );
            typical = ids(context, &nearest).await?;
        }
    }
    Ok((typical, slow))
}

async fn ids(context: &SessionContext, query: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for batch in session::plan(context, query).await?.collect().await? {
        let column = texts(&batch, "trace_id")?;
        ids.extend((0..batch.num_rows()).map(|row| column.value(row).to_owned()));
    }
    ids.retain(|id| is_id(id));
    Ok(ids)
}

async fn read(context: &SessionContext, ids: &BTreeSet<&String>) -> Result<BTreeMap<String, Trace>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let list: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let spans = format!("SELECT * FROM spans WHERE trace_id IN ({})", list.join(", "));
    let mut nodes: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for batch in session::plan(context, &with_peers(&spans, Some(MAX_ROWS))).await?.collect().await? {
        let peers = Peers::new(&batch)?;
        for (place, row) in SpanBatch::new(&batch)?.rows().enumerate() {
            nodes.entry(row.trace_id.to_owned()).or_default().push(node(&row, peers.of(place)));
        }
    }
    let trees: Vec<TraceTree> = nodes.values().map(|nodes| tree(nodes)).collect();
    let ranges: Vec<[i64; 2]> =
        trees.iter().map(|tree| [tree.start_ns, tree.start_ns + tree.length_ns]).collect();
    let noted = kernel_events::read(context, &ranges).await?;
    let traces = nodes.into_iter().zip(&trees);
    Ok(traces.map(|((id, nodes), tree)| (id.clone(), trace(id, &nodes, tree, &noted))).collect())
}

fn node(row: &SpanRow<'_>, peers: (Option<&str>, Option<&str>)) -> Node {
    let status = status_of(row).map(|status| format!(" {status}")).unwrap_or_default();
    let hop = row.hop(peers);
    let mut what: String = what(row).chars().take(MAX_CHARACTERS).collect();
    what.push_str(&status);
    Node {
        id: row.span_id.to_owned(),
        parent: row.parent_span_id.map(str::to_owned),
        start_ns: row.start_time,
        end_ns: row.end_time.max(row.start_time),
        process_id: row.process_id,
        connection_id: Some(row.connection_id),
        bar: Bar {
            kind: row.kind.to_owned(),
            works: row.answers() || row.is_within(),
            outcome: row.ended(),
            duration_ns: row.duration_ns,
            own_ns: row.own_ns,
            evidence: evidence(row, &hop, &what),
            hop,
            what,
            ..Bar::default()
        },
    }
}

/// What is known about a span, a line each.
fn evidence(row: &SpanRow<'_>, hop: &str, what: &str) -> Vec<String> {
    let side = if row.is_within() { format!("within {hop}") } else { format!("{} side of {hop}", row.kind) };
    let mut lines = vec![
        side,
        what.to_owned(),
        format!("took {}, of it own time {}", duration(row.duration_ns), duration(row.own_ns)),
        outcome(row),
    ];
    if let Some(ns) = row.late_accept_ns() {
        lines.push(format!("of its own time {} in the listen queue", duration(ns)));
    }
    if row.is_wait() {
        lines.push(format!("a wait for connection {}, span {}", row.connection_id, row.span_id));
        return lines;
    }
    let bytes = |bytes: i64| size(u64::try_from(bytes).unwrap_or_default());
    if let Some(request) = row.request_bytes {
        let answer = row.response_bytes.map_or("none".to_owned(), bytes);
        lines.push(format!("request {}, answer {answer}", bytes(request)));
    }
    lines.push(link(row));
    if let Some(tid) = row.tid {
        lines.push(format!("thread {tid}, span {}", row.span_id));
    }
    lines
}

fn outcome(row: &SpanRow<'_>) -> String {
    let (name, words) = (row.ended().name(), row.ended().words());
    match (row.late_status, row.late_ns) {
        (Some(status), Some(ns)) => {
            format!("{name}: {words}; {status} came {} later", duration(ns))
        }
        _ => format!("{name}: {words}"),
    }
}

fn link(row: &SpanRow<'_>) -> String {
    let Some(evidence) = row.link_evidence else {
        return match row.remote_parent_span_id {
            Some(id) => format!("parent {id} by its trace context, not recorded"),
            None => "no recorded parent: nothing shows what caused it".to_owned(),
        };
    };
    let words = match evidence {
        "context" if row.is_imported() => "its tracer names it",
        "connection" => "both ends of one connection: addresses, namespace and sequence numbers agree",
        "proxy_bytes" => "the proxy passed the same bytes on, at the same places",
        "context" => "the trace context in its head names the trace",
        "thread" => "the same thread, which works on one request after the other",
        "assignment" => "the best fit of all candidates",
        _ => "",
    };
    let sure = row.link_confidence.map(|sure| format!(", confidence {sure:.2}")).unwrap_or_default();
    format!("parent by {evidence} ({words}{sure})")
}

fn tree(nodes: &[Node]) -> TraceTree {
    TraceTree::new(nodes.iter().map(|node| TreeSpan {
        id: &node.id,
        parent_id: node.parent.as_deref(),
        start_ns: node.start_ns,
        end_ns: node.end_ns,
    }))
}

fn trace(id: String, nodes: &[Node], tree: &TraceTree, noted: &[Noted]) -> Trace {
    let start_ns = tree.start_ns;
    let bar = |(place, depth)| {
        let node = &nodes[place];
        let children = || tree.children(place).iter().map(|&child| &nodes[child]);
        let inner = children().map(|child| [child.start_ns, child.end_ns]).collect();
        let shift = |[from, to]: [i64; 2]| [from - start_ns, to - start_ns];
        let own = own_intervals([node.start_ns, node.end_ns], inner).into_iter().map(shift).collect();
        // What keeps the answering process from taking a request shows as waiting in the requesting one's span.
        let answering = children().filter(|child| child.connection_id == node.connection_id);
        let processes: Vec<i64> =
            answering.filter_map(|child| child.process_id).chain(node.process_id).collect();
        let between = [node.start_ns, node.end_ns];
        let marks = kernel_events::during(noted, (&processes, node.connection_id), between, start_ns);
        Bar { depth, offset_ns: node.start_ns - start_ns, own, marks, ..node.bar.clone() }
    };
    let spans: Vec<Bar> = tree.walk().take(MAX_BARS).map(bar).collect();
    Trace { id, start_ns, length_ns: tree.length_ns, more: nodes.len() - spans.len(), spans }
}

/// What remains of an interval without others.
fn own_intervals([from, to]: [i64; 2], mut inner: Vec<[i64; 2]>) -> Vec<[i64; 2]> {
    inner.sort_unstable();
    let mut own = Vec::new();
    let mut at = from;
    for [begin, end] in inner {
        if begin > at {
            own.push([at, begin.min(to)]);
        }
        at = at.max(end);
        if at >= to {
            break;
        }
    }
    if at < to {
        own.push([at, to]);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_is_what_children_leave() {
        let cases = [
            (vec![], vec![[0, 100]]),
            (vec![[20, 40], [30, 60]], vec![[0, 20], [60, 100]]),
            (vec![[-10, 20], [90, 120]], vec![[20, 90]]),
            (vec![[0, 100]], vec![]),
            (vec![[120, 130]], vec![[0, 100]]),
        ];
        for (inner, own) in cases {
            assert_eq!(own_intervals([0, 100], inner), own);
        }
    }

    #[test]
    fn a_trace_is_a_tree_of_bars() {
        let node = |id: &str, parent: Option<&str>, start_ns, end_ns| Node {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            start_ns,
            end_ns,
            process_id: None,
            connection_id: None,
            bar: Bar { kind: id.to_owned(), ..Bar::default() },
        };
        let nodes = [
            node("c", Some("b"), 20, 30),
            node("a", None, 10, 100),
            node("b", Some("a"), 15, 40),
            node("d", Some("a"), 50, 60),
        ];
        let trace = trace("t".to_owned(), &nodes, &tree(&nodes), &[]);
        let shown: Vec<(&str, usize, i64)> =
            trace.spans.iter().map(|bar| (bar.kind.as_str(), bar.depth, bar.offset_ns)).collect();
        assert_eq!(shown, [("a", 0, 0), ("b", 1, 5), ("c", 2, 10), ("d", 1, 40)]);
        assert_eq!(trace.spans[0].own, [[0, 5], [30, 40], [50, 90]]);
        assert_eq!((trace.length_ns, trace.more), (90, 0));
    }

    #[test]
    fn only_ids_reach_sql() {
        assert!(is_id("00112233445566778899aabbccddeeff"));
        assert!(!is_id("') OR 1=1 --") && !is_id("0011223344556677889 aabbccddeeff1"));
    }
}
