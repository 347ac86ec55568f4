//! Comparisons of spans with the truth.
//!
//! In: spans, and what clients, servers or proxies noted. Out: a failed test that
//! names the first few differences, or nothing.

use std::collections::BTreeMap;

use super::capture::Span;
use super::chain::Way;
use super::client::Exchange;
use super::servers::Served;

/// How far wall-clock times of one recording may be off the clients' own: the
/// clock may be adjusted while it runs.
const CLOCK_SLACK_NS: i64 = 50_000_000;

/// Spans of one kind on the connections to `port`, by the client's port, in order.
pub fn on_hop<'a>(spans: &'a [Span], kind: &str, port: u16) -> BTreeMap<u16, Vec<&'a Span>> {
    let mut hop: BTreeMap<u16, Vec<&Span>> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.kind == kind && span.dst_port == port) {
        hop.entry(span.src_port).or_default().push(span);
    }
    hop
}

/// Fails with the first few of `problems` if there are any.
pub fn none_of(what: &str, problems: &[String]) {
    let first: Vec<_> = problems.iter().take(8).map(String::as_str).collect();
    assert!(problems.is_empty(), "{what}: {} problems, among them:\n{}", problems.len(), first.join("\n"));
}

/// Every exchange is exactly one span of `kind` on its connection to `port`, in
/// order, and says what the client knows.
pub fn exchanges(spans: &[Span], kind: &str, port: u16, truth: &[Exchange]) {
    let mut expected: BTreeMap<u16, Vec<&Exchange>> = BTreeMap::new();
    for exchange in truth {
        expected.entry(exchange.client_port).or_default().push(exchange);
    }
    let hop = on_hop(spans, kind, port);
    let mut problems = surplus(&hop, &expected);
    for (client_port, exchanges) in &expected {
        let spans = hop.get(client_port).map_or(&[][..], Vec::as_slice);
        if spans.len() != exchanges.len() {
            let (found, made) = (spans.len(), exchanges.len());
            problems.push(format!("{kind} :{client_port} -> :{port}: {found} spans of {made} requests"));
            continue;
        }
        for (span, exchange) in paired(spans, exchanges, |exchange| &exchange.path) {
            problems.extend(
                differences(span, exchange)
                    .into_iter()
                    .map(|d| format!("{d}\n   in {span:?}\n   of {exchange:?}")),
            );
        }
    }
    none_of(&format!("{kind} spans at port {port}"), &problems);
}

/// Pairs spans with requests in order. Pipelined requests begin with one call, so
/// at the same time: among those the path decides.
fn paired<'a, T>(
    spans: &[&'a Span],
    truth: &[&'a T],
    path_of: impl Fn(&T) -> &String,
) -> Vec<(&'a Span, &'a T)> {
    let mut left = spans.to_vec();
    let mut next = |truth: &T| {
        let together = left.iter().take_while(|span| span.start_ns == left[0].start_ns);
        let same_path = together.map(|span| span.path.as_ref()).position(|path| path == Some(path_of(truth)));
        left.remove(same_path.unwrap_or(0))
    };
    truth.iter().map(|truth| (next(truth), *truth)).collect()
}

fn surplus<T>(hop: &BTreeMap<u16, Vec<&Span>>, expected: &BTreeMap<u16, T>) -> Vec<String> {
    let extra = hop.iter().filter(|(port, _)| !expected.contains_key(port));
    extra
        .map(|(port, spans)| format!("{} spans of nobody's port {port}: {:?}", spans.len(), spans[0]))
        .collect()
}

fn differences(span: &Span, truth: &Exchange) -> Vec<String> {
    let outcome = if truth.status.is_some_and(|status| status >= 500) { "error" } else { "ok" };
    let mut found = Vec::new();
    let mut same = |what: &str, span: String, truth: String| {
        if span != truth {
            found.push(format!("{what} is {span}, not {truth}"));
        }
    };
    same("method", format!("{:?}", span.method), format!("{:?}", Some(&truth.method)));
    same("path", format!("{:?}", span.path), format!("{:?}", Some(&truth.path)));
    same("status", format!("{:?}", span.status), format!("{:?}", truth.status));
    same("outcome", span.outcome.clone(), outcome.to_owned());
    same("request_bytes", format!("{:?}", span.request_bytes), format!("{:?}", Some(truth.request_bytes)));
    same("response_bytes", format!("{:?}", span.response_bytes), format!("{:?}", Some(truth.response_bytes)));
    // No body may be told as null or as 0.
    same(
        "request body",
        span.request_body_bytes.unwrap_or(0).to_string(),
        truth.request_body_bytes.to_string(),
    );
    // Chunks that nobody kept the sizes of: not known, and said so.
    if !(truth.chunked && span.response_body_bytes.is_none()) {
        let body = span.response_body_bytes.unwrap_or(0).to_string();
        same("response body", body, truth.response_body_bytes.to_string());
    }
    same("source", span.src_addr.clone(), "127.0.0.1".to_owned());
    same("destination", span.dst_addr.clone(), "127.0.0.1".to_owned());
    same("end - start", (span.end_ns - span.start_ns).to_string(), span.duration_ns.to_string());
    if span.duration_ns > truth.took_ns {
        found.push(format!("it took {} ns, the client's whole exchange {}", span.duration_ns, truth.took_ns));
    }
    if span.start_ns < truth.began_ns - CLOCK_SLACK_NS {
        found.push(format!("it starts {} ns before the client did", truth.began_ns - span.start_ns));
    }
    found
}

/// Every row of a server's log is exactly one server span on its connection, in order.
pub fn served(spans: &[Span], port: u16, truth: &[Served]) {
    let hop = on_hop(spans, "server", port);
    let mut rows: BTreeMap<u16, Vec<&Served>> = BTreeMap::new();
    for row in truth {
        rows.entry(row.remote_port).or_default().push(row);
    }
    let mut problems = surplus(&hop, &rows);
    for (remote, rows) in &mut rows {
        // Logged in order of their ends; `nth` tells the order of their beginnings.
        rows.sort_by_key(|row| row.nth);
        let spans = hop.get(remote).map_or(&[][..], Vec::as_slice);
        if spans.len() != rows.len() {
            problems.push(format!(
                "server :{remote} -> :{port}: {} spans of {} logged",
                spans.len(),
                rows.len()
            ));
            continue;
        }
        for (span, row) in paired(spans, rows, |row| &row.path) {
            // A server writes its answer, and logs it, also where the client has gone.
            let late = span.outcome == "client_closed" && span.status.is_none();
            let status = if late { span.late_status } else { span.status };
            let same = span.method.as_ref() == Some(&row.method)
                && span.path.as_ref() == Some(&row.path)
                && status == Some(row.status)
                && row.request_bytes.is_none_or(|bytes| span.request_bytes == Some(bytes))
                && (late || answered_alike(span, row));
            if !same {
                problems.push(format!("{span:?}\n   logged as {row:?}"));
            }
        }
    }
    none_of(&format!("server spans at port {port} against its log"), &problems);
}

fn answered_alike(span: &Span, row: &Served) -> bool {
    row.response_bytes.is_none_or(|bytes| span.response_bytes == Some(bytes))
        && row.body_bytes.is_none_or(|bytes| span.response_body_bytes.is_none_or(|body| body == bytes))
}

/// How many parents within a chain were found.
#[derive(Debug, Default, PartialEq)]
pub struct Score {
    pub requests: usize,
    pub right: usize,
    pub missing: usize,
    pub wrong: Vec<String>,
}

/// Like [`on_hop`], but by the client's port and how many connections had it before.
fn on_connections<'a>(spans: &'a [Span], kind: &str, port: u16) -> BTreeMap<(u16, usize), Vec<&'a Span>> {
    let mut hop = BTreeMap::new();
    for (client_port, spans) in on_hop(spans, kind, port) {
        let mut connections: Vec<i64> = Vec::new();
        for span in spans {
            let found = connections.iter().position(|id| *id == span.connection_id);
            let nth = found.unwrap_or_else(|| {
                connections.push(span.connection_id);
                connections.len() - 1
            });
            hop.entry((client_port, nth)).or_insert_with(Vec::new).push(span);
        }
    }
    hop
}

/// Compares the parents of all spans of a chain with the proxies' logs. On each way
/// the k-th span of every hop and side belongs to the k-th request; fails where the
/// counts differ.
pub fn score(spans: &[Span], ports: [u16; 3], ways: &[Way]) -> Score {
    let sides: Vec<_> = ports
        .iter()
        .flat_map(|port| [on_connections(spans, "client", *port), on_connections(spans, "server", *port)])
        .collect();
    let mut score = Score::default();
    for way in ways {
        let connection = |hop: usize| (way.ports[hop], way.uses[hop]);
        let of = |side: usize| sides[side].get(&connection(side / 2)).cloned().unwrap_or_default();
        let lists: Vec<_> = (0..6).map(of).collect();
        let lengths: Vec<_> = lists.iter().map(Vec::len).collect();
        assert!(lengths.iter().all(|length| *length == lengths[0]), "{way:?}: {lengths:?} spans a side");
        for nth in 0..lengths[0] {
            let request: Vec<_> = lists.iter().map(|list| list[nth]).collect();
            score.requests += 1;
            judge(&mut score, request[0], None);
            for pair in request.windows(2) {
                judge(&mut score, pair[1], Some(&pair[0].span_id));
            }
        }
    }
    let all: usize = sides.iter().flat_map(BTreeMap::values).map(Vec::len).sum();
    assert_eq!(all, score.requests * 6, "spans on connections that no proxy logged");
    score
}

fn judge(score: &mut Score, span: &Span, parent: Option<&String>) {
    match (&span.parent_span_id, parent) {
        (found, expected) if found.as_ref() == expected => score.right += usize::from(expected.is_some()),
        (None, Some(_)) => score.missing += 1,
        (found, expected) => score.wrong.push(format!("{found:?} instead of {expected:?} above {span:?}")),
    }
}

/// Every trace is one request of a chain: six spans and what they waited for connections, one root, each within its
/// parent and no longer than it, own times that add up to the root's duration.
pub fn whole_traces(spans: &[Span], requests: usize) {
    let mut traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(&span.trace_id).or_default().push(span);
    }
    let mut problems = Vec::new();
    if traces.len() != requests {
        problems.push(format!("{} traces of {requests} requests", traces.len()));
    }
    for (id, spans) in &traces {
        if let Err(why) = whole(spans) {
            problems.push(format!("trace {id}: {why}"));
        }
    }
    none_of("traces", &problems);
}

fn whole(spans: &[&Span]) -> Result<(), String> {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.span_id, *span)).collect();
    let roots: Vec<_> = spans.iter().filter(|span| span.parent_span_id.is_none()).collect();
    let sides = spans.iter().filter(|span| span.kind != "internal").count();
    if sides != 6 || by_id.len() != spans.len() || roots.len() != 1 {
        return Err(format!("{sides} spans, {} ids, {} roots", by_id.len(), roots.len()));
    }
    for span in spans {
        let Some(id) = &span.parent_span_id else {
            continue;
        };
        let parent = by_id.get(id).ok_or("a parent of another trace")?;
        if span.start_ns < parent.start_ns || span.end_ns > parent.end_ns {
            return Err(format!("{span:?}\n   is not within {parent:?}"));
        }
        if span.kind == "internal" {
            continue;
        }
        let expected = if span.kind == "server" { "connection" } else { "proxy_bytes" };
        if span.link_evidence.as_deref() != Some(expected) {
            return Err(format!("evidence {:?} for {span:?}", span.link_evidence));
        }
    }
    let own: i64 = spans.iter().map(|span| span.own_ns).sum();
    if own != roots[0].duration_ns {
        return Err(format!("own times add up to {own} of {} ns", roots[0].duration_ns));
    }
    Ok(())
}
