//! Who asks whom.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::array::Array;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use super::{Edge, Timeline, quantile};
use crate::error::Result;
use crate::hashing::IntMap;
use crate::sql::session;
use crate::tables::columns::{numbers, texts};
use crate::tables::spans::Sides;

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
    /// `inner-envoy -> nginx:8080`, as in `connections.hop`.
    pub name: String,
    /// Requests on its connections.
    pub requests: i64,
    /// Its connections.
    pub connections: u64,
}

impl Hop {
    /// The side that stands for the hop: the requesting one where it was recorded, for it sees the network too.
    pub fn first_side(&self) -> usize {
        usize::from(!self.recorded[0])
    }
}

impl Hops {
    /// Reads the connections that carried requests.
    pub async fn read(context: &SessionContext) -> Result<Hops> {
        let query = "SELECT c.connection_id, c.requests, c.dst_port, c.hop,
                            coalesce(client.name, c.src_addr, '?') AS src,
                            coalesce(server.name, c.dst_addr, '?') AS dst,
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
            let (src, dst, hop) = (texts(&batch, "src")?, texts(&batch, "dst")?, texts(&batch, "hop")?);
            for row in 0..batch.num_rows() {
                let port = port.is_valid(row).then(|| port.value(row));
                let key = (src.value(row).to_owned(), dst.value(row).to_owned(), port);
                let place = *places.entry(key).or_insert_with_key(|(from, to, port)| {
                    let (from, to, port, name) = (from.clone(), to.clone(), *port, hop.value(row).to_owned());
                    hops.list.push(Hop { from, to, port, name, ..Hop::default() });
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
        order.sort_by(|&a, &b| {
            let [a, b] = [a, b].map(|place| &self.list[place]);
            b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name))
        });
        let mut new_places = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            new_places[old] = new;
        }
        self.list = order.iter().map(|&old| self.list[old].clone()).collect();
        self.of_connection.values_mut().for_each(|place| *place = new_places[*place]);
    }

    /// Requests of those who answer nobody themselves: what came in from outside, once, however many hops it took.
    pub fn from_outside(&self) -> u64 {
        let answering: BTreeSet<&str> = self.list.iter().map(|hop| hop.to.as_str()).collect();
        let outside = self.list.iter().filter(|hop| !answering.contains(hop.from.as_str()));
        outside.map(|hop| u64::try_from(hop.requests).unwrap_or_default()).sum()
    }

    /// The hops with a series of their own, as edges.
    pub fn edges(&self, timeline: &Timeline, sides: Sides) -> Vec<Edge> {
        let edge = |hop: &Hop| {
            let seen_by = if hop.recorded[0] { &hop.from } else { &hop.to };
            let series = timeline.series.iter().find(|s| s.name == hop.name && s.seen_by == *seen_by)?;
            Some(Edge {
                from: hop.from.clone(),
                to: hop.to.clone(),
                name: hop.name.clone(),
                requests: series.requests,
                failed: series.failed,
                left: series.left,
                p50_ns: quantile(&series.histogram, 0.5),
                p99_ns: quantile(&series.histogram, 0.99),
                connections: hop.connections,
                seen_by_client: hop.recorded[0],
                sides,
            })
        };
        self.list.iter().filter_map(edge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_from_outside_counts_once() {
        let hop = |from: &str, to: &str, requests| Hop {
            from: from.to_owned(),
            to: to.to_owned(),
            requests,
            ..Hop::default()
        };
        let list = vec![
            hop("curl", "envoy", 70),
            hop("10.0.0.9", "envoy", 30),
            hop("envoy", "shop", 100),
            hop("shop", "redis", 400),
        ];
        assert_eq!(Hops { list, ..Hops::default() }.from_outside(), 100);
        assert_eq!(Hops::default().from_outside(), 0);
    }
}
