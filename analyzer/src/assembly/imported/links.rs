//! Between which ends spans lie: what stands for connections where there are no sockets.
//!
//! A client's span and the server's span below it are the two sides of one request. Each pair of processes, addresses and
//! port is one "connection", with a side for those that ask and one for those that answer. Spans within a process lie
//! where the span lies that they are a part of: their time is that side's, too. Where they are a part of none (a timer, a
//! job), they answer whoever it was. Messages are two: from the producer to its broker, and from there to the consumer.

use std::collections::HashMap;

use retrospan_protocols::semconv::Kind;
use rustc_hash::FxBuildHasher;

use crate::assembly::imported::ends::{Ends, Name};
use crate::assembly::imported::family::{Family, NONE};

/// Where each span lies.
#[derive(Debug)]
pub struct Links {
    /// By the place of the span.
    pub of_span: Vec<Place>,
    /// All pairs of ends.
    pub list: Vec<Link>,
}

/// A side of a pair of ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// In [`Links::list`].
    pub link: u32,
    /// The answering side.
    pub answers: bool,
}

/// A pair of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// What tells it from others.
    pub key: Key,
    /// What is spoken.
    pub protocol: Name,
    /// Requests, by the spans of the asking and the answering side.
    pub requests: [i64; 2],
    /// Begin of the first span, boot time ns.
    pub first_ns: i64,
    /// End of the last one.
    pub last_ns: i64,
}

/// What tells pairs of ends apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The requesting process; 0 where it is not known.
    pub client: i64,
    /// The answering process; 0 where it is not known.
    pub server: i64,
    /// Requesting address.
    pub src: Name,
    /// Answering address.
    pub dst: Name,
    /// Answering port; 0 where it is not known.
    pub dst_port: u16,
    /// Its requests have spans of the asking side.
    pub asked: bool,
}

impl Link {
    /// The number of a side, as `socket_id` has it; there are no sockets. `place`: its own in [`Links::list`].
    pub fn side_id(place: usize, answers: bool) -> i64 {
        2 * place as i64 + 1 + i64::from(answers)
    }

    /// Its number, as `connection_id` has it: the lower one of its sides that have spans.
    pub fn id(&self, place: usize) -> i64 {
        Link::side_id(place, !self.key.asked)
    }
}

impl Links {
    /// Finds out. `ends`: those that the spans name.
    pub fn new(family: &Family, ends: &[Ends]) -> Links {
        let sides = other_sides(family);
        let mut finding =
            Finding { family, ends, sides, numbers: HashMap::default(), links: Links::empty(family) };
        for &place in &family.top_down {
            finding.span(place as usize);
        }
        finding.links
    }

    fn empty(family: &Family) -> Links {
        Links { of_span: vec![Place::default(); family.nodes.len()], list: Vec::new() }
    }
}

/// For each span of a client the server's span of the same request, and the other way round. Where a request seems to
/// have several, the first one.
fn other_sides(family: &Family) -> Vec<u32> {
    let mut sides = vec![NONE; family.nodes.len()];
    for &child in &family.children {
        let parent = family.parents[child as usize];
        let [of_child, of_parent] = [child, parent].map(|place| family.nodes[place as usize].kind);
        let is_pair = of_child == Kind::Server && of_parent == Kind::Client;
        if is_pair && sides[parent as usize] == NONE {
            sides[parent as usize] = child;
            sides[child as usize] = parent;
        }
    }
    sides
}

struct Finding<'a> {
    family: &'a Family,
    ends: &'a [Ends],
    sides: Vec<u32>,
    numbers: HashMap<Key, u32, FxBuildHasher>,
    links: Links,
}

impl Finding<'_> {
    fn span(&mut self, place: usize) {
        let node = &self.family.nodes[place];
        let parent = self.family.parent(place);
        let caller = parent.map_or(0, |parent| self.family.nodes[parent].process_id);
        if node.kind == Kind::Internal && parent.is_some() && caller == node.process_id {
            let around = parent.map(|parent| self.links.of_span[parent]).unwrap_or_default();
            self.links.of_span[place] = around;
            return;
        }
        let other = Some(self.sides[place]).filter(|&other| other != NONE).map(|other| other as usize);
        let (own, of_other) = (self.ends[place], other.map(|other| self.ends[other]).unwrap_or_default());
        let process = |place: usize| self.family.nodes[place].process_id;
        let (ends, client, server) = match node.kind {
            Kind::Client => (of_other.or(own), node.process_id, other.map_or(0, process)),
            Kind::Producer => (own, node.process_id, 0),
            Kind::Server => (own.or(of_other), caller, node.process_id),
            Kind::Consumer | Kind::Internal => (own, caller, node.process_id),
        };
        let asked = node.kind.asks() || other.is_some();
        let Ends { src, dst, dst_port, protocol } = ends;
        let key = Key { client, server, src, dst, dst_port, asked };
        self.put(place, key, protocol);
    }

    fn put(&mut self, place: usize, key: Key, protocol: Name) {
        let node = &self.family.nodes[place];
        let links = &mut self.links;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            let (first_ns, last_ns) = (node.start_ns, node.end_ns);
            links.list.push(Link { key, protocol, requests: [0; 2], first_ns, last_ns });
            links.list.len() as u32 - 1
        });
        let answers = !node.kind.asks();
        links.of_span[place] = Place { link: number, answers };
        let link = &mut links.list[number as usize];
        link.requests[usize::from(answers)] += 1;
        link.protocol = link.protocol.or(protocol);
        link.first_ns = link.first_ns.min(node.start_ns);
        link.last_ns = link.last_ns.max(node.end_ns);
    }
}
