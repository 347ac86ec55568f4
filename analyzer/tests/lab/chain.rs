//! The chain of the story: client -> edge Envoy -> inner Envoy -> Go server, and
//! the truth about which connection belongs to which.

use std::collections::{BTreeMap, VecDeque};

use tempfile::TempDir;

use super::envoy::{Carried, Envoy, Mode};
use super::servers::{self, Server};
use super::{folder, wait_for};

/// Two Envoys as TCP proxies before a server.
pub struct Chain {
    pub edge: Envoy,
    pub inner: Envoy,
    pub server: Server,
    // Last, so that the programs end before their folder goes.
    _dir: TempDir,
}

/// The client's port on each of the three hops of one request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub ports: [u16; 3],
    /// How many connections had each port before on its hop: the kernel gives ports anew.
    pub uses: [usize; 3],
}

impl Chain {
    /// Starts the chain before the Go server.
    pub fn start() -> Self {
        Self::before(|dir| servers::go(dir, 300_000))
    }

    /// Starts the chain before any server.
    pub fn before(server: impl FnOnce(&std::path::Path) -> Server) -> Self {
        let dir = folder();
        let server = server(dir.path());
        let inner = Envoy::start("inner", dir.path(), Mode::Tcp, server.port);
        let edge = Envoy::start("edge", dir.path(), Mode::Tcp, inner.port);
        Self { edge, inner, server, _dir: dir }
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.edge.port
    }

    /// The ports of the three hops, outermost first.
    pub fn ports(&self) -> [u16; 3] {
        [self.edge.port, self.inner.port, self.server.port]
    }

    /// Waits until both proxies logged `connections`, then joins their logs.
    pub fn ways(&self, connections: usize) -> Vec<Way> {
        wait_for("both Envoys to log every connection", || {
            self.edge.carried().len() >= connections && self.inner.carried().len() >= connections
        });
        join(&self.edge.carried(), &self.inner.carried())
    }
}

/// Joins the two logs on the edge's upstream port, which is the inner's downstream port. Both log connections when they
/// end, and a port has one connection at a time: the k-th of a port in one log is the k-th in the other.
pub fn join(edge: &[Carried], inner: &[Carried]) -> Vec<Way> {
    let mut uses = BTreeMap::new();
    let mut used = |hop: usize, port: u16| {
        let count: &mut usize = uses.entry((hop, port)).or_default();
        *count += 1;
        (port, *count - 1)
    };
    let mut onwards: BTreeMap<u16, VecDeque<_>> = BTreeMap::new();
    for row in inner {
        let third = row.upstream_port.map(|port| used(2, port));
        onwards.entry(row.downstream_port).or_default().push_back(third);
    }
    let mut way = |row: &Carried| {
        let hops = [used(0, row.downstream_port), used(1, row.upstream_port?)];
        let third = onwards.get_mut(&hops[1].0)?.pop_front()??;
        let hops = [hops[0], hops[1], third];
        Some(Way { ports: hops.map(|hop| hop.0), uses: hops.map(|hop| hop.1) })
    };
    edge.iter().filter_map(&mut way).collect()
}
