//! From a capture and its findings to what the pictures show.
//!
//! `spans` is read once for all heat maps ([`super::aggregate`]) and once for the traces that are shown.

use std::collections::BTreeMap;

use datafusion::arrow::array::Array;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use retrospan_formats::reader::Capture;

use super::{Edge, Fold, Lost, Report, Timeline, quantile};
use super::{aggregate, traces};
use crate::error::Result;
use crate::findings::Findings;
use crate::hashing::IntMap;
use crate::sql::session;
use crate::tables::columns::{numbers, texts};
use crate::tables::dimensions;
use crate::text::{count, duration, time};

/// Findings with pictures of their own; the rest are sentences.
const MAX_PICTURED: usize = 8;
/// Losses that are listed; the rest are in the sum.
const MAX_LOSSES: usize = 10_000;

/// Gathers everything.
pub async fn report(context: &SessionContext, capture: &Capture, findings: Findings) -> Result<Report> {
    let range_ns = range_ns(capture)?;
    let lost = losses(context).await?;
    let hops = Hops::read(context).await?;
    let pictured = &findings.spikes[..findings.spikes.len().min(MAX_PICTURED)];
    let (timeline, folds) = aggregate::run(context, &hops, pictured, range_ns, &lost).await?;
    let traces = traces::gather(context, pictured).await?;
    Ok(Report {
        name: capture
            .directory
            .file_name()
            .map_or_else(|| "capture".to_owned(), |name| name.to_string_lossy().into_owned()),
        facts: facts(capture, &timeline, range_ns),
        utc_offset_s: capture.manifest.host.utc_offset_s,
        from_ns: range_ns[0],
        to_ns: range_ns[1],
        edges: hops.edges(&timeline),
        findings,
        timeline,
        folds,
        traces,
        lost,
    })
}

/// The folded heat maps alone: for the terminal.
pub async fn folds(context: &SessionContext, capture: &Capture, findings: &Findings) -> Result<Vec<Fold>> {
    let pictured = &findings.spikes[..findings.spikes.len().min(MAX_PICTURED)];
    if pictured.is_empty() {
        return Ok(Vec::new());
    }
    let lost = losses(context).await?;
    let hops = Hops::read(context).await?;
    Ok(aggregate::run(context, &hops, pictured, range_ns(capture)?, &lost).await?.1)
}

/// Begin and end of the recording, ns since 1970.
fn range_ns(capture: &Capture) -> Result<[i64; 2]> {
    let clock = dimensions::read(capture)?.clock;
    let from_ns = clock.wall_ns(capture.manifest.started_boot_ns);
    Ok([from_ns, clock.wall_ns(capture.manifest.whole_until_boot_ns).max(from_ns.saturating_add(1))])
}

fn facts(capture: &Capture, timeline: &Timeline, [from_ns, to_ns]: [i64; 2]) -> Vec<(String, String)> {
    let manifest = &capture.manifest;
    let host = &manifest.host;
    let requests = timeline.series.first().map_or(0, |all| all.requests);
    let facts = [
        ("host", format!("{}, Linux {}", host.name, host.kernel)),
        ("from", time(from_ns, host.utc_offset_s, 0)),
        ("until", time(to_ns, host.utc_offset_s, 0)),
        ("length", duration(to_ns - from_ns)),
        ("requests over all hops", count(requests)),
        ("state", capture.state.name().to_owned()),
    ];
    facts.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Intervals of which events are missing; intervals that touch are one.
async fn losses(context: &SessionContext) -> Result<Vec<Lost>> {
    let query = "SELECT CAST(wall_time(from_boot_ns) AS BIGINT) AS from_ns,
                        CAST(wall_time(to_boot_ns) AS BIGINT) AS to_ns, kind, cause, sum(count) AS count
                 FROM loss WHERE count > 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
    let mut lost: Vec<Lost> = Vec::new();
    let mut batches = session::plan(context, query).await?.execute_stream().await?;
    while let Some(batch) = batches.next().await.transpose()? {
        let (from, to, counts) =
            (numbers(&batch, "from_ns")?, numbers(&batch, "to_ns")?, numbers(&batch, "count")?);
        let (kind, cause) = (texts(&batch, "kind")?, texts(&batch, "cause")?);
        for row in 0..batch.num_rows() {
            let what = format!("{}: {}", kind.value(row), cause.value(row).replace('_', " "));
            let next = Lost {
                from_ns: from.value(row),
                to_ns: to.value(row),
                count: u64::try_from(counts.value(row)).unwrap_or_default(),
                what,
            };
            let full = lost.len() >= MAX_LOSSES;
            match lost.last_mut() {
                Some(last) if full || (last.to_ns >= next.from_ns && last.what == next.what) => {
                    last.to_ns = last.to_ns.max(next.to_ns);
                    last.count += next.count;
                }
                _ => lost.push(next),
            }
        }
    }
    Ok(lost)
}

/// Who asks whom, and on which connections.
#[derive(Debug, Default)]
pub struct Hops {
    /// Most requests first.
    pub list: Vec<Hop>,
    /// Connection to place in `list`.
    pub of_connection: IntMap<i64, usize>,
}

/// A requesting process, an answering process and its port.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// The requesting process, or its address.
    pub from: String,
    /// The answering process, or its address.
    pub to: String,
    /// The port.
    pub port: Option<i64>,
    /// Whether the requesting side was recorded, and the answering side.
    pub recorded: [bool; 2],
    /// Requests on its connections.
    pub requests: i64,
    /// Its connections.
    pub connections: u64,
}

impl Hop {
    /// `inner-envoy -> nginx:8080`.
    pub fn name(&self) -> String {
        let port = self.port.map_or("?".to_owned(), |port| port.to_string());
        format!("{} -> {}:{port}", self.from, self.to)
    }

    /// The side that stands for the hop: the requesting one where it was recorded, for it sees the network too.
    pub fn first_side(&self) -> usize {
        usize::from(!self.recorded[0])
    }
}

impl Hops {
    /// Reads the connections that carried requests.
    async fn read(context: &SessionContext) -> Result<Hops> {
        let query = "SELECT c.connection_id, c.requests, c.dst_port,
                            coalesce(client.comm, c.src_addr, '?') AS src,
                            coalesce(server.comm, c.dst_addr, '?') AS dst,
                            CAST(c.client_socket_id IS NOT NULL AS BIGINT) AS client_recorded,
                            CAST(c.server_socket_id IS NOT NULL AS BIGINT) AS server_recorded
                     FROM connections c
                     LEFT JOIN processes client ON client.process_id = c.client_process_id
                     LEFT JOIN processes server ON server.process_id = c.server_process_id
                     WHERE c.requests > 0";
        let mut hops = Hops::default();
        let mut places: BTreeMap<(String, String, Option<i64>), usize> = BTreeMap::new();
        let mut batches = session::plan(context, query).await?.execute_stream().await?;
        while let Some(batch) = batches.next().await.transpose()? {
            let [connection, requests, port, client, server] =
                ["connection_id", "requests", "dst_port", "client_recorded", "server_recorded"]
                    .map(|name| numbers(&batch, name));
            let (connection, requests, port) = (connection?, requests?, port?);
            let recorded = [client?, server?];
            let (src, dst) = (texts(&batch, "src")?, texts(&batch, "dst")?);
            for row in 0..batch.num_rows() {
                let port = port.is_valid(row).then(|| port.value(row));
                let key = (src.value(row).to_owned(), dst.value(row).to_owned(), port);
                let place = *places.entry(key).or_insert_with_key(|(from, to, port)| {
                    let (from, to, port) = (from.clone(), to.clone(), *port);
                    hops.list.push(Hop { from, to, port, ..Hop::default() });
                    hops.list.len() - 1
                });
                let hop = &mut hops.list[place];
                hop.requests += requests.value(row);
                hop.connections += 1;
                for (side, recorded) in recorded.iter().enumerate() {
                    hop.recorded[side] |= recorded.value(row) != 0;
                }
                hops.of_connection.insert(connection.value(row), place);
            }
        }
        hops.sort();
        Ok(hops)
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|&place| (std::cmp::Reverse(self.list[place].requests), self.list[place].name()));
        let mut new_places = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            new_places[old] = new;
        }
        self.list = order.iter().map(|&old| self.list[old].clone()).collect();
        self.of_connection.values_mut().for_each(|place| *place = new_places[*place]);
    }

    /// The hops with a series of their own, as edges.
    fn edges(&self, timeline: &Timeline) -> Vec<Edge> {
        let edge = |hop: &Hop| {
            let name = hop.name();
            let seen_by = if hop.recorded[0] { &hop.from } else { &hop.to };
            let series = timeline.series.iter().find(|s| s.name == name && s.seen_by == *seen_by)?;
            Some(Edge {
                from: hop.from.clone(),
                to: hop.to.clone(),
                port: hop.port,
                requests: series.requests,
                failed: series.failed,
                left: series.left,
                p50_ns: quantile(&series.histogram, 0.5),
                p99_ns: quantile(&series.histogram, 0.99),
                connections: hop.connections,
            })
        };
        self.list.iter().filter_map(edge).collect()
    }
}
